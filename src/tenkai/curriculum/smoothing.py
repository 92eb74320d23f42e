"""States and slopes of a problem's observations by the smoother, as the first stage reads them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ..data import Scaler
from .problem import Problem, inputs_at
from .smoother import Kernel, Shape, Smooth, choose, condition

_POINTS = 1200  # at most, for gradient matching


@dataclass(frozen=True, eq=False)
class Smoothed:
    """States (nodes, dim) at the nodes and `slopes` data at points in between.

    `noise_sd` (nodes, dim) is the standard deviation of the noise of an observation at each node,
    in standardised units; an outlier's is large. Of hidden dimensions it is one.
    """

    states: np.ndarray
    t: np.ndarray
    z: np.ndarray
    slope: np.ndarray
    slope_sd: np.ndarray
    u: np.ndarray | None
    noise_sd: np.ndarray


def _one_thread(method: Callable) -> Callable:
    """Small decompositions by several BLAS threads take thirty times as long on a busy machine."""

    @functools.wraps(method)
    def alone(*args, **options):
        with threadpool_limits(1, user_api="blas"):
            return method(*args, **options)

    return alone


class Smoother:
    """Smooths the scaled observations of a problem.

    Its kernels (length, noise, clock per series and variable, pooled over a variable's series) are
    chosen once, on all observations that are not `closed`; the values that a member may not see
    enter no smoothing. With the `scaler` of the observations, noise may be additive or relative.
    Of `hidden` dimensions the first `velocities` are the slopes of the observed ones.
    """

    @_one_thread
    def __init__(
        self,
        problem: Problem,
        scaled: np.ndarray,
        closed: np.ndarray,
        hidden: int = 0,
        scaler: Scaler | None = None,
        velocities: int = 0,
    ):
        self.problem, self.scaled, self.hidden = problem, scaled, hidden
        self.velocities = velocities
        seen = np.where(closed[:, None], np.nan, scaled)
        chosen = [
            _chosen(problem, seen[:, j], _other_noise(scaler, j)) for j in range(scaled.shape[1])
        ]
        self.kernels = list(zip(*chosen, strict=True))

    @property
    def shaped(self) -> np.ndarray:
        """Of which observed variables the noise follows the signal on this scale, bool (dim,)."""
        kinds = [[k.kind for k in c if k is not None] for c in zip(*self.kernels, strict=True)]
        return np.array([bool(k) and k[0] == "shaped" for k in kinds])

    @_one_thread
    def __call__(self, use: np.ndarray) -> Smoothed:
        """Smooth only the entries where `use` (nodes, dim)."""
        parts = [
            self._series(span, kernels, use[span])
            for span, kernels in zip(self.problem.spans, self.kernels, strict=True)
        ]
        states, noise, t, z, slope, sd = (np.concatenate(p) for p in zip(*parts, strict=True))
        u = self._inputs()
        keep = slice(None, None, max(1, len(t) // _POINTS))
        picked = [a[keep] for a in (t, z, slope, sd)]
        return Smoothed(states, *picked, u=None if u is None else u[keep], noise_sd=noise)

    def _series(self, span: slice, kernels: Sequence, use: np.ndarray) -> tuple:
        tau, x = self.problem.tau[span], self.scaled[span]
        at = _doubled(tau)
        smooths = [
            _smoothed(tau[use[:, j]], x[use[:, j], j], at, kernel)
            for j, kernel in enumerate(kernels)
        ]
        for j in range(self.hidden):
            guess = _velocity if j < self.velocities else _hidden
            smooths.append(guess(smooths[j], at))
        nodes = np.searchsorted(at, tau)
        z, noise, slope, sd = (np.stack([getattr(s, n) for s in smooths], 1) for n in _COLUMNS)
        return z[nodes], noise[nodes], at, z, slope, sd

    def _inputs(self) -> np.ndarray | None:
        problem = self.problem
        if problem.inputs is None:
            return None
        parts = ((problem.tau[s], problem.inputs[s]) for s in problem.spans)
        return np.concatenate([inputs_at(_doubled(t), t, u, problem.held) for t, u in parts])


def _doubled(t: np.ndarray) -> np.ndarray:
    """The times, and the middles between them."""
    return np.union1d(t, (t[1:] + t[:-1]) / 2)


_COLUMNS = ("value", "noise_sd", "slope", "slope_sd")


def _chosen(problem: Problem, x: np.ndarray, other: Shape | None) -> list[Kernel | None]:
    """A kernel per series of one variable; None where nothing was seen or nothing ever moves."""
    seen = [s.start + np.flatnonzero(~np.isnan(x[s])) for s in problem.spans]
    used = [i for i in seen if len(i)]
    moving = any(np.ptp(x[i]) > 0 for i in used)
    if not moving or sum(len(i) for i in used) < 3:
        return [None] * len(seen)
    kernels = iter(choose([(problem.tau[i], x[i]) for i in used], other))
    return [next(kernels) if len(i) else None for i in seen]


def _other_noise(scaler: Scaler | None, j: int) -> Shape | None:
    """How noise may depend on the scaled signal: as |x| on the raw scale, as 1/x on the log."""
    if scaler is None:
        return None
    offset, scale = scaler.offset[j], scaler.scale[j]
    if scaler.positive[j]:
        return lambda z: np.exp(-np.clip(scale * z, -20.0, 20.0))
    return lambda z: np.abs(z + offset / scale)


def _smoothed(t: np.ndarray, x: np.ndarray, at: np.ndarray, kernel: Kernel | None) -> Smooth:
    """Without a kernel: a level, with an unknown slope unless several points agree on it."""
    if kernel is None or len(t) == 0:
        level = x.mean() if len(x) else 0.0
        flat, unknown = np.zeros_like(at), np.full_like(at, 1e3)
        slope_sd = flat + 1e-3 if len(t) >= 3 else unknown
        return Smooth(flat + level, flat, unknown, slope_sd, flat + 1.0, 0.0, "constant")
    return condition(t, x, at, kernel)


def _hidden(shown: Smooth, at: np.ndarray) -> Smooth:
    """A first guess of a hidden state: the standardised slope of an observed one."""
    scale = shown.slope.std() or 1.0
    value = (shown.slope - shown.slope.mean()) / scale
    slope = np.gradient(value, at) if len(at) > 1 else np.zeros_like(at)
    sd = 10 * np.abs(slope).mean() + 0 * at
    return Smooth(value, slope, shown.slope_sd / scale, sd, np.ones_like(at), 0.0, "constant")


def _velocity(shown: Smooth, at: np.ndarray) -> Smooth:
    """The slope of an observed state as a state of its own."""
    slope = np.gradient(shown.slope, at) if len(at) > 1 else np.zeros_like(at)
    sd = 0.3 * np.abs(slope).mean() + shown.slope_sd / max(np.median(np.diff(at)), 1e-9) * 0.1
    return Smooth(shown.slope, slope, shown.slope_sd, sd, np.ones_like(at), 0.0, "constant")
