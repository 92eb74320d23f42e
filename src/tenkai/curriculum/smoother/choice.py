"""Clock, rhythm, noise kind and outliers of a variable: each must earn its likelihood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from .evidence import Found, Sample, found, lengths_for, periods
from .process import MOST, Clock, Kernel, Rhythm, Smooth, condition, covariance

Shape = Callable[[np.ndarray], np.ndarray]
Series = Sequence[tuple[np.ndarray, np.ndarray]]

_CLEARLY = 2.0  # log likelihood that a more special model must gain
_FLOOR = 0.1  # of the typical noise: what is left where shaped noise would vanish
_SEEN, _ALL = 1e-5, 1.0  # noise ratios between which there is noise, and a signal to shape it
_TICKS = 400
_NEAR = 3.0  # factor of the last length within which the next is sought
_WINDOW = 0.02  # of the span, over which the clock's rate is averaged
_RHYTHM_GAIN = 6.0  # log likelihood that a rhythm must gain: several are tried
_WIDTHS = (0.7, 2.0)
_COARSE = 6  # lengths tried with each rhythm
_LEAST = (0.3, 0.1)  # least speed, of the typical one, in the clock's first and second reading
_ODD = 4.0  # deviations from what the other points say, of an outlier
_ODD_GAIN = 12.0  # log likelihood that setting one aside must gain, and at most 0.6 a point
_PER_ODD, _MOST_ODD = 100, 3  # points per further outlier: more are spikes of the signal itself
_CONTENT = 3.5  # deviations that no other point may then show: it was a spike
_ASIDE = 1e4  # noise variance of a point set aside, times what it was


@dataclass(frozen=True, eq=False)
class _Guess:
    """A model of all series of one variable, and its log likelihood.

    Per series: centre, clock, shape of the noise variance, and its factors at outliers. The
    evidence sees values over their common `spread`. `unit` is the signal's shape function where
    the noise variance's shape is one.
    """

    series: Series
    centres: Sequence[float]
    clocks: Sequence[Clock]
    profiles: Sequence[np.ndarray]
    odd: Sequence[np.ndarray]
    lengths: np.ndarray
    spread: float
    rhythm: Rhythm | None = None
    kind: str = "constant"
    unit: float = 1.0
    picks: Sequence[Found] = ()
    total: float = -np.inf

    def samples(self) -> list[Sample]:
        """What the evidence sees."""
        parts = zip(self.series, self.centres, self.clocks, self.profiles, self.odd, strict=True)
        return [Sample(clock(t), (x - c) / self.spread, v * o) for (t, x), c, clock, v, o in parts]

    def fitted(self) -> _Guess:
        """With the best length, noise ratio and amplitude of every series."""
        lengths = self.lengths
        if self.picks:  # A better clock or noise moves the length a little.
            near = [p.length for p in self.picks]
            inside = (lengths > min(near) / _NEAR) & (lengths < max(near) * _NEAR)
            lengths = lengths[inside]
        picks, total = found(self.samples(), lengths, self.lengths[-1], self.rhythm)
        return replace(self, picks=picks, total=total)

    def kernels(self) -> list[Kernel]:
        """A kernel per series."""
        out = []
        for i, pick in enumerate(self.picks):
            amplitude = self.spread * float(np.sqrt(pick.variance))
            sd = float(np.sqrt(pick.ratio)) * amplitude
            out.append(
                Kernel(
                    length=pick.length,
                    amplitude=amplitude,
                    centre=self.centres[i],
                    clock=self.clocks[i],
                    at=self.series[i][0],
                    sd=sd * np.sqrt(self.profiles[i] * self.odd[i]),
                    kind=self.kind,
                    level=sd / self.unit,
                    rhythm=self.rhythm,
                )
            )
        return out

    def at(self, points: Sequence[np.ndarray]) -> list[Smooth]:
        """The series smoothed at points."""
        kernels = self.kernels()
        return [
            condition(t, x, p, k) for (t, x), p, k in zip(self.series, points, kernels, strict=True)
        ]


def choose(series: Series, shape: Shape | None = None) -> list[Kernel]:
    """Kernels for the series (times, values) of one variable, each of at least one point.

    Tried in turn, by marginal likelihood: a clock that runs faster where the signal changes
    faster, or a rhythm in its place; noise of standard deviation proportional to
    ``shape(signal)`` instead of a constant one; single points set aside as outliers.
    """
    centres = [float(x.mean()) for _, x in series]
    misses = np.concatenate([x - c for (_, x), c in zip(series, centres, strict=True)])
    plain = _Guess(
        series=series,
        centres=centres,
        clocks=[Clock(t[0] + np.array([0.0, 1.0]), np.array([0.0, 1.0])) for t, _ in series],
        profiles=[np.ones(len(t)) for t, _ in series],
        odd=[np.ones(len(t)) for t, _ in series],
        lengths=lengths_for([t for t, _ in series]),
        spread=float(misses.std()) or 1.0,
    ).fitted()
    return (_without_outliers(plain, shape) or _completed(plain, shape)).kernels()


def _without_outliers(plain: _Guess, shape: Shape | None) -> _Guess | None:
    """The model with a few points set aside, if that beats the best one with all points.

    A spike of the signal also looks like an outlier to a clock that does not hurry through it: so
    complete models are compared, and no further point may then look strange.
    """
    points = sum(len(t) for t, _ in plain.series)
    aside, best = plain, None
    for count in range(1, 1 + min(_MOST_ODD, 1 + points // _PER_ODD)):
        gain = count * min(_ODD_GAIN, 0.6 * points)
        scores = _scores(aside)
        if max(_strangeness(z) for z in scores) < 1.0:
            break
        aside = _set_aside(aside, scores).fitted()
        if aside.total < plain.total + gain:
            continue
        best = best or _completed(plain, shape)
        other = _completed(aside, shape)
        content = max(float(np.abs(z).max()) for z in _scores(other)) < _CONTENT
        if content and other.total > best.total + gain:
            return other
    return best


def _completed(guess: _Guess, shape: Shape | None) -> _Guess:
    rhythmic = _rhythmic(guess)
    for least in _LEAST:
        guess = _better(guess, _timed(guess, least))
    if rhythmic is not None:
        guess = _better(guess, rhythmic, _RHYTHM_GAIN)
    ratios = [p.ratio for p in guess.picks]
    if shape is None or min(ratios) < _SEEN or max(ratios) > _ALL:
        return guess
    return _better(guess, _shaped(_shaped(guess, shape), shape))


def _better(old: _Guess, new: _Guess, gain: float = _CLEARLY) -> _Guess:
    return new if new.total > old.total + gain else old


def _rhythmic(guess: _Guess) -> _Guess | None:
    """The best rhythm that the longest series shows: waves of few points each look like noise."""
    longest = int(np.argmax([len(t) for t, _ in guess.series]))
    t, x = (a[:MOST] for a in guess.series[longest])
    usual = guess.odd[longest][:MOST] == 1
    best = None
    for period in periods(t[usual], x[usual]):
        lengths = np.geomspace(period, max(guess.lengths[-1], 2 * period), _COARSE)
        for width in _WIDTHS:
            rhythm = Rhythm(period, width)
            new = replace(guess, rhythm=rhythm, lengths=lengths, picks=()).fitted()
            best = new if best is None or new.total > best.total else best
    return best


def _timed(guess: _Guess, least: float) -> _Guess:
    """On clocks whose rate is the square root of the speed that the guess shows, averaged.

    The whole speed would make every signal a straight line; the root keeps honest spreads.
    """
    grids = [np.linspace(t[0], t[-1], _ticks(len(t))) for t, _ in guess.series]
    smooths = guess.at(grids)
    typical = float(np.mean([np.mean(s.slope**2) for s in smooths]))
    clocks = []
    for old, grid, s in zip(guess.clocks, grids, smooths, strict=True):
        if typical == 0.0 or grid[-1] <= grid[0]:
            clocks.append(old)
            continue
        width = _WINDOW * len(grid)
        reach = int(3 * width)
        window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
        speed = np.pad(np.sqrt(s.slope**2 + least**2 * typical), reach, mode="edge")
        rate = np.sqrt(np.convolve(speed, window / window.sum(), "valid"))
        ticks = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
        clocks.append(Clock(grid, ticks * (grid[-1] - grid[0]) / ticks[-1]))
    return replace(guess, clocks=clocks).fitted()


def _ticks(points: int) -> int:
    return max(min(_TICKS, 10 * points), 2 * points)


def _shaped(guess: _Guess, shape: Shape) -> _Guess:
    """With noise that follows the shape of the smooth that the guess gives."""
    squares = [shape(s.value) ** 2 for s in guess.at([t for t, _ in guess.series])]
    typical = float(np.mean(np.concatenate(squares))) or 1.0
    profiles = [q / typical + _FLOOR**2 for q in squares]
    mean = float(np.mean(np.concatenate(profiles)))
    unit = float(np.sqrt(typical * mean))
    shaped = replace(guess, profiles=[p / mean for p in profiles], kind="shaped", unit=unit)
    return shaped.fitted()


def _scores(guess: _Guess) -> list[Float[np.ndarray, " n"]]:
    """Leave-one-out misses in their standard deviations (Rasmussen & Williams 2006, eq. 5.12).

    Zero at points set aside, at the ends, which nothing contradicts, and in long series.
    """
    out = []
    for s, pick, odd in zip(guess.samples(), guess.picks, guess.odd, strict=True):
        z = np.zeros(len(s.u))
        if 3 <= len(z) <= MOST:
            known = covariance(s.u[:, None] - s.u, pick.length, guess.rhythm)
            inverse = np.linalg.inv(known + np.diag(pick.ratio * s.variance))
            z = inverse @ s.y / np.sqrt(np.diag(inverse) * pick.variance)
            z = np.where(odd > 1, 0.0, z)
            z[[0, -1]] = 0.0
        out.append(z)
    return out


def _strangeness(z: np.ndarray) -> float:
    """The largest miss over that of an outlier; of n points none exceeds the root of n."""
    return float(np.abs(z).max()) / min(_ODD, 0.8 * np.sqrt(len(z)))


def _set_aside(guess: _Guess, scores: Sequence[np.ndarray]) -> _Guess:
    strangest = int(np.argmax([_strangeness(z) for z in scores]))
    odd = [o.copy() for o in guess.odd]
    odd[strangest][np.argmax(np.abs(scores[strangest]))] = _ASIDE
    return replace(guess, odd=odd)
