"""Pairs of successive observations, side by side, and the density of each given its start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..unfold import Interval, Store, unfold
from .moments import Moments, begin, innovation, moment_step

_FASTEST = 1.0  # beyond, a small share may be noise; substeps are doubled where they must be
_SMALL = 0.1  # standard errors
_USUAL = 1.5  # usual gaps that one substep may span


class Pairs(NamedTuple):
    """Transitions in standardised units, rows in order of time within each series.

    `t` (n,) is where one begins, `gap` (n,) how long it is, `z0` and `z1` (n, dim) its ends, `u0`
    and `u1` (n, inputs) or None the inputs there, `series` (n,) which series it belongs to.
    """

    t: Any
    gap: Any
    z0: Any
    z1: Any
    u0: Any
    u1: Any
    series: Any


class Transitions(NamedTuple):
    """`Pairs` laid out in rows of substeps: every row walks through several transitions.

    `interval` has leaves (blocks, steps, rows); `begins` (blocks, steps, rows) is the transition
    that begins with a step or -1; `reached` (n,) the flat index of the step that ends one.
    """

    interval: Any
    begins: Any
    reached: Any
    z0: Any
    z1: Any


def substeps(pairs: Pairs) -> np.ndarray:
    """Substeps (n,) of every transition: one over a usual gap, more over longer ones."""
    return np.maximum(1, np.ceil(pairs.gap / _USUAL - 1e-6)).astype(int)


def first_substeps(pairs: Pairs) -> int:
    """A power of two for the usual gap to start with, as more mean compiling everything again.

    Of an affine drift that keeps the share ``exp(-r)`` of a state, a Runge-Kutta step of order 4
    has the relative error ``(2 r)^5 / 120`` in the variance; with s substeps ``s^-4`` of it.
    """
    columns = np.concatenate([np.ones((len(pairs.z0), 1)), pairs.z0], 1)
    slope = np.linalg.lstsq(columns, pairs.z1, rcond=None)[0][1:]
    kept = np.abs(np.linalg.eigvals(slope)).min()
    rate = min(max(-np.log(max(kept, 1e-3)), 0.0), _FASTEST)
    moved = (len(pairs.gap) / 2) ** 0.5 * (2 * rate) ** 5 / 120  # standard errors
    return 2 ** max(0, int(np.ceil(np.log2(max(moved / _SMALL, 1.0)) / 4)))


def pack(pairs: Pairs, counts: np.ndarray, room: int = 1, width: int = 1024) -> Transitions:
    """Lay out transitions of `counts` (n,) substeps; rows are as long as the longest one.

    With equal gaps all transitions stand side by side and the scan is as long as one of them.
    They go through the program in blocks of at most `width` rows: XLA's CPU backend hands longer
    arrays to its thread pool, which costs more than the arithmetic of an equation. Behind its
    substeps each waits for ``room - 1`` times as many, so that a layout fits the program of one
    with `room` times the substeps.
    """
    moving, counts = counts, room * counts
    row, start, rows = _places(counts)
    which = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    blocks = -(-rows // width)
    width = -(-rows // blocks)
    shape = (blocks, int(counts.max()), width)
    place = (row[which] // width, start[which] + nth, row[which] % width)

    def grid(values: np.ndarray) -> np.ndarray:
        out = np.zeros((*shape, *values.shape[1:]))
        out[place] = values
        return out

    moves = nth < moving[which]
    step = np.where(moves, (pairs.gap / moving)[which], 0.0)
    share = np.minimum(nth / moving[which], 1.0)
    begins = np.full(shape, -1)
    begins[row // width, start, row % width] = np.arange(len(counts))
    u0 = u1 = None
    if pairs.u0 is not None and pairs.u1 is not None:
        change = (pairs.u1 - pairs.u0)[which]
        first = pairs.u0[which] + share[:, None] * change
        u0, u1 = grid(first), grid(first + (moves / moving[which])[:, None] * change)
    interval = Interval(grid(pairs.t[which] + share * pairs.gap[which]), grid(step), u0, u1)
    reached = np.ravel_multi_index((row // width, start + counts - 1, row % width), shape)
    return Transitions(interval, begins, reached, pairs.z0, pairs.z1)


def _places(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Row and first step of each transition, and how many rows: each goes behind the last one."""
    row, start = np.zeros((2, len(counts)), int)
    length, now, used = int(counts.max()), 0, 0
    for k, count in enumerate(counts):
        if used + count > length:
            now, used = now + 1, 0
        row[k], start[k] = now, used
        used += count
    return row, start, now + 1


def arrivals(fields: Callable, data: Transitions) -> Moments:
    """Mean (n, dim) and covariance (n, dim, dim) of the end of every transition.

    `fields` are drift and diffusion, ``f(t, z, u) -> (a, b)``.
    """
    data = jax.tree.map(jnp.asarray, data)
    move = jax.vmap(moment_step(fields))
    fresh = jax.vmap(begin)

    def step(state: Moments, x: tuple) -> Moments:
        interval, begins = x
        known = fresh(data.z0[jnp.maximum(begins, 0)])
        new = begins >= 0

        def choose(a: Array, b: Array) -> Array:
            return jnp.where(new.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

        return move(jax.tree.map(choose, known, state), interval)

    width = data.begins.shape[2]
    start = fresh(jnp.broadcast_to(data.z0[0], (width, data.z0.shape[1])))

    def block(cells: tuple) -> Moments:
        return unfold(step, start, cells, memory=Store())[1]

    kept = lax.map(block, (data.interval, data.begins))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[3:])[data.reached], kept)


def log_density(fields: Callable, data: Transitions) -> Float[Array, " n"]:
    """``log N(z1; m, P)`` of every transition, in nats.

    Mean and covariance are those of the diffusion, solved over several substeps. One Euler step
    per gap in their place is biased: an Ornstein-Uhlenbeck drift theta comes out as
    ``(1 - exp(-theta Delta)) / Delta``, 21 % too small at ``theta Delta = 1/2``.
    """
    miss, logs = jax.vmap(innovation)(arrivals(fields, data), jnp.asarray(data.z1))
    return -0.5 * jnp.sum(miss**2, -1) - logs - 0.5 * miss.shape[-1] * jnp.log(2 * jnp.pi)
