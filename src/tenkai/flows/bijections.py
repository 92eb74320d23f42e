"""Layers of discrete flows as flowjax bijections: they chain, scan and invert with flowjax's own.

Import this module only where such a flow is built: it imports flowjax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, Coupling, Loc, MaskedAutoregressive
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ..fields import MLP
from . import steps
from .masked import MaskedMLP

_SMALL = 0.01  # scale of what must be zero at the identity


class Numbers(eqx.Module):
    """The parameters of one step: free, plus what a small network makes of the context."""

    free: Float[Array, " count"]
    net: MLP | None

    def __init__(self, free: Float[Array, " count"], context: int, *, key: Any, width: int = 32):
        self.free = free
        sizes = (context, width, len(free))
        self.net = MLP(sizes, key=key, last_scale=0.1) if context else None

    def __call__(self, context: Any) -> Float[Array, " count"]:
        return self.free if self.net is None else self.free + self.net(context)


class _Amortised(AbstractBijection):
    """A step of `steps` whose parameters are `Numbers`."""

    numbers: Numbers
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, dim: int, free: Array, context: int, key: Any):
        self.numbers = Numbers(free, context, key=key)
        self.shape, self.cond_shape = (dim,), (context,) if context else None


class Planar(_Amortised):
    """``z + u' tanh(w^T z + b)``; its inverse is the root of one scalar equation."""

    def __init__(self, dim: int, *, context: int = 0, key: Any):
        first, second, third, last = jax.random.split(key, 4)
        u = _SMALL * jax.random.normal(first, (dim,))
        w = jax.random.normal(second, (dim,)) / dim**0.5
        b = jax.random.normal(third, (1,))
        super().__init__(dim, jnp.concatenate([u, w, b]), context, last)

    def _drawn(self, condition: Any) -> tuple[Array, Array, Array]:
        flat, dim = self.numbers(condition), self.shape[0]
        return flat[:dim], flat[dim : 2 * dim], flat[-1]

    def transform_and_log_det(self, x: Any, condition: Any = None) -> tuple[Array, Array]:
        return steps.planar(x, *self._drawn(condition))

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> tuple[Array, Array]:
        return steps.planar_inverse(y, *self._drawn(condition))[:2]


class Radial(_Amortised):
    """``z + c (z - centre) / (a + |z - centre|)``; its inverse is a quadratic equation's root."""

    def __init__(self, dim: int, *, context: int = 0, key: Any):
        first, second, last = jax.random.split(key, 3)
        centre = jax.random.normal(first, (dim,))
        rest = _SMALL * jax.random.normal(second, (2,))
        super().__init__(dim, jnp.concatenate([centre, rest]), context, last)

    def _drawn(self, condition: Any) -> tuple[Array, Array, Array]:
        flat = self.numbers(condition)
        return flat[:-2], flat[-2], flat[-1]

    def transform_and_log_det(self, x: Any, condition: Any = None) -> tuple[Array, Array]:
        return steps.radial(x, *self._drawn(condition))

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> tuple[Array, Array]:
        return steps.radial_inverse(y, *self._drawn(condition))


class Sylvester(_Amortised):
    """``z + Q R1 tanh(R2 Q^T z + b)`` with `units` columns of Q by as many reflections."""

    units: int = eqx.field(static=True)

    def __init__(self, dim: int, *, units: int, context: int = 0, key: Any):
        first, second, third, fourth, last = jax.random.split(key, 5)
        v = jax.random.normal(first, (units * dim,))
        r1 = _SMALL * jax.random.normal(second, (units**2,))
        r2 = jax.random.normal(third, (units**2,))
        b = jax.random.normal(fourth, (units,))
        super().__init__(dim, jnp.concatenate([v, r1, r2, b]), context, last)
        self.units = units

    def _drawn(self, condition: Any) -> tuple[Array, Array, Array, Array]:
        flat, dim, m = self.numbers(condition), self.shape[0], self.units
        v, rest = flat[: m * dim].reshape(m, dim), flat[m * dim :]
        r1, r2 = rest[: m * m].reshape(m, m), rest[m * m : 2 * m * m].reshape(m, m)
        return steps.householder(v, m), r1, r2, rest[2 * m * m :]

    def transform_and_log_det(self, x: Any, condition: Any = None) -> tuple[Array, Array]:
        return steps.sylvester(x, *self._drawn(condition))

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> tuple[Array, Array]:
        return steps.sylvester_inverse(y, *self._drawn(condition))[:2]


class Diagonal(AbstractBijection):
    """``z exp(log_scale) + shift``, elementwise: Glow's actnorm.

    It begins at the identity: the data that come here have mean 0 and variance 1 already.
    """

    shift: Array
    log_scale: Array
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: ClassVar[None] = None

    def __init__(self, shift: Array, log_scale: Array):
        self.shift, self.log_scale = shift, log_scale
        self.shape = shift.shape

    def transform_and_log_det(self, x: Any, condition: Any = None) -> tuple[Array, Array]:
        return steps.affine(x, self.shift, self.log_scale)

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> tuple[Array, Array]:
        return steps.affine_inverse(y, self.shift, self.log_scale)


class LULinear(AbstractBijection):
    """``L U z`` with a unit lower L and a positive diagonal in U (Kingma and Dhariwal 2018, 10).

    Both directions cost two triangular products, the determinant a sum. It begins at the identity.
    """

    lower: Float[Array, "dim dim"]
    upper: Float[Array, "dim dim"]
    log_diagonal: Float[Array, " dim"]
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: ClassVar[None] = None

    def __init__(self, dim: int):
        self.lower, self.upper = jnp.zeros((dim, dim)), jnp.zeros((dim, dim))  # one would be tied
        self.log_diagonal = jnp.zeros(dim)
        self.shape = (dim,)

    def _factors(self) -> tuple[Array, Array]:
        lower = jnp.tril(self.lower, -1) + jnp.eye(self.shape[0], dtype=self.lower.dtype)
        return lower, jnp.triu(self.upper, 1) + jnp.diag(jnp.exp(self.log_diagonal))

    def transform_and_log_det(self, x: Any, condition: Any = None) -> tuple[Array, Array]:
        lower, upper = self._factors()
        return lower @ (upper @ x), jnp.sum(self.log_diagonal)

    def inverse_and_log_det(self, y: Any, condition: Any = None) -> tuple[Array, Array]:
        lower, upper = self._factors()
        first = solve_triangular(lower, y, lower=True, unit_diagonal=True)
        return solve_triangular(upper, first), -jnp.sum(self.log_diagonal)


def _scaled(flat: Float[Array, " two"]) -> Diagonal:
    """An affine map of one variable; a layer stretches by no more than exp(4)."""
    return Diagonal(flat[0], 4 * jnp.tanh(flat[1] / 4))


def _shifted(flat: Float[Array, " one"]) -> Loc:
    return Loc(flat[0])


# Functions of this module and not closures of each layer: two flows of the same shape then run
# the same compiled program.
TRANSFORMERS: dict[str, tuple[Callable, int]] = {"affine": (_scaled, 2), "shift": (_shifted, 1)}


def coupling(
    dim: int, *, transformer: str = "affine", width: int, depth: int, activation: str,
    context: int = 0, key: Any,
) -> Coupling:  # fmt: skip
    """The first half moves the second, affinely or by a shift (Dinh et al. 2015, 2017)."""
    make, count = TRANSFORMERS[transformer]
    kept = dim // 2
    sizes = (kept + context, *(width,) * depth, count * (dim - kept))
    net = MLP(sizes, activation, key=key, last_scale=_SMALL)
    shell = Coupling(
        key, transformer=Loc(jnp.zeros(())), untransformed_dim=kept, dim=dim,
        cond_dim=context or None, nn_width=1, nn_depth=0,
    )  # fmt: skip
    return eqx.tree_at(lambda c: (c.transformer_constructor, c.conditioner), shell, (make, net))


def autoregressive(
    dim: int, *, width: int, depth: int, activation: str, context: int = 0, key: Any
) -> MaskedAutoregressive:
    """Every variable moved affinely by those before it; the inverse takes one pass for each."""
    make, count = TRANSFORMERS["affine"]
    net = MaskedMLP(
        dim, outputs=count, width=width, depth=depth, context=context, activation=activation,
        last_scale=_SMALL, key=key,
    )  # fmt: skip
    shell = MaskedAutoregressive(
        key, transformer=Loc(jnp.zeros(())), dim=dim, cond_dim=context or None, nn_width=1,
        nn_depth=0,
    )  # fmt: skip
    return eqx.tree_at(
        lambda m: (m.transformer_constructor, m.masked_autoregressive_mlp), shell, (make, net)
    )
