"""Local mathematics: ``f(t, y, u) -> dy/dt`` for one state; `jax.vmap` goes outside.

A field is any callable of that form. The classes here are Equinox modules, so they are PyTrees of
arrays; activations are stored by name, so that models pickle, save and export.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .errors import InputError


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """``log(1 + exp(x))``, a fifth of the price of `jax.nn.softplus` on CPU."""
    return jnp.maximum(x, 0) + jnp.log(1 + jnp.exp(-jnp.abs(x)))


softplus.defjvps(lambda dx, out, x: jax.nn.sigmoid(x) * dx)


def elu(x: Array) -> Array:
    """``x`` above zero, ``exp(x) - 1`` below: to the rounding of 1, and cheaper than by `expm1`."""
    return jnp.maximum(x, 0) + jnp.exp(jnp.minimum(x, 0)) - 1


def leaky_relu(x: Array) -> Array:
    """``max(x, x / 5)``: the slope of Chainer's, where most libraries take a hundredth."""
    return jnp.maximum(x, 0.2 * x)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "softplus": softplus,
    "relu": jax.nn.relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "sigmoid": jax.nn.sigmoid,
    "sin": jnp.sin,
    "identity": lambda x: x,
}


def activation(name: str) -> Callable[[Array], Array]:
    """The activation of that name; `InputError` lists the known ones."""
    if name not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise InputError("activation", expected=known, got=repr(name), do="pick one of these")
    return ACTIVATIONS[name]


_TOGETHER: ContextVar[int | None] = ContextVar("together", default=None)
# XLA's CPU backend hands a loop of more than about 4096 elements to its thread pool, which costs
# more than the loop; a batched dot costs a call into a matrix library. This bound lies between.
_MULTIPLY_SUM_BELOW = 2048


@contextlib.contextmanager
def together(count: int) -> Iterator[None]:
    """While tracing: `count` states (rows x members) go through each matrix product at once.

    Inside a `vmap` a product cannot see how many there are, and the fastest form depends on it.
    """
    token = _TOGETHER.set(count)
    try:
        yield
    finally:
        _TOGETHER.reset(token)


def matvec(
    weight: Float[Array, "out in"], x: Float[Array, " in *states"]
) -> Float[Array, " out *states"]:
    """``weight @ x``, as a multiply-and-sum where that is faster (tiny products on CPU)."""
    count = _TOGETHER.get()
    if x.ndim == 1 and count is not None and 0 < count * weight.size <= _MULTIPLY_SUM_BELOW:
        return jnp.sum(weight * x, axis=-1)
    return weight @ x


Key = PRNGKeyArray | np.random.Generator
"""Randomness of a new layer: a JAX key, or a NumPy generator, which compiles nothing."""


def split(key: Key, count: int) -> Any:
    if isinstance(key, np.random.Generator):
        return [key] * count
    return jax.random.split(key, count)


def _normal(key: Key, shape: tuple[int, ...]) -> Any:
    if isinstance(key, np.random.Generator):
        return key.normal(size=shape).astype(np.float32)
    return jax.random.normal(key, shape)


def _zeros(key: Key, count: int) -> Any:
    return np.zeros(count, np.float32) if isinstance(key, np.random.Generator) else jnp.zeros(count)


class Linear(eqx.Module):
    """``W x + b`` with LeCun normal weights and zero bias.

    States side by side are columns: `x` (in, states) gives (out, states). Under `jax.vmap` the bias
    would turn every product around.
    """

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]

    def __init__(self, n_in: int, n_out: int, *, key: Key, scale: float = 1.0):
        self.weight = _normal(key, (n_out, n_in)) * (scale / max(n_in, 1) ** 0.5)
        self.bias = _zeros(key, n_out)

    def __call__(self, x: Float[Array, " in *states"]) -> Float[Array, " out *states"]:
        return matvec(self.weight, x) + self.bias.reshape(-1, *(1,) * (x.ndim - 1))


class MLP(eqx.Module):
    """A multilayer perceptron ``R^sizes[0] -> R^sizes[-1]`` with one named activation."""

    layers: tuple[Linear, ...]
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        sizes: tuple[int, ...],
        activation: str = "tanh",
        *,
        key: Key,
        last_scale: float = 1.0,
    ):
        keys = split(key, len(sizes) - 1)
        scales = [1.0] * (len(sizes) - 2) + [last_scale]
        self.layers = tuple(
            Linear(a, b, key=k, scale=s)
            for a, b, k, s in zip(sizes[:-1], sizes[1:], keys, scales, strict=True)
        )
        self.activation = activation

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        act = activation(self.activation)
        for layer in self.layers[:-1]:
            x = act(layer(x))
        return self.layers[-1](x)


class NeuralField(eqx.Module):
    """``dy/dt = net([y, u, t])``; time enters only where `time_dependent`.

    `out` is the number of outputs where it is not that of the states.
    """

    net: MLP
    time_dependent: bool = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        *,
        key: Key,
        inputs: int = 0,
        out: int | None = None,
        width: int = 32,
        depth: int = 2,
        activation: str = "tanh",
        time_dependent: bool = False,
        last_scale: float = 1.0,
    ):
        sizes = (dim + inputs + int(time_dependent),) + (width,) * depth + (out or dim,)
        self.net = MLP(sizes, activation, key=key, last_scale=last_scale)
        self.time_dependent = time_dependent

    def __call__(self, t: Any, y: Float[Array, " dim"], u: Any = None) -> Float[Array, " dim"]:
        parts = [y]
        if u is not None:
            parts.append(u)
        if self.time_dependent:
            parts.append(jnp.asarray(t, y.dtype)[None])
        return self.net(jnp.concatenate(parts) if len(parts) > 1 else y)


class Sum(eqx.Module):
    """The sum of fields, for example an equation plus the network that corrects it."""

    parts: tuple[Callable, ...]

    def __call__(self, t: Any, y: Array, u: Any = None) -> Array:
        total = self.parts[0](t, y, u)
        for part in self.parts[1:]:
            total = total + part(t, y, u)
        return total
