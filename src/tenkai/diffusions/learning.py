"""All of it: from trajectories to a drift and a diffusion."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import numpy as np
from threadpoolctl import threadpool_limits

from ..curriculum.problem import drivers_of
from ..data import Scaler, Series, TimeScaler, Trajectories
from ..models.ensemble import cast
from ..models.equation import Relative
from ..models.sde import SDE, Units
from ..records import Fit
from .moments import innovation
from .scale import choose_scale
from .scoring import MOST_UNKNOWNS, Scored, score_to_end, size
from .start import Columns, Start, plain, start
from .training import FEW_STEPS, MANY_STEPS, Frame, Unknowns, Weighed, sde, train, unknowns
from .transitions import Pairs, Transitions, arrivals, first_substeps, pack, substeps

_NEGLIGIBLE = 0.3  # standard errors that more substeps may move an estimate by
_MOST_DOUBLINGS = 5
_WORSE = 20.0  # nats of likelihood that a stronger prior may cost


@dataclass(frozen=True)
class Design:
    """What is learned and how; the estimator's scalar knobs end here."""

    members: int = 1
    width: int = 16
    full: bool = False
    drift: Callable | None = None
    diffusion: Callable | None = None
    time_dependent: bool = False
    positive: np.ndarray | None = None
    seed: int = 0
    dtype: Any = np.float64
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Learned:
    """Stacked members' `SDE`, the numbers of a user's fields, and what transitions look like.

    `errors` (n, dim) are standardised innovations and `logs` (n,) their log densities in raw units,
    both means over members; `remembered` (dim,) is the share of the variance of the ends that
    their starts explain; `substeps` are per usual gap.
    """

    model: SDE
    pairs: Pairs
    errors: np.ndarray
    logs: np.ndarray
    remembered: np.ndarray
    substeps: int
    fits: tuple[Fit, ...]
    at: Unknowns
    scored: Scored | None
    notes: tuple[str, ...]
    seconds: dict[str, float]


def pairs_of(series: Sequence[Series], units: Units, held: bool) -> Pairs:
    """Transitions between successive whole rows; a row without observations makes a longer gap.

    Inputs run straight from one row to the next, or are `held` at the first one's.
    """
    parts = []
    for i, one in enumerate(series):
        seen = np.isfinite(one.x).all(1)
        t, z = units.time.forward(one.t[seen]), units.state.forward(one.x[seen])
        u = None
        if units.inputs is not None:
            u = units.inputs.forward(drivers_of(one.u, one.static, len(one)))[seen]
        ends = (None, None) if u is None else (u[:-1], u[:-1] if held else u[1:])
        parts.append(Pairs(t[:-1], np.diff(t), z[:-1], z[1:], *ends, np.full(len(t) - 1, i)))
    return Pairs(*(None if p[0] is None else np.concatenate(p) for p in zip(*parts, strict=True)))


def units_of(data: Trajectories, positive: np.ndarray) -> Units:
    """Standard deviations of the states and inputs, and the usual gap."""
    values = np.concatenate([s.x[np.isfinite(s.x).all(1)] for s in data])
    gaps = np.concatenate([np.diff(s.t[np.isfinite(s.x).all(1)]) for s in data])
    clock = TimeScaler(np.float64(min(s.t[0] for s in data)), np.float64(np.median(gaps)))
    inputs = None
    if data.n_inputs or data.static_names:
        inputs = Scaler.fit(np.concatenate([drivers_of(s.u, s.static, len(s)) for s in data]))
    return Units(Scaler.fit(values, positive), clock, inputs)


def learn(data: Trajectories, design: Design) -> Learned:
    """Scale, start by regression, maximise the likelihood, refine the substeps, check."""
    begun = time.perf_counter()
    with threadpool_limits(1, user_api="blas"):
        positive, notes = choose_scale(data, design.positive, lambda p: _columns(data, p, design))
        units = units_of(data, positive)
        pairs = pairs_of(data.series, units, data.hold == "previous")
        columns = Columns.of(pairs, design.full, design.time_dependent)
        frames = _frames(_starts(columns, design), units, design)
    started = time.perf_counter()
    run = _Run(design, pairs, frames)
    run.go()
    if not run.finite and not run.equation:
        run = _Run(design, pairs, _frames([plain(columns)], units, design))
        run.notes.append(
            "smooth fields blow up along these data: an affine drift and a level diffusion instead"
        )
        run.go()
    errors, logs, ends = run.walked
    logs = -0.5 * (errors**2).sum(-1) - logs - 0.5 * errors.shape[-1] * np.log(2 * np.pi)
    seconds = {"start": started - begun, "likelihood": time.perf_counter() - started}
    return Learned(
        run.models(), pairs, errors.mean(0), logs.mean(0) + jacobian(pairs, units),
        1 - (pairs.z1 - ends.mean(0)).var(0) / pairs.z1.var(0), run.substeps, tuple(run.fits),
        run.at, run.scored, (*notes, *run.notes), seconds,
    )  # fmt: skip


def _columns(
    data: Trajectories, positive: np.ndarray, design: Design
) -> tuple[Columns, np.ndarray]:
    """What a start reads on a scale, and the log Jacobian of that scale per transition."""
    units = units_of(data, positive)
    pairs = pairs_of(data.series, units, data.hold == "previous")
    return Columns.of(pairs, design.full, design.time_dependent), jacobian(pairs, units)


def jacobian(pairs: Pairs, units: Units) -> np.ndarray:
    """``log |dz/dx|`` (n,) at the ends of transitions."""
    state = units.state
    x = state.inverse(pairs.z1)
    return -np.log(state.scale * np.where(state.positive, x, 1.0)).sum(1)


def _starts(columns: Columns, design: Design) -> list[Start]:
    """One per member; members differ in their hidden units, so without units one is enough.

    Beside a user's field there is one, whose numbers have one value.
    """
    random = np.random.default_rng(design.seed)
    whole = design.drift is not None and design.diffusion is not None
    width = 0 if whole else design.width
    starts: list[Start] = []
    for _ in range(1 if design.drift or design.diffusion else design.members):
        starts.append(start(columns, width, random))
        if not len(starts[-1].hidden.threshold):  # affine: all members would be the same
            return starts[-1:]
    return starts


def _frames(starts: list[Start], units: Units, design: Design) -> list[Frame]:
    """A frame per start; None where a user's field stands."""
    return [
        Frame(
            None if design.drift else s.drift, None if design.diffusion else s.diffusion,
            s.hidden, s.base, units,
        )
        for s in starts
    ]  # fmt: skip


class _Run:
    """Training on ever finer substeps, until they move no estimate by much."""

    def __init__(self, design: Design, pairs: Pairs, frames: list[Frame]):
        self.design, self.pairs, self.substeps = design, pairs, first_substeps(pairs)
        self.members = len(frames)
        self.frames = cast(jax.tree.map(lambda *a: np.stack(a), *frames), design.dtype)
        begin = unknowns(frames[0], design.drift, design.diffusion)
        self.at = cast(jax.tree.map(self._stacked, begin), design.dtype)
        self.equation = any(isinstance(a, Relative) for a in (self.at.drift, self.at.diffusion))
        self.few = self.equation and size(begin) <= MOST_UNKNOWNS
        self.fits: list[Fit] = []
        self.scored: Scored | None = None
        self.notes: list[str] = []

    def _stacked(self, a: Any) -> Any:
        return np.stack([np.asarray(a)] * self.members) if eqx.is_array_like(a) else a

    def go(self) -> None:
        """Train; double the substeps and go on while that moves something."""
        for _ in range(_MOST_DOUBLINGS + 1):
            self._train()
            moved = self._moved()
            if not moved > _NEGLIGIBLE:
                return
            self.substeps *= 2
        self.notes.append(
            f"{self.substeps} substeps per gap are not enough for the moments of a transition"
        )

    def _train(self) -> None:
        if self.equation:
            self._fit(near=False, steps=FEW_STEPS if self.few else MANY_STEPS)
            if self.few:
                self._score()
            return
        begun, before = self.at, self._likelihood()
        if not np.isfinite(before):
            return
        self._fit(near=True)
        if not self._likelihood() > before - _WORSE:
            self.notes.append(
                "the maximum is far from the first guess, as with long gaps: trained in small steps"
            )
            self.at = begun
            self._fit(near=False)

    def _fit(self, *, near: bool, steps: int = MANY_STEPS) -> None:
        made = train(
            self.at, self.frames, self.packed(), self.members, self.design.time_dependent,
            near, steps, **self.design.options,
        )  # fmt: skip
        self.fits.append(made)
        self.at = jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, made.model)

    def _score(self) -> None:
        count, history = np.float64(len(self.pairs.gap)), self.fits[-1].history
        one = jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, (self.at, self.frames))
        last = history[-1]["loss"] if history else None
        offset = 0.0 if last is None or not np.isfinite(last) else last * count
        batch = Weighed(one[1], self.packed(), count)
        best, self.scored = score_to_end(one[0], batch, self.design.time_dependent, offset)
        self.at = jax.tree.map(self._stacked, best)

    def _likelihood(self) -> float:
        """The lowest member's log density of all transitions, but for a constant."""
        errors, logs, _ = walk(self.models(), self.packed(1, 2), self.design.dtype)
        return float((-0.5 * (errors**2).sum((1, 2)) - logs.sum(1)).min())

    @property
    def finite(self) -> bool:
        """Whether every transition has a density."""
        return all(np.isfinite(a).all() for a in self.walked)

    def packed(self, finer: int = 1, room: int = 1) -> Transitions:
        """The transitions in rows, with `finer` times the substeps."""
        counts = finer * self.substeps * substeps(self.pairs)
        return cast(pack(self.pairs, counts, room), self.design.dtype)

    def _moved(self) -> float:
        """By how many standard errors twice the substeps would move an estimate, at most."""
        self.walked = e, logs, _ = walk(self.models(), self.packed(1, 2), self.design.dtype)
        finer, finer_logs, _ = walk(self.models(), self.packed(2), self.design.dtype)
        shift = ((finer - e) ** 2).mean((0, 1)).max() + 2 * ((finer_logs - logs) ** 2).mean()
        return float(np.sqrt(shift * len(self.pairs.gap)))

    def models(self) -> SDE:
        """The members' fields in standardised units."""
        count = np.asarray(float(len(self.pairs.gap)), self.design.dtype)
        made = _fields(self.design.time_dependent)(self.at, self.frames, count)
        return jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, made)


def walk(model: SDE, data: Transitions, dtype: Any) -> tuple[np.ndarray, ...]:
    """Standardised innovations (members, n, dim), log determinants (members, n), and means."""
    return tuple(np.asarray(a, float) for a in _walk()(model, cast(data, dtype)))


@functools.cache
def _fields(timed: bool) -> Callable:
    def fields(at: Unknowns, frame: Frame, count: Any) -> SDE:
        return sde(at, frame, count, timed)

    first = eqx.if_array(0)
    return eqx.filter_jit(eqx.filter_vmap(fields, in_axes=(first, first, None)))


@functools.cache
def _walk() -> Callable:
    def one(model: SDE, data: Transitions) -> tuple[Any, Any, Any]:
        reached = arrivals(model, data)
        return *jax.vmap(innovation)(reached, data.z1), reached.mean

    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=(eqx.if_array(0), None)))
