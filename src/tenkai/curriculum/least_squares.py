"""Levenberg-Marquardt inside a compiled program: few unknowns, many residuals."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

_MOST_DAMPED = 1e9  # no step is better any more


class Normal(NamedTuple):
    """Sum of squared residuals, ``J^T r``, ``J^T J``, and anything else worth keeping."""

    cost: Float[Array, ""]
    slope: Float[Array, " n"]
    matrix: Float[Array, "n n"]
    more: PyTree = ()


class _State(NamedTuple):
    at: Float[Array, " n"]
    normal: Normal
    damping: Float[Array, ""]
    step: Array
    settled: Array


def levenberg_marquardt(
    normal: Callable[[Float[Array, " n"]], Normal],
    guess: Float[Array, " n"],
    free: Bool[Array, " n"],
    most: int = 40,
) -> tuple[Float[Array, " n"], Normal]:
    """The least squares near `guess`, moving only what is `free`, in at most that many steps.

    Damping is relative to the diagonal of ``J^T J`` (Marquardt 1963), so the units of the unknowns
    do not matter. A step to a larger or non-finite sum is refused; where `guess` itself is not
    finite the cost is infinite.
    """
    shapes = jax.eval_shape(normal, guess)
    nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    nothing = nothing._replace(cost=jnp.full_like(nothing.cost, jnp.inf))
    eps = jnp.finfo(guess.dtype).eps

    def improve(state: _State) -> _State:
        at, now, damping = state.at, state.normal, state.damping
        to = at + _move(now, damping, free)
        there = normal(to)
        better = there.cost < now.cost  # False for NaN: a path that blows up is refused
        gain = now.cost - there.cost
        settled = better & (gain <= eps**0.5 * there.cost + eps**2) & (damping < 1.0)
        at, now = jax.tree.map(lambda a, b: jnp.where(better, a, b), (to, there), (at, now))
        damping = jnp.where(better, damping / 4, damping * 4)
        return _State(at, now, damping, state.step + 1, settled | (damping > _MOST_DAMPED))

    def going(state: _State) -> Array:
        return (state.step < most) & ~state.settled

    # The first step goes nowhere and is accepted: the program holds `normal` only once.
    begun = _State(guess, nothing, jnp.full((), 1e-2, guess.dtype), jnp.int32(0), jnp.array(False))
    done = jax.lax.while_loop(going, improve, begun)
    return done.at, done.normal


def _move(now: Normal, damping: Array, free: Array) -> Array:
    pairs = free[:, None] & free[None, :]
    matrix, slope = jnp.where(pairs, now.matrix, 0.0), jnp.where(free, now.slope, 0.0)
    diagonal = jnp.diag(matrix)
    unit = jnp.where(diagonal > 0, diagonal, 1.0) ** -0.5
    lift = damping + 10 * jnp.finfo(slope.dtype).eps
    scaled = unit[:, None] * matrix * unit + lift * jnp.eye(len(slope), dtype=slope.dtype)
    return -unit * jnp.linalg.solve(scaled, unit * slope)
