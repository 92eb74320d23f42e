"""Ragged series behind one another in rows, so that one compiled program serves every length.

A row has *slots*, one per time at which a series was seen or is asked for, and *steps*, the
solver's own. A recurrent network passes over the slots and forgets at the end of every series; a
solve passes over the steps and begins anew where a series begins; a slot reads the path inside one
of the steps, so the solver's steps need not follow the observations.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError


class Spell(NamedTuple):
    """One series before it is packed: increasing times from its own beginning, standardised values.

    NaN in `x` (slots, dim) is not observed. `seen` says what the encoder may see, `asked` what the
    model must explain (both (slots, dim), and both within what was observed); None for all of it.
    """

    t: np.ndarray
    x: np.ndarray
    seen: np.ndarray | None = None
    asked: np.ndarray | None = None


class Rows(NamedTuple):
    """Packed series, arrays; every leaf begins with (rows,), so a batch is a choice of rows.

    `owner` (rows, slots) and `start` (rows, steps) name a series by its place in the row, -1 for
    none: padding, and steps that go on with the series before. `begin` and `end` (rows, places) are
    each series' first and last slot, `index` (rows, places) its number among all, -1 for none.
    """

    t: Any  # (rows, slots) since the series' beginning
    x: Any  # (rows, slots, dim), 0 where not seen
    seen: Any  # (rows, slots, dim) bool
    asked: Any  # (rows, slots, dim) bool
    owner: Any  # (rows, slots)
    step: Any  # (rows, slots) the step in whose span the slot lies
    part: Any  # (rows, slots) and how far inside, 0 to 1
    since: Any  # (rows, steps) where a step begins
    length: Any  # (rows, steps) how long it is, 0 for padding
    start: Any  # (rows, steps)
    begin: Any  # (rows, places)
    end: Any  # (rows, places)
    index: Any  # (rows, places)

    @property
    def filled(self) -> float:
        """The share of slots that hold a time of a series."""
        return float(np.mean(self.owner >= 0))


class Shape(NamedTuple):
    """Slots, steps and places of a row: rows of one shape share a compiled program."""

    slots: int
    steps: int
    places: int

    @classmethod
    def of(cls, slots: np.ndarray, steps: np.ndarray, least: int = 0) -> Shape:
        """For series of these lengths: no longer than the longest, some room for steps."""
        most = max(int(slots.max()), least)
        ratio = float(np.mean(steps / slots))
        room = max(int(steps.max()), int(np.ceil(1.1 * ratio * most)) + 1)
        return cls(most, room, most // max(1, int(slots.min())))


def steps_of(t: np.ndarray, longest: float) -> int:
    """Steps of equal length over the series, none longer than `longest`."""
    return max(1, int(np.ceil((t[-1] - t[0]) / longest - 1e-6)))


def pack(spells: Sequence[Spell], longest: float, shape: Shape | None = None) -> Rows:
    """Rows in which each spell stands once, in solver steps of at most `longest`.

    Best fit, longest first: rows are full but for what no other series would fill. `shape` is that
    of other rows, whose program these shall share.

    Raises `InputError` for a series without slots, and for one longer than `shape`.
    """
    slots = np.array([len(s.t) for s in spells])
    if not len(slots) or slots.min() == 0:
        raise InputError(
            "series", expected="at least one time in each", got="a series without any",
            do="leave it out",
        )  # fmt: skip
    steps = np.array([steps_of(s.t, longest) for s in spells])
    shape = shape or Shape.of(slots, steps)
    if slots.max() > shape.slots or steps.max() > shape.steps:
        raise InputError(
            "series", expected=f"at most {shape.slots} times and {shape.steps} solver steps",
            got=f"{slots.max()} and {steps.max()}", do="pack all series together",
        )  # fmt: skip
    rows = _best_fit(slots, steps, shape)
    out = _empty(len(rows), shape, spells[0].x.shape[1])
    for r, members in enumerate(rows):
        slot = step = 0
        for p, i in enumerate(members):
            _lay(out, (r, p, slot, step), i, spells[i], int(steps[i]))
            slot, step = slot + int(slots[i]), step + int(steps[i])
    return out


def _best_fit(slots: np.ndarray, steps: np.ndarray, shape: Shape) -> list[list[int]]:
    """Series by row: always the longest one that still fits."""
    by_length: dict[int, list[int]] = {}
    for i in np.argsort(slots, kind="stable")[::-1]:
        by_length.setdefault(int(slots[i]), []).append(int(i))
    lengths = sorted(by_length)
    rows: list[list[int]] = []
    while lengths:
        row: list[int] = []
        free, room = shape.slots, shape.steps
        while len(row) < shape.places and (at := bisect.bisect_right(lengths, free)):
            fits = (k for k in range(at - 1, -1, -1) if steps[by_length[lengths[k]][-1]] <= room)
            if (k := next(fits, None)) is None:
                break
            i = by_length[lengths[k]].pop()
            row.append(i)
            free, room = free - int(slots[i]), room - int(steps[i])
            if not by_length[lengths[k]]:
                del by_length[lengths.pop(k)]
        rows.append(row)
    return rows


def _empty(rows: int, shape: Shape, dim: int) -> Rows:
    slots, steps, places = ((rows, n) for n in shape)
    return Rows(
        t=np.zeros(slots, np.float32),
        x=np.zeros((*slots, dim), np.float32),
        seen=np.zeros((*slots, dim), bool),
        asked=np.zeros((*slots, dim), bool),
        owner=np.full(slots, -1, np.int32),
        step=np.zeros(slots, np.int32),
        part=np.zeros(slots, np.float32),
        since=np.zeros(steps, np.float32),
        length=np.zeros(steps, np.float32),
        start=np.full(steps, -1, np.int32),
        begin=np.zeros(places, np.int32),
        end=np.zeros(places, np.int32),
        index=np.full(places, -1, np.int32),
    )


def _lay(
    out: Rows, place: tuple[int, int, int, int], index: int, spell: Spell, steps: int
) -> None:  # fmt: skip
    """Write one series into its place: row, place in the row, first slot, first step."""
    row, p, slot, step = place
    cell, way = slice(slot, slot + len(spell.t)), slice(step, step + steps)
    observed = ~np.isnan(spell.x)
    out.t[row, cell] = spell.t
    out.x[row, cell] = np.where(observed, spell.x, 0.0)
    out.seen[row, cell] = observed if spell.seen is None else observed & spell.seen
    out.asked[row, cell] = observed if spell.asked is None else observed & spell.asked
    out.owner[row, cell] = p
    h = (spell.t[-1] - spell.t[0]) / steps
    at = np.minimum(((spell.t - spell.t[0]) / (h or 1.0)).astype(int), steps - 1)
    out.step[row, cell] = step + at
    out.part[row, cell] = (spell.t - spell.t[0]) / (h or 1.0) - at
    out.since[row, way] = spell.t[0] + h * np.arange(steps)
    out.length[row, way] = h
    out.start[row, step] = p
    out.begin[row, p], out.end[row, p], out.index[row, p] = slot, slot + len(spell.t) - 1, index
