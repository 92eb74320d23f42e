"""Glow for images: activation norm, invertible 1 x 1 convolution, affine coupling."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as linalg
from jaxtyping import Array, Float, Int

from ...convolution import Convolution
from ...errors import InputError
from ..flow import Abilities, Architecture, Flow, Moved
from .pixels import Logit
from .scales import ImageFlow, Scale, Shape, check_shape, stacked

_MOST = 2.0  # of a coupling's log scale: exp(2) = 7.4 per step, smoothly bounded


class ChannelMix(eqx.Module):
    """``W = P L (U + diag(s))`` for the channels of every pixel (Kingma and Dhariwal 2018, eq. 10).

    It begins as a random rotation. The permutation P and the signs of s stay; ``log |det W|`` is
    the sum of ``log |s|``.
    """

    lower: Float[Array, "c c"]
    upper: Float[Array, "c c"]
    log_s: Float[Array, " c"]
    sign: Int[Array, " c"]
    order: Int[Array, " c"]

    def __init__(self, channels: int, key: Any):
        rotation, _ = jnp.linalg.qr(jax.random.normal(key, (channels, channels)))
        p, lower, upper = linalg.lu(rotation)
        s = jnp.diag(upper)
        self.lower, self.upper = jnp.tril(lower, -1), jnp.triu(upper, 1)
        self.log_s, self.sign = jnp.log(jnp.abs(s)), jnp.sign(s).astype(jnp.int32)
        self.order = jnp.argmax(p, axis=1).astype(jnp.int32)

    def matrix(self) -> Float[Array, "c c"]:
        """W."""
        lower = jnp.tril(self.lower, -1) + jnp.eye(len(self.log_s), dtype=self.lower.dtype)
        upper = jnp.triu(self.upper, 1) + jnp.diag(self.sign * jnp.exp(self.log_s))
        return (lower @ upper)[self.order]


class Reversal(eqx.Module):
    """The channels in reverse order, as RealNVP exchanges the halves; nothing to learn."""

    log_s: Float[Array, " c"]

    def __init__(self, channels: int, key: Any = None):
        self.log_s = jnp.zeros(channels)

    def matrix(self) -> Float[Array, "c c"]:
        """The permutation."""
        return jnp.eye(len(self.log_s), dtype=self.log_s.dtype)[::-1]


class GlowStep(Flow):
    """Scale and shift per channel, mix the channels, move one half by a network of the other."""

    shift: Float[Array, " c"]
    log_scale: Float[Array, " c"]
    mix: ChannelMix | Reversal
    net: tuple[Convolution, ...]
    shape: Shape = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    context: int = eqx.field(static=True)

    def __init__(self, shape: Shape, channels: int, rotates: bool, key: Any):
        first, *keys = jax.random.split(key, 4)
        c = shape[-1]
        self.shift, self.log_scale = jnp.zeros(c), jnp.zeros(c)
        self.mix = ChannelMix(c, first) if rotates else Reversal(c)
        kept = c // 2
        self.net = (
            Convolution(kept, channels, key=keys[0]),
            Convolution(channels, channels, key=keys[1], size=1),
            Convolution(channels, 2 * (c - kept), key=keys[2], scale=0.0),
        )
        self.shape, self.dim, self.context = shape, math.prod(shape), 0

    def _move(self, kept: Array) -> tuple[Array, Array]:
        """Log scale and shift of the other half."""
        h = kept
        for layer in self.net[:-1]:
            h = jax.nn.relu(layer(h))
        log_scale, shift = jnp.split(self.net[-1](h), 2, axis=-1)
        return _MOST * jnp.tanh(log_scale / _MOST), shift

    def _fixed(self) -> Array:
        log_s = 0.0 if isinstance(self.mix, Reversal) else jnp.sum(self.mix.log_s)
        return self.shape[0] * self.shape[1] * (jnp.sum(self.log_scale) + log_s)

    def to_base(self, x: Any, context: Any = None, *, key: Any = None) -> Moved:
        image = (x.reshape(self.shape) + self.shift) * jnp.exp(self.log_scale)
        image = image @ self.mix.matrix().T
        kept, moved = jnp.split(image, [self.shape[-1] // 2], axis=-1)
        log_scale, shift = self._move(kept)
        y = jnp.concatenate([kept, moved * jnp.exp(log_scale) + shift], axis=-1)
        return Moved(y.ravel(), self._fixed() + jnp.sum(log_scale))

    def to_data(self, z: Any, context: Any = None, *, key: Any = None) -> Moved:
        kept, moved = jnp.split(z.reshape(self.shape), [self.shape[-1] // 2], axis=-1)
        log_scale, shift = self._move(kept)
        image = jnp.concatenate([kept, (moved - shift) * jnp.exp(-log_scale)], axis=-1)
        image = image @ jnp.linalg.inv(self.mix.matrix()).T
        y = image * jnp.exp(-self.log_scale) - self.shift
        return Moved(y.ravel(), -self._fixed() - jnp.sum(log_scale))


@dataclass(frozen=True, repr=False)
class ConvGlow(Architecture):
    """Glow (Kingma and Dhariwal 2018): at every level a squeeze, `steps` steps, half leaves.

    A step is activation norm, invertible 1 x 1 convolution by its LU factors and affine coupling;
    with ``rotates=False`` the channels are reversed instead, as in RealNVP (Dinh et al. 2017).

    Args:
        shape: (height, width, channels).
        scales: levels, each with a squeeze (the paper: 3).
        steps: at every level (the paper: 32).
        channels: hidden channels of a coupling's three convolutions (the paper: 512).
        levels, alpha: as in `MultiscaleFFJORD`.

    >>> import jax
    >>> ConvGlow((8, 8, 1), scales=2, steps=4, channels=16).build(64, key=jax.random.key(0)).dim
    64
    """

    shape: Shape = (28, 28, 1)
    scales: int = 2
    steps: int = 8
    channels: int = 64
    rotates: bool = True
    levels: int = 256
    alpha: float = 0.05
    abilities: ClassVar[Abilities] = Abilities("one pass", "one pass")
    whiten: ClassVar[bool] = False
    dequantise: ClassVar[bool] = True

    def build(self, dim: int, *, context: int = 0, key: Any) -> ImageFlow:
        check_shape(self.shape, dim, context, self.scales)
        if self.scales < 1:
            raise InputError("scales", expected="at least 1", got=str(self.scales), do="raise it")
        shape, scales = self.shape, []
        for i, k in enumerate(jax.random.split(key, self.scales)):
            h, w, c = shape
            inner = (h // 2, w // 2, 4 * c)
            make = functools.partial(GlowStep, inner, self.channels, self.rotates)
            after = stacked(make, self.steps, k)
            scales.append(Scale(None, after, shape, squeezes=True, splits=i < self.scales - 1))
            shape = (*inner[:2], 2 * c)
        return ImageFlow(
            logit=Logit(dim, self.levels, self.alpha), scales=tuple(scales), shape=self.shape,
            first_squeeze=False, dim=dim, context=0,
        )  # fmt: skip
