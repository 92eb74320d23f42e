"""Staged training: gradient matching, shooting over growing windows, then whole series.

Every member of the ensemble has its own observations, held-out points, scale and recipe, all of
them data, so that members and stages share one compiled program per kind of stage.
"""

from __future__ import annotations

import functools
import json
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import PyTree

from ..data import Scaler
from ..fit import fit
from ..models.ensemble import cast
from ..models.trajectory import TrajectoryModel
from ..objectives import Penalties, gradient_matching, shooting
from ..records import Fit
from .material import (
    SEGMENT_AXES,
    SLOPE_AXES,
    padded,
    penalties,
    precision,
    segments,
    slopes,
    typical,
)
from .problem import windows
from .recipes import narrowed
from .smoothing import Smoothed, Smoother
from .solves import Solves
from .task import Plan, Task, Trained

_HISTORY = (
    *("step", "stage", "loss", "validation", "nfe_forward", "nfe_backward"),
    *("learning_rate", "seconds", "event"),
)
_FULL_STEPS = 1000  # grid steps up to which a stage takes all its optimiser steps
_AT_THE_NOISE = 1.1  # squared misses of one solve over the noise that need no further windows


@functools.cache
def _rule(rate: float, steps: int) -> optax.GradientTransformation:
    """Adam with clipping and a cosine; cached, so that equal stages share a compiled program."""
    schedule = optax.cosine_decay_schedule(rate, steps, 1e-2)
    adam = optax.inject_hyperparams(optax.adam)(schedule)  # the history then shows the rate
    return optax.chain(optax.clip_by_global_norm(1.0), adam)


@dataclass(frozen=True, eq=False)
class Begun:
    """Trained members to go on from: fields, and start states (members, series, dim)."""

    fields: PyTree
    starts: np.ndarray


def train(
    task: Task,
    make_field: Callable[[int, Scaler, np.ndarray], PyTree],
    solves: Solves,
    *,
    refine: int = 1,
    begun: Begun | None = None,
) -> Trained:
    """Run the stages. `make_field(member, scaler, slope)` builds one member's field.

    `solves` are those of the task, on grids that whoever judges the training shares.
    `refine` is the grid's first refinement. Where training has `begun`, the stages that find the
    basin are skipped.
    """
    plan = solves.plan
    out = Trained(np.full(task.members, np.inf), refine)
    smoothed, out.shaped = _smooth(task)
    if task.velocities:
        unit = _velocity_units(task, smoothed, begun)
        task, smoothed = _with_velocities(task, smoothed, unit)
    noise = np.stack([s.noise_sd for s in smoothed])
    stages = _Stages(out, task, plan, solves, noise)
    scale = np.stack([typical(s.slope) for s in smoothed])
    if task.velocities:
        scale[:, : task.velocities] = unit
    regularisers = penalties(task, smoothed, plan.seed)
    states = np.where(task.alive[:, None], np.stack([s.states for s in smoothed]), 0.0)
    if begun is None:
        scales = zip(task.scalers, scale * task.alive, strict=True)
        made = [make_field(i, s, c) for i, (s, c) in enumerate(scales)]
        fields = _stack([narrowed(f, r.width) for f, r in zip(made, task.recipes, strict=True)])
        fields = stages.match(cast(fields, plan.dtype), smoothed, scale, regularisers)
    else:
        fields = begun.fields
        states[:, [s.start for s in task.problem.spans]] = begun.starts
    free = np.isnan(task.known) & task.alive[:, None]
    states = np.where(np.isnan(task.known), states, task.known)
    nodes = stages.solves.size.nodes
    model = TrajectoryModel(fields, cast(padded(states, nodes), plan.dtype), padded(free, nodes))
    stages.shoot(model, regularisers, whole_only=begun is not None)
    return out


def _smooth(task: Task) -> tuple[list[Smoothed], np.ndarray]:
    """Per member, from the points it may see; and whether noise follows the signal (members, dim).

    Equal scales share their kernels.
    """
    smoothers: dict[bytes, Smoother] = task.problem.smoothers
    smoothed, shaped = [], []
    for scaler, values, use, known in zip(
        task.scalers, task.values, task.train, task.known, strict=True
    ):
        numbers = (*scaler, task.closed, [task.hidden, task.velocities])
        key = np.concatenate([np.asarray(a, float) for a in numbers]).tobytes()
        if key not in smoothers:
            observed = values[:, : task.shown]
            smoothers[key] = Smoother(
                task.problem, observed, task.closed, task.hidden, scaler, task.velocities
            )
        one = smoothers[key](use[:, : task.shown])
        smoothed.append(_through_known(one, known, task))
        shaped.append(smoothers[key].shaped)
    return smoothed, np.stack(shaped)


def _through_known(smoothed: Smoothed, known: np.ndarray, task: Task) -> Smoothed:
    """Shift hidden states so that they start where the user said: their origin is free."""
    if not task.hidden:
        return smoothed
    first = [s.start for s in task.problem.spans]
    shift = np.nan_to_num(known[first] - smoothed.states[first]).mean(0)
    shift[: task.shown + task.velocities] = 0.0
    return replace(smoothed, states=smoothed.states + shift, z=smoothed.z + shift)


def _velocity_units(task: Task, smoothed: list[Smoothed], begun: Begun | None) -> np.ndarray:
    """The typical size of the velocities, one for all members: their states can be compared."""
    if begun is not None:
        return np.asarray(begun.fields.slope, float)[0, : task.velocities]
    return typical(np.concatenate([s.slope for s in smoothed]))[: task.velocities]


def _with_velocities(
    task: Task, smoothed: list[Smoothed], unit: np.ndarray
) -> tuple[Task, list[Smoothed]]:
    """Velocities in their `unit`, as a `SecondOrderField` has them."""
    units = np.ones(task.values.shape[2])
    units[task.shown : task.shown + task.velocities] = unit
    names = ("states", "z", "slope", "slope_sd")
    out = [replace(s, **{n: getattr(s, n) / units for n in names}) for s in smoothed]
    return replace(task, known=task.known / units), out


@dataclass(eq=False)
class _Stages:
    """One training: every stage adds to `out` what it did."""

    out: Trained
    task: Task
    plan: Plan
    solves: Solves
    noise_sd: np.ndarray

    def match(
        self, fields: PyTree, smoothed: Sequence[Smoothed], scale: np.ndarray, p: Penalties
    ) -> PyTree:
        """Fields that follow the slopes of the smooth."""
        plan, objective = self.plan, gradient_matching(self.task.members)
        batch = slopes(self.task, smoothed, scale, p)
        rule = _rule(plan.matching_rate, plan.matching_steps)
        steps = plan.matching_steps
        return self._fit("gradient matching", fields, objective, batch, SLOPE_AXES, rule, steps)

    def shoot(self, models: TrajectoryModel, p: Penalties, whole_only: bool = False) -> None:
        """Windows that grow, then whole series; the grid as fine as the first windows need."""
        task, plan, solves, out = self.task, self.plan, self.solves, self.out
        longest = max(s.stop - s.start for s in task.problem.spans)
        lengths = [] if whole_only else _window_lengths(longest)
        weight = precision(task.train, self.noise_sd)
        self._keep_best(models)
        objective = shooting(task.members, plan.tableau)
        for length in [*lengths, None]:
            whole = length is None
            if not whole and length > lengths[0] and self._at_the_noise():
                out.notes.append(f"windows of {length} skipped: one solve already meets the noise")
                continue
            reset = padded(windows(task.problem, length or longest, task.closed), solves.size.nodes)
            self._refine(models, reset)
            grid = solves.grid(out.refine)
            batch = segments(task, weight, grid, reset, p, plan)
            steps = self._steps(grid.begins.size)
            name = "whole series" if whole else f"windows of {length}"
            rule = _rule(plan.shooting_rate, steps)
            models = self._fit(name, models, objective, batch, SEGMENT_AXES, rule, steps)
            self._keep_best(models)

    def _steps(self, cost: int) -> int:
        """Every optimiser step costs the whole grid; a longer one also teaches more."""
        shorter = max(0.25, min(1.0, _FULL_STEPS / cost))
        return max(1, round(shorter * self.plan.shooting_steps))

    def _at_the_noise(self) -> bool:
        """Whether one solve of every member misses its points by no more than their noise."""
        out, task = self.out, self.task
        assert out.models is not None
        path = self.solves(out.models, out.refine)
        ratio = (np.where(task.train, path - task.values, 0.0) / self.noise_sd) ** 2
        ratio = ratio.sum((1, 2)) / task.train.sum((1, 2))
        return bool((ratio < _AT_THE_NOISE).all())  # False for NaN

    def _refine(self, models: TrajectoryModel, reset: np.ndarray) -> None:
        refine = self.solves.fine_enough(models, self.out.refine, reset)
        if refine != self.out.refine:
            self.out.refine = refine
            self._note_event(f"grid refined to {refine} steps where there was 1")

    def _keep_best(self, models: TrajectoryModel) -> None:
        """Per member: whichever stage's end has the smallest error of one solve, judged half by
        the points it saw and half by those it did not.

        Unseen points alone are honest but few; a path that slips misses the seen ones as well.
        """
        out, task = self.out, self.task
        path = self.solves(models, out.refine)
        points = (task.held_out, task.train)
        weights = [precision(p, self.noise_sd) for p in points]
        errors = sum(self.solves.judged(path, w) for w in weights) / 2
        better = errors < out.errors
        out.models = models if out.models is None else _choose(better, models, out.models)
        out.errors = np.where(better, errors, out.errors)

    def _fit(self, stage: str, model, objective, batch, axes, rule, steps: int) -> Any:
        plan, out = self.plan, self.out
        started = clock.perf_counter()
        result: Fit = fit(
            model, objective, cast(batch, plan.dtype), key=_key(plan.seed),
            members=self.task.members, member_axes=axes, every=max(1, steps // 10),
            stage=plan.stage(stage), rule=rule, steps=steps,
            checkpoint=self._folder(), log=plan.log, progress=plan.progress,
        )  # fmt: skip
        if result.status.kind == "interrupted":
            raise KeyboardInterrupt  # without checkpoints there is nothing to go on from
        out.fits.append(result)
        out.history.extend(result.history)
        out.seconds[plan.stage(stage)] = clock.perf_counter() - started
        if not result.status.ok:
            out.notes.append(f"{stage}: {result.status}")
        return result.model

    def _folder(self) -> Path | None:
        name = f"{self.plan.run or 'everything'}-{len(self.out.fits)}".replace(" ", "-")
        return self.plan.checkpoint / name if self.plan.checkpoint else None

    def _note_event(self, event: str) -> None:
        """An event between stages, in the history and once in its file, also after a resume."""
        plan, folder = self.plan, self._folder()
        entry = dict.fromkeys(_HISTORY) | {"step": 0, "stage": plan.stage("grid"), "event": event}
        self.out.history.append(entry)
        if plan.log is not None and not (folder is not None and folder.exists()):
            plan.log.parent.mkdir(parents=True, exist_ok=True)
            with plan.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


def _key(seed: int) -> jax.Array:
    """`jax.random.key(seed)` for seeds of 32 bits, without a program of its own."""
    bits: Any = np.array([0, seed % 2**32], np.uint32)
    return jax.random.wrap_key_data(bits, impl="threefry2x32")


def _window_lengths(longest: int) -> list[int]:
    """Windows that grow threefold, the last well short of the whole series."""
    lengths, length = [], max(4, longest // 32)
    while length < 0.7 * longest:
        lengths.append(length)
        length *= 3
    return lengths


def _choose(take: np.ndarray, new: PyTree, old: PyTree) -> PyTree:
    def leaf(a, b):
        return np.where(take.reshape(-1, *[1] * (a.ndim - 1)), np.asarray(a), np.asarray(b))

    return jax.tree.map(lambda a, b: leaf(a, b) if eqx.is_array_like(a) else a, new, old)


def _stack(fields: Sequence[PyTree]) -> PyTree:
    def leaf(*parts):
        return np.stack([np.asarray(x) for x in parts]) if eqx.is_array_like(parts[0]) else parts[0]

    return jax.tree.map(leaf, *fields)
