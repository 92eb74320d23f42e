"""A long table, one row per value, to one row per time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .assemble import Labels, Rows, by_time, merge_repeats, said_twice
from .columns import codes

if TYPE_CHECKING:
    import pandas as pd


def pivot(
    rows: Rows,
    variable: pd.Series,
    labels: Labels,
    *,
    targets: tuple[str, ...] | None,
    columns: tuple[str, ...],
) -> tuple[Rows, Labels]:
    """Rows by series and time, and labels with the names of the variables.

    `rows.x` is the column of values (rows, 1), `variable` says of what. Those inputs that are
    `columns` of the table stand in `rows.u`; the others are entries of `variable`.
    """
    level, levels = codes(variable, rows.where)
    spoken = tuple(n for n in labels.input_names if n not in columns)
    names = targets or tuple(n for n in levels if n not in spoken)
    wanted = (*names, *spoken)
    _check_levels(wanted, levels, str(variable.name))
    slot = np.array([wanted.index(n) if n in wanted else -1 for n in levels])[level]
    row = np.flatnonzero(slot >= 0)
    order, group, first = by_time(rows.code[row], rows.t[row])
    row, count = row[order], int(first.sum())
    labels = replace(labels, names=names)
    wide = _scatter(rows, labels, row, group, slot[row], wanted, count)
    u, clash = merge_repeats(rows.u[row], group, count)
    if clash.any():
        at, column = np.argwhere(clash)[0]
        inside = row[(group == at) & ~np.isnan(rows.u[row, column])]
        raise said_twice(rows, labels, columns[column], inside)
    u = np.concatenate([u, wide[:, len(names) :]], axis=1)
    as_asked = [(*columns, *spoken).index(n) for n in labels.input_names]
    opens = row[first]
    pivoted = Rows(
        rows.code[opens], rows.ids, rows.t[opens], wide[:, : len(names)], u[:, as_asked],
        rows.static, lambda i: rows.where(int(opens[i])),
    )  # fmt: skip
    return pivoted, labels


def _scatter(
    rows: Rows,
    labels: Labels,
    row: np.ndarray,
    group: np.ndarray,
    slot: np.ndarray,
    wanted: tuple[str, ...],
    count: int,
) -> np.ndarray:
    """Values (count, wanted) at (group, slot), NaN where nothing was said."""
    value = rows.x[row, 0]
    seen = ~np.isnan(value)
    cell = group[seen] * len(wanted) + slot[seen]
    times_said = np.bincount(cell, minlength=count * len(wanted))
    if (times_said > 1).any():
        clash = int(np.argmax(times_said > 1))
        raise said_twice(rows, labels, wanted[clash % len(wanted)], row[seen][cell == clash])
    wide = np.full(count * len(wanted), np.nan)
    wide[cell] = value[seen]
    return wide.reshape(count, len(wanted))


def _check_levels(wanted: Sequence[str], levels: Sequence[str], column: str) -> None:
    for name in wanted:
        if name not in levels:
            raise InputError(
                f"variable {name!r}",
                expected=f"an entry of column {column!r}",
                got=", ".join(map(repr, levels[:12])),
                do="check the name",
            )
