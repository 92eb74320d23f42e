"""The convolutional field of a continuous flow for images."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ...convolution import ConcatConvolution
from ...fields import activation


class ConvDynamics(eqx.Module):
    """``dy/dt`` of a flattened image as a network of 3 x 3 convolutions that see the time."""

    layers: tuple[ConcatConvolution, ...]
    shape: tuple[int, int, int] = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self, shape: tuple[int, int, int], *, key: Any, channels: int = 64, depth: int = 3,
        activation: str = "softplus", last_scale: float = 0.1,
    ):  # fmt: skip
        sizes = (shape[-1], *(channels,) * depth, shape[-1])
        keys = jax.random.split(key, len(sizes) - 1)
        scales = [1.0] * depth + [last_scale]
        self.layers = tuple(
            ConcatConvolution(a, b, key=k, scale=s)
            for a, b, k, s in zip(sizes[:-1], sizes[1:], keys, scales, strict=True)
        )
        self.shape, self.activation = shape, activation

    def __call__(self, t: Any, y: Float[Array, " dim"], u: Any = None) -> Float[Array, " dim"]:
        act = activation(self.activation)
        h = self.layers[0](t, y.reshape(self.shape))
        for layer in self.layers[1:]:
            h = layer(t, act(h))
        return h.reshape(y.shape)
