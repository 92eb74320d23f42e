"""Staged training: gradient matching, shooting over growing windows, then whole series.

Every member of the ensemble has its own observations, held-out points and scale, all of them
data, so that members and stages share one compiled program per kind of stage.
"""

from __future__ import annotations

import functools
import json
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import PyTree

from ..data import Scaler
from ..fit import fit
from ..models.ensemble import cast, paths
from ..models.grid import Grid
from ..models.trajectory import TrajectoryModel
from ..objectives import (
    Penalties,
    Probe,
    Segments,
    Slopes,
    gradient_matching,
    path_error,
    shooting,
)
from ..records import Fit
from ..unfold import RK4, Tableau
from .problem import Problem, Smoothed, Smoother, windows

_HISTORY = (
    *("step", "stage", "loss", "validation", "nfe_forward", "nfe_backward"),
    *("learning_rate", "seconds", "event"),
)
_STEP_TOLERANCE = 3e-3  # relative move of the path under step doubling that refines the grid
_MOST_REFINED = 4
_FULL_STEPS = 1000  # grid steps up to which a stage takes all its optimiser steps


@dataclass(frozen=True)
class Plan:
    """How a training runs; the estimator's scalar knobs end here."""

    matching_steps: int = 1500
    shooting_steps: int = 400
    matching_rate: float = 1e-2
    shooting_rate: float = 5e-3
    decay: float = 1e-5
    jacobian: float = 0.0
    continuity: float = 1.0
    tableau: Tableau = RK4
    seed: int = 0
    dtype: Any = np.float32
    checkpoint: Path | None = None
    log: Path | None = None
    progress: bool | None = False
    run: str = ""

    def stage(self, name: str) -> str:
        """A stage's name in the history, after the run it belongs to."""
        return f"{self.run}: {name}" if self.run else name


@dataclass(frozen=True, eq=False)
class Task:
    """What the members learn from: (members, nodes, dim) scaled values, and who sees what."""

    problem: Problem
    scalers: Sequence[Scaler]
    values: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    closed: np.ndarray
    known: np.ndarray
    hidden: int

    @property
    def members(self) -> int:
        """Size of the ensemble."""
        return len(self.scalers)


@dataclass(eq=False)
class Trained:
    """The members after all stages: models, their error at held-out points, and what happened."""

    errors: np.ndarray
    grid: Grid
    refine: int = 1
    models: TrajectoryModel | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    fits: list[Fit] = field(default_factory=list)


@functools.cache
def _rule(rate: float, steps: int) -> optax.GradientTransformation:
    """Adam with clipping and a cosine; cached, so that equal stages share a compiled program."""
    schedule = optax.cosine_decay_schedule(rate, steps, 1e-2)
    adam = optax.inject_hyperparams(optax.adam)(schedule)  # the history then shows the rate
    return optax.chain(optax.clip_by_global_norm(1.0), adam)


def train(
    task: Task, make_field: Callable[[int, Scaler, np.ndarray], PyTree], plan: Plan
) -> Trained:
    """Run the stages. `make_field(member, scaler, slope)` builds one member's field."""
    smoothed = _smooth(task)
    scale = np.stack([np.sqrt(np.mean(s.slope**2, axis=0)) + 1e-6 for s in smoothed])
    fields = [make_field(i, s, scale[i]) for i, s in enumerate(task.scalers)]
    stacked = cast(_stack(fields), plan.dtype)
    grid = cast(task.problem.grid(), plan.dtype)
    out = Trained(np.full(task.members, np.inf), grid)
    penalties = _penalties(smoothed, plan)
    matched = _match(out, task, stacked, smoothed, scale, penalties, plan)
    states = np.stack([s.states for s in smoothed])
    free = np.isnan(task.known)
    models = TrajectoryModel(matched, cast(np.where(free, states, task.known), plan.dtype), free)
    _shoot(out, task, models, penalties, plan)
    return out


def _smooth(task: Task) -> list[Smoothed]:
    """Per member, from the points it may see; equal scales share their kernels."""
    smoothers: dict[bytes, Smoother] = {}
    out = []
    for scaler, values, use, known in zip(
        task.scalers, task.values, task.train, task.known, strict=True
    ):
        key = np.concatenate([np.asarray(a, float) for a in scaler]).tobytes()
        if key not in smoothers:
            observed = values[:, : values.shape[1] - task.hidden]
            smoothers[key] = Smoother(task.problem, observed, task.closed, task.hidden)
        one = smoothers[key](use[:, : use.shape[1] - task.hidden])
        out.append(_through_known(one, known, task))
    return out


def _through_known(smoothed: Smoothed, known: np.ndarray, task: Task) -> Smoothed:
    """Shift hidden states so that they start where the user said: their origin is free."""
    if not task.hidden:
        return smoothed
    first = [s.start for s in task.problem.spans]
    shift = np.nan_to_num(known[first] - smoothed.states[first]).mean(0)
    shift[: len(shift) - task.hidden] = 0.0
    return replace(smoothed, states=smoothed.states + shift, z=smoothed.z + shift)


def _match(out: Trained, task: Task, fields, smoothed, scale, penalties, plan: Plan) -> PyTree:
    weight = np.stack(
        [1.0 / ((s.slope_sd / c) ** 2 + 1e-2) for s, c in zip(smoothed, scale, strict=True)]
    )
    weight /= weight.mean((1, 2), keepdims=True)
    one = smoothed[0]
    batch = Slopes(
        t=one.t,
        z=np.stack([s.z for s in smoothed]),
        slope=np.stack([s.slope for s in smoothed]),
        scale=scale,
        weight=weight,
        u=one.u,
        penalties=penalties,
    )
    axes = Slopes(t=None, z=0, slope=0, scale=0, weight=0, u=None, penalties=_PENALTY_AXES)
    result = _fit(
        out, "gradient matching", plan, fields, gradient_matching(task.members), batch, axes,
        rule=_rule(plan.matching_rate, plan.matching_steps), steps=plan.matching_steps,
    )  # fmt: skip
    return result.model


_PENALTY_AXES = Penalties(0, 0, 0, Probe(None, 0, None, None))
_SEGMENT_AXES = Segments(None, None, 0, 0, 0, None, _PENALTY_AXES)
_PROBES = 32  # states on the data where the regularisers look, and as many in and around it
_BEYOND = 1.5  # times the range of the data


def _penalties(smoothed: Sequence[Smoothed], plan: Plan) -> Penalties:
    """The members' weights, and probes: states of the smooth, and random ones around them."""
    random = np.random.default_rng(plan.seed)
    points = len(smoothed[0].t)
    on = np.linspace(0, points - 1, _PROBES).astype(int)
    at = np.concatenate([on, random.integers(points, size=_PROBES)])
    z = np.stack([s.z for s in smoothed])
    low, high = z.min(1, keepdims=True), z.max(1, keepdims=True)
    share = 0.5 + _BEYOND * (random.random((len(z), _PROBES, z.shape[2])) - 0.5)
    states = np.concatenate([z[:, on], low + share * (high - low)], axis=1)
    u = smoothed[0].u
    probe = Probe(
        smoothed[0].t[at], states, None if u is None else u[at], np.arange(len(at)) < _PROBES
    )
    each = np.ones(len(z))
    return Penalties(plan.decay * each, plan.jacobian * each, 0.0 * each, probe)


def _shoot(out: Trained, task: Task, models: TrajectoryModel, penalties, plan: Plan) -> None:
    longest = max(s.stop - s.start for s in task.problem.spans)
    lengths = _window_lengths(longest)
    batch = _segments(task, out.grid, penalties, plan)
    _keep_best(out, models, batch, task, plan)
    objective = shooting(task.members, plan.tableau)
    # Every optimiser step costs the whole grid; a longer one also teaches more.
    shorter = max(0.25, min(1.0, _FULL_STEPS / out.grid.begins.size))
    steps = max(1, round(shorter * plan.shooting_steps))
    rule = _rule(plan.shooting_rate, steps)
    axes = _SEGMENT_AXES
    for length in [*lengths, None]:
        whole = length is None
        reset = windows(task.problem, length or longest, task.closed)
        batch = _refined(out, task, models, batch._replace(reset=reset), plan)
        result = _fit(
            out, "whole series" if whole else f"windows of {length}", plan, models, objective,
            batch, axes, rule=rule, steps=steps,
        )  # fmt: skip
        models = result.model
        _keep_best(out, models, batch, task, plan)


def _window_lengths(longest: int) -> list[int]:
    """Windows that grow threefold, the last well short of the whole series."""
    lengths, length = [], max(4, longest // 32)
    while length < 0.7 * longest:
        lengths.append(length)
        length *= 3
    return lengths


def _segments(task: Task, grid: Grid, penalties: Penalties, plan: Plan) -> Segments:
    batch = Segments(
        grid=grid,
        reset=np.zeros(len(task.problem.tau), bool),
        values=np.nan_to_num(task.values),
        weight=task.train.astype(float),
        judged=_shares(task.held_out) + _shares(task.train),
        continuity=np.float64(plan.continuity),
        penalties=penalties,
    )
    return cast(batch, plan.dtype)


def _shares(points: np.ndarray) -> np.ndarray:
    """Weights of each member's points, in sum 1: seen and unseen points judge half and half.

    Unseen points alone are honest but few; a path that slips misses the seen ones as well.
    """
    return points / np.maximum(points.sum((1, 2), keepdims=True), 1)


def _fit(out: Trained, stage: str, plan: Plan, model, objective, batch, axes, **options) -> Fit:
    started = clock.perf_counter()
    count = jax.tree.leaves(model)[0].shape[0]
    folder = _next_folder(out, plan)
    result = fit(
        model, objective, cast(batch, plan.dtype), key=jax.random.key(plan.seed), members=count,
        member_axes=axes, every=max(1, options["steps"] // 10), stage=plan.stage(stage),
        checkpoint=folder, log=plan.log, progress=plan.progress, **options,
    )  # fmt: skip
    if result.status.kind == "interrupted":
        raise KeyboardInterrupt  # without checkpoints there is nothing to go on from
    out.fits.append(result)
    out.history.extend(result.history)
    out.seconds[plan.stage(stage)] = clock.perf_counter() - started
    if not result.status.ok:
        out.notes.append(f"{stage}: {result.status}")
    return result


def _next_folder(out: Trained, plan: Plan) -> Path | None:
    name = f"{plan.run or 'everything'}-{len(out.fits)}".replace(" ", "-")
    return plan.checkpoint / name if plan.checkpoint else None


def _note_event(out: Trained, plan: Plan, event: str) -> None:
    """An event between stages, in the history and once in its file, also after a resume."""
    entry = dict.fromkeys(_HISTORY) | {"step": 0, "stage": plan.stage("grid"), "event": event}
    out.history.append(entry)
    folder = _next_folder(out, plan)
    if plan.log is not None and not (folder is not None and folder.exists()):
        plan.log.parent.mkdir(parents=True, exist_ok=True)
        with plan.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _keep_best(out: Trained, models, batch: Segments, task: Task, plan: Plan) -> None:
    """Per member: whichever stage's end has the smallest error of one solve at judged points."""
    judge = _judge(path_error(task.members, plan.tableau))
    errors = np.asarray(judge(models, batch))
    errors = np.where(np.isfinite(errors), errors, np.inf)
    better = errors < out.errors
    out.models = models if out.models is None else _choose(better, models, out.models)
    out.errors = np.where(better, errors, out.errors)


def _choose(take: np.ndarray, new: PyTree, old: PyTree) -> PyTree:
    def leaf(a, b):
        return np.where(take.reshape(-1, *[1] * (a.ndim - 1)), np.asarray(a), np.asarray(b))

    return jax.tree.map(lambda a, b: leaf(a, b) if eqx.is_array_like(a) else a, new, old)


@functools.cache
def _judge(objective):
    axes = _SEGMENT_AXES

    def one(model, batch):
        return objective(model, batch, None)[0]

    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=(eqx.if_array(0), axes)))


def _refined(out: Trained, task: Task, models, batch: Segments, plan: Plan) -> Segments:
    """Double the substeps where step doubling moves the path; an event in the history."""
    while out.refine < _MOST_REFINED:
        finer = cast(task.problem.grid(2 * out.refine), plan.dtype)
        run = paths(task.members, plan.tableau)
        coarse = np.asarray(run(models, batch.grid, batch.reset))
        fine = np.asarray(run(models, finer, batch.reset))
        # Early fields are wild here and there: most nodes of most members decide.
        move = np.quantile(np.nan_to_num(np.abs(fine - coarse).max(2), nan=np.inf), 0.9, axis=1)
        if not _STEP_TOLERANCE < np.median(move) < np.inf:
            break
        out.refine *= 2
        out.grid = finer
        batch = batch._replace(grid=finer)
        _note_event(out, plan, f"grid refined to {out.refine} steps where there was 1")
    return batch


def _stack(fields: Sequence[PyTree]) -> PyTree:
    def leaf(*parts):
        return np.stack([np.asarray(x) for x in parts]) if eqx.is_array_like(parts[0]) else parts[0]

    return jax.tree.map(leaf, *fields)
