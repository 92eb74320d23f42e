"""Brings a model, its data and the devices together into calls of the compiled programs."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from .. import devices, optim
from ..errors import InputError
from ..objectives import Objective
from .batches import Stream, is_array, is_stream, leaves_of
from .program import Carry, Frozen, Plan, advance, begin, evaluate, leaf_specs

_ROWS_PER_DEVICE = 100  # below, splitting a batch costs more than it saves


@functools.cache
def default_rule() -> optax.GradientTransformation:
    """Adam at 1e-3; one object, so that all fits share compiled programs."""
    return optax.inject_hyperparams(optax.adam)(1e-3)


@dataclass(frozen=True)
class Task:
    """What is asked of one fit: the arguments that decide its result."""

    model: PyTree
    objective: Objective
    data: Any
    rule: optax.GradientTransformation | optim.State
    steps: int
    key: jax.Array
    members: int | None
    member_axes: Any
    batch: int | None
    validation: Any
    validate: Objective
    patience: int | None
    every: int
    stage: str
    snapshot_every: int | None


class Trainer:
    """The compiled programs of one fit with their fixed arguments, laid out on the devices.

    `notes` say which arrays are tied, and why the fit does not use the devices there are.
    """

    def __init__(self, task: Task):
        self.task = task
        self.members = task.members
        self.stream = Stream(task.data) if is_stream(task.data) else None
        self.stacked = self.stream.stack_length(task.every) if self.stream else None
        self.arrays, self._static = eqx.partition(task.model, is_array)
        self.key = jax.random.key_data(task.key)
        self.start, rule, layout = self._optimiser()
        self.notes = [f"one array: {names}" for names in layout.ties]
        self._check_model()
        first = self.stream.batch(0) if self.stream else task.data
        self.leaves, structure, axes = leaves_of(first, task.member_axes)
        self._check_members(self.leaves, axes)
        plan = Plan(
            objective=task.objective,
            rule=rule,
            layout=layout,
            static=Frozen.of(self._static),
            data=structure,
            axes=axes,
            every=task.every,
            members=task.members is not None,
            batch=self._rows_drawn(axes),
            stream=self.stream is not None,
            impl=str(jax.random.key_impl(task.key)),
        )
        _check_hashable(plan)
        self._place(self._split(plan))

    def _optimiser(self) -> tuple[optim.State | None, optax.GradientTransformation, optim.Layout]:
        """The state to begin with, if one was given; the rule; what is trained."""
        given = self.task.rule
        if not isinstance(given, optim.State):
            return None, given, optim.Layout.of(self.arrays)
        layout = given.layout.onto(self.arrays)
        return dataclasses.replace(given, layout=layout), given.rule, layout

    def _check_model(self) -> None:
        leaves = jax.tree.leaves((self.arrays, self.start))
        if self.members is not None and any(x.shape[:1] != (self.members,) for x in leaves):
            raise InputError(
                "model",
                expected=f"a leading axis of {self.members} members on every array",
                got=f"shapes {sorted({x.shape for x in leaves})}",
                do="build it with eqx.filter_vmap over the keys of its members",
            )

    def _check_members(self, leaves: tuple, axes: tuple[int | None, ...]) -> None:
        own = [x for x, axis in zip(leaves, axes, strict=True) if axis == 0]
        if self.members is not None and any(x.shape[:1] != (self.members,) for x in own):
            raise InputError(
                "data",
                expected=f"a leading axis of {self.members} members, by member_axes",
                got=f"shapes {sorted({x.shape for x in own})}",
                do="pass member_axes=None for data that all members share",
            )

    def _rows_drawn(self, axes: tuple[int | None, ...]) -> int | None:
        batch = self.task.batch
        if batch is None:
            return None
        if self.stream is not None or batch < 1:
            raise InputError(
                "batch",
                expected="a positive number of rows to draw from arrays",
                got=f"{batch}" + (" with batches that arrive one by one" if self.stream else ""),
                do="leave batch away, or pass arrays as data",
            )
        own = [int(self.members is not None and axis == 0) for axis in axes]
        rows = {np.shape(x)[axis : axis + 1] for x, axis in zip(self.leaves, own, strict=True)}
        if len(rows) != 1 or () in rows:
            raise InputError(
                "data",
                expected="the same number of rows in every array, to draw a batch from",
                got=f"{[x[0] if x else None for x in sorted(rows)]}",
                do="leave batch away, or give every array the same rows",
            )
        return batch if batch < rows.pop()[0] else None

    def _split(self, plan: Plan) -> Plan:
        """Members first, they need no collectives; else a batch of enough rows.

        Without `batch` nothing says that the first axis of the data counts rows.
        """
        count = devices.device_count()
        if count < 2 or self.members == 1:
            return plan
        split = functools.partial(dataclasses.replace, plan, mesh=devices.mesh())
        if self.members is not None:
            return split(split="members")
        rows = plan.batch or (self.leaves[0].shape[0] if self.task.batch is not None else 0)
        if rows % count == 0 and rows >= _ROWS_PER_DEVICE * count:
            return split(split="batch")
        return plan

    def _place(self, plan: Plan) -> None:
        """Put the data where the plan wants them, once."""
        self.plan = plan
        self.count = self.members
        if plan.split == "members":
            assert plan.mesh is not None and self.members is not None
            self.count = -(-self.members // plan.mesh.size) * plan.mesh.size
        if self.stream is None:
            self._placed = self._put(plan, self.leaves)
        if self.task.validation is not None:
            self._place_validation()

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
        """The carry of step 0.

        What cannot be split (adaptive solvers, line searches) fails while it is traced: so a
        split program is built first, by taking no step, and one device does it instead.
        """
        if self.plan.mesh is not None:
            try:
                return self.advance(self._begin(), 0, 0)
            except InputError:
                raise
            except Exception as error:
                why = f"split over devices it fails ({type(error).__name__})"
                self.notes.append(f"on one device: {why}")
                self._place(dataclasses.replace(self.plan, mesh=None, split=None))
        return self._begin()

    def _begin(self) -> Carry:
        given = (self.arrays, self.start)
        if self.count != self.members:
            given = jax.tree.map(self.pad, given)
        arrays, start = jax.device_put(given)
        carry = begin(self.plan, arrays, self.key, self.count, start)
        return self.place_carry(carry) if self.plan.mesh is not None else carry

    def advance(self, carry: Carry, step: int, n: int) -> Carry:
        """Take n steps from `step` and wait: two executions with collectives must never overlap."""
        leaves = self._batches(step, n) if self.stream is not None else self._placed
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

    def _place_validation(self) -> None:
        leaves, structure, axes = leaves_of(self.task.validation, self.task.member_axes)
        self._check_members(leaves, axes)
        by_member = self.plan.split == "members"
        self._check = dataclasses.replace(
            self.plan,
            objective=self.task.validate,
            rule=default_rule(),
            data=structure,
            axes=axes,
            every=1,
            batch=None,
            stream=False,
            mesh=self.plan.mesh if by_member else None,
            split="members" if by_member else None,
        )
        self._check_leaves = self._put(self._check, leaves)

    def validate(self, carry: Carry) -> np.ndarray:
        """The validation value of every member, shape (members,) or (1,)."""
        model, key = carry.walker.model, carry.walker.key
        if self.plan.split == "batch":  # once, instead of the same on every device
            here = SingleDeviceSharding(jax.devices()[0])
            model, key = jax.device_put((model, key), here)
        return np.atleast_1d(evaluate(self._check, model, key, self._check_leaves))

    def model(self, arrays: PyTree) -> PyTree:
        """The whole model, without padding, off the mesh."""
        if self.plan.mesh is not None:
            arrays = jax.tree.map(lambda x: np.asarray(x)[: self.members], arrays)
        return eqx.combine(jax.device_put(arrays), self._static)


def _check_hashable(plan: Plan) -> None:
    try:
        hash(plan)
    except TypeError as error:
        raise InputError(
            "objective, rule or model",
            expected="hashable parts beside the model's arrays",
            got=str(error),
            do="pass functions, and put the objective's arrays into the data",
        ) from error
