"""From trajectories to a calibrated ensemble: choose the scale, train, calibrate, judge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Scaler, Trajectories, can_be_log
from ..errors import InputError
from ..models.ensemble import Ensemble
from ..models.grid import Grid
from ..records import HeldOut
from .held_out import Run, choose_scale, judge_end
from .intervals import Calibration, calibrate, cross_coverage
from .members import Design, Maker
from .problem import Problem, ends, folds
from .solves import Solves
from .stages import train
from .task import Plan, Recipe, Task, Trained

_WORTH_A_LOG = 2.0  # largest over smallest value from which a log scale makes a difference


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
        problem,
        [scaler],
        [0] * design.members,
        np.zeros_like(closed),
        known,
        design,
        plan,
        selection.trained.refine if selection else 1,
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
    starts = np.asarray(models.states)
    ensemble = Ensemble(
        fields=models.field,
        starts=starts[:, first],
        trusted=_some(trusted),
        state=scaler,
        time=problem.time,
        inputs=problem.input_scaler,
        held=problem.held,
        step=_longest_step(final.solves.grid(final.trained.refine)),
        tableau=plan.tableau,
        size=final.solves.size,
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


def _longest_step(grid: Grid) -> float:
    h = np.asarray(grid.interval.h)
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


def _run(
    problem, scales, members, closed, known, design: Design, plan: Plan, refine: int = 1
) -> Run:
    scalers = [scales[m] for m in members]
    task = _task(problem, scalers, closed, known, design, plan.seed)
    maker = Maker(design, problem, plan.seed)
    trained = train(task, maker, plan, refine=refine)
    assert trained.models is not None
    solves = Solves(task, plan)
    return Run(task, trained, solves, solves(trained.models, trained.refine))


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
    recipes = [Recipe(design.decay, design.jacobian)] * count
    return Task(problem, scalers, recipes, values, train_on, held_out, closed, states, hidden)
