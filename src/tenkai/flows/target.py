"""A flow trained to an unnormalised log density instead of rows: reverse KL (density matching)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..devices import arithmetic
from ..fit import fit
from ..records import Fit
from .density import Density
from .flow import Architecture
from .mixture import Mixture
from .objectives import Weights, density_matching
from .recipe import Recipe

_STEPS, _BATCH = 2000, 256
_COUNT = 4000  # draws that judge a match
_FARTHER = 3.0  # times as far from the middle, where the target is looked at too


@dataclass(frozen=True)
class Matched:
    """How near a flow q came to an unnormalised density, by `draws` samples x of q.

    With ``w = p~(x) / q(x)``: `elbo` is ``mean log w``, a lower bound of the log normaliser (the
    gap is the reverse KL divergence), `log_normaliser` is ``log mean w`` with its standard `error`,
    and `effective` ``(sum w)^2 / (n sum w^2)``, the share of draws that importance sampling keeps.

    `lost` is the share of draws where the target is no number (NaN, or plus infinity), `beyond`
    that of places farther out, up to three times as far from the middle as the draws. Minus
    infinity, a density of zero, is a number here.
    """

    elbo: float
    log_normaliser: float
    error: float
    effective: float
    draws: int
    lost: float = 0.0
    beyond: float = 0.0

    def __str__(self) -> str:
        return (
            f"ELBO {self.elbo:.4g}, log normaliser {self.log_normaliser:.4g} ± {self.error:.1g}, "
            f"effective sample size {self.effective:.0%}"
        )


@dataclass(frozen=True)
class Placed:
    """A target in units in which its mass is near a standard normal; hashable, so programs last."""

    log_density: Callable
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __call__(self, z: Any) -> Any:
        mean, scale = (jnp.asarray(v, z.dtype) for v in (self.mean, self.scale))
        return self.log_density(mean + scale * z) + jnp.sum(jnp.log(scale))


def match(
    target: Placed, architecture: Architecture, recipe: Recipe, *, seed: int = 0, **options: Any
) -> tuple[Mixture, Fit]:
    """Train `recipe.members` flows on ``E_q[log q - log p~]``; `options` are those of `fit`."""
    recipe = decided(recipe)
    members, steps, batch = (int(n or 1) for n in (recipe.members, recipe.steps, recipe.batch))
    keys = jax.random.split(jax.random.key(seed), members)
    dim = len(target.mean)
    flows = eqx.filter_vmap(lambda k: architecture.build(dim, key=k))(keys)
    decay, kinetic, jacobian = (w or 0.0 for w in (recipe.decay, recipe.kinetic, recipe.jacobian))
    strengths = Weights(decay=decay, kinetic=kinetic, jacobian=jacobian)
    weights = Weights(*(np.full(members, v, np.float32) for v in strengths))
    costs = bool(kinetic or jacobian)
    made = fit(
        flows, density_matching(target, batch, costs=costs), weights,
        rule=_rule(recipe.rate, steps), steps=steps, members=members, stage="density matching",
        key=jax.random.key(seed), **options,
    )  # fmt: skip
    assert made.members is not None
    alive = np.isfinite(made.members)
    share = np.where(alive if alive.any() else True, 1.0, 0.0)
    return Mixture(made.model, share / share.sum(), np.zeros(())), made


def decided(recipe: Recipe) -> Recipe:
    """The same with what matching uses decided, and nothing else."""
    return Recipe(
        members=recipe.members or 1, steps=recipe.steps or _STEPS, batch=recipe.batch or _BATCH,
        rate=recipe.rate, decay=recipe.decay or 0.0, kinetic=recipe.kinetic or 0.0,
        jacobian=recipe.jacobian or 0.0,
    )  # fmt: skip


@functools.cache
def _rule(rate: float, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


def judge(density: Density, log_density: Callable, seed: int = 0) -> tuple[Matched, np.ndarray]:
    """What importance weights of fresh samples say, and the samples."""
    x = density.sample(_COUNT, seed=seed + 1)
    far = np.random.default_rng(seed).uniform(1.0, _FARTHER, (_COUNT, 1))
    middle = x.mean(0)
    with arithmetic("float64"):
        both = np.concatenate([x, middle + far * (x - middle)])
        target, beyond = np.split(np.asarray(jax.jit(jax.vmap(log_density))(both), float), 2)
    lost, missing = (float(np.mean(np.isnan(v) | (v == np.inf))) for v in (target, beyond))
    weights = target - density.log_density(x)
    weights = np.where(np.isfinite(weights), weights, -np.inf)
    top = weights.max()
    if not np.isfinite(top):
        return Matched(-np.inf, -np.inf, np.inf, 0.0, len(x), lost, missing), x
    w = np.exp(weights - top)
    mean = w.mean()
    error = float(w.std(ddof=1) / mean / len(w) ** 0.5)
    effective = float(w.sum() ** 2 / (len(w) * (w**2).sum()))
    elbo, normaliser = float(weights.mean()), float(np.log(mean) + top)
    return Matched(elbo, normaliser, error, effective, len(x), lost, missing), x
