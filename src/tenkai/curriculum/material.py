"""What the stages of a training read, as arrays of sizes that nearly equal problems share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models.grid import Grid
from ..objectives import Penalties, Probe, Segments, Slopes
from .smoothing import Smoothed
from .task import Plan, Task

_POINTS = 128  # the points of gradient matching come in multiples of this
_PROBES = 32  # states on the data where the regularisers look, and as many in and around it
_BEYOND = 1.5  # times the range of the data
_NOISE_RANGE = (0.2, 20.0)  # of a point's noise over the usual one, within which it is weighed
_FLOOR = 1e-2  # squared slope error, in squared typical slopes, that no smoother undercuts

_PENALTY_AXES = Penalties(0, 0, 0, Probe(None, 0, None, None))
SLOPE_AXES = Slopes(None, 0, 0, 0, 0, None, _PENALTY_AXES)
SEGMENT_AXES = Segments(None, None, 0, 0, None, _PENALTY_AXES)


def typical(slope: np.ndarray) -> np.ndarray:
    """The typical size (dim,) of slopes (points, dim)."""
    return np.sqrt(np.mean(slope**2, axis=0)) + 1e-6


def slopes(task: Task, smoothed: Sequence[Smoothed], scale: np.ndarray, p: Penalties) -> Slopes:
    """The batch of gradient matching: what the smoother knows well counts more."""
    spread = np.stack([s.slope_sd for s in smoothed]) / scale[:, None]
    weight = task.alive[:, None] / (spread**2 + _FLOOR)
    weight /= weight.mean((1, 2), keepdims=True)
    one = smoothed[0]
    extra = -len(one.t) % _POINTS

    def pad(a: np.ndarray, axis: int = 1) -> np.ndarray:
        return np.pad(a, [(0, extra if i == axis else 0) for i in range(a.ndim)])

    return Slopes(
        t=pad(one.t, 0),
        z=pad(np.stack([s.z for s in smoothed])),
        slope=pad(np.stack([s.slope for s in smoothed])),
        scale=scale,
        weight=pad(weight),
        u=None if one.u is None else pad(one.u, 0),
        penalties=p,
    )


def precision(points: np.ndarray, noise_sd: np.ndarray) -> np.ndarray:
    """Weights (members, nodes, dim) of the `points`: one over the variance of their noise.

    Their mean per variable is one, so that all variables count alike.
    """
    usual = np.sqrt(_mean(noise_sd**2, points))
    weight = 1.0 / np.clip(noise_sd / np.maximum(usual, 1e-12), *_NOISE_RANGE) ** 2
    return points * weight / np.maximum(_mean(weight, points), 1e-12)


def _mean(a: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Per member and variable, (members, 1, dim); one where there is nothing."""
    count = where.sum(1, keepdims=True)
    return np.where(count > 0, (a * where).sum(1, keepdims=True) / np.maximum(count, 1), 1.0)


def segments(
    task: Task, weight: np.ndarray, grid: Grid, reset: np.ndarray, p: Penalties, plan: Plan
) -> Segments:
    """The batch of a shooting stage; nodes padded to those of the grid and of `reset`."""
    return Segments(
        grid=grid,
        reset=reset,
        values=padded(np.nan_to_num(task.values), grid.nodes),
        weight=padded(weight, grid.nodes),
        continuity=np.float64(plan.continuity),
        penalties=p,
    )


def padded(a: np.ndarray, nodes: int) -> np.ndarray:
    """Zeros behind the nodes: (nodes, ...) or (members, nodes, dim)."""
    axis = 1 if a.ndim == 3 else 0
    return np.pad(a, [(0, nodes - a.shape[i] if i == axis else 0) for i in range(a.ndim)])


def penalties(task: Task, smoothed: Sequence[Smoothed], seed: int) -> Penalties:
    """The members' weights, and probes: states of the smooth, and random ones around them."""
    random = np.random.default_rng(seed)
    points = len(smoothed[0].t)
    on = np.linspace(0, points - 1, _PROBES).astype(int)
    at = np.concatenate([on, random.integers(points, size=_PROBES)])
    z = np.stack([s.z for s in smoothed])
    low, high = z.min(1, keepdims=True), z.max(1, keepdims=True)
    share = 0.5 + _BEYOND * (random.random((len(z), _PROBES, z.shape[2])) - 0.5)
    states = np.concatenate([z[:, on], low + share * (high - low)], axis=1)
    u = smoothed[0].u
    on_data = (np.arange(len(at)) < _PROBES).astype(float)
    probe = Probe(smoothed[0].t[at], states, None if u is None else u[at], on_data)
    weights = np.array([[r.decay, r.jacobian, r.residual] for r in task.recipes])
    decay, jacobian, residual = weights.T
    return Penalties(decay, jacobian, residual, probe)
