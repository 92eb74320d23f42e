"""Three small tables of the UCI repository, on the 20 splits that papers share.

Hernández-Lobato and Adams 2015 fixed the splits (a tenth of the rows to test); Gal and Ghahramani
2016 (table 1) give the errors of dropout networks, here those of their longer training.
`FunctionRegressor` has its default settings on all three. Needs the file uci_regression.npz in
``--data DIR`` or its folder uci_regression, with arrays NAME__X, NAME__y and NAME__test (splits,
test rows) for concrete, energy and yacht.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError
from ..estimators.function_regressor import FunctionRegressor
from ..records import Coverage
from . import Row, Task

FILE = "uci_regression.npz"
PUBLISHED = {"concrete": 4.82, "energy": 0.54, "yacht": 0.67}
SPLITS, COVERAGE = 20, 0.9


@dataclass(frozen=True)
class Benchmark:
    """Rows, targets, and the test rows of every split."""

    x: Float[np.ndarray, "rows columns"]
    y: Float[np.ndarray, " rows"]
    test: Int[np.ndarray, "splits tested"]

    def split(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows that train and rows that test."""
        tested = self.test[number]
        return np.setdiff1d(np.arange(len(self.y)), tested), tested


@dataclass(frozen=True)
class Tested:
    """Test rows of one split: truth, prediction, interval; and the error of a linear model."""

    y: np.ndarray
    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    linear: float
    seconds: float

    @property
    def rmse(self) -> float:
        """Root mean square error."""
        return float(np.sqrt(np.mean((self.mean - self.y) ** 2)))

    @property
    def inside(self) -> int:
        """Test rows in their interval."""
        return int(((self.lower <= self.y) & (self.y <= self.upper)).sum())


def run(task: Task = Task(), *, splits: int = SPLITS, **options: Any) -> list[Row]:
    """RMSE and coverage on each table; `options` change the regressor. A picture in ``task.out``.

    A budget is shared by the tables; what is not reached in time is left out, and `n` says so.
    """
    tables = read(task.data)
    found: dict[str, list[Tested]] = {}
    for name in PUBLISHED:
        begun, found[name] = time.perf_counter(), []
        for number in range(min(splits, len(tables[name].test))):
            spent = time.perf_counter() - begun
            if task.budget is not None and number and spent > 60 * task.budget / len(PUBLISHED):
                break
            found[name].append(judge(tables[name], number, **options))
    if task.out is not None:
        draw(found, task.out / "regression-uci.png")
    return [row for name in PUBLISHED for row in _rows(name, found[name])]


def judge(table: Benchmark, number: int, **options: Any) -> Tested:
    """One split: learned from its rows, judged on its test rows."""
    trained, tested = table.split(number)
    begun = time.perf_counter()
    made = FunctionRegressor(**options).fit(table.x[trained], table.y[trained])
    seconds = time.perf_counter() - begun
    found = made.predict(table.x[tested], coverage=COVERAGE)
    design = np.insert(table.x, 0, 1.0, axis=1)
    line = np.linalg.lstsq(design[trained], table.y[trained], rcond=None)[0]
    miss = design[tested] @ line - table.y[tested]
    return Tested(
        table.y[tested], found.mean, found.lower, found.upper,
        float(np.sqrt(np.mean(miss**2))), seconds,
    )  # fmt: skip


def _rows(name: str, found: list[Tested]) -> list[Row]:
    rmse = np.array([one.rmse for one in found])
    error = float(rmse.std(ddof=1) / np.sqrt(len(rmse))) if len(rmse) > 1 else 0.0
    inside, points = sum(one.inside for one in found), sum(len(one.y) for one in found)
    low, high = Coverage(inside, points, COVERAGE).interval()
    width = float(np.mean([np.median(one.upper - one.lower) for one in found]))
    linear, n = float(np.mean([one.linear for one in found])), len(found)
    spent = sum(one.seconds for one in found)
    return [
        Row(
            f"{name}, test RMSE", PUBLISHED[name], float(rmse.mean()),
            float(rmse.std(ddof=1)) if n > 1 else None, n=n,
            note=f"standard error {error:.2g}; linear model {linear:.3g}; published: dropout nets",
        ),
        Row(
            f"{name}, inside 90 % intervals", None, 100 * inside / points, n=points, unit="%",
            note=f"{inside} of {points} test rows, binomial {low:.1%} to {high:.1%}; "
            f"median width {width:.3g}",
        ),
        Row(f"{name}, time", None, spent / n, unit="s", note=f"per split, {spent:.0f} s in all"),
    ]  # fmt: skip


def read(folder: Path | None) -> dict[str, Benchmark]:
    """The three tables; `InputError` says which file is missing."""
    places = [] if folder is None else [folder / FILE, folder / "uci_regression" / FILE]
    file = next((place for place in places if place.exists()), None)
    if file is None:
        raise InputError(
            "--data", expected=f"a folder with {FILE}, or with uci_regression/{FILE}",
            got="none" if folder is None else str(folder),
            do="save the tables of the UCI repository (concrete, energy, yacht) there with the "
            "splits of Gal and Ghahramani's UCI_Datasets",
        )  # fmt: skip
    with np.load(file) as arrays:
        lacking = [
            f"{name}__{part}" for name in PUBLISHED for part in ("X", "y", "test")
            if f"{name}__{part}" not in arrays
        ]  # fmt: skip
        if lacking:
            raise InputError(
                str(file), expected="arrays NAME__X, NAME__y and NAME__test",
                got=f"no {lacking[0]}", do="save them by numpy.savez",
            )  # fmt: skip
        return {
            name: Benchmark(
                arrays[f"{name}__X"].astype(float), arrays[f"{name}__y"].astype(float).ravel(),
                arrays[f"{name}__test"].astype(int),
            )
            for name in PUBLISHED
        }  # fmt: skip


def draw(found: dict[str, list[Tested]], file: Path) -> None:
    """Observed against predicted on the test rows of all splits, with their intervals."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import LEARNED, QUIET

    with lettering():
        figure = new_figure(10, 3.6)
        for ax, (name, tested) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
            y, mean, lower, upper = (
                np.concatenate([getattr(one, part) for one in tested])
                for part in ("y", "mean", "lower", "upper")
            )
            ax.vlines(mean, lower, upper, color=LEARNED, alpha=0.06, lw=1)
            ax.plot([y.min(), y.max()], [y.min(), y.max()], color=QUIET, lw=0.8)
            ax.plot(mean, y, ".", color=LEARNED, ms=2, alpha=0.5)
            rmse = np.mean([one.rmse for one in tested])
            dress(ax, title=f"{name}: RMSE {rmse:.3g}", x="predicted",
                  y="observed" if name == next(iter(found)) else "")  # fmt: skip
        figure.savefig(file, dpi=200)
