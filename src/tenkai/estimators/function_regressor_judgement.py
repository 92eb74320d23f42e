"""How good a regressor is on rows that did not train, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..records import Coverage, Status
from ..regression.evaluation import Calibration, calibrate, left_out_mean, spread_of
from ..regression.table import Table

CONSTANT, LINEAR = "a constant", "a linear model"
LEVELS = (0.5, 0.8, 0.9, 0.95)
_NOMINAL = 0.9
_FITTED = 20_000  # rows that a linear model learns from, at most
_KEPT = 500  # rows for pictures
_CLEAR = 2.0  # standard errors


@dataclass(frozen=True)
class HeldOutErrors:
    """Misses on `rows` that did not train, per target in its units, beside simple models.

    Of a table each row is judged by the members that left it out; the ensemble of all of them is a
    little better. Of a function (`fresh`) the rows are new and the ensemble is judged. `inside`
    counts, out of `points`, the values in their intervals of each of `levels`, whose widths other
    rows gave.
    """

    rows: int
    rmse: tuple[float, ...]
    largest: tuple[float, ...]
    deviation: tuple[float, ...]
    baselines: dict[str, tuple[float, ...]]
    beaten: bool
    inside: tuple[int, ...]
    points: int
    fresh: bool
    levels: tuple[float, ...] = LEVELS

    @property
    def coverages(self) -> tuple[Coverage, ...]:
        """The measured coverage of the intervals of each level."""
        pairs = zip(self.inside, self.levels, strict=True)
        return tuple(Coverage(inside, self.points, level) for inside, level in pairs)

    @property
    def coverage(self) -> Coverage:
        """The measured coverage of 90 % intervals."""
        return self.coverages[self.levels.index(_NOMINAL)]

    @property
    def error(self) -> float:
        """Root mean square over the targets, each in units of its standard deviation."""
        return self.pooled(self.rmse)

    def pooled(self, rmse: tuple[float, ...]) -> float:
        """The same of any errors."""
        units = np.where(np.array(self.deviation) > 0, self.deviation, 1.0)
        return float(np.sqrt(np.mean((np.array(rmse) / units) ** 2)))

    @property
    def r2(self) -> float:
        """The explained share of the variance, mean over the targets."""
        return 1.0 - self.error**2

    @property
    def best_baseline(self) -> tuple[str, float]:
        """Name and pooled error of the better of the simple models."""
        name = min(self.baselines, key=lambda n: self.pooled(self.baselines[n]))
        return name, self.pooled(self.baselines[name])

    def __str__(self) -> str:
        what = "new rows of the function" if self.fresh else "left-out rows"
        said = ", ".join(f"{v:.4g}" for v in self.rmse)
        simple = "; ".join(
            f"{name} {', '.join(f'{v:.4g}' for v in values)}"
            for name, values in self.baselines.items()
        )
        worst = f", largest error {max(self.largest):.3g}" if self.fresh else ""
        return (
            f"{self.rows} {what}: RMSE {said}{worst} ({simple}); {self.coverage.share:.0%} of "
            f"{self.points} values inside their {_NOMINAL:.0%} interval"
        )


class Judged(NamedTuple):
    """The record, what calibrates intervals, and rows for pictures with their predictions."""

    held: HeldOutErrors
    calibration: Calibration
    shown: dict[str, np.ndarray]


def judge_table(
    table: Table, answers: Float[np.ndarray, "members rows out"],
    out: Bool[np.ndarray, "members rows"],
) -> Judged:  # fmt: skip
    """Every row by the members that left it out; `answers` are in raw units."""
    judged = out.any(axis=0)
    found, spread = left_out_mean(answers, out)[judged], spread_of(answers)[judged]
    x, y, weight = (part[judged] for part in table)
    miss = found - y
    beside = _beside(table, out)
    fold = out.argmax(axis=0)[judged]
    inside = _inside(miss, spread, weight, fold)
    misses = {name: (values[judged] - y) for name, values in beside.items()}
    held = _record(miss, y, weight, misses, inside, fresh=False)
    return Judged(held, calibrate(miss, spread, weight), _shown(x, y, found, spread))


def judge_function(
    x: Float[np.ndarray, "rows in"], y: Float[np.ndarray, "rows out"],
    answers: Float[np.ndarray, "members rows out"],
) -> Judged:  # fmt: skip
    """The ensemble on fresh rows of a function; simple models may learn from the same rows."""
    found, spread = answers.mean(axis=0), spread_of(answers)
    miss, weight = found - y, np.ones(len(y))
    half = np.arange(len(y)) % 2
    inside = _inside(miss, spread, weight, half)
    line = _linear(x, y, weight)
    misses = {CONSTANT: y.mean(axis=0) - y, LINEAR: _applied(line, x) - y}
    held = _record(miss, y, weight, misses, inside, fresh=True)
    return Judged(held, calibrate(miss, spread, weight), _shown(x, y, found, spread))


def _record(
    miss: np.ndarray, y: np.ndarray, weight: np.ndarray, misses: dict[str, np.ndarray],
    inside: tuple[int, ...], *, fresh: bool,
) -> HeldOutErrors:  # fmt: skip
    def size(m: np.ndarray) -> tuple[float, ...]:
        return tuple(map(float, np.sqrt(np.average(m**2, axis=0, weights=weight))))

    deviation = np.sqrt(np.average((y - np.average(y, axis=0, weights=weight)) ** 2, axis=0,
                                   weights=weight))  # fmt: skip
    units = np.where(deviation > 0, deviation, 1.0)
    best = min(misses.values(), key=lambda m: float(np.mean((m / units) ** 2)))
    worse = weight * (((miss / units) ** 2).mean(1) - ((best / units) ** 2).mean(1))
    error = worse.std() / np.sqrt(max(len(worse), 1))
    return HeldOutErrors(
        len(miss), size(miss), tuple(map(float, np.abs(miss).max(axis=0))),
        tuple(map(float, deviation)), {name: size(m) for name, m in misses.items()},
        bool(worse.mean() > _CLEAR * error), inside, miss.size, fresh,
    )  # fmt: skip


def _inside(
    miss: np.ndarray, spread: np.ndarray, weight: np.ndarray, fold: np.ndarray
) -> tuple[int, ...]:
    """How many values lie in the interval of each level whose width the other folds gave."""
    inside = np.zeros(len(LEVELS), int)
    folds = fold if len(np.unique(fold)) > 1 else np.arange(len(fold)) % 2
    for k in np.unique(folds):
        own = folds == k
        others = calibrate(miss[~own], spread[~own], weight[~own])
        for i, level in enumerate(LEVELS):
            inside[i] += int((np.abs(miss[own]) <= others.half_width(spread[own], level)).sum())
    return tuple(inside.tolist())


def _beside(table: Table, out: Bool[np.ndarray, "members rows"]) -> dict[str, np.ndarray]:
    """What simple models say of rows that they did not see, in the folds of the members."""
    answers = {name: np.zeros((len(out), *table.y.shape)) for name in (CONSTANT, LINEAR)}
    for member, left in enumerate(out):
        x, y, weight = (part[~left] for part in table)
        answers[CONSTANT][member] = np.average(y, axis=0, weights=weight)
        answers[LINEAR][member] = _applied(_linear(x, y, weight), table.x)
    return {name: left_out_mean(values, out) for name, values in answers.items()}


def _linear(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted least squares: offsets in the first row."""
    if len(x) > _FITTED:
        some = np.linspace(0, len(x) - 1, _FITTED).round().astype(int)
        x, y, weight = x[some], y[some], weight[some]
    root = np.sqrt(weight)[:, None]
    return np.linalg.lstsq(root * np.insert(x, 0, 1.0, axis=1), root * y, rcond=None)[0]


def _applied(line: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.insert(x, 0, 1.0, axis=1) @ line


def _shown(
    x: np.ndarray, y: np.ndarray, found: np.ndarray, spread: np.ndarray
) -> dict[str, np.ndarray]:
    kept = np.unique(np.linspace(0, len(x) - 1, min(_KEPT, len(x))).round().astype(int))
    return {"x": x[kept], "y": y[kept], "mean": found[kept], "spread": spread[kept]}


def status_of(made: Status, held: HeldOutErrors | None, notes: tuple[str, ...]) -> Status:
    """How the training ended, and whether what it learned is any good."""
    if not made.ok:
        return Status(made.kind, made.message, made.cause, made.remedy, False, notes)
    if held is None:
        told = (*notes, "no rows were left out: nothing says how good it is on new ones")
        return Status("finished", f"{made.message}; nothing left out", notes=told)
    name, simple = held.best_baseline
    said = f"{made.message}; {held.r2:.1%} of the variance of {held.rows} rows that did not train"
    if held.beaten:
        return Status(
            "beaten", said, f"{name} explains {1 - simple**2:.1%}",
            "use that one, or pass more rows, other columns, or decay=", False, notes,
        )  # fmt: skip
    return Status(made.kind, f"{said} ({name} {1 - simple**2:.1%})", notes=notes)
