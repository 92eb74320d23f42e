"""Random shifts, turns and sizes of images, drawn inside the compiled program."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..errors import InputError


@dataclass(frozen=True)
class Augmentation:
    """What an image may suffer in training, uniformly and anew at every step.

    `shift` in pixels, up and down, left and right; `rotate` in degrees and `scale` as a share, both
    ways; `shear` as a share; `flip` left to right, half of the time. Pixels beyond the border are
    those of the border.
    """

    shift: float = 2.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip: bool = False

    def __post_init__(self) -> None:
        for name in ("shift", "rotate", "scale", "shear"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and 0 <= value < (1 if name in ("scale", "shear") else 1000)):
                raise InputError(
                    name, expected="a number from 0 (a share below 1)", got=repr(value),
                    do="change it",
                )  # fmt: skip

    def __call__(self, images: Array, key: Any) -> Float[Array, "rows h w c"]:
        """Images (rows, h, w, c) of any type, each with its own draw; linear between pixels."""
        x = images.astype(jnp.result_type(float))
        keys = jax.random.split(key, len(x))
        return jax.vmap(self._one)(x, keys)

    def _one(self, x: Array, key: Any) -> Array:
        h, w, _ = x.shape
        down, right, angle, size, lean, mirror = jax.random.uniform(key, (6,), x.dtype, -1.0, 1.0)
        turn, grow = angle * math.radians(self.rotate), 1 + size * self.scale
        i, j = jnp.meshgrid(jnp.arange(h) - (h - 1) / 2, jnp.arange(w) - (w - 1) / 2, indexing="ij")
        i, j = i.astype(x.dtype), j.astype(x.dtype)
        if self.flip:
            j = jnp.where(mirror > 0, -j, j)
        cos, sin = grow * jnp.cos(turn), grow * jnp.sin(turn)
        row = cos * i - sin * j + down * self.shift + (h - 1) / 2
        column = sin * i + (cos + lean * self.shear) * j + right * self.shift + (w - 1) / 2
        return _between(x, jnp.clip(row, 0, h - 1), jnp.clip(column, 0, w - 1))


def _between(x: Float[Array, "h w c"], row: Array, column: Array) -> Array:
    """The image at places between its pixels, linear in both directions."""
    h, w, channels = x.shape
    top = jnp.clip(jnp.floor(row), 0, max(h - 2, 0)).astype(jnp.int32)
    left = jnp.clip(jnp.floor(column), 0, max(w - 2, 0)).astype(jnp.int32)
    down, right = (row - top)[..., None], (column - left)[..., None]
    flat = x.reshape(-1, channels)

    def at(a: int, b: int) -> Array:
        return flat[jnp.minimum(top + a, h - 1) * w + jnp.minimum(left + b, w - 1)]

    upper = (1 - right) * at(0, 0) + right * at(0, 1)
    lower = (1 - right) * at(1, 0) + right * at(1, 1)
    return (1 - down) * upper + down * lower
