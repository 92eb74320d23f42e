"""Interval coverage: 90 % forecast intervals of six toy systems with 40 noisy points each.

Rolling origins: the default `NeuralODE` is fitted to the first 20, 23, 26, 29 and 32 of 40 points
and forecasts the 8 that follow; neither training nor calibration has seen these. Systems and noise:
decay 5 %, oscillator 10 %, Van der Pol 5 %, cubic spiral 10 %, damped pendulum 10 % of each
variable's spread, Lotka-Volterra 5 % of the value. Lorenz's chaos and the functions of time alone
are left out: 40 points do not determine them. Points of one forecast share their fate, so the
binomial intervals, which take them as independent, are too narrow. Pictures' folder: every
forecast as ``interval-coverage-NAME.csv``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Literal

import numpy as np

from ..data import toys
from ..estimators import NeuralODE
from ..estimators.judgement import LEVEL_END
from ..judging import backtest
from ..records import Backtest, Coverage, Status
from . import Row, Task

SYSTEMS: dict[str, tuple[float, Literal["additive", "relative"]]] = {
    "decay": (0.05, "additive"),
    "oscillator": (0.10, "additive"),
    "lotka_volterra": (0.05, "relative"),
    "van_der_pol": (0.05, "additive"),
    "cubic_spiral": (0.10, "additive"),
    "damped_pendulum": (0.10, "additive"),
}
POINTS, ORIGINS, HORIZON, NOMINAL = 40, (20, 23, 26, 29, 32), 8, 0.9
GOOD = "converged"  # any other kind of status says something against the fit
WARNINGS = ("discrete map", LEVEL_END)  # notes that say something against it


def run(task: Task = Task()) -> list[Row]:
    """Coverage, width and error by system and pooled; a budget in minutes ends the list early."""
    until = time.perf_counter() + 60 * (task.budget or np.inf)
    done: dict[str, Backtest] = {}
    for name in SYSTEMS:
        if time.perf_counter() > until:
            break
        done[name] = one(name)
        print(f"{name}: {done[name].coverage}, {done[name].seconds:.0f} s", file=sys.stderr)
        if task.out is not None:
            done[name].to_frame().to_csv(task.out / f"interval-coverage-{name}.csv", index=False)
    return rows(done)


def one(name: str, model: NeuralODE | None = None, seed: int = 0) -> Backtest:
    """The backtest of one system; `model` is the default `NeuralODE` unless given."""
    noise, kind = SYSTEMS[name]
    data = toys.sample(name, n=POINTS, noise=noise, kind=kind, seed=seed)
    gap = (data[0].t[-1] - data[0].t[0]) / (POINTS - 1)
    return backtest(
        NeuralODE() if model is None else model, data, origins=ORIGINS, horizon=HORIZON * gap,
        coverage=NOMINAL, progress=False,
    )  # fmt: skip


def rows(done: dict[str, Backtest]) -> list[Row]:
    """Three rows per system, and the same pooled over all points."""
    if not done:
        return []
    made, squares = [], []
    for name, of in done.items():
        which, error, naive, count = errors(of)
        squares.append((count, count * error**2, count * naive**2))
        said = sum(bool(flag(origin.status)) for origin in of.origins)
        flagged = f"{said} of {len(of.origins)} fits flagged"
        made += [
            pooled(f"coverage, {name}", [of.coverage]),
            Row(f"mean width, {name}", None, float(np.nanmean(widths(of))), unit="sd"),
            Row(
                f"error, {name}", None, error, unit="sd",
                note=f"best naive ({which}) {naive:.3f}; {flagged}",
            ),
        ]  # fmt: skip
    count, error, naive = np.sum(squares, axis=0)
    width = np.nanmean(np.concatenate([widths(of) for of in done.values()]))
    best = f"best naive forecast of each system {np.sqrt(naive / count):.3f}"
    return [
        *made,
        pooled("coverage, all", [of.coverage for of in done.values()]),
        Row("mean width, all", None, float(width), unit="sd"),
        Row("error, all", None, float(np.sqrt(error / count)), unit="sd", note=best),
    ]


def errors(of: Backtest) -> tuple[str, float, float, int]:
    """Name of the best naive forecast, the model's error, its error, and the number of points."""
    row = of.errors([float(of.points.ahead.max())]).iloc[0]
    which = str(row["best naive"])
    return which, float(row["model"]), float(row[which]), int(row["points"])


def widths(of: Backtest) -> np.ndarray:
    """Widths of the intervals (points,) in standard deviations of their variable."""
    return (of.upper - of.lower) / of.points.sd


def flag(status: Status) -> str:
    """What a status says against a fit: its kind, "note" where a note warns, else nothing."""
    if not status.ok or status.kind != GOOD:
        return status.kind
    return "note" if any(w in note for w in WARNINGS for note in status.notes) else ""


def pooled(name: str, parts: Iterable[Coverage]) -> Row:
    """Share inside over all parts, with its 95 % binomial interval."""
    parts = list(parts)
    inside, points = sum(c.inside for c in parts), sum(c.points for c in parts)
    whole = Coverage(inside, points, parts[0].nominal if parts else NOMINAL)
    return Row(name, None, whole.share if points else None, note=str(whole))
