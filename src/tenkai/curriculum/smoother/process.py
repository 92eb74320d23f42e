"""A Gaussian process of one variable on its own clock, conditioned on noisy observations."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MOST = 200  # points per block: eigendecompositions grow with the cube


class Clock(NamedTuple):
    """A time of the process that runs faster where the signal changes faster.

    Piecewise linear: ``rate`` between the knots of the true time, and as at the ends beyond them.
    """

    knots: Float[np.ndarray, " k"]
    ticks: Float[np.ndarray, " k"]

    def __call__(self, t: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The process's time at true times ``t``."""
        rates = self._rates()
        first, last = rates[0], rates[-1]
        beyond = first * np.minimum(t - self.knots[0], 0) + last * np.maximum(t - self.knots[-1], 0)
        return np.interp(t, self.knots, self.ticks) + beyond

    def rate(self, t: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Its derivative, interpolated between the middles of the knots."""
        middles = (self.knots[1:] + self.knots[:-1]) / 2
        return np.interp(t, middles, self._rates())

    def _rates(self) -> np.ndarray:
        return np.diff(self.ticks) / np.diff(self.knots)


class Rhythm(NamedTuple):
    """A period, and how smooth a wave is: the smaller `width`, the more overtones."""

    period: float
    width: float


class Kernel(NamedTuple):
    """What one series of one variable is smoothed with; found by `choose`.

    Matern 5/2 covariance of standard deviation `amplitude` and `length` (in the time of `clock`)
    around `centre`, times a periodic one where there is a `rhythm`. The noise has the standard
    deviation ``sd`` at the observation times ``at`` and is interpolated between them; `kind` and
    `level` say it in words and one number: the standard deviation ("constant"), or that of an
    observation where ``shape(signal) = 1`` ("shaped").
    """

    length: float
    amplitude: float
    centre: float
    clock: Clock
    at: Float[np.ndarray, " n"]
    sd: Float[np.ndarray, " n"]
    kind: str
    level: float
    rhythm: Rhythm | None = None

    def noise_sd(self, t: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Standard deviation of the noise of observations at times ``t``."""
        return np.interp(t, self.at, self.sd)


class Smooth(NamedTuple):
    """Posterior mean of value and slope at the asked times, their spreads, and the noise there.

    `level` and `kind` are the noise in one number and a word, as in `Kernel`.
    """

    value: np.ndarray
    slope: np.ndarray
    value_sd: np.ndarray
    slope_sd: np.ndarray
    noise_sd: np.ndarray
    noise: float
    kind: str


def condition(t: np.ndarray, x: np.ndarray, at: np.ndarray, kernel: Kernel) -> Smooth:
    """The process given observations ``x`` (n,) at times ``t`` (n,), at times ``at`` (m,).

    Long series are conditioned in overlapping blocks.
    """
    if len(t) <= MOST:
        parts = [(np.ones(len(at), bool), _block(t, x, at, kernel))]
    else:
        blocks = int(np.ceil(len(t) / (0.8 * MOST)))
        edges = np.linspace(0, len(t), blocks + 1).astype(int)
        parts, overlap = [], MOST // 10
        for i, (a, b) in enumerate(itertools.pairwise(edges)):
            lo, hi = max(0, a - overlap), min(len(t), b + overlap)
            left = -np.inf if i == 0 else t[a]
            right = np.inf if i == blocks - 1 else t[b]
            inside = (at >= left) & (at < right)
            parts.append((inside, _block(t[lo:hi], x[lo:hi], at[inside], kernel)))
    out = [np.empty(len(at)) for _ in range(4)]
    for inside, part in parts:
        for target, piece in zip(out, part, strict=True):
            target[inside] = piece
    return Smooth(*out, noise_sd=kernel.noise_sd(at), noise=kernel.level, kind=kernel.kind)


def _block(t: np.ndarray, x: np.ndarray, at: np.ndarray, kernel: Kernel) -> tuple:
    length, rhythm, variance = kernel.length, kernel.rhythm, kernel.amplitude**2
    whiten = 1.0 / kernel.noise_sd(t)
    inner, asked, rate = kernel.clock(t), kernel.clock(at), kernel.clock.rate(at)
    known = covariance(inner[:, None] - inner, length, rhythm) * whiten[:, None] * whiten
    values, vectors = np.linalg.eigh(known)
    inverse = 1.0 / (np.maximum(values, 0.0) + 1.0 / variance)
    rotated = vectors.T @ ((x - kernel.centre) * whiten)
    d = asked[:, None] - inner
    k = (covariance(d, length, rhythm) * whiten) @ vectors
    dk = (covariance_slope(d, length, rhythm) * whiten) @ vectors
    left = 1.0 - (k**2 * inverse).sum(1)
    slope_left = slope_variance(length, rhythm) - (dk**2 * inverse).sum(1)
    return (
        kernel.centre + k @ (inverse * rotated),
        rate * (dk @ (inverse * rotated)),
        kernel.amplitude * np.sqrt(np.maximum(left, 0.0)),
        rate * kernel.amplitude * np.sqrt(np.maximum(slope_left, 0.0)),
    )


def covariance(d: np.ndarray, length, rhythm: Rhythm | None = None) -> np.ndarray:
    """Matern 5/2 of unit variance (Rasmussen & Williams 2006, eq. 4.17); ``d = t - s``.

    With a rhythm, times the periodic ``exp(-2 sin(pi d / period)^2 / width^2)`` (eq. 4.31): waves
    whose shape drifts over the length.
    """
    r = np.sqrt(5.0) * np.abs(d) / length
    return (1 + r + r * r / 3) * np.exp(-r) * _wave(d, rhythm)


def covariance_slope(d: np.ndarray, length: float, rhythm: Rhythm | None = None) -> np.ndarray:
    """Derivative of the covariance with respect to its first time."""
    r = np.sqrt(5.0) * np.abs(d) / length
    slope = -(5.0 / (3.0 * length**2)) * d * (1 + r) * np.exp(-r) * _wave(d, rhythm)
    if rhythm is None:
        return slope
    turn = 2 * np.pi / rhythm.period
    return slope - covariance(d, length, rhythm) * turn / rhythm.width**2 * np.sin(turn * d)


def slope_variance(length: float, rhythm: Rhythm | None) -> float:
    """Variance of the slope before anything was observed, at unit amplitude."""
    wave = 0.0 if rhythm is None else (2 * np.pi / (rhythm.period * rhythm.width)) ** 2
    return 5.0 / (3.0 * length**2) + wave


def _wave(d: np.ndarray, rhythm: Rhythm | None) -> np.ndarray | float:
    if rhythm is None:
        return 1.0
    return np.exp(-2.0 * (np.sin(np.pi * d / rhythm.period) / rhythm.width) ** 2)
