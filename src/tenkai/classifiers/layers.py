"""Layers of image classifiers in the forms that are quick on CPU; one image (h, w, c) in."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..convolution import convolve
from ..fields import Linear

_EPSILON = 1e-5
_GROUPS = 32


class GroupNorm(eqx.Module):
    """``a (x - mean) / sqrt(var + 1e-5) + b``, mean and variance by group (Wu and He 2018).

    By two sums per channel and a matrix that adds the channels of a group: reshaping instead and
    reducing over pixels and part of the channels is some twenty times slower on CPU. At most 32
    groups, as many as divide the channels.
    """

    weight: Float[Array, " c"]
    bias: Float[Array, " c"]
    groups: int = eqx.field(static=True)

    def __init__(self, channels: int):
        self.weight, self.bias = jnp.ones(channels), jnp.zeros(channels)
        self.groups = max(g for g in range(1, _GROUPS + 1) if channels % g == 0)

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        h, w, channels = x.shape
        each = channels // self.groups
        share = np.kron(np.eye(self.groups), np.full((each, each), 1 / (h * w * each)))
        share = jnp.asarray(share, x.dtype)
        mean = jnp.sum(x, (0, 1)) @ share
        # A difference of two sums: rounding must not make it negative.
        variance = jnp.maximum(jnp.sum(x * x, (0, 1)) @ share - mean**2, 0.0)
        scale = self.weight * lax.rsqrt(variance + _EPSILON)
        return x * scale + (self.bias - mean * scale)


class Patches(eqx.Module):
    """A convolution as one matrix product of the image's patches: for few channels in.

    ``y[i, j] = W x[stride i - pad : stride i - pad + size, ...] + b``.
    """

    linear: Linear
    size: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)
    pad: int = eqx.field(static=True)

    def __init__(self, n_in: int, n_out: int, size: int, stride: int, pad: int, *, key: Any):
        self.linear = Linear(size**2 * n_in, n_out, key=key)
        self.size, self.stride, self.pad = size, stride, pad

    def __call__(self, x: Float[Array, "h w in"]) -> Float[Array, "i j out"]:
        x = jnp.pad(x, ((self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        ends = [(n - self.size) // self.stride * self.stride + 1 for n in x.shape[:2]]
        parts = [
            x[a : a + ends[0] : self.stride, b : b + ends[1] : self.stride]
            for a in range(self.size)
            for b in range(self.size)
        ]
        return jnp.concatenate(parts, axis=-1) @ self.linear.weight.T + self.linear.bias


class Halving(eqx.Module):
    """A 4 x 4 convolution of stride 2.

    Pixels of a 2 x 2 square become channels, and a 2 x 2 convolution of stride 1 is left, whose
    derivatives are quick: the strided one's take three times as long.
    """

    patch: Linear
    pad: int = eqx.field(static=True)

    def __init__(self, n_in: int, n_out: int, pad: int, *, key: Any):
        self.patch = Linear(16 * n_in, n_out, key=key)
        self.pad = pad

    def __call__(self, x: Float[Array, "h w in"]) -> Float[Array, "i j out"]:
        x = jnp.pad(x, ((self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        h, w, n_in = x.shape
        h, w = h // 2, w // 2
        x = x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, n_in)
        squares = x.transpose(0, 2, 1, 3, 4).reshape(h, w, 4 * n_in)
        kernel = self.patch.weight.T.reshape(2, 2, 2, 2, n_in, -1).transpose(0, 2, 1, 3, 4, 5)
        kernel = kernel.reshape(2, 2, 4 * n_in, -1)
        return convolve(squares[None], kernel, ((0, 0), (0, 0)))[0] + self.patch.bias


class Plain3(eqx.Module):
    """A 3 x 3 convolution without bias."""

    kernel: Float[Array, "3 3 in out"]

    def __init__(self, n_in: int, n_out: int, *, key: Any):
        self.kernel = jax.random.normal(key, (3, 3, n_in, n_out)) / (9 * n_in) ** 0.5

    def __call__(self, x: Float[Array, "h w in"]) -> Float[Array, "h w out"]:
        return convolve(x[None], self.kernel, ((1, 1), (1, 1)))[0]
