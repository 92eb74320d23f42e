"""What a report shows of a learned diffusion, computed once for all its pictures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from ..curriculum.problem import drivers_of
from ..errors import InputError
from ..records import Forecast, Stationary
from .diffusion import Fluctuating
from .diffusion_verdict import transitions
from .findings import SHOWN, About, about, forecasts_of, gather
from .flow import Plane, axis
from .verdict import verdict

_GRID = 161  # points of a curve
_CELLS = 15
_PLANES = 3
_MOST_STARTS = 4000  # transitions whose fields are asked for
_PER_BIN, _FEWEST_BINS, _MOST_BINS = 60, 4, 12
_PATHS = 1000  # as many as the forecast: the same paths, and nothing to compile
_DRAWN = 3
_LAGS = 20


@dataclass(frozen=True, eq=False)
class Record:
    """One series, its forecast, and simulated paths (paths, time, dim) out of its last row."""

    id: str
    time: np.ndarray
    observed: np.ndarray
    forecast: Forecast | None = None
    paths: np.ndarray | None = None
    paths_time: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Asked:
    """What the transitions that start near `at` ask of a curve: `value`, give or take `error`."""

    at: np.ndarray
    value: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, eq=False)
class Curve:
    """A field of one variable against it, (members, grid), and what the data ask for."""

    at: np.ndarray
    members: np.ndarray
    asked: Asked

    @property
    def mean(self) -> np.ndarray:
        """The learned curve (grid,)."""
        return self.members.mean(0)


@dataclass(frozen=True, eq=False)
class Field:
    """Drift in a plane, and the covariances (cells, 2, 2) of an instant at `places` (cells, 2)."""

    drift: Plane
    places: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class DiffusionFindings(About):
    """What the page shows of a diffusion; times and values in the user's units."""

    series: tuple[Record, ...]
    values: np.ndarray = field(repr=False)
    drifts: tuple[Curve, ...]
    sizes: tuple[Curve, ...]
    fields: tuple[Field, ...]
    law: Stationary | None
    innovations: Any
    correlations: np.ndarray
    time_unit: str
    answers: tuple
    usual_gap: float
    held: str = ""

    def deviations(self) -> np.ndarray:
        """Standardised innovations (n, dim)."""
        return self.innovations.values


@gather.register(Fluctuating)
def _(estimator: Fluctuating, forecasts: Any = None, coverage: float = 0.9) -> DiffusionFindings:
    sde: Any = estimator
    data = sde.data_
    by_id = forecasts_of(sde, forecasts, coverage)
    alone = len(data) == 1
    shown = tuple(
        _record(sde, one, by_id.get(one.id), i if alone else None)
        for i, one in enumerate(list(data)[:SHOWN])
    )
    known = about(sde, "A stochastic differential equation for")
    gaps, _, _ = transitions(sde)
    return DiffusionFindings(
        **known | {"members": len(np.asarray(sde.model_.units.state.scale))},
        series=shown,
        values=_whole(sde),
        **_fields(sde),
        law=_law(sde),
        innovations=sde.innovations_,
        correlations=_correlations(sde),
        time_unit=data.clock.unit,
        answers=verdict(sde),
        usual_gap=float(np.median(gaps)),
        held=", ".join((*data.input_names, *data.static_names)),
    )


def _whole(sde: Any) -> np.ndarray:
    return np.concatenate([one.x[np.isfinite(one.x).all(1)] for one in sde.data_])


def _record(sde: Any, one: Any, forecast: Forecast | None, drawn: int | None) -> Record:
    """A series for drawing; paths are those of its forecast, of which a few are drawn."""
    clock = sde.data_.clock
    record = Record(one.id, np.asarray(clock.decode(one.t)), one.x, forecast)
    if forecast is None or drawn is None:
        return record
    row = int(np.flatnonzero(np.isfinite(one.x).all(1))[-1])
    at = clock.decode(np.concatenate([one.t[row : row + 1], clock.encode(forecast.time)]))
    made = sde.simulate(one.x[row], at, paths=_PATHS, seed=drawn, static=one.static)
    return replace(record, paths=np.asarray(made)[:_DRAWN], paths_time=np.asarray(made.time))


def _law(sde: Any) -> Stationary | None:
    """The stationary law; None of fields that read the time."""
    try:
        return sde.stationary()
    except InputError:
        return None


def _correlations(sde: Any) -> np.ndarray:
    """Autocorrelation (lags, dim) of the innovations within series, from lag 1 on."""
    sizes = [int(np.isfinite(one.x).all(1).sum()) - 1 for one in sde.data_]
    values = sde.innovations_.values
    centred = np.nan_to_num(values - np.nanmean(values, 0))
    variance = np.maximum(centred.var(0), 1e-300)
    parts = np.split(centred, np.cumsum(sizes)[:-1])
    lags = range(1, min(_LAGS, max(sizes) - 1) + 1)
    pairs = [np.concatenate([p[k:] * p[:-k] for p in parts if len(p) > k]) for k in lags]
    return np.array([p.mean(0) for p in pairs]) / variance


def _fields(sde: Any) -> dict[str, Any]:
    """Curves of every variable and planes of pairs, all out of one evaluation of the fields."""
    values, dim = _whole(sde), len(sde.data_.names)
    grids = [_line(values, i) for i in range(dim)]
    pairs = list(combinations(range(dim), 2))[:_PLANES]
    planes = [_grid(values, pair) for pair in pairs]
    starts, t, u = _starts(sde)
    rows = np.unique(np.linspace(0, len(starts) - 1, _MOST_STARTS).astype(int))
    asked = [*grids, *planes, starts[rows]]
    before = sum(map(len, asked[:-1]))
    times = np.concatenate([np.full(before, np.mean(t)), t[rows]])
    drive = None
    if u is not None:
        drive = np.concatenate([np.tile(u.mean(0), (before, 1)), u[rows]])
    drift, noise = sde.members_fields(np.concatenate(asked), sde.data_.clock.decode(times), drive)
    square = _square(noise, dim)
    cuts = np.cumsum([len(part) for part in asked])[:-1]
    drifts, squares = np.split(drift, cuts, axis=1), np.split(square, cuts, axis=1)
    miss = _Misses.of(sde, rows, starts[rows], squares[-1].mean(0))
    curves = [
        miss.curves(i, grids[i][:, i], drifts[i][..., i], squares[i][..., i, i] ** 0.5)
        for i in range(dim)
    ]
    fields = tuple(
        _field(pair, at, a.mean(0), s.mean(0), tuple(sde.data_.names))
        for pair, at, a, s in zip(pairs, planes, drifts[dim:-1], squares[dim:-1], strict=True)
    )
    return {
        "drifts": tuple(c[0] for c in curves), "sizes": tuple(c[1] for c in curves),
        "fields": fields,
    }  # fmt: skip


def _square(noise: np.ndarray, dim: int) -> np.ndarray:
    """``b b^T`` (members, n, dim, dim)."""
    if noise.ndim == 3:
        return noise[..., None] ** 2 * np.eye(dim)
    return noise @ noise.swapaxes(-1, -2)


def _line(values: np.ndarray, i: int) -> np.ndarray:
    """States (grid, dim) along one variable, the others at their medians."""
    at = np.tile(np.median(values, axis=0), (_GRID, 1))
    low, high = np.quantile(values[:, i], [0.002, 0.998])
    at[:, i] = np.linspace(low, high, _GRID)
    return at


def _grid(values: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """States (cells^2, dim) in the plane of two variables, the others at their medians."""
    x, y = (axis(np.quantile(values[:, i], [0.002, 0.998]), _CELLS) for i in pair)
    at = np.tile(np.median(values, axis=0), (_CELLS**2, 1))
    at[:, pair[0]], at[:, pair[1]] = np.tile(x, _CELLS), np.repeat(y, _CELLS)
    return at


def _field(
    pair: tuple[int, int], at: np.ndarray, drift: np.ndarray, square: np.ndarray,
    names: tuple[str, ...],
) -> Field:  # fmt: skip
    """A plane of the drift, and the noise at every fifth place of it."""
    two = list(pair)
    dx, dy = drift[:, two].T.reshape(2, _CELLS, _CELLS)
    x, y = at[:_CELLS, pair[0]], at[::_CELLS, pair[1]]
    some = np.zeros((_CELLS, _CELLS), bool)
    some[2::5, 2::5] = True
    noise = square[some.ravel()][:, two][:, :, two]
    plane = Plane((names[pair[0]], names[pair[1]]), x, y, dx, dy)
    return Field(plane, at[some.ravel()][:, two], noise)


def _starts(sde: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """States, times and inputs (or None) at the starts of all transitions."""
    x, t, u = [], [], []
    for one in sde.data_:
        whole = np.isfinite(one.x).all(1)
        x.append(one.x[whole][:-1])
        t.append(one.t[whole][:-1])
        if one.u is not None or one.static is not None:
            u.append(drivers_of(one.u, one.static, len(one))[whole][:-1])
    return np.concatenate(x), np.concatenate(t), np.concatenate(u) if u else None


def factor(square: np.ndarray) -> np.ndarray:
    """Lower triangular factors of covariances (n, k, k), NaN of what is none."""
    made = np.full(square.shape, np.nan)
    good = np.flatnonzero(np.isfinite(square).all((1, 2)))
    good = good[np.linalg.eigvalsh(square[good])[:, 0] > 0]
    made[good] = np.linalg.cholesky(square[good])
    return made


@dataclass(frozen=True, eq=False)
class _Misses:
    """Of some transitions: gap, start, size of the noise (n, dim), standardised miss (n, dim)."""

    gap: np.ndarray
    start: np.ndarray
    size: np.ndarray
    miss: np.ndarray

    @classmethod
    def of(cls, sde: Any, rows: np.ndarray, start: np.ndarray, square: np.ndarray) -> _Misses:
        """Innovations are misses in the order of a triangular factor; back to the variables."""
        gap, _, _ = transitions(sde)
        size = np.sqrt(np.einsum("nii->ni", square))
        miss = np.einsum("nij,nj->ni", factor(square), sde.innovations_.values[rows]) / size
        known = np.isfinite(miss).all(1)  # of a model that diverged not all are
        return cls(gap[rows][known], start[known], size[known], miss[known])

    def curves(self, i: int, at: np.ndarray, drift: np.ndarray, size: np.ndarray) -> list[Curve]:
        """Drift and size of the noise of variable i, with what bins of starts ask for.

        A shift d of the drift moves a standardised miss by ``d sqrt(h) / b``; a factor on the noise
        is that of the misses. Long gaps weaken both sides of the first alike.
        """
        x, inside = self.start[:, i], (self.start[:, i] >= at[0]) & (self.start[:, i] <= at[-1])
        if inside.sum() < _FEWEST_BINS:
            nothing = Asked(*np.zeros((3, 0)))
            return [Curve(at, drift, nothing), Curve(at, size, nothing)]
        count = int(np.clip(inside.sum() // _PER_BIN, _FEWEST_BINS, _MOST_BINS))
        edges = np.quantile(x[inside], np.linspace(0, 1, count + 1))
        which = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, count - 1)
        found = []
        for k in range(count):
            mine = inside & (which == k)
            if mine.sum() < 2:
                continue
            speed = np.sqrt(self.gap[mine]) / self.size[mine, i]
            miss, weight = self.miss[mine, i], (speed**2).sum()
            share = np.sqrt((miss**2).mean())
            found.append([
                x[mine].mean(), (miss * speed).sum() / weight, weight**-0.5,
                share, share / (2 * mine.sum()) ** 0.5,
            ])  # fmt: skip
        place, shift, error, times, spread = np.array(found).reshape(-1, 5).T
        level, width = (np.interp(place, at, c.mean(0)) for c in (drift, size))
        return [
            Curve(at, drift, Asked(place, level + shift, error)),
            Curve(at, size, Asked(place, width * times, width * spread)),
        ]
