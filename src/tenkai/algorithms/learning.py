"""Learning the parameters of the layers: one program for every depth, batches drawn inside."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..fit.program import Frozen
from ..objectives import Aux, Objective
from ..unfold import Memory
from .iteration import Iteration, run


class Learner(NamedTuple):
    """What `fit` moves: the parameters, and how many steps were taken (which tells the depth)."""

    parameters: PyTree
    count: Any  # () int32


class Rows(eqx.Module):
    """A finite data set as a sampler: one row, drawn with replacement."""

    inputs: PyTree
    targets: PyTree

    def __call__(self, key: Any) -> tuple[PyTree, PyTree]:
        n = jax.tree.leaves(self.inputs)[0].shape[0]
        row = jax.random.randint(key, (), 0, n)
        return jax.tree.map(lambda a: a[row], (self.inputs, self.targets))


@dataclass(frozen=True)
class Lesson:
    """How the layers are taught: by which loss, on how many samples, at which depth."""

    layers: int
    batch: int
    loss: Callable[[Any, Any], Any]
    on: str  # "last" layer or "all" of them
    stage: int | None  # steps of each stage where training is incremental
    memory: Memory


@functools.cache
def objective(static: Frozen, lesson: Lesson) -> Objective:
    """``mean loss(estimate, target)`` over a fresh batch, after the active layers or over all."""

    def value(model: Learner, arrays: PyTree, key: Any) -> tuple[Any, Aux]:
        iteration, sampler = eqx.combine(arrays, static.thaw())
        inputs, targets = jax.vmap(sampler)(jax.random.split(key, lesson.batch))
        active = depth(lesson, model.count)
        whole = lesson.on == "all"
        out = run(
            iteration, model.parameters, inputs, lesson.layers,
            active=active, keep=whole, memory=lesson.memory,
        )  # fmt: skip
        aux = Aux(state=Learner(jax.tree.map(lambda _: None, model.parameters), model.count + 1))
        if not whole:
            return jnp.mean(jax.vmap(lesson.loss)(out, targets)), aux
        each = jax.vmap(lambda o: jnp.mean(jax.vmap(lesson.loss)(o, targets)))
        losses = each(jax.tree.map(lambda o: o[1:], out))
        if active is None:
            return jnp.mean(losses), aux
        return jnp.sum(jnp.where(jnp.arange(lesson.layers) < active, losses, 0)) / active, aux

    return value


def depth(lesson: Lesson, count: Any) -> Any:
    """How many layers the step after `count` others trains; None where all are trained always."""
    if lesson.stage is None:
        return None
    return jnp.minimum(1 + count // lesson.stage, lesson.layers)


def parts(iteration: Iteration, sampler: Callable) -> tuple[PyTree, Frozen]:
    """The arrays of an iteration and its sampler, and all the rest, made hashable."""
    arrays, static = eqx.partition((iteration, sampler), eqx.is_array)
    return arrays, Frozen.of(static)
