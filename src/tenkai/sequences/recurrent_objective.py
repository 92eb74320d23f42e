"""The loss of recurrent models: what they say of every value, and of every series' label."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..objectives import Aux, Objective, weight_decay
from .objectives import by_series, drawn, normal_log_density
from .packing import Rows
from .recurrent import RecurrentModel


class Lesson(NamedTuple):
    """What a model learns from: of the rows the first `count` are real."""

    rows: Rows
    label: Any  # (series,) the class of every series, -1 where unknown
    count: Any  # ()
    density: Any  # the weight of the density
    classes: Any  # the weight of the labels
    decay: Any  # of the squared weights
    hide: Any  # the share of slots that the cells do not see, drawn anew in every step


class Said(NamedTuple):
    """Of one row, per series: log-likelihood, number of values, logits of the classes."""

    log_likelihood: Float[Array, " places"]
    points: Float[Array, " places"]
    logits: Float[Array, "places classes"] | None


def said(model: RecurrentModel, row: Rows) -> Said:
    """What the model says of the values asked for, and of the series."""
    reading = model(row)
    found = normal_log_density(row.x, *reading.density)
    per_slot = jnp.sum(jnp.where(row.asked, found, 0.0), axis=-1)
    points = by_series(row, jnp.sum(row.asked, axis=-1, dtype=per_slot.dtype))
    logits = None if model.classes is None else jax.vmap(model.classes)(reading.summary)
    return Said(by_series(row, per_slot), points, logits)


@functools.cache
def negative_log_likelihood(batch: int) -> Objective:
    """``-w sum log p(x_i | before) / values - v mean log p(label | all)`` over `batch` rows, nats.

    A batch of 0 is all rows, nothing hidden: what a validation wants.
    """

    def objective(model: RecurrentModel, data: Lesson, key: Any) -> tuple[Any, Aux]:
        which, what = jax.random.split(key)
        rows = data.rows
        if batch:
            rows = drawn(rows, data.count, batch, which)
            shown = jax.random.uniform(what, rows.t.shape) >= data.hide
            rows = rows._replace(seen=rows.seen & shown[..., None])
        found = jax.vmap(said, in_axes=(None, 0))(model, rows)
        values = jnp.maximum(jnp.sum(found.points), 1.0)
        loss = -data.density * jnp.sum(found.log_likelihood) / values
        if found.logits is not None:
            loss = loss + data.classes * cross_entropy(found.logits, data.label, rows.index)
        if batch:
            loss = loss + data.decay * weight_decay(model)
        return loss, Aux()

    return objective


def cross_entropy(logits: Array, label: Array, index: Array) -> Float[Array, ""]:
    """``-mean log p(label)`` over the series that have one; of `index` -1 is no series."""
    mine = jnp.where(index >= 0, label[jnp.maximum(index, 0)], -1)
    logs = jax.nn.log_softmax(logits, axis=-1)
    found = jnp.take_along_axis(logs, jnp.maximum(mine, 0)[..., None], axis=-1)[..., 0]
    counts = mine >= 0
    return -jnp.sum(jnp.where(counts, found, 0.0)) / jnp.maximum(jnp.sum(counts), 1)
