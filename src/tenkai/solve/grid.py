"""Grids that hit every requested time, and known inputs between the times they are given at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from ..errors import InputError
from ..unfold import Interval

Hold = Literal["linear", "previous"]
Times = Any
"""(time,): a jax array, or anything NumPy reads; the latter keeps float64 for its differences."""


def real_dtype(y: PyTree) -> Any:
    """The real dtype in which the states, and so the steps, are computed."""
    return jnp.finfo(jnp.result_type(*jax.tree.leaves(y))).dtype


def inexact(y: PyTree) -> PyTree:
    """The state as arrays of floating point numbers."""
    return jax.tree.map(lambda v: jnp.asarray(v, jnp.result_type(v, 0.0)), y)


def read_times(ts: Times) -> Any:
    """``ts`` as an array; `InputError` unless it is 1-d and runs one way (where that is known)."""
    ts = ts if isinstance(ts, jax.Array) else np.asarray(ts, dtype=np.float64)
    if ts.ndim != 1 or len(ts) == 0:
        raise InputError(
            "ts", expected="times (time,)", got=f"shape {ts.shape}", do="pass one or more times"
        )
    if isinstance(ts, Tracer):
        return ts
    steps: np.ndarray = np.diff(np.asarray(ts, dtype=np.float64))
    rising, falling = np.asarray(steps >= 0), np.asarray(steps <= 0)
    if not (rising.all() or falling.all()):
        turn = max(int(np.argmin(rising)), int(np.argmin(falling)))
        raise InputError(
            "ts",
            expected="finite times that run one way",
            got=f"ts[{turn}] = {ts[turn]}, then {ts[turn + 1]}",
            do="sort them; decreasing times solve backwards",
        )
    return ts


def substeps_within(ts: Times, longest: float) -> np.ndarray:
    """How many equal substeps each interval of `ts` needs so that none is longer than `longest`."""
    gaps = np.abs(np.diff(np.asarray(ts, dtype=np.float64)))
    return np.maximum(1, np.ceil(gaps / longest * (1 - 1e-12))).astype(int)


def read_substeps(substeps: int | Sequence[int] | np.ndarray, intervals: int) -> np.ndarray:
    """One count per interval; `InputError` unless they are positive integers that fit `ts`."""
    counts = np.asarray(substeps)
    fits = counts.ndim == 0 or counts.shape == (intervals,)
    if not (fits and np.issubdtype(counts.dtype, np.integer) and np.all(counts > 0)):
        raise InputError(
            "substeps",
            expected=f"a positive integer, or one for each of the {intervals} intervals",
            got=f"{substeps!r}",
            do="use substeps_within(ts, longest) for a step length",
        )
    return np.broadcast_to(counts, (intervals,))


def intervals(ts: Any, counts: np.ndarray, u: PyTree, hold: Hold, dtype: Any) -> Interval:
    """The steps (N,) of a grid with `counts` equal substeps in each interval of `ts`.

    Differences are taken in the precision of `ts`, then cast to `dtype`.
    """
    which = np.repeat(np.arange(len(counts)), counts)
    part = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    h = ((ts[1:] - ts[:-1]) / counts)[which]
    t = ts[:-1][which] + part * h
    u0 = u1 = None
    if u is not None and hold == "previous":
        u0 = u1 = jax.tree.map(lambda v: v[which], held(ts, u))
    elif u is not None:
        begin, end = part / counts[which], (part + 1) / counts[which]
        u0, u1 = (jax.tree.map(lambda v, s=s: _between(v, which, s), u) for s in (begin, end))
    return Interval(jnp.asarray(t, dtype), jnp.asarray(h, dtype), u0, u1)


def _between(v: Array, which: np.ndarray, fraction: np.ndarray) -> Array:
    s = jnp.asarray(fraction.reshape(-1, *(1,) * (v.ndim - 1)), v.dtype)
    return (1 - s) * v[which] + s * v[which + 1]


def held(ts: Any, u: PyTree) -> PyTree:
    """The input over each interval: the one given at its earlier end, whichever way `ts` runs."""
    later = jnp.asarray(ts[1:] < ts[:-1])

    def leaf(v: Array) -> Array:
        return jnp.where(later.reshape(-1, *(1,) * (v.ndim - 1)), v[1:], v[:-1])

    return jax.tree.map(leaf, u)


def read_inputs(u: Any, hold: Hold, ts: Any, dtype: Any) -> PyTree:
    """Inputs given at `ts` as arrays of `dtype`; `InputError` unless there is one row per time."""
    if hold not in get_args(Hold):
        raise InputError(
            "hold", expected="'linear' or 'previous'", got=repr(hold), do="pick one of these"
        )

    def leaf(v: Any) -> Array:
        if np.shape(v)[:1] != (len(ts),):
            raise InputError(
                "u",
                expected=f"one row for each of the {len(ts)} times, or a function of t",
                got=f"shape {np.shape(v)}",
                do="give the inputs at ts",
            )
        return jnp.asarray(v, dtype)

    return jax.tree.map(leaf, u)


class Driven(eqx.Module):
    """``f(t, y, u(t))`` for inputs that are a function of time; a PyTree of both."""

    field: Callable
    u: Callable

    def __call__(self, t: Any, y: PyTree, _: Any = None) -> PyTree:
        return self.field(t, y, self.u(t))


class Sampled(eqx.Module):
    """The input between the times it is given at: linear, or the previous one held."""

    ts: Float[Array, " time"]
    u: PyTree
    hold: str = eqx.field(static=True)

    def __call__(self, t: Any) -> PyTree:
        # Look-ups need ascending times; `way` turns those of a backward solve round.
        way = jnp.where(self.ts[-1] < self.ts[0], -1, 1).astype(self.ts.dtype)
        k = jnp.searchsorted(way * self.ts, way * t, side="right") - 1
        k = jnp.clip(k, 0, len(self.ts) - 2)
        if self.hold == "previous":
            earlier = jnp.where(way < 0, k + 1, k)
            return jax.tree.map(lambda v: v[earlier], self.u)
        fraction = (t - self.ts[k]) / (self.ts[k + 1] - self.ts[k])
        return jax.tree.map(lambda v: (1 - fraction) * v[k] + fraction * v[k + 1], self.u)
