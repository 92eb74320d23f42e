"""Scores of forecasts: points, errors by horizon, paired differences, coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_ROUNDING = 1 + 1e-9  # an observation "2 years ahead" is within 2 years whatever the last bit
_BARTLETT = (-0.5324, 0.4160, 2.9694, 1.9600)  # its 97.5 % point by the bandwidth's share of n
_FEW = 24  # with so few different times ahead, horizons are some of these


def binomial_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share of which `k` of `n` were seen (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = betaincinv(k, n - k + 1, tail) if k else 0.0
    high = betaincinv(k + 1, n - k, 1 - tail) if k < n else 1.0
    return float(low), float(high)


@dataclass(frozen=True)
class Coverage:
    """`inside` of `points` observations lie in the `nominal` interval."""

    inside: int
    points: int
    nominal: float

    @property
    def share(self) -> float:
        """The measured share; NaN without points."""
        return self.inside / self.points if self.points else float("nan")

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The exact binomial interval of the share (Clopper and Pearson 1934).

        Points of one forecast share their fate; the interval takes them as independent and is
        therefore too narrow: it says how far counting alone can be off.

        >>> [round(x, 3) for x in Coverage(9, 10, 0.9).interval()]
        [0.555, 0.997]
        """
        return binomial_interval(self.inside, self.points, level)

    def __str__(self) -> str:
        if not self.points:
            return "no points to measure the coverage with"
        low, high = self.interval()
        return (
            f"{self.inside} of {self.points} observations ({self.share:.0%}; 95 % binomial "
            f"interval {low:.0%} to {high:.0%}) inside the {self.nominal:.0%} interval"
        )


@dataclass(frozen=True)
class Difference:
    """Mean squared error of one forecast minus another's, in squared standard deviations."""

    mean: float
    standard_error: float
    tied: bool


@dataclass(frozen=True, eq=False)
class Points:
    """What was to be forecast and what naive forecasts said of it: arrays with one entry per point.

    `origin` counts the fits from 0, `seen` is the number of observations the series had there,
    `since` the time of the last one; `ahead` is the time since then in time units (days, where
    times are dates), `sd` the standard deviation of the point's variable over all data.
    """

    origin: np.ndarray
    series: np.ndarray
    seen: np.ndarray
    since: np.ndarray
    time: np.ndarray
    ahead: np.ndarray
    variable: np.ndarray
    observed: np.ndarray
    sd: np.ndarray
    naive: dict[str, np.ndarray]
    naive_interval: tuple[np.ndarray, np.ndarray]
    time_name: str = "time"
    unit: str = ""

    def __len__(self) -> int:
        return len(self.observed)

    def length(self, h: float) -> str:
        """A horizon in words: "2", "10 days"."""
        return f"{h:.4g} {self.unit}".strip()

    def to_frame(self) -> pd.DataFrame:
        """One row per point: where from, what, observed, and the baselines as "naive ..."."""
        import pandas as pd

        lower, upper = self.naive_interval
        columns = {
            "origin": self.origin, "seen": self.seen, "since": self.since, "series": self.series,
            self.time_name: self.time, "ahead": self.ahead, "variable": self.variable,
            "observed": self.observed,
        }  # fmt: skip
        columns |= {f"naive {name}": values for name, values in self.naive.items()}
        columns |= {"naive AR lower": lower, "naive AR upper": upper}
        return pd.DataFrame(columns)

    def inside(self, lower: np.ndarray, upper: np.ndarray, nominal: float) -> Coverage:
        """How many observations an interval holds, of those for which there is one."""
        known = np.isfinite(lower) & np.isfinite(upper)
        held = (self.observed >= lower) & (self.observed <= upper) & known
        return Coverage(int(held.sum()), int(known.sum()), nominal)

    def squares(self, forecast: np.ndarray) -> np.ndarray:
        """Squared errors (points,) in squared standard deviations."""
        with np.errstate(over="ignore", invalid="ignore"):
            return ((forecast - self.observed) / self.sd) ** 2

    def errors(
        self, forecasts: dict[str, np.ndarray], horizons: np.ndarray, *, within: bool
    ) -> pd.DataFrame:
        """Root mean squares by horizon on the points for which all forecasts are finite."""
        import pandas as pd

        squares = {name: self.squares(values) for name, values in forecasts.items()}
        common = np.all([np.isfinite(s) for s in squares.values()], axis=0)
        rows, before = [], 0.0
        for h in horizons:
            use = common & (self.ahead <= h * _ROUNDING)
            if not within:
                use &= self.ahead > before * _ROUNDING
            before, count = h, int(use.sum())
            means = {k: float(np.sqrt(s[use].mean())) if count else np.nan
                     for k, s in squares.items()}  # fmt: skip
            rows.append({"points": count, **means})
        index = pd.Index(horizons, name="horizon", dtype=float)
        return pd.DataFrame(rows, index=index, columns=["points", *squares])

    def difference(self, a: np.ndarray, b: np.ndarray, h: float) -> Difference:
        """Mean squared error of `a` minus that of `b` within `h`, with its standard error.

        ``d = sum_k S_k / N`` over n origins with sums of differences ``S_k`` at ``n_k`` points;
        ``var(d) = n/(n-1) sum_{|i-j|<=L} w_ij e_i e_j / N²``, ``e_k = S_k - d n_k``, with Bartlett
        weights w over the L later origins whose forecasts overlap (Newey and West 1987; Diebold and
        Mariano 1995), never below that of independent origins. A tie: |d| is at most the standard
        error times the 97.5 % point of its distribution for a bandwidth of ``(L + 1) / n`` (Kiefer
        and Vogelsang 2005, table 1), widened as Student's t is for n - 1; or there are fewer than
        three origins. Errors that last longer than a horizon still make false winners: a guide.
        """
        gap = self.squares(a) - self.squares(b)
        use = np.isfinite(gap) & (self.ahead <= h * _ROUNDING)
        kept, where = np.unique(self.origin[use], return_inverse=True)
        n = len(kept)
        if not n:
            return Difference(float("nan"), float("nan"), True)
        sums, counts = np.bincount(where, gap[use]), np.bincount(where)
        mean = float(sums.sum() / counts.sum())
        if n < 3:
            return Difference(mean, float("nan"), True)
        from scipy.special import stdtrit

        rest = sums - mean * counts
        lags = min(self._overlap(kept, h), n - 1)
        own = total = float(rest @ rest)
        for k in range(1, lags + 1):
            total += 2 * (1 - k / (lags + 1)) * float(rest[k:] @ rest[:-k])
        error = float(np.sqrt(n / (n - 1) * max(own, total)) / counts.sum())
        limit = np.polyval(_BARTLETT, (lags + 1) / n) if lags else _BARTLETT[-1]
        limit *= stdtrit(n - 1, 0.975) / _BARTLETT[-1]
        return Difference(mean, error, bool(abs(mean) <= limit * error))

    def _overlap(self, origins: np.ndarray, h: float) -> int:
        """How many later origins lie inside the horizon of one, at most."""
        dates = self.since.dtype.kind == "M"
        since = (
            self.since.astype("datetime64[us]").astype(float) / 86_400e6 if dates else self.since
        )
        begun = np.array([np.median(since[self.origin == k]) for k in origins])
        return int(max(np.sum((begun > one) & (begun < one + h)) for one in begun))


def horizons_of(points: Points, count: int) -> np.ndarray:
    """About `count` horizons up to the longest: times ahead that occur where there are few."""
    if not len(points):
        return np.empty(0)
    ahead = np.unique(np.round(points.ahead, 9))
    even = ahead[-1] * np.arange(1, count + 1) / count
    if len(ahead) > _FEW:
        return even
    return np.unique(ahead[np.searchsorted(ahead, even * (1 - 1e-9))])
