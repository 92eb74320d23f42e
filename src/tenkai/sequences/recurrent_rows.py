"""Series as recurrent models read them: cut into windows, imputed on a grid, packed into rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..data import Series, Trajectories
from .packing import Rows, Shape, Spell, pack
from .units import Units

_MOST = 2.0  # slots of an imputed grid per observation time


@dataclass(frozen=True, eq=False)
class Reader:
    """How series of the table become slots of a model."""

    units: Units
    every: float | None  # the step of an imputed grid

    @property
    def plain(self) -> Reader:
        """Without a grid."""
        return Reader(self.units, None)

    def spells(self, data: Sequence[Series] | Trajectories) -> list[Spell]:
        """Every series."""
        return [self.spell(one) for one in data]

    def spell(self, one: Series, at: np.ndarray | None = None, *, since: float = -np.inf) -> Spell:
        """A series, asked for from a time on, with empty slots at further times `at`."""
        start = float(one.t[0])
        made = self.units.spell(one, at, beginning=start)
        if since > start:
            late = made.t >= (since - start) / self.units.span
            made = made._replace(asked=np.broadcast_to(late[:, None], made.x.shape))
        return made if self.every is None else imputed(made, self.every)


def usual_gap(spells: Sequence[Spell]) -> float:
    """The median time between observations, in the model's units."""
    gaps = [np.diff(s.t) for s in spells]
    every = np.concatenate(gaps) if gaps else np.zeros(0)
    return float(np.median(every)) if len(every) and np.median(every) > 0 else 1.0


def imputing_step(spells: Sequence[Spell]) -> float:
    """The step of a regular grid: the usual gap, but no more than twice the observed times."""
    spans = sum(float(s.t[-1] - s.t[0]) for s in spells)
    times = sum(len(s.t) for s in spells)
    return max(usual_gap(spells), spans / (_MOST * times))


def windows(spell: Spell, longest: int) -> list[Spell]:
    """A series in parts of at most `longest` slots, each with its own beginning."""
    parts = -(-len(spell.t) // longest)
    bounds = np.linspace(0, len(spell.t), parts + 1).astype(int)
    return [_part(spell, slice(a, b)) for a, b in itertools.pairwise(bounds)]


def _part(spell: Spell, part: slice) -> Spell:
    t, x, *masks = (None if a is None else a[part] for a in spell)
    assert t is not None and x is not None
    return Spell(t - t[0], x, *masks)


def imputed(spell: Spell, every: float) -> Spell:
    """Slots of a regular grid, at which all variables read as last seen (the mean before that).

    The times of observation stay, to be explained, but only the grid is seen. A grid value is of
    observations no later than it, so nothing of the future is read.
    """
    t, grid = spell.t, grid_times(spell.t[0], spell.t[-1], every)
    every_time = np.union1d(t, grid)
    own, at = np.searchsorted(every_time, t), np.searchsorted(every_time, grid)
    observed = ~np.isnan(spell.x)
    x = np.full((len(every_time), spell.x.shape[1]), np.nan)
    x[own] = spell.x
    seen, asked = (np.zeros(x.shape, bool) for _ in range(2))
    asked[own] = observed if spell.asked is None else observed & spell.asked
    readable = spell.x if spell.seen is None else np.where(spell.seen, spell.x, np.nan)
    x[at] = np.where(asked[at], x[at], carried_to(t, readable, grid))
    seen[at] = True
    return Spell(every_time, x, seen, asked)


def grid_times(start: float, end: float, every: float) -> Float[np.ndarray, " grid"]:
    """Multiples of `every` from `start` to no later than `end`."""
    return start + every * np.arange(int(np.floor((end - start) / every + 1e-9)) + 1)


def carried_to(t: np.ndarray, x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The last value of every variable no later than each of the times; 0 where there is none."""
    index = np.where(np.isnan(x), -1, np.arange(len(t))[:, None])
    last = np.maximum.accumulate(index, axis=0)
    row = np.searchsorted(t, at, side="right") - 1
    which = np.where(row[:, None] >= 0, last[np.maximum(row, 0)], -1)
    return np.where(which >= 0, np.take_along_axis(x, np.maximum(which, 0), 0), 0.0)


def rows_of(spells: Sequence[Spell], dtype: np.dtype, shape: Shape | None = None) -> Rows:
    """Packed for a cell, which needs no solver's steps: one for each series."""
    if shape is None:
        slots = np.array([len(s.t) for s in spells])
        shape = shape_for(slots)
    packed = pack(spells, np.inf, shape)
    if dtype == np.float32:
        return packed
    real = ("t", "x", "part", "since", "length")
    return packed._replace(**{k: getattr(packed, k).astype(dtype) for k in real})


def shape_for(slots: np.ndarray) -> Shape:
    """A row as long as the longest series, rounded up so that similar data share a program."""
    most = rounded(int(slots.max()))
    places = rounded(min(most // max(1, int(slots.min())), 2 * int(most / slots.mean()) + 1))
    return Shape(most, places, places)


def rounded(count: int) -> int:
    """Up to a multiple of an eighth of the power of two below."""
    unit = max(1, 2 ** (max(count, 1).bit_length() - 1) // 8)
    return -(-count // unit) * unit
