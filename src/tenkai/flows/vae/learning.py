"""From rows to a trained variational autoencoder."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...fit import fit
from ...records import Fit
from .evaluation import HeldOutELBO, active, bounds, posterior_centres
from .likelihoods import Bernoulli, Categorical, DiscretisedLogistic, Gaussian, Likelihood
from .model import VAE
from .objective import Judged, Table, Warming, held_out, negative_elbo
from .posteriors import PosteriorFamily
from .table import Columns, independent

_EVERY = 100  # steps between two looks at the held-out rows
_PAD = 256  # tables of other lengths share programs
_FINAL = 0.05  # of the rate, at the end
_JUDGED = 2000  # rows that say when to stop, at most
_DRAWS = 64
_IMAGES, _ROWS = 16, 500  # held-out rows that are kept for pictures


@dataclass(frozen=True)
class Design:
    """What is trained, and how."""

    family: PosteriorFamily
    latent: int
    width: int
    depth: int
    activation: str
    steps: int
    batch: int
    warm_up: int
    learning_rate: float
    decay: float
    held_out: float
    patience: int
    seed: int


class Learned(NamedTuple):
    """A trained model, its training, and what the held-out rows say of it."""

    vae: VAE
    fit: Fit
    held: HeldOutELBO
    shown: np.ndarray  # some held-out rows, for pictures


@functools.cache
def rule(rate: float, steps: int) -> optax.GradientTransformation:
    """Adam, its rate falling along a cosine; one object per schedule."""
    schedule = optax.cosine_decay_schedule(rate, max(steps, 1), alpha=_FINAL)
    return optax.inject_hyperparams(optax.adam)(schedule)


def build(x: np.ndarray, columns: Columns, design: Design) -> VAE:
    """The model before training, its likelihood at the columns' own distributions."""
    real = x.astype(np.float64)
    spread = max(float(real.std()), 1e-6)
    # A column that hardly varies is not blown up.
    scale = np.maximum(real.std(0), 0.1 * spread)
    return VAE(
        real.mean(0), scale, likelihood_of(x, columns), design.family, latent=design.latent,
        width=design.width, depth=design.depth, activation=design.activation,
        key=jax.random.key(design.seed),
    )  # fmt: skip


def likelihood_of(x: np.ndarray, columns: Columns) -> Likelihood:
    """The likelihood of that kind of columns, begun at these rows."""
    if columns.kind == "bernoulli":
        return Bernoulli.of(x)
    if columns.kind == "gaussian":
        return Gaussian.of(x)
    if columns.kind == "logistic":
        return DiscretisedLogistic.of(x, columns.levels)
    return Categorical.of(x, columns.levels)


def learn(
    x: np.ndarray, columns: Columns, design: Design, held: np.ndarray | None = None, **options: Any
) -> Learned:
    """Train on most rows until the others' ELBO stops growing; the best model is kept.

    `held` are rows for that purpose; otherwise a share of `x`, drawn by the seed. `options` go to
    `tenkai.fit.fit`.
    """
    x, held = split(x, held, design)
    fixed = as_bits(held, design.seed) if columns.kind == "bernoulli" else held
    noise = np.random.default_rng([design.seed, 1]).standard_normal((len(held), design.latent))
    judged = Judged(_stored(padded(fixed)), padded(noise), np.float64(len(held)))
    table = Table(
        _stored(padded(x)), np.int32(len(x)), np.float64(design.warm_up), np.float64(design.decay)
    )
    start = Warming(build(x, columns, design), jnp.zeros((), jnp.int32))
    made = fit(
        start, negative_elbo(min(design.batch, len(x))), _real(table),
        rule=rule(design.learning_rate, design.steps), steps=design.steps,
        key=jax.random.key(design.seed), validation=_real(judged), validate=held_out(),
        patience=design.patience + design.warm_up // _EVERY, every=_EVERY, stage="elbo", **options,
    )  # fmt: skip
    vae = made.model.vae
    shown = _IMAGES if len(columns.shape) > 1 else _ROWS
    return Learned(vae, made, judge(vae, x, fixed, columns, design.seed), held[:shown])


def split(x: np.ndarray, held: np.ndarray | None, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and rows that say when to stop."""
    if held is not None:
        return x, held[:_JUDGED]
    order = np.random.default_rng(design.seed).permutation(len(x))
    count = min(_JUDGED, max(2, round(design.held_out * len(x))))
    return x[order[count:]], x[order[:count]]


def judge(vae: VAE, x: np.ndarray, held: np.ndarray, columns: Columns, seed: int) -> HeldOutELBO:
    """The record of the held-out rows, in the units of the table."""
    found = bounds(vae, held, draws=_DRAWS, seed=seed)
    elbo, units = found.elbo - columns.log_units, columns.log_units
    bits = -float(elbo.mean()) / columns.dim / np.log(2) if columns.in_bits else None
    return HeldOutELBO(
        rows=len(held), elbo=float(elbo.mean()), elbo_se=float(elbo.std() / np.sqrt(len(elbo))),
        log_likelihood=float(found.log_p.mean()) - units, importance=_DRAWS,
        kl=float(found.kl.mean()), independent=independent(x, held, columns) - units,
        active=active(posterior_centres(vae, held)), latent=vae.latent, bits_per_dim=bits,
    )  # fmt: skip


def as_bits(x: np.ndarray, seed: int) -> np.ndarray:
    """Grey values as bits, drawn once."""
    if x.dtype == np.uint8:
        return x
    drawn = np.random.default_rng([seed, 2]).uniform(size=x.shape) < x
    return drawn.astype(np.uint8)


def padded(x: np.ndarray) -> np.ndarray:
    """With copies of the first row, up to a shared length."""
    return np.concatenate([x, np.repeat(x[:1], -len(x) % _PAD, axis=0)])


def _stored(x: np.ndarray) -> np.ndarray:
    return x if x.dtype == np.uint8 else np.asarray(x, jnp.zeros(()).dtype)


def _real(data: Any) -> Any:
    """Floating-point numbers in the precision in force."""
    real = jnp.zeros(()).dtype
    return jax.tree.map(lambda a: a.astype(real) if a.dtype == np.float64 else a, data)
