"""The divergence of a field, ``tr df/dy``: exact, or estimated by noise drawn once per solve.

An estimator is a frozen object: ``noise(field, key)`` draws what it needs, once per solve, and
``of(field, t, y, u, noise)`` returns the field's value and the divergence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..errors import InputError

Kind = Literal["rademacher", "gaussian"]


class Divergence(Protocol):
    """How the divergence of a field is taken."""

    exact: bool

    def noise(self, field: Any, dim: int, dtype: Any, key: Any) -> Any:
        """What one solve of one row draws; None where nothing is drawn."""
        ...

    def of(self, field: Any, t: Any, y: Array, u: Any, noise: Any) -> tuple[Array, Array]:
        """``f(t, y, u)`` (dim,) and its divergence ()."""
        ...


def draw(kind: Kind, key: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """Noise of mean 0 and covariance I."""
    if key is None:
        raise InputError(
            "key", expected="a key: this flow estimates its divergence by noise",
            got="None", do="pass key=, or use divergence=Exact()",
        )  # fmt: skip
    if kind == "gaussian":
        return jax.random.normal(key, shape, dtype)
    return jax.random.rademacher(key, shape, dtype)


@dataclass(frozen=True)
class Exact:
    """The trace itself, by the field's closed form where it has one, else by forward mode.

    A closed form is a method ``with_divergence(t, y, u)``. Forward mode sends all unit vectors
    through in one batched call: ``D`` times the price of the field, any dimension.
    """

    exact = True

    def noise(self, field: Any, dim: int, dtype: Any, key: Any) -> None:
        return None

    def of(self, field: Any, t: Any, y: Array, u: Any, noise: Any) -> tuple[Array, Array]:
        closed = getattr(field, "with_divergence", None)
        return forward_trace(field, t, y, u) if closed is None else closed(t, y, u)


def forward_trace(field: Callable, t: Any, y: Array, u: Any) -> tuple[Array, Array]:
    """Value and trace of the Jacobian by ``D`` tangents at once."""
    value, push = jax.linearize(lambda y: field(t, y, u), y)
    return value, jnp.trace(jax.vmap(push)(jnp.eye(y.shape[-1], dtype=y.dtype)))


@dataclass(frozen=True)
class Hutchinson:
    """``mean_i e_i^T J e_i`` over `samples` draws: unbiased (Hutchinson 1989)."""

    kind: Kind = "rademacher"
    samples: int = 1
    exact = False

    def noise(self, field: Any, dim: int, dtype: Any, key: Any) -> Float[Array, "samples dim"]:
        return draw(self.kind, key, (self.samples, dim), dtype)

    def of(self, field: Any, t: Any, y: Array, u: Any, noise: Any) -> tuple[Array, Array]:
        return self.with_size(field, t, y, u, noise)[:2]

    def with_size(
        self, field: Any, t: Any, y: Array, u: Any, noise: Any
    ) -> tuple[Array, Array, Array]:
        """Value, divergence, and ``|J|_F^2 = E |J e|^2`` by the same products."""
        value, push = jax.linearize(lambda y: field(t, y, u), y)
        images = jax.vmap(push)(noise)
        divergence = jnp.mean(jnp.sum(noise * images, axis=-1))
        return value, divergence, jnp.mean(jnp.sum(images**2, axis=-1))


@dataclass(frozen=True)
class Bottleneck:
    """Noise in the narrowest layer of ``f = upper o lower``: ``tr(AB) = tr(BA)``.

    ``e^T (dlower/dy) (dupper/dh) e`` with ``e`` of the width of ``h`` (Grathwohl et al. 2019,
    section 3.1.1). The field has ``narrowest`` (its width), ``lower(t, y, u) -> h`` and
    ``upper(t, h, u) -> f``.
    """

    kind: Kind = "rademacher"
    exact = False

    def noise(self, field: Any, dim: int, dtype: Any, key: Any) -> Float[Array, " width"]:
        if not hasattr(field, "narrowest"):
            raise InputError(
                "divergence", expected="a field in two halves, as FFJORD's networks are",
                got=f"Bottleneck with {type(field).__name__}", do="use Hutchinson() or Exact()",
            )  # fmt: skip
        return draw(self.kind, key, (field.narrowest,), dtype)

    def of(self, field: Any, t: Any, y: Array, u: Any, noise: Any) -> tuple[Array, Array]:
        hidden = field.lower(t, y, u)
        value, image = jax.jvp(lambda h: field.upper(t, h, u), (hidden,), (noise,))
        _, back = jax.jvp(lambda y: field.lower(t, y, u), (y,), (image,))
        return value, jnp.sum(noise * back)


@dataclass(frozen=True)
class HutchPP:
    """Exact on a sketched range, Hutchinson on the rest (Meyer et al. 2021, algorithm 1).

    With ``Q`` an orthonormal basis of ``J S``, ``tr(Q^T J Q) + tr(G^T (I-QQ^T) J (I-QQ^T) G) / m``;
    3 m products with J. Its variance falls as 1/m^2 where plain noise has 1/m, which pays where the
    Jacobian's spectrum decays; ``S`` and ``G`` are drawn once per solve.
    """

    samples: int = 2
    kind: Kind = "rademacher"
    exact = False

    def noise(self, field: Any, dim: int, dtype: Any, key: Any) -> Float[Array, "2 samples dim"]:
        return draw(self.kind, key, (2, min(self.samples, dim), dim), dtype)

    def of(self, field: Any, t: Any, y: Array, u: Any, noise: Any) -> tuple[Array, Array]:
        value, push = jax.linearize(lambda y: field(t, y, u), y)
        sketch, probe = noise
        # The basis only steers the noise: any basis is unbiased, so no gradient goes through it.
        basis, _ = jnp.linalg.qr(jax.lax.stop_gradient(jax.vmap(push)(sketch)).T)
        rest = probe - (probe @ basis) @ basis.T
        inside = jnp.sum(basis.T * jax.vmap(push)(basis.T))
        return value, inside + jnp.sum(rest * jax.vmap(push)(rest)) / len(probe)
