"""One training of all members on a task, and what its paths say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Scaler
from ..models.equation import relative
from .members import Design, Maker
from .parameters import estimate, settle
from .problem import Problem, folds
from .solves import Solves
from .stages import Begun, train
from .task import Plan, Recipe, Task, Trained

_TRUST = 4.0  # members whose error exceeds this many times the best are not averaged


@dataclass(frozen=True)
class Candidate:
    """What one member tries: a scale of its values, and a recipe."""

    scaler: Scaler
    recipe: Recipe


@dataclass(eq=False)
class Run:
    """One training of all members and what it says."""

    task: Task
    trained: Trained
    solves: Solves
    paths: np.ndarray

    def trusted(self, mine: np.ndarray | None = None) -> np.ndarray:
        """Of the members `mine`, those whose judged error is close to the best one's."""
        able = np.isfinite(self.paths).all((1, 2))
        able = able if mine is None else able & mine
        errors = np.where(able, self.trained.errors, np.inf)
        if not np.isfinite(errors).any():
            return np.zeros(len(errors), bool)
        return errors <= _TRUST * errors.min() + 1e-4

    def mean_path(self, mine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread (nodes, dim) of what is observed, over the trusted of `mine`."""
        trusted = self.trusted(mine)
        shown = self.paths[trusted if trusted.any() else mine][..., : self.task.shown]
        return shown.mean(0), shown.std(0)


def run(
    problem: Problem,
    candidates: Sequence[Candidate],
    closed: np.ndarray,
    known: np.ndarray,
    design: Design,
    plan: Plan,
    *,
    refine: int = 1,
    begun: Begun | None = None,
) -> Run:
    """Train one member per candidate on what is not `closed` (nodes,)."""
    task = _task(problem, candidates, closed, known, design, plan.seed)
    maker = Maker(design, problem, plan.seed)
    if begun is not None:
        begun = Begun(relative(begun.fields, task.members), begun.starts)
    solves = Solves(task, plan)
    out = train(task, maker, solves, refine=refine, begun=begun)
    assert out.models is not None
    fit = settle(out, task, solves)
    made = Run(task, out, solves, solves(out.models, out.refine))
    out.estimates = estimate(made, fit)
    return made


def _task(
    problem: Problem,
    candidates: Sequence[Candidate],
    closed: np.ndarray,
    known: np.ndarray,
    design: Design,
    seed: int,
) -> Task:
    assert design.hidden != "auto"  # chosen before any training
    scalers = [c.scaler for c in candidates]
    count, hidden, (nodes, dim) = len(scalers), design.hidden, problem.values.shape
    velocities = dim if design.order == 2 else 0
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
        # A velocity is given in raw units; the log scale is not offered to second-order systems.
        states[i, first, dim : dim + velocities] *= problem.time.scale / scaler.scale[:velocities]
    recipes = [c.recipe for c in candidates]
    return Task(problem, scalers, recipes, values, train_on, held_out, closed, states, hidden,
                velocities)  # fmt: skip
