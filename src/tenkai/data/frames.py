"""Tables, wide or long, to `Trajectories`: which column is what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .assemble import Labels, Rows, assemble, check_finite, check_times, static_of
from .columns import Where, as_numbers, codes, column_of, not_numbers, numbers, times
from .pivot import pivot
from .trajectories import Hold, Trajectories

if TYPE_CHECKING:
    import pandas as pd

_TIME_NAMES = ("time", "t", "date", "year", "timestamp")
_NO_NAME = re.compile(r"(Unnamed: \d+)?")  # a written index, not a variable


@dataclass(frozen=True)
class Roles:
    """What each column of a table is for; `targets` None means every other column of numbers."""

    time: str
    series: str | None = None
    targets: tuple[str, ...] | None = None
    inputs: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    variable: str | None = None
    value: str | None = None


def from_frame(
    frame: pd.DataFrame,
    *,
    time: str | None = None,
    series: str | None = None,
    targets: str | Sequence[str] | None = None,
    inputs: str | Sequence[str] | None = None,
    static: str | Sequence[str] | None = None,
    variable: str | None = None,
    value: str | None = None,
    hold: Hold = "linear",
    units: dict[str, str] | None = None,
    learn: bool = True,
    where: Where = lambda row: f"row {row} (the first is 0)",
) -> Trajectories:
    """See `read_trajectories`; `where` says in words where a row of the table stands."""
    frame = _named(frame)
    roles = Roles(
        time or _time_column(frame), series, _tuple(targets), _tuple(inputs) or (),
        _tuple(static) or (), variable, value,
    )  # fmt: skip
    _check_roles(frame, roles)
    frame, where = _without_blank(frame, where)
    clock, t = times(column_of(frame, roles.time), where)
    check_times(t, roles.time, where)
    if series is None:
        code, ids = np.zeros(len(t), dtype=int), ("0",)
    else:
        code, ids = codes(column_of(frame, series), where)
    columns = tuple(n for n in roles.inputs if n in frame.columns)
    u = numbers(frame, columns, where)
    fixed = static_of(numbers(frame, roles.static, where), code, ids, roles.static, where)
    labels = Labels((), roles.inputs, roles.static, units or {}, roles.time, clock, hold)
    notes: tuple[str, ...] = ()
    if variable is not None and value is not None:
        rows = Rows(code, ids, t, numbers(frame, [value], where), u, fixed, where)
        check_finite(rows.x, (value,), where)
        said = column_of(frame, variable)
        rows, labels = pivot(rows, said, labels, targets=roles.targets, columns=columns)
    else:
        names, x, notes = _targets(frame, roles, where)
        rows, labels = Rows(code, ids, t, x, u, fixed, where), replace(labels, names=names)
    return assemble(rows, labels, learn=learn, notes=notes)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Column names as stripped text; an index that carries dates or a name becomes a column."""
    if frame.index.dtype.kind == "M" or frame.index.name is not None:
        name = frame.index.name or "time"
        frame = frame.reset_index(names=name) if name not in frame.columns else frame
    names = [str(c).strip() for c in frame.columns]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"column {name!r}", expected="different names", got="it twice", do="rename one"
            )
    return frame.set_axis(names, axis="columns")


def _time_column(frame: pd.DataFrame) -> str:
    found = [c for c in frame.columns if c.lower() in _TIME_NAMES]
    if len(found) != 1:
        raise InputError(
            "time column",
            expected=f"exactly one column named {', '.join(_TIME_NAMES[:-1])} or {_TIME_NAMES[-1]}",
            got=f"the columns {_list(frame.columns)}",
            do="name the time column with time=",
        )
    return found[0]


def _tuple(names: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    return (names,) if isinstance(names, str) else tuple(str(n) for n in names)


def _list(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(repr(n) for n in names[:12]) + ", ..." * (len(names) > 12)


def _check_roles(frame: pd.DataFrame, roles: Roles) -> None:
    if (roles.variable is None) != (roles.value is None):
        raise InputError(
            "a long table",
            expected="both variable= and value=",
            got="one of them",
            do="name the column of names and the column of numbers",
        )
    columns = [roles.time, roles.series, roles.variable, roles.value, *roles.static]
    entries = [*(roles.targets or ()), *roles.inputs]
    named = [name for name in [*columns, *entries] if name is not None]
    for name in named:
        if named.count(name) > 1:
            raise InputError(
                f"column {name!r}", expected="one role", got="two", do="name it only once"
            )
    if roles.variable is None:  # in a long table they are entries of the variable column
        columns += entries
    for name in columns:
        if name is not None and name not in frame.columns:
            raise InputError(
                f"column {name!r}",
                expected=f"one of the columns {_list(frame.columns)}",
                got="no such column",
                do="check the name",
            )


def _without_blank(frame: pd.DataFrame, where: Where) -> tuple[pd.DataFrame, Where]:
    """Leave out rows of nothing but separators, as spreadsheets write them."""
    kept = np.flatnonzero(~(frame.isna() | frame.eq("")).to_numpy().all(axis=1))
    if not kept.size:
        raise InputError("data", expected="rows of values", got="none", do="check the source")
    if len(kept) == len(frame):
        return frame, where
    return frame.iloc[kept], lambda row: where(int(kept[row]))


def _targets(
    frame: pd.DataFrame, roles: Roles, where: Where
) -> tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]:
    """Names, values (rows, dim) and notes of the observed columns of a wide table."""
    if roles.targets is not None:
        return roles.targets, numbers(frame, roles.targets, where), ()
    taken = {roles.time, roles.series, *roles.inputs, *roles.static}
    names, columns, ignored = [], [], []
    for name in frame.columns:
        if name in taken:
            continue
        column = column_of(frame, name)
        values, bad = as_numbers(column)
        text = bad.any() and np.isnan(values).all()
        if text or column.dtype.kind == "b" or _NO_NAME.fullmatch(name):
            ignored.append(name)
        elif bad.any():
            raise not_numbers(column, bad, where)
        else:
            names.append(name)
            columns.append(values)
    if not names:
        raise InputError(
            "data",
            expected="a column of numbers beside the time",
            got=f"the columns {_list(frame.columns)}",
            do="check the delimiter, or name the columns with targets=",
        )
    notes = (
        (f"columns left out, not numbers or without a name: {_list(ignored)}",) if ignored else ()
    )
    return tuple(names), np.stack(columns, axis=1), notes
