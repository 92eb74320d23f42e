"""What `solve` returns: a PyTree that lives inside `jit`, `grad` and `vmap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..records import Path, Work


class Counts(NamedTuple):
    """What a solve cost: evaluations of the field (NFE), accepted and rejected steps."""

    nfe: Int[Array, ""]
    accepted: Int[Array, ""]
    rejected: Int[Array, ""]


class Hermite(eqx.Module):
    """The cubic through both ends of each step with the field as its slopes; error O(h^4).

    ``y(t + s h) = (1-s) y0 + s y1 + s (s-1) ((1-2s) (y1-y0) + (s-1) h f0 + s h f1)``
    (Hairer, Nørsett and Wanner 1993, II.6.7). Both slopes are kept for every step, because an
    input that is held jumps between steps.
    """

    ts: Float[Array, " steps+1"]
    ys: PyTree
    left: PyTree
    right: PyTree

    def evaluate(self, t: Any) -> PyTree:
        """The state at one time; NaN outside the solved span."""
        way = jnp.where(self.ts[-1] < self.ts[0], -1, 1).astype(self.ts.dtype)
        t, ts = way * jnp.asarray(t, self.ts.dtype), way * self.ts
        k = jnp.clip(jnp.searchsorted(ts, t, side="right") - 1, 0, len(ts) - 2)
        length = ts[k + 1] - ts[k]
        s = (t - ts[k]) / jnp.where(length == 0, 1, length)
        inside = (t >= ts[0]) & (t <= ts[-1])

        def leaf(ys: Array, left: Array, right: Array) -> Array:
            y0, y1 = ys[k], ys[k + 1]
            bend = (s - 1) * way * length * left[k] + s * way * length * right[k]
            y = (1 - s) * y0 + s * y1 + s * (s - 1) * ((1 - 2 * s) * (y1 - y0) + bend)
            return jnp.where(inside, y, jnp.nan)

        return jax.tree.map(leaf, self.ys, self.left, self.right)


class Solved(eqx.Module):
    """A solution: states `ys` with leaves (time, ...) at `ts` (time,), and what it cost.

    `ok` is false where an adaptive solve gave up (the states after that are infinite);
    `evaluated_at` holds the times at which the field was evaluated, in order, NaN-padded;
    ``solved(t)`` evaluates the dense output where it was kept.
    """

    ts: Float[Array, " time"]
    ys: PyTree
    work: Counts
    ok: Bool[Array, ""]
    evaluated_at: Float[Array, " nfe"] | None = None
    dense: Any = None

    def __call__(self, t: Any) -> PyTree:
        """States at any times of the solved span: leaves of shape ``t.shape + state.shape``."""
        if self.dense is None:
            raise ValueError("this solve kept no dense output. Solve with dense=True.")
        return _evaluate(self.dense, jnp.asarray(t, self.ts.dtype))

    def to_path(self, names: tuple[str, ...] = (), **record: Any) -> Path:
        """The record of one solve, outside `jit`; further fields of `Path` are passed on.

        Raises `RuntimeError` where the solver gave up.
        """
        if not bool(self.ok):
            raise RuntimeError(
                "the adaptive solve gave up before the last time: too many steps, or a field that "
                "is not finite. Raise max_steps or loosen the controller's tolerances."
            )
        times = None if self.evaluated_at is None else np.asarray(self.evaluated_at)
        return Path(
            time=np.asarray(self.ts),
            values=_table(self.ys, 1),
            names=names,
            work=Work(*(int(n) for n in self.work)),
            evaluated_at=None if times is None else times[np.isfinite(times)],
            dense=None if self.dense is None else self._values_at(),
            **record,
        )

    def _values_at(self) -> Callable[[Any], np.ndarray]:
        return lambda t: _table(self(t), np.ndim(t))


@eqx.filter_jit
def _evaluate(dense: Any, t: Array) -> PyTree:
    ys = jax.vmap(dense.evaluate)(t.ravel())
    return jax.tree.map(lambda y: y.reshape(t.shape + y.shape[1:]), ys)


def _table(ys: PyTree, axes: int) -> np.ndarray:
    """All leaves side by side: shape of the times (`axes` of them), then dim."""
    leaves = [np.asarray(y) for y in jax.tree.leaves(ys)]
    return np.concatenate([y.reshape(*y.shape[:axes], -1) for y in leaves], axis=-1)
