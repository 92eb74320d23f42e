"""Learning the parameters of the layers: one program for every depth, batches drawn inside."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from ..errors import InputError
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
    frozen = Frozen.of(static)
    try:
        hash(frozen)
    except TypeError as error:
        raise InputError(
            "step, init, read or sampler", expected="functions, or modules with hashable fields",
            got=str(error), do="hold lists as tuples and arrays in fields of an Equinox module",
        ) from error  # fmt: skip
    return arrays, frozen


_SHARE = 3e-3  # of a parameter's size, the rate: larger ones lose what good first values give


@functools.cache
def default_rule(steps: int) -> optax.GradientTransformation:
    """Adam at 0.3 % of the size of each parameter's first values, a cosine over each stage."""

    def rate(count: Any) -> Any:
        return -_SHARE * (1 + jnp.cos(jnp.pi * (count % steps) / steps)) / 2

    by_size = optax.GradientTransformation(_sizes, _scaled)  # type: ignore[arg-type]
    return optax.chain(optax.scale_by_adam(), by_size, optax.scale_by_schedule(rate))


def _sizes(params: PyTree) -> PyTree:
    """The root mean square of each parameter, a third where it is zero."""
    rms = jax.tree.map(lambda v: jnp.sqrt(jnp.mean(jnp.abs(v) ** 2)), params)
    return jax.tree.map(lambda r: jnp.where(r > 0, r, 1 / 3), rms)


def _scaled(updates: PyTree, sizes: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
    return jax.tree.map(lambda u, r: (r * u).astype(u.dtype), updates, sizes), sizes


@functools.cache
def by_name(rules: tuple[tuple[str, Any], ...]) -> optax.GradientTransformation:
    """One rule out of those of the parameters; the same object for the same rules."""

    def labels(learner: Learner) -> Learner:
        return learner._replace(parameters={name: name for name in learner.parameters})

    kept = {name: optax.set_to_zero() if rule is None else rule for name, rule in rules}
    return optax.multi_transform(kept, labels)  # type: ignore[arg-type]
