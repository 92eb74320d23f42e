"""Ragged series packed into rows of steps, so that one scan serves them all.

Every observation time of every series is a *node*. Between two nodes of a series lie one or more
substeps, so the grid hits each observation exactly. Series follow one another in a row; a node
where the state is reset (the start of a series, or of a shooting window) takes its learned state
instead of the carried one. Which nodes reset is data, so every stage of training runs the same
compiled program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..unfold import Interval


class Size(NamedTuple):
    """Least steps per row and least nodes: grids of one size share a compiled program."""

    steps: int = 0
    nodes: int = 0


ANY_SIZE = Size()


class Grid(NamedTuple):
    """Steps (rows, steps) and, per node, where it starts a step and where it is reached.

    `interval` holds the start, length and inputs of every step; `begins` the node at which a step
    begins or -1; `reached` the flat index (row * steps + step) of the step that ends at the node
    or -1 for the first node of a series; `first` marks those first nodes.
    """

    interval: Interval
    begins: np.ndarray
    reached: np.ndarray
    first: np.ndarray

    @property
    def nodes(self) -> int:
        """Number of observation times over all series, with the padding."""
        return self.first.shape[-1]

    @property
    def size(self) -> Size:
        """Steps per row and nodes."""
        return Size(self.begins.shape[-1], self.nodes)


def substeps(times: Sequence[np.ndarray], longest: float) -> list[np.ndarray]:
    """Substeps per gap so that no step exceeds `longest`."""
    return [np.maximum(1, np.ceil(np.diff(t) / longest - 1e-6)).astype(int) for t in times]


def pack(
    times: Sequence[np.ndarray],
    counts: Sequence[np.ndarray],
    inputs: Sequence[np.ndarray] | None = None,
    *,
    held: bool = False,
    row_length: int = 1024,
    pad_to: int = 1,
    least: Size = ANY_SIZE,
) -> Grid:
    """Lay the series (times (n,), substeps per gap (n-1,), inputs (n, k)) out in rows of steps.

    Rows are filled first-fit, longest series first; a row is as long as the longest series or
    `row_length`, whichever is larger. Steps and nodes are at least the `least` and rounded up to
    multiples of `pad_to`, so that grids of nearly the same size share a compiled program: added
    steps have no length, added nodes are reached by no step.
    """
    lengths = np.array([int(c.sum()) for c in counts])
    row_of, start_of, steps, rows = _first_fit(lengths, row_length)
    steps = -(-max(steps, least.steps) // pad_to) * pad_to
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in times])])
    t, h = np.zeros((2, rows, steps))
    u = np.zeros((2, rows, steps, 0 if inputs is None else inputs[0].shape[1]))
    begins = np.full((rows, steps), -1)
    nodes = -(-max(offsets[-1], least.nodes) // pad_to) * pad_to
    reached, first = np.full(nodes, -1), np.zeros(nodes, bool)
    for i, (ti, ci) in enumerate(zip(times, counts, strict=True)):
        cell = slice(start_of[i], start_of[i] + lengths[i])
        row, gap = row_of[i], np.repeat(np.arange(len(ci)), ci)
        inside = np.arange(lengths[i]) - np.repeat(np.cumsum(ci) - ci, ci)
        step = np.diff(ti)[gap] / ci[gap]
        t[row, cell], h[row, cell] = ti[gap] + inside * step, step
        begins[row, cell] = np.where(inside == 0, offsets[i] + gap, -1)
        reached[offsets[i] + 1 : offsets[i + 1]] = row * steps + start_of[i] + np.cumsum(ci) - 1
        first[offsets[i]] = True
        if inputs is not None:
            low, high = inputs[i][gap], inputs[i][gap if held else gap + 1]
            for k, at in enumerate((inside, inside + 1)):
                u[k, row, cell] = low + (at / ci[gap])[:, None] * (high - low)
    return Grid(Interval(t, h, *((None, None) if inputs is None else u)), begins, reached, first)


def _first_fit(lengths: np.ndarray, row_length: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    capacity = max(int(lengths.max(initial=1)), min(row_length, int(lengths.sum())))
    row_of, start_of = np.zeros_like(lengths), np.zeros_like(lengths)
    filled: list[int] = []
    for i in np.argsort(-lengths, kind="stable"):
        row = next((r for r, f in enumerate(filled) if f + lengths[i] <= capacity), len(filled))
        if row == len(filled):
            filled.append(0)
        row_of[i], start_of[i] = row, filled[row]
        filled[row] += int(lengths[i])
    return row_of, start_of, max(filled, default=1), len(filled)
