"""Raw times (numbers, dates) to float64 and back."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_MICROSECONDS_PER_DAY = 86_400e6
# datetime64[ns] ends in 1677 and 2262; these round numbers of days lie just inside.
_FIRST_DAY, _LAST_DAY = -106_000.0, 106_000.0
# Months, quarters, years and business days in pandas' spelling: "3ME", "2QS-JAN", "5B".
_CALENDAR = re.compile(r"\d*(B|B?[MQY][SE](-[A-Z]{3})?)")


@dataclass(frozen=True)
class Clock:
    """How the time column counts: plain numbers, or dates as days since 1970-01-01 (UTC).

    Days in float64 keep a quarter of a microsecond for dates in this century, and dates come back
    rounded to the microsecond: ``decode(encode(dates)) == dates``.
    """

    kind: Literal["number", "date"] = "number"

    @property
    def unit(self) -> str:
        """What one step of the float64 time is called."""
        return "days" if self.kind == "date" else ""

    def encode(self, raw: Any) -> np.ndarray:
        """Float64 times (time,) of raw ones; `InputError` for what does not parse."""
        if self.kind == "number":
            try:
                return np.asarray(raw, dtype=np.float64)
            except (TypeError, ValueError):
                raise InputError(
                    "times", expected="numbers", got=_example(raw), do="pass plain numbers"
                ) from None
        days = parse_dates(raw)
        bad = np.flatnonzero(np.isnan(days))
        if bad.size:
            raise InputError(
                "times",
                expected="dates such as 2024-03-31",
                got=repr(np.ravel(np.asarray(raw, dtype=object))[bad[0]]),
                do="write dates as year-month-day",
            )
        return days

    def decode(self, time: Any) -> np.ndarray:
        """Raw times of float64 ones: floats, or datetime64[ns] rounded to the microsecond."""
        time = np.asarray(time, dtype=np.float64)
        if self.kind == "number":
            return time
        outside = (time < _FIRST_DAY) | (time > _LAST_DAY)
        if outside.any():
            raise InputError(
                "times",
                expected="dates from 1680 to 2260",
                got=f"{time[outside].flat[0]:g} days after 1970-01-01",
                do="take a shorter horizon, or times as numbers",
            )
        microseconds = np.where(np.isnan(time), 0.0, np.rint(time * _MICROSECONDS_PER_DAY))
        dates = microseconds.astype(np.int64).astype("datetime64[us]").astype("datetime64[ns]")
        dates[np.isnan(time)] = np.datetime64("NaT")
        return dates

    def horizon(self, value: Any, start: float = 0.0) -> float:
        """Length of a horizon in float64 time: a number, or for dates also "10D", "6h", "3ME".

        Calendar offsets (months, years) have no fixed length: they count from `start`.
        """
        length = self._length(value, start)
        if not (math.isfinite(length) and length > 0):
            raise InputError(
                "horizon",
                expected="a positive length of time",
                got=repr(value),
                do="pass a later end",
            )
        return length

    def _length(self, value: Any, start: float) -> float:
        if not isinstance(value, np.timedelta64):  # float() of one drops its unit
            try:
                return float(value)
            except (TypeError, ValueError):
                pass
        if self.kind == "date":
            try:
                return self._offset(value, start)
            except (TypeError, ValueError):
                pass
        raise InputError(
            "horizon",
            expected='a number of days, or such as "10D"' if self.kind == "date" else "a number",
            got=repr(value),
            do="mend the horizon",
        )

    def _offset(self, value: Any, start: float) -> float:
        import pandas as pd
        from pandas.tseries.frequencies import to_offset

        if isinstance(value, str) and _CALENDAR.fullmatch(value):
            begin = pd.Timestamp(self.decode(start).item())
            length = begin + cast("Any", to_offset(value)) - begin
        else:
            length = pd.Timedelta(value)
        return cast("pd.Timedelta", length).total_seconds() / 86_400


def clock_of(raw: Any) -> Clock:
    """The clock for times as they came: dates for datetime64 and date objects, else numbers."""
    dtype = getattr(raw, "dtype", None)
    kind = getattr(dtype, "kind", None)
    if kind is None or kind == "O":
        values = np.ravel(np.asarray(raw, dtype=object))
        first = next((v for v in values if v is not None and v == v), 0.0)
        return Clock(
            "date" if hasattr(first, "year") or isinstance(first, np.datetime64) else "number"
        )
    return Clock("date" if kind == "M" else "number")


def parse_dates(raw: Any) -> np.ndarray:
    """Days since 1970-01-01 of date strings or objects; NaN where one does not parse.

    ISO 8601, then the format of the first entry with the month or the day in front, then
    2024年3月31日; the format that reads most entries wins. Times with a zone become UTC.
    """
    import pandas as pd

    column = pd.Series(np.ravel(raw) if isinstance(raw, np.ndarray) else raw)
    if column.dtype.kind == "M":
        return _days(pd.to_datetime(column, utc=True))
    if column.dtype.kind in "iufb":  # pandas would take numbers for nanoseconds
        return np.full(len(column), np.nan)
    best = _read_dates(column, "ISO8601")
    if np.isnan(best).any():
        column = column.map(lambda v: v.strip() if isinstance(v, str) else v)
        for form in _formats(column):
            days = _read_dates(column, form)
            if np.isnan(days).sum() < np.isnan(best).sum():
                best = days
    return best


def _formats(column: pd.Series) -> list[str]:
    from pandas.tseries.api import guess_datetime_format

    text = next((v for v in column if isinstance(v, str) and v), "")
    # Without a format pandas would let dateutil guess each entry alone, from today's date even.
    guesses = (guess_datetime_format(text, dayfirst=first) for first in (False, True))
    return ["ISO8601", *(g for g in guesses if g), "%Y年%m月%d日"]


def _read_dates(column: pd.Series, form: str) -> np.ndarray:
    import pandas as pd

    try:
        return _days(pd.to_datetime(column, errors="coerce", utc=True, format=form))
    except (TypeError, ValueError, OverflowError):
        return np.full(len(column), np.nan)


def _days(dates: pd.Series) -> np.ndarray:
    stamps = dates.dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    days = stamps.astype(np.int64) / _MICROSECONDS_PER_DAY
    return np.where(np.isnat(stamps) | (days < _FIRST_DAY) | (days > _LAST_DAY), np.nan, days)


def _example(raw: Any) -> str:
    values = np.ravel(np.asarray(raw, dtype=object))
    for value in values:
        try:
            float(value)
        except (TypeError, ValueError):
            return repr(value)
    return repr(values[:1])
