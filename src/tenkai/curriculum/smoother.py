"""A Gaussian-process smoother for one variable at irregular times, with its own noise level.

It starts the training (states and slopes along the data); it never answers a user's question.
Matern 5/2 covariance, length scale and noise ratio by marginal likelihood on a grid: one
eigendecomposition per length scale makes every noise ratio free (Rasmussen & Williams 2006,
section 5.4). Pure NumPy: milliseconds, nothing to compile.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

_RATIOS = 10.0 ** np.linspace(-7, 0.5, 16)
_LENGTHS = 16
_MOST = 300  # points per block: the eigendecompositions grow with the cube


class Kernel(NamedTuple):
    """Length scale and noise ratio (noise variance over signal variance) of one variable."""

    length: float
    ratio: float


class Smooth(NamedTuple):
    """Posterior mean of value and slope at the asked times, their spreads, and the noise level."""

    value: np.ndarray
    slope: np.ndarray
    value_sd: np.ndarray
    slope_sd: np.ndarray
    noise: float


def choose(t: np.ndarray, x: np.ndarray) -> Kernel:
    """The kernel of largest marginal likelihood; of many points a middle block decides."""
    if len(t) > _MOST:
        middle = slice((len(t) - _MOST) // 2, (len(t) + _MOST) // 2)
        t, x = t[middle], x[middle]
    y = (x - x.mean()) / (x.std() or 1.0)
    span, n = t[-1] - t[0], len(t)
    lengths = np.geomspace(max(1.5 * np.median(np.diff(t)), span / 200), 2.0 * span, _LENGTHS)
    best, kernel = -np.inf, Kernel(span, 1e-2)
    for length in lengths:
        values, vectors = np.linalg.eigh(_covariance(t[:, None] - t, length))
        denominator = np.maximum(values, 0.0)[:, None] + _RATIOS
        amplitude = ((vectors.T @ y)[:, None] ** 2 / denominator).mean(0)
        likelihood = -0.5 * (n * np.log(amplitude) + np.log(denominator).sum(0))
        # A weak prior against calling everything noise: few points cannot tell.
        likelihood -= 0.5 * np.log10(_RATIOS / 1e-2).clip(0) ** 2
        i = int(np.argmax(likelihood))
        if likelihood[i] > best:
            best, kernel = likelihood[i], Kernel(length, _RATIOS[i])
    return kernel


def smooth(t: np.ndarray, x: np.ndarray, at: np.ndarray, kernel: Kernel | None = None) -> Smooth:
    """Smooth the observations ``x`` (n,) at times ``t`` (n,) and evaluate at times ``at`` (m,)."""
    kernel = kernel or choose(t, x)
    if len(t) <= _MOST:
        return _condition(t, x, at, kernel)
    blocks = int(np.ceil(len(t) / (0.8 * _MOST)))
    edges = np.linspace(0, len(t), blocks + 1).astype(int)
    parts, overlap = [], _MOST // 10
    for i, (a, b) in enumerate(itertools.pairwise(edges)):
        lo, hi = max(0, a - overlap), min(len(t), b + overlap)
        left = -np.inf if i == 0 else t[a]
        right = np.inf if i == blocks - 1 else t[b]
        inside = (at >= left) & (at < right)
        parts.append((inside, _condition(t[lo:hi], x[lo:hi], at[inside], kernel)))
    out = [np.empty(len(at)) for _ in range(4)]
    for inside, part in parts:
        for target, piece in zip(out, part[:4], strict=True):
            target[inside] = piece
    return Smooth(*out, noise=float(np.median([p.noise for _, p in parts])))


def _condition(t: np.ndarray, x: np.ndarray, at: np.ndarray, kernel: Kernel) -> Smooth:
    length, ratio = kernel
    centre, spread = x.mean(), x.std() or 1.0
    y = (x - centre) / spread
    values, vectors = np.linalg.eigh(_covariance(t[:, None] - t, length))
    inverse = 1.0 / (np.maximum(values, 0.0) + ratio)
    rotated = vectors.T @ y
    scale = spread * np.sqrt(np.mean(rotated**2 * inverse))
    d = at[:, None] - t
    k, dk = _covariance(d, length) @ vectors, _covariance_slope(d, length) @ vectors
    left = 1.0 - (k**2 * inverse).sum(1)
    slope_left = 5.0 / (3.0 * length**2) - (dk**2 * inverse).sum(1)
    return Smooth(
        value=centre + spread * (k @ (inverse * rotated)),
        slope=spread * (dk @ (inverse * rotated)),
        value_sd=scale * np.sqrt(np.maximum(left, 0.0)),
        slope_sd=scale * np.sqrt(np.maximum(slope_left, 0.0)),
        noise=float(scale * np.sqrt(ratio)),
    )


def _covariance(d: np.ndarray, length: float) -> np.ndarray:
    r = np.sqrt(5.0) * np.abs(d) / length
    return (1 + r + r * r / 3) * np.exp(-r)


def _covariance_slope(d: np.ndarray, length: float) -> np.ndarray:
    """Derivative of the covariance with respect to its first time; ``d = t - s``."""
    r = np.sqrt(5.0) * np.abs(d) / length
    return -(5.0 / (3.0 * length**2)) * d * (1 + r) * np.exp(-r)
