"""A classifier's network: stem, body, head."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..fields import Linear
from .blocks import Block, ConvBlock, DenseBlock, PlainConvBlock
from .bodies import Body, BodyKind, Passed, Row
from .layers import GroupNorm
from .stems import LinearStem, StemKind


@dataclass(frozen=True)
class Design:
    """A network before it is built: images (h, w, c) or rows (features,), and everything else."""

    shape: tuple[int, ...]
    classes: int
    body: BodyKind
    stem: StemKind
    width: int
    activation: str
    centre: tuple[float, ...]  # what is taken off every channel of an image; () for tables
    scale: tuple[float, ...]

    @property
    def of_images(self) -> bool:
        return len(self.shape) == 3


class ConvHead(eqx.Module):
    """Group norm, ReLU, the mean over the pixels, a linear map."""

    norm: GroupNorm
    linear: Linear

    def __call__(self, y: Float[Array, "h w c"]) -> Float[Array, " classes"]:
        return self.linear(jnp.mean(jax.nn.relu(self.norm(y)), axis=(0, 1)))


class Network(eqx.Module):
    """``softmax(head(body(stem(x))))``; stem and head take one row."""

    stem: Callable
    body: Body
    head: Callable
    centre: tuple[float, ...] = eqx.field(static=True)
    scale: tuple[float, ...] = eqx.field(static=True)

    def start(self, x: Array) -> Array:
        """One row's state at depth 0, pixels or numbers as given."""
        real = jnp.result_type(float)
        x = x.astype(real)
        if self.centre:
            x = (x - jnp.asarray(self.centre, real)) / jnp.asarray(self.scale, real)
        return self.stem(x)

    def __call__(self, x: Array) -> tuple[Float[Array, "rows classes"], Passed]:
        """Logits of a batch, as training differentiates them, and the body's end."""
        passed = self.body.end(jax.vmap(self.start)(x))
        return jax.vmap(self.head)(passed.state), passed

    def row(self, x: Array, depths: Float[np.ndarray, " depths"]) -> Row:
        """One row's states at given depths."""
        return self.body.states(self.start(x), depths)


def build(design: Design, *, key: Any) -> Network:
    """The network before training."""
    stem, body, head = jax.random.split(key, 3)
    return Network(
        design.stem.build(design.shape, design.width, key=stem),
        design.body.build(functools.partial(_block, design), key=body),
        _head(design, head), design.centre, design.scale,
    )  # fmt: skip


def _head(design: Design, key: Any) -> Callable:
    linear = Linear(design.width, design.classes, key=key)
    return ConvHead(GroupNorm(design.width), linear) if design.of_images else linear


def _block(design: Design, key: Any, *, timed: bool) -> Block:
    if not design.of_images:
        return DenseBlock(design.width, activation=design.activation, timed=timed, key=key)
    return (ConvBlock if timed else PlainConvBlock)(design.width, key=key)


def stem_for(shape: tuple[int, ...], stem: StemKind | None) -> StemKind:
    """The stem that was asked for, else the one of that kind of data."""
    from .stems import Stem

    return stem or (Stem() if len(shape) == 3 else LinearStem())


def parameters(network: Any) -> int:
    """How many numbers are learned."""
    return sum(x.size for x in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array)))
