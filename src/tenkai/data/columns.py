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
    import pandas as pd

    kind = column.dtype.kind
    if kind in "iufb":
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.zeros(len(column), bool)
    if kind in "mMc":
        return np.full(len(column), np.nan), column.notna().to_numpy()
    column = column.astype(object)
    values = np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    return values, np.isnan(values) & ~is_missing(column)


def is_missing(column: pd.Series) -> np.ndarray:
    """Empty cells and the usual words for them."""
    missing = np.array(column.isna())
    if column.dtype.kind == "O":
        words = column.iloc[~missing].astype(str).str.strip().str.lower()
        missing[~missing] = words.isin(MISSING)
    return missing


def not_numbers(column: pd.Series, bad: np.ndarray, where: Where) -> InputError:
    """The error for the first bad cell."""
    row, text = _first(column, bad)
    comma = re.fullmatch(r"[+-]?\d+,\d+", text)
    return InputError(
        f"column {str(column.name)!r}",
        expected="numbers",
        got=f"{text!r} in {where(row)}",
        do="write decimal points, not commas" if comma else "mend the cell or leave it empty",
    )


def times(column: pd.Series, where: Where) -> tuple[Clock, np.ndarray]:
    """The clock and the float64 times of a column of numbers, dates or timestamps."""
    missing = is_missing(column)
    if column.dtype.kind == "M":
        clock, values, bad = Clock("date"), parse_dates(column), missing
    else:
        clock = Clock("number")
        values, bad = as_numbers(column)
        if bad.any() and column.dtype.kind != "m":
            text = column.astype(object).where(~missing, None)
            days = parse_dates(text.str.strip() if _all_text(text) else text)
            wrong = np.isnan(days) & ~missing
            if wrong.sum() < bad.sum():
                clock, values, bad = Clock("date"), days, wrong
    if missing.any() or bad.any():
        row, text = _first(column, missing | bad)
        raise InputError(
            f"column {str(column.name)!r}",
            expected="numbers or dates such as 2024-03-31 in every row",
            got=f"{'nothing' if missing[row] else repr(text)} in {where(row)}",
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


def _all_text(column: pd.Series) -> bool:
    return all(value is None or isinstance(value, str) for value in column)
