"""Roots of a flow from many starts, by damped Newton steps on all of them at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .flow import Flow

_LIMIT = 60
_SMALL = 1e-9  # of the flow's typical slope: no slope at all
_STUCK = 1e8
_SAME, _SAME_FLAT = 1e-4, 0.05  # standardised distances below which two roots are one


class Roots(NamedTuple):
    """States (n, dim), whether each has no slope, and the Jacobians there (n, dim, dim)."""

    z: np.ndarray
    found: np.ndarray
    jacobian: np.ndarray


def newton(flow: Flow, z: np.ndarray, weights: np.ndarray, scale: np.ndarray) -> Roots:
    """Damped Newton steps from states `z` (n, dim) of the flows with `weights` (n, members).

    ``(J^T J + l I) d = -J^T F`` with F in units of `scale` (dim,); l falls tenfold after a step
    that makes \\|F\\| smaller and rises tenfold after one that does not (Levenberg 1944;
    Marquardt 1963). Where J is singular this still converges, if slowly.
    """
    z, damping = z.copy(), np.full(len(z), 1e-2)
    f, j = _scaled(flow, z, weights, scale)
    for _ in range(_LIMIT):
        size = np.linalg.norm(f, axis=1)
        open_ = np.isfinite(size) & (size > 0) & (damping < _STUCK)
        if not (open_ & (size > 1e-3 * _SMALL)).any():
            break
        trial = np.where(open_[:, None], z + _step(f, j, damping), z)
        f_new, j_new = _scaled(flow, trial, weights, scale)
        better = open_ & (np.linalg.norm(f_new, axis=1) < size)
        z[better], f[better], j[better] = trial[better], f_new[better], j_new[better]
        damping = np.clip(np.where(better, damping / 10, damping * 10), 1e-14, 10 * _STUCK)
    return Roots(z, np.abs(f).max(1) < _SMALL, j * scale[:, None])


def _scaled(
    flow: Flow, z: np.ndarray, weights: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and Jacobians in units of `scale`; a state without finite ones never improves."""
    f, j = flow.linearised(z, weights)
    bad = ~(np.isfinite(f).all(1) & np.isfinite(j).all((1, 2)))
    f, j = f / scale, j / scale[:, None]
    f[bad], j[bad] = np.inf, 0.0
    return f, j


def _step(f: np.ndarray, j: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """Damped Newton steps, none longer than one (a standard deviation of the data)."""
    f = np.where(np.isfinite(f), f, 0.0)
    square = j.transpose(0, 2, 1) @ j + damping[:, None, None] * np.eye(f.shape[1])
    step = -np.linalg.solve(square, (j.transpose(0, 2, 1) @ f[..., None]))[..., 0]
    return step / np.maximum(1.0, np.linalg.norm(step, axis=1, keepdims=True))


def distinct(roots: Roots) -> np.ndarray:
    """Positions of the found roots, each once; a flat root (double, say) is found less exactly."""
    rates = np.abs(np.linalg.eigvals(np.where(roots.found[:, None, None], roots.jacobian, 0.0)))
    radius = np.where(rates.min(1) < FLAT, _SAME_FLAT, _SAME)
    kept: list[int] = []
    for i in np.flatnonzero(roots.found):
        away = np.abs(roots.z[kept] - roots.z[i]).max(1) if kept else np.array([])
        if not (away < np.maximum(radius[kept], radius[i])).any():
            kept.append(int(i))
    return np.array(kept, int)


FLAT = 1e-4
"""Rates below this, per length of the longest series, are zero: nothing that data could show."""
