"""The continuous adjoint: gradients of a solve by solving a second equation backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from ..unfold import RK4
from . import grid
from .grid import Hold, Times
from .integrate import run_compiled, solve


class Sensitivity(eqx.Module):
    """``dL/d(...)`` of everything a solve depends on, and what it cost.

    `y0`, `field` and `u` have the structure of what they belong to, with None in place of
    anything in a field (or an input that is a function) that is not an array of floats; `ts` is
    (time,). `nfe` counts evaluations on the way back, each of the field with its vector-Jacobian
    product; `nfe_forward` those of the solve itself.
    """

    y0: PyTree
    ts: Float[Array, " time"]
    field: PyTree
    u: PyTree
    nfe: Int[Array, ""]
    nfe_forward: Int[Array, ""]

    @property
    def t0(self) -> Float[Array, ""]:
        """Gradient with respect to the first time."""
        return self.ts[0]

    @property
    def t1(self) -> Float[Array, ""]:
        """Gradient with respect to the last time."""
        return self.ts[-1]


def adjoint(
    field: Callable,
    y0: PyTree,
    ts: Times,
    cotangent: PyTree,
    *,
    u: Any = None,
    hold: Hold = "linear",
    method: Any = RK4,
    substeps: int = 1,
    controller: Any = None,
    max_steps: int | None = None,
) -> Sensitivity:
    """Gradients of a loss of the path, from ``cotangent = dL/dys`` with leaves (time, ...).

    With ``a = +dL/dy``: ``da/dt = -a^T df/dy`` and ``d(dL/dp)/dt = -a^T df/dp`` for a parameter p,
    solved backwards; at each of `ts` the cotangent of that time is added to ``a`` (Pontryagin et
    al. 1962; Chen et al. 2018, appendix B). The interval from t to t' is mapped to s in [0, 1],
    ``dy/ds = (t'-t) f(t + s (t'-t), y, u(s))``, so that its times and its inputs are parameters
    like any other. The path starts again from the forward solve at each of `ts`; nothing else of
    it is kept. `method` and its options are those of `solve`, and serve both ways.
    """
    y0 = grid.inexact(y0)
    ts = jnp.asarray(grid.read_times(ts), grid.real_dtype(y0))
    cotangent = jax.tree.map(lambda y, c: jnp.asarray(c, y.dtype), y0, cotangent)
    if not callable(u):
        u = grid.read_inputs(u, hold, ts, ts.dtype)
    options = (method, substeps, controller, max_steps)
    return run_compiled(_adjoint, (field, u), y0, ts, cotangent, hold, options)


def _adjoint(
    field_and_input: tuple[Callable, Any],
    y0: PyTree,
    ts: Array,
    cotangent: PyTree,
    hold: Hold,
    options: tuple,
) -> Sensitivity:
    field, u = field_and_input
    driven = callable(u)
    chosen = dict(zip(("method", "substeps", "controller", "max_steps"), options, strict=True))
    forward = solve(field, y0, ts, u=u, hold=hold, **chosen)
    params, static = eqx.partition((field, u if driven else None), eqx.is_inexact_array)
    known, pull = jax.vjp(lambda ts, u: _known(ts, u, hold), ts, None if driven else u)

    def backwards(carry: tuple, x: tuple) -> tuple:
        a, grads, nfe = carry
        y, jump, known = x
        a = jax.tree.map(jnp.add, a, jump)
        state = (y, a, grads, jax.tree.map(jnp.zeros_like, known))
        back = solve(
            _Backwards(params, static, known), state, jnp.array([1, 0], ts.dtype), **chosen
        )
        _, a, grads, local = jax.tree.map(lambda v: v[-1], back.ys)
        return (a, grads, nfe + back.work.nfe), local

    start = (*jax.tree.map(jnp.zeros_like, (y0, params)), jnp.zeros((), jnp.int32))
    later = jax.tree.map(lambda v: v[1:], (forward.ys, cotangent))
    (a, grads, nfe), local = lax.scan(backwards, start, (*later, known), reverse=True)
    times, inputs = pull(local)
    return Sensitivity(
        y0=jax.tree.map(lambda a, c: a + c[0], a, cotangent),
        ts=times,
        field=grads[0],
        u=grads[1] if driven else inputs,
        nfe=nfe,
        nfe_forward=forward.work.nfe,
    )


def _known(ts: Array, u: PyTree, hold: Hold) -> tuple[Array, Array, PyTree, PyTree]:
    """Begin, end, and the inputs at both, of every interval."""
    if hold == "previous":
        u0 = u1 = grid.held(ts, u)
    else:
        u0, u1 = (jax.tree.map(lambda v, s=s: v[s], u) for s in (slice(-1), slice(1, None)))
    return ts[:-1], ts[1:], u0, u1


class _Backwards(eqx.Module):
    """``d(y, a, dL/dp, dL/d(times, inputs))/ds`` over one interval, s in [0, 1]."""

    params: PyTree
    static: PyTree
    known: tuple

    def __call__(self, s: Any, state: tuple, _: Any = None) -> tuple:
        y, a, _, _ = state
        slope, pull = jax.vjp(lambda *p: self.slope(s, *p), y, self.params, self.known)
        return slope, *jax.tree.map(jnp.negative, pull(a))

    def slope(self, s: Any, y: PyTree, params: PyTree, known: tuple) -> PyTree:
        begin, end, u0, u1 = known
        field, function = eqx.combine(params, self.static)
        t = begin + s * (end - begin)
        if function is not None:
            u0 = function(t)
        elif u0 is not None:
            u0 = jax.tree.map(lambda a, b: (1 - s) * a + s * b, u0, u1)
        return jax.tree.map(lambda k: (end - begin) * k, field(t, y, u0))
