"""Where the series are cut: what a model may see, and what it is then asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Series, Trajectories
from ..data.assemble import FEWEST_TIMES
from ..errors import InputError

_FIRST, _LAST = 0.6, 0.95  # shares of a series between which a number of origins is spread
_SHARE = 0.2  # of the span, the usual horizon
_ROUNDING = 1 + 1e-9


@dataclass(frozen=True, eq=False)
class Cut:
    """One origin: copies of the series up to it, and of each the rows to forecast.

    `seen` holds no memory of what comes later. Row ``rows[i]`` of the whole series `whole[i]`
    are later than the origin and within the horizon; there may be none.
    """

    seen: Trajectories
    whole: tuple[Series, ...]
    rows: tuple[slice, ...]

    @property
    def observations(self) -> tuple[int, ...]:
        """The number of times seen, per series."""
        return tuple(len(one) for one in self.seen)


def cuts_of(data: Trajectories, origins: int | Sequence[int], horizon: Any) -> list[Cut]:
    """The cuts in order; `InputError` for origins that leave nothing to learn or to forecast."""
    lengths = _lengths(data, horizon)
    if isinstance(origins, int | np.integer) and not isinstance(origins, bool):
        made = [_cut(data, seen, lengths) for seen in _spread(data, int(origins))]
        usable = [cut for cut in made if cut is not None]
    else:
        usable = [_explicit(data, n, lengths) for n in _numbers(origins)]
    if not usable:
        raise InputError(
            "data", expected="series long enough to learn from a part and forecast another",
            got=f"{max(map(len, data))} times at most", do="measure more, or pass origins=[...]",
        )  # fmt: skip
    return usable


def _lengths(data: Trajectories, horizon: Any) -> Any:
    """The horizon in float time, as a function of the time it starts at."""
    if horizon is None:
        usual = _SHARE * float(np.median([one.t[-1] - one.t[0] for one in data]))
        gap = max(float(np.median(np.diff(one.t))) for one in data)
        return lambda start: max(usual, gap)
    data.clock.horizon(horizon, float(data[0].t[-1]))  # complain at once
    return lambda start: data.clock.horizon(horizon, start)


def _spread(data: Trajectories, count: int) -> list[tuple[int, ...]]:
    """Numbers of observations per series, evenly from 60 % to 95 % of each series."""
    if count < 1:
        raise InputError("origins", expected="at least 1", got=str(count), do="pass 8")
    shares = np.linspace(_FIRST, _LAST, count)
    numbers = [
        tuple(max(min(round(share * len(one)), len(one) - 1), FEWEST_TIMES) for one in data)
        for share in shares
    ]
    return list(dict.fromkeys(numbers))


def _numbers(origins: Any) -> list[int]:
    try:
        given = np.asarray(list(origins))
        numbers = [int(n) for n in given]
        whole = given.dtype.kind in "iu" or all(float(n) == int(n) for n in given)
    except (TypeError, ValueError):
        numbers, whole = [], False
    if not whole or not numbers or min(numbers) < FEWEST_TIMES:
        raise InputError(
            "origins", expected=f"a count, or numbers of observations from {FEWEST_TIMES} on",
            got=repr(origins), do="pass 8, or such as range(12, 20)",
        )  # fmt: skip
    return sorted(set(numbers))


def _explicit(data: Trajectories, number: int, lengths: Any) -> Cut:
    cut = _cut(data, tuple(min(number, len(one)) for one in data), lengths)
    if cut is None:
        longest = max(map(len, data))
        raise InputError(
            f"origin {number}", expected=f"fewer than the {longest} observations there are, enough "
            "to learn from, with others within the horizon after them",
            got=f"{number}", do="leave it out, or pass a longer horizon",
        )  # fmt: skip
    return cut


def _cut(data: Trajectories, seen: Sequence[int], lengths: Any) -> Cut | None:
    """The series that can be learned from; None where nothing is left to learn or to forecast."""
    kept = [(one, n) for one, n in zip(data, seen, strict=True) if _learnable(one.x[:n])]
    if not kept:
        return None
    parts = tuple(_beginning(one, n) for one, n in kept)
    rows = tuple(_rows(one, n, lengths) for one, n in kept)
    unseen = np.all([np.isnan(part.x).all(axis=0) for part in parts], axis=0)
    asked = any(one.observed[span].any() for (one, _), span in zip(kept, rows, strict=True))
    if unseen.any() or not asked:
        return None
    return Cut(replace(data, series=parts, notes=()), tuple(one for one, _ in kept), rows)


def _learnable(x: np.ndarray) -> bool:
    """Enough observed times, and some variable that moves."""
    observed = ~np.isnan(x)
    moves = any(np.ptp(column[mask]) > 0 for column, mask in zip(x.T, observed.T, strict=True)
                if mask.any())  # fmt: skip
    return bool(observed.any(axis=1).sum() >= FEWEST_TIMES and moves)


def _beginning(one: Series, n: int) -> Series:
    known = None if one.u is None else one.u[:n].copy()
    return Series(one.id, one.t[:n].copy(), one.x[:n].copy(), known, one.static)


def _rows(one: Series, n: int, lengths: Any) -> slice:
    last = float(one.t[n - 1])
    end = last + lengths(last) * _ROUNDING
    return slice(n, int(np.searchsorted(one.t, end, side="right")))
