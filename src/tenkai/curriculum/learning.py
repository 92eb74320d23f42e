"""From trajectories to a calibrated ensemble: choose the scale, train, calibrate, judge."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..data import Scaler, Trajectories, can_be_log
from ..errors import InputError
from ..fields import NeuralField
from ..models.ensemble import Ensemble, cast, paths
from ..models.trajectory import RawField, ScaledField
from ..records import HeldOut
from .held_out import Run, choose_scale, judge_end
from .intervals import Calibration, calibrate, cross_coverage
from .problem import Problem, ends, folds
from .stages import Plan, Task, Trained, train

_WORTH_A_LOG = 2.0  # largest over smallest value from which a log scale makes a difference


@dataclass(frozen=True)
class Design:
    """What is learned: the estimator's arguments that shape the model."""

    members: int = 5
    width: int = 32
    depth: int = 2
    activation: str = "tanh"
    augment: int = 0
    time_dependent: bool = False
    field: Callable | None = None
    positive: bool | str = "auto"
    held_out: float = 0.2
    coverage: float = 0.9


@dataclass(frozen=True, eq=False)
class Learned:
    """The ensemble, how wide its intervals are, and what is known about its quality."""

    ensemble: Ensemble
    calibration: Calibration
    trained: Trained
    held_out: HeldOut | None
    coverage: dict[str, Any] | None
    notes: tuple[str, ...]
    history: list[dict[str, Any]]
    seconds: dict[str, float]


def learn(data: Trajectories, known: np.ndarray, design: Design, plan: Plan) -> Learned:
    """Train on `data`; `known` (series, dim) are given start states in raw units, NaN = learn."""
    problem = Problem.of(data)
    choices = _log_choices(problem, data, known, design)
    selection, notes, choice = None, [], 0
    closed = ends(problem, design.held_out)
    if closed.any():
        # Neither the scales nor the smoother nor the members see what they are judged on.
        scales = [Scaler.fit(problem.values[~closed], positive) for positive in choices]
        members = [i % len(scales) for i in range(max(design.members, len(scales)))]
        blind = replace(plan, run="without the end")
        selection = _run(problem, scales, members, closed, known, design, blind)
        choice, notes = choose_scale(selection, members, scales, data)
    scaler = Scaler.fit(problem.values, choices[choice])
    final = _run(
        problem, [scaler], [0] * design.members, np.zeros_like(closed), known, design, plan
    )
    trusted = final.trusted(np.ones(design.members, bool))
    values = scaler.forward(problem.values)
    shown = final.paths[..., : data.dim]
    calibration, owner = calibrate(
        shown, values, final.task.held_out[..., : data.dim], _some(trusted)
    )
    held = None
    if selection is not None:
        mine = np.array([m == choice for m in members])
        calibration, held = judge_end(selection, mine, scaler, calibration, data, design.coverage)
    inside, points = cross_coverage(calibration.scores, owner, design.coverage)
    first = [s.start for s in problem.spans]
    models = final.trained.models
    assert models is not None
    starts = np.asarray(jax.vmap(lambda m: m.starts())(eqx.filter(models, eqx.is_array_like)))
    ensemble = Ensemble(
        fields=models.field,
        starts=starts[:, first],
        trusted=_some(trusted),
        state=scaler,
        time=problem.time,
        inputs=problem.input_scaler,
        held=problem.held,
        step=_longest_step(final.trained),
        tableau=plan.tableau,
    )
    if not trusted.all():
        notes.append(
            f"{int((~trusted).sum())} of {len(trusted)} members left out of the mean: "
            "their error is far above the best one's"
        )
    runs = [selection, final] if selection else [final]
    return Learned(
        ensemble, calibration, final.trained, held,
        {"inside": inside, "points": points, "nominal": design.coverage} if points else None,
        (*notes, *(n for r in runs for n in r.trained.notes)),
        [h for r in runs for h in r.trained.history],
        {k: v for r in runs for k, v in r.trained.seconds.items()},
    )  # fmt: skip


def _some(trusted: np.ndarray) -> np.ndarray:
    """No member trusted means all are shown: the status says what that is worth."""
    return trusted if trusted.any() else np.ones_like(trusted)


def _longest_step(trained: Trained) -> float:
    h = np.asarray(trained.grid.interval.h)
    return float(np.median(h[h > 0])) * 1.0001


def _log_choices(problem: Problem, data: Trajectories, known, design: Design) -> list[np.ndarray]:
    """Which variables (dim,) are on a log scale: the choices, the logarithmic one first."""
    values = problem.values
    possible = can_be_log(values) & ~(known[:, : data.dim] <= 0).any(0)
    none = np.zeros_like(possible)
    if design.positive is False:
        return [none]
    if design.positive is True:
        if not possible.all():
            bad = [n for n, ok in zip(data.names, possible, strict=True) if not ok]
            raise InputError(
                f"positive=True with {', '.join(bad)}", expected="values above zero",
                got="a value of zero or below", do="use positive='auto' or False",
            )  # fmt: skip
        return [possible]
    with np.errstate(divide="ignore", invalid="ignore"):
        wide = np.nanmax(values, 0) > _WORTH_A_LOG * np.nanmin(values, 0)
    return [possible & wide, none] if (possible & wide).any() else [none]


def _run(problem, scales, members, closed, known, design: Design, plan: Plan) -> Run:
    scalers = [scales[m] for m in members]
    task = _task(problem, scalers, closed, known, design, plan.seed)
    maker = _Maker(design, problem, plan.seed)
    trained = train(task, maker, plan)
    none = np.zeros(len(problem.tau), bool)
    run = paths(task.members, plan.tableau)(cast(trained.models, plan.dtype), trained.grid, none)
    return Run(task, trained, np.asarray(run).astype(float))


def _task(problem, scalers, closed, known, design: Design, seed: int) -> Task:
    count, hidden = len(scalers), design.augment
    nodes, dim = problem.values.shape
    left_out = folds(problem, count, seed) & ~closed
    shown = ~np.isnan(problem.values)
    pad = ((0, 0), (0, 0), (0, hidden))
    values = np.pad(np.stack([s.forward(problem.values) for s in scalers]), pad)
    train_on = np.pad(shown & ~closed[:, None] & ~left_out[..., None], pad)
    held_out = np.pad(shown & left_out[..., None], pad)
    held_out = np.where(held_out.any((1, 2), keepdims=True), held_out, train_on)
    states = np.full((count, nodes, dim + hidden), np.nan)
    first = [s.start for s in problem.spans]
    for i, scaler in enumerate(scalers):
        states[i, first, :dim] = scaler.forward(known[:, :dim])
        states[i, first, dim:] = known[:, dim:]
    return Task(problem, scalers, values, train_on, held_out, closed, states, hidden)


class _Maker:
    """Builds one member's field: a network in scaled units, or the user's in raw ones."""

    def __init__(self, design: Design, problem: Problem, seed: int):
        self.design, self.problem, self.seed = design, problem, seed

    def __call__(self, member: int, scaler: Scaler, slope: np.ndarray) -> Callable:
        design, problem = self.design, self.problem
        if design.field is not None:
            # The first member starts where the user's parameters are.
            user = _moved(design.field, self.seed, member) if member else design.field
            state = scaler.extended(design.augment)
            return RawField(user, state, problem.time, problem.input_scaler)
        inputs = 0 if problem.inputs is None else problem.inputs.shape[1]
        shape = (design.width, design.depth, design.activation, design.time_dependent)
        return ScaledField(_network(len(slope), inputs, *shape)(self.seed, member), slope)


@functools.cache
def _network(
    dim: int, inputs: int, width: int, depth: int, activation: str, time_dependent: bool
) -> Callable[[int, int], NeuralField]:
    """Compiled as one program: layer by layer, a cold start would compile one per shape."""

    def build(seed, member):
        key = jax.random.fold_in(jax.random.key(seed), member)
        return NeuralField(
            dim, key=key, inputs=inputs, width=width, depth=depth, activation=activation,
            time_dependent=time_dependent, last_scale=0.3,
        )  # fmt: skip

    return jax.jit(build)


def _moved(field: Callable, seed: int, member: int) -> Callable:
    """The field with its parameters some 20 % away."""
    random = np.random.default_rng([seed, member])

    def leaf(a):
        if not eqx.is_inexact_array_like(a):
            return a
        return np.asarray(a) * np.exp(0.2 * random.normal(size=np.shape(a)))

    return jax.tree.map(leaf, field)
