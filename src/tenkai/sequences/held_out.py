"""Series that training did not see: errors beside naive ones, and how wide intervals must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..data import Series
from ..records import Coverage
from .evaluation import class_logits, moments, posteriors
from .latent import LatentModel
from .parts import seen_before_end
from .units import Units

KINDS = ("between", "after", "before")
DRAWS = 64
_NOMINAL = 0.9
_FEW = 20  # scores, below which a normal's quantile is as good
_KEPT = 2000  # scores per kind


@dataclass(frozen=True)
class Errors:
    """Root mean squares in units of each variable's standard deviation, over `points` values.

    `naive` are those of a constant (the mean of what was seen of the series), of the last value
    carried forward, and, between observations, of straight lines.
    """

    error: float
    naive: dict[str, float]
    points: int
    coverage: Coverage

    @property
    def best_naive(self) -> tuple[str, float]:
        """Name and error of the best naive answer."""
        name = min(self.naive, key=lambda k: self.naive[k])
        return name, self.naive[name]

    def __str__(self) -> str:
        name, naive = self.best_naive
        return f"error {self.error:.3f} sd, best naive ({name}) {naive:.3f}; {self.coverage}"


@dataclass(frozen=True)
class Scores:
    """`errors` between, after and before what was seen of the held-out series.

    `scaled` are the misses over the predicted standard deviation, sorted, by the same kinds: their
    quantiles are the factors of the intervals. `accuracy` and `majority` are shares of the series
    whose class is right, and that are of the commonest class; `auc` where there are two classes.
    """

    series: int
    errors: dict[str, Errors]
    scaled: dict[str, np.ndarray] = field(repr=False)
    accuracy: float | None = None
    majority: float | None = None
    auc: float | None = None

    def factor(self, kind: str, coverage: float) -> float:
        """How many predicted standard deviations hold that share."""
        return conformal(self.scaled.get(kind, np.empty(0)), coverage)


class _Found(NamedTuple):
    """Values of one kind, flat over series, times and variables; standardised."""

    series: np.ndarray
    miss: np.ndarray
    sd: np.ndarray
    naive: dict[str, np.ndarray]  # their misses


def conformal(scaled: np.ndarray, coverage: float) -> float:
    """The quantile that holds a share of new scores (Vovk et al. 2005); a normal's where few."""
    n = len(scaled)
    if n < _FEW:
        from scipy.special import ndtri

        return float(ndtri(0.5 + coverage / 2))
    at = int(np.ceil((n + 1) * coverage)) - 1
    return float(np.sort(scaled)[min(at, n - 1)])


def scores(
    model: LatentModel, units: Units, series: Sequence[Series], longest: float, *, seed: int = 0,
    labels: np.ndarray | None = None,
) -> Scores:  # fmt: skip
    """What the model says of the hidden parts of series that did not train it."""
    rng = np.random.default_rng([seed, 6])
    masks = [seen_before_end(s.t, s.x, rng) for s in series]
    late = _found(model, units, series, [m[:, 0] for m in masks], longest, seed)
    turned = [_mirrored(s, rng) for s in series]
    early = _found(model, units, series, turned, longest, seed)
    kinds = {"between": late["between"], "after": late["after"], "before": early["before"]}
    kinds = {k: v for k, v in kinds.items() if len(v.miss)}
    errors = {k: _errors(v) for k, v in kinds.items()}
    scaled = {k: _thinned(np.abs(v.miss) / v.sd) for k, v in kinds.items()}
    words = {} if labels is None else _classes(model, units, series, labels, longest)
    return Scores(len(series), errors, scaled, **words)


def _mirrored(one: Series, rng: np.random.Generator) -> np.ndarray:
    """As `seen_before_end`, with the beginning hidden instead of the end; bool (times,)."""
    return seen_before_end(-one.t[::-1], one.x[::-1], rng)[::-1, 0]


def given(one: Series, kept: np.ndarray) -> Series:
    """What is left of a series, from its first to its last observation."""
    return Series(one.id, one.t[kept], one.x[kept])


def noise_of(model: LatentModel) -> np.ndarray:
    """Standard deviations (dim,), standardised."""
    return np.exp(np.asarray(model.log_noise, np.float64))


def _found(
    model: LatentModel, units: Units, series: Sequence[Series], kept: Sequence[np.ndarray],
    longest: float, seed: int,
) -> dict[str, _Found]:  # fmt: skip
    """Misses at everything that was not kept, by where it lies."""
    parts = [given(s, k & ~np.isnan(s.x).all(1)) for s, k in zip(series, kept, strict=True)]
    posterior = posteriors(model, units.spells(parts), longest)
    times = [
        (s.t[~k] - p.t[0]) / units.span for s, k, p in zip(series, kept, parts, strict=True)
    ]  # fmt: skip
    said = moments(model, posterior, times, longest / 2, draws=DRAWS, seed=seed)
    noise = noise_of(model)
    found: dict[str, list[_Found]] = {k: [] for k in KINDS}
    for i, (one, part, k) in enumerate(zip(series, parts, kept, strict=True)):
        x, mean = units.state.forward(one.x[~k]), said.mean[i]
        sd = np.sqrt(said.sd[i] ** 2 + noise**2)
        naive = _naive(part, one.t[~k], units)
        t = one.t[~k]
        after, before = t > part.t[-1], t < part.t[0]
        for kind, where in zip(KINDS, (~after & ~before, after, before), strict=True):
            use = where[:, None] & ~np.isnan(x)
            found[kind].append(
                _Found(np.full(int(use.sum()), i), (mean - x)[use], sd[use],
                       {n: (v - x)[use] for n, v in naive.items()})
            )  # fmt: skip
    return {kind: _joined(kind, some) for kind, some in found.items()}


def _joined(kind: str, some: list[_Found]) -> _Found:
    names = ("mean", "last value", "straight lines") if kind == "between" else (
        "mean", "last value" if kind == "after" else "first value"
    )  # fmt: skip
    naive = {n: np.concatenate([f.naive[n] for f in some]) for n in names}
    return _Found(
        np.concatenate([f.series for f in some]), np.concatenate([f.miss for f in some]),
        np.concatenate([f.sd for f in some]), naive,
    )  # fmt: skip


def _naive(part: Series, at: np.ndarray, units: Units) -> dict[str, np.ndarray]:
    """Standardised naive answers (times, dim): out of what was seen of this series alone."""
    seen = units.state.forward(part.x)
    out = {n: np.zeros((len(at), seen.shape[1])) for n in
           ("mean", "last value", "first value", "straight lines")}  # fmt: skip
    for j, column in enumerate(seen.T):
        known = ~np.isnan(column)
        if not known.any():
            continue  # the mean of all data, which is zero
        t, x = part.t[known], column[known]
        before = np.clip(np.searchsorted(t, at, side="right") - 1, 0, None)
        out["mean"][:, j], out["first value"][:, j] = x.mean(), x[0]
        out["last value"][:, j] = x[before]
        out["straight lines"][:, j] = np.interp(at, t, x)
    return out


def _errors(found: _Found) -> Errors:
    def size(miss: np.ndarray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sqrt(np.mean(miss**2)))

    return Errors(
        size(found.miss), {k: size(v) for k, v in found.naive.items()}, len(found.miss),
        _covered(found),
    )  # fmt: skip


def _covered(found: _Found) -> Coverage:
    """Half of the series set the factor, the other half is counted; and the other way round."""
    halves = found.series % 2 == 0
    scaled = np.abs(found.miss) / found.sd
    inside = 0
    for half in (halves, ~halves):
        factor = conformal(scaled[~half], _NOMINAL)
        inside += int((scaled[half] <= factor).sum())
    return Coverage(inside, len(scaled), _NOMINAL)


def _thinned(scaled: np.ndarray) -> np.ndarray:
    """Sorted, and of many only their quantiles."""
    ordered = np.sort(scaled)
    if len(ordered) <= _KEPT:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, _KEPT).round().astype(int)]


def _classes(
    model: LatentModel, units: Units, series: Sequence[Series], labels: np.ndarray, longest: float
) -> dict[str, Any]:
    known = labels >= 0
    if not known.any():
        return {}
    whole = [s for s, k in zip(series, known, strict=True) if k]
    logits = class_logits(model, posteriors(model, units.spells(whole), longest).mean)
    truth = labels[known]
    words: dict[str, Any] = {
        "accuracy": float(np.mean(logits.argmax(1) == truth)),
        "majority": float(np.bincount(truth).max() / len(truth)),
    }
    if logits.shape[1] == 2 and 0 < truth.sum() < len(truth):
        words["auc"] = area(logits[:, 1] - logits[:, 0], truth)
    return words


def area(score: np.ndarray, truth: np.ndarray) -> float:
    """The area under the ROC curve: how often the right one of a pair scores higher."""
    from scipy.stats import rankdata

    ranks, ones = rankdata(score), truth == 1
    n, m = int(ones.sum()), int((~ones).sum())
    return float((ranks[ones].sum() - n * (n + 1) / 2) / (n * m))
