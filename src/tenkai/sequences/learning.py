"""From many series to a trained latent ODE that was judged on series it did not see."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from ..data import Trajectories
from ..fit import fit
from ..records import Fit
from ..unfold import RK4, Tableau
from .evaluation import real, shared
from .held_out import Scores, scores
from .latent import LatentModel
from .objectives import Judged, Material, Warming, missed, warmed
from .packing import Rows, Spell, pack
from .parts import hidden_end, parts
from .units import Units

_EVERY = 100  # steps between two looks at the held-out series
_FINAL = 0.01  # of the rate, at the end
_NORM = 1.0  # of the gradient, at most
JUDGED = 500  # series that say which state is the best, at most
_FEWEST = 5  # series, so that one can be held out
_SLOTS = 4_000_000  # of all rows, with their parts
_PER_TIME = 0.3  # solver steps per observed time
_RESOLUTIONS = (8, 50)  # solver steps over a series of median duration, at least and at most


@dataclass(frozen=True)
class Design:
    """What is trained, and how."""

    latent: int
    encoder: str
    hidden: int
    width: int
    depth: int
    activation: str
    decoder: int
    noise: Any  # None: learned; else raw standard deviations (dim,)
    parts: int
    resolution: int | str
    warm_up: int
    steps: int
    batch: int
    learning_rate: float
    decay: float
    label_weight: float
    held_out: float
    seed: int
    classes: int = 0
    tableau: Tableau = RK4


class Learned(NamedTuple):
    """A trained model with its units and solver step, its training, and how it was judged."""

    model: LatentModel
    units: Units
    longest: float
    fit: Fit
    held: Scores | None
    reach: float  # the longest duration trained, in units of the span


@functools.cache
def rule(rate: float, steps: int) -> optax.GradientTransformation:
    """Adam on clipped gradients, its rate falling along a cosine; one object per schedule."""
    schedule = optax.cosine_decay_schedule(rate, max(steps, 1), alpha=_FINAL)
    adam = optax.inject_hyperparams(optax.adam)(schedule)
    return optax.chain(optax.clip_by_global_norm(_NORM), adam)


def build(design: Design, units: Units) -> LatentModel:
    """The model before training."""
    scale = np.asarray(units.state.scale)
    noise = None if design.noise is None else np.asarray(design.noise) / scale
    return LatentModel.build(
        len(scale), latent=design.latent, encoder=design.encoder, hidden=design.hidden,
        width=design.width, depth=design.depth, activation=design.activation,
        decoder=design.decoder, classes=design.classes, noise=noise, tableau=design.tableau,
        key=np.random.default_rng(design.seed),
    )  # fmt: skip


def steps_over_a_series(design: Design, times: np.ndarray) -> int:
    """Solver steps over a series of median duration; `times` are the series' numbers of times."""
    if design.resolution != "auto":
        return int(design.resolution)
    return int(np.clip(round(_PER_TIME * float(np.median(times))), *_RESOLUTIONS))


def learn(
    data: Trajectories, design: Design, labels: np.ndarray | None = None, **options: Any
) -> Learned:
    """Train on most series; the best state by the others' hidden observations is kept.

    `labels` (series,) are classes from 0, -1 of series without one. `options` go to
    `tenkai.fit.fit`.
    """
    units = Units.of(data)
    longest = 1.0 / steps_over_a_series(design, np.array([len(one) for one in data]))
    train, held = split(len(data), design)
    series, others = [data[i] for i in train], [data[i] for i in held]
    known, classes = (None if labels is None else labels[which] for which in (train, held))
    watched = judged(units.spells(others[:JUDGED]), longest, classes, design) if others else None
    material = _material(units.spells(series), longest, known, design)
    batch = min(design.batch, int(material.count))
    made = train_on(material, watched, units, design, batch, **options)
    model = made.model.model
    found = None
    if others:
        found = scores(model, units, others, longest, seed=design.seed, labels=classes)
    reach = max(float(s.t[-1] - s.t[0]) for s in series) / units.span
    return Learned(model, units, longest, made, found, reach)


def train_on(
    data: Any, watched: Judged | None, units: Units, design: Design, batch: int | None,
    **options: Any,
) -> Fit:  # fmt: skip
    """Adam over `Material`, or over what a function of the step delivers (`batch` None)."""
    count: Any = np.zeros((), np.int32)
    return fit(
        Warming(real(build(design, units)), count), warmed(batch, design.noise is None), data,
        rule=rule(design.learning_rate, design.steps), steps=design.steps,
        key=jax.random.key(design.seed), validation=watched, validate=missed(), every=_EVERY,
        stage="elbo", **options,
    )  # fmt: skip


def split(count: int, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Series to train on and series to judge by, drawn by the seed; of few series none."""
    if count < _FEWEST or not design.held_out:
        return np.arange(count), np.arange(0)
    order = np.random.default_rng([design.seed, 3]).permutation(count)
    held = max(1, round(design.held_out * count))
    return np.sort(order[held:]), np.sort(order[:held])


def material(rows: Rows, count: int, design: Design, labels: np.ndarray | None = None) -> Material:
    """Rows with the weights of the design."""
    weights = (1.0, design.decay, design.warm_up, design.label_weight)
    divergence, decay, warm_up, label_weight = (np.float64(w) for w in weights)
    return real(Material(rows, np.int32(count), divergence, decay, warm_up, labels, label_weight))


def _material(
    spells: list[Spell], longest: float, labels: np.ndarray | None, design: Design
) -> Material:
    """Every series whole, and its random parts."""
    total = sum(len(s.t) for s in spells)
    copies = min(design.parts, max(0, _SLOTS // total - 1))
    rng = np.random.default_rng([design.seed, 4])
    made = [*spells, *(part for _ in range(copies) for part in parts(spells, rng))]
    classes = None
    if labels is not None:  # of a part the label may be about what it does not show
        classes = np.full(len(made), -1, np.int32)
        classes[: len(spells)] = labels
    rows = pack(made, longest)
    return material(rows, len(rows.owner), design, classes)


def judged(
    spells: list[Spell], longest: float, labels: np.ndarray | None, design: Design
) -> Judged:
    """Series whose ends are hidden, to choose the best state by."""
    rng = np.random.default_rng([design.seed, 5])
    rows = shared([hidden_end(s, rng) for s in spells], longest)
    classes = None if labels is None else labels[: len(spells)].astype(np.int32)
    return real(Judged(rows, classes))
