"""From labelled rows to a trained network."""

from __future__ import annotations

import functools
import math
import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Int, PyTree

from ..fit import fit
from ..records import Fit
from .augmentation import Augmentation
from .network import Network
from .objectives import Labelled, cross_entropy, held_out

_PAD = 256  # tables of other lengths share programs
_JUDGED = 2000  # rows that judge at every interval, at most
_OPENING = 8  # steps that tell how long one takes
_RESERVED = 0.04  # of a budget, for judging at the intervals


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: by Adam with decoupled weight decay and one cycle of the rate.

    The rate rises over a quarter of `steps` and falls to nearly zero by a cosine (Smith 2018).
    `batch` rows a step, None for all. Every `every` steps the held-out rows judge, and the best
    network is kept; `patience` judgements without a better one stop.
    """

    steps: int = 500
    batch: int | None = 128
    rate: float = 3e-3
    decay: float = 1e-4
    smoothing: float = 0.0
    augmentation: Augmentation | None = None
    every: int = 50
    patience: int | None = None
    seed: int = 0


class Learned(NamedTuple):
    """A trained network with NumPy arrays, its training, which rows did not train."""

    network: Network
    fit: Fit
    held: Int[np.ndarray, " held"]


@functools.cache
def rule(rate: float, steps: int, decay: float) -> optax.GradientTransformation:
    """One object per schedule, so that fits share programs. Biases and norms do not decay."""
    warm = max(1, steps // 4)
    schedule = optax.warmup_cosine_decay_schedule(
        0.05 * rate, rate, warm, max(steps, warm + 1), 1e-3 * rate
    )
    adam = optax.adamw(schedule, weight_decay=decay, mask=_matrices)
    return optax.chain(optax.clip_by_global_norm(5.0), adam)


def _matrices(params: PyTree) -> PyTree:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def split(y: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that train and rows that do not, in the same shares of every class.

    A class keeps at least one row that trains.
    """
    random = np.random.default_rng(seed)
    held: list[int] = []
    owed = 0.0  # of classes so small that their share is less than a row
    for k in np.unique(y):
        rows = random.permutation(np.flatnonzero(y == k))
        owed += share * len(rows)
        count = min(math.floor(owed), len(rows) - 1)
        owed -= count
        held.extend(rows[:count])
    chosen = np.zeros(len(y), bool)
    chosen[held] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def learn(
    start: Network, x: np.ndarray, y: np.ndarray, recipe: Recipe, *, share: float = 0.1,
    minutes: float | None = None, **options: Any,
) -> Learned:  # fmt: skip
    """Train on most rows, judged by a `share` of them; `y` are indices of classes.

    With `minutes` a few steps tell how long one takes, and `steps` are as many as fit. `options`
    go to `tenkai.fit.fit`.
    """
    begun = time.perf_counter()
    trained, held = split(y, share, recipe.seed)
    data = labelled(x[trained], y[trained], recipe)
    judged = labelled(x[held[:_JUDGED]], y[held[:_JUDGED]], recipe) if len(held) else None
    if minutes is not None:
        pace, compiling = _pace(start, data, recipe)
        left = 60 * minutes - (time.perf_counter() - begun) - compiling
        steps = max(_OPENING, math.floor((1 - _RESERVED) * left / pace))
        recipe = replace(recipe, steps=steps, every=max(1, steps // 20), patience=None)
    made = fit(
        start, cross_entropy(recipe.batch, recipe.augmentation), data,
        rule=rule(recipe.rate, recipe.steps, recipe.decay), steps=recipe.steps,
        key=jax.random.key(recipe.seed), validation=judged, validate=held_out(),
        patience=None if judged is None else recipe.patience, every=recipe.every,
        stage="cross-entropy", **options,
    )  # fmt: skip
    network = jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, made.model)
    return Learned(network, made, held)


def _pace(start: Network, data: Labelled, recipe: Recipe) -> tuple[float, float]:
    """Seconds of a step, and of compiling."""
    objective = cross_entropy(recipe.batch, recipe.augmentation)
    made = fit(
        start, objective, data, rule=rule(recipe.rate, _OPENING, recipe.decay), steps=_OPENING,
        every=_OPENING // 2,
    )  # fmt: skip
    first, last = (entry["seconds"] for entry in made.history[-2:])
    pace = max((last - first) / (_OPENING // 2), 1e-4)
    return pace, max(first - pace * _OPENING // 2, 0.0)


def labelled(x: np.ndarray, y: np.ndarray, recipe: Recipe) -> Labelled:
    """Rows and labels, padded to a shared length; images stay bytes."""
    extra = -len(y) % _PAD
    x = x if x.dtype == np.uint8 else np.asarray(x, jax.numpy.zeros(()).dtype)
    if extra:
        x = np.concatenate([x, np.repeat(x[:1], extra, axis=0)])
        y = np.concatenate([y, np.repeat(y[:1], extra)])
    real = jax.numpy.zeros(()).dtype
    smoothing = np.asarray(recipe.smoothing, real)
    count = np.int32(len(y) - extra)
    return Labelled(jax.device_put(x), np.asarray(y, np.int32), count, smoothing)
