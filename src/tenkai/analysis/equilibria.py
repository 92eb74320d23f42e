"""Equilibria and limit cycles of an ensemble's mean field, and what its members make of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data import Trajectories
from ..errors import InputError
from ..models.ensemble import Ensemble
from ..records import Cycle, Equilibria, Equilibrium
from .cycles import Closed, Walk, find_cycles
from .flow import POINTS, Flow
from .kinds import kind_of, spectrum
from .region import Region, held_inputs, region_of, scattered, thinned
from .roots import FLAT, Roots, distinct, newton

_MOST_FLAT = 8  # flat roots beyond which they are taken for points of a curve
_ORBIT_MARGIN = 0.1  # of the data's range: sparse observations miss the turning points
_ASIDE = 0.1  # of the data's range: where a path next to an equilibrium starts
_FAR = 0.5  # standard deviations from the nearest state of the data
_SMOOTH = 300  # points of a drawn path
_FATES = {
    "left": "leaves the searched region",
    "moving": "is neither at rest nor periodic by the end of the search",
    "spiralling": "comes back near to itself, but closes nowhere: it is not periodic yet",
}
_NAMED = 0.1  # standardised distance within which a path at rest is at an equilibrium


def find_equilibria(
    ensemble: Ensemble, data: Trajectories, u: Any = None, box: Any = None
) -> Equilibria:
    """The roots of ``sum_m f_m(z, u) / M`` over the trusted members, and the limit cycles.

    `u` (inputs,) in raw units is held constant, the training mean unless given. Roots are looked
    for in `box` (variables, 2) in raw units, or in the range of the data enlarged by half of it on
    each side, from states that the data visited and from evenly spread ones.

    Raises `InputError` for a field that reads the time: its equilibria would move.
    """
    raw_inputs = held_inputs(ensemble, data, u)
    scaled = None
    if raw_inputs is not None and ensemble.inputs is not None:
        scaled = ensemble.inputs.forward(raw_inputs)
    flow = Flow(ensemble, scaled)
    with np.errstate(over="ignore", invalid="ignore"):
        region = region_of(ensemble, data, box)
        starts = thinned(region.states, POINTS // 2)
        scale = _typical_slope(flow, starts)
        roots, notes = _mean_roots(flow, region, starts, scale)
        points = _equilibria(flow, region, roots, scale)
        points = [points[i] for i in _order(points, roots.z, region)]
        cycles, told = _cycles(flow, region, roots, points, data)
    return Equilibria(
        points=tuple(points),
        cycles=tuple(cycles),
        names=names_of(ensemble, data),
        trusted=len(flow.trusted),
        notes=(*notes, *told, *_far(points)),
        inputs=_named_inputs(raw_inputs, data),
        time_name=data.time_name,
        time_unit=data.clock.unit,
        paths=tuple(_drawn(flow, p.mean(0), s.t) for p, s in zip(region.paths, data, strict=True)),
        observed=ensemble.shown,
        derivative=_raw_derivative(flow),
    )


def names_of(ensemble: Ensemble, data: Trajectories) -> tuple[str, ...]:
    """Names of all state dimensions, the hidden ones numbered."""
    hidden = ensemble.dim - ensemble.shown
    return (*data.names, *(f"hidden {k + 1}" for k in range(hidden)))


def full_raw(ensemble: Ensemble, z: np.ndarray) -> np.ndarray:
    """States (..., dim) in raw units; hidden dimensions stay in model units."""
    return np.concatenate([ensemble.raw(z), z[..., ensemble.shown :]], axis=-1)


def _named_inputs(raw: np.ndarray | None, data: Trajectories) -> dict[str, float]:
    names = (*data.input_names, *data.static_names)
    return {} if raw is None else dict(zip(names, map(float, raw), strict=True))


def _typical_slope(flow: Flow, states: np.ndarray) -> np.ndarray:
    """Root mean square slope (dim,) at states of the data; `InputError` if it reads the time."""
    slopes = flow.linearised(states)[0]
    typical = np.sqrt(np.nanmean(slopes**2, axis=0))
    typical = np.maximum(typical, 1e-6 * typical.max() + 1e-12)
    for tau in (0.371, 1.0):
        moved = np.abs(flow.linearised(states, tau=tau)[0] - slopes) > 1e-6 * typical
        if moved.any():
            raise InputError(
                "equilibria", expected="a field that does not read the time",
                got="one that does: what stands still now moves later",
                do="fit with time_dependent=False",
            )  # fmt: skip
    return typical


def _mean_roots(
    flow: Flow, region: Region, starts: np.ndarray, scale: np.ndarray
) -> tuple[Roots, list[str]]:
    """The distinct roots of the mean field in the searched box."""
    spread = scattered(region.search_low, region.search_high, POINTS - len(starts))
    z = np.concatenate([starts, spread])
    roots = newton(flow, z, np.broadcast_to(flow.mean, (len(z), len(flow))), scale)
    roots = roots._replace(found=roots.found & region.searched(roots.z))
    kept = distinct(roots)
    flat = [i for i in kept if _is_flat(roots.jacobian[i])]
    notes: list[str] = []
    if len(flat) > _MOST_FLAT:
        centre = (region.low + region.high) / 2
        nearest = min(flat, key=lambda i: float(np.abs(roots.z[i] - centre).max()))
        kept = np.array([i for i in kept if i not in flat or i == nearest])
        notes.append(
            "equilibria fill a curve or surface (a quantity is conserved, say): one is shown"
        )
    if not len(kept):
        notes.append("no equilibrium in the searched box")
    return Roots(roots.z[kept], roots.found[kept], roots.jacobian[kept]), notes


def _is_flat(jacobian: np.ndarray) -> bool:
    return bool(np.abs(np.linalg.eigvals(jacobian)).min() < FLAT)


def _equilibria(flow: Flow, region: Region, roots: Roots, scale: np.ndarray) -> list[Equilibrium]:
    """Every root with those of the members that belong to it."""
    count, members = len(roots.z), flow.trusted
    if not count:
        return []
    starts = np.repeat(roots.z, len(members), axis=0)
    weights = np.tile(np.stack([flow.member(m) for m in members]), (count, 1))
    theirs = newton(flow, starts, weights, scale)
    owner = np.repeat(np.arange(count), len(members))
    apart = np.abs(theirs.z[:, None] - roots.z[None]).max(-1)
    near = apart.min(1) < 0.5 * (region.high - region.low).max()
    belongs = theirs.found & near & (apart.argmin(1) == owner)
    made = []
    for i in range(count):
        mine = belongs & (owner == i)
        made.append(_equilibrium(flow.ensemble, region, roots, i, theirs, mine))
    return made


def _equilibrium(
    ensemble: Ensemble, region: Region, roots: Roots, i: int, theirs: Roots, mine: np.ndarray
) -> Equilibrium:
    spectra = spectrum(roots.jacobian[i], theirs.jacobian[mine])
    kind, stable = kind_of(spectra)
    places = (
        full_raw(ensemble, theirs.z[mine]) if mine.any() else np.full((1, ensemble.dim), np.nan)
    )
    return Equilibrium(
        point=full_raw(ensemble, roots.z[i]),
        spread=places.std(0),
        eigenvalues=spectra.values / ensemble.time.scale,
        eigenvalue_spread=spectra.spread / ensemble.time.scale,
        kind=kind,
        stable=stable,
        members=int(mine.sum()),
        inside=bool(region.holds(roots.z[i])),
        distance=float(np.linalg.norm(region.states - roots.z[i], axis=1).min()),
    )


def _order(points: list[Equilibrium], z: np.ndarray, region: Region) -> list[int]:
    """Inside the data first, then by how many members have it, then by place."""
    centre = (region.low + region.high) / 2
    far = np.abs(z - centre).max(1) if len(z) else np.zeros(0)
    return sorted(
        range(len(points)),
        key=lambda i: (not points[i].inside, -points[i].members, round(float(far[i]), 6), *z[i]),
    )


def _cycles(
    flow: Flow, region: Region, roots: Roots, points: list[Equilibrium], data: Trajectories
) -> tuple[list[Cycle], list[str]]:
    """Limit cycles, and what is to be said about the paths that found none."""
    ensemble = flow.ensemble
    if ensemble.dim < 2:
        return [], []
    starts, way = _beginnings(region, roots)
    found, walks = find_cycles(flow, region, starts, way * ensemble.step)
    cycles, notes = [], []
    for closed, theirs in found:
        if closed.neutral:
            period = closed.period * ensemble.time.scale
            family = "paths close without a limit cycle, as around a centre: "
            if not any(note.startswith(family) for note in notes):
                notes.append(f"{family}period {period:.4g} of the path followed")
        elif 2 * len(theirs) > len(flow.trusted):
            cycles.append(_cycle(ensemble, region, closed, theirs, data))
        else:
            notes.append(
                f"left out: a closed orbit that {len(theirs)} of {len(flow.trusted)} members have"
            )
    if not cycles and not notes:
        notes.append("no limit cycle found: " + _fate(walks[0], flow, points))
    return cycles, list(dict.fromkeys(notes))


def _beginnings(region: Region, roots: Roots) -> tuple[np.ndarray, np.ndarray]:
    """Where paths start and which way in time: out of the data, and next to foci and centres.

    A path away from an unstable focus settles on the cycle around it; backwards in time one away
    from a stable focus finds the unstable cycle around that.
    """
    ends = [p[:, -1].mean(0) for p in region.paths[:3]]
    starts, way = ends[:], [1.0] * len(ends)
    step = _ASIDE * (region.high - region.low)
    turning = [
        z for z, j in zip(roots.z, roots.jacobian, strict=True)
        if np.abs(np.linalg.eigvals(j).imag).max() > FLAT and region.holds(z, 0.5)
    ]  # fmt: skip
    for z in turning[:2]:
        starts += [z + step, z + step]
        way += [1.0, -1.0]
    good = [i for i, z in enumerate(starts) if np.isfinite(z).all()]
    return np.stack([starts[i] for i in good]), np.array([way[i] for i in good])


def _cycle(
    ensemble: Ensemble, region: Region, closed: Closed, theirs: list[Closed], data: Trajectories
) -> Cycle:
    growths = np.array([closed.growth, *(c.growth for c in theirs)]) - 1
    periods = np.array([c.period for c in theirs])
    agreed = (np.sign(growths) == np.sign(growths[0])).all()
    return Cycle(
        period=float(closed.period * ensemble.time.scale),
        period_spread=float(periods.std() * ensemble.time.scale) if len(periods) else float("nan"),
        orbit=full_raw(ensemble, closed.orbit),
        multipliers=closed.multipliers,
        stable=bool(growths[0] < 0) if agreed else None,
        members=len(theirs),
        inside=bool(region.holds(closed.orbit, _ORBIT_MARGIN).all()),
        names=names_of(ensemble, data),
        time_name=data.time_name,
    )


def _fate(walk: Walk, flow: Flow, points: list[Equilibrium]) -> str:
    """What the path out of the data's last state does instead."""
    if walk.fate != "at rest":
        return "the path from the last state " + _FATES[walk.fate]
    end = full_raw(flow.ensemble, walk.state)
    for point in points:
        away = flow.ensemble.state.forward(point.point[: flow.ensemble.shown])
        if np.abs(away - walk.state[: flow.ensemble.shown]).max() < _NAMED:
            return f"the path from the last state comes to rest at the {point.kind}"
    place = ", ".join(f"{v:.4g}" for v in end)
    return f"the path from the last state comes to rest at ({place})"


def _far(points: list[Equilibrium]) -> list[str]:
    """A warning about equilibria that no state of the data is near."""
    far = sum(e.distance > _FAR for e in points)
    if not far:
        return []
    return [
        f"far from all data (over {_FAR} standard deviations): {far} of {len(points)} equilibria; "
        "all members extrapolate there, so that their agreement says less"
    ]


def _drawn(flow: Flow, z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A path (time, dim) in raw units with points between the times for drawing.

    Cubics through the states with the flow's slopes; where inputs move, the slopes are not known
    and the states alone are given.
    """
    ensemble = flow.ensemble
    if flow.inputs is not None or len(t) < 2 or not np.isfinite(z).all():
        return full_raw(ensemble, z)
    from scipy.interpolate import CubicHermiteSpline

    tau = ensemble.time.forward(t)
    fine = np.linspace(tau[0], tau[-1], max(_SMOOTH, len(t)))
    spline = CubicHermiteSpline(tau, z, flow.linearised(z)[0])
    return full_raw(ensemble, spline(np.union1d(tau, fine)))


def _raw_derivative(flow: Flow):
    """``dy/dt`` (n, dim) at states (n, dim) in raw units, for pictures."""
    ensemble = flow.ensemble
    hidden = ensemble.dim - ensemble.shown
    state = ensemble.state.extended(hidden)

    def derivative(y: np.ndarray) -> np.ndarray:
        slope = flow.linearised(state.forward(y))[0]
        return slope * state.scale / ensemble.time.scale * np.where(state.positive, y, 1.0)

    return derivative
