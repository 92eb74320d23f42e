"""Stems: from an image or a row to the state that a body carries."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ..errors import InputError
from ..fields import Linear
from .layers import GroupNorm, Halving, Patches

Shape = tuple[int, ...]
_SIDE = 10  # a state's shorter side is no longer than this
_PAPER_LEAST = 12


class ConvStem(eqx.Module):
    """A first layer of patches, then group norm, ReLU and a 4 x 4 convolution of stride 2 each."""

    first: Patches
    norms: tuple[GroupNorm, ...]
    halvings: tuple[Halving, ...]

    def __call__(self, x: Float[Array, "h w in"]) -> Float[Array, "i j c"]:
        y = self.first(x)
        for norm, halving in zip(self.norms, self.halvings, strict=True):
            y = halving(jax.nn.relu(norm(y)))
        return y


class DenseStem(eqx.Module):
    """A linear map to the width of the state."""

    linear: Linear

    def __call__(self, x: Float[Array, " features"]) -> Float[Array, " c"]:
        return self.linear(x)


@dataclass(frozen=True)
class Stem:
    """The stem that is quick on CPU: 5 x 5 patches of stride 2, then halved down to 10 pixels.

    Images of up to 10 pixels keep their size (3 x 3 patches); 28 x 28 become 14 x 14 and 6 x 6.
    """

    def build(self, shape: Shape, channels: int, *, key: Any) -> Callable:
        """For images (h, w, in)."""
        h, w, n_in = shape
        first, *keys = jax.random.split(key, 17)
        if min(h, w) <= _SIDE:
            return ConvStem(Patches(n_in, channels, 3, 1, 1, key=first), (), ())
        patches = Patches(n_in, channels, 5, 2, 2, key=first)
        side = (min(h, w) - 1) // 2 + 1
        count = 0
        while side > _SIDE:
            side, count = (side - 4) // 2 + 1, count + 1
        return _stem(patches, channels, 0, keys[:count])


@dataclass(frozen=True)
class PaperStem:
    """The stem of Chen et al. 2018: 3 x 3, then twice group norm, ReLU and 4 x 4 of stride 2.

    28 x 28 become 26 x 26, 13 x 13 and 6 x 6; six times the price of `Stem`.
    """

    def build(self, shape: Shape, channels: int, *, key: Any) -> Callable:
        """For images (h, w, in) of at least 12 pixels."""
        if min(shape[:2]) < _PAPER_LEAST:
            raise InputError(
                "stem", expected=f"images of at least {_PAPER_LEAST} pixels for PaperStem",
                got=f"{shape[0]} x {shape[1]}", do="leave stem away",
            )  # fmt: skip
        first, *keys = jax.random.split(key, 3)
        return _stem(Patches(shape[-1], channels, 3, 1, 0, key=first), channels, 1, keys)


def _stem(patches: Patches, channels: int, pad: int, keys: Any) -> ConvStem:
    norms = tuple(GroupNorm(channels) for _ in keys)
    return ConvStem(patches, norms, tuple(Halving(channels, channels, pad, key=k) for k in keys))


@dataclass(frozen=True)
class LinearStem:
    """One linear map, for tables."""

    def build(self, shape: Shape, channels: int, *, key: Any) -> Callable:
        """For rows (features,)."""
        return DenseStem(Linear(math.prod(shape), channels, key=key))


StemKind = Stem | PaperStem | LinearStem
