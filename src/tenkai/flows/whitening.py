"""Rows to about a standard normal, and back, accounted for in the density."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize


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
        scale = spread(x)
        return cls(x.mean(0), np.diag(1 / scale), np.diag(scale))

    @property
    def log_det(self) -> float:
        """``log |det dz/dx|``."""
        return float(np.linalg.slogdet(self.mix)[1])

    def forward(self, x: Float[Any, "rows dim"], xp: Any = np) -> Float[Any, "rows dim"]:
        """Raw rows to whitened ones; pass ``xp=jax.numpy`` to trace through it."""
        return (_real(x, xp) - self.mean) @ self.mix.T

    def inverse(self, z: Float[Any, "rows dim"], xp: Any = np) -> Float[Any, "rows dim"]:
        """Whitened rows to raw ones."""
        return _real(z, xp) @ self.unmix.T + self.mean


def _real(x: Any, xp: Any) -> Any:
    """In float64; what is traced stays in its precision."""
    return np.asarray(x, np.float64) if xp is np else x


def spread(x: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " dim"]:
    """Standard deviation of every column, 1 where it is constant up to rounding."""
    scale = x.std(0)
    return np.where(scale > 1e-12 * np.abs(x).max(0), scale, 1.0)


class Shaping(NamedTuple):
    """Columns bent towards the normal distribution, then whitened: what a table's flow starts from.

    Each column goes through a sinh-arcsinh curve (Jones and Pewsey 2009, equation 1),
    ``sinh(d asinh((x - m) / s) - e)``: ``e`` takes out skewness, ``d < 1`` heavy tails. The curve
    is analytic, so that no likelihood is made out of single values, it is at least linear far out
    (``d <= 1``), so that a row far from all others keeps a density, and it stays away from columns
    that it helps little. ``log p(x) = log p(z) + log_det(x)``.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).lognormal(size=(500, 2))
    >>> shaping = Shaping.fit(x)
    >>> z = shaping.forward(x)
    >>> bool(np.abs((z**3).mean(0)).max() < 0.3), bool(np.allclose(shaping.inverse(z), x))
    (True, True)
    """

    curves: Float[np.ndarray, "4 dim"]  # m, s, e, d
    whitening: Whitening

    @classmethod
    def fit(cls, x: Float[np.ndarray, "rows dim"]) -> Shaping:
        """From rows whose covariance is not singular."""
        x = np.asarray(x, np.float64)
        curves = np.stack([_curve(column) for column in x.T], axis=1)
        return cls(curves, Whitening.fit(_bend(curves, x)[0]))

    @classmethod
    def straight(cls, whitening: Whitening) -> Shaping:
        """No curves: `whitening` alone."""
        return cls(np.tile(_LINE[:, None], len(whitening.mean)), whitening)

    def log_det(self, x: Float[Any, "rows dim"], xp: Any = np) -> Float[Any, " rows"]:
        """``log |det dz/dx|`` of every raw row; pass ``xp=jax.numpy`` to trace through it."""
        return _bend(self.curves, _real(x, xp), xp)[1].sum(1) + self.whitening.log_det

    def forward(self, x: Float[Any, "rows dim"], xp: Any = np) -> Float[Any, "rows dim"]:
        """Raw rows to shaped ones."""
        return self.whitening.forward(_bend(self.curves, _real(x, xp), xp)[0], xp)

    def inverse(self, z: Float[Any, "rows dim"], xp: Any = np) -> Float[Any, "rows dim"]:
        """Shaped rows to raw ones."""
        centre, scale, skew, tail = self.curves
        straight = np.isnan(scale)
        bent = self.whitening.inverse(z, xp)
        if straight.all():
            return bent
        curved = centre + np.where(straight, 1.0, scale) * xp.sinh((xp.arcsinh(bent) + skew) / tail)
        return xp.where(straight, bent, curved)


_LINE = np.array([0.0, np.nan, 0.0, 1.0])  # no scale: the column stays as it is
_WORTH = 0.02  # nats per row that a curve must bring
_ORDER_STATISTICS = 2000  # of a column, which is enough for four numbers


def _bend(
    curves: Float[np.ndarray, "4 dim"], x: Float[Any, "rows dim"], xp: Any = np
) -> tuple[Float[Any, "rows dim"], Float[Any, "rows dim"]]:
    """Every column on its curve, and the logarithms of the slopes."""
    centre, scale, skew, tail = curves
    straight = np.isnan(scale)
    if straight.all():
        return x, 0.0 * x
    scale = np.where(straight, 1.0, scale)
    u = (x - centre) / scale
    inner = tail * xp.arcsinh(u) - skew
    slope = _log_cosh(inner, xp) + np.log(tail) - np.log(scale) - xp.log(xp.hypot(1.0, u))
    return xp.where(straight, x, xp.sinh(inner)), xp.where(straight, 0.0, slope)


def _log_cosh(x: Any, xp: Any = np) -> Any:
    return xp.logaddexp(x, -x) - math.log(2)


def _curve(column: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " 4"]:
    """The most likely curve of one column, or none where a straight line is as good."""
    ordered = np.sort(column)
    n = min(len(ordered), _ORDER_STATISTICS)
    ordered = ordered[((np.arange(n) + 0.5) / n * len(ordered)).astype(int)]
    _, repeats = np.unique(ordered, return_counts=True)
    low, centre, high = np.quantile(ordered, [0.1, 0.5, 0.9])
    width = (high - low) / 2.56
    if n < _FEWEST or repeats.max() > _MOST_EQUAL * n or not width > 0:
        return _LINE
    u = (ordered - centre) / width
    found = minimize(_miss, np.array([0.0, 0.0, 0.0, -0.1]), (u,), "L-BFGS-B", True, bounds=_BOUNDS)
    if not found.fun < 0.5 + math.log(u.std()) - _WORTH - 4 / n:
        return _LINE
    m, log_scale, skew, log_tail = found.x
    return np.array([centre + width * m, width * math.exp(log_scale), skew, math.exp(log_tail)])


def _miss(p: np.ndarray, x: Float[np.ndarray, " rows"]) -> tuple[float, np.ndarray]:
    """``-mean log p`` of the curve ``p = (m, log s, e, log d)`` with a weak prior; its gradient."""
    m, log_scale, skew, log_tail = p
    scale, tail, n = math.exp(log_scale), math.exp(log_tail), len(x)
    u = (x - m) / scale
    bent = tail * np.arcsinh(u)
    inner = bent - skew
    z = np.sinh(inner)
    slope = _log_cosh(inner) + log_tail - log_scale - 0.5 * np.log1p(u * u)
    value = float(np.mean(0.5 * z**2 - slope)) + 0.5 * (skew**2 + log_tail**2) / n
    by_inner = z * np.cosh(inner) - np.tanh(inner)
    by_u = by_inner * tail / np.sqrt(1 + u * u) + u / (1 + u * u)
    by = (-by_u / scale, 1 - by_u * u, skew / n - by_inner, log_tail / n + by_inner * bent - 1)
    return value, np.array([np.mean(term) for term in by])


_FEWEST = 30  # rows of which a shape is known
_MOST_EQUAL = 0.1  # of a column's rows: a curve would make a spike of an atom
# m, log s, e, log d; in units of the column's own spread.
_BOUNDS = ((-3.0, 3.0), (-3.5, 3.0), (-3.0, 3.0), (-1.6, 0.0))
