"""From trajectories to a calibrated ensemble: choose the scale, train, calibrate, judge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Scaler, Trajectories
from ..models.ensemble import Ensemble
from ..models.grid import Grid
from ..records import HeldOut
from .held_out import judge_end
from .intervals import Calibration, calibrate, cross_coverage
from .members import Design
from .problem import Problem
from .runs import Candidate, run
from .selection import select
from .task import Plan, Trained


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
    choice = select(problem, data, known, design, plan)
    scaler, notes = Scaler.fit(problem.values, choice.positive), list(choice.notes)
    none = np.zeros(len(problem.tau), bool)
    everything = replace(design, hidden=choice.hidden)
    final = run(
        problem, [Candidate(scaler, choice.recipe)] * design.members, none,
        known[:, : data.dim + choice.hidden], everything, plan, refine=choice.refine,
    )  # fmt: skip
    trusted = final.trusted()
    values = scaler.forward(problem.values)
    shown = final.paths[..., : data.dim]
    calibration, owner = calibrate(
        shown, values, final.task.held_out[..., : data.dim], final.task.train[..., : data.dim],
        _some(trusted),
    )  # fmt: skip
    held = None
    if choice.judge is not None and choice.mine is not None:
        calibration, held = judge_end(
            choice.judge, choice.mine, scaler, calibration, data, design.coverage
        )
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
    runs = [*choice.runs, final]
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
