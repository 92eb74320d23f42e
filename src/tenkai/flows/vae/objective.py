"""What trains a variational autoencoder: the negative ELBO, with its divergence warmed up."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ...objectives import Aux, Objective, weight_decay
from .model import VAE, normal_divergence
from .posteriors import Identity

_BLOCK = 256  # rows of the validation that are in memory at once


class Warming(eqx.Module):
    """A model in training and how many steps it has seen; the count is not trained."""

    vae: VAE
    step: Int[Array, ""]


class Table(NamedTuple):
    """What a VAE learns from; of `x` the first `count` rows are real (padded to shared sizes)."""

    x: Any  # (rows, dim)
    count: Any  # ()
    warm_up: Any  # steps until the divergence counts in full
    decay: Any  # of the squared weights


class Judged(NamedTuple):
    """Rows to validate on, with their noise, so that values of different steps compare."""

    x: Any  # (rows, dim), drawn already where the likelihood draws bits
    noise: Any  # (rows, latent)
    count: Any  # ()


def warmth(step: Any, warm_up: Any) -> Float[Array, ""]:
    """The weight of the divergence: from 0 to 1 over the first `warm_up` steps (Bowman 2016)."""
    return jnp.minimum(1.0, step / jnp.maximum(warm_up, 1.0) + (warm_up < 1))


@functools.cache
def negative_elbo(batch: int) -> Objective:
    """``-mean(log p(x | z) - w (log q(z | x) - log p(z)))`` over a batch, one draw each; nats.

    Without a flow the divergence is in closed form. `w` is `warmth`.
    """

    def objective(model: Warming, data: Table, key: Any) -> tuple[Any, Aux]:
        which, bits, noise, probes = jax.random.split(key, 4)
        vae = model.vae
        x = data.x[jax.random.randint(which, (batch,), 0, data.count)].astype(vae.offset.dtype)
        x = jax.vmap(vae.likelihood.observed)(x, jax.random.split(bits, batch))
        eps = jax.random.normal(noise, (batch, vae.latent), x.dtype)
        likelihood, divergence, nfe = _parts(vae, x, eps, jax.random.split(probes, batch))
        weight = warmth(model.step, data.warm_up)
        loss = jnp.mean(weight * divergence - likelihood)
        loss = loss + data.decay * weight_decay(vae)
        return loss, Aux(state=_counted(model), nfe_forward=nfe, nfe_backward=nfe)

    return objective


def _parts(vae: VAE, x: Array, noise: Array, keys: Array) -> tuple[Array, Array, Array]:
    """Log-likelihood and divergence per row, and the mean number of field evaluations."""

    def one(x: Array, noise: Array, key: Array) -> tuple[Array, Array, Any]:
        belief = vae.belief(x)
        terms = vae.terms(x, belief, noise, key)
        closed = isinstance(vae.flow, Identity)
        divergence = normal_divergence(belief) if closed else terms.divergence
        return terms.log_likelihood, divergence, jnp.asarray(terms.drawn.nfe, x.dtype)

    likelihood, divergence, nfe = jax.vmap(one)(x, noise, keys)
    return likelihood, divergence, jnp.mean(nfe)


def _counted(model: Warming) -> Warming:
    """Nothing but the count, one further: what `fit` merges into the model."""
    nothing = jax.tree.map(lambda _: None, model)
    return eqx.tree_at(lambda m: m.step, nothing, model.step + 1, is_leaf=lambda x: x is None)


@functools.cache
def held_out() -> Objective:
    """The negative ELBO of the rows to validate on, in full weight, always with the same noise."""

    def objective(model: Warming, data: Judged, key: Any) -> tuple[Any, Aux]:
        vae, keys = model.vae, jax.random.split(key, len(data.x))

        def one(this: tuple) -> Array:
            x, noise, key = this
            x = x.astype(vae.offset.dtype)
            likelihood, divergence, _ = _parts(vae, x[None], noise[None], key[None])
            return divergence[0] - likelihood[0]

        values = jax.lax.map(one, (data.x, data.noise, keys), batch_size=_BLOCK)
        real = jnp.arange(len(values)) < data.count
        total = jnp.sum(jnp.where(real, values, 0.0)) / data.count
        return total, Aux(weight=data.count)

    return objective
