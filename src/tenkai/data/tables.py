"""Tables of rows without a time: a file to a frame of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .columns import as_numbers, column_of, has_decimal_commas, not_numbers
from .labelled import classes_of
from .readers import open_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of numbers by their columns, known numbers and the class of each, notes on reading."""

    rows: pd.DataFrame
    context: pd.DataFrame | None = None
    labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def read_table(
    path: Path,
    columns: Sequence[str] | None = None,
    context: Sequence[str] | None = None,
    labels: str | None = None,
    *,
    gaps: bool = False,
) -> Table:
    """The named columns of a CSV, TSV or Parquet file; None is every column of numbers.

    `context` are columns of known numbers, `labels` one of classes. With `gaps` empty cells of the
    columns are NaN; else they are refused.

    Raises `InputError` for names that are no columns, cells of text, and gaps, by their line.
    """
    frame, where = open_table(path, [labels] if labels else [])
    known = list(context or ())
    _check_named(columns, known)
    other = [*known, *([labels] if labels else [])]
    for name in (*(columns or ()), *other):
        if name not in frame.columns:
            raise InputError(
                f"column {name!r}", expected=f"one of {', '.join(map(str, frame.columns[:12]))}",
                got="no such column", do="check the name",
            )  # fmt: skip
    both = [name for name in (*(columns or ()), *known) if name in other and name not in known]
    both += [name for name in columns or () if name in known]
    if both:
        raise InputError(
            f"column {both[0]!r}", expected="one role", got="two", do="name it only once"
        )
    asked, notes = list(columns or ()), ()
    if not asked:
        asked = [c for c in frame.columns if c not in other and _has_numbers(column_of(frame, c))]
        ignored = [repr(c) for c in frame.columns if c not in (*asked, *other)]
        notes = (f"columns left out, not numbers: {', '.join(ignored)}",) if ignored else ()
    if not asked:
        raise InputError(
            f"file {str(path)!r}", expected="a column of numbers", got="none",
            do="check the delimiter, or name columns",
        )  # fmt: skip
    return Table(
        _numbers(frame, asked, where, gaps=gaps),
        _numbers(frame, known, where) if known else None,
        classes_of(frame, labels, where) if labels else None,
        notes,
    )


def _check_named(columns: Sequence[str] | None, context: Sequence[str]) -> None:
    """`InputError` for a list of no columns, or one that names a column twice."""
    if columns is not None and not columns:
        raise InputError(
            "columns", expected="at least one name", got="none", do="name some, or leave it out"
        )
    for names in (list(columns or ()), context):
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"column {name!r}", expected="to be named once", got="named twice",
                    do="leave one out",
                )  # fmt: skip


def _has_numbers(column: pd.Series) -> bool:
    """Whether a column is meant as numbers: not text from top to bottom, not dates."""
    values, _ = as_numbers(column)
    if np.isnan(values).all() and not has_decimal_commas(column):
        return False
    return not str(column.name).startswith("Unnamed: ")


def _numbers(
    frame: pd.DataFrame, names: Sequence[str], where, *, gaps: bool = False
) -> pd.DataFrame:
    import pandas as pd

    out = {}
    for name in names:
        column = column_of(frame, name)
        values, bad = as_numbers(column)
        if bad.any():
            raise not_numbers(column, bad, where)
        bad = np.flatnonzero(np.isinf(values) if gaps else ~np.isfinite(values))
        if len(bad):
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            said = "nothing (NaN)" if np.isnan(values[bad[0]]) else f"{values[bad[0]]}"
            raise InputError(
                f"column {name!r}", expected="a finite number in every row",
                got=f"{said} in {where(int(bad[0]))}{more}",
                do="remove these rows, fill them in, or leave the column out",
            )  # fmt: skip
        out[name] = values
    return pd.DataFrame(out)
