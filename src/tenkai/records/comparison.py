"""Several models on the same rolling origins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .backtest import Backtest
from .scores import Points, horizons_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Comparison:
    """Backtests of several models on the same cuts and points, by name.

    ``comparison["name"]`` is one `Backtest`. Errors are those of `Backtest`, on the points of which
    every model and every baseline have a finite forecast.
    """

    tests: dict[str, Backtest]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Backtest:
        return self.tests[name]

    def __len__(self) -> int:
        return len(self.tests)

    @property
    def points(self) -> Points:
        """What was forecast; the same for all models."""
        return next(iter(self.tests.values())).points

    @property
    def forecasts(self) -> dict[str, np.ndarray]:
        """Forecasts (points,) by name: the models, then the baselines."""
        return {name: test.mean for name, test in self.tests.items()} | self.points.naive

    def errors(
        self, horizons: Sequence[float] | np.ndarray | None = None, *, within: bool = True
    ) -> pd.DataFrame:
        """Errors by horizon: points, then one column per model and baseline; see `Backtest`."""
        at = horizons_of(self.points, 8) if horizons is None else np.unique(horizons)
        return self.points.errors(self.forecasts, at, within=within)

    def to_frame(self, horizons: Sequence[float] | np.ndarray | None = None) -> pd.DataFrame:
        """One row per horizon and forecast, the best first.

        Columns: horizon, name, points, error, `excess` (mean squared error above the best one's),
        its `standard error` (see `Points.difference`), `tied` with the best; and of models the
        intervals' `inside` of `of` observations, and `seconds`.
        """
        import pandas as pd

        at = horizons_of(self.points, 3) if horizons is None else np.unique(horizons)
        rows = [row for h in at for row in self._ranking(float(h))]
        return pd.DataFrame(rows, columns=list(_COLUMNS))

    def _ranking(self, h: float) -> list[dict[str, Any]]:
        table = self.errors([h]).iloc[0]
        forecasts = self._common
        order = sorted(forecasts, key=lambda name: (np.isnan(table[name]), table[name]))
        rows = []
        for name in order:
            gap = self.points.difference(forecasts[name], forecasts[order[0]], h)
            test = self.tests.get(name)
            covered = None if test is None else test.coverage
            rows.append({
                "horizon": h,
                "name": name,
                "points": int(table["points"]),
                "error": float(table[name]),
                "excess": gap.mean,
                "standard error": gap.standard_error,
                "tied": gap.tied,
                "inside": None if covered is None else covered.inside,
                "of": None if covered is None else covered.points,
                "seconds": None if test is None else test.seconds,
            })  # fmt: skip
        return rows

    @property
    def _common(self) -> dict[str, np.ndarray]:
        """Forecasts with NaN wherever any of them has none: differences on the same points."""
        every = self.forecasts
        common = np.all([np.isfinite(values) for values in every.values()], axis=0)
        return {name: np.where(common, values, np.nan) for name, values in every.items()}

    def summary(self) -> str:
        """A few lines in words: who is best at which horizon, who ties, coverage and seconds."""
        first = next(iter(self.tests.values()))
        lines = [
            f"{len(self)} models on {len(first.origins)} origins, {len(self.points)} observations"
        ]
        lines += [self._said(self._ranking(float(h))) for h in horizons_of(self.points, 3)]
        for name, test in self.tests.items():
            flagged = f"; {len(test.failed)} fits flagged" if test.failed else ""
            lines.append(f"{name}: {test.coverage}; {test.seconds:.0f} s{flagged}")
        return "\n".join([*lines, *self.notes])

    def __str__(self) -> str:
        return self.summary()

    def _said(self, ranking: list[dict[str, Any]]) -> str:
        span = f"within {self.points.length(ranking[0]['horizon'])}"
        if not ranking[0]["points"]:
            return f"{span}: no points that all forecast"
        said = [f"{row['name']} {row['error']:.2f}" for row in ranking]
        close = [text for text, row in zip(said, ranking, strict=True) if row["tied"]][1:]
        worse = [text for text, row in zip(said, ranking, strict=True) if not row["tied"]]
        line = f"{span}: best {said[0]} sd"
        line += f"; tied with it {', '.join(close)}" if close else ""
        return line + (f"; worse {', '.join(worse)}" if worse else "")

    def plot(self, **options: Any) -> Any:
        """Matplotlib axes: errors by horizon, and coverage with its binomial interval."""
        from .. import report

        return report.plot(self, **options)


_COLUMNS = (
    *("horizon", "name", "points", "error", "excess", "standard error", "tied", "inside", "of"),
    "seconds",
)
