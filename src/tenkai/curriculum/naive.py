"""Forecasts that need no model: last value, mean, straight line.

Each reads times (n,) and one variable (n,), NaN where it was not observed, and says it at
other times (m,). Where nothing was observed it says NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def last_value(t: np.ndarray, x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The last observed value, for ever.

    >>> last_value(np.arange(3.0), np.array([1.0, 4.0, np.nan]), np.array([3.0, 4.0]))
    array([4., 4.])
    """
    seen = x[~np.isnan(x)]
    return np.full(len(at), seen[-1] if len(seen) else np.nan)


def mean(t: np.ndarray, x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The mean of what was observed."""
    seen = x[~np.isnan(x)]
    return np.full(len(at), seen.mean() if len(seen) else np.nan)


def linear(t: np.ndarray, x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The least-squares straight line through what was observed, continued."""
    seen = ~np.isnan(x)
    if not seen.any():
        return np.full(len(at), np.nan)
    middle, level = t[seen].mean(), x[seen].mean()
    run = t[seen] - middle
    slope = run @ (x[seen] - level) / max(run @ run, np.finfo(float).tiny)
    return level + slope * (at - middle)


Baseline = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
SIMPLE: dict[str, Baseline] = {"last value": last_value, "mean": mean, "linear": linear}
