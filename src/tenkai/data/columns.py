"""Cells of one column as numbers, times or codes; the first that is neither is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from ..errors import InputError
from .clock import Clock, parse_dates

if TYPE_CHECKING:
    import pandas as pd

Where = Callable[[int], str]
_COMMA = re.compile(r"[+-]?\d+,\d+")
# Compared in lower case, without padding.
MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "-")


def column_of(frame: pd.DataFrame, name: str) -> pd.Series:
    """One column; names are unique by now, so it is a Series."""
    return cast("pd.Series", frame[name])


def numbers(frame: pd.DataFrame, names: Sequence[str], where: Where) -> np.ndarray:
    """Float64 (rows, len(names)), NaN = missing; `InputError` for the first cell of text."""
    out = np.empty((len(frame), len(names)))
    for j, name in enumerate(names):
        column = column_of(frame, name)
        out[:, j], bad = as_numbers(column)
        if bad.any():
            raise not_numbers(column, bad, where)
    return out


def as_numbers(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Values, NaN where missing, and which cells are not numbers."""
    values = _coerced(column)
    bad = np.isnan(values)
    if column.dtype.kind in "iufb" or not bad.any():
        return values, np.zeros(len(column), bool)
    bad[bad] = ~_is_missing(column.iloc[bad])
    return values, bad


def _coerced(column: pd.Series) -> np.ndarray:
    """Float64 numbers, NaN for everything else."""
    import pandas as pd

    if column.dtype.kind in "iufb":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if column.dtype.kind in "mMc":
        return np.full(len(column), np.nan)
    return np.asarray(pd.to_numeric(column.astype(object), errors="coerce"), dtype=np.float64)


def _is_missing(column: pd.Series) -> np.ndarray:
    """Empty cells and the usual words for them."""
    words = column.astype(object).where(column.notna(), "").astype(str).str.strip().str.lower()
    return words.isin(MISSING).to_numpy()


def has_decimal_commas(column: pd.Series) -> bool:
    """Whether the first cell that is no number would be one with a point, as 1,5."""
    bad = as_numbers(column)[1]
    return bool(bad.any() and _COMMA.fullmatch(_first(column, bad)[1]))


def not_numbers(column: pd.Series, bad: np.ndarray, where: Where) -> InputError:
    """The error for the first bad cell."""
    row, text = _first(column, bad)
    comma = _COMMA.fullmatch(text)
    return InputError(
        f"column {str(column.name)!r}",
        expected="numbers",
        got=f"{text!r} in {where(row)}",
        do="write decimal points, not commas" if comma else "mend the cell or leave it empty",
    )


def times(column: pd.Series, where: Where) -> tuple[Clock, np.ndarray]:
    """The clock and the float64 times of a column of numbers, dates or timestamps."""
    clock, values = Clock("number"), _coerced(column)
    if np.isnan(values).any() and column.dtype.kind not in "iufbm":
        days = parse_dates(column)
        if np.isnan(days).sum() < np.isnan(values).sum():
            clock, values = Clock("date"), days
    bad = np.isnan(values)
    if bad.any():
        row, text = _first(column, bad)
        missing = _is_missing(column.iloc[[row]])[0]
        raise InputError(
            f"column {str(column.name)!r}",
            expected="numbers or dates such as 2024-03-31 in every row",
            got=f"{'nothing' if missing else repr(text)} in {where(row)}",
            do="mend the cell or remove the row",
        )
    return clock, values


def codes(column: pd.Series, where: Where) -> tuple[np.ndarray, tuple[str, ...]]:
    """Every row's index into the different labels, in order of appearance; padding is ignored."""
    import pandas as pd

    code, labels = pd.factorize(column)
    text = np.array([str(label).strip() for label in labels], dtype=object)
    again, unique = pd.factorize(text)
    code = np.append(again, -1)[code]  # -1, missing, picks the -1 appended
    missing = (code < 0) | np.isin(code, np.flatnonzero(unique == ""))
    if missing.any():
        raise InputError(
            f"column {str(column.name)!r}",
            expected="a label in every row",
            got=f"nothing in {where(int(np.flatnonzero(missing)[0]))}",
            do="fill it in or remove the row",
        )
    return code, tuple(unique)


def _first(column: pd.Series, bad: np.ndarray) -> tuple[int, str]:
    row = int(np.flatnonzero(bad)[0])
    return row, str(column.iloc[row]).strip()
