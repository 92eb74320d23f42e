"""Brings a model, its data and the devices together into calls of the compiled programs."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from .. import devices
from ..errors import InputError
from ..objectives import Objective
from .batches import Stream, is_array, is_stream, leaves_of
from .program import Carry, Frozen, Plan, advance, begin, evaluate, leaf_specs

_ROWS_PER_DEVICE = 100  # below, splitting a batch costs more than it saves


@functools.cache
def default_rule() -> optax.GradientTransformation:
    """Adam at 1e-3; one object, so that all fits share compiled programs."""
    return optax.inject_hyperparams(optax.adam)(1e-3)


class Trainer:
    """The compiled programs of one fit with their fixed arguments."""

    def __init__(
        self,
        model: PyTree,
        objective: Objective,
        data: Any,
        rule: optax.GradientTransformation,
        key: jax.Array,
        *,
        members: int | None,
        member_axes: Any,
        batch: int | None,
        validation: Any,
        validate: Objective | None,
        every: int,
    ):
        self.members = members
        self.stream = Stream(data) if is_stream(data) else None
        self.stacked = self.stream.stack_length(every) if self.stream else None
        self.arrays, self.static = eqx.partition(model, is_array)
        self.key = jax.random.key_data(key)
        first = self.stream.batch(0) if self.stream else data
        self._check_model()
        leaves, structure, axes = leaves_of(first, member_axes)
        self.leaves = leaves
        self._axes = member_axes
        plan = Plan(
            objective=objective,
            rule=rule,
            static=Frozen.of(self.static),
            data=structure,
            axes=axes,
            every=every,
            members=members is not None,
            batch=self._rows_drawn(batch, leaves, axes),
            stream=self.stream is not None,
            impl=str(jax.random.key_impl(key)),
        )
        self._check_hashable(plan)
        self._place(_split(plan, leaves, members, batch))
        self.check = None
        if validation is not None:
            self._prepare_validation(validation, validate or objective)

    def _check_model(self) -> None:
        trained = jax.tree.leaves(eqx.filter(self.arrays, _is_inexact))
        if not trained:
            raise InputError(
                "model",
                expected="at least one array of floating-point numbers to train",
                got="none",
                do="pass a model with parameters",
            )
        leaves = jax.tree.leaves(self.arrays)
        if self.members is not None and any(x.shape[:1] != (self.members,) for x in leaves):
            raise InputError(
                "model",
                expected=f"a leading axis of {self.members} members on every array",
                got=f"shapes {sorted({x.shape for x in leaves})}",
                do="build it with eqx.filter_vmap over the keys of its members",
            )

    def _check_hashable(self, plan: Plan) -> None:
        try:
            hash(plan)
        except TypeError as error:
            raise InputError(
                "objective, rule or model",
                expected="hashable parts beside the model's arrays",
                got=str(error),
                do="pass functions, and put the objective's arrays into the data",
            ) from error

    def _rows_drawn(self, batch: int | None, leaves: tuple, axes: tuple) -> int | None:
        if batch is None:
            return None
        if self.stream is not None or batch < 1:
            raise InputError(
                "batch",
                expected="a positive number of rows to draw from arrays",
                got=f"{batch}" + (" with batches that arrive one by one" if self.stream else ""),
                do="leave batch away, or pass arrays as data",
            )
        rows = {x.shape[_row_axis(self.members, a)] for x, a in zip(leaves, axes, strict=True)}
        if len(rows) != 1:
            raise InputError(
                "data",
                expected="the same number of rows in every array, to draw a batch from",
                got=f"{sorted(rows)}",
                do="leave batch away, or give every array the same rows",
            )
        return batch if batch < rows.pop() else None

    def _place(self, plan: Plan) -> None:
        """Put the data where the plan wants it, once."""
        self.plan = plan
        self.count = self.members
        if plan.split == "members":
            assert plan.mesh is not None and self.members is not None
            self.count = -(-self.members // plan.mesh.size) * plan.mesh.size
        if self.stream is None:
            self.placed = self._put(plan, self.leaves)

    def _put(self, plan: Plan, leaves: tuple) -> tuple:
        """Pad the members' own data to the number of trained members, and lay it on the devices."""
        if self.count != self.members:
            leaves = tuple(
                self.pad(x, int(plan.stream)) if axis == 0 else x
                for x, axis in zip(leaves, plan.axes, strict=True)
            )
        if plan.mesh is None:
            return tuple(jax.device_put(leaves))
        shardings = [NamedSharding(plan.mesh, spec) for spec in leaf_specs(plan)]
        return tuple(jax.device_put(x, s) for x, s in zip(leaves, shardings, strict=True))

    def pad(self, x: Any, axis: int = 0) -> Any:
        """Copies of the first members fill the last device; they are trained and dropped."""
        assert self.count is not None and self.members is not None
        return np.take(np.asarray(x), np.arange(self.count) % self.members, axis=axis)

    def place(self, walker: PyTree) -> PyTree:
        """Lay per-member arrays on the devices."""
        if self.plan.mesh is None:
            return jax.device_put(walker)
        spec = P(devices.AXIS) if self.plan.split == "members" else P()
        return jax.device_put(walker, NamedSharding(self.plan.mesh, spec))

    def place_carry(self, carry: Carry) -> Carry:
        """Lay a carry on the devices: the step everywhere, the members where they train."""
        step = carry.step
        if self.plan.mesh is not None:
            step = jax.device_put(step, NamedSharding(self.plan.mesh, P()))
        return Carry(step, self.place(carry.walker))

    def begin(self) -> Carry:
        """The carry of step 0."""
        arrays = jax.tree.map(self.pad, self.arrays) if self.count != self.members else self.arrays
        carry = begin(self.plan, jax.device_put(arrays), self.key, self.count)
        return self.place_carry(carry) if self.plan.mesh is not None else carry

    def compile(self) -> Carry:
        """Begin, and build the program by taking no step.

        What cannot be split (adaptive solvers, line searches) fails while it is traced, and runs
        on one device instead.
        """
        if self.plan.mesh is not None:
            try:
                return self._compiled()
            except InputError:
                raise
            except Exception:
                self._place(dataclasses.replace(self.plan, mesh=None, split=None))
                if self.check is not None:
                    self._prepare_validation(*self.check_arguments)
        return self._compiled()

    def _compiled(self) -> Carry:
        carry = self.begin()
        return self.advance(carry, 0, 0)

    def advance(self, carry: Carry, step: int, n: int) -> Carry:
        """Take n steps from `step` and wait: two executions with collectives must never overlap."""
        leaves = self._batches(step, n) if self.stream is not None else self.placed
        return jax.block_until_ready(advance(self.plan, carry, leaves, np.int32(n)))

    def _batches(self, step: int, n: int) -> tuple:
        assert self.stream is not None and self.stacked is not None
        stack = self.stream.stack(step, max(n, 1), self.stacked)
        leaves, structure = jax.tree.flatten(stack)
        if structure != self.plan.data:
            raise InputError(
                f"batch of step {step}",
                expected=f"the structure of the first one, {self.plan.data}",
                got=str(structure),
                do="deliver batches of one structure and one shape",
            )
        return self._put(self.plan, tuple(leaves))

    def _prepare_validation(self, validation: Any, validate: Objective) -> None:
        self.check_arguments = (validation, validate)
        leaves, structure, axes = leaves_of(validation, self._axes)
        split = self.plan.split if self.plan.split == "members" else None
        self.check = dataclasses.replace(
            self.plan,
            objective=validate,
            rule=default_rule(),
            data=structure,
            axes=axes,
            every=1,
            batch=None,
            stream=False,
            mesh=self.plan.mesh if split else None,
            split=split,
        )
        self.check_leaves = self._put(self.check, leaves)

    def validate(self, carry: Carry) -> np.ndarray:
        """The validation value of every member, shape () or (members,)."""
        assert self.check is not None
        model, key = carry.walker.model, carry.walker.key
        if self.plan.split == "batch":  # once, on one device, instead of the same on every device
            here = SingleDeviceSharding(jax.devices()[0])
            model, key = jax.device_put((model, key), here)
        return np.asarray(evaluate(self.check, model, key, self.check_leaves))

    def model(self, arrays: PyTree) -> PyTree:
        """The whole model, without padding, off the mesh."""
        if self.plan.mesh is not None:
            arrays = jax.tree.map(lambda x: np.asarray(x)[: self.members], arrays)
        return eqx.combine(jax.device_put(arrays), self.static)


def _is_inexact(x: Any) -> bool:
    return is_array(x) and jnp.issubdtype(x.dtype, jnp.inexact)


def _row_axis(members: int | None, axis: int | None) -> int:
    return 1 if members is not None and axis == 0 else 0


def _split(plan: Plan, leaves: tuple, members: int | None, batch: int | None) -> Plan:
    """Members first, they need no collectives; else a batch of enough rows; else one device."""
    count = devices.device_count()
    if count < 2:
        return plan
    mesh = devices.mesh()
    if members is not None:
        return dataclasses.replace(plan, mesh=mesh, split="members") if members > 1 else plan
    rows = plan.batch or (leaves[0].shape[0] if batch is not None else 0)
    if rows % count == 0 and rows >= _ROWS_PER_DEVICE * count:
        return dataclasses.replace(plan, mesh=mesh, split="batch")
    return plan
