"""What a report shows about a fitted estimator, computed once for every kind of picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import singledispatch
from itertools import combinations
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..errors import InputError
from ..records import Discretisation, Equilibria, Fit, Forecast, HeldOut, Path
from .flow import Plane, plane

SHOWN = 6  # series in one picture: more are not told apart
_PLANES = 6
_TOWERING = 2.5
_MOST_SEARCHED = 4  # variables: roots in more dimensions take longer than a report should
_SMOOTH = 240  # points of a drawn curve


@runtime_checkable
class Dynamics(Protocol):
    """A fitted estimator of trajectories, by what it can do.

    It also has `data_`, `model_`, `fit_`, `held_out_`, `discretisation_`, `coverage_`, `seconds_`.
    """

    def reconstruct(self, t: Any = None, series: Any = None, coverage: float = 0.9) -> Any: ...
    def forecast(self, horizon: Any = None, **options: Any) -> Any: ...
    def simulate(self, y0: Any, t: Any, u: Any = None) -> Path: ...
    def derivative(self, y: Any, t: Any = None, u: Any = None) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Shown:
    """One series: its observations at `time` (raw) and the learned path, fine and at them."""

    id: str
    time: np.ndarray
    observed: np.ndarray
    at_observed: np.ndarray
    path: Path
    forecast: Forecast | None = None

    @property
    def ahead(self) -> Forecast | None:
        """The forecast for drawing: it begins where the path ends."""
        path, forecast = self.path, self.forecast
        if forecast is None or path.lower is None or path.upper is None:
            return forecast
        joined = {
            "time": (path.time, forecast.time),
            "mean": (path.values, forecast.mean),
            "lower": (path.lower, forecast.lower),
            "upper": (path.upper, forecast.upper),
        }
        return replace(
            forecast, **{name: np.concatenate([a[-1:], b]) for name, (a, b) in joined.items()}
        )

    @property
    def residuals(self) -> np.ndarray:
        """Observed minus learned, (time, dim), NaN where nothing was observed."""
        return self.observed - self.at_observed


@dataclass(frozen=True, eq=False, kw_only=True)
class About:
    """What a report says of any fitted estimator."""

    heading: str
    kind: str
    names: tuple[str, ...]
    units: dict[str, str]
    time_name: str
    span: tuple[Any, Any]
    total_series: int
    observations: int
    fit: Fit
    seconds: dict[str, float]
    settings: dict[str, Any]
    notes: tuple[str, ...]
    model: Any = field(repr=False)
    members: int = 1
    parameters: Any = field(default=None, repr=False)

    def label(self, variable: int) -> str:
        """Name of a variable with its unit."""
        unit = self.units.get(self.names[variable], "")
        return f"{self.names[variable]} ({unit})" if unit else self.names[variable]

    def numbers(self) -> list[tuple[str, str, str, str]]:
        """Of an equation's parameters: name, value, standard error and interval, rounded alike."""
        if self.parameters is None:
            return []
        rows = []
        for name, (value, error, low, high) in zip(
            self.parameters.index, self.parameters.to_numpy(float), strict=True
        ):
            if not np.isfinite(error):
                told = "not determined" if np.isinf(error) else "–"
                rows.append((str(name), f"{value:.4g}", told, "–"))
                continue
            digits = int(np.clip(1 - np.floor(np.log10(max(error, 1e-300))), 0, 12))
            cells = (f"{x:.{digits}f}" for x in (value, error, low, high))
            value, error, low, high = cells
            rows.append((str(name), value, error, f"{low} to {high}"))
        return rows


def about(estimator: Any, what: str) -> dict[str, Any]:
    """The fields of `About`; the heading is `what` ("An equation for") and the variables."""
    data, spent = estimator.data_, estimator.seconds_
    ends = np.array([min(s.t[0] for s in data), max(s.t[-1] for s in data)])
    first, last = data.clock.decode(ends)
    return {
        "heading": f"{what} {listed(data.names)}",
        "kind": type(estimator).__name__,
        "names": tuple(data.names),
        "units": dict(data.units),
        "time_name": data.time_name,
        "span": (first, last),
        "total_series": len(data),
        "observations": int(sum(np.isfinite(s.x).sum() for s in data)),
        "fit": estimator.fit_,
        "seconds": dict(spent) if isinstance(spent, dict) else {"training": float(spent)},
        "settings": dict(estimator.get_params()),
        "notes": tuple(data.notes),
        "model": estimator.model_,
        "members": getattr(estimator, "members", None) or 1,
        "parameters": getattr(estimator, "parameters_", None),
    }


def listed(names: tuple[str, ...], most: int = 4) -> str:
    """Names as words: "a, b and c"."""
    shown = list(names[:most])
    if len(names) > most:
        more = len(names) - most
        shown.append(f"{more} more variable{'s' * (more > 1)}")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings(About):
    """What the figure and the page show of trajectories; times and values in the user's units."""

    series: tuple[Shown, ...]
    planes: tuple[Plane, ...]
    score: float
    held_out: HeldOut | None
    discretisation: Discretisation | None
    coverage: dict[str, Any] | None
    equilibria: Equilibria | None = None
    shares: dict[str, float] | None = None

    @property
    def marked(self) -> Equilibria | None:
        """What is drawn into phase portraits: in a slice of more variables it would mislead."""
        found = self.equilibria
        return found if found is not None and len(found.names) == 2 else None

    @property
    def towering(self) -> bool:
        """Whether an interval reaches so far above the data that they would shrink to a line."""
        bands = [a.upper for s in self.series for a in (s.path, s.ahead) if a is not None]
        highs = [band.max(0) for band in bands if band is not None]
        tops = np.nanmax([np.nanmax(np.abs(s.observed), axis=0) for s in self.series], axis=0)
        return bool(highs) and bool((np.max(highs, axis=0) > _TOWERING * tops).any())

    def deviations(self) -> np.ndarray:
        """Standardised residuals of the shown series, (time, dim)."""
        residuals = np.concatenate([s.residuals for s in self.series])
        spread = np.nanstd(residuals, axis=0)
        return residuals / np.where(spread > 0, spread, 1.0)


@singledispatch
def gather(estimator: Any, forecasts: Any = None, coverage: float = 0.9) -> Any:
    """Everything a report shows of a fitted estimator; `forecasts` where they exist already.

    A model with known inputs is not forecast: its future inputs would have to be known. Raises
    `TypeError` for an estimator that nobody registered.
    """
    raise TypeError(f"no report for {type(estimator).__name__}; register one with findings.gather")


@gather.register(Dynamics)
def _(estimator: Dynamics, forecasts: Any = None, coverage: float = 0.9) -> Findings:
    return trajectories(estimator, forecasts, coverage)


def trajectories(estimator: Any, forecasts: Any = None, coverage: float = 0.9) -> Findings:
    """What a report shows of learned dynamics."""
    data = estimator.data_
    by_id = forecasts_of(estimator, forecasts, coverage)
    shown = tuple(_show(estimator, s, by_id.get(s.id), coverage) for s in list(data)[:SHOWN])
    return Findings(
        **about(estimator, "A differential equation for"),
        series=shown,
        planes=_planes(estimator, np.concatenate([s.observed for s in shown])),
        score=float(estimator.score()),
        held_out=estimator.held_out_,
        discretisation=estimator.discretisation_,
        coverage=estimator.coverage_,
        shares=getattr(estimator, "residual_share_", None),
        equilibria=_equilibria(estimator),
    )


def forecasts_of(estimator: Any, forecasts: Any, coverage: float) -> dict[str, Forecast]:
    """Forecasts by series, the estimator's own where none are given and no inputs are needed."""
    if forecasts is None:
        forecasts = [] if estimator.data_.n_inputs else estimator.forecast(coverage=coverage)
    return {f.series: f for f in (forecasts if isinstance(forecasts, list) else [forecasts])}


def _show(estimator: Any, series: Any, forecast: Forecast | None, coverage: float) -> Shown:
    """The learned path at the observations and between them, from one call."""
    clock = estimator.data_.clock
    fine = np.linspace(series.t[0], series.t[-1], _SMOOTH)
    moments = np.union1d(fine, series.t)
    path = estimator.reconstruct(clock.decode(moments), series=series.id, coverage=coverage)
    rows = np.searchsorted(moments, series.t)
    return Shown(
        id=series.id,
        time=np.asarray(clock.decode(series.t)),
        observed=series.x,
        at_observed=np.asarray(path)[rows],
        path=path,
        forecast=forecast,
    )


def _equilibria(estimator: Any) -> Equilibria | None:
    """What the flow does, where the estimator can say it cheaply and its field stands still."""
    ask = getattr(estimator, "equilibria", None)
    if ask is None or len(estimator.data_.names) > _MOST_SEARCHED:
        return None
    try:
        return ask()
    except InputError:  # the field reads the time
        return None


def _planes(estimator: Any, points: np.ndarray) -> tuple[Plane, ...]:
    """The learned field in every pair of variables, the first few; inputs at their means.

    None of a second-order system: its velocities are not among the variables.
    """
    data = estimator.data_
    if getattr(estimator, "order", 1) == 2:
        return ()
    dim = points.shape[1]
    middle = data.clock.decode(np.array([np.mean([s.t.mean() for s in data])]))

    def derivative(y: np.ndarray) -> np.ndarray:
        return estimator.derivative(y, t=middle)

    pairs = list(combinations(range(dim), 2))[:_PLANES]
    return tuple(plane(derivative, points, pair, tuple(data.names)) for pair in pairs)
