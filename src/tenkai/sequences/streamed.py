"""A latent ODE out of more series than memory holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data import Trajectories
from ..data.shards import Shards
from ..errors import InputError
from .held_out import scores
from .learning import JUDGED, Design, Learned, judged, material, steps_over_a_series, train_on
from .objectives import Material
from .packing import Block
from .streaming import Batches, units

_SHARE = 1 / 3  # of a series' times, that the encoder sees at least
_WHOLE = 0.3  # of the series, of which it sees all


def learn_streamed(shards: Shards, design: Design, **options: Any) -> tuple[Learned, Trajectories]:
    """Train on all shards but the last, whose series judge; they are returned as well.

    In every epoch the encoder sees another random stretch of each series, all of which is to be
    explained. `options` go to `tenkai.fit.fit`.

    Raises `InputError` for a single shard: nothing would judge.
    """
    if len(shards) < 2:
        raise InputError(
            "shards", expected="at least two, the last of which judges", got="one",
            do="split it, or pass its series as Trajectories",
        )  # fmt: skip
    last = len(shards) - 1
    scale, survey = units(shards), shards.survey
    longest = 1.0 / steps_over_a_series(design, np.concatenate(survey.slots))
    stream = Batches(
        shards, scale, longest, design.batch, seed=design.seed, prepare=hidden, skip=(last,)
    )  # fmt: skip

    def at(step: int) -> Material:
        return material(stream(step), design.batch, design)

    held = shards.read(last)
    watched = judged(scale.spells(held)[:JUDGED], longest, None, design)
    made = train_on(at, watched, scale, design, None, **options)
    model = made.model.model
    reach = max(float(d.max()) for d in survey.duration[:last] if len(d)) / scale.span
    found = scores(model, scale, list(held)[:JUDGED], longest, seed=design.seed)
    return Learned(model, scale, longest, made, found, reach), held


def hidden(block: Block, rng: np.random.Generator) -> Block:
    """The encoder sees a random stretch of each series, of some all; everything is asked for."""
    n = block.slots
    least = np.maximum(1, np.ceil(_SHARE * n)).astype(int)
    length = rng.integers(least, n + 1)
    length = np.where(rng.uniform(size=len(n)) < _WHOLE, n, length)
    first = rng.integers(0, n - length + 1)
    within = np.arange(len(block.t)) - np.repeat(block.ptr[:-1], n)
    seen = (within >= np.repeat(first, n)) & (within < np.repeat(first + length, n))
    return block._replace(seen=np.broadcast_to(seen[:, None], block.x.shape).copy())
