"""Recurrent cells: steps ``s[k+1] = step(s[k], x[k])`` over the slots of irregular series.

A cell passes over the slots of a row in either direction. Where a series begins (in that direction)
it forgets; a slot without an observation leaves it as it was. What happens in the gap between two
observations is what tells the cells apart.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..fields import Key, Linear, NeuralField, softplus, split
from ..unfold import Interval, Tableau, runge_kutta, unfold
from .packing import Rows


class Slot(NamedTuple):
    """What a cell reads: a time, the standardised values, which were seen, whether to forget."""

    t: Float[Array, ""]
    x: Float[Array, " dim"]
    seen: Bool[Array, " dim"]
    begins: Bool[Array, ""]


class Memory(NamedTuple):
    """The hidden state, the time since which nothing was seen, and what a cell keeps beside."""

    h: Float[Array, " hidden"]
    t: Float[Array, ""]
    past: Any = None


class Visit(NamedTuple):
    """A slot seen by a cell: the state and the gap just before it, the memory after it."""

    h: Float[Array, " hidden"]
    gap: Float[Array, ""]
    after: Memory


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
    """One pass over a row: `between` crosses the gap to a slot, `update` takes what was seen.

    A cell that needs more than its hidden state keeps it as `past`: `nothing` is that of a series
    of which nothing was seen, `remember` what a slot makes of it.
    """

    hidden: eqx.AbstractVar[int]

    @abstractmethod
    def between(self, h: Array, gap: Array) -> Array:
        """The hidden state after `gap` (at least 0) without observations."""

    @abstractmethod
    def update(self, h: Array, slot: Slot, gap: Array, past: Any) -> Array:
        """The hidden state after an observation, `gap` after the one before."""

    def nothing(self) -> Any:
        """The past of a series of which nothing was seen."""
        return None

    def remember(self, past: Any, slot: Slot) -> Any:
        """The past after a slot."""
        return past

    def begin(self) -> Memory:
        """Nothing seen yet."""
        return Memory(jnp.zeros(self.hidden), jnp.zeros(()), self.nothing())

    def visit(self, memory: Memory, slot: Slot) -> Visit:
        """Forget where a series begins, cross the gap, take what was seen."""
        fresh = self.begin()._replace(t=slot.t)
        known = jax.tree.map(
            lambda a, b: jnp.where(slot.begins, columns(a, b.shape), b), fresh, memory
        )
        gap = jnp.abs(slot.t - known.t)
        before = self.between(known.h, gap)
        seen = jnp.any(slot.seen, axis=0)
        after = self.update(before, slot, gap, known.past)
        h, t = jnp.where(seen, after, known.h), jnp.where(seen, slot.t, known.t)
        return Visit(before, gap, Memory(h, t, self.remember(known.past, slot)))

    def __call__(self, memory: Memory, slot: Slot) -> Memory:
        return self.visit(memory, slot).after


class Gaps(Cell):
    """A GRU that reads the gap as one more input (RNN-Delta-t of Rubanova et al. 2019)."""

    gru: GRU
    hidden: int = eqx.field(static=True)

    def __init__(self, dim: int, hidden: int, *, key: Key):
        self.gru = GRU(2 * dim + 1, hidden, key=key)
        self.hidden = hidden

    def between(self, h: Array, gap: Array) -> Array:
        return h

    def update(self, h: Array, slot: Slot, gap: Array, past: Any) -> Array:
        return self.gru(h, jnp.concatenate([slot.x * slot.seen, slot.seen, gap[None]]))


class ODECell(Cell):
    """A GRU whose state follows ``dh/dt = f(h)`` in the gaps (Rubanova et al. 2019, algorithm 1).

    Every gap is crossed by `substeps` equal steps of `tableau`.
    """

    gru: GRU
    field: Callable
    hidden: int = eqx.field(static=True)
    tableau: Tableau = eqx.field(static=True)
    substeps: int = eqx.field(static=True)

    def __init__(
        self, dim: int, hidden: int, *, width: int, depth: int, tableau: Tableau, key: Key,
        substeps: int = 1,
    ):  # fmt: skip
        a, b = split(key, 2)
        self.gru = GRU(2 * dim, hidden, key=a)
        self.field = NeuralField(hidden, width=width, depth=depth, key=b)
        self.hidden, self.tableau, self.substeps = hidden, tableau, substeps

    def between(self, h: Array, gap: Array) -> Array:
        step = runge_kutta(self.tableau, self.field)
        if self.substeps == 1:
            return step(h, Interval(jnp.zeros(()), gap))
        part = jnp.broadcast_to(gap / self.substeps, (self.substeps, *gap.shape))
        return unfold(step, h, Interval(jnp.zeros(self.substeps), part), keep=lambda h: None)[0]

    def update(self, h: Array, slot: Slot, gap: Array, past: Any) -> Array:
        return self.gru(h, jnp.concatenate([slot.x * slot.seen, slot.seen]))


class Decay(Cell):
    """GRU-D (Che et al. 2018): what was seen fades in the gaps, the state to zero.

    ``h <- exp(-a gap) h``, and a variable that was not seen reads as its last value on the way to
    its mean, ``exp(-b age) last`` of standardised values. The rates ``a`` (hidden,), ``b`` (dim,)
    are learned; they are positive and without an offset, so that no gap means no decay.
    """

    gru: GRU
    of_state: Float[Array | np.ndarray, " hidden"]
    of_input: Float[Array | np.ndarray, " dim"]
    hidden: int = eqx.field(static=True)

    def __init__(self, dim: int, hidden: int, *, key: Key):
        self.gru = GRU(2 * dim, hidden, key=key)
        self.of_state = np.zeros(hidden, np.float32)
        self.of_input = np.zeros(dim, np.float32)
        self.hidden = hidden

    def between(self, h: Array, gap: Array) -> Array:
        return h * jnp.exp(-jnp.multiply.outer(softplus(self.of_state), gap))

    def nothing(self) -> tuple[Array, Array]:
        zero = jnp.zeros(len(self.of_input))
        return zero, zero

    def remember(self, past: tuple[Array, Array], slot: Slot) -> tuple[Array, Array]:
        last, since = past
        return jnp.where(slot.seen, slot.x, last), jnp.where(slot.seen, slot.t, since)

    def update(self, h: Array, slot: Slot, gap: Array, past: tuple[Array, Array]) -> Array:
        last, since = past
        rate = columns(softplus(self.of_input), since.shape)
        faded = last * jnp.exp(-rate * jnp.abs(slot.t - since))
        return self.gru(h, jnp.concatenate([jnp.where(slot.seen, slot.x, faded), slot.seen]))


class Plain(Cell):
    """A GRU that knows neither gaps nor what is missing: for values imputed on a regular grid."""

    gru: GRU
    hidden: int = eqx.field(static=True)

    def __init__(self, dim: int, hidden: int, *, key: Key):
        self.gru = GRU(dim, hidden, key=key)
        self.hidden = hidden

    def between(self, h: Array, gap: Array) -> Array:
        return h

    def update(self, h: Array, slot: Slot, gap: Array, past: Any) -> Array:
        return self.gru(h, slot.x)


def columns(a: Array, shape: tuple[int, ...]) -> Array:
    """`a` repeated along the last axes of `shape`, which it does not have."""
    return jnp.broadcast_to(a.reshape(*a.shape, *(1,) * (len(shape) - a.ndim)), shape)


def over(cell: Cell, row: Rows, *, backwards: bool = False) -> Memory:
    """The memory after every slot of one row, leaves (slots, ...), read from either end.

    Of rows side by side (see `packing.abreast`) every leaf has a last axis more.
    """
    return _pass(cell, cell.begin(), row, backwards)


def visits(cell: Cell, row: Rows, *, backwards: bool = False) -> Visit:
    """What the cell knew just before every slot of one row, and after it; leaves (slots, ...)."""

    def step(state: Visit, slot: Slot) -> Visit:
        return cell.visit(state.after, slot)

    begin = cell.begin()
    return _pass(step, Visit(begin.h, jnp.zeros(()), begin), row, backwards)


def _pass(step: Callable, state: Any, row: Rows, backwards: bool) -> Any:
    """All states of a step over the slots, in the row's order."""
    owner = row.owner
    before = jnp.roll(owner, -1 if backwards else 1, axis=0)
    edge = jnp.zeros(owner.shape, bool).at[-1 if backwards else 0].set(True)
    state = jax.tree.map(lambda a: columns(a, (*a.shape, *owner.shape[1:])), state)
    slots = Slot(row.t, row.x, row.seen, edge | (owner != before))
    if not backwards:
        return unfold(step, state, slots)[1]
    _, kept = unfold(step, state, jax.tree.map(lambda a: a[::-1], slots))
    return jax.tree.map(lambda a: a[::-1], kept)
