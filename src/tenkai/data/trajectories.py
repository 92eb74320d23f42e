"""`Trajectories`: series of different lengths, each with its own times; NaN is not observed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from .clock import Clock

if TYPE_CHECKING:
    import pandas as pd

Hold = Literal["linear", "previous"]


@dataclass(frozen=True, eq=False)
class Series:
    """One series: increasing float64 times, the state as observed, known inputs, covariates."""

    id: str
    t: Float[np.ndarray, " time"]
    x: Float[np.ndarray, "time dim"]
    u: Float[np.ndarray, "time inputs"] | None = None
    static: Float[np.ndarray, " covariates"] | None = None

    def __len__(self) -> int:
        return len(self.t)

    @property
    def observed(self) -> np.ndarray:
        """Where the state was measured, bool (time, dim)."""
        return ~np.isnan(self.x)


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Measured series with their names, units, inputs and clock.

    ``data[0]`` or ``data["site"]`` is one `Series`; iteration runs over all. `hold` says what
    the known inputs do between times: keep the previous value, or run straight to the next.
    """

    series: tuple[Series, ...]
    names: tuple[str, ...]
    input_names: tuple[str, ...] = ()
    static_names: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    time_name: str = "time"
    clock: Clock = field(default_factory=Clock)
    hold: Hold = "linear"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)

    def __getitem__(self, key: int | str) -> Series:
        if not isinstance(key, str):
            return self.series[key]
        for one in self.series:
            if one.id == key:
                return one
        known = ", ".join(repr(s.id) for s in self.series[:5]) + ", ..." * (len(self) > 5)
        raise InputError(
            f"series {key!r}", expected=f"one of {known}", got="no such series", do="pick one"
        )

    @property
    def dim(self) -> int:
        """Number of variables."""
        return len(self.names)

    @property
    def n_inputs(self) -> int:
        """Number of known inputs."""
        return len(self.input_names)

    def to_frame(self) -> pd.DataFrame:
        """Wide table, one row per time: series, time, variables, inputs, covariates."""
        import pandas as pd

        lengths = [len(s) for s in self.series]
        columns: dict[str, Any] = {
            "series": np.repeat(np.array([s.id for s in self.series], dtype=object), lengths),
            self.time_name: self.clock.decode(np.concatenate([s.t for s in self.series])),
        }
        columns |= zip(self.names, np.concatenate([s.x for s in self.series]).T, strict=True)
        if self.input_names:
            u = np.concatenate([s.u for s in self.series if s.u is not None])
            columns |= zip(self.input_names, u.T, strict=True)
        if self.static_names:
            static = np.stack([s.static for s in self.series if s.static is not None])
            columns |= zip(self.static_names, np.repeat(static, lengths, axis=0).T, strict=True)
        return pd.DataFrame(columns)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, **roles: Any) -> Trajectories:
        """From a table; `roles` are the keywords of `read_trajectories`."""
        from .frames import from_frame

        return from_frame(frame, **roles)

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        t: Any = None,
        u: Any = None,
        *,
        names: Sequence[str] | None = None,
        static: Any = None,
        ids: Sequence[str] | None = None,
        input_names: Sequence[str] | None = None,
        static_names: Sequence[str] | None = None,
        units: dict[str, str] | None = None,
        time_name: str = "time",
        hold: Hold = "linear",
        learn: bool = True,
    ) -> Trajectories:
        """From arrays, as pysindy takes them.

        `x` is (time, dim) or (time,), a list of such arrays, or a DataFrame of variables; `t` is
        an array, a list of arrays, a step dt, or None for steps of one; `u` is (time, inputs), a
        list of such, or one constant value per input; `static` is (covariates,) or one row per
        series. Unsorted rows are sorted with a note. With `learn`, series too short or constant
        to learn from are left out with a note; series to forecast from need not be.
        """
        from .arrays import from_arrays

        return from_arrays(
            x, t, u, names=names, static=static, ids=ids, input_names=input_names,
            static_names=static_names, units=units, time_name=time_name, hold=hold, learn=learn,
        )  # fmt: skip
