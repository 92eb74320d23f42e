"""What the loop trains on: arrays that lie on the device, or batches that arrive step by step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ..errors import InputError

_STACK_BYTES = 2**25  # memory for batches that wait for their step
_STACK_STEPS = 64


def is_array(x: Any) -> bool:
    """NumPy arrays count too: models that were loaded or pickled hold them."""
    return isinstance(x, jax.Array | np.ndarray | np.generic)


def leaves_of(data: PyTree, member_axes: Any) -> tuple[tuple, Any, tuple[int | None, ...]]:
    """Leaves as arrays with a member's own axis in front, their structure, per leaf 0 or None."""
    leaves, structure = jax.tree.flatten(data)
    axes: list[int | None] = []
    try:
        jax.tree.map(
            lambda axis, part: axes.extend([axis] * len(jax.tree.leaves(part))),
            member_axes,
            data,
            is_leaf=lambda x: x is None,
        )
    except ValueError as error:
        raise InputError(
            "member_axes",
            expected="a prefix of the data's tree, as for jax.vmap's in_axes",
            got=repr(member_axes),
            do="pass 0 (every member has its own data), None (shared), or one of both per leaf",
        ) from error
    arrays = [x if isinstance(x, jax.Array) else np.asarray(x) for x in leaves]
    if any(x.dtype == object for x in arrays):
        raise InputError(
            "data", expected="a PyTree of arrays", got=str(structure), do="convert it to arrays"
        )
    moved = [
        np.moveaxis(np.asarray(x), axis, 0) if axis else x
        for x, axis in zip(arrays, axes, strict=True)
    ]
    return tuple(moved), structure, tuple(None if axis is None else 0 for axis in axes)


def is_stream(data: Any) -> bool:
    """A function or an iterable that is no PyTree of arrays delivers batches."""
    if isinstance(data, Iterator):
        return True
    leaves = jax.tree.leaves(data)
    alone = len(leaves) == 1 and leaves[0] is data and not is_array(data)
    return alone and (callable(data) or isinstance(data, Iterable))


@dataclass
class Stream:
    """Batches by step: ``data(step)``, a generator function, or an iterable begun again at its end.

    A function of the step resumes at once and exactly. A generator function or an iterable that
    repeats itself resumes exactly too, after reading past the batches of the steps already taken;
    a half-used iterator does not.
    """

    source: Any

    def __post_init__(self) -> None:
        self._step = 0
        self._iterator: Iterator | None = None
        self._kept: dict[int, Any] = {}
        self._by_step = callable(self.source) and not inspect.isgeneratorfunction(self.source)

    def _begin(self) -> Iterator:
        source: Callable | Iterable = self.source
        return iter(source()) if callable(source) else iter(source)

    def _next(self) -> Any:
        self._iterator = self._iterator or self._begin()
        for batch in self._iterator:
            return batch
        self._iterator = self._begin()
        for batch in self._iterator:
            return batch
        raise InputError(
            "data",
            expected="a batch for every step",
            got=f"an iterator that ended at step {self._step}",
            do="pass an iterable that can be begun again, or a function of the step",
        )

    def batch(self, step: int) -> Any:
        """The batch of that step; steps must not go back by more than one stack."""
        if self._by_step:
            return self.source(step)
        while self._step <= step:
            self._kept[self._step] = self._next()
            self._kept.pop(self._step - _STACK_STEPS, None)
            self._step += 1
        return self._kept[step]

    def stack(self, step: int, count: int, length: int) -> PyTree:
        """Batches of steps ``step .. step + count``, padded to a constant length with the last."""
        batches = [self.batch(step + i) for i in range(count)]
        batches += [batches[-1]] * (length - count)
        return jax.tree.map(lambda *xs: np.stack([np.asarray(x) for x in xs]), *batches)

    def stack_length(self, every: int) -> int:
        """How many batches are stacked for one call of the compiled loop."""
        size = sum(np.asarray(x).nbytes for x in jax.tree.leaves(self.batch(0)))
        return max(1, min(every, _STACK_STEPS, _STACK_BYTES // max(size, 1)))
