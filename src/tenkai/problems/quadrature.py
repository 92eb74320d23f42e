"""Quadratures: nodes and weights on an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..errors import InputError

Rule = tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]


@dataclass(frozen=True)
class RightEndpoint:
    """``sum_i f(t_i) h`` with ``t_i = a + i h``, i = 1 ... n: order 1, the book's sum."""

    n: int = 100

    def nodes(self, low: float, high: float) -> Rule:
        """Times and weights."""
        h = (high - low) / _positive(self.n)
        return low + h * np.arange(1, self.n + 1), np.full(self.n, h)


@dataclass(frozen=True)
class Trapezoid:
    """``h (f(a)/2 + sum f(t_i) + f(b)/2)`` over n steps: order 2."""

    n: int = 200

    def nodes(self, low: float, high: float) -> Rule:
        """Times and weights."""
        weights = np.full(_positive(self.n) + 1, (high - low) / self.n)
        weights[[0, -1]] /= 2
        return np.linspace(low, high, self.n + 1), weights


@dataclass(frozen=True)
class GaussLegendre:
    """n nodes, exact for polynomials of degree below 2n (Gauss 1814)."""

    n: int = 96

    def nodes(self, low: float, high: float) -> Rule:
        """Times and weights."""
        x, w = np.polynomial.legendre.leggauss(_positive(self.n))
        return low + (high - low) * (x + 1) / 2, w * (high - low) / 2


Quadrature = RightEndpoint | Trapezoid | GaussLegendre


def _positive(n: int) -> int:
    if not isinstance(n, int | np.integer) or n < 1:
        raise InputError("quadrature", expected="a positive number", got=repr(n), do="raise n")
    return int(n)
