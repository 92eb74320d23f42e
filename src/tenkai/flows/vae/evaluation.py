"""How good a variational autoencoder is: ELBO, importance-weighted estimates, draws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .model import VAE
from .objective import _BLOCK

_CHUNK = 8  # draws per row that are in memory at once


class Bounds(NamedTuple):
    """Per row, in nats: ELBO and log p(x) by importance weights, KL, NFE of the posterior."""

    elbo: Float[np.ndarray, " rows"]
    log_p: Float[np.ndarray, " rows"]
    kl: Float[np.ndarray, " rows"]
    nfe: Float[np.ndarray, " rows"]
    ok: np.ndarray


@dataclass(frozen=True)
class HeldOutELBO:
    """What rows say that did not train: means in nats per row, in the units of the table.

    These rows chose when training stopped, so the numbers are a little too kind. `independent` is
    the log-likelihood of a model of independent columns. `active` of the latent variables carry
    information (Burda et al. 2016: the posterior's centre has a variance above 0.01).
    """

    rows: int
    elbo: float
    elbo_se: float
    log_likelihood: float
    importance: int
    kl: float
    independent: float
    active: int
    latent: int
    bits_per_dim: float | None

    def __str__(self) -> str:
        bits = "" if self.bits_per_dim is None else f" ({self.bits_per_dim:.2f} bits/dim)"
        return (
            f"{self.rows} held-out rows: ELBO {self.elbo:.2f} ± {self.elbo_se:.2f} nats{bits}, "
            f"log p {self.log_likelihood:.2f} with {self.importance} draws; independent columns "
            f"{self.independent:.2f}; {self.active} of {self.latent} latent variables in use"
        )


@eqx.filter_jit
def _weigh(vae: VAE, x: Array, key: Array, chunks: Array, draws: int) -> tuple[Array, ...]:
    """Sums over ``len(chunks) * draws`` draws per row, chunk by chunk."""

    def row(x: Array, key: Array) -> tuple[Array, ...]:
        belief = vae.belief(x)

        def one(key: Array) -> tuple[Array, ...]:
            noise, probe = jax.random.split(key)
            eps = jax.random.normal(noise, (vae.latent,), x.dtype)
            terms = vae.terms(x, belief, eps, probe)
            drawn = terms.drawn
            nfe = jnp.asarray(drawn.nfe, x.dtype)
            return terms.log_weight, terms.divergence, nfe, jnp.asarray(drawn.ok)

        def chunk(carry: tuple, i: Array) -> tuple[tuple, None]:
            logs, total, kl, nfe, ok = carry
            keys = jax.random.split(jax.random.fold_in(key, i), draws)
            weight, divergence, now, fine = jax.vmap(one)(keys)
            logs = jnp.logaddexp(logs, jax.nn.logsumexp(weight))
            sums = (total + weight.sum(), kl + divergence.sum(), nfe + now.sum())
            return (logs, *sums, ok & fine.all()), None

        zero = jnp.zeros((), x.dtype)
        start = (zero - jnp.inf, zero, zero, zero, jnp.array(True))
        return jax.lax.scan(chunk, start, chunks)[0]

    return jax.vmap(row)(x, jax.random.split(key, len(x)))


def bounds(vae: VAE, x: np.ndarray, *, draws: int, seed: int = 0) -> Bounds:
    """ELBO and ``log 1/K sum_k p(x, z_k) / q(z_k | x)`` (Burda et al. 2016) of rows (n, dim).

    K is `draws`; the estimate is below log p(x) on average and grows with K.
    """
    per = min(draws, _CHUNK)
    chunks = jnp.arange(-(-draws // per))
    count = per * len(chunks)
    made = []
    for i, block in enumerate(blocks(x)):
        key = jax.random.fold_in(jax.random.key(seed), i)
        rows = jnp.asarray(block, vae.offset.dtype)
        made.append([np.asarray(part) for part in _weigh(vae, rows, key, chunks, per)])
    logs, total, kl, nfe, ok = (np.concatenate(part)[: len(x)] for part in zip(*made, strict=True))
    wide = (np.asarray(part, np.float64) for part in (total, logs, kl, nfe))
    total, logs, kl, nfe = wide
    return Bounds(total / count, logs - math.log(count), kl / count, nfe / count, ok)


def blocks(x: np.ndarray, size: int = _BLOCK) -> list[np.ndarray]:
    """Rows in blocks of one size (a power of two for few rows), the last one padded."""
    size = min(size, 1 << max(len(x) - 1, 0).bit_length())
    padded = np.concatenate([x, np.repeat(x[-1:], -len(x) % size, axis=0)])
    return [padded[i : i + size] for i in range(0, len(padded), size)]


@eqx.filter_jit
def _draw(vae: VAE, x: Array, key: Array, draws: int) -> Array:
    def row(x: Array, key: Array) -> Array:
        belief = vae.belief(x)

        def one(key: Array) -> Array:
            noise, probe = jax.random.split(key)
            return vae.draw(belief, jax.random.normal(noise, (vae.latent,), x.dtype), probe).z

        return jax.vmap(one)(jax.random.split(key, draws))

    return jax.vmap(row)(x, jax.random.split(key, len(x)))


def posterior_draws(vae: VAE, x: np.ndarray, *, draws: int, seed: int = 0) -> np.ndarray:
    """Draws from q(z | x), (n, draws, latent)."""
    key, made = jax.random.key(seed), []
    for i, block in enumerate(blocks(x)):
        rows = jnp.asarray(block, vae.offset.dtype)
        made.append(np.asarray(_draw(vae, rows, jax.random.fold_in(key, i), draws)))
    return np.concatenate(made)[: len(x)]


@eqx.filter_jit
def _centre(vae: VAE, x: Array, key: Array) -> Array:
    def row(x: Array, key: Array) -> Array:
        return vae.draw(vae.belief(x), jnp.zeros(vae.latent, x.dtype), key).z

    return jax.vmap(row)(x, jax.random.split(key, len(x)))


def posterior_centres(vae: VAE, x: np.ndarray) -> np.ndarray:
    """Where the flow takes the normal's mean, (n, latent): the mean itself without a flow."""
    key = jax.random.key(0)
    made = [_centre(vae, jnp.asarray(b, vae.offset.dtype), key) for b in blocks(x)]
    return np.concatenate([np.asarray(m) for m in made])[: len(x)]


@eqx.filter_jit
def _decode(vae: VAE, z: Array) -> Array:
    return jax.vmap(lambda z: vae.likelihood.mean(vae.decoder(z)))(z)


@eqx.filter_jit
def _observe(vae: VAE, z: Array, key: Array) -> Array:
    keys = jax.random.split(key, len(z))
    return jax.vmap(lambda z, k: vae.likelihood.sample(vae.decoder(z), k))(z, keys)


def expected_rows(vae: VAE, z: np.ndarray) -> np.ndarray:
    """``E[x | z]``, (n, dim), of latent rows (n, latent)."""
    made = [_decode(vae, jnp.asarray(b, vae.offset.dtype)) for b in blocks(z)]
    return np.concatenate([np.asarray(m) for m in made])[: len(z)]


def drawn_rows(vae: VAE, z: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """``x ~ p(x | z)``, (n, dim), of latent rows (n, latent)."""
    key, made = jax.random.key(seed), []
    for i, b in enumerate(blocks(z)):
        part = _observe(vae, jnp.asarray(b, vae.offset.dtype), jax.random.fold_in(key, i))
        made.append(np.asarray(part))
    return np.concatenate(made)[: len(z)]


def active(centres: Float[np.ndarray, "rows latent"]) -> int:
    """How many latent variables carry information about the row (Burda et al. 2016)."""
    return int((centres.var(0) > 0.01).sum())
