"""Cross-entropy of a classifier, its batches and its held-out rows."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..objectives import Aux, Objective
from .augmentation import Augmentation
from .network import Network

_BLOCK = 256


class Labelled(NamedTuple):
    """Rows and the indices of their classes; rows from `count` on are padding.

    `smoothing` is the share of every label that is spread over all classes.
    """

    x: Any  # (rows, ...)
    y: Any  # (rows,)
    count: Any  # ()
    smoothing: Any  # ()


@functools.cache
def cross_entropy(batch: int | None, augmentation: Augmentation | None) -> Objective:
    """``-mean log p(y | x)`` over `batch` rows drawn with replacement; None takes all of them.

    Images suffer the augmentation, drawn from the key.
    """

    def objective(network: Network, data: Labelled, key: Any) -> tuple[Array, Aux]:
        drawn, changed = jax.random.split(key)
        x, y = data.x, data.y
        weight = jnp.arange(len(y)) < data.count
        if batch is not None:
            rows = jax.random.randint(drawn, (batch,), 0, data.count)
            x, y, weight = x[rows], y[rows], jnp.ones(batch, bool)
        if augmentation is not None:
            x = augmentation(x, changed)
        logits, passed = network(x)
        loss = smooth_loss(logits, y, data.smoothing)
        mean = jnp.sum(jnp.where(weight, loss, 0.0)) / jnp.sum(weight)
        return mean, Aux(nfe_forward=passed.nfe_forward, nfe_backward=passed.nfe_backward)

    return objective


@functools.cache
def held_out() -> Objective:
    """``-mean log p(y | x)`` of all rows, as they are, a block at a time."""

    def objective(network: Network, data: Labelled, key: Any) -> tuple[Array, Aux]:
        rows = len(data.y)
        block = min(_BLOCK, rows)

        def one(part: tuple) -> Array:
            x, y = part
            return smooth_loss(network(x)[0], y, 0.0)

        def blocks(v: Array) -> Array:
            v = jnp.concatenate([v, v[: -rows % block]]) if rows % block else v
            return v.reshape(-1, block, *v.shape[1:])

        losses = jax.lax.map(one, (blocks(data.x), blocks(data.y))).ravel()[:rows]
        weight = jnp.arange(rows) < data.count
        return jnp.sum(jnp.where(weight, losses, 0.0)) / jnp.sum(weight), Aux()

    return objective


def smooth_loss(logits: Array, y: Array, smoothing: Any) -> Float[Array, " rows"]:
    """``-sum_k q_k log p_k`` with ``q = (1 - s) onehot(y) + s / classes``."""
    logs = jax.nn.log_softmax(logits)
    right = jnp.take_along_axis(logs, y[:, None].astype(jnp.int32), axis=1)[:, 0]
    return -(1 - smoothing) * right - smoothing * jnp.mean(logs, axis=1)
