"""Continuous normalizing flows: a field, an end time, a divergence and a solver.

The base stands at ``t = 0`` and the data at ``t = T``: ``d log p / dt = -tr df/dy`` (Chen et al.
2018, theorem 1).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..solve import solve
from ..solve.adams import Adams, adams
from ..unfold import RK4, Memory, RecomputeField, Tableau
from .divergence import Divergence, Exact, Hutchinson, draw
from .dynamics import Dynamics, LayerKind, PlanarDynamics
from .flow import Abilities, Architecture, Flow, Moved

_FIELD_ONLY = RecomputeField()
_EXACT = Exact()


@dataclass(frozen=True)
class Grid:
    """Steps over the whole flow that are the same for every row: what training unfolds.

    `method` is a Runge-Kutta tableau with equal steps, or `Adams`, which evaluates the field once
    per step and needs about half the evaluations for the same log density.
    """

    steps: int = 8
    method: Tableau | Adams = RK4
    memory: Memory = _FIELD_ONLY

    def move(self, field: Any, start: tuple) -> tuple[tuple, Any, Any]:
        """The end over unit time, the evaluations, and whether it got there."""
        if isinstance(self.method, Adams):
            end, nfe = adams(field, start, self.method, self.steps, self.memory)
            return end, jnp.asarray(nfe, jnp.int32), jnp.asarray(True)
        # Unit time: the grid is known while tracing, whatever T is.
        solved = solve(
            field, start, np.array([0.0, 1.0]),
            method=self.method, substeps=self.steps, memory=self.memory,
        )  # fmt: skip
        return tuple(v[-1] for v in solved.ys), solved.work.nfe, solved.ok


@dataclass(frozen=True)
class Adaptive:
    """Steps that each row chooses for itself, within tolerances, by diffrax (default: Dopri5).

    A row that is not done after `max_steps` is given up: `Moved.ok` is false.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 1000
    solver: Any = None
    adjoint: Any = None

    def move(self, field: Any, start: tuple) -> tuple[tuple, Any, Any]:
        """The end over unit time, the evaluations, and whether it got there."""
        import diffrax

        solved = solve(
            field, start, np.array([0.0, 1.0]), method=self.solver or diffrax.Dopri5(),
            controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            adjoint=self.adjoint, max_steps=self.max_steps,
        )  # fmt: skip
        return tuple(v[-1] for v in solved.ys), solved.work.nfe, solved.ok


class ContinuousFlow(Flow):
    """The flow of ``dy/dt = f(t, y, context)`` over ``[0, T]``, base at 0, data at T.

    `root_end` is ``sqrt(T)``; it is learned where `learn_end`. `costs` adds the integrals of the
    kinetic energy and of the Jacobian's Frobenius norm (Finlay et al. 2020, equations 9 and 10),
    the latter by one draw of noise, to what a move returns.
    """

    field: Any
    root_end: Float[Array, ""]
    dim: int = eqx.field(static=True)
    context: int = eqx.field(static=True)
    divergence: Divergence = eqx.field(static=True, default=Exact())
    solver: Grid | Adaptive = eqx.field(static=True, default=Grid())
    learn_end: bool = eqx.field(static=True, default=False)
    costs: bool = eqx.field(static=True, default=False)

    @property
    def end(self) -> Float[Array, ""]:
        """T."""
        root = self.root_end if self.learn_end else jax.lax.stop_gradient(self.root_end)
        return root**2

    @property
    def prepared(self) -> Any:
        """The field with what does not depend on the state done, once per solve."""
        return self.field.prepared() if hasattr(self.field, "prepared") else self.field

    def to_base(self, x: Any, context: Any = None, *, key: Any = None) -> Moved:
        return self.between(x, self.end, 0.0, context, key=key)

    def to_data(self, z: Any, context: Any = None, *, key: Any = None) -> Moved:
        return self.between(z, 0.0, self.end, context, key=key)

    def between(self, y: Any, t0: Any, t1: Any, context: Any = None, *, key: Any = None) -> Moved:
        """One row from time `t0` to `t1`, either of which may be traced."""
        y = jnp.asarray(y)
        field = self.prepared
        draws, probes = (None, None) if key is None else jax.random.split(key)
        noise = self.divergence.noise(field, self.dim, y.dtype, draws)
        probe = draw("rademacher", probes, y.shape, y.dtype) if self.costs else None
        augmented = _Augmented(
            field, self.divergence, self.costs, noise, probe, context,
            jnp.asarray(t0, y.dtype), jnp.asarray(t1, y.dtype),
        )  # fmt: skip
        zero = jnp.zeros((), y.dtype)
        start = (y, *(zero,) * (3 if self.costs else 1))
        ends, nfe, ok = self.solver.move(augmented, start)
        return Moved(**dict(zip(Moved._fields, ends, strict=False)), nfe=nfe, ok=ok)

    def with_tolerance(
        self, rtol: float = 1e-5, atol: float | None = None, **options: Any
    ) -> ContinuousFlow:
        """The same flow, solved adaptively with exact divergence; `atol` is `rtol` unless told.

        `options` are those of `Adaptive`.
        """
        solver = Adaptive(rtol, rtol if atol is None else atol, **options)
        return self.with_solver(solver, divergence=Exact())

    def with_solver(
        self, solver: Grid | Adaptive, *, divergence: Divergence | None = None,
        costs: bool | None = None,
    ) -> ContinuousFlow:  # fmt: skip
        """The same flow by another solver, divergence, or with the costs of its path."""
        return dataclasses.replace(
            self, solver=solver, divergence=divergence or self.divergence,
            costs=self.costs if costs is None else costs,
        )  # fmt: skip

    def with_costs(self, costs: bool = True) -> ContinuousFlow:
        """The same flow, whose moves tell the costs of their paths, or do not."""
        return self.with_solver(self.solver, costs=costs)


class _Augmented(eqx.Module):
    """The state with its log-determinant and costs, over unit time; a PyTree, for adjoints."""

    field: Any
    divergence: Divergence = eqx.field(static=True)
    costs: bool = eqx.field(static=True)
    noise: Any
    probe: Any
    context: Any
    t0: Array
    t1: Array

    def __call__(self, s: Any, state: tuple, _: Any = None) -> tuple:
        y, span = state[0], self.t1 - self.t0
        t = self.t0 + s * span
        known = self.field, t, y, self.context
        if self.costs and isinstance(self.divergence, Hutchinson):
            value, divergence, jacobian = self.divergence.with_size(*known, self.noise)
        else:
            value, divergence = self.divergence.of(*known, self.noise)
            if not self.costs:
                return span * value, span * divergence
            _, image = jax.jvp(lambda y: self.field(t, y, self.context), (y,), (self.probe,))
            jacobian = jnp.sum(image**2)
        length = jnp.abs(span)
        return span * value, span * divergence, length * jnp.sum(value**2), length * jacobian


@dataclass(frozen=True, repr=False)
class FFJORD(Architecture):
    """Free-form continuous flow (Grathwohl et al. 2019): any network as the field.

    Args:
        width, depth: hidden units (one number, or one per layer) and hidden layers. The exact
            divergence is in closed form; up to two hidden layers it costs one more layer.
        kind: "concat", "concatsquash" or "hyper", how the time enters a layer.
        activation: by name, see `tenkai.fields.ACTIVATIONS`.
        divergence: `Exact`, `Hutchinson`, `Bottleneck` or `HutchPP`, in training.
        solver: `Grid` or `Adaptive`, in training.
        end, learn_end: T, and whether it is a parameter.
        spectral: a bound on every weight's largest singular value, or None.
        sharpness: how much steeper than usual the first layer begins, its units spread over the
            rows instead of all at the origin, or None. 4 learns fine detail in a plane.
    """

    width: int | tuple[int, ...] = 64
    depth: int = 2
    kind: LayerKind = "concatsquash"
    activation: str = "tanh"
    divergence: Divergence = _EXACT
    solver: Grid | Adaptive = Grid()
    end: float = 1.0
    learn_end: bool = False
    spectral: float | None = None
    sharpness: float | None = None
    abilities: ClassVar[Abilities] = Abilities("ODE solve", "ODE solve", free_form=True)

    def build(self, dim: int, *, context: int = 0, key: Any) -> ContinuousFlow:
        field = Dynamics(
            dim, key=key, width=self.width, depth=self.depth, kind=self.kind,
            activation=self.activation, context=context, spectral=self.spectral, last_scale=0.1,
            sharpness=self.sharpness,
        )  # fmt: skip
        root = jnp.sqrt(jnp.asarray(self.end))
        return ContinuousFlow(
            field=field, root_end=root, dim=dim, context=context, divergence=self.divergence,
            solver=self.solver, learn_end=self.learn_end,
        )  # fmt: skip


@dataclass(frozen=True, repr=False)
class PlanarCNF(Architecture):
    """Continuous flow of gated planar units (Chen et al. 2018, section 4); exact divergence."""

    units: int = 64
    solver: Grid | Adaptive = Grid()
    end: float = 1.0
    learn_end: bool = False
    abilities: ClassVar[Abilities] = Abilities("ODE solve", "ODE solve")

    def build(self, dim: int, *, context: int = 0, key: Any) -> ContinuousFlow:
        field = PlanarDynamics(dim, key=key, units=self.units, context=context)
        root = jnp.sqrt(jnp.asarray(self.end))
        return ContinuousFlow(
            field=field, root_end=root, dim=dim, context=context, solver=self.solver,
            learn_end=self.learn_end,
        )  # fmt: skip
