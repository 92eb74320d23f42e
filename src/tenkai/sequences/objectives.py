"""Losses of models of packed series."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..objectives import Aux, Objective, weight_decay
from ..unfold import RecomputeStep, unfold
from .latent import LatentModel
from .packing import Rows, abreast

_LOG_TWO_PI = float(np.log(2 * np.pi))


class Terms(NamedTuple):
    """Of one row: log-likelihood per series, divergence per series (both (places,)), points.

    `logits` (places, classes) of a model that has classes, else None.
    """

    log_likelihood: Float[Array, " places"]
    divergence: Float[Array, " places"]
    points: Float[Array, " places"]
    logits: Any = None


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
    logits = None if model.classes is None else jax.vmap(model.classes)(posterior.mean)
    return Terms(by_series(row, per_slot), divergence, points, logits)


def summed(model: LatentModel, rows: Rows, noise: Float[Array, "places latent rows"]) -> Terms:
    """The sums of `terms` over all series of rows side by side, and logits (rows, places, classes).

    What training needs, in a third of the time: the scans' numbers lie behind one another.
    """
    posterior = model.posterior(rows)
    z = model.path(rows, posterior.draw(noise))

    def explain(total: Array, slot: tuple) -> Array:
        z, x, asked = slot
        found = normal_log_density(x, model.decoder(z), model.log_noise[:, None])
        return total + jnp.sum(jnp.where(asked, found, 0.0))

    log_likelihood, _ = unfold(
        explain, jnp.zeros((), z.dtype), (z, rows.x, rows.asked), keep=lambda total: None,
        memory=RecomputeStep(),
    )  # fmt: skip
    divergence = jnp.sum(jnp.where(rows.index >= 0, posterior.divergence(), 0.0))
    logits = None
    if model.classes is not None:
        logits = jnp.moveaxis(jax.vmap(model.classes)(posterior.mean), -1, 0)
    return Terms(log_likelihood, divergence, jnp.sum(rows.asked, dtype=z.dtype), logits)


class Material(NamedTuple):
    """What a model learns from: of the rows the first `count` are real."""

    rows: Rows
    count: Any  # ()
    divergence: Any  # the weight of KL
    decay: Any  # of the squared weights
    warm_up: Any = 0.0  # steps until KL counts in full, where steps are counted
    labels: Any = None  # (series,) the class of each, -1 of those that have none
    label_weight: Any = 0.0  # of a series' cross-entropy


class Warming(eqx.Module):
    """A model in training and how many steps it has seen; the count is not trained."""

    model: LatentModel
    step: Int[Array, ""]


def drawn(rows: Rows, count: Any, batch: int, key: Any) -> Rows:
    """`batch` rows at random."""
    which = jax.random.randint(key, (batch,), 0, count)
    return jax.tree.map(lambda a: jnp.asarray(a)[which], rows)


@functools.cache
def negative_elbo(batch: int) -> Objective:
    """``-(sum log p(x | z) - w KL) / points`` over a batch of rows, one draw each; nats."""

    def objective(model: LatentModel, data: Material, key: Any) -> tuple[Any, Aux]:
        which, noise = jax.random.split(key)
        rows = drawn(data.rows, data.count, batch, which)
        return _loss(model, rows, data, data.divergence, noise), Aux()

    return objective


@functools.cache
def warmed(batch: int | None, learn_noise: bool) -> Objective:
    """`negative_elbo` whose divergence is warmed up (Bowman et al. 2016), of counted steps.

    Without `batch` the rows are those of the step.
    With labels a series' cross-entropy, `label_weight` times, counts beside its likelihood.
    """

    def objective(model: Warming, data: Material, key: Any) -> tuple[Any, Aux]:
        which, noise = jax.random.split(key)
        rows = data.rows if batch is None else drawn(data.rows, data.count, batch, which)
        warmth = jnp.minimum(1.0, (model.step + 1) / jnp.maximum(data.warm_up, 1.0))
        inner = model.model
        if not learn_noise:
            fixed = jax.lax.stop_gradient(inner.log_noise)
            inner = eqx.tree_at(lambda m: m.log_noise, inner, fixed)
        loss = _loss(inner, rows, data, data.divergence * warmth, noise)
        return loss, Aux(state=_counted(model))

    return objective


def _counted(model: Warming) -> Warming:
    """Nothing but the count, one further: what `fit` merges into the model."""
    nothing = jax.tree.map(lambda _: None, model)
    return eqx.tree_at(lambda m: m.step, nothing, model.step + 1, is_leaf=lambda x: x is None)


def _loss(model: LatentModel, rows: Rows, data: Material, weight: Any, key: Any) -> Array:
    side = abreast(rows)
    places, count = side.begin.shape
    eps = jax.random.normal(key, (places, model.latent, count), rows.t.dtype)
    found = summed(model, side, eps)
    points = jnp.maximum(found.points, 1.0)
    bound = found.log_likelihood - weight * found.divergence
    if found.logits is not None:
        bound = bound - data.label_weight * _cross_entropy(found.logits, rows.index, data.labels)
    return -bound / points + data.decay * weight_decay(model)


def _cross_entropy(logits: Array, index: Array, labels: Array) -> Array:
    """Summed over the series that have a label; nats."""
    label = jnp.where(index >= 0, labels[jnp.maximum(index, 0)], -1)
    found = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(label, 0)[..., None], -1)
    return -jnp.sum(jnp.where(label >= 0, found[..., 0], 0.0))


def _brier(logits: Array, index: Array, labels: Array) -> Array:
    """``sum_k (p_k - [k is the class])^2``, summed over the series that have a label."""
    label = jnp.where(index >= 0, labels[jnp.maximum(index, 0)], -1)
    truth = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype)
    miss = jnp.sum((jax.nn.softmax(logits) - truth) ** 2, axis=-1)
    return jnp.sum(jnp.where(label >= 0, miss, 0.0))


class Judged(NamedTuple):
    """Rows of series to validate on; `asked` and `seen` say what is hidden and what is given."""

    rows: Rows
    labels: Any = None  # (series,) the class of each, -1 of those that have none


@functools.cache
def missed() -> Objective:
    """Mean squared miss of the posterior's mean path, in standardised units.

    With labels the squared misses of the class probabilities count beside it (Brier 1950): bounded,
    where the cross-entropy of few held-out labels grows with a network's confidence and would keep
    a state from long before the paths were learned.
    """

    def objective(model: Warming, data: Judged, key: Any) -> tuple[Any, Aux]:
        inner = model.model

        def one(row: Rows) -> tuple[Array, Array, Any]:
            posterior = inner.posterior(row)
            mean = inner.seen(inner.path(row, posterior.mean))
            miss = jnp.where(row.asked, (mean - row.x) ** 2, 0.0)
            logits = None if inner.classes is None else jax.vmap(inner.classes)(posterior.mean)
            return jnp.sum(miss), jnp.sum(row.asked), logits

        miss, count, logits = jax.lax.map(one, data.rows, batch_size=_BLOCK)
        value = jnp.sum(miss) / jnp.maximum(jnp.sum(count), 1)
        if data.labels is not None:
            known = jnp.maximum(jnp.sum(data.labels >= 0), 1)
            value = value + _brier(logits, data.rows.index, data.labels) / known
        return value, Aux()

    return objective


_BLOCK = 256  # rows of the validation that are in memory at once
