"""Forecasts from rolling origins beside what was then observed and what naive forecasts said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .core import Status
from .scores import Coverage, Points, horizons_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Origin:
    """One fit of a backtest: `observations` seen per series, how it ended, and its seconds."""

    observations: tuple[int, ...]
    status: Status
    seconds: float


@dataclass(frozen=True, eq=False)
class Backtest:
    """What a model, fitted again at each origin, forecast of the observations after it.

    `points` says what was to be forecast (one entry per origin, series, time and variable that was
    observed) and what naive forecasts said; `mean`, `lower`, `upper` (points,) are the model's in
    the units of the data, NaN where a fit gave none. `stopped`: Ctrl-C came before the last origin.

    Errors are root mean squares in units of each variable's standard deviation over all data,
    pooled over origins, series, times and variables, on the points of which the model and every
    baseline have a finite forecast.
    """

    model: str
    points: Points
    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    nominal: float
    origins: tuple[Origin, ...]
    notes: tuple[str, ...] = ()
    stopped: bool = False
    data: Any = field(default=None, repr=False)

    def to_frame(self) -> pd.DataFrame:
        """One row per origin, series, time and variable; baselines are columns "naive ..."."""
        frame = self.points.to_frame()
        at = list(frame.columns).index("observed")
        for name in ("upper", "lower", "mean"):
            frame.insert(at + 1, name, getattr(self, name))
        ok = np.array([origin.status.ok for origin in self.origins], bool)
        frame["ok"] = ok[self.points.origin]
        return frame

    def errors(
        self, horizons: Sequence[float] | np.ndarray | None = None, *, within: bool = True
    ) -> pd.DataFrame:
        """Errors by horizon: points, the model's, each baseline's, the best of these, the ratio.

        ``rmse(h) = sqrt(mean(((forecast - observed) / sd)²))`` over all points with
        ``0 < ahead <= h``; with ``within=False`` over those after the previous horizon,
        ``h' < ahead <= h``, so that yearly horizons of yearly data give the error exactly h years
        ahead. `horizons` are in time units (days, where times are dates).
        """
        at = horizons_of(self.points, 8) if horizons is None else np.unique(horizons)
        table = self.points.errors(self._forecasts, at, within=within)
        names = list(self.points.naive)
        naive = table[names].to_numpy()
        best = np.where(np.isnan(naive), np.inf, naive).argmin(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            table["ratio"] = table["model"] / naive[np.arange(len(naive)), best]
        table.insert(len(table.columns) - 1, "best naive", [names[i] for i in best])
        return table

    @property
    def _forecasts(self) -> dict[str, np.ndarray]:
        return {"model": self.mean, **self.points.naive}

    @property
    def coverage(self) -> Coverage:
        """How many of the observations lie inside the model's intervals."""
        return self.points.inside(self.lower, self.upper, self.nominal)

    @property
    def naive_coverage(self) -> Coverage:
        """The same of the autoregression's own intervals."""
        return self.points.inside(*self.points.naive_interval, self.nominal)

    @property
    def failed(self) -> tuple[Origin, ...]:
        """The origins whose fit says that it is not good, or gave nothing."""
        return tuple(origin for origin in self.origins if not origin.status.ok)

    @property
    def seconds(self) -> float:
        """What all fits and forecasts took."""
        return sum(origin.seconds for origin in self.origins)

    def best_naive(self, h: float) -> tuple[str, float]:
        """Name and error of the best baseline within the horizon `h`."""
        row = self.errors([h]).iloc[0]
        return str(row["best naive"]), float(row[row["best naive"]])

    def summary(self) -> str:
        """A few lines in words: who wins at which horizon, how many intervals held, what failed."""
        return "\n".join([self._title, *self._lines])

    def __str__(self) -> str:
        return self.summary()

    @property
    def _title(self) -> str:
        seen = [n for origin in self.origins for n in origin.observations]
        return (
            f"{self.model}: {len(self.origins)} origins ({min(seen)} to {max(seen)} observations "
            f"seen), {len(self.points)} observations forecast, {self.seconds:.0f} s"
        )

    @property
    def _lines(self) -> list[str]:
        lines = [self._winner(h) for h in horizons_of(self.points, 3)]
        lines.append(f"{self.coverage}; the autoregression's own: {self.naive_coverage.share:.0%}")
        if self.failed:
            counted = len(self.points) - int(np.isfinite(self.mean).sum())
            lines.append(
                f"{len(self.failed)} of {len(self.origins)} fits flagged; {counted} "
                f"observations without a forecast. The first: {self.failed[0].status}"
            )
        return [*lines, *self.notes]

    def _winner(self, h: float) -> str:
        row = self.errors([h]).iloc[0]
        span = f"within {self.points.length(h)}"
        if not row["points"]:
            return f"{span}: no points with forecasts"
        name, model = str(row["best naive"]), float(row["model"])
        naive = float(row[name])
        if self.points.difference(self.mean, self.points.naive[name], h).tied:
            return f"{span}: no clear winner: the model {model:.2f} sd, {name} {naive:.2f} sd"
        if model < naive:
            share = f"{model / naive:.2f} times the best naive forecast"
            return f"{span}: the model wins with {model:.2f} sd, {share} ({name}, {naive:.2f} sd)"
        return f"{span}: the naive forecast {name} wins with {naive:.2f} sd, the model {model:.2f}"

    def plot(self, **options: Any) -> Any:
        """Matplotlib axes: errors by horizon, then forecasts over the data by variable."""
        from .. import report

        return report.plot(self, **options)
