"""Recurrent cells: steps ``s[k+1] = step(s[k], x[k])`` over the slots of irregular series.

A cell passes over the slots of a row in either direction. Where a series begins (in that direction)
it forgets; a slot without an observation leaves it as it was. What happens in the gap between two
observations is what tells the cells apart.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..fields import Key, Linear, NeuralField, split
from ..unfold import Interval, Tableau, runge_kutta, unfold
from .packing import Rows


class Slot(NamedTuple):
    """What a cell reads: a time, the standardised values, which were seen, whether to forget."""

    t: Float[Array, ""]
    x: Float[Array, " dim"]
    seen: Bool[Array, " dim"]
    begins: Bool[Array, ""]


class Memory(NamedTuple):
    """The hidden state, and the time since which nothing was seen."""

    h: Float[Array, " hidden"]
    t: Float[Array, ""]


class GRU(eqx.Module):
    """A gated recurrent unit (Cho et al. 2014), its three products of the state as one.

    ``r, z = sigmoid(..)``, ``n = tanh(W x + r U h)``, ``h <- (1 - z) n + z h``.
    """

    of_input: Linear
    of_state: Linear

    def __init__(self, n_in: int, hidden: int, *, key: Key):
        a, b = split(key, 2)
        self.of_input = Linear(n_in, 3 * hidden, key=a)
        self.of_state = Linear(hidden, 3 * hidden, key=b)

    def __call__(self, h: Float[Array, " hidden"], x: Float[Array, " in"]) -> Array:
        of_x, of_h = jnp.split(self.of_input(x), 3), jnp.split(self.of_state(h), 3)
        keep = jax.nn.sigmoid(of_x[0] + of_h[0])
        new = jnp.tanh(of_x[2] + jax.nn.sigmoid(of_x[1] + of_h[1]) * of_h[2])
        return keep * h + (1 - keep) * new


class Cell(eqx.Module):
    """One pass over a row: `between` crosses the gap to a slot, `update` takes what was seen."""

    hidden: eqx.AbstractVar[int]

    def begin(self) -> Memory:
        """Nothing seen yet."""
        return Memory(jnp.zeros(self.hidden), jnp.zeros(()))

    @abstractmethod
    def between(self, h: Array, gap: Array) -> Array:
        """The hidden state after `gap` (at least 0) without observations."""

    @abstractmethod
    def update(self, h: Array, slot: Slot, gap: Array) -> Array:
        """The hidden state after an observation, `gap` after the one before."""

    def __call__(self, memory: Memory, slot: Slot) -> Memory:
        h = jnp.where(slot.begins, 0.0, memory.h)
        since = jnp.where(slot.begins, slot.t, memory.t)
        gap = jnp.abs(slot.t - since)
        after = self.update(self.between(h, gap), slot, gap)
        seen = jnp.any(slot.seen)
        return Memory(jnp.where(seen, after, h), jnp.where(seen, slot.t, since))


class Gaps(Cell):
    """A GRU that reads the gap as one more input (RNN-Delta-t of Rubanova et al. 2019)."""

    gru: GRU
    hidden: int = eqx.field(static=True)

    def __init__(self, dim: int, hidden: int, *, key: Key):
        self.gru = GRU(2 * dim + 1, hidden, key=key)
        self.hidden = hidden

    def between(self, h: Array, gap: Array) -> Array:
        return h

    def update(self, h: Array, slot: Slot, gap: Array) -> Array:
        return self.gru(h, jnp.concatenate([slot.x * slot.seen, slot.seen, gap[None]]))


class ODECell(Cell):
    """A GRU whose state follows ``dh/dt = f(h)`` in the gaps (Rubanova et al. 2019, algorithm 1).

    Every gap is crossed by one step of `tableau`.
    """

    gru: GRU
    field: Callable
    hidden: int = eqx.field(static=True)
    tableau: Tableau = eqx.field(static=True)

    def __init__(
        self, dim: int, hidden: int, *, width: int, depth: int, tableau: Tableau, key: Key
    ):
        a, b = split(key, 2)
        self.gru = GRU(2 * dim, hidden, key=a)
        self.field = NeuralField(hidden, width=width, depth=depth, key=b)
        self.hidden, self.tableau = hidden, tableau

    def between(self, h: Array, gap: Array) -> Array:
        return runge_kutta(self.tableau, self.field)(h, Interval(jnp.zeros(()), gap))

    def update(self, h: Array, slot: Slot, gap: Array) -> Array:
        return self.gru(h, jnp.concatenate([slot.x * slot.seen, slot.seen]))


def over(cell: Cell, row: Rows, *, backwards: bool = False) -> Memory:
    """The memory after every slot of one row, leaves (slots, ...), read from either end."""
    owner = row.owner
    before = jnp.roll(owner, -1 if backwards else 1)
    edge = jnp.zeros(len(owner), bool).at[-1 if backwards else 0].set(True)
    slots = Slot(row.t, row.x, row.seen, edge | (owner != before))
    if not backwards:
        return unfold(cell, cell.begin(), slots)[1]
    _, kept = unfold(cell, cell.begin(), jax.tree.map(lambda a: a[::-1], slots))
    return jax.tree.map(lambda a: a[::-1], kept)
