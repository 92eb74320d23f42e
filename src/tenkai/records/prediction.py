"""Predictions of rows with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Prediction:
    """Mean and interval of every row: arrays (rows,), or (rows, targets) of several targets.

    Each target's interval holds that target with probability `coverage`. ``np.asarray`` is `mean`.
    """

    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    coverage: float
    names: tuple[str, ...] = ()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.mean, dtype=dtype)

    def __len__(self) -> int:
        return len(self.mean)

    def to_frame(self) -> pd.DataFrame:
        """One row per row and target: row, variable, mean, lower, upper, coverage."""
        import pandas as pd

        rows, targets = len(self.mean), len(self.names)
        return pd.DataFrame({
            "row": np.repeat(np.arange(rows), targets),
            "variable": np.tile(np.asarray(self.names, dtype=object), rows),
            "mean": self.mean.ravel(), "lower": self.lower.ravel(), "upper": self.upper.ravel(),
            "coverage": np.full(rows * targets, self.coverage),
        })  # fmt: skip
