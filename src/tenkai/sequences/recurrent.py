"""Recurrent models of irregular series: the density of every value given the earlier ones.

``p(x) = prod_i N(x_i; m(h_i), s(h_i)^2)``, where ``h_i`` is what a cell knows just before time
``t_i`` (Rubanova et al. 2019, section 3.1). Read from both sides, every value is given those
before and after it: no density of the whole series, but an interpolation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..fields import MLP, Key, split
from ..unfold import Tableau, unfold
from .cells import Cell, Decay, Gaps, Memory, ODECell, Plain, Slot, visits
from .packing import Rows

KINDS = ("ode", "gaps", "decay", "imputed")
_LARGEST = 6.0  # of the logarithm of a standard deviation


class Normal(NamedTuple):
    """Mean and log standard deviation of every value, standardised; both (..., dim)."""

    mean: Array
    log_sd: Array


class Nearest(NamedTuple):
    """The nearest seen value of every variable on one side of a slot, all (..., dim)."""

    x: Array
    age: Array  # how far away in time
    known: Array  # whether there is one


class Reading(NamedTuple):
    """Of one row: the density of every value, and the memory of every series when all is read."""

    density: Normal  # (slots, dim)
    summary: Float[Array, "places sides*hidden"]


class RecurrentModel(eqx.Module):
    """One cell reading forwards, perhaps one backwards, and what is read off them.

    The mean is ``g * nearest + shift``: the last value seen (from both sides, the straight line
    between the nearest two), as far as the network trusts it. `classes` takes the memory of a whole
    series to the logarithms of class probabilities.
    """

    cells: tuple[Cell, ...]
    head: MLP
    log_rate: Float[Array | np.ndarray, " dim"]
    classes: MLP | None

    @property
    def dim(self) -> int:
        """Number of variables."""
        return self.log_rate.shape[-1]

    def __call__(self, row: Rows) -> Reading:
        """Density of every value of one row, and the memory of every series."""
        found = [visits(c, row, backwards=k == 1) for k, c in enumerate(self.cells)]
        sides = tuple(nearest(row, backwards=k == 1) for k in range(len(self.cells)))
        read = jax.vmap(self.read)(
            tuple(v.h for v in found), tuple(v.gap for v in found), sides
        )  # fmt: skip
        ends = (row.end, row.begin)
        whole = [v.after.h[at] for v, at in zip(found, ends, strict=False)]
        return Reading(read, jnp.concatenate(whole, axis=-1))

    def read(
        self, h: tuple[Array, ...], gap: tuple[Array, ...], sides: tuple[Nearest, ...]
    ) -> Normal:  # fmt: skip
        """The density at a slot: what the cells know there, and the values next to it."""
        rate = jnp.exp(self.log_rate)
        base = between(sides)
        fresh = [jnp.where(s.known, jnp.exp(-rate * s.age), 0.0) for s in sides]
        gaps = jnp.log1p(10 * jnp.stack(gap))
        gate, shift, width = jnp.split(self.head(jnp.concatenate([*h, gaps, base, *fresh])), 3)
        mean = jax.nn.sigmoid(gate) * base + shift
        return Normal(mean, _LARGEST * jnp.tanh(width / _LARGEST))


def between(sides: tuple[Nearest, ...]) -> Array:
    """The last value; with two sides the straight line; zero, the mean, where nothing is known."""
    if len(sides) == 1:
        return sides[0].x
    left, right = sides
    span = left.age + right.age
    part = jnp.where(span > 0, left.age / jnp.where(span > 0, span, 1.0), 0.5)
    line = left.x + part * (right.x - left.x)
    return jnp.where(left.known & right.known, line, left.x + right.x)


def nearest(row: Rows, *, backwards: bool = False) -> Nearest:
    """The value seen last before every slot of a row, or next after it, in the same series."""
    slots = len(row.t)
    index = jnp.arange(slots)[:, None]
    place = jnp.maximum(row.owner, 0)
    edge = jnp.full((1, row.seen.shape[1]), slots if backwards else -1)
    if backwards:
        found = jax.lax.cummin(jnp.where(row.seen, index, slots), reverse=True)
        at = jnp.concatenate([found[1:], edge])
        known = at <= row.end[place][:, None]
    else:
        at = jnp.concatenate([edge, jax.lax.cummax(jnp.where(row.seen, index, -1))[:-1]])
        known = at >= row.begin[place][:, None]
    known = known & (row.owner >= 0)[:, None]
    at = jnp.clip(at, 0, slots - 1)
    x = jnp.where(known, jnp.take_along_axis(row.x, at, 0), 0.0)
    return Nearest(x, jnp.where(known, jnp.abs(row.t[:, None] - row.t[at]), 0.0), known)


class Ahead(NamedTuple):
    """A series that goes on: the memory of the cell, the last values and when they were seen."""

    memory: Memory
    x: Any  # (dim,)
    since: Any  # (dim,)
    known: Any  # (dim,)


class Moment(NamedTuple):
    """A time to come: standard normals to draw values by, and what happens then.

    `draws`: values are drawn here and are the last ones from then on; `reads`: the cell reads the
    last values here (an imputed grid has its own times; else both are true).
    """

    t: Any
    noise: Any  # (dim,)
    draws: Any
    reads: Any


def go_on(model: RecurrentModel, ahead: Ahead, moments: Moment) -> tuple[Array, Normal]:
    """One draw of the future: values (times, dim), and the density each was drawn from."""
    (cell,) = model.cells

    def step(state: tuple[Ahead, Any], x: Moment) -> tuple[Ahead, Any]:
        now, _ = state
        nothing = jnp.zeros(now.x.shape, bool)
        blank = Slot(x.t, now.x, nothing, jnp.zeros((), bool))
        visit = cell.visit(now.memory, blank)
        side = Nearest(now.x, jnp.where(now.known, jnp.abs(x.t - now.since), 0.0), now.known)
        made = model.read((visit.h,), (visit.gap,), (side,))
        drawn = made.mean + jnp.exp(made.log_sd) * x.noise
        new = jnp.where(x.draws, drawn, now.x)
        since = jnp.where(x.draws, x.t, now.since)
        read = cell(now.memory, Slot(x.t, new, nothing | x.reads, jnp.zeros((), bool)))
        return Ahead(read, new, since, now.known | x.draws), (drawn, made)

    zero = jnp.zeros(ahead.x.shape)
    _, (_, kept) = unfold(step, (ahead, (zero, Normal(zero, zero))), moments)
    return kept


def build(
    kind: str, dim: int, *, hidden: int, width: int, depth: int, tableau: Tableau, substeps: int,
    sides: int, classes: int, key: Key, rate: float = 10.0,
) -> RecurrentModel:  # fmt: skip
    """A model before training; `rate` is one over the usual time between observations."""
    keys = split(key, sides + 2)

    def cell(key: Key) -> Cell:
        if kind == "ode":
            return ODECell(
                dim, hidden, width=width, depth=depth, tableau=tableau, substeps=substeps, key=key
            )
        return {"gaps": Gaps, "decay": Decay, "imputed": Plain}[kind](dim, hidden, key=key)

    cells = tuple(cell(k) for k in keys[:sides])
    reads = sides * (hidden + 1) + dim * (1 + sides)
    head = MLP((reads, width, 3 * dim), "silu", key=keys[-2], last_scale=0.1)
    log_rate = np.full(dim, np.log(rate), np.float32)
    last = None
    if classes:
        last = MLP((sides * hidden, width, classes), "silu", key=keys[-1], last_scale=0.1)
    return RecurrentModel(cells, head, log_rate, last)
