"""The compiled half of training: n optimiser steps in one program, for one model or many.

Everything that decides the program is a `Plan`, which is hashable; arrays are arguments. So two
fits with the same objective, rule and shapes share one compiled program, whatever their data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from .. import optim
from ..devices import AXIS
from ..objectives import Aux, Objective


@dataclass(frozen=True)
class Frozen:
    """A PyTree without arrays, made hashable."""

    tree: Any
    leaves: tuple[Any, ...]

    @classmethod
    def of(cls, tree: PyTree) -> Frozen:
        leaves, structure = jax.tree.flatten(tree)
        return cls(structure, tuple(leaves))

    def thaw(self) -> PyTree:
        return jax.tree.unflatten(self.tree, self.leaves)


@dataclass(frozen=True)
class Plan:
    """What one compiled program depends on, beside the shapes of its arguments."""

    objective: Objective
    rule: optax.GradientTransformation
    layout: optim.Layout  # which arrays are trained, and which are tied
    static: Frozen  # the model without its arrays
    data: Any  # tree structure of the data
    axes: tuple[int | None, ...]  # per leaf of the data: 0 a member's own, None shared
    every: int
    members: bool
    batch: int | None  # rows drawn per step; None: all
    stream: bool  # the data's leading axis counts steps
    impl: str  # of the random numbers
    mesh: Mesh | None = None
    split: str | None = None  # "members" or "batch", over the mesh


class Tally(NamedTuple):
    """Sums over the steps of one interval; `ok` is whether its last step was finite."""

    loss: Any
    good: Any
    bad: Any
    ok: Any
    nfe_forward: Any
    nfe_backward: Any


class Walker(NamedTuple):
    """One member in training: its arrays, optimiser state, key, rate factor and tally."""

    model: PyTree
    opt: optim.State
    key: Any
    rate: Any
    tally: Tally


class Carry(NamedTuple):
    """What the compiled loop moves; any carry is a place to resume from."""

    step: Any
    walker: Walker


def member_key(key: jax.Array, member: Any) -> jax.Array:
    """The key of one member: ``fit(..., key=member_key(key, i))`` trains member i alone."""
    return jax.random.fold_in(key, member)


@partial(jax.jit, static_argnums=(0, 3))
def begin(
    plan: Plan, model: PyTree, key: Any, count: int | None, start: optim.State | None
) -> Carry:
    """The carry at step 0; one program, because eager set-up compiles dozens of tiny ones.

    `start`: a state to begin with instead of a new one of the rule.
    """
    model = jax.tree.map(_strong, model)
    key = jax.random.wrap_key_data(key, impl=plan.impl)

    def one(model: PyTree, key: jax.Array, start: optim.State | None) -> Walker:
        real = jnp.zeros(())
        tally = Tally(real, jnp.int32(0), jnp.int32(0), jnp.array(False), real, real)
        opt = start or optim.plain(plan.rule, plan.layout, model)
        return Walker(model, opt, jax.random.key_data(key), jnp.ones(()), tally)

    if count is None:
        return Carry(jnp.int32(0), one(model, key, start))
    keys = jax.vmap(member_key, in_axes=(None, 0))(key, jnp.arange(count))
    return Carry(jnp.int32(0), jax.vmap(one)(model, keys, start))


def _strong(x: jax.Array) -> jax.Array:
    """In a strong type: a weakly typed leaf changes its type in the loop, which compiles twice."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return x
    return lax.convert_element_type(x, x.dtype)


@partial(jax.jit, static_argnums=0)
def advance(plan: Plan, carry: Carry, leaves: tuple, n: Any) -> Carry:
    """Take n steps. The bound is an argument: one program for any length of chunk."""
    run = partial(_advance, plan)
    if plan.mesh is not None:
        mapped = P(AXIS) if plan.split == "members" else P()
        carried = Carry(P(), mapped)  # type: ignore[arg-type]
        specs = (carried, tuple(leaf_specs(plan)), P())
        # Nothing inside depends on replication: the one collective is outside of the gradient.
        run = jax.shard_map(run, mesh=plan.mesh, in_specs=specs, out_specs=carried, check_vma=False)
    return run(carry, leaves, n)


def leaf_specs(plan: Plan) -> list[P]:
    """How each leaf of the data lies on the mesh; rows that are drawn lie on every device."""
    whole = plan.split == "batch" and plan.batch is None
    step = (None,) if plan.stream else ()
    return [
        P(*step, AXIS) if whole or (plan.split == "members" and axis == 0) else P()
        for axis in plan.axes
    ]


def _advance(plan: Plan, carry: Carry, leaves: tuple, n: Any) -> Carry:
    new_interval = carry.step % plan.every == 0
    tally = jax.tree.map(
        lambda x: jnp.where(new_interval, jnp.zeros_like(x), x), carry.walker.tally
    )
    one = partial(_step, plan)
    if plan.members:
        one = jax.vmap(one, in_axes=(0, None, plan.axes))

    def body(i: Any, carry: Carry) -> Carry:
        now = tuple(x[i] for x in leaves) if plan.stream else leaves
        return Carry(carry.step + 1, one(carry.walker, carry.step, now))

    carry = lax.fori_loop(0, n, body, Carry(carry.step, carry.walker._replace(tally=tally)))
    sound = jax.vmap(_finite) if plan.members else _finite
    tally = carry.walker.tally
    tally = tally._replace(ok=tally.ok & sound(carry.walker.model))
    return Carry(carry.step, carry.walker._replace(tally=tally))


def _finite(model: PyTree) -> Any:
    leaves = [
        jnp.isfinite(x).all() for x in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    ]
    return jnp.stack(leaves).all()


def _step(plan: Plan, walker: Walker, step: Any, leaves: tuple) -> Walker:
    """One optimiser step of one member; a step that is not finite changes nothing but the tally."""
    key = jax.random.fold_in(jax.random.wrap_key_data(walker.key, impl=plan.impl), step)
    draw, noise = jax.random.split(key)
    batch = jax.tree.unflatten(plan.data, _draw(plan, leaves, draw))
    layout = plan.layout

    def value_at(model: PyTree) -> tuple[Any, Aux]:
        model = eqx.combine(model, plan.static.thaw())
        value, aux = plan.objective(model, batch, _own(plan, noise))
        return value, _plain(aux)

    def value_of(trained: PyTree) -> tuple[Any, Aux]:
        return value_at(layout.put(walker.model, jax.tree.leaves(trained)))

    trained = layout.tree(layout.take(walker.model))
    (value, aux), grads = jax.value_and_grad(value_of, has_aux=True)(trained)
    extra: dict[str, Any] = {}
    if plan.split == "batch":
        value, aux, grads = _pool(value, aux, grads)
    else:  # line searches evaluate the objective themselves, which a slice of the batch cannot
        extra = {"value_fn": lambda model: value_at(model)[0]}
    opt, model = optim.update(
        walker.opt, walker.model, grads, rate=walker.rate, value=value, **extra
    )
    ok = jnp.isfinite(value) & jnp.isfinite(_size(grads))
    if aux.state is not None:  # None would stand for the whole tree
        model = eqx.combine(aux.state, model)
    model, opt = _where(ok, (model, opt), (walker.model, walker.opt))
    return walker._replace(model=model, opt=opt, tally=_count(walker.tally, ok, value, aux))


def _size(grads: PyTree) -> Any:
    """Sum of absolute values: finite where all are, and unlike a norm it squares nothing."""
    return sum(jnp.sum(jnp.abs(g)) for g in jax.tree.leaves(grads))


def _where(ok: Any, new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(ok, a, b).astype(b.dtype), new, old)


def _count(tally: Tally, ok: Any, value: Any, aux: Aux) -> Tally:
    def add(total: Any, x: Any) -> Any:
        return total + jnp.where(ok, x, 0).astype(total.dtype)

    return Tally(
        loss=add(tally.loss, value),
        good=tally.good + ok,
        bad=tally.bad + ~ok,
        ok=ok,
        nfe_forward=add(tally.nfe_forward, aux.nfe_forward),
        nfe_backward=add(tally.nfe_backward, aux.nfe_backward),
    )


def _draw(plan: Plan, leaves: tuple, key: jax.Array) -> tuple:
    if plan.batch is None:
        return leaves
    rows = jax.random.randint(key, (plan.batch,), 0, leaves[0].shape[0])
    if plan.split == "batch":  # every device draws the same rows and takes its part of them
        assert plan.mesh is not None
        part = plan.batch // plan.mesh.size
        rows = lax.dynamic_slice_in_dim(rows, lax.axis_index(AXIS) * part, part)
    return tuple(x[rows] for x in leaves)


def _own(plan: Plan, key: jax.Array) -> jax.Array:
    """Devices that share one step need different noise."""
    return jax.random.fold_in(key, lax.axis_index(AXIS)) if plan.split == "batch" else key


def _plain(aux: Aux) -> Aux:
    """Counts and weight as floating-point arrays, so that they can be averaged."""
    real = partial(jnp.asarray, dtype=float)
    return Aux(real(aux.weight), aux.state, real(aux.nfe_forward), real(aux.nfe_backward))


def _pool(value: Any, aux: Aux, grads: PyTree) -> tuple[Any, Aux, PyTree]:
    """Means over the devices weighted by ``aux.weight``, in one vector: collectives cost per leaf.

    A device whose part of the batch weighs nothing may report 0/0; it does not count.
    """
    state, rest = eqx.partition(aux.state, eqx.is_inexact_array)
    flat, unravel = ravel_pytree((value, state, aux.nfe_forward, aux.nfe_backward, grads))
    weight = aux.weight.astype(flat.dtype)
    total = lax.psum(jnp.append(jnp.where(weight > 0, weight * flat, 0), weight), AXIS)
    value, state, forward, backward, grads = unravel(total[:-1] / total[-1])
    return value, Aux(total[-1], eqx.combine(state, rest), forward, backward), grads


@partial(jax.jit, static_argnums=0)
def evaluate(plan: Plan, model: PyTree, key: Any, leaves: tuple) -> Any:
    """The objective of `plan` once per member, always with the same noise."""

    def one(model: PyTree, key: Any, leaves: tuple) -> Any:
        noise = jax.random.fold_in(jax.random.wrap_key_data(key, impl=plan.impl), 2**31 - 1)
        data = jax.tree.unflatten(plan.data, leaves)
        return plan.objective(eqx.combine(model, plan.static.thaw()), data, noise)[0]

    run: Callable = jax.vmap(one, in_axes=(0, 0, plan.axes)) if plan.members else one
    if plan.mesh is not None:
        specs = (P(AXIS), P(AXIS), tuple(leaf_specs(plan)))
        run = jax.shard_map(run, mesh=plan.mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False)
    return run(model, key, leaves)
