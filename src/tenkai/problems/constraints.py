"""Constraints on states, by an augmented Lagrangian (Hestenes 1969; Powell 1969).

``c(t, x, u) <= 0`` at every node of the grid and ``e(x(T)) = 0``. Multipliers and weights are
data of the loss, so that all rounds share one compiled program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .unfolding import Rollout


class Multipliers(NamedTuple):
    """Per path: of the path constraint (paths, N+1, p), of the end (paths, q), both weights."""

    path: Any
    end: Any
    weight: Any  # (paths,)


@dataclass(frozen=True, eq=False)
class Constraints:
    """Both constraints as functions to vectors; None where there is none."""

    path: Callable | None  # (t, x, u) -> (p,)
    end: Callable | None  # (x,) -> (q,)
    horizon: float

    def misses(self, out: Rollout) -> tuple[Any, Any]:
        """``c`` at the nodes (N+1, p) and ``e`` (q,) of one path; zeros where there is none."""
        count = out.states.shape[0]
        t = jnp.linspace(0.0, self.horizon, count)
        c = jnp.zeros((count, 0))
        if self.path is not None:
            c = jax.vmap(self.path)(t, out.states, out.controls)
        return c, jnp.zeros(0) if self.end is None else self.end(out.states[-1])

    def penalty(self, out: Rollout, m: Multipliers) -> Any:
        """``h sum (max(0, mu + w c)^2 - mu^2) / (2 w) + nu e + w e^2 / 2``."""
        c, e = self.misses(out)
        h = self.horizon / (len(c) - 1)
        inside = jnp.maximum(0.0, m.path + m.weight * c) ** 2 - m.path**2
        return h * jnp.sum(inside) / (2 * m.weight) + m.end @ e + m.weight * (e @ e) / 2


def first(c: np.ndarray, e: np.ndarray, cost: np.ndarray) -> Multipliers:
    """No multipliers; a weight that makes the misses of the first path cost what the path costs."""
    squares = np.maximum((np.maximum(c, 0) ** 2).mean(axis=(1, 2)) if c.size else 0, 0)
    squares = squares + (e**2).sum(axis=1)
    weight = np.clip(20 * np.maximum(np.abs(cost), 1e-3) / np.maximum(squares, 1e-6), 1.0, 1e4)
    return Multipliers(np.zeros_like(c), np.zeros_like(e), np.broadcast_to(weight, len(cost)))


def updated(m: Multipliers, c: np.ndarray, e: np.ndarray, raise_weight: bool) -> Multipliers:
    """``mu <- max(0, mu + w c)``, ``nu <- nu + w e``; the weight grows where misses do not fall."""
    w = m.weight
    path = np.maximum(0.0, m.path + w[:, None, None] * c)
    return Multipliers(path, m.end + w[:, None] * e, 5 * w if raise_weight else w)


def violation(c: np.ndarray, e: np.ndarray) -> float:
    """The largest miss of either constraint."""
    worst = [np.max(part, initial=0.0) for part in (c, np.abs(e))]
    return float(max(worst)) if np.isfinite(worst).all() else float("inf")
