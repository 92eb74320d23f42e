"""Rows that training did not see: the flow beside simple densities on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from .baselines import Baseline, baselines, can_fit, choose
from .checks import folds, groups

if TYPE_CHECKING:
    import pandas as pd

_FOLDS = 5
_MOST_ASKED, _MOST_TRAINED = 4000, 8000


@dataclass(frozen=True)
class Beside:
    """A simple density: mean held-out log density, and the flow's gain with its standard error."""

    name: str
    chosen: str
    mean: float
    gain: float
    error: float


@dataclass(frozen=True)
class HeldOutDensity:
    """Mean log density of rows under members that did not train on them: nats, raw units.

    `error` is the standard error of `mean` over `rows`, in which equal rows count as one. Each of
    `beside` was fitted to four fifths of the rows and asked for the same left-out ones; there is
    none where these do not determine a covariance, because they are too few or a column does not
    vary among them.
    """

    mean: float
    error: float
    rows: int
    beside: tuple[Beside, ...] = ()
    unit: str = "row"

    @property
    def best(self) -> Beside | None:
        """The best of the simple densities."""
        return max(self.beside, key=lambda b: b.mean, default=None)

    def to_frame(self) -> pd.DataFrame:
        """One row per density: name, chosen, mean, gain, error."""
        import pandas as pd

        rows = [(b.name, b.chosen, b.mean, b.gain, b.error) for b in self.beside]
        flow = ("flow", "", self.mean, 0.0, self.error)
        return pd.DataFrame([flow, *rows], columns=["density", "chosen", "mean", "gain", "error"])

    def __str__(self) -> str:
        lines = [f"held-out log density {self.mean:.4g} ± {self.error:.2g} nats per {self.unit}"]
        lines += [f"  {b.name} ({b.chosen}): {b.mean:.4g}" for b in self.beside]
        return "\n".join(lines)


def compare(
    x: Float[np.ndarray, "rows dim"],
    context: Any,
    logs: Float[np.ndarray, " rows"],
    *,
    simple: bool = True,
    seed: int = 0,
) -> HeldOutDensity | None:
    """`logs` holds the log density of every row that was left out, NaN elsewhere."""
    seen = np.flatnonzero(~np.isnan(logs))
    if not len(seen):
        return None
    random = np.random.default_rng(seed)
    asked = np.sort(random.permutation(seen)[:_MOST_ASKED]) if simple else seen
    mine = logs[asked]
    same = groups((x if context is None else np.hstack([x, context]))[asked])
    beside: tuple[Beside, ...] = ()
    if parts := _simple(x, context, asked, random, seed) if simple else []:
        order = np.argsort(np.concatenate([test for test, _ in parts]))
        for kind in zip(*(fitted for _, fitted in parts), strict=True):
            theirs = np.concatenate([b.log_density for b in kind])[order]
            gain, error = mean_of(mine - theirs, same)
            beside += (Beside(kind[0].name, kind[0].chosen, float(theirs.mean()), gain, error),)
    return HeldOutDensity(*mean_of(mine, same), len(asked), beside)


def _simple(
    x: np.ndarray, context: Any, asked: np.ndarray, random: np.random.Generator, seed: int
) -> list[tuple[np.ndarray, tuple[Baseline, ...]]]:
    """Rows of every fold and the simple densities there; nothing if one of them cannot be."""
    fold, parts, choice = folds(x, _FOLDS, seed), [], None
    for k in np.unique(fold[asked]):
        test = asked[fold[asked] == k]
        train = random.permutation(np.flatnonzero(fold != k))[:_MOST_TRAINED]
        given = None if context is None else context[train]
        if not can_fit(x[train], given):
            return []
        choice = choice or choose(x[train], given, seed)
        pair = None if context is None else (context[train], context[test])
        parts.append((test, baselines(x[train], x[test], pair, seed, choice)))
    return parts


def mean_of(
    values: Float[np.ndarray, " rows"], same: Int[np.ndarray, " rows"]
) -> tuple[float, float]:
    """The mean and its standard error, where rows with the same number in `same` count as one.

    Copies of a row say nothing new: the error is clustered by distinct row,
    ``s^2 = G / (G - 1) sum_g (sum_{i in g} (v_i - mean))^2 / n^2`` (Liang and Zeger 1986). Without
    copies it is the standard deviation over the root of n.

    >>> import numpy as np
    >>> v, once = np.array([1.0, 2.0, 4.0]), np.arange(3)
    >>> mean_of(np.repeat(v, 10), np.repeat(once, 10)) == mean_of(v, once)
    True
    """
    if not np.isfinite(values).all():  # a row far out, of which the flow loses track
        return float(values.mean()), float("inf")
    mean = values.mean()
    sums = np.bincount(same, values - mean)
    sums = sums[np.bincount(same) > 0]
    different = len(sums)
    if different < 2:
        return float(mean), float("inf")
    variance = different / (different - 1) * (sums**2).sum() / len(values) ** 2
    return float(mean), float(variance**0.5)
