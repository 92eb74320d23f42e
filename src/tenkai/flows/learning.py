"""From rows to a trained mixture of flows: matching, likelihood, held-out rows."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from ..fit import fit
from ..records import Fit
from .checks import folds
from .continuous import ContinuousFlow
from .evaluation import evaluate, log_density_of
from .flow import Architecture
from .mixture import Mixture, stacked, tail_log_density
from .objectives import Rows, Weights, flow_matching, held_out, likelihood
from .recipe import Recipe

_INTERVALS = 15  # of a stage, at whose ends the held-out rows are looked at
_WATCHED = 1000  # held-out rows that decide which interval's model is kept
_JUDGED = 5000  # held-out rows of a member that are solved exactly in the end
_MATCHING_FASTER = 8.0  # no solve amplifies its steps, so its rate may be higher


@dataclass(frozen=True)
class Learned:
    """A trained mixture and what its training showed.

    `held_out` (rows,) is the log density, in the units that `learn` was given, of every row under
    the member that did not train on it; NaN where all did. `fits` are the trainings in order,
    `seconds` what each took, `recipe` how it was done.
    """

    model: Mixture
    fits: tuple[Fit, ...]
    held_out: Float[np.ndarray, " rows"]
    seconds: dict[str, float]
    recipe: Recipe
    notes: tuple[str, ...] = ()

    @property
    def history(self) -> list[dict[str, Any]]:
        """The records of all intervals, in order."""
        return [row for made in self.fits for row in made.history]


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
    """Train on rows of about a standard normal; every member leaves out a fold of its own.

    Continuous flows begin with flow matching; then all maximise the likelihood. After every
    interval a member's own fold says whether it is the best so far. A fit that `checkpoint`, a
    folder, holds goes on from there.
    """
    n, dim = x.shape
    known = 0 if context is None else context.shape[1]
    kind = eqx.filter_eval_shape(architecture.build, dim, context=known, key=jax.random.key(seed))
    recipe = recipe.resolved(kind, dim, n)
    members, matching, steps, batch = _counts(recipe)
    flows = _built(architecture, dim, known, members, jax.random.key(seed))
    split = _split(x, context, members, recipe, seed)

    def stage(name: str, flows: Any, objective: Any, steps: int, rate: float) -> Fit:
        return fit(
            flows, objective, split.seen, rule=_rule(rate, steps), steps=steps, members=members,
            member_axes=_AXES, key=jax.random.key(seed), validation=split.unseen,
            validate=held_out(refine=2), every=max(1, steps // _INTERVALS), stage=name, log=log,
            progress=progress, checkpoint=checkpoint and Path(checkpoint) / name,
        )  # fmt: skip

    fits, continuous = {}, isinstance(kind, ContinuousFlow)
    if continuous and matching:
        rate = _MATCHING_FASTER * recipe.rate
        fits["matching"] = stage("matching", flows, flow_matching(2 * batch), matching, rate)
        flows = fits["matching"].model
    if steps:
        costs, straight = bool(recipe.kinetic or recipe.jacobian), bool(recipe.straight)
        objective = likelihood(batch, costs=costs, straight=straight and continuous)
        fits["likelihood"] = stage("likelihood", flows, objective, steps, recipe.rate)
        flows = fits["likelihood"].model
    model, unseen = _mixed(flows, tuple(fits.values()), x, context, split)
    seconds = {k: f.seconds for k, f in fits.items()}
    return Learned(model, tuple(fits.values()), unseen, seconds, recipe)


@eqx.filter_jit
def _built(architecture: Architecture, dim: int, known: int, members: int, key: Any) -> Any:
    """All members at once, in one program: built eagerly they would be dozens of small ones."""
    keys = jax.random.split(key, members)
    return eqx.filter_vmap(lambda k: architecture.build(dim, context=known, key=k))(keys)


def _counts(recipe: Recipe) -> tuple[int, int, int, int]:
    counts = recipe.members, recipe.matching, recipe.steps, recipe.batch
    members, matching, steps, batch = (int(c or 0) for c in counts)
    return members, matching, steps, batch


@functools.cache
def _rule(rate: float, steps: int) -> optax.GradientTransformation:
    """Adam along a cosine; a row far out may not throw the weights away."""
    adam = optax.inject_hyperparams(optax.adam)(optax.cosine_decay_schedule(rate, steps))
    return optax.chain(optax.clip_by_global_norm(10.0), adam)


_AXES: Any = Rows(None, None, 0, 0, 0)  # members share the rows, not which of them they see


class _Split(NamedTuple):
    """What every member trains on, what it leaves out, and the same as a number per row."""

    seen: Rows
    unseen: Rows
    left_out_by: Int[np.ndarray, " rows"]  # -1: by none


def _split(
    x: np.ndarray, context: np.ndarray | None, members: int, recipe: Recipe, seed: int
) -> _Split:
    """Equal rows share a fold. A member without rows to leave out watches some that it trains on.

    Rows far out are trained on at the edge of a ball: one of them must not outweigh all others.
    """
    n, dim = x.shape
    fold = folds(x, max(10 if n > 1000 else 5, members + 1), seed)
    shuffled = np.random.default_rng(seed).permutation(n)
    held, kept = [], []
    for k in range(members):
        mine = shuffled[fold[shuffled] == k][:_JUDGED]
        held.append(mine)
        kept.append(np.setdiff1d(shuffled, mine))
    left_out_by = np.full(n, -1)
    for k, rows in enumerate(held):
        left_out_by[rows] = k
    real = jnp.zeros(()).dtype
    edge = 3 * dim**0.5 + 10
    far = edge / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), edge)
    x = _padded(x * far, _size(n)).astype(real)
    c = None if context is None else _padded(context, _size(n)).astype(real)
    strengths = (getattr(recipe, name) or 0.0 for name in Weights._fields)
    weights = Weights(*(np.full(members, v, real) for v in strengths))
    watched = [h[:_WATCHED] if len(h) else r[:_WATCHED] for h, r in zip(held, kept, strict=True)]
    most = _size(min(_WATCHED, n // 5 + 1))
    return _Split(
        Rows(x, c, *_orders(kept, _size(n)), weights),
        Rows(x, c, *_orders([w[:most] for w in watched], most), weights),
        left_out_by,
    )


def _orders(
    rows: list[np.ndarray], size: int
) -> tuple[Int[np.ndarray, "members size"], Int[np.ndarray, " members"]]:
    """The rows of every member, padded, and how many there are."""
    counts = np.array([len(r) for r in rows])
    return np.stack([_padded(r, size) for r in rows]), counts


def _size(n: int) -> int:
    """The next of few sizes: halves and powers of two."""
    power = 1 << max(n - 1, 255).bit_length()
    return power * 3 // 4 if n <= power * 3 // 4 else power


def _padded(x: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])


def _mixed(
    flows: Any, fits: tuple[Fit, ...], x: np.ndarray, context: np.ndarray | None, split: _Split
) -> tuple[Mixture, Float[np.ndarray, " rows"]]:
    """The members that live and the tail that held-out rows ask for; their log density."""
    members = len(split.seen.count)
    alive = np.ones(members, bool)
    if fits and fits[-1].members is not None:
        alive = np.isfinite(fits[-1].members)
    shares = np.where(alive, 1.0, 0.0) / max(alive.sum(), 1)
    unseen = np.full(len(x), np.nan)
    for k in np.flatnonzero(alive):
        mine = np.flatnonzero(split.left_out_by == k)
        if len(mine):
            flow = jax.tree.map(lambda a, k=k: a[k] if eqx.is_array(a) else a, flows)
            known = None if context is None else context[mine]
            unseen[mine] = log_density_of(evaluate(flow, "to_base", x[mine], known))
    judged = ~np.isnan(unseen)
    if not alive.any():
        shares = np.full(members, 1 / members)
    tail = tail_log_density(x)
    # Without rows to judge by, the prior's weight.
    weight = stacked(unseen[judged], tail[judged]) if judged.any() else stacked(tail, tail - 700)
    unseen[judged] = np.logaddexp(np.log1p(-weight) + unseen[judged], np.log(weight) + tail[judged])
    return Mixture(flows, shares, np.asarray(weight)), unseen
