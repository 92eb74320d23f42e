"""From rows to series: sort, merge, check and drop, vectorised over all series at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from .clock import Clock
from .trajectories import Hold, Series, Trajectories

FEWEST_TIMES = 3


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of all series, in any order: `code[i]` says which of `ids` row i belongs to."""

    code: np.ndarray  # (rows,) int
    ids: tuple[str, ...]
    t: np.ndarray  # (rows,)
    x: np.ndarray  # (rows, dim), NaN = not observed
    u: np.ndarray  # (rows, inputs), NaN = not known
    static: np.ndarray  # (series, covariates)
    where: Callable[[int], str] = field(default=lambda row: f"row {row}")


@dataclass(frozen=True)
class Labels:
    """What the columns of `Rows` are called."""

    names: tuple[str, ...]
    input_names: tuple[str, ...] = ()
    static_names: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    time_name: str = "time"
    clock: Clock = field(default_factory=Clock)
    hold: Hold = "linear"


def assemble(
    rows: Rows, labels: Labels, *, learn: bool, notes: tuple[str, ...] = ()
) -> Trajectories:
    """Trajectories of rows; `InputError` names the row, column and series that does not fit."""
    _check_labels(labels)
    check_times(rows.t, labels.time_name, rows.where)
    check_finite(rows.x, labels.names, rows.where)
    check_finite(rows.u, labels.input_names, rows.where)
    if learn:
        _check_observed(rows.x, labels.names)
    static = rows.static
    (code, t, x, u), more = _sort_and_merge(rows, labels)
    bounds = np.searchsorted(code, np.arange(len(rows.ids) + 1))
    keep = _learnable(x, code, len(rows.ids)) if learn else np.diff(bounds) > 0
    if not keep.any():
        raise _nothing_left(x, code, len(rows.ids))
    for array in (t, x, static):
        array.setflags(write=False)
    series = []
    for i in np.flatnonzero(keep):
        part = slice(bounds[i], bounds[i + 1])
        known = _fill_inputs(t[part], u[part], rows.ids[i], labels) if u.shape[1] else None
        series.append(
            Series(rows.ids[i], t[part], x[part], known, static[i] if static.shape[1] else None)
        )
    if not keep.all():
        more.append(_dropped_note([rows.ids[i] for i in np.flatnonzero(~keep)]))
    return Trajectories(
        tuple(series), labels.names, labels.input_names, labels.static_names, dict(labels.units),
        labels.time_name, labels.clock, labels.hold, (*notes, *more),
    )  # fmt: skip


def _sort_and_merge(
    rows: Rows, labels: Labels
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], list[str]]:
    """(code, t, x, u) by series and time with one row per time, and notes of what was done."""
    notes = []
    if _unsorted(rows):
        notes.append(f"rows were not in order of {labels.time_name}: sorted")
    order, group, first = by_time(rows.code, rows.t)
    count = int(first.sum())
    code, t, x, u = rows.code[order], rows.t[order], rows.x[order], rows.u[order]
    if count < len(t):
        x, seen = merge(x, group, count)
        _refuse(seen > 1, rows.x[order], rows, labels, labels.names, order, group)
        u, clash = merge_repeats(u, group, count)
        _refuse(clash, rows.u[order], rows, labels, labels.input_names, order, group)
        notes.append(f"{len(t) - count} rows were merged into others at the same time")
    return (code[first], t[first], x, u), notes


def by_time(code: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order by series and time; then, in that order, each row's group and who opens one."""
    order = np.lexsort((t, code))
    first = np.ones(len(t), dtype=bool)
    first[1:] = (np.diff(code[order]) != 0) | (np.diff(t[order]) != 0)
    return order, np.cumsum(first) - 1, first


def merge(values: np.ndarray, group: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Per group the one observed value of each column, and how many there were: both (count, k)."""
    seen = ~np.isnan(values)
    k = values.shape[1]
    slot = (group[:, None] * k + np.arange(k))[seen]
    merged = np.full(count * k, np.nan)
    merged[slot[::-1]] = values[seen][::-1]  # written backwards, so that the first value stays
    return merged.reshape(count, k), np.bincount(slot, minlength=count * k).reshape(count, k)


def merge_repeats(
    values: np.ndarray, group: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `merge`, but a value may be said again; where a group says two: both (count, k)."""
    merged, _ = merge(values, group, count)
    row, column = np.nonzero(~np.isnan(values) & (values != merged[group]))
    clash = np.zeros(merged.shape, dtype=bool)
    clash[group[row], column] = True
    return merged, clash


def _refuse(
    clash: np.ndarray,
    values: np.ndarray,
    rows: Rows,
    labels: Labels,
    names: tuple[str, ...],
    order: np.ndarray,
    group: np.ndarray,
) -> None:
    """Raise for the first (group, column) of `clash`."""
    if clash.any():
        at, column = np.argwhere(clash)[0]
        inside = order[(group == at) & ~np.isnan(values[:, column])]
        raise said_twice(rows, labels, names[column], inside)


def said_twice(rows: Rows, labels: Labels, name: str, inside: np.ndarray) -> InputError:
    """The error for a variable that has two values at one time of one series, in rows `inside`."""
    time = labels.clock.decode(rows.t[inside[0]])
    shown = f"{time:g}" if labels.clock.kind == "number" else str(time.astype("datetime64[us]"))
    what = f"column {name!r} at {labels.time_name} {shown.removesuffix('T00:00:00.000000')}"
    if len(rows.ids) > 1:
        what += f" in series {rows.ids[rows.code[inside[0]]]!r}"
    return InputError(
        what,
        expected="one value at one time",
        got=f"two, in {rows.where(int(inside[0]))} and {rows.where(int(inside[-1]))}",
        do="remove one, or name the column that tells series apart with series=",
    )


def check_times(t: np.ndarray, name: str, where: Callable[[int], str]) -> None:
    """`InputError` for the first row without a finite time."""
    bad = np.flatnonzero(~np.isfinite(t))
    if bad.size:
        value = "nothing" if np.isnan(t[bad[0]]) else f"{t[bad[0]]}"
        raise InputError(
            f"column {name!r}",
            expected="a finite time in every row",
            got=f"{value} in {where(int(bad[0]))}",
            do="fill it in or remove the row",
        )


def check_finite(values: np.ndarray, names: tuple[str, ...], where: Callable[[int], str]) -> None:
    """`InputError` for the first infinity; NaN is legal, it means not observed."""
    infinite = np.isinf(values)
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        raise InputError(
            f"column {names[column]!r}",
            expected="finite numbers",
            got=f"{values[row, column]} in {where(int(row))}",
            do="leave the cell empty if it was not measured",
        )


def _check_observed(x: np.ndarray, names: tuple[str, ...]) -> None:
    empty = np.flatnonzero(np.isnan(x).all(axis=0))
    if len(x) and empty.size:
        raise InputError(
            f"column {names[empty[0]]!r}",
            expected="some observed values",
            got="none",
            do="leave it out with targets=",
        )


def _check_labels(labels: Labels) -> None:
    if labels.hold not in ("linear", "previous"):
        raise InputError(
            "hold", expected="'linear' or 'previous'", got=repr(labels.hold), do="pick one"
        )
    known = (labels.time_name, *labels.names, *labels.input_names, *labels.static_names)
    for name in labels.units:
        if name not in known:
            raise InputError(
                f"units of {name!r}",
                expected=f"one of {', '.join(map(repr, known))}",
                got="no such variable",
                do="check the name",
            )


def _unsorted(rows: Rows) -> bool:
    back = np.diff(rows.t) < 0
    if len(rows.ids) > 1:  # series may be interleaved; only the order inside each one counts
        order = np.argsort(rows.code, kind="stable")
        back = (np.diff(rows.t[order]) < 0) & (np.diff(rows.code[order]) == 0)
    return bool(back.any())


def static_of(
    values: np.ndarray,
    code: np.ndarray,
    ids: tuple[str, ...],
    names: tuple[str, ...],
    where: Callable[[int], str],
) -> np.ndarray:
    """Covariates per series (series, k) out of columns (rows, k) that repeat them."""
    check_finite(values, names, where)
    static, _ = merge(values, code, len(ids))
    changed = ~np.isnan(values) & (values != static[code])
    if changed.any():
        row, column = np.argwhere(changed)[0]
        raise InputError(
            f"static column {names[column]!r}",
            expected=f"one value for series {ids[code[row]]!r}",
            got=f"{values[row, column]:g} in {where(int(row))} after {static[code[row], column]:g}",
            do="name it in inputs= if it changes over time",
        )
    if np.isnan(static).any():
        row, column = np.argwhere(np.isnan(static))[0]
        raise InputError(
            f"static column {names[column]!r}",
            expected="a value for every series",
            got=f"none for series {ids[row]!r}",
            do="fill it in",
        )
    return static


def _observed_times(x: np.ndarray, code: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(code[~np.isnan(x).all(axis=1)], minlength=n)


def _learnable(x: np.ndarray, code: np.ndarray, n: int) -> np.ndarray:
    """Series with enough observed times in which some variable moves: bool (n,)."""
    anchor, _ = merge(x, code, n)
    moves = (~np.isnan(x) & (x != anchor[code])).any(axis=1)
    return (_observed_times(x, code, n) >= FEWEST_TIMES) & (
        np.bincount(code[moves], minlength=n) > 0
    )


def _fill_inputs(t: np.ndarray, u: np.ndarray, series: str, labels: Labels) -> np.ndarray:
    """Inputs at every time, by `hold` from the times where they are given; held at both ends."""
    filled = u.copy()
    for j in np.flatnonzero(np.isnan(u).any(axis=0)):
        known = np.flatnonzero(~np.isnan(u[:, j]))
        if not known.size:
            raise InputError(
                f"input {labels.input_names[j]!r}",
                expected="known values",
                got=f"none in series {series!r}",
                do="fill it in or leave the series out",
            )
        if labels.hold == "linear":
            filled[:, j] = np.interp(t, t[known], u[known, j])
        else:
            last = np.searchsorted(known, np.arange(len(t)), side="right") - 1
            filled[:, j] = u[known[np.maximum(last, 0)], j]
    filled.setflags(write=False)
    return filled


def _nothing_left(x: np.ndarray, code: np.ndarray, n: int) -> InputError:
    times = int(_observed_times(x, code, n).max(initial=0))
    return InputError(
        "series" if n > 1 else "data",
        expected=f"a series of at least {FEWEST_TIMES} observed times that is not constant",
        got=f"at most {times} observed times" if times < FEWEST_TIMES else "only constant values",
        do="measure more, or check series= and targets=",
    )


def _dropped_note(dropped: list[str]) -> str:
    shown = ", ".join(repr(i) for i in dropped[:5]) + ", ..." * (len(dropped) > 5)
    return (
        f"{len(dropped)} series left out, constant or with fewer than "
        f"{FEWEST_TIMES} observed times: {shown}"
    )
