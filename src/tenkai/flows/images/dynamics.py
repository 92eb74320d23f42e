"""The convolutional field of a continuous flow for images."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...fields import activation
from .convolution import Convolution


class ConcatConvolution(eqx.Module):
    """A convolution that sees the time as one more channel (Grathwohl et al. 2019, "concat").

    That channel is constant up to the border, so its share is a fixed picture times t.
    """

    convolution: Convolution
    drift: Float[Array, "patch out"]

    def __init__(self, n_in: int, n_out: int, *, key: Any, scale: float = 1.0):
        first, second = jax.random.split(key)
        self.convolution = Convolution(n_in, n_out, key=first, scale=scale)
        patch = self.convolution.size**2
        self.drift = jax.random.normal(second, (patch, n_out)) * scale / (patch * n_in) ** 0.5

    def __call__(self, t: Any, image: Float[Array, "h w in"]) -> Float[Array, "h w out"]:
        h, w, _ = image.shape
        inside = _inside(h, w, self.convolution.size)
        return self.convolution(image) + t * (jnp.asarray(inside, image.dtype) @ self.drift)


def _inside(h: int, w: int, size: int) -> Float[np.ndarray, "h w patch"]:
    """One where a pixel's neighbour lies in the image."""
    margin = size // 2
    ones = np.pad(np.ones((h, w)), margin)
    return np.stack([ones[i : i + h, j : j + w] for i in range(size) for j in range(size)], -1)


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
