"""Chebyshev steps: the best a linear iteration can do that knows only its spectrum."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from ..errors import InputError


def chebyshev_steps(
    low: float, high: float, count: int, *, stable: bool = False
) -> Float[np.ndarray, " count"]:
    """Step sizes whose ``prod_t (1 - eta[t] z)`` is smallest over all eigenvalues in [low, high].

    ``eta[t] = 1 / ((high + low)/2 + (high - low)/2 cos((2t + 1) pi / 2T))``, ascending. Repeated
    in turn they shrink every error by `chebyshev_radius` per period. In this order rounding errors
    grow with many steps; `stable` gives an order in which they do not (Leja 1957).

    Source: Takabe and Wadayama 2020 (arXiv:2010.13335), theorem 1; Young 1953.

    >>> chebyshev_steps(1, 100, 3).round(5).tolist()
    [0.01071, 0.0198, 0.13103]
    """
    _check(low, high)
    angle = (2 * np.arange(count) + 1) * np.pi / (2 * count)
    steps = 1 / ((high + low) / 2 + (high - low) / 2 * np.cos(angle))
    return steps[_leja(1 / steps)] if stable else steps


def chebyshev_radius(low: float, high: float, count: int) -> float:
    """The largest ``|prod_t (1 - eta[t] z)|`` of Chebyshev steps over [low, high].

    ``sech(T arccosh((high + low) / (high - low)))``; 0 where the interval is a point.

    >>> round(chebyshev_radius(1, 100, 3), 5)
    0.84264
    """
    _check(low, high)
    if high == low:
        return 0.0
    return float(1 / np.cosh(count * np.arccosh((high + low) / (high - low))))


def first_steps(
    spectrum: Float[np.ndarray, " n"], layers: int, tied: bool | int
) -> Float[np.ndarray, " period"]:
    """Chebyshev steps for one period of layers; zero eigenvalues (nothing to learn) do not count.

    Learned steps begin there: equal ones have equal gradients, so they would stay equal.
    """
    high = float(np.max(spectrum))
    low = float(np.min(spectrum[spectrum > len(spectrum) * np.finfo(float).eps * high]))
    period = layers if tied is False else 1 if tied is True else int(tied)
    return chebyshev_steps(low, high, max(1, period), stable=True)


def _leja(points: np.ndarray) -> list[int]:
    """An order in which every point is as far from those before it as possible (as a product)."""
    order = [int(np.argmax(np.abs(points)))]
    apart = np.zeros(len(points))
    while len(order) < len(points):
        with np.errstate(divide="ignore"):
            apart += np.log(np.abs(points - points[order[-1]]))
        apart[order] = -np.inf
        order.append(int(np.argmax(apart)))
    return order


def _check(low: float, high: float) -> None:
    if not 0 < low <= high < math.inf:
        raise InputError(
            "eigenvalues", expected="0 < low <= high", got=f"low={low!r}, high={high!r}",
            do="pass the smallest and the largest eigenvalue of a positive definite matrix",
        )  # fmt: skip
