"""From rows to a trained mixture of flows: matching, likelihood, held-out rows."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from ..fit import fit
from ..records import Fit
from .continuous import ContinuousFlow
from .flow import Architecture
from .mixture import Mixture
from .objectives import Rows, Weights, flow_matching, held_out, likelihood
from .recipe import Recipe


@dataclass(frozen=True)
class Learned:
    """A trained mixture and what its training showed.

    `held_out` (rows,) is the log density, in the units that `learn` was given, of every row under
    the members that did not train on it; NaN where all did. `fits` are the trainings in order,
    `seconds` what each took.
    """

    model: Mixture
    fits: tuple[Fit, ...]
    held_out: Float[np.ndarray, " rows"]
    seconds: dict[str, float]
    notes: tuple[str, ...] = ()

    @property
    def history(self) -> list[dict[str, Any]]:
        """The records of all intervals, in order."""
        return [row for made in self.fits for row in made.history]


@functools.cache
def _rule(rate: float, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


def learn(
    x: Float[np.ndarray, "rows dim"],
    context: Float[np.ndarray, "rows context"] | None,
    architecture: Architecture,
    recipe: Recipe = Recipe(),
    *,
    seed: int = 0,
    log: Path | str | None = None,
    progress: bool | None = None,
    checkpoint: Path | str | None = None,
) -> Learned:
    """Train on rows of about unit scale; every member leaves out a fold of its own.

    A fit that `checkpoint`, a folder, holds goes on from there.
    """
    n, dim = x.shape
    members = recipe.members or 2
    folds = np.random.default_rng(seed).permutation(n) % max(2 * members, 5)
    widest = 0 if context is None else context.shape[1]
    keys = jax.random.split(jax.random.key(seed), members)
    flows = eqx.filter_vmap(lambda k: architecture.build(dim, context=widest, key=k))(keys)
    train, unseen = _rows(x, context, folds, members, recipe)
    axes = Rows(None, None, 0, 0, 0)
    common = {"members": members, "member_axes": axes, "log": log, "progress": progress}
    fits = {}
    continuous = isinstance(flows, ContinuousFlow)
    batch = recipe.batch or min(512, n)
    if continuous and recipe.matching != 0:
        steps = recipe.matching or 1000
        fits["matching"] = fit(
            flows, flow_matching(batch), train, rule=_rule(recipe.rate, steps), steps=steps,
            stage="matching", checkpoint=checkpoint and Path(checkpoint) / "matching", **common,
        )  # fmt: skip
        flows = fits["matching"].model
    steps = recipe.steps or 500
    fits["likelihood"] = fit(
        flows, likelihood(batch, costs=continuous), train, rule=_rule(recipe.rate, steps),
        steps=steps, validation=unseen, validate=held_out(), stage="likelihood",
        checkpoint=checkpoint and Path(checkpoint) / "likelihood", **common,
    )  # fmt: skip
    model = Mixture(fits["likelihood"].model, np.full(members, 1 / members))
    return Learned(
        model, tuple(fits.values()), np.full(n, np.nan), {k: f.seconds for k, f in fits.items()}
    )


def _rows(
    x: np.ndarray, context: np.ndarray | None, folds: np.ndarray, members: int, recipe: Recipe
) -> tuple[Rows, Rows]:
    """What each member trains on, and what it leaves out."""
    orders = [np.argsort(folds == k, kind="stable") for k in range(members)]
    left = np.array([(folds == k).sum() for k in range(members)])
    w = Weights(
        *(
            np.full(members, v, np.float32)
            for v in (
                recipe.noise or 0.0, recipe.decay or 0.0, recipe.kinetic or 0.0,
                recipe.jacobian or 0.0, recipe.jitter,
            )
        )
    )  # fmt: skip
    x = np.asarray(x, np.float32)
    c = None if context is None else np.asarray(context, np.float32)
    seen = Rows(x, c, np.stack(orders), len(x) - left, w)
    most = int(left.max())
    other = np.stack([np.roll(o, k)[:most] for o, k in zip(orders, left, strict=True)])
    return seen, Rows(x, c, other, left, w)
