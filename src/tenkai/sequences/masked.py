"""Latent models of series whose masks the caller chose: what the encoder sees, what is asked for.

`Spell.seen` and `Spell.asked` decide; a protocol that hides a share of the times, or the second
half, is data. Training takes as many steps as fit into a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..fit import fit
from ..records import Fit
from .evaluation import shared
from .latent import LatentModel
from .learning import rule
from .objectives import Judged, Material, Warming, missed, warmed
from .packing import Rows, Spell

EVERY = 50  # steps between two looks at the series that do not train
_BLOCK = 64  # rows in one call of the compiled program


class Answer(NamedTuple):
    """Of one series, out of the mean of its posterior: what is seen of the path, class logits."""

    mean: Float[np.ndarray, "slots dim"]
    logits: Float[np.ndarray, " classes"] | None


class Labelled(NamedTuple):
    """Series with classes, -1 for unknown."""

    spells: Sequence[Spell]
    label: np.ndarray | None = None


def learn_masked(
    model: LatentModel, train: Labelled, watch: Labelled, longest: float, *,
    steps: int | None = None, seconds: float | None = None, batch: int = 16, rate: float = 5e-3,
    divergence: float = 1.0, warm_up: int = 200, label_weight: float = 1.0, seed: int = 0,
) -> Fit:  # fmt: skip
    """Maximise the ELBO of what is asked, given what is seen; the best of `watch` is kept.

    `batch` counts rows; `divergence` weighs KL; without `steps` as many as `seconds` allow.
    """
    rows = shared(list(train.spells), longest)
    count = int((rows.index >= 0).any(1).sum())
    label = None if train.label is None else train.label.astype(np.int32)
    weight = np.float32(0.0 if label is None else label_weight)
    material = Material(
        rows, np.int32(count), np.float32(divergence), np.float32(0.0), np.float32(warm_up), label,
        weight,
    )  # fmt: skip
    seen = None if watch.label is None else watch.label.astype(np.int32)
    judged = Judged(shared(list(watch.spells), longest), seen)
    start = Warming(model, jnp.zeros((), jnp.int32))

    def trained(count: int) -> Fit:
        return fit(
            start, warmed(batch, True), material, rule=rule(rate, count), steps=count,
            key=jax.random.key(seed), validation=judged, validate=missed(), every=EVERY,
            stage="elbo",
        )  # fmt: skip

    made = trained(steps) if steps is not None else within(trained, seconds or 60.0)
    return Fit(made.model.model, made.status, made.history, made.seconds, made.steps)


def within(trained: Callable[[int], Fit], seconds: float, every: int = EVERY) -> Fit:
    """A training of as many steps as fit into the time, by the pace of a short one before it.

    What the short one took beside its steps (packing, compiling, judging) is paid twice.
    """
    begun = time.perf_counter()
    opening = trained(2 * every)
    took = time.perf_counter() - begun
    first, last = (float(opening.history[k]["seconds"]) for k in (0, 1))
    pace = max((last - first) / every, 1e-5)
    left = 0.95 * seconds - took - max(took - 2 * every * pace, 0.0)
    return trained(max(every, int(left / pace)))


def answers(model: LatentModel, spells: Sequence[Spell], longest: float) -> list[Answer]:
    """What the model says of each series, given what is seen of it."""
    rows = shared(list(spells), longest)
    block = min(_BLOCK, len(rows.t))
    out: list[Answer | None] = [None] * len(spells)
    for start in range(0, len(rows.t), block):
        which = np.minimum(np.arange(start, start + block), len(rows.t) - 1)
        part = jax.tree.map(lambda a, which=which: a[which], rows)
        mean, logits = jax.tree.map(np.asarray, _answered(model, part))
        for r, p in zip(*np.nonzero(part.index >= 0), strict=True):
            slots = slice(part.begin[r, p], part.end[r, p] + 1)
            named = None if logits is None else logits[r, p]
            out[part.index[r, p]] = Answer(mean[r, slots], named)
    return [one for one in out if one is not None]


@eqx.filter_jit
def _answered(model: LatentModel, rows: Rows) -> Any:
    def one(row: Rows) -> Any:
        z0 = model.posterior(row).mean
        logits = None if model.classes is None else jax.vmap(model.classes)(z0)
        return model.seen(model.path(row, z0)), logits

    return jax.vmap(one)(rows)
