"""Families of posteriors: what follows the encoder's normal distribution, row by row.

``z_0 = mean(x) + sd(x) * noise``, then ``z = flow(z_0; numbers(x))`` where the encoder gives every
row the flow's numbers: amortised (Rezende and Mohamed 2015). Base noise to z is always one pass (or
one solve), so the density of what was drawn is known; the density of any other z is not needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...described import Described
from .. import steps
from ..flow import Moved


class Amortised(eqx.Module):
    """A map of latent variables (dim,) that an encoder steers by `numbers` raw numbers per row."""

    dim: eqx.AbstractVar[int]

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many numbers the encoder gives it for one row."""

    @abstractmethod
    def __call__(self, z: Any, numbers: Any, key: Any = None) -> Moved:
        """One row through the map, with the log-determinant."""

    def start(self, key: Any) -> Float[Array, " numbers"]:
        """Numbers that give about the identity, and gradients; where the encoder begins."""
        return jnp.zeros(self.numbers)


@dataclass(frozen=True, repr=False)
class PosteriorFamily(Described, ABC):
    """A family of posteriors before it is built: hyperparameters only."""

    @abstractmethod
    def build(self, latent: int, *, key: Any) -> Amortised:
        """The map of `latent` variables, about the identity."""


class Identity(Amortised):
    """The encoder's normal distribution as it is."""

    dim: int = eqx.field(static=True)

    @property
    def numbers(self) -> int:
        return 0

    def __call__(self, z: Any, numbers: Any, key: Any = None) -> Moved:
        return Moved(z, jnp.zeros((), z.dtype))


@dataclass(frozen=True, repr=False)
class NoFlow(PosteriorFamily):
    """The diagonal normal posterior (Kingma and Welling 2014), whose KL is in closed form."""

    def build(self, latent: int, *, key: Any) -> Identity:
        return Identity(dim=latent)


class Chain(Amortised):
    """`layers` steps of one kind behind one another, every number of them from the encoder."""

    dim: int = eqx.field(static=True)
    layers: int = eqx.field(static=True)

    @abstractmethod
    def step(self, z: Any, numbers: Any) -> tuple[Array, Array]:
        """One layer, given its numbers."""

    def __call__(self, z: Any, numbers: Any, key: Any = None) -> Moved:
        def body(carry: tuple, numbers: Any) -> tuple[tuple, None]:
            y, log_det = self.step(carry[0], numbers)
            return (y, carry[1] + log_det), None

        per_layer = numbers.reshape(self.layers, -1)
        (y, log_det), _ = jax.lax.scan(body, (z, jnp.zeros((), z.dtype)), per_layer)
        return Moved(y, log_det)


class PlanarChain(Chain):
    """Amortised planar steps: u, w (dim,) and b of every layer."""

    @property
    def numbers(self) -> int:
        return self.layers * (2 * self.dim + 1)

    def step(self, z: Any, numbers: Any) -> tuple[Array, Array]:
        d = self.dim
        return steps.planar(z, numbers[:d], numbers[d : 2 * d], numbers[-1])

    def start(self, key: Any) -> Array:
        w = jax.random.normal(key, (self.layers, self.dim)) / self.dim**0.5
        parts = (jnp.zeros((self.layers, self.dim)), w, jnp.zeros((self.layers, 1)))
        return jnp.concatenate(parts, axis=1).ravel()


@dataclass(frozen=True, repr=False)
class PlanarPosterior(PosteriorFamily):
    """Planar flows (Rezende and Mohamed 2015): one hidden unit per layer; see `steps.planar`."""

    layers: int = 16

    def build(self, latent: int, *, key: Any) -> PlanarChain:
        return PlanarChain(dim=latent, layers=self.layers)


class SylvesterChain(Chain):
    """Amortised Sylvester steps with Householder reflections."""

    units: int = eqx.field(static=True)
    reflections: int = eqx.field(static=True)

    @property
    def _sizes(self) -> tuple[int, ...]:
        m = self.units
        return self.reflections * self.dim, m * m, m * m, m

    @property
    def numbers(self) -> int:
        return self.layers * sum(self._sizes)

    def step(self, z: Any, numbers: Any) -> tuple[Array, Array]:
        m = self.units
        v, r1, r2, b = jnp.split(numbers, np.cumsum(self._sizes)[:-1])
        q = steps.householder(v.reshape(self.reflections, self.dim), m)
        return steps.sylvester(z, q, r1.reshape(m, m), r2.reshape(m, m), b)

    def start(self, key: Any) -> Array:
        m, k = self.units, self.layers
        v = jax.random.normal(key, (k, self._sizes[0]))
        r2 = jnp.broadcast_to(jnp.eye(m).ravel(), (k, m * m))
        parts = (v, jnp.zeros((k, m * m)), r2, jnp.zeros((k, m)))
        return jnp.concatenate(parts, axis=1).ravel()


@dataclass(frozen=True, repr=False)
class SylvesterPosterior(PosteriorFamily):
    """Sylvester flows (van den Berg et al. 2018): `units` hidden units per layer.

    Householder Sylvester flows: the orthogonal matrix is a product of `reflections`. `units` of
    None takes all dimensions, at most 32.
    """

    layers: int = 4
    units: int | None = None
    reflections: int = 4

    def build(self, latent: int, *, key: Any) -> SylvesterChain:
        units = min(latent, self.units or 32)
        return SylvesterChain(
            dim=latent, layers=self.layers, units=units, reflections=self.reflections
        )
