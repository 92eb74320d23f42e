"""All rows of a problem as one system over unit time, and the programs that solve it.

Rows share their steps, as they do in training. Step counts and tolerances are data, so that a
method compiles once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from ..fields import together
from ..models.ensemble import cast
from ..solve import solve
from ..unfold import Interval, Tableau, runge_kutta
from .problem import Problem


class Rows(eqx.Module):
    """``dY/ds = (t1 - t0) f(t0 + s (t1 - t0), Y, args)`` for s in [0, 1], row by row."""

    field: Callable
    args: PyTree
    span: Float[Array | np.ndarray, "rows 2"]

    def __call__(self, s: Any, y: Float[Array, "rows dim"], _: Any = None) -> Any:
        begin, length = self.span[:, 0], self.span[:, 1] - self.span[:, 0]

        def one(y: Array, begin: Any, length: Any, args: Any) -> Array:
            slope = jnp.asarray(self.field(begin + s * length, y, args), y.dtype)
            return length * slope

        with together(len(y)):
            return jax.vmap(one)(y, begin, length, self.args)


def system_of(problem: Problem, dtype: Any) -> tuple[Rows, np.ndarray]:
    """The system and where it starts, all numbers in `dtype`."""
    y0 = np.asarray(problem.y0, dtype)
    span = np.broadcast_to(np.asarray(problem.span, float), (len(y0), 2))
    return Rows(*cast((problem.field, problem.args, span), dtype)), y0


@eqx.filter_jit
def fixed(
    system: Rows, y0: Array | np.ndarray, tableau: Tableau, points: int, count: Any
) -> Float[Array, "points rows dim"]:
    """States at `points` equally spaced times, `count` (traced) steps to each of them."""
    step = runge_kutta(tableau, system)
    h = jnp.asarray(1 / points, y0.dtype) / count

    def to_next(y: Array, k: Array) -> tuple[Array, Array]:
        begin = k.astype(y0.dtype) / points
        y = lax.fori_loop(0, count, lambda i, y: step(y, Interval(begin + i * h, h)), y)
        return y, y

    return lax.scan(to_next, jnp.asarray(y0), jnp.arange(points))[1]


@eqx.filter_jit
def adaptive(
    system: Rows,
    y0: Array | np.ndarray,
    solver: Any,
    points: int,
    rtol: Any,
    atol: Any,
    max_steps: int,
) -> tuple[Array, Any, Array]:
    """The same by a diffrax solver, with its counts and whether it got there."""
    import diffrax

    ts = jnp.linspace(0, 1, points + 1, dtype=y0.dtype)
    solved = solve(
        system, y0, ts, method=solver, max_steps=max_steps,
        controller=diffrax.PIDController(rtol=rtol, atol=atol),
    )  # fmt: skip
    return solved.ys[1:], solved.work, solved.ok


@eqx.filter_jit
def implicit(
    system: Rows,
    y0: Array | np.ndarray,
    solver: Any,
    points: int,
    rtol: Any,
    atol: Any,
    max_steps: int,
) -> tuple[Array, Any, Array]:
    """Every row for itself: an implicit step solves equations in one row's variables."""
    import diffrax

    ts = jnp.linspace(0, 1, points + 1, dtype=y0.dtype)

    def one(y: Array, span: Any, args: Any) -> tuple[Array, Any, Array]:
        row = _Row(system.field, args, span)
        solved = solve(
            row, y, ts, method=solver, max_steps=max_steps,
            controller=diffrax.PIDController(rtol=rtol, atol=atol),
        )  # fmt: skip
        return solved.ys[1:], solved.work, solved.ok

    ys, work, ok = jax.vmap(one)(jnp.asarray(y0), system.span, system.args)
    return ys.swapaxes(0, 1), jax.tree.map(jnp.max, work), jnp.all(ok)


class _Row(eqx.Module):
    """One row of `Rows`."""

    field: Callable
    args: PyTree
    span: Float[Array | np.ndarray, " 2"]

    def __call__(self, s: Any, y: Float[Array, " dim"], _: Any = None) -> Any:
        length = self.span[1] - self.span[0]
        return length * jnp.asarray(self.field(self.span[0] + s * length, y, self.args), y.dtype)


@eqx.filter_jit
def jacobians(system: Rows, s: Any, ys: Any) -> Float[Array, "times rows dim dim"]:
    """``d(dy/ds)/dy`` of every row at every time."""

    def one(s: Array, y: Array, span: Any, args: Any) -> Array:
        return jax.jacfwd(lambda y: _Row(system.field, args, span)(s, y))(y)

    rows = jax.vmap(one, in_axes=(None, 0, 0, 0))
    return jax.vmap(rows, in_axes=(0, 0, None, None))(s, ys, system.span, system.args)
