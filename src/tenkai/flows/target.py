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


@dataclass(frozen=True)
class Matched:
    """How near a flow q came to an unnormalised density, by `draws` samples x of q.

    With ``w = p~(x) / q(x)``: `elbo` is ``mean log w``, a lower bound of the log normaliser (the
    gap is the reverse KL divergence), `log_normaliser` is ``log mean w`` with its standard `error`,
    and `effective` ``(sum w)^2 / (n sum w^2)``, the share of draws that importance sampling keeps.
    """

    elbo: float
    log_normaliser: float
    error: float
    effective: float
    draws: int

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
    members = recipe.members or 1
    keys = jax.random.split(jax.random.key(seed), members)
    dim = len(target.mean)
    flows = eqx.filter_vmap(lambda k: architecture.build(dim, key=k))(keys)
    decay, kinetic, jacobian = (w or 0.0 for w in (recipe.decay, recipe.kinetic, recipe.jacobian))
    strengths = Weights(decay=decay, kinetic=kinetic, jacobian=jacobian)
    weights = Weights(*(np.full(members, v, np.float32) for v in strengths))
    steps = recipe.steps or _STEPS
    costs = bool(recipe.kinetic or recipe.jacobian)
    made = fit(
        flows, density_matching(target, recipe.batch or _BATCH, costs=costs), weights,
        rule=_rule(recipe.rate, steps), steps=steps, members=members, stage="density matching",
        key=jax.random.key(seed), **options,
    )  # fmt: skip
    assert made.members is not None
    alive = np.isfinite(made.members)
    share = np.where(alive if alive.any() else True, 1.0, 0.0)
    return Mixture(made.model, share / share.sum(), np.zeros(())), made


@functools.cache
def _rule(rate: float, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


def judge(density: Density, log_density: Callable, seed: int = 0) -> tuple[Matched, np.ndarray]:
    """What importance weights of fresh samples say, and the samples."""
    x = density.sample(_COUNT, seed=seed + 1)
    with arithmetic("float64"):
        target = np.asarray(jax.jit(jax.vmap(log_density))(x))
    weights = target - density.log_density(x)
    weights = np.where(np.isfinite(weights), weights, -np.inf)
    top = weights.max()
    if not np.isfinite(top):
        return Matched(-np.inf, -np.inf, np.inf, 0.0, len(x)), x
    w = np.exp(weights - top)
    mean = w.mean()
    error = float(w.std(ddof=1) / mean / len(w) ** 0.5)
    effective = float(w.sum() ** 2 / (len(w) * (w**2).sum()))
    return Matched(float(weights.mean()), float(np.log(mean) + top), error, effective, len(x)), x
