"""What comes out: read-only records with their own tables and pictures.

Arrays are NumPy, times and values are in the units of the user's data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Status:
    """How a computation ended: `ok`, one line of message, its cause and what to do about it."""

    kind: str
    message: str
    cause: str = ""
    remedy: str = ""
    ok: bool = True
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.message}."]
        if self.cause:
            parts.append(f"Cause: {self.cause}.")
        if self.remedy:
            parts.append(f"Do: {self.remedy}.")
        return " ".join(parts)


@dataclass(frozen=True)
class Work:
    """What a solve cost: evaluations of the field (NFE) and steps."""

    nfe: int
    accepted: int
    rejected: int = 0


@dataclass(frozen=True, eq=False)
class Path:
    """A solution over time: `time` (time,), `values` (time, dim), perhaps with an interval.

    ``np.asarray(path)`` is `values`; ``path(t)`` evaluates the dense output where it was kept;
    `notes` say what to know of it, such as times beyond those that were learned.
    """

    time: np.ndarray
    values: np.ndarray
    names: tuple[str, ...] = ()
    series: str = ""
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    coverage: float | None = None
    time_name: str = "time"
    notes: tuple[str, ...] = ()
    work: Work | None = None
    evaluated_at: np.ndarray | None = None
    dense: Callable[[Any], np.ndarray] | None = field(default=None, repr=False)
    origin: Any = field(default=None, repr=False)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype=dtype)

    def __len__(self) -> int:
        return len(self.time)

    def __call__(self, t: Any) -> np.ndarray:
        """State at any time inside the solved span, from the dense output."""
        if self.dense is None:
            raise ValueError(
                "this path kept no dense output; got only its grid. Solve with dense=True."
            )
        return self.dense(t)

    def to_frame(self) -> pd.DataFrame:
        """One row per series, time and variable: series, time, variable, value[, lower, upper]."""
        return _long_frame(self, "value", self.values)

    def plot(self, **options: Any) -> Any:
        """Matplotlib axes."""
        from .. import report

        return report.plot(self, **options)


@dataclass(frozen=True, eq=False)
class Forecast:
    """Mean and interval for new observations: arrays (time, dim) in the units of the data."""

    time: np.ndarray
    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    coverage: float
    names: tuple[str, ...] = ()
    series: str = ""
    time_name: str = "time"
    notes: tuple[str, ...] = ()
    origin: Any = field(default=None, repr=False)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.mean, dtype=dtype)

    def __len__(self) -> int:
        return len(self.time)

    def to_frame(self) -> pd.DataFrame:
        """Long table: series, time, variable, mean, lower, upper, coverage."""
        return _long_frame(self, "mean", self.mean)

    def plot(self, **options: Any) -> Any:
        """Matplotlib axes with the mean and the interval."""
        from .. import report

        return report.plot(self, **options)


@dataclass(frozen=True, eq=False)
class Fit:
    """A finished training: the model, the history (a list of reports), and the status."""

    model: Any = field(repr=False)
    status: Status
    history: Sequence[dict[str, Any]] = field(default=(), repr=False)
    seconds: float = 0.0
    steps: int = 0
    snapshots: Sequence[tuple[int, Any]] = field(default=(), repr=False)
    members: np.ndarray | None = field(default=None, repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The history as a table."""
        import pandas as pd

        return pd.DataFrame(list(self.history))

    def plot(self, **options: Any) -> Any:
        """Loss by stage as matplotlib axes."""
        from .. import report

        return report.plot(self, **options)


@dataclass(frozen=True)
class HeldOut:
    """Forecast of an end of each series that training did not see, against naive forecasts.

    Errors are root mean squares in units of each variable's standard deviation. `inside` of
    `points` observations lie in the `nominal` interval.
    """

    forecasts: tuple[Forecast, ...]
    observed: tuple[np.ndarray, ...]
    error: float
    naive: dict[str, float]
    inside: int
    points: int
    nominal: float
    note: str = ""

    @property
    def best_naive(self) -> tuple[str, float]:
        """Name and error of the best of the naive forecasts."""
        name = min(self.naive, key=lambda k: self.naive[k])
        return name, self.naive[name]

    @property
    def coverage(self) -> float:
        """Share of the held-out observations inside the interval."""
        return self.inside / self.points if self.points else float("nan")


@dataclass(frozen=True)
class Discretisation:
    """How far the path moves when it is solved again: is this an ODE or a discrete map?

    Moves are the largest relative to the path's range; `is_ode` when both are below `tolerance`.
    """

    finer: float
    adaptive: float
    tolerance: float
    is_ode: bool
    message: str
    nfe_adaptive: int = 0


def _long_frame(record: Path | Forecast, value_name: str, values: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    steps, dim = values.shape
    names = record.names or tuple(f"y{i}" for i in range(dim))
    frame = {
        "series": np.full(steps * dim, record.series, dtype=object),
        record.time_name: np.repeat(record.time, dim),
        "variable": np.tile(np.asarray(names, dtype=object), steps),
        value_name: values.ravel(),
    }
    if record.lower is not None and record.upper is not None:
        frame |= {"lower": record.lower.ravel(), "upper": record.upper.ravel()}
        frame["coverage"] = np.full(steps * dim, record.coverage)
    return pd.DataFrame(frame)
