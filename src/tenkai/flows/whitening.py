"""Rows to mean 0 and covariance I, and back, accounted for in the density."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Whitening(NamedTuple):
    """``z = (x - mean) W^T`` with ``W`` lower triangular, so that a flow starts at the Gaussian.

    ``log p(x) = log p(z) + log_det``. `unmix` is the inverse of ``W``.
    """

    mean: Float[np.ndarray, " dim"]
    mix: Float[np.ndarray, "dim dim"]
    unmix: Float[np.ndarray, "dim dim"]

    @classmethod
    def fit(cls, x: Float[np.ndarray, "rows dim"]) -> Whitening:
        """From rows whose covariance is not singular."""
        x = np.asarray(x, np.float64)
        mean, scale = x.mean(0), x.std(0)
        standard = (x - mean) / scale
        root = np.linalg.cholesky(np.atleast_2d(standard.T @ standard / len(x)))
        unmix = scale[:, None] * root
        return cls(mean, np.linalg.inv(unmix), unmix)

    @classmethod
    def standardising(cls, x: Float[np.ndarray, "rows dim"]) -> Whitening:
        """Columns to mean 0 and variance 1 only (a constant one keeps its scale)."""
        x = np.asarray(x, np.float64)
        scale = x.std(0)
        scale = np.where(scale > 0, scale, 1.0)
        return cls(x.mean(0), np.diag(1 / scale), np.diag(scale))

    @property
    def log_det(self) -> float:
        """``log |det dz/dx|``."""
        return float(np.linalg.slogdet(self.mix)[1])

    def forward(self, x: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
        """Raw rows to whitened ones."""
        return (np.asarray(x, np.float64) - self.mean) @ self.mix.T

    def inverse(self, z: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
        """Whitened rows to raw ones."""
        return np.asarray(z, np.float64) @ self.unmix.T + self.mean
