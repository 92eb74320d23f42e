"""From series to a recurrent model: scales, rows, training, held-out series."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from ..data import Series, Trajectories
from ..fit import fit
from ..records import Fit
from ..unfold import Tableau
from .packing import Rows, Spell
from .recurrent import RecurrentModel, build
from .recurrent_evaluation import HeldOutSeries, judge
from .recurrent_objective import Lesson, negative_log_likelihood
from .recurrent_rows import Reader, imputing_step, rows_of, usual_gap, windows
from .units import Units

_EVERY = 50
_FEW = 5  # with fewer series their ends are held out


@dataclass(frozen=True)
class Design:
    """What is trained, and how."""

    kind: str
    sides: int
    hidden: int
    width: int
    depth: int
    tableau: Tableau
    substeps: int
    window: int
    density: float
    steps: int
    batch: int
    learning_rate: float
    decay: float
    hide: float
    held_out: float
    patience: int
    seed: int
    dtype: Any


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained model, how series are brought to it, and how good it is."""

    model: RecurrentModel
    reader: Reader
    fit: Fit
    held: HeldOutSeries | None
    filled: float


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the series, their classes, and the times from which on they are asked for."""

    series: list[Series]
    label: np.ndarray | None = None  # (series,)
    since: list[float] | None = None

    def spells(self, reader: Reader) -> list[Spell]:
        """As the model reads them."""
        since = self.since or [-np.inf] * len(self.series)
        return [reader.spell(one, since=t) for one, t in zip(self.series, since, strict=True)]


@dataclass(frozen=True)
class Parts:
    """Who trains, who says when to stop, who judges."""

    train: Part
    watch: Part | None
    judge: Part | None
    note: str = ""


def learn(
    data: Trajectories, label: np.ndarray | None, classes: int, design: Design, *,
    log: Path | str | None = None, progress: bool | None = None,
) -> Learned:  # fmt: skip
    """Train on the series; `label` (series,) are class numbers, of which there are `classes`."""
    parts = share_out(data, label, design)
    units = Units.of(replace(data, series=tuple(parts.train.series)))
    plain = units.spells(parts.train.series)
    reader = Reader(units, imputing_step(plain) if design.kind == "imputed" else None)
    model = build(
        design.kind, data.dim, hidden=design.hidden, width=design.width, depth=design.depth,
        tableau=design.tableau, substeps=design.substeps, sides=design.sides,
        classes=classes, key=np.random.default_rng(design.seed), rate=1 / usual_gap(plain),
    )  # fmt: skip
    model = jax.tree.map(lambda a: np.asarray(a, design.dtype), model)
    lesson, batch, filled = lesson_of(reader, parts.train, design)
    watch = None if parts.watch is None else lesson_of(reader, parts.watch, design)[0]
    made = train(model, lesson, watch, batch, design, log=log, progress=progress)
    held = None
    if parts.judge is not None:
        held = judge(
            made.model, reader, parts.train.spells(reader.plain), parts.judge.series,
            parts.judge.since, (parts.train.label, parts.judge.label), parts.note,
        )  # fmt: skip
    return Learned(made.model, reader, made, held, filled)


def train(
    model: RecurrentModel, lesson: Lesson, watch: Lesson | None, batch: int, design: Design, *,
    log: Path | str | None = None, progress: bool | None = None,
) -> Fit:  # fmt: skip
    """Adam with a cosine, until the series that do not train see no gain."""
    return fit(
        model, negative_log_likelihood(batch), lesson,
        rule=rule(design.steps, design.learning_rate), steps=design.steps,
        key=jax.random.key(design.seed), every=_EVERY, validation=watch,
        validate=negative_log_likelihood(0),
        patience=None if watch is None else design.patience,
        log=log, progress=progress, stage="likelihood",
    )  # fmt: skip


@functools.cache
def rule(steps: int, rate: float) -> optax.GradientTransformation:
    """Adam after a short warm-up, down a cosine, gradients clipped."""
    warm = min(100, max(1, steps // 10))
    schedule = optax.warmup_cosine_decay_schedule(0.1 * rate, rate, warm, max(steps, warm + 1))
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


def lesson_of(reader: Reader, part: Part, design: Design) -> tuple[Lesson, int, float]:
    """Packed material, the rows that make a batch, and the share of slots that hold data.

    Long series are cut into windows, unless they have labels, which are of the whole series.
    """
    spells = part.spells(reader)
    if part.label is None:
        spells = [w for spell in spells for w in windows(spell, design.window)]
        spells = [w for w in spells if asks(w)]
    rows = rows_of(spells, design.dtype)
    batch = int(np.clip(round(design.batch * len(rows.t) / len(spells)), 1, len(rows.t)))
    return material(rows, part.label, design), batch, rows.filled


def asks(spell: Spell) -> bool:
    """Whether any value of a spell is to be explained."""
    observed = ~np.isnan(spell.x)
    return bool((observed if spell.asked is None else observed & spell.asked).any())


def material(rows: Rows, label: np.ndarray | None, design: Design) -> Lesson:
    """Rows with the weights of a design."""
    density, decay, hide, none, one = (
        np.asarray(v, design.dtype) for v in (design.density, design.decay, design.hide, 0, 1)
    )
    named = np.full(1, -1, np.int32) if label is None else np.asarray(label, np.int32)
    weight = none if label is None else one
    return Lesson(rows, named, np.int32(len(rows.t)), density, weight, decay, hide)


def share_out(data: Trajectories, label: np.ndarray | None, design: Design) -> Parts:
    """Series at random: half of the held-out ones stop, half judge; of few series their ends."""
    series = list(data)
    if design.held_out == 0:
        return Parts(Part(series, label), None, None)
    if len(series) < _FEW:
        return (
            Parts(Part(series, label), None, None) if label is not None else _ends(series, design)
        )
    order = np.random.default_rng(design.seed).permutation(len(series))
    out = max(2, round(design.held_out * len(series)))
    train, watch, last = (
        Part([series[i] for i in group], None if label is None else label[group])
        for group in (order[out:], order[: out // 2], order[out // 2 : out])
    )
    return Parts(train, watch, last, f"{len(last.series)} series that nobody saw")


def _ends(series: list[Series], design: Design) -> Parts:
    """What is before the end of each series trains; the ends say when to stop, and judge."""
    train, whole, since = [], [], []
    for one in series:
        cut = max(1, int(np.ceil((1 - design.held_out) * len(one))))
        train.append(replace(one, t=one.t[:cut], x=one.x[:cut]))
        if len(one) > cut and not np.isnan(one.x[cut:]).all():
            whole.append(one)
            since.append(float(one.t[cut]))
    if not whole:
        return Parts(Part(series), None, None)
    ends = Part(whole, since=since)
    return Parts(Part(train), ends, ends, "ends of the series, which said when to stop too")
