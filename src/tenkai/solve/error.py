"""The error of a fixed grid by step doubling, and the grid that a tolerance asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..unfold import RK4, Tableau
from .grid import Hold, Times
from .integrate import solve


def step_error(
    field: Callable,
    y0: PyTree,
    ts: Times,
    *,
    u: Any = None,
    hold: Hold = "linear",
    method: Tableau = RK4,
    substeps: int | Sequence[int] | np.ndarray = 1,
) -> Float[Array, ""]:
    """How far the path at `ts` moves when every step is halved, relative to its range.

    ``max |y_fine - y_coarse| / range(y_fine)``, the largest over times and variables. A variable
    that moves less than a hundredth of the most moving one is measured against that hundredth.
    """
    options: dict[str, Any] = {"u": u, "hold": hold, "method": method}
    coarse = solve(field, y0, ts, substeps=substeps, **options).ys
    fine = solve(field, y0, ts, substeps=2 * np.asarray(substeps), **options).ys
    moves = [jnp.max(jnp.abs(a - b), axis=0).ravel() for a, b in _pairs(fine, coarse)]
    ranges = [jnp.ptp(a, axis=0).ravel() for a in jax.tree.leaves(fine)]
    move, width = jnp.concatenate(moves), jnp.concatenate(ranges)
    width = jnp.maximum(width, 0.01 * jnp.max(width))
    return jnp.max(jnp.where(move == 0, 0, move / jnp.where(width == 0, 1, width)))


def _pairs(a: PyTree, b: PyTree) -> zip:
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)


def substeps_for(
    error: float, tolerance: float, *, substeps: int = 1, method: Tableau = RK4, limit: int = 64
) -> int:
    """How many substeps bring a `step_error` measured with `substeps` below `tolerance`.

    Halving the step of a method of order p removes all but ``2^-p`` of its error, so the error is
    ``error / (1 - 2^-p)`` and falls like ``substeps^-p``. At most `limit`; never fewer than now;
    an error that is not finite asks for twice as many.
    """
    if not math.isfinite(error):
        return min(limit, 2 * substeps)
    ratio = error / (1 - 2.0**-method.order) / tolerance
    needed = math.ceil(substeps * ratio ** (1 / method.order))
    return max(substeps, min(limit, needed))
