"""Vector fields of continuous flows: FFJORD's time-dependent layers, and planar units.

Every layer is affine in its input with a matrix that depends on time alone, ``A(t) x + b(t)``. For
one or two hidden layers this gives the exact divergence in closed form, at the price of one more
layer whatever the dimension: with ``d_i`` the activations' slopes,
``tr(A3 D2 A2 D1 A1) = d2^T (A2 * (A1 A3)^T) d1``, where all rows share the matrix in the middle.
With more hidden layers the product is taken from both ends, ``A2 D1 A1`` and ``A4 D3 A3``: as many
operations as forward mode, in two large products instead of many small ones.
"""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..fields import MLP, Linear, activation, matvec

LayerKind = Literal["concat", "concatsquash", "hyper"]
_WIDE = 2**20  # elements of a product that all rows share, 4 MB in float32


class ConcatLayer(eqx.Module):
    """``W x + v t + b``: the time as one more input (Grathwohl et al. 2019)."""

    linear: Linear
    drift: Float[Array, " out"]

    def __init__(self, n_in: int, n_out: int, *, key: Any, scale: float = 1.0):
        first, second = jax.random.split(key)
        self.linear = Linear(n_in, n_out, key=first, scale=scale)
        self.drift = jax.random.normal(second, (n_out,)) * scale / (n_in + 1) ** 0.5

    def matrix(self, t: Any) -> Float[Array, "out in"]:
        return self.linear.weight

    def __call__(self, t: Any, x: Array) -> Array:
        return self.linear(x) + self.drift * t


class ConcatSquashLayer(eqx.Module):
    """``(W x + b) sigmoid(g t + c) + v t`` (Grathwohl et al. 2019, their code's default)."""

    linear: Linear
    gate: Linear
    drift: Float[Array, " out"]

    def __init__(self, n_in: int, n_out: int, *, key: Any, scale: float = 1.0):
        first, second, third = jax.random.split(key, 3)
        self.linear = Linear(n_in, n_out, key=first, scale=scale)
        self.gate = Linear(1, n_out, key=second)
        self.drift = jax.random.normal(third, (n_out,)) * scale

    def _gate(self, t: Any) -> Array:
        return jax.nn.sigmoid(self.gate.weight[:, 0] * t + self.gate.bias)

    def matrix(self, t: Any) -> Float[Array, "out in"]:
        return self._gate(t)[:, None] * self.linear.weight

    def __call__(self, t: Any, x: Array) -> Array:
        return self.linear(x) * self._gate(t) + self.drift * t


class HyperLayer(eqx.Module):
    """``W(t) x + b(t)``, both of a small network of the time."""

    hyper: MLP
    n_in: int = eqx.field(static=True)
    n_out: int = eqx.field(static=True)

    def __init__(self, n_in: int, n_out: int, *, key: Any, scale: float = 1.0):
        sizes = (1, 32, (n_in + 1) * n_out)
        self.hyper = MLP(sizes, "tanh", key=key, last_scale=scale / n_in**0.5)
        self.n_in, self.n_out = n_in, n_out

    def _drawn(self, t: Any) -> Array:
        flat = self.hyper(jnp.asarray(t, self.hyper.layers[0].weight.dtype)[None])
        return flat.reshape(self.n_out, self.n_in + 1)

    def matrix(self, t: Any) -> Float[Array, "out in"]:
        return self._drawn(t)[:, :-1]

    def __call__(self, t: Any, x: Array) -> Array:
        drawn = self._drawn(t)
        return matvec(drawn[:, :-1], x) + drawn[:, -1]


LAYERS: dict[str, Any] = {
    "concat": ConcatLayer,
    "concatsquash": ConcatSquashLayer,
    "hyper": HyperLayer,
}


def _steep(layer: Any, sharpness: float, key: Any) -> Any:
    """A first layer whose units are steep and stand where the rows are."""
    if not hasattr(layer, "linear"):
        return layer  # a hyper layer's weights are those of another network
    weight = sharpness * layer.linear.weight
    places = jax.random.normal(jax.random.fold_in(key, 1), weight.shape)
    bias = -jnp.sum(weight * places, axis=-1)
    return eqx.tree_at(lambda n: (n.linear.weight, n.linear.bias), layer, (weight, bias))


class Dynamics(eqx.Module):
    """``dy/dt`` as a network of time-dependent layers; a context ``u`` enters the first one.

    `spectral` bounds the largest singular value of every weight (Miyato et al. 2018): see
    `prepared`, which a solve calls once. With a `sharpness` units of the first layer begin that
    many times as steep, each at a place of its own, ``b = -w c`` with ``c ~ N(0, I)``; else all
    of them begin at the origin.
    """

    layers: tuple[Any, ...]
    context: Linear | None
    activation: str = eqx.field(static=True)
    spectral: float | None = eqx.field(static=True)

    def __init__(
        self, dim: int, *, key: Any, width: int | tuple[int, ...] = 64, depth: int = 2,
        kind: LayerKind = "concatsquash", activation: str = "tanh", context: int = 0,
        spectral: float | None = None, last_scale: float = 1.0, sharpness: float | None = None,
    ):  # fmt: skip
        widths = (width,) * depth if isinstance(width, int) else width
        sizes = (dim, *widths, dim)
        keys = jax.random.split(key, len(sizes))
        scales = [1.0] * (len(sizes) - 2) + [last_scale]
        self.layers = tuple(
            LAYERS[kind](a, b, key=k, scale=s)
            for a, b, k, s in zip(sizes[:-1], sizes[1:], keys[:-1], scales, strict=True)
        )
        if sharpness is not None:
            self.layers = (_steep(self.layers[0], sharpness, keys[0]), *self.layers[1:])
        self.context = Linear(context, sizes[1], key=keys[-1]) if context else None
        self.activation = activation
        self.spectral = spectral

    def prepared(self) -> Dynamics:
        """What one solve evaluates: weights within their spectral bound."""
        if self.spectral is None:
            return self
        bound = self.spectral

        def limit(node: Any) -> Any:
            if not isinstance(node, Linear):
                return node
            return eqx.tree_at(lambda n: n.weight, node, bounded(node.weight, bound))

        return jax.tree.map(limit, self, is_leaf=lambda node: isinstance(node, Linear))

    def _first(self, t: Any, y: Array, u: Any) -> Array:
        h = self.layers[0](t, y)
        return h if self.context is None else h + self.context(u)

    def __call__(self, t: Any, y: Float[Array, " dim"], u: Any = None) -> Float[Array, " dim"]:
        act, h = activation(self.activation), self._first(t, y, u)
        for layer in self.layers[1:]:
            h = layer(t, act(h))
        return h

    @property
    def _narrow(self) -> int:
        widths = [layer.matrix(0.0).shape[0] for layer in self.layers[:-1]]
        return int(np.argmin(widths))

    @property
    def narrowest(self) -> int:
        """Width of the narrowest hidden layer."""
        return min(layer.matrix(0.0).shape[0] for layer in self.layers[:-1])

    def lower(self, t: Any, y: Array, u: Any = None) -> Array:
        """Up to the narrowest hidden layer, before its activation."""
        act, h = activation(self.activation), self._first(t, y, u)
        for layer in self.layers[1 : self._narrow + 1]:
            h = layer(t, act(h))
        return h

    def upper(self, t: Any, h: Array, u: Any = None) -> Array:
        """From the narrowest hidden layer on."""
        act = activation(self.activation)
        for layer in self.layers[self._narrow + 1 :]:
            h = layer(t, act(h))
        return h

    def with_divergence(self, t: Any, y: Array, u: Any = None) -> tuple[Array, Array]:
        """``f(t, y, u)`` and its exact divergence."""
        if self._wide:
            from .divergence import forward_trace

            return forward_trace(self, t, y, u)
        act, h, slopes = activation(self.activation), self._first(t, y, u), []
        for layer in self.layers[1:]:
            value, slope = jax.jvp(act, (h,), (jnp.ones_like(h),))
            slopes.append(slope)
            h = layer(t, value)
        return h, _trace([layer.matrix(t) for layer in self.layers], slopes)

    @property
    def _wide(self) -> bool:
        """Whether the products of `_trace` would outgrow the rows that they are made for."""
        sizes = [layer.matrix(0.0).shape for layer in self.layers]
        if len(sizes) <= 3:
            return False
        return sizes[0][1] * max(a * b for a, b in (sizes[1], sizes[-2])) > _WIDE


def _trace(matrices: list[Array], slopes: list[Array]) -> Array:
    """``tr(A_n D_{n-1} ... D_1 A_1)``: the matrices belong to the time, the slopes to a row.

    Up to three matrices, all that rows share is multiplied out first. Of more, the product is
    taken from both ends, where one product with a matrix of the time is enough for two layers.
    """
    if len(matrices) == 1:
        return jnp.trace(matrices[0])
    if len(matrices) == 2:
        first, last = matrices
        return jnp.sum(jnp.sum(first * last.T, axis=1) * slopes[0])
    if len(matrices) == 3:
        first, middle, last = matrices
        return jnp.sum(slopes[1] * matvec(middle * (first @ last).T, slopes[0]))
    left = _pair(matrices[1], matrices[0].T, slopes[0])
    for matrix, slope in zip(matrices[2:-2], slopes[1:-2], strict=True):
        left = matrix @ (slope[:, None] * left)
    right = _pair(matrices[-2].T, matrices[-1], slopes[-1])
    return jnp.sum(slopes[-2] * jnp.sum(left * right, axis=1))


def _pair(a: Float[Array, "out width"], b: Float[Array, "dim width"], d: Array) -> Array:
    """``A diag(d) B^T`` (out, dim) as one product of `d` with a matrix that all rows share."""
    shared = a[:, None, :] * b
    return matvec(shared.reshape(-1, len(d)), d).reshape(len(a), len(b))


def bounded(weight: Float[Array, "out in"], bound: float, rounds: int = 12) -> Array:
    """`weight`, scaled down where its largest singular value exceeds `bound`.

    By power iteration from a fixed vector: no state to carry, and the same bits every time.
    """
    v = jnp.cos(jnp.arange(weight.shape[1], dtype=weight.dtype))

    def turn(v: Array, _: Any) -> tuple[Array, None]:
        v = weight.T @ (weight @ v)
        return v / (jnp.linalg.norm(v) + 1e-12), None

    frozen = jax.lax.stop_gradient
    v, _ = jax.lax.scan(lambda v, _: turn(v, _), frozen(v), None, length=rounds)
    size = jnp.linalg.norm(weight @ frozen(v))
    return weight * (bound / jnp.maximum(size, bound))


class PlanarDynamics(eqx.Module):
    """``dy/dt = 1/M sum_m sigmoid(g_m(t)) u_m(t) tanh(w_m(t)^T y + b_m(t))``, gated planar units.

    Its divergence is a sum, ``1/M sum_m sigmoid(g_m) tanh'(.) u_m^T w_m`` (Chen et al. 2018,
    section 4). The numbers of all units come from one network of the time, 1-32-32-(3 M D + M);
    a context enters beside the biases. `units` is M, `dim` is D.
    """

    hyper: MLP
    context: Linear | None
    dim: int = eqx.field(static=True)
    units: int = eqx.field(static=True)

    def __init__(self, dim: int, *, key: Any, units: int = 64, context: int = 0):
        first, second = jax.random.split(key)
        size = units * (3 * dim + 1)
        self.hyper = MLP((1, 32, 32, size), "tanh", key=first)
        self.context = Linear(context, units, key=second) if context else None
        self.dim, self.units = dim, units

    def _drawn(self, t: Any) -> tuple[Array, Array, Array]:
        """w (units, dim), b (units,), gated u (units, dim)."""
        flat = self.hyper(jnp.asarray(t, self.hyper.layers[0].weight.dtype)[None])
        size = self.units * self.dim
        w, u, g = (flat[i * size : (i + 1) * size].reshape(self.units, -1) for i in range(3))
        return w, flat[3 * size :], u * jax.nn.sigmoid(g)

    def with_divergence(self, t: Any, y: Array, u: Any = None) -> tuple[Array, Array]:
        """The field and its divergence: a sum over the units."""
        w, b, out = self._drawn(t)
        h = matvec(w, y) + b
        if self.context is not None:
            h = h + self.context(u)
        value = jnp.tanh(h)
        divergence = jnp.sum((1 - value**2) * jnp.sum(w * out, axis=-1))
        return matvec(out.T, value) / self.units, divergence / self.units

    def __call__(self, t: Any, y: Array, u: Any = None) -> Array:
        return self.with_divergence(t, y, u)[0]
