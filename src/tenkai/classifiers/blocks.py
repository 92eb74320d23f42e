"""The block that every body is made of: a residual block's branch is an ODE's right-hand side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ..convolution import ConcatConvolution
from ..fields import Linear, activation
from .layers import GroupNorm, Plain3

Block = Callable[..., Any]
"""``block(t, state) -> slope`` of one state's shape."""
Maker = Callable[..., Block]
"""``make(key, timed=...)``: a block that sees the depth, or one that does not."""


class ConvBlock(eqx.Module):
    """``GN(conv(relu(GN(conv(relu(GN(y)))))))`` where convolutions see t as one more channel.

    The ODE-Net of Chen et al. 2018.
    """

    norms: tuple[GroupNorm, ...]
    convolutions: tuple[ConcatConvolution, ...]

    def __init__(self, channels: int, *, key: Any):
        self.norms = tuple(GroupNorm(channels) for _ in range(3))
        self.convolutions = tuple(
            ConcatConvolution(channels, channels, key=k) for k in jax.random.split(key)
        )

    def __call__(self, t: Any, y: Float[Array, "h w c"], u: Any = None) -> Float[Array, "h w c"]:
        for norm, convolution in zip(self.norms, self.convolutions, strict=False):
            y = convolution(t, jax.nn.relu(norm(y)))
        return self.norms[-1](y)


class PlainConvBlock(eqx.Module):
    """The same branch without a time: ``conv(relu(GN(conv(relu(GN(y))))))``, no biases.

    The residual block beside the ODE-Net of Chen et al. 2018.
    """

    norms: tuple[GroupNorm, ...]
    convolutions: tuple[Plain3, ...]

    def __init__(self, channels: int, *, key: Any):
        self.norms = tuple(GroupNorm(channels) for _ in range(2))
        self.convolutions = tuple(Plain3(channels, channels, key=k) for k in jax.random.split(key))

    def __call__(self, t: Any, y: Float[Array, "h w c"], u: Any = None) -> Float[Array, "h w c"]:
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            y = convolution(jax.nn.relu(norm(y)))
        return y


class DenseBlock(eqx.Module):
    """``W2 act(W1 y + v1 t + b1) + v2 t + b2`` for rows of a table; without t where not `timed`."""

    layers: tuple[Linear, Linear]
    drifts: tuple[Array, Array] | None
    activation: str = eqx.field(static=True)

    def __init__(self, width: int, *, activation: str, timed: bool, key: Any):
        first, second, third = jax.random.split(key, 3)
        self.layers = (Linear(width, width, key=first), Linear(width, width, key=second))
        drifts = 0.1 * jax.random.normal(third, (2, width))
        self.drifts = (drifts[0], drifts[1]) if timed else None
        self.activation = activation

    def __call__(self, t: Any, y: Float[Array, " c"], u: Any = None) -> Float[Array, " c"]:
        inside, out = self.layers
        if self.drifts is None:
            return out(activation(self.activation)(inside(y)))
        hidden = activation(self.activation)(inside(y) + t * self.drifts[0])
        return out(hidden) + t * self.drifts[1]
