"""Arrays, as pysindy takes them, to `Trajectories`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .assemble import Labels, Rows, assemble
from .clock import Clock, clock_of
from .trajectories import Hold, Trajectories


def from_arrays(
    x: Any,
    t: Any,
    u: Any,
    *,
    names: Sequence[str] | None,
    static: Any,
    ids: Sequence[str] | None,
    input_names: Sequence[str] | None,
    static_names: Sequence[str] | None,
    units: dict[str, str] | None,
    time_name: str,
    hold: Hold,
    learn: bool,
) -> Trajectories:
    """See `Trajectories.from_arrays`."""
    if names is None and hasattr(x, "columns"):
        names = [str(c) for c in x.columns]
    many = _is_many(x)
    xs = [_matrix(one, "x") for one in (x if many else [x])]
    if not xs:
        raise InputError("x", expected="at least one series", got="an empty list", do="pass data")
    lengths = [len(one) for one in xs]
    clock, ts = _times(t, lengths, many)
    us = _inputs(u, lengths, many)
    statics = _statics(static, len(xs))
    series_ids = _ids(ids, len(xs))
    code = np.repeat(np.arange(len(xs)), lengths)
    starts = np.cumsum([0, *lengths])
    labels = Labels(
        _names(names, _width(xs, "x"), "x"),
        _names(input_names, _width(us, "u"), "u"),
        _names(static_names, statics.shape[1], "s"),
        units or {}, time_name, clock, hold,
    )  # fmt: skip

    def where(row: int) -> str:
        place = f"row {row - starts[code[row]]}"
        return f"{place} of series {series_ids[code[row]]!r}" if many else place

    rows = Rows(
        code, series_ids, np.concatenate(ts), np.concatenate(xs), np.concatenate(us),
        statics, where,
    )  # fmt: skip
    return assemble(rows, labels, learn=learn)


def _ids(ids: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """The series' ids as text, all different; 0, 1, ... where none are given."""
    found = tuple(str(i) for i in (range(count) if ids is None else ids))
    _check_count("ids", len(found), count, "series")
    if len(set(found)) < len(found):
        raise InputError("ids", expected="different ids", got=str(found), do="rename one")
    return found


def _is_many(x: Any) -> bool:
    """A list or tuple of arrays; a list of numbers is one array."""
    return isinstance(x, list | tuple) and not (x and all(np.ndim(one) == 0 for one in x))


def _floats(values: Any, name: str) -> np.ndarray:
    """A float64 copy; masked entries are NaN."""
    try:
        if isinstance(values, np.ma.MaskedArray):
            values = np.ma.filled(values.astype(np.float64), np.nan)
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(name, expected="numbers", got=str(error), do="convert it first") from None


def _matrix(values: Any, name: str) -> np.ndarray:
    """Float64 (time, k) of (time,) or (time, k)."""
    array = _floats(values, name)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(
            name,
            expected="an array (time, dim) or (time,)",
            got=f"shape {array.shape}",
            do="pass several series as a list of arrays",
        )
    return array


def _times(t: Any, lengths: list[int], many: bool) -> tuple[Clock, list[np.ndarray]]:
    if t is None or (not isinstance(t, list | tuple) and np.ndim(t) == 0):
        step = 1.0 if t is None else _step(t)
        return Clock(), [step * np.arange(n) for n in lengths]
    if not (isinstance(t, list | tuple) and any(np.ndim(one) == 1 for one in t)):
        t = [t] * len(lengths) if many else [t]
    _check_count("t", len(t), len(lengths), "series")
    clock = clock_of(t[0])
    ts = [clock.encode(one) for one in t]
    for i, (one, n) in enumerate(zip(ts, lengths, strict=True)):
        if one.shape != (n,):
            raise InputError(
                "t" if len(ts) == 1 else f"t of series {i}",
                expected=f"{n} times, one per row of x",
                got=f"shape {one.shape}",
                do="pass an array of times, or a list of them",
            )
    return clock, ts


def _step(t: Any) -> float:
    try:
        step = float(t)
    except (TypeError, ValueError):
        step = np.nan
    if not (np.isfinite(step) and step > 0):
        raise InputError(
            "t", expected="times or a positive step", got=repr(t), do="pass an array of times"
        )
    return step


def _inputs(u: Any, lengths: list[int], many: bool) -> list[np.ndarray]:
    if u is None:
        return [np.empty((n, 0)) for n in lengths]
    per_series = many and _is_many(u)
    parts = list(u) if per_series else [u] * len(lengths)
    _check_count("u", len(parts), len(lengths), "series")
    us = []
    for i, (part, n) in enumerate(zip(parts, lengths, strict=True)):
        array = _floats(part, "u")
        constant = array.ndim == 0 or (array.ndim == 1 and len(array) != n)
        one = np.tile(array.reshape(1, -1), (n, 1)) if constant else _matrix(array, "u")
        if len(one) != n:
            raise InputError(
                f"u of series {i}" if many else "u",
                expected=f"{n} rows, one per time",
                got=f"{len(one)}",
                do="pass an input for every time, or one constant value per input",
            )
        us.append(one)
    return us


def _statics(static: Any, count: int) -> np.ndarray:
    if static is None:
        return np.empty((count, 0))
    array = _floats(static, "static")
    array = np.tile(array, (count, 1)) if array.ndim == 1 and count == 1 else array
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise InputError(
            "static",
            expected="an array (series, covariates)",
            got=f"shape {array.shape}",
            do="reshape it",
        )
    _check_count("static", len(array), count, "series")
    return array


def _width(arrays: list[np.ndarray], name: str) -> int:
    widths = {a.shape[1] for a in arrays}
    if len(widths) > 1:
        raise InputError(
            name,
            expected="the same number of columns in every series",
            got=", ".join(map(str, sorted(widths))),
            do="fill the missing columns with NaN",
        )
    return widths.pop()


def _names(names: Sequence[str] | None, width: int, letter: str) -> tuple[str, ...]:
    if names is None:
        return tuple(f"{letter}{i}" for i in range(width))
    _check_count(f"names {tuple(names)}", len(names), width, "columns")
    if len(set(names)) < width:
        raise InputError(
            "names", expected="different names", got=str(tuple(names)), do="rename one"
        )
    return tuple(str(n) for n in names)


def _check_count(what: str, got: int, expected: int, of: str) -> None:
    if got != expected:
        raise InputError(
            what, expected=f"one per {of} ({expected})", got=str(got), do="make the lengths agree"
        )
