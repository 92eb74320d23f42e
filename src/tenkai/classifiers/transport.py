"""A state through an ODE with gradients by the continuous adjoint: memory constant in depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..solve import solve
from ..solve.solved import Solved
from ..unfold import TABLEAUX, Memory, RecomputeField

FORTH, BACK = (0.0, 1.0), (1.0, 0.0)


@dataclass(frozen=True)
class Solver:
    """`steps` of a Runge-Kutta method over depth [0, 1], or with `rtol` Dormand-Prince's, adaptive.

    The error of an adaptive step is measured against ``rtol (1 + |y|)``.
    """

    method: str = "rk4"
    steps: int = 2
    rtol: float | None = None
    max_steps: int = 1024

    def solve(
        self, field: Callable, y0: PyTree, ts: Any = FORTH, *, dense: bool = False,
        memory: Memory = RecomputeField(),
    ) -> Solved:  # fmt: skip
        """The states at `ts`; on a fixed grid over the first to the last of them."""
        if self.rtol is None:
            return solve(
                field, y0, np.asarray(ts), method=TABLEAUX[self.method], substeps=self.steps,
                memory=memory, dense=dense,
            )  # fmt: skip
        import diffrax

        controller = diffrax.PIDController(rtol=self.rtol, atol=self.rtol)
        return solve(
            field, y0, np.asarray(ts), method=diffrax.Dopri5(), controller=controller,
            max_steps=self.max_steps,
        )  # fmt: skip


def transport(field: Callable, y0: PyTree, solver: Solver) -> tuple[PyTree, Array]:
    """``y(1)`` of ``dy/dt = field(t, y)`` from ``y(0) = y0``, and the NFE.

    Reverse mode solves ``d(y, a, g)/dt = (f, -a^T df/dy, -a^T df/dp)`` from 1 back to 0, which
    keeps the end state alone (Chen et al. 2018, algorithm 1). It follows the ODE, not the solver's
    steps: as exact as the solver is.
    """
    params, static = eqx.partition(field, eqx.is_inexact_array)

    def forward(params: PyTree, y0: PyTree) -> tuple[PyTree, Array]:
        solved = solver.solve(eqx.combine(params, static), y0)
        return _last(solved.ys), solved.work.nfe.astype(jnp.result_type(float))

    run = jax.custom_vjp(forward)

    def remember(params: PyTree, y0: PyTree) -> tuple[Any, Any]:
        out = forward(params, y0)
        return out, (params, out[0])

    def back(kept: Any, cotangent: Any) -> tuple[PyTree, PyTree]:
        gradients = backwards(eqx.combine(kept[0], static), kept[1], cotangent[0], solver)
        return gradients[1], gradients[0]

    run.defvjp(remember, back)
    return run(params, y0)


def backwards(
    field: Callable, y1: PyTree, a1: PyTree, solver: Solver
) -> tuple[PyTree, PyTree, Array]:
    """``dL/dy0``, ``dL/dp`` and the NFE of the way back, from the end and ``a1 = dL/dy1``."""
    params, static = eqx.partition(field, eqx.is_inexact_array)
    state = (y1, a1, jax.tree.map(jnp.zeros_like, params))
    solved = solver.solve(_Backwards(params, static), state, BACK)
    _, a, gradient = _last(solved.ys)
    return a, gradient, solved.work.nfe


def _last(ys: PyTree) -> PyTree:
    return jax.tree.map(lambda v: v[-1], ys)


class _Backwards(eqx.Module):
    """``d(y, a, dL/dp)/dt``."""

    params: PyTree
    static: PyTree

    def __call__(self, t: Any, state: tuple, u: Any = None) -> tuple:
        y, a, _ = state
        slope, pull = jax.vjp(lambda y, p: eqx.combine(p, self.static)(t, y), y, self.params)
        return slope, *jax.tree.map(jnp.negative, pull(a))
