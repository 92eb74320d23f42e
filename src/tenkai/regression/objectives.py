"""Squared error of a perceptron on a table's rows, and on fresh rows of a function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..fields import together
from ..objectives import Aux, Objective
from .network import Perceptron


class Rows(NamedTuple):
    """A table in standardised units, its rows as columns, and which of them a member sees.

    Fields are arrays, or in the axes of a `vmap` over members 0 and None.
    """

    x: Any  # (in, rows)
    y: Any  # (out, rows)
    weight: Any  # (rows,), zero of rows that the member does not see and of padding
    order: Any  # (rows,) the rows that it sees, first
    count: Any  # () how many these are


class Box(NamedTuple):
    """Where a function is sampled, and the scaling of both sides."""

    low: Any  # (in,)
    width: Any  # (in,)
    offset: Any  # (in,)
    scale: Any  # (in,)
    y_offset: Any  # (out,)
    y_scale: Any  # (out,)


class Pairs(NamedTuple):
    """Rows of a function, standardised: columns are rows."""

    x: Any  # (in, rows)
    y: Any  # (out, rows)


def squared(model: Perceptron, x: Array, y: Array) -> Float[Array, " rows"]:
    """The mean squared miss of each row over the targets."""
    return jnp.mean((model(x) - y) ** 2, axis=0)


@functools.cache
def squared_error(members: int, batch: int | None) -> Objective:
    """``sum w (f(x) - y)^2 / sum w`` over `batch` rows drawn with replacement; None takes all."""

    def objective(model: Perceptron, data: Rows, key: Any) -> tuple[Array, Aux]:
        x, y, weight = data.x, data.y, data.weight
        if batch is not None:
            rows = data.order[jax.random.randint(key, (batch,), 0, data.count)]
            x, y, weight = x[:, rows], y[:, rows], weight[rows]
        with together(members * x.shape[1]):
            miss = squared(model, x, y)
        total = jnp.sum(weight)
        return jnp.sum(weight * miss) / total, Aux(total)

    return objective


@dataclass(frozen=True)
class Fresh:
    """The squared error on `batch` rows drawn anew in every step, uniformly from a box.

    `function` takes raw rows (batch, in), or (batch,) where `flat`.
    """

    function: Callable
    batch: int
    members: int
    flat: bool

    def __call__(self, model: Perceptron, box: Box, key: Any) -> tuple[Array, Aux]:
        x = box.low + box.width * jax.random.uniform(key, (self.batch, len(box.low)), box.low.dtype)
        y = jnp.asarray(self.function(x[:, 0] if self.flat else x), x.dtype)
        y = y.reshape(self.batch, -1)
        z, t = ((x - box.offset) / box.scale).T, ((y - box.y_offset) / box.y_scale).T
        with together(self.members * self.batch):
            return jnp.mean(squared(model, z, t)), Aux(self.batch)


@functools.cache
def delivered(members: int) -> Objective:
    """The squared error on rows that arrive."""

    def objective(model: Perceptron, data: Pairs, key: Any) -> tuple[Array, Aux]:
        with together(members * data.x.shape[1]):
            return jnp.mean(squared(model, data.x, data.y)), Aux(data.x.shape[1])

    return objective
