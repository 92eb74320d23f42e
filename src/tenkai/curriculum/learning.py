"""From trajectories to a calibrated ensemble: choose the scale, train, calibrate, judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Scaler, Trajectories
from ..models.ensemble import Ensemble
from ..models.grid import Grid
from ..records import HeldOut
from .held_out import judge_end
from .intervals import Calibration, calibrate, cross_coverage
from .members import SOME_NETWORK, Design
from .problem import Problem
from .runs import Candidate, Run, run
from .selection import select
from .stages import Begun
from .states import start_states
from .task import Plan, Recipe, Trained


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
    scaler = Scaler.fit(problem.values, choice.positive)
    none = np.zeros(len(problem.tau), bool)
    everything = replace(design, hidden=choice.hidden)
    final = run(
        problem, [Candidate(scaler, choice.recipe)] * design.members, none,
        known[:, : data.dim + choice.hidden], everything, plan, refine=choice.refine,
    )  # fmt: skip
    calibration, owner = _calibrated(final)
    held = None
    if choice.judge is not None and choice.mine is not None:
        calibration, held = judge_end(
            choice.judge, choice.mine, scaler, calibration, data, design.coverage
        )
    coverage = _coverage(calibration, owner, design.coverage)
    return _learned(final, calibration, held, coverage, choice.notes, choice.runs)


def learn_more(
    data: Trajectories,
    known: np.ndarray,
    design: Design,
    plan: Plan,
    ensemble: Ensemble,
    calibration: Calibration,
) -> Learned:
    """Go on with a trained ensemble on other data, in its own scaling: whole series only.

    What the first training knew about the horizon stays in the calibration; nothing is chosen anew.
    """
    problem = Problem.of(data, time=ensemble.time, inputs=ensemble.inputs)
    none = np.zeros(len(problem.tau), bool)
    hidden = ensemble.dim - ensemble.shown
    decay, jacobian = (0.0 if x == "auto" else x for x in (design.decay, design.jacobian))
    residual = min(SOME_NETWORK) if design.residual == "auto" else design.residual
    recipe = Recipe(decay, jacobian, residual=residual)
    known = known[:, : ensemble.dim]
    final = run(
        problem, [Candidate(ensemble.state, recipe)] * ensemble.members, none,
        known, replace(design, hidden=hidden), plan,
        begun=Begun(ensemble.fields, start_states(ensemble, problem, known)),
    )  # fmt: skip
    inner, owner = _calibrated(final)
    widened = replace(inner, growth=calibration.growth, ahead_scores=calibration.ahead_scores)
    note = "warm start: scaling, choices and the horizon's growth are those of the earlier fit"
    coverage = _coverage(widened, owner, design.coverage)
    return _learned(final, widened, None, coverage, (note,), ())


def _calibrated(final: Run) -> tuple[Calibration, np.ndarray]:
    task, shown = final.task, slice(0, final.task.shown)
    observed = np.any(task.train | task.held_out, axis=0)[:, shown]
    values = np.where(observed, task.values[0, :, shown], np.nan)
    held_out, seen = task.held_out[..., shown], task.train[..., shown]
    assert final.trained.shaped is not None
    return calibrate(
        final.paths[..., shown], values, held_out, seen, _some(final.trusted()),
        task.scalers[0], final.trained.shaped[0],
    )  # fmt: skip


def _coverage(calibration: Calibration, owner: np.ndarray, nominal: float) -> dict | None:
    inside, points = cross_coverage(calibration.scores, owner, nominal)
    return {"inside": inside, "points": points, "nominal": nominal} if points else None


def _learned(
    final: Run,
    calibration: Calibration,
    held: HeldOut | None,
    coverage: dict[str, Any] | None,
    notes: Sequence[str],
    earlier: Sequence[Run],
) -> Learned:
    trusted, trained, problem = final.trusted(), final.trained, final.task.problem
    assert trained.models is not None
    ensemble = Ensemble(
        fields=trained.models.field,
        starts=np.asarray(trained.models.states)[:, [s.start for s in problem.spans]],
        trusted=_some(trusted),
        state=final.task.scalers[0],
        time=problem.time,
        inputs=problem.input_scaler,
        held=problem.held,
        step=_longest_step(final.solves.grid(trained.refine)),
        tableau=final.solves.plan.tableau,
        size=final.solves.size,
    )
    runs = [*earlier, final]
    said = [*notes, *(n for r in runs for n in r.trained.notes)]
    if not trusted.all():
        said.append(
            f"{int((~trusted).sum())} of {len(trusted)} members left out of the mean: "
            "an error far above the best one's"
        )
    return Learned(
        ensemble, calibration, trained, held, coverage, tuple(dict.fromkeys(said)),
        [h for r in runs for h in r.trained.history],
        {k: v for r in runs for k, v in r.trained.seconds.items()},
    )  # fmt: skip


def _some(trusted: np.ndarray) -> np.ndarray:
    """No member trusted means all are shown: the status says what that is worth."""
    return trusted if trusted.any() else np.ones_like(trusted)


def _longest_step(grid: Grid) -> float:
    h = np.asarray(grid.interval.h)
    return float(np.median(h[h > 0])) * 1.0001
