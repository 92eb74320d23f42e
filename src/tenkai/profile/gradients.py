"""Bytes, time, exactness and backward evaluations of every way back through a solve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..devices import arithmetic
from ..records.profile import MeasuredGradient
from ..solve import adjoint, solve
from ..unfold import (
    DOPRI5,
    Memory,
    RecomputeField,
    RecomputeStep,
    Segments,
    Store,
    Tableau,
)
from .clock import least_time
from .problem import Problem
from .reference import Reference
from .system import Rows, system_of

POLICIES: dict[str, Memory] = {
    "store": Store(),
    "recompute field": RecomputeField(),
    "recompute step": RecomputeStep(),
    "segments": Segments(),
}
CONTINUOUS = "continuous adjoint"
RECURSIVE = "recursive checkpointing"
_UNIT = np.array([0.0, 1.0])


class _Rest:
    """What of the rows is no parameter; kept out of the trees that adjoints carry along."""

    def __init__(self, system: Rows):
        self.args, self.span = system.args, system.span


class _Bound(eqx.Module):
    """`Rows` of which only the field is differentiated."""

    field: Callable
    rest: _Rest = eqx.field(static=True)

    def __call__(self, s: Any, y: Any, _: Any = None) -> Any:
        return Rows(self.field, self.rest.args, self.rest.span)(s, y)


class Backwards:
    """Gradients of ``sum(c y(t1))`` for a fixed random c (rows, dim), in one precision."""

    def __init__(self, problem: Problem, known: Reference, precision: str):
        self.precision, self.scale = precision, known.scale
        with arithmetic(precision):
            system, self.y0 = system_of(problem, np.dtype(precision))
        self.params, static = eqx.partition(system.field, eqx.is_inexact_array)
        rest = _Rest(system)
        self.bound = lambda params: _Bound(eqx.combine(params, static), rest)
        draws = np.random.default_rng(0).normal(size=self.y0.shape) / known.scale
        self.weights = np.asarray(draws / len(self.y0), self.y0.dtype)

    def _compiled(self, gradient: Callable, *numbers: Any) -> Any:
        return jax.jit(gradient).lower(self.params, self.y0, *numbers).compile()

    def through(self, **options: Any) -> Any:
        """Compiled: ``(params, y0) -> gradients`` through ``solve(**options)``."""

        def loss(params: PyTree, y0: Any) -> Any:
            end = solve(self.bound(params), y0, _UNIT, **options).ys[-1]
            return jnp.sum(self.weights * end)

        return self._compiled(jax.grad(loss, argnums=(0, 1)))

    def continuous(self, **options: Any) -> Any:
        """Compiled: the continuous adjoint on the grid of `options`, and its counts."""

        def gradient(params: PyTree, y0: Any) -> Any:
            return self._adjoint(params, y0, **options)

        return self._compiled(gradient)

    def continuous_adaptive(self, solver: Any, max_steps: int) -> Any:
        """Compiled: ``(params, y0, tolerance)``, the continuous adjoint in adaptive steps."""
        import diffrax

        def gradient(params: PyTree, y0: Any, tolerance: Any) -> Any:
            controller = diffrax.PIDController(rtol=tolerance, atol=tolerance * self.unit)
            return self._adjoint(
                params, y0, method=solver, controller=controller, max_steps=max_steps
            )

        return self._compiled(gradient, np.asarray(1e-3, self.y0.dtype))

    @property
    def unit(self) -> float:
        """One absolute tolerance for states and adjoints: they are not of one size."""
        return float(np.median(self.scale))

    def _adjoint(self, params: PyTree, y0: Any, **options: Any) -> Any:
        cotangent = jnp.stack([jnp.zeros_like(self.weights), self.weights])
        made = adjoint(self.bound(params), y0, _UNIT, cotangent, **options)
        found = eqx.filter(made.field.field, eqx.is_inexact_array)
        return (found, made.y0), (made.nfe_forward, made.nfe)

    def flat(self, gradients: PyTree) -> np.ndarray:
        """All numbers of a gradient in a row, float64; those of the start in their units."""
        params, y0 = gradients
        leaves = [*jax.tree.leaves(params), np.asarray(y0) * self.scale]
        return np.concatenate([np.asarray(v, float).ravel() for v in leaves])


def reference_gradient(problem: Problem, known: Reference) -> np.ndarray | None:
    """By discretise-then-optimise in float64 on the grid of the reference; None if too fine."""
    if known.steps is None or known.steps > 4096:
        return None
    back = Backwards(problem, known, "float64")
    with arithmetic("float64"):
        run = back.through(method=DOPRI5, substeps=known.steps, memory=RecomputeStep())
        return back.flat(run(back.params, back.y0))


def grid_gradient(
    back: Backwards, exact: np.ndarray | None, name: str, tableau: Tableau, steps: int
) -> MeasuredGradient:
    """One way back through a fixed grid: a memory policy by name, or the continuous adjoint."""
    nfe = nfe_backward = steps * tableau.stages
    with arithmetic(back.precision):
        if name == CONTINUOUS:
            run = back.continuous(method=tableau, substeps=steps)
            found, (forth, backwards) = run(back.params, back.y0)
            nfe, nfe_backward = int(forth), int(backwards)
        else:
            run = back.through(method=tableau, substeps=steps, memory=POLICIES[name])
            found = run(back.params, back.y0)
        seconds = least_time(lambda: run(back.params, back.y0))
    return MeasuredGradient(
        name, tableau.name, steps, None, nfe, nfe_backward, _bytes(run), seconds,
        off(back, found, exact),
    )  # fmt: skip


def recursive_gradient(
    back: Backwards, exact: np.ndarray | None, solver: Any, rtol: float, steps: int, nfe: int
) -> MeasuredGradient:
    """diffrax's recursive checkpointing through adaptive steps, `steps` of them with rejections."""
    import diffrax

    most = 2 ** int(np.ceil(np.log2(max(steps, 1)))) * 2
    controller = diffrax.PIDController(rtol=rtol, atol=rtol * back.scale)
    with arithmetic(back.precision):
        run = back.through(method=solver, controller=controller, max_steps=most)
        found = run(back.params, back.y0)
        seconds = least_time(lambda: run(back.params, back.y0))
    return MeasuredGradient(
        RECURSIVE, f"{type(solver).__name__.lower()} adaptive", steps, rtol, nfe, nfe,
        _bytes(run), seconds, off(back, found, exact),
    )  # fmt: skip


def continuous_gradients(
    back: Backwards, exact: np.ndarray | None, solver: Any, tolerances: list[float], max_steps: int
) -> list[MeasuredGradient]:
    """The continuous adjoint at several tolerances, one program; both ways counted."""
    made = []
    with arithmetic(back.precision):
        run = back.continuous_adaptive(solver, max_steps)
        for rtol in tolerances:
            given = back.params, back.y0, np.asarray(rtol, back.y0.dtype)
            found, (forth, backwards) = run(*given)
            seconds = least_time(lambda given=given: run(*given))
            made.append(MeasuredGradient(
                CONTINUOUS, f"{type(solver).__name__.lower()} adaptive",
                int(forth) // (solver.tableau.num_stages - 1), rtol,
                int(forth), int(backwards), _bytes(run), seconds, off(back, found, exact),
            ))  # fmt: skip
    return made


def off(back: Backwards, found: PyTree, exact: np.ndarray | None) -> float:
    """Distance to the reference gradient relative to its length."""
    if exact is None:
        return float("nan")
    length = np.linalg.norm(exact)
    with np.errstate(over="ignore", invalid="ignore"):
        error = float(np.linalg.norm(back.flat(found) - exact) / (length if length else 1.0))
    return error if np.isfinite(error) else float("inf")


def _bytes(compiled: Any) -> int:
    return int(compiled.memory_analysis().temp_size_in_bytes)
