"""`Manifold`: latents of rows and the surface over them, as pure functions of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from .estimate import smallest
from .kernels import KERNELS, squared_distances

_STEPS = 20  # of the refinement
_DAMPING = 1e-2  # at its start, relative to the mean curvature
_EASIER, _HARDER = 0.2, 5.0


class Manifold(eqx.Module):
    """``f(z) = centre + spread sum_j k(|z - z_j|^2 / bandwidth^2) x_j / sum_j k(...)``.

    The methods take one latent or one row; `jax.vmap` is outside. `values` are rows around their
    centre times their weights, `seen` the weights of their entries (one column where all are
    observed), `surface` the values of f at the latents, in the same units as `values`. `noise` is
    the variance of an entry around the surface. `low` and `high` bound the latents; infinite where
    they are free.

    Source: Nadaraya 1964; Watson 1964; Meinicke et al. 2005.
    """

    latent: Float[Array, "rows latents"]
    values: Float[Array, "rows dim"]
    seen: Float[Array, "rows 1"] | Float[Array, "rows dim"]
    surface: Float[Array, "rows dim"]
    centre: Float[Array, " dim"]
    spread: Float[Array, ""]
    bandwidth: Float[Array, ""]
    noise: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    kernel: str = eqx.field(static=True)

    @property
    def latents(self) -> int:
        """Numbers of a latent."""
        return self.latent.shape[1]

    def inverse_transform(self, z: Float[Array, " latents"]) -> Float[Array, " dim"]:
        """The point of the surface at a latent; far from all latents, the nearest row's value."""
        return self.centre + self.spread * self._at(z / self.bandwidth)[0]

    def mass(self, z: Float[Array, " latents"]) -> Float[Array, ""]:
        """``sum_j k(z, z_j)``: how many learned latents have a say at a latent."""
        return self._at(z / self.bandwidth)[1]

    def nearest(self, x: Float[Array, " dim"]) -> Int[Array, ""]:
        """Which latent's point of the surface lies nearest to a row, over its observed entries."""
        row, seen = self._row(x)
        # |surface - x|^2 without the part that is the same for all, as two products.
        far = self.surface**2 @ seen - 2 * (self.surface @ row)
        return jnp.argmin(far)

    def nearest_latent(self, x: Float[Array, " dim"]) -> Float[Array, " latents"]:
        """The latent of `nearest`: a projection without refinement."""
        return jnp.asarray(self.latent)[self.nearest(x)]  # loaded ones are NumPy

    def transform(self, x: Float[Array, " dim"]) -> Float[Array, " latents"]:
        """``argmin_z |x - f(z)|^2 / (2 noise) - log sum_j k(z, z_j)``, begun at the nearest latent.

        The most probable latent where rows are normal around the surface and latents as dense as
        those that were learned: without the second term a row would move to where no other has a
        say. By damped Gauss-Newton steps. Entries of x that are NaN do not count.
        """
        row, seen = self._row(x)
        scale = jnp.sqrt(seen / self.noise)

        def parts(u: Array) -> tuple[Array, Array]:
            f, mass = self._at(u)
            return scale * (f - row), jnp.log(mass)

        def look(u: Array) -> _Place:
            (miss, rare), (slope, steep) = _with_jacobian(parts, u)
            value = 0.5 * jnp.sum(miss**2) - rare
            return _Place(u, value, miss @ slope - steep, slope.T @ slope)

        def step(_: Any, carry: tuple[_Place, Array]) -> tuple[_Place, Array]:
            here, damping = carry
            there = look(self._inside(here.u + _proposed(here, damping)))
            better = there.value < here.value
            kept = jax.tree.map(lambda a, b: jnp.where(better, a, b), there, here)
            return kept, damping * jnp.where(better, _EASIER, _HARDER)

        start = look(self.nearest_latent(x) / self.bandwidth)
        damping = jnp.full((), _DAMPING, start.u.dtype)
        best, _ = lax.fori_loop(0, _STEPS, step, (start, damping))
        return best.u * self.bandwidth

    def _row(self, x: Array) -> tuple[Array, Array]:
        """A row around the centre with zeros where it is unobserved, and where it is observed."""
        seen = ~jnp.isnan(x)
        row = jnp.where(seen, (jnp.where(seen, x, 0) - self.centre) / self.spread, 0)
        return row, seen.astype(row.dtype)

    def _inside(self, u: Array) -> Array:
        return jnp.clip(u, self.low / self.bandwidth, self.high / self.bandwidth)

    def _at(self, u: Float[Array, " latents"]) -> tuple[Array, Array]:
        """The surface at a latent in units of the bandwidth, in units of `values`; the mass there.

        Where no kernel reaches, the value of the nearest row.
        """
        s = squared_distances(u[None], self.latent / self.bandwidth)[0]
        k = KERNELS[self.kernel].value(s, self.latents)
        least = smallest(k.dtype)
        mass = jnp.maximum(jnp.sum(k), least)
        k = jnp.where(mass > least, k, (s <= jnp.min(s)).astype(k.dtype))
        known = k @ self.seen
        return jnp.where(known > least, k @ self.values / jnp.maximum(known, least), 0), mass


class _Place(NamedTuple):
    """A latent in units of the bandwidth, what is minimised there, its slope and curvature."""

    u: Array
    value: Array
    slope: Array
    curvature: Array


def _with_jacobian(f: Callable, u: Array) -> tuple[Any, Any]:
    """The value of f and its derivatives by u, in one sweep."""
    slope, value = jax.jacfwd(lambda v: (f(v),) * 2, has_aux=True)(u)
    return value, slope


def _proposed(here: _Place, damping: Array) -> Array:
    """The damped step, at most one bandwidth long: beyond, the surface is another.

    One is the most that ``-log sum k`` of a Gaussian kernel is curved.
    """
    curved = here.curvature + jnp.eye(len(here.u), dtype=here.u.dtype)
    size = jnp.trace(curved) / len(here.u)
    damped = curved + damping * size * jnp.eye(len(here.u), dtype=here.u.dtype)
    step = -jnp.linalg.solve(damped, here.slope)
    return step / jnp.maximum(1, jnp.sqrt(jnp.sum(step**2)))
