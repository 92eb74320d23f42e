"""Is a feedback policy stable? The eigenvalues of the closed loop where it comes to rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .unfolding import Plant

_NEWTON = 50
_REST = 1e-8  # of the typical slope: what counts as standing still


class Loop(NamedTuple):
    """The rest point next to the end of the paths, and the eigenvalues there."""

    point: np.ndarray
    eigenvalues: np.ndarray


def closed_loop(
    plant: Plant, policy: Callable, states: Float[np.ndarray, "paths time dim"]
) -> Loop | None:
    """By Newton's method from the mean state at the end, and from the origin.

    None for a system or a policy that reads the time (it has no rest points), and where no rest
    point is found near the states that the paths visit.
    """
    seen = states.reshape(-1, states.shape[-1])
    seen = seen[np.isfinite(seen).all(axis=1)]
    end = states[:, -1].mean(axis=0)
    if not len(seen):
        return None

    def slope(t: jax.Array, x: jax.Array) -> jax.Array:
        return plant.dynamics(t, x, policy(t, x))

    @jax.jit
    def at(t: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return slope(t, x), jax.jacfwd(slope, argnums=1)(t, x)

    probes = seen[:: max(1, len(seen) // 20)][:20]
    begin, late = (np.stack([at(t, x)[0] for x in probes]) for t in (0.0, plant.horizon))
    scale = np.abs(late).max()
    if not np.isfinite(scale) or np.abs(begin - late).max() > 1e-6 * scale:
        return None
    size = np.abs(seen).max() + 1e-12
    starts = [end, np.zeros_like(end)] if np.isfinite(end).all() else [np.zeros_like(end)]
    for start in starts:
        x = _rest(at, start, _REST * scale)
        if x is not None and np.abs(x - start).max() <= 2 * size:
            return Loop(x, np.linalg.eigvals(np.asarray(at(plant.horizon, x)[1])))
    return None


def _rest(at: Callable, x: np.ndarray, tolerance: float) -> np.ndarray | None:
    for _ in range(_NEWTON):
        f, jacobian = (np.asarray(a) for a in at(0.0, jnp.asarray(x)))
        if not (np.isfinite(f).all() and np.isfinite(jacobian).all()):
            return None
        if np.abs(f).max() <= tolerance:
            return x
        x = x - np.linalg.lstsq(jacobian, f, rcond=None)[0]
    return None
