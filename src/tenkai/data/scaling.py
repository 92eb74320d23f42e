"""Standardisation of state, inputs and time, undone in every output.

Scalers are named tuples of arrays, so they are PyTrees to JAX and a few lists in a file. Pass
``xp=jax.numpy`` to trace through them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Scaler(NamedTuple):
    """``z = (g(x) - offset) / scale`` per variable, with ``g = log`` where `positive`, else x."""

    offset: Any  # (dim,)
    scale: Any  # (dim,)
    positive: Any  # (dim,) bool

    @classmethod
    def fit(cls, x: np.ndarray, positive: Sequence[bool] | np.ndarray | None = None) -> Scaler:
        """From values (rows, dim), NaN = not observed; a constant variable gets scale 1."""
        x = np.asarray(x, dtype=np.float64)
        log = np.zeros(x.shape[1], bool) if positive is None else np.asarray(positive, bool)
        with np.errstate(invalid="ignore", divide="ignore"):
            x = np.where(log, np.log(x), x)
        seen = np.isfinite(x)
        count = np.maximum(seen.sum(axis=0), 1)
        mean = np.where(seen, x, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(seen, x - mean, 0.0) ** 2).sum(axis=0) / count)
        constant = spread <= 1e-12 * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, spread), log)

    @classmethod
    def identity(cls, dim: int) -> Scaler:
        """Changes nothing."""
        return cls(np.zeros(dim), np.ones(dim), np.zeros(dim, bool))

    def extended(self, extra: int) -> Scaler:
        """With `extra` more variables behind, which it leaves as they are."""
        parts = zip(self, Scaler.identity(extra), strict=True)
        return Scaler(*(np.concatenate(pair) for pair in parts))

    def forward(self, x: Any, xp: Any = np) -> Any:
        """Standardised values (..., dim) of raw ones."""
        # The inner `where` keeps log(x <= 0) out of the branch not taken: its gradient is NaN.
        log = xp.log(xp.where(self.positive, x, 1.0))
        return (xp.where(self.positive, log, x) - self.offset) / self.scale

    def inverse(self, z: Any, xp: Any = np) -> Any:
        """Raw values (..., dim) of standardised ones."""
        x = z * self.scale + self.offset
        return xp.where(self.positive, xp.exp(xp.where(self.positive, x, 0.0)), x)

    def to_dict(self) -> dict[str, list[Any]]:
        """Plain lists, for a file."""
        return {name: np.asarray(value).tolist() for name, value in self._asdict().items()}

    @classmethod
    def from_dict(cls, lists: dict[str, list[Any]]) -> Scaler:
        """The scaler that `to_dict` wrote."""
        offset, scale = (np.asarray(lists[k], np.float64) for k in ("offset", "scale"))
        return cls(offset, scale, np.asarray(lists["positive"], bool))


class TimeScaler(NamedTuple):
    """``s = (t - shift) / scale``: float64 times to numbers that float32 can carry."""

    shift: Any
    scale: Any

    @classmethod
    def fit(cls, times: Iterable[np.ndarray]) -> TimeScaler:
        """Earliest time to 0 and the longest series to length 1."""
        ends = [(t[0], t[-1]) for t in times]
        span = max(b - a for a, b in ends)
        return cls(np.float64(min(a for a, _ in ends)), np.float64(span if span > 0 else 1.0))

    def forward(self, t: Any) -> Any:
        """Scaled times of raw ones; subtract in float64 before casting down."""
        return (t - self.shift) / self.scale

    def inverse(self, s: Any) -> Any:
        """Raw times of scaled ones."""
        return s * self.scale + self.shift

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, for a file."""
        return {name: float(value) for name, value in self._asdict().items()}

    @classmethod
    def from_dict(cls, numbers: dict[str, float]) -> TimeScaler:
        """The scaler that `to_dict` wrote."""
        return cls(np.float64(numbers["shift"]), np.float64(numbers["scale"]))


def can_be_log(x: np.ndarray) -> np.ndarray:
    """Per variable: something was observed and all of it is above zero; bool (dim,)."""
    seen = ~np.isnan(x)
    return np.logical_and(seen.any(axis=0), ((x > 0) | ~seen).all(axis=0))
