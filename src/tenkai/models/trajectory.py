"""What trajectory estimators learn: a field in standardised units and the states it starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..data import Scaler, TimeScaler
from ..fields import together
from ..unfold import RK4, Memory, RecomputeField, Tableau, runge_kutta, unfold
from .grid import Grid


class ScaledField(eqx.Module):
    """``dz/dtau = slope * net(tau, z, u)``: the network works at order one in every variable.

    `slope` (dim,) is the typical size of dz/dtau; it is measured, not learned.
    """

    net: Callable
    slope: Float[Array | np.ndarray, " dim"]

    def __call__(self, t: Any, z: Float[Array, " dim"], u: Any = None) -> Float[Array, " dim"]:
        return jax.lax.stop_gradient(self.slope) * self.net(t, z, u)


class SecondOrderField(eqx.Module):
    """``dz/dtau = slope v``, ``dv/dtau = slope' net(tau, [z, v], u)``: a system seen in position.

    The state holds positions, then velocities in units of their typical size, then hidden ones;
    `slope` (dim,) is the typical size of every derivative; it is measured, not learned.
    """

    net: Callable
    slope: Float[Array | np.ndarray, " dim"]

    def __call__(self, t: Any, z: Float[Array, " dim"], u: Any = None) -> Float[Array, " dim"]:
        pull = self.net(t, z, u)
        positions = z.shape[-1] - pull.shape[-1]
        velocity = z[positions : 2 * positions]
        return jnp.concatenate([velocity, pull]) * jax.lax.stop_gradient(self.slope)


class RawField(eqx.Module):
    """A user's field in raw units, ``dx/dt = f(t, x, u)``, seen from the standardised state.

    With ``x = g(offset + scale z)``, g the identity or exp, and ``t = shift + span tau``:
    ``dz/dtau = span f(t, x, u) / (scale g'(z))``. Hidden dimensions have offset 0 and scale 1.
    """

    field: Callable
    state: Scaler
    time: TimeScaler
    inputs: Scaler | None = None

    def __call__(self, t: Any, z: Float[Array, " dim"], u: Any = None) -> Float[Array, " dim"]:
        state, time, inputs = jax.lax.stop_gradient((self.state, self.time, self.inputs))
        x = state.inverse(z, xp=jnp)
        raw_u = u if inputs is None else inputs.inverse(u, xp=jnp)
        slope = jnp.asarray(self.field(time.inverse(t), x, raw_u))
        return time.scale * slope / (state.scale * jnp.where(state.positive, x, 1.0))


class TrajectoryModel(eqx.Module):
    """A field and the learned state at every node of a `Grid`; both in standardised units.

    A state that is given rather than learned is not `free` (nodes, dim).
    """

    field: Callable
    states: Float[Array | np.ndarray, "nodes dim"]
    free: Bool[Array | np.ndarray, "nodes dim"]

    def starts(self) -> Float[Array, "nodes dim"]:
        """The states; gradients pass only to the free ones."""
        return jnp.where(self.free, self.states, jax.lax.stop_gradient(self.states))

    def arrivals(
        self,
        grid: Grid,
        reset: Bool[Array | np.ndarray, " nodes"],
        *,
        tableau: Tableau = RK4,
        memory: Memory = RecomputeField(),
        members: int = 1,
    ) -> Float[Array, "nodes dim"]:
        """The state with which the path reaches every node (the start state at first nodes)."""
        starts = self.starts()
        rows, steps = grid.begins.shape
        step = runge_kutta(tableau, self.field)

        def move(z: Array, x: tuple) -> Array:
            interval, jump, start = x
            return step(jnp.where(jump, start, z), interval)

        begins = jnp.maximum(grid.begins, 0)
        jump = (grid.begins >= 0) & (reset | grid.first)[begins]
        xs = (grid.interval, jump, starts[begins])

        def row(z0: Array, xs: tuple) -> Array:
            return unfold(move, z0, xs, memory=memory)[1]

        with together(rows * members):
            zero = jnp.zeros((rows, starts.shape[-1]), starts.dtype)
            path = row(zero[0], jax.tree.map(lambda a: a[0], xs)) if rows == 1 else None
            if path is None:
                path = jax.vmap(row)(zero, xs).reshape(rows * steps, -1)
        reached = path[jnp.maximum(grid.reached, 0)]
        return jnp.where(grid.first[:, None], starts, reached)
