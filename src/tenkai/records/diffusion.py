"""What a stochastic differential equation answers: many paths, and its stationary law."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .core import Status

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Paths:
    """Simulated paths: `time` (time,), `values` (paths, time, dim), in the units of the data.

    ``np.asarray(paths)`` is `values`. A path that blew up is NaN from there on; `notes` tell.
    """

    time: np.ndarray
    values: np.ndarray
    names: tuple[str, ...] = ()
    time_name: str = "time"
    notes: tuple[str, ...] = ()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype=dtype)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> np.ndarray:
        """Mean over the paths, (time, dim)."""
        return np.nanmean(self.values, axis=0)

    def quantile(self, share: Any) -> np.ndarray:
        """Quantiles over the paths: (time, dim), with a leading axis for several shares."""
        return np.nanquantile(self.values, share, axis=0)

    def to_frame(self) -> pd.DataFrame:
        """One row per path, time and variable: path, time, variable, value."""
        import pandas as pd

        count, steps, dim = self.values.shape
        names = np.asarray(self.names or tuple(f"y{i}" for i in range(dim)), dtype=object)
        columns = {
            "path": np.repeat(np.arange(count), steps * dim),
            self.time_name: np.tile(np.repeat(self.time, dim), count),
            "variable": np.tile(names, count * steps),
            "value": self.values.ravel(),
        }
        return pd.DataFrame(columns)

    def plot(self, **options: Any) -> Any:
        """Matplotlib axes: some paths, the mean and a 90 % band."""
        from .. import report

        return report.plot(self, **options)


@dataclass(frozen=True, eq=False)
class Stationary:
    """The law that a diffusion settles to: `mean` (dim,) and `covariance` (dim, dim).

    `status` says where there is none (then both are NaN). Of one variable `density` (grid,) is
    given at the states `grid` (grid,).
    """

    mean: np.ndarray
    covariance: np.ndarray
    status: Status
    names: tuple[str, ...] = ()
    grid: np.ndarray | None = field(default=None, repr=False)
    density: np.ndarray | None = field(default=None, repr=False)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviations (dim,)."""
        return np.sqrt(np.diag(self.covariance))

    def to_frame(self) -> pd.DataFrame:
        """One row per variable: mean, sd, then its covariances."""
        import pandas as pd

        names = list(self.names or (f"y{i}" for i in range(len(self.mean))))
        columns = {"mean": self.mean, "sd": self.sd}
        columns |= {f"covariance {n}": c for n, c in zip(names, self.covariance.T, strict=True)}
        return pd.DataFrame(columns, index=pd.Index(names, name="variable"))

    def plot(self, **options: Any) -> Any:
        """Matplotlib axes: the density of one variable, or ellipses of two."""
        from .. import report

        return report.plot(self, **options)
