"""How a learned path moves when its start is moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """``jacobian[k] = d y(t_k) / d y(t_0)`` (time, dim, dim) in raw units along the learned path.

    Rows are the moved state, columns the start; hidden dimensions come last, in model units. It is
    the mean over members, `spread` their standard deviation. `growth` (time,) is by what factor
    the worst small error of the start has grown, in standard deviations of the variables: the
    largest singular value, geometric mean over members; `growth_spread` is that of its logarithm.

    `exponent` is the finite-time Lyapunov exponent ``log(growth) / (t - t0)`` at the last time, per
    unit of the time column. `start_error` is how far the members' start states differ, in standard
    deviations (.01 where they do not), and `horizon` the time after which it has grown to a whole
    one: beyond that, a forecast is no better than any state of the system. `grows` says whether
    `growth` rises by more than it goes up and down: along a cycle it does the latter, and the
    exponent means little.
    """

    time: np.ndarray
    jacobian: np.ndarray
    spread: np.ndarray
    growth: np.ndarray
    growth_spread: np.ndarray
    exponent: float
    exponent_spread: float
    start_error: float
    horizon: float
    grows: bool
    names: tuple[str, ...] = ()
    series: str = ""
    time_name: str = "time"
    time_unit: str = ""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.jacobian, dtype=dtype)

    def __len__(self) -> int:
        return len(self.time)

    @property
    def doubling_time(self) -> float:
        """``log(2) / exponent``, infinite where errors do not grow."""
        return float(np.log(2) / self.exponent) if self.exponent > 0 else float("inf")

    def __str__(self) -> str:
        unit = self.time_unit or f"units of {self.time_name}"
        spread = f" ± {self.exponent_spread:.1g}" if self.exponent_spread > 0 else ""
        rate = f"Lyapunov exponent {self.exponent:.3g}{spread}"
        if not self.grows:
            return (
                f"Small errors of the start reach {np.nanmax(self.growth):.3g} times their size "
                f"over this path, but do not keep growing ({rate})."
            )
        text = (
            f"Small errors of the start grow up to {self.growth[-1]:.3g} times over this path and "
            f"double every {self.doubling_time:.3g} {unit} ({rate})."
        )
        if np.isfinite(self.horizon):
            text += (
                f" One of {self.start_error:.2g} standard deviations has grown to a whole one "
                f"after {self.horizon:.3g}."
            )
        return text

    def to_frame(self) -> pd.DataFrame:
        """Long table: series, time, variable, start variable, value, spread."""
        import pandas as pd

        steps, dim = self.jacobian.shape[:2]
        names = np.array(self.names or [f"y{i}" for i in range(dim)], dtype=object)
        return pd.DataFrame(
            {
                "series": np.full(self.jacobian.size, self.series, dtype=object),
                self.time_name: np.repeat(self.time, dim * dim),
                "variable": np.tile(np.repeat(names, dim), steps),
                "start variable": np.tile(names, dim * steps),
                "value": self.jacobian.ravel(),
                "spread": self.spread.ravel(),
            }
        )

    def plot(self, **options: Any) -> Any:
        """Matplotlib axes: the growth of small errors over time on a log scale."""
        from .. import report

        return report.plot(self, **options)
