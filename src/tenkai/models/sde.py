"""What a stochastic differential equation is made of: a drift and a diffusion, both fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..data import Scaler, TimeScaler


class Hidden(eqx.Module):
    """A layer of rounded hinges, ``length hinge((direction x - threshold) / length)``.

    ``hinge(s) = (s + sqrt(s^2 + 4)) / 2`` (Barron 2021) costs a root, where softplus costs three
    transcendental functions in the second derivatives that a transition's moments need.

    Directions and thresholds are drawn around the data and are not learned (random features,
    Rahimi and Recht 2008), so the field is linear in what is learned. Its second derivative is a
    bump per unit: small weights are a small curvature, and beyond the data the field runs straight.
    """

    direction: Float[Array | np.ndarray, "width k"]
    threshold: Float[Array | np.ndarray, " width"]
    length: Float[Array | np.ndarray, ""]

    def __call__(self, x: Float[Array, " k"]) -> Float[Array, " width"]:
        d, c, length = jax.lax.stop_gradient((self.direction, self.threshold, self.length))
        s: Any = (d @ x - c) / length
        return 0.5 * length * (s + jnp.sqrt(s**2 + 4.0))


class SmoothNetwork(eqx.Module):
    """``c0 + C x + W hidden(x)`` of ``x = [z, u, t]``, one hidden layer beside an affine part.

    `coefficients` (out, 1 + k + width) are ``[c0, C, W]``. Without units it is affine.
    """

    coefficients: Float[Array | np.ndarray, "out columns"]
    hidden: Hidden
    time_dependent: bool = eqx.field(static=True, default=False)

    def __call__(self, t: Any, z: Float[Array, " dim"], u: Any = None) -> Float[Array, " out"]:
        return jnp.asarray(self.coefficients) @ self.columns(t, z, u)

    def columns(self, t: Any, z: Float[Array, " dim"], u: Any) -> Float[Array, " columns"]:
        """``[1, x, hidden(x)]``."""
        parts = [z] if u is None else [z, u]
        if self.time_dependent:
            parts.append(jnp.asarray(t, z.dtype)[None])
        x = jnp.concatenate(parts) if len(parts) > 1 else z
        columns = [jnp.ones(1, z.dtype), x]
        if self.hidden.direction.shape[-2]:
            columns.append(self.hidden(x))
        return jnp.concatenate(columns)


class Positive(eqx.Module):
    """A diffusion out of a network: positive, or with a positive diagonal, by construction.

    ``b = base exp(g)`` of `base` (dim,), or ``b = base (diag(exp(g)) + lower(h))`` of a lower
    triangular `base` (dim, dim); g and h are the network's outputs.
    """

    net: SmoothNetwork
    base: Float[Array | np.ndarray, " dim"] | Float[Array | np.ndarray, "dim dim"]

    def __call__(self, t: Any, z: Float[Array, " dim"], u: Any = None) -> Array:
        return self.of(self.net(t, z, u), z.shape[-1])

    def of(self, out: Float[Array, " out"], dim: int) -> Array:
        """The diffusion out of what the network gives."""
        base = jax.lax.stop_gradient(jnp.asarray(self.base))
        scale = jnp.exp(out[:dim])
        if base.ndim == 1:
            return base * scale
        lower = jnp.zeros((dim, dim), out.dtype).at[np.tril_indices(dim, -1)].set(out[dim:])
        return base @ (jnp.diag(scale) + lower)


class Units(eqx.Module):
    """How a standardised state is seen in raw units: ``x = g(offset + scale z)``, g = id or exp."""

    state: Scaler
    time: TimeScaler
    inputs: Scaler | None = None

    def raw(self, t: Any, z: Any, u: Any) -> tuple[Any, Any, Any]:
        """Raw time, state and inputs."""
        state, time, inputs = jax.lax.stop_gradient((self.state, self.time, self.inputs))
        u = u if inputs is None else inputs.inverse(u, xp=jnp)
        return time.inverse(t), state.inverse(z, xp=jnp), u

    def slope(self, x: Any) -> Any:
        """``dx/dz``."""
        state = jax.lax.stop_gradient(self.state)
        return state.scale * jnp.where(state.positive, x, 1.0)

    def bend(self, b: Array) -> Array:
        """Ito's ``1/2 diag(b b^T) d2x/dz2 / (dx/dz)``, of a diffusion `b` in standardised units."""
        state = jax.lax.stop_gradient(self.state)
        square = b**2 if b.ndim == 1 else jnp.sum(b**2, axis=1)
        return jnp.where(state.positive, 0.5 * state.scale * square, 0.0)


class RawDiffusion(eqx.Module):
    """A user's diffusion in raw units, ``b(t, x, u)``, seen from the standardised state."""

    field: Callable
    units: Units

    def __call__(self, t: Any, z: Float[Array, " dim"], u: Any = None) -> Array:
        raw_t, x, raw_u = self.units.raw(t, z, u)
        b = jnp.asarray(self.field(raw_t, x, raw_u))
        row = jax.lax.stop_gradient(self.units.time.scale) ** 0.5 / self.units.slope(x)
        return b * (row if b.ndim == 1 else row[:, None])


class RawDrift(eqx.Module):
    """A user's drift in raw units, ``a(t, x, u)``, seen from the standardised state.

    By Ito's formula ``dz = (a - 1/2 x'' |b|^2) / x' dt`` where x = x(z); `diffusion` is the one in
    standardised units.
    """

    field: Callable
    diffusion: Callable
    units: Units

    def __call__(self, t: Any, z: Float[Array, " dim"], u: Any = None) -> Array:
        raw_t, x, raw_u = self.units.raw(t, z, u)
        a = jnp.asarray(self.field(raw_t, x, raw_u))
        rate = jax.lax.stop_gradient(self.units.time.scale) / self.units.slope(x)
        return rate * a - self.units.bend(self.diffusion(t, z, u))


class SDE(eqx.Module):
    """``dz = drift dtau + diffusion dW`` in standardised units (Ito)."""

    drift: Callable
    diffusion: Callable
    units: Units

    def __call__(self, t: Any, z: Float[Array, " dim"], u: Any = None) -> tuple[Array, Array]:
        """Drift (dim,) and diffusion; two networks share their hidden units."""
        if not (isinstance(self.drift, SmoothNetwork) and isinstance(self.diffusion, Positive)):
            return self.drift(t, z, u), self.diffusion(t, z, u)
        both, dim = (self.drift.coefficients, self.diffusion.net.coefficients), z.shape[-1]
        out = jnp.concatenate(both) @ self.drift.columns(t, z, u)
        return out[:dim], self.diffusion.of(out[dim:], dim)

    def raw(self, t: Any, z: Float[Array, " dim"], u: Any = None) -> tuple[Array, Array]:
        """Drift (dim,) and diffusion in raw units, at a standardised state."""
        a, b = self(t, z, u)
        _, x, _ = self.units.raw(t, z, u)
        slope, scale = self.units.slope(x), self.units.time.scale
        a = slope * (a + self.units.bend(b)) / scale
        return a, b * (slope if b.ndim == 1 else slope[:, None]) / scale**0.5
