"""How strongly to smooth: linear regression whose prior the data choose by their evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

CLEARLY = 3.0  # nats by which the evidence of something less simple must be larger: odds of 20
_STRENGTHS = 10.0 ** np.arange(-1.0, 7.1, 0.5)  # prior variance times the largest eigenvalue


@dataclass(frozen=True, eq=False)
class Ridge:
    """A posterior of coefficients (k,): mode, prior precision and a root of the covariance.

    ``root root^T`` (k, k) is the posterior covariance. Columns that are left out have a coefficient
    of zero and no root; `gain` is the log evidence over that of the unpenalised columns alone.
    """

    mode: Float[np.ndarray, " k"]
    precision: Float[np.ndarray, " k"]
    root: Float[np.ndarray, "k k"]
    gain: float


def strength(
    free: np.ndarray, smooth: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    """Log evidence gained by ``smooth`` columns (n, k) with prior N(0, s2), and that s2.

    The model is ``y = free a + smooth w + noise``, the noise of variance ``1 / weight`` and a flat
    prior on a. Source: MacKay 1992, *Bayesian interpolation*.
    """
    if not smooth.shape[1]:
        return 0.0, 0.0
    root = np.sqrt(weight)[:, None]
    q, _ = np.linalg.qr(free * root)
    left, miss = smooth * root, y * root[:, 0]
    left, miss = left - q @ (q.T @ left), miss - q @ (q.T @ miss)
    values, vectors = np.linalg.eigh(left.T @ left)
    values = np.maximum(values, 0.0)
    if not values[-1] > 0:
        return 0.0, 0.0
    slope = (vectors.T @ (left.T @ miss)) ** 2
    tried = _STRENGTHS[:, None] / values[-1]
    gains = 0.5 * (slope * tried / (1 + tried * values) - np.log1p(tried * values)).sum(1)
    best = int(np.argmax(gains))
    return float(gains[best]), float(tried[best, 0])


def posterior(
    columns: np.ndarray, y: np.ndarray, weight: np.ndarray, used: np.ndarray, precision: np.ndarray
) -> Ridge:
    """The posterior of the coefficients of the `used` columns under a prior `precision` (k,)."""
    x = columns[:, used]
    matrix = (x * weight[:, None]).T @ x + np.diag(precision[used])
    unit = np.maximum(np.diag(matrix), 1e-300) ** -0.5
    matrix = unit[:, None] * matrix * unit + 1e-10 * np.eye(len(unit))
    upper = np.linalg.cholesky(matrix).T
    back = unit[:, None] * np.linalg.solve(upper, np.eye(len(unit)))
    k = columns.shape[1]
    mode, root = np.zeros(k), np.zeros((k, k))
    mode[used] = back @ (back.T @ (x.T @ (weight * y)))
    root[np.ix_(used, used)] = back
    return Ridge(mode, np.where(used, precision, 0.0), root, 0.0)


def regression(columns: np.ndarray, affine: int, y: np.ndarray, weight: np.ndarray) -> Ridge:
    """Constant, affine or smooth, whichever the evidence asks for; simpler unless clearly better.

    Of the columns (n, k) the first is the constant, the first `affine` are affine, the others
    units. An affine part has the evidence of one observation as its prior (Schwarz 1978).
    """
    k = columns.shape[1]
    flat, smooth = columns[:, :affine], columns[:, affine:]
    gain, s2 = strength(flat, smooth, y, weight)
    bent = gain > CLEARLY
    straight = bent or _slope_gain(columns[:, :1], flat, y, weight) > 0
    used = np.arange(k) < (k if bent else affine if straight else 1)
    precision = np.where(np.arange(k) < affine, 0.0, 1 / s2 if bent else 0.0)
    found = posterior(columns, y, weight, used, precision)
    return Ridge(found.mode, found.precision, found.root, gain if bent else 0.0)


def _slope_gain(one: np.ndarray, flat: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    root = np.sqrt(weight)

    def misses(x: np.ndarray) -> float:
        q, _ = np.linalg.qr(x * root[:, None])
        return float(np.sum((y * root - q @ (q.T @ (y * root))) ** 2))

    more = flat.shape[1] - one.shape[1]
    return 0.5 * (misses(one) - misses(flat)) - 0.5 * more * np.log(len(y))
