"""The adjoint of an unfolded system: costate and Pontryagin residual by automatic differentiation.

With ``H(t, x, u, l) = running(t, x, u) + l . f(t, x, u)``, Pontryagin's principle (1962) asks for
``dl/dt = -dH/dx``, ``l(T) = d terminal / dx`` and a control that minimises H, so ``dH/du = 0``
where no bound binds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .unfolding import Plant, Pushes, rollout


class Adjoint(NamedTuple):
    """Per path: ``dJ/dx(t_k)`` (N+1, states), the step means of ``dH/du`` (N, inputs).

    `size` () is the largest ``|dl/du| + |(df/du)' l|``: what the residual is small against.
    """

    costate: Any
    residual: Any
    size: Any


def adjoint(
    plant: Plant, control: Callable, value: Callable, x0: Float[Array, "paths states"], steps: int,
    inputs: int, dw: Any, data: Any,
) -> Adjoint:  # fmt: skip
    """Derivatives of ``value(rollout, data)`` of every path with respect to pushes of each step.

    A push of the control is held over its step, so its derivative over the step's length is the
    mean of ``dH/du`` there, exact for the discretised problem also with noise.
    """
    h = plant.horizon / steps

    def path(x: Array, w: Any, d: Any) -> Adjoint:
        none = Pushes(jnp.zeros((steps + 1, x.shape[0])), jnp.zeros((steps, inputs)))

        def pushed(push: Pushes) -> tuple[Any, Any]:
            out = rollout(plant, control, x, steps, w, push, frozen=True)
            return value(out, d), out

        slope, out = jax.grad(pushed, has_aux=True)(none)
        size = jax.vmap(_size, in_axes=(None, 0, 0, 0, 0))(
            plant, h * jnp.arange(steps + 1), out.states, out.controls, slope.state
        )
        return Adjoint(slope.state, slope.control / h, jnp.max(size))

    return jax.vmap(path)(x0, dw, data)


def _size(plant: Plant, t: Any, x: Array, u: Array, costate: Array) -> Array:
    def onto(u: Array) -> Any:
        return jnp.vdot(plant.dynamics(t, x, u), costate)

    total = jnp.abs(jax.grad(onto)(u))
    if plant.running is not None:
        running = plant.running
        total = total + jnp.abs(jax.grad(lambda u: running(t, x, u))(u))
    return jnp.max(total)


def projected(residual: np.ndarray, u: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """``u - clip(u - dH/du, low, high)``: what is left of the slope where a bound may bind."""
    return u - np.clip(u - residual, low, high)
