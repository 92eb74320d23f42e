"""Losses of models of packed series."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..objectives import Aux, Objective, weight_decay
from .latent import LatentModel
from .packing import Rows

_LOG_TWO_PI = float(np.log(2 * np.pi))


class Terms(NamedTuple):
    """Of one row: log-likelihood per series, divergence per series (both (places,)), points."""

    log_likelihood: Float[Array, " places"]
    divergence: Float[Array, " places"]
    points: Float[Array, " places"]


def normal_log_density(x: Array, mean: Array, log_sd: Array) -> Array:
    """``log N(x; mean, exp(log_sd)^2)``, elementwise."""
    return -0.5 * (((x - mean) * jnp.exp(-log_sd)) ** 2 + _LOG_TWO_PI) - log_sd


def by_series(row: Rows, values: Float[Array, " slots"]) -> Float[Array, " places"]:
    """Sums of a value per slot over each series of a row."""
    places = row.begin.shape[0]
    return jnp.zeros(places, values.dtype).at[row.owner].add(
        jnp.where(row.owner >= 0, values, 0.0), mode="drop", wrap_negative_indices=False
    )  # fmt: skip


def terms(model: LatentModel, row: Rows, noise: Float[Array, "places latent"]) -> Terms:
    """One draw of the posterior."""
    posterior = model.posterior(row)
    mean = model.seen(model.path(row, posterior.draw(noise)))
    found = normal_log_density(row.x, mean, model.log_noise)
    per_slot = jnp.sum(jnp.where(row.asked, found, 0.0), axis=-1)
    points = by_series(row, jnp.sum(row.asked, axis=-1, dtype=per_slot.dtype))
    divergence = jnp.where(row.index >= 0, posterior.divergence(), 0.0)
    return Terms(by_series(row, per_slot), divergence, points)


class Material(NamedTuple):
    """What a model learns from: of the rows the first `count` are real."""

    rows: Rows
    count: Any  # ()
    divergence: Any  # the weight of KL
    decay: Any  # of the squared weights


def drawn(rows: Rows, count: Any, batch: int, key: Any) -> Rows:
    """`batch` rows at random."""
    which = jax.random.randint(key, (batch,), 0, count)
    return jax.tree.map(lambda a: a[which], rows)


@functools.cache
def negative_elbo(batch: int) -> Objective:
    """``-(sum log p(x | z) - w KL) / points`` over a batch of rows, one draw each; nats."""

    def objective(model: LatentModel, data: Material, key: Any) -> tuple[Any, Aux]:
        which, noise = jax.random.split(key)
        rows = drawn(data.rows, data.count, batch, which)
        eps = jax.random.normal(noise, (*rows.begin.shape, model.latent), rows.t.dtype)
        found = jax.vmap(terms, in_axes=(None, 0, 0))(model, rows, eps)
        points = jnp.maximum(jnp.sum(found.points), 1.0)
        bound = jnp.sum(found.log_likelihood) - data.divergence * jnp.sum(found.divergence)
        return -bound / points + data.decay * weight_decay(model), Aux()

    return objective
