"""What a density estimator is given, checked: tables, contexts, arguments, targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from ..data.columns import as_numbers
from ..errors import InputError
from ..flows.checks import check_finite

if TYPE_CHECKING:
    from .flow_density import FlowDensity


def table(estimator: FlowDensity, x: Any, *, reset: bool) -> np.ndarray:
    """Rows (n, dim), float64, finite; sets or checks the columns as scikit-learn does.

    A wrong number or order of columns is scikit-learn's own `ValueError`.
    """
    _check_form(x, "X")
    _check_types(x, "X")
    found: Any = validate_data(
        estimator, x, reset=reset, dtype="float64", ensure_all_finite=False,
    )  # fmt: skip
    check_finite(found, column_names(x, found.shape[1]))
    return found


def column_names(x: Any, dim: int) -> tuple[str, ...]:
    """The names of a table's columns, else x0, x1, ..."""
    columns = getattr(x, "columns", None)
    return tuple(f"x{j}" for j in range(dim)) if columns is None else tuple(map(str, columns))


def _check_form(x: Any, what: str) -> None:
    """`InputError` for what is no table of numbers: a dictionary, several axes, text."""
    if isinstance(x, dict):
        raise InputError(
            what, expected="an array (n, columns) or a DataFrame", got="a dictionary",
            do=f"pass pd.DataFrame({what})",
        )  # fmt: skip
    if hasattr(x, "iloc") or hasattr(x, "tocsr"):  # tables of pandas and SciPy go their own way
        return
    try:
        shape, kind = np.shape(x), np.asarray(x).dtype.kind
    except ValueError as error:  # rows of different lengths
        raise InputError(
            what, expected="rows of one length", got=str(error).splitlines()[0],
            do="pass an array (n, columns)",
        ) from error  # fmt: skip
    if len(shape) > 2:
        do = "pass one row of numbers for each of X"
        if what == "X":
            do = "flatten them, or for images of grey levels pass tk.flows.MultiscaleFFJORD(...)"
        raise InputError(what, expected="a table (n, columns)", got=f"shape {shape}", do=do)
    if kind in "USmM":
        raise InputError(
            what, expected="numbers", got="dates" if kind in "mM" else f"text, {_first(x)!r}",
            do="turn each category into a column of 0 and 1" if kind in "US" else "pass numbers",
        )  # fmt: skip


def _first(x: Any) -> str:
    flat = np.asarray(x).ravel()
    return str(flat[0]) if len(flat) else ""


def _check_types(x: Any, what: str) -> None:
    """`InputError` naming the first column of a DataFrame that holds no numbers."""
    if not hasattr(x, "iloc") or not hasattr(x, "columns"):
        return
    for j, name in enumerate(x.columns):
        column = x.iloc[:, j]
        kind = getattr(column.dtype, "kind", "O")
        if kind in "iufb":
            continue
        values, bad = as_numbers(column)
        text = bool(bad.any())
        if text or kind in "mM" or np.isnan(values).all():
            said = repr(str(column[bad].iloc[0])) if text else "nothing"
            said = "dates" if kind in "mM" else said
            raise InputError(
                f"{what}, column {name!r}", expected="numbers", got=said,
                do="leave it out; categories go into context=, one column of 0 and 1 for each",
            )  # fmt: skip


def contexts(c: Any, rows: int, what: str = "context") -> tuple[np.ndarray, tuple[str, ...]]:
    """Contexts (rows, k), float64, finite, and their names; one column may be flat."""
    if hasattr(c, "to_frame") and not hasattr(c, "columns"):
        c = c.to_frame()
    _check_form(c, what)
    _check_types(c, what)
    if isinstance(c, str) or np.ndim(c) == 0:
        raise InputError(
            what, expected=f"{rows} rows, one for each of X", got=repr(c),
            do="pass the known numbers of each row",
        )  # fmt: skip
    try:
        found = np.asarray(check_array(
            c, dtype="float64", ensure_all_finite=False, ensure_2d=False, input_name=what
        ))  # fmt: skip
    except (TypeError, ValueError) as error:
        raise InputError(
            what, expected=f"numbers, {rows} rows", got=str(error).splitlines()[0],
            do="pass the known numbers of each row",
        ) from error  # fmt: skip
    found = found[:, None] if found.ndim == 1 else found
    if found.shape[0] != rows or found.shape[1] == 0:
        raise InputError(
            what, expected=f"{rows} rows, one for each of X", got=f"shape {found.shape}",
            do="pass the known numbers of each row",
        )  # fmt: skip
    columns = getattr(c, "columns", None)
    width = found.shape[1]
    names = tuple(f"c{j}" for j in range(width)) if columns is None else tuple(map(str, columns))
    check_finite(found, names, what)
    return found, names


def given(estimator: FlowDensity, c: Any, rows: int) -> np.ndarray | None:
    """The context of rows to evaluate: what the density was fitted with, no more and no less.

    One context (k,) may stand for all rows.
    """
    names = estimator.context_names_
    if not names:
        if c is not None:
            raise InputError(
                "context", expected="none: the density was fitted without", got="some",
                do="leave it out, or fit with context=",
            )  # fmt: skip
        return None
    if c is None:
        raise InputError(
            "context", expected=f"{len(names)} numbers per row: {', '.join(names)}", got="none",
            do="pass context=, as in fit",
        )  # fmt: skip
    _check_form(c, "context")
    flat = np.ndim(c) < 2 and np.size(c) == len(names) and (rows != len(names) or rows == 1)
    if flat:
        _check_order(c, names)
        c = np.asarray(c, float).reshape(1, -1)
    one = np.ndim(c) == 2 and len(c) == 1
    found, other = contexts(c, 1 if one else rows)
    found = np.repeat(found, rows, axis=0) if one else found
    if found.shape[1] != len(names):
        raise InputError(
            "context", expected=f"{len(names)} columns: {', '.join(names)}",
            got=f"{found.shape[1]}", do="pass the context as in fit",
        )  # fmt: skip
    if hasattr(c, "columns") and other != names:
        raise InputError(
            "context", expected=f"the columns {', '.join(names)}", got=", ".join(other),
            do="order them as in fit",
        )  # fmt: skip
    return found


def _check_order(one: Any, names: tuple[str, ...]) -> None:
    """`InputError` for one context that names its numbers, a pandas Series, in another order."""
    labels = [str(label) for label in getattr(one, "index", ())] if hasattr(one, "iloc") else []
    if len(names) > 1 and sorted(labels) == sorted(names) and labels != list(names):
        raise InputError(
            "context", expected=f"the numbers {', '.join(names)}", got=", ".join(labels),
            do="order them as in fit",
        )  # fmt: skip


def base_rows(z: Any, dim: int) -> np.ndarray:
    """Rows of the base (n, dim), finite."""
    _check_form(z, "Z")
    found = np.asarray(check_array(z, dtype="float64", ensure_all_finite=False))
    if found.shape[1] != dim:
        raise InputError(
            "Z", expected=f"{dim} columns", got=f"{found.shape[1]}", do="pass rows of the base"
        )
    check_finite(found, [f"z{j}" for j in range(dim)], "Z")
    return found
