"""Length scale, amplitude and noise of a variable by marginal likelihood, pooled over its series.

One eigendecomposition of the whitened covariance per length scale makes every noise ratio free,
and the amplitude has a closed form (Rasmussen & Williams 2006, section 5.4). A series listens to
the other series of its variable, so that series of a few points need not choose alone: the others'
likelihood counts, raised to a power that leaves it the worth of some tens of points (power prior,
Ibrahim & Chen 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .process import MOST, Rhythm, covariance

RATIOS = 10.0 ** np.linspace(-7, 0.5, 16)
_LENGTHS = 16
_WIDE = 2.5  # e-folds of the prior of the length
_OTHERS = 30.0  # points that the other series are worth at most
_FEWEST = 12  # points that can show a rhythm
_SHARE = 0.2  # of the variance, that a wave must explain to be tried as a rhythm
_VOTERS = 24  # series that are asked; further ones follow these


class Sample(NamedTuple):
    """One series as the evidence sees it: clock times, centred values, shape of the noise."""

    u: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    variance: Float[np.ndarray, " n"]


class Found(NamedTuple):
    """Length, noise ratio and squared amplitude of one series."""

    length: float
    ratio: float
    variance: float


def lengths_for(times: Sequence[np.ndarray]) -> Float[np.ndarray, " lengths"]:
    """Length scales to try: from one and a half typical gaps to twice the longest span."""
    longest = max(float(np.ptp(t)) for t in times) or 1.0
    gaps = np.concatenate([np.diff(t) for t in times])
    least = max(1.5 * float(np.median(gaps)) if len(gaps) else longest, longest / 200)
    return np.geomspace(least, max(2.0 * longest, 1.5 * least), _LENGTHS)


def found(
    samples: Sequence[Sample], lengths: np.ndarray, longest: float, rhythm: Rhythm | None = None
) -> tuple[list[Found], float]:
    """The best of `lengths` for every series, and the sum of their log likelihoods."""
    asked = np.unique(np.linspace(0, len(samples) - 1, min(_VOTERS, len(samples))).astype(int))
    votes = {int(i): _surface(_middle(samples[i]), lengths, rhythm) for i in asked}
    points = sum(n for n, _, _ in votes.values())
    square_of_all = sum(square for _, square, _ in votes.values())
    volume_of_all = sum(volume for _, _, volume in votes.values())
    # Weak priors: against calling everything noise, or wiggle, where few points cannot tell.
    prior = -0.5 * np.log10(RATIOS / 1e-2).clip(0) ** 2
    prior = prior - 0.5 * (np.log(lengths / longest) / _WIDE)[:, None] ** 2
    silent = (0, np.zeros(prior.shape), np.zeros(prior.shape))
    best, total = [], 0.0
    for i in range(len(samples)):
        n, square, volume = votes.get(i, silent)
        share = min(1.0, _OTHERS / max(points - n, 1))
        heard = n + share * (points - n)
        variance = (square + share * (square_of_all - square)) / heard + 1e-14
        spread = volume + share * (volume_of_all - volume)
        at = np.unravel_index(
            np.argmax(prior - 0.5 * (heard * np.log(variance) + spread)), prior.shape
        )
        own = float(variance[at])
        best.append(Found(float(lengths[at[0]]), float(RATIOS[at[1]]), own))
        total -= 0.5 * float(n * np.log(own) + square[at] / own + volume[at])
    return best, total


def _surface(
    sample: Sample, lengths: np.ndarray, rhythm: Rhythm | None
) -> tuple[int, np.ndarray, np.ndarray]:
    """Points, squared whitened values and log determinant (lengths, ratios) at unit amplitude."""
    whiten = 1.0 / np.sqrt(sample.variance)
    d = sample.u[:, None] - sample.u
    known = covariance(d, lengths[:, None, None], rhythm) * whiten[:, None] * whiten
    values, vectors = np.linalg.eigh(known)
    spread = np.maximum(values, 0.0)[:, :, None] + RATIOS
    rotated = np.swapaxes(vectors, 1, 2) @ (sample.y * whiten)
    square = (rotated[:, :, None] ** 2 / spread).sum(1)
    return len(sample.u), square, np.log(spread).sum(1) + np.log(sample.variance).sum()


def _middle(sample: Sample) -> Sample:
    """Of many points a middle block decides."""
    first = max(0, (len(sample.u) - MOST) // 2)
    return Sample(*(a[first : first + MOST] for a in sample))


def periods(t: np.ndarray, x: np.ndarray, count: int = 2) -> list[float]:
    """Periods of the highest peaks of the least-squares periodogram (Lomb 1976).

    At least three periods fit into the span, two points into a period, and a wave of such a period
    explains a fair share of the variance.
    """
    n, span, y = len(t), float(np.ptp(t)), x - x.mean()
    if n < _FEWEST or span <= 0 or n / 2 <= 3 or not y.any():
        return []
    every = np.arange(3.0, n / 2, 0.1) / span
    share = _explained(t, y, every)
    found_periods: list[float] = []
    for i in np.argsort(-share)[: 10 * count]:
        new = all(abs(np.log(p * every[i])) > 0.15 for p in found_periods)
        if share[i] > _SHARE and new and len(found_periods) < count:
            near = every[i] + np.linspace(-0.1, 0.1, 21) / span
            found_periods.append(1.0 / float(near[np.argmax(_explained(t, y, near))]))
    return found_periods


def _explained(t: np.ndarray, y: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Share of the variance that a cosine and a sine of each frequency explain."""
    angle = 2 * np.pi * frequencies[:, None] * (t - t[0])
    c, s = np.cos(angle), np.sin(angle)
    cc, ss, cs, cy, sy = (c * c).sum(1), (s * s).sum(1), (c * s).sum(1), c @ y, s @ y
    determinant = np.maximum(cc * ss - cs * cs, 1e-9 * len(t) ** 2)
    return (ss * cy**2 - 2 * cs * cy * sy + cc * sy**2) / determinant / (y @ y)
