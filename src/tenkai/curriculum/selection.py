"""What is chosen on a held-out end: the scale, the regularisation, the width, hidden dimensions.

Never on the training loss. All candidates of a round are members of one training that does not see
the end of any series, so a round costs what an ensemble costs and compiles nothing new. A default
stands unless another forecasts the end clearly better (Student's test, 99 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import stdtrit

from ..data import Scaler, Trajectories, can_be_log
from ..errors import InputError
from .held_out import deviations, misses
from .members import NO_NETWORK, SOME_NETWORK, WIDTH, Design
from .problem import Problem, ends
from .runs import Candidate, Run, run
from .task import Plan, Recipe

_WORTH_A_LOG = 2.0  # largest over smallest value from which a log scale makes a difference
_CLEARLY = 0.99  # confidence with which another candidate must win against the default
_GOOD = 0.15  # error on the end, in standard deviations, that needs no better recipe
_FINE = 0.05  # that of an equation which needs no network beside it
_NEAR = 1.5  # times the error at points in between, which need no better recipe either
MOST_HIDDEN = 2
_DECAY = 1e-5


@dataclass(frozen=True, eq=False)
class Choice:
    """What the final training uses, the run that never saw the end, and which members judge."""

    positive: np.ndarray
    recipe: Recipe
    hidden: int
    judge: Run | None = None
    mine: np.ndarray | None = None
    runs: tuple[Run, ...] = ()
    notes: tuple[str, ...] = ()
    refine: int = 1


def select(
    problem: Problem, data: Trajectories, known: np.ndarray, design: Design, plan: Plan
) -> Choice:
    """Train without the end of each series, and choose."""
    choices = log_choices(problem, data, known, design)
    hidden = _least_hidden(design, data.dim) if design.hidden == "auto" else design.hidden
    decay = _DECAY if design.decay == "auto" else design.decay
    jacobian = 0.0 if design.jacobian == "auto" else design.jacobian
    residual = NO_NETWORK if design.residual == "auto" else design.residual
    default = Recipe(decay, jacobian, residual=residual)
    closed = ends(problem, design.held_out)
    if not closed.any():
        return Choice(choices[0], default, hidden)
    rounds = _Rounds(problem, data, closed, known, design, plan)
    # Neither the scales nor the smoother nor the members see what they are judged on.
    scales = [Scaler.fit(problem.values[~closed], positive) for positive in choices]
    first = rounds.go("without the end", [Candidate(s, default) for s in scales], hidden)
    scale = 0
    mine = first.of(0)
    if len(scales) > 1:
        scale = int(first.clearly_better(1, 0))
        mine = first.of(scale)
        rounds.notes.append(_about_scales(first, scales[0], data, scale))
    choice = Choice(choices[scale], default, hidden, first.run, mine)
    choice = _recipe(rounds, choice, first, scale, scales[scale], design)
    return replace(choice, runs=tuple(rounds.runs), notes=tuple(rounds.notes),
                   refine=max(r.trained.refine for r in rounds.runs))  # fmt: skip


@dataclass(eq=False)
class _Round:
    """Candidates as members of one run: member m tries candidate ``m % len(candidates)``."""

    run: Run
    candidates: Sequence[Candidate]

    def of(self, candidate: int) -> np.ndarray:
        """The members that try the candidate."""
        return np.arange(self.run.task.members) % len(self.candidates) == candidate

    def squares(self, candidate: int) -> np.ndarray:
        """Squared misses (points,) on the end of the mean of the candidate's members."""
        mean, _ = self.run.mean_path(self.of(candidate))
        missed = misses(self.candidates[candidate].scaler.inverse(mean), self.run.task)
        return np.where(np.isfinite(missed), missed, 1e3) ** 2

    def error(self, candidate: int) -> float:
        """Root mean square miss on the end, in standard deviations of the variables."""
        return float(np.sqrt(self.squares(candidate).mean()))

    def noise(self, candidate: int) -> float:
        """The same at inner points that the members did not see: noise and what is missed there."""
        judged = self.run.task.held_out & self.of(candidate)[:, None, None]
        return float(np.sqrt(np.nanmean(self._squares_at(candidate, judged))))

    def between(self, candidate: int) -> np.ndarray:
        """Squared misses (nodes, dim) of whoever did not see an inner point; NaN where all did."""
        task = self.run.task
        judged = task.held_out & ~task.train & self.of(candidate)[:, None, None]
        return self._squares_at(candidate, judged)

    def _squares_at(self, candidate: int, judged: np.ndarray) -> np.ndarray:
        """Mean squared misses (nodes, dim) of the members where they are `judged`."""
        run, shown = self.run, self.run.task.shown
        raw = self.candidates[candidate].scaler.inverse(run.paths[..., :shown])
        missed, judged = deviations(raw, run.task), judged[..., :shown]
        total = np.where(judged, np.where(np.isfinite(missed), missed, 1e3) ** 2, 0.0).sum(0)
        count = judged.sum(0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def clearly_better(self, one: int, than: int) -> bool:
        """By the paired squared misses."""
        return _clearly(self.squares(than) - self.squares(one))


def _clearly(gain: np.ndarray) -> bool:
    """Student's one-sided test of a positive mean; one point shows nothing."""
    if len(gain) < 2:
        return False
    bound = stdtrit(len(gain) - 1, _CLEARLY) * gain.std(ddof=1) / len(gain) ** 0.5
    return bool(gain.mean() > bound)


@dataclass(eq=False)
class _Rounds:
    """Trainings without the end, and what was said about them."""

    problem: Problem
    data: Trajectories
    closed: np.ndarray
    known: np.ndarray
    design: Design
    plan: Plan
    runs: list[Run] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def go(self, name: str, candidates: Sequence[Candidate], hidden: int) -> _Round:
        """One training; every candidate is tried by at least one member."""
        members = max(self.design.members, len(candidates))
        each = [candidates[i % len(candidates)] for i in range(members)]
        refine = max((r.trained.refine for r in self.runs), default=1)
        design, known = replace(self.design, hidden=hidden), self.known
        dim = self.problem.values.shape[1] + hidden
        made = run(
            self.problem, each, self.closed, known[:, :dim], design, replace(self.plan, run=name),
            refine=refine,
        )  # fmt: skip
        self.runs.append(made)
        return _Round(made, candidates)


def _recipe(
    rounds: _Rounds, choice: Choice, first: _Round, scale: int, scaler: Scaler, design: Design
) -> Choice:
    """Other recipes than the default one, if the end leaves something to gain."""
    others = _alternatives(choice.recipe, choice.hidden, design)
    if not others:
        return choice
    error, noise = first.error(scale), first.noise(scale)
    # What an equation or a state lacks is also missed in between: no worse there says nothing.
    lacking = "auto" in (design.residual, design.hidden)
    if error <= (_FINE if lacking else max(_GOOD, _NEAR * noise)):
        rounds.notes.append(
            f"other recipes skipped: the held-out end is forecast to {error:.2f} standard "
            f"deviations, points in between to {noise:.2f}"
        )
        return choice
    hidden = choice.hidden + (MOST_HIDDEN if design.hidden == "auto" else 0)
    tried = [Candidate(scaler, r) for r in others]
    second = rounds.go("other recipes", tried, hidden)
    best = _winner(others, *_gains(first, scale, second, others, choice.hidden))
    if best is None:
        rounds.notes.append(
            "other recipes (regularisation, width) forecast no better: default kept"
        )
        return choice
    recipe = others[best]
    hidden = choice.hidden if recipe.hidden is None else recipe.hidden
    recipe = replace(recipe, hidden=None)
    augmented = hidden - _least_hidden(design, rounds.data.dim)
    rounds.notes.append(
        f"{recipe.describe(augmented)}: error on the held-out end {second.error(best):.2f} against "
        f"{error:.2f} standard deviations by default"
    )
    third = rounds.go("the recipe again", [Candidate(scaler, recipe)], hidden)
    return Choice(choice.positive, recipe, hidden, third.run, third.of(0))


def _gains(
    first: _Round, scale: int, second: _Round, others: Sequence[Recipe], hidden: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Per other recipe: by how much its squared misses are smaller, at all points and on the end.

    What more state is good for shows in between as well: a short end alone tells too little.
    """
    every, ends = [], []
    for i, recipe in enumerate(others):
        end = first.squares(scale) - second.squares(i)
        inner = (first.between(scale) - second.between(i)).ravel()
        more = recipe.hidden != hidden and end.mean() > 0
        every.append(np.concatenate([end, inner[~np.isnan(inner)]]) if more else end)
        ends.append(end)
    return every, ends


def _winner(
    others: Sequence[Recipe], gains: Sequence[np.ndarray], ends: Sequence[np.ndarray]
) -> int | None:
    """Of the recipes that beat the default, and that the best of them does not beat clearly, the
    one with the fewest hidden states."""
    able = [i for i, g in enumerate(gains) if _clearly(g)]
    if not able:
        return None
    best = max(able, key=lambda i: gains[i].mean())
    able = [i for i in able if i == best or not _clearly(ends[best] - ends[i])]
    return min(able, key=lambda i: (others[i].hidden or 0, -gains[i].mean()))


def _least_hidden(design: Design, dim: int) -> int:
    """The velocities of a second-order system."""
    return dim if design.order == 2 else 0


def _alternatives(default: Recipe, hidden: int, design: Design) -> list[Recipe]:
    """Recipes that differ from the default where the design says "auto"."""
    default = replace(default, hidden=hidden)
    if design.field is not None:
        weights = SOME_NETWORK if design.residual == "auto" else ()
        return [replace(default, residual=w) for w in weights]
    out = []
    if design.decay == "auto":
        out += [replace(default, decay=1e-4), replace(default, decay=1e-3)]
    if design.jacobian == "auto":
        out.append(replace(default, jacobian=1e-3))
    if design.width == "auto" and design.activation in _DEAD_AT_ZERO:
        out.append(replace(default, width=WIDTH // 3))
    if design.hidden == "auto":
        out += [replace(default, hidden=hidden + n) for n in range(1, MOST_HIDDEN + 1)]
    return out


_DEAD_AT_ZERO = ("tanh", "relu", "leaky_relu", "elu", "silu", "gelu", "sin", "identity")


def _about_scales(first: _Round, scaler: Scaler, data: Trajectories, scale: int) -> str:
    names = [n for n, p in zip(data.names, scaler.positive, strict=True) if p]
    return (
        f"{', '.join(names)} modelled on {('a log', 'the raw')[scale]} scale: error on the "
        f"held-out end {first.error(0):.2f} (log) against {first.error(1):.2f} (raw) "
        "standard deviations"
    )


def log_choices(
    problem: Problem, data: Trajectories, known: Any, design: Design
) -> list[np.ndarray]:
    """Which variables (dim,) are on a log scale: the choices, the logarithmic one first."""
    values = problem.values
    possible = can_be_log(values) & ~(known[:, : data.dim] <= 0).any(0)
    none = np.zeros_like(possible)
    if design.order == 2 and design.positive is True:
        raise InputError(
            "positive=True with order=2", expected="one of them: velocities have no log scale",
            got="both", do="use positive=False or order=1",
        )  # fmt: skip
    if design.positive is False or design.order == 2:
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
