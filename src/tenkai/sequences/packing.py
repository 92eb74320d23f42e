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
from .multistep import GROWING, nodes, steps_of, weights


class Spell(NamedTuple):
    """One series before it is packed: increasing times from its own beginning, standardised values.

    NaN in `x` (slots, dim) is not observed. `seen` says what the encoder may see, `asked` what the
    model must explain (both (slots, dim), and both within what was observed); None for all of it.
    """

    t: np.ndarray
    x: np.ndarray
    seen: np.ndarray | None = None
    asked: np.ndarray | None = None


class Block(NamedTuple):
    """Many spells behind one another: the i-th has the rows ``ptr[i] : ptr[i + 1]``."""

    ptr: np.ndarray  # (series + 1,)
    t: np.ndarray  # (rows,)
    x: np.ndarray  # (rows, dim)
    seen: np.ndarray | None = None
    asked: np.ndarray | None = None

    @classmethod
    def of(cls, spells: Sequence[Spell]) -> Block:
        """Spells laid behind one another."""
        ptr = np.concatenate([[0], np.cumsum([len(s.t) for s in spells])]).astype(int)
        t, x = (np.concatenate(part) for part in ([s.t for s in spells], [s.x for s in spells]))
        return cls(
            ptr, t, x, _masks([(s.seen, s.x) for s in spells]),
            _masks([(s.asked, s.x) for s in spells]),
        )  # fmt: skip

    @property
    def slots(self) -> np.ndarray:
        """Times of each series."""
        return np.diff(self.ptr)

    @property
    def duration(self) -> np.ndarray:
        """Of each series, from its first time to its last."""
        return self.t[self.ptr[1:] - 1] - self.t[self.ptr[:-1]]


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
    phase: Any  # (rows, steps) steps since the series began, as far as the solver counts
    begin: Any  # (rows, places)
    end: Any  # (rows, places)
    index: Any  # (rows, places)

    @property
    def filled(self) -> float:
        """The share of slots that hold a time of a series."""
        return float(np.mean(self.owner >= 0))


def abreast(rows: Rows) -> Any:
    """The same rows side by side: the first axis of every leaf last, leaves (slots, ..., rows).

    So a step for one row is one for all of them, whose numbers of a kind lie behind one another.
    """
    return Rows(*(leaf.transpose(*range(1, leaf.ndim), 0) for leaf in rows))


_SLACKS = (1.0, 1.1, 1.25, 1.5, 2.0)  # of the steps that full rows take on average
_SAMPLE = 2000  # series on which they are tried


class Shape(NamedTuple):
    """Slots, steps and places of a row: rows of one shape share a compiled program."""

    slots: int
    steps: int
    places: int

    @classmethod
    def of(cls, slots: np.ndarray, steps: np.ndarray, least: int = 0) -> Shape:
        """For series of these lengths: no longer than the longest, room for steps by trial.

        Slots and steps are what a program does one after another, so rows are as short as the
        longest series allows. Of several rooms for steps that one is taken with which a sample of
        the series costs least, rows times slots and steps, which take about the same time.
        """
        most = max(int(slots.max()), least)
        usual = int(np.ceil(2 * most * len(slots) / slots.sum())) + 1
        places = min(most // max(1, int(slots.min())), usual)
        mean = steps.sum() / slots.sum() * most
        rooms = {max(int(steps.max()), int(np.ceil(slack * mean))) for slack in _SLACKS}
        if places == 1:
            return cls(most, int(steps.max()), 1)
        some = slice(None, None, max(1, len(slots) // _SAMPLE))

        def price(shape: Shape) -> int:
            rows = best_fit(slots[some], steps[some], shape)[1][-1] + 1
            return int(rows) * (shape.slots + shape.steps)

        return min((cls(most, room, places) for room in sorted(rooms)), key=price)


def _masks(given: Sequence[tuple[np.ndarray | None, np.ndarray]]) -> np.ndarray | None:
    """Masks behind one another, where there are any."""
    if all(mask is None for mask, _ in given):
        return None
    return np.concatenate([np.ones(x.shape, bool) if m is None else m for m, x in given])


def pack(
    spells: Sequence[Spell] | Block,
    longest: float,
    shape: Shape | None = None,
    order: np.ndarray | None = None,
) -> Rows:
    """Rows in which each spell stands once, in solver steps of at most `longest`.

    Best fit, longest first: rows are full but for what no other series would fill. `shape` is that
    of other rows, whose program these shall share. Among series of equal length those first in
    `order` (a permutation) come first, so orders change who shares a row but not how many rows.

    Raises `InputError` for a series without slots, and for one longer than `shape`.
    """
    block = spells if isinstance(spells, Block) else Block.of(spells) if len(spells) else None
    if block is None or len(block.ptr) < 2 or block.slots.min() == 0:
        raise InputError(
            "series", expected="at least one time in each", got="a series without any",
            do="leave it out",
        )  # fmt: skip
    slots, steps = block.slots, steps_of(block.duration, longest)
    shape = shape or Shape.of(slots, steps)
    members, row = best_fit(slots, steps, shape, order)
    return _lay(block, steps, shape, members, row)


def best_fit(
    slots: np.ndarray, steps: np.ndarray, shape: Shape, order: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """All series, those of one row behind one another, and the row of each.

    The next one is always the longest that still fits, of equally long ones that whose steps take
    the same share of what is left as its slots. Raises `InputError` for one that fits in no row.
    """
    if slots.max() > shape.slots or steps.max() > shape.steps:
        raise InputError(
            "series", expected=f"at most {shape.slots} times and {shape.steps} solver steps",
            got=f"{slots.max()} and {steps.max()}", do="pack all series together",
        )  # fmt: skip
    shelves = _shelves(slots, steps, order)
    lengths = sorted(shelves)
    members, rows, row = [], [], 0
    while lengths:
        free, room, left = shape.slots, shape.steps, shape.places
        while left and (found := _next(shelves, lengths, free, room)):
            k, at = found
            length = lengths[k]
            needs, series = shelves[length]
            members.append(series.pop(at))
            rows.append(row)
            free, room, left = free - length, room - needs.pop(at), left - 1
            if not series:
                del shelves[lengths.pop(k)]
        row += 1
    return np.array(members), np.array(rows)


def _shelves(
    slots: np.ndarray, steps: np.ndarray, order: np.ndarray | None
) -> dict[int, tuple[list[int], list[int]]]:
    """By number of slots: the steps of the series so long, rising, and which they are."""
    order = np.arange(len(slots)) if order is None else order
    order = order[np.lexsort((steps[order], slots[order]))]
    length, cuts = np.unique(slots[order], return_index=True)
    parts = np.split(order, cuts[1:])
    return {int(n): (steps[p].tolist(), p.tolist()) for n, p in zip(length, parts, strict=True)}


def _next(
    shelves: dict[int, tuple[list[int], list[int]]], lengths: list[int], free: int, room: int
) -> tuple[int, int] | None:
    """Which length, and which of that length, goes into what is left of a row."""
    for k in range(bisect.bisect_right(lengths, free) - 1, -1, -1):
        needs = shelves[lengths[k]][0]
        if fit := bisect.bisect_right(needs, room):
            return k, min(bisect.bisect_left(needs, room * lengths[k] / free), fit - 1)
    return None


def _lay(
    block: Block, steps: np.ndarray, shape: Shape, members: np.ndarray, row: np.ndarray
) -> Rows:
    """Everything written to its place at once."""
    slots, steps = block.slots[members], steps[members]
    first = np.searchsorted(row, row)  # of each series, the first one in its row
    place = np.arange(len(row)) - first
    slot, step = _before(slots, first), _before(steps, first)
    one, inner = _within(slots)
    source = block.ptr[members][one] + inner
    cell = (row[one], slot[one] + inner)
    begun = block.t[block.ptr[members]]
    h, into, part = _inside(block.t[source] - begun[one], block.duration[members], steps, one)
    x = block.x[source]
    observed = ~np.isnan(x)
    out = _empty(int(row[-1]) + 1, shape, x.shape[1])
    out.t[cell] = block.t[source]
    out.x[cell] = np.where(observed, x, 0.0)
    out.seen[cell] = observed if block.seen is None else observed & block.seen[source]
    out.asked[cell] = observed if block.asked is None else observed & block.asked[source]
    out.owner[cell] = place[one]
    out.step[cell] = step[one] + into
    out.part[cell] = part
    one, inner = _within(steps)
    way, ends = (row[one], step[one] + inner), _ends(steps)
    out.since[way] = begun[one] + h[one] * ends[np.maximum(inner - 1, 0)]
    out.length[way] = h[one] * np.diff(ends, prepend=0.0)[inner]
    out.phase[way] = np.minimum(inner, len(weights().predict) - 1)
    out.start[row, step] = place
    out.begin[row, place], out.end[row, place] = slot, slot + slots - 1
    out.index[row, place] = members
    return out


def _ends(steps: np.ndarray) -> np.ndarray:
    """Where the longest series' steps end, in full steps; one that solves nothing has one step."""
    return np.ones(1) if steps.max() == 1 else nodes(int(steps.max()) - GROWING - 1)


def _inside(
    passed: np.ndarray, duration: np.ndarray, steps: np.ndarray, one: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per series a full step's length; per slot the step of its series it is in, and how far."""
    ends = _ends(steps)
    h = duration / ends[steps - 1]
    at = passed / np.where(h, h, 1.0)[one]
    into = np.minimum(np.maximum(np.searchsorted(ends, at, side="right"), 1), (steps - 1)[one])
    if len(ends) == 1:
        return h, into, at
    return h, into, (at - ends[into - 1]) / (ends[into] - ends[into - 1])


def _before(counts: np.ndarray, first: np.ndarray) -> np.ndarray:
    """How much of its row the series before each one take."""
    total = np.cumsum(counts) - counts
    return total - total[first]


def _within(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``0 0 0 1 1 ...`` and ``0 1 2 0 1 ...`` for counts 3, 2, ..."""
    one = np.repeat(np.arange(len(counts)), counts)
    return one, np.arange(len(one)) - (np.cumsum(counts) - counts)[one]


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
        phase=np.zeros(steps, np.int32),
        begin=np.zeros(places, np.int32),
        end=np.zeros(places, np.int32),
        index=np.full(places, -1, np.int32),
    )
