"""Measurement matrices and numbers that a user passes, checked; steps that surely converge."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InputError


def as_matrix(matrix: Any, name: str = "matrix") -> np.ndarray:
    """A real or complex matrix in double precision; `InputError` unless it is finite and not 0."""
    A = np.asarray(matrix)
    good = A.ndim == 2 and A.size and A.dtype.kind in "fciub"
    if not good or not np.isfinite(A).all() or not A.any():
        got = f"shape {A.shape}" if A.ndim != 2 else "one that is empty, zero or not finite"
        raise InputError(
            name, expected="a finite matrix (measurements, unknowns)", got=got,
            do="pass the matrix of y = A x + noise",
        )  # fmt: skip
    return A.astype(np.result_type(A.dtype, np.float64))


def within(name: str, value: Any, low: float, high: float = np.inf) -> np.ndarray:
    """A number above `low` and at most `high`, as an array; `InputError` otherwise."""
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "fiu" or not low < number <= high:
        top = "" if np.isinf(high) else f" and at most {high:g}"
        raise InputError(
            name, expected=f"a number above {low:g}{top}", got=repr(value), do=f"change {name}"
        )
    return number.astype(float)


def safe_step(A: np.ndarray) -> float:
    """``1 / lambda_max(A^H A)``: gradient steps on ``|y - A x|^2 / 2`` of this size descend."""
    return float(1 / np.linalg.norm(A, 2) ** 2)


def normal(key: Any, shape: tuple[int, ...], like: Any) -> Any:
    """Gaussian numbers with ``E|z|^2 = 1``, complex (circular) where `like` is complex."""
    return jax.random.normal(key, shape, jnp.result_type(like))
