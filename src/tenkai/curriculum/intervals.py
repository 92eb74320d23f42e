"""Intervals for new noisy observations, calibrated on points that the judged members did not see.

Scores are misses over a predicted spread (members' spread, noise and, ahead of the data, a growth
with the horizon); their conformal quantile sets the width (Lei et al. 2018, locally weighted).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ..data import Scaler

_FLOOR = 1e-4  # in standard deviations: no interval is narrower than the arithmetic
_SHAPE_RANGE = (0.2, 5.0)  # of noise that follows the signal, over its average
_MOST_GROWTH = 1.0  # in standard deviations: a lost phase is no worse than the data's own spread


@dataclass(frozen=True, eq=False)
class Calibration:
    """Noise per variable (dim,) in standardised units, the scores, and the growth ahead.

    The half width is ``q sqrt(spread^2 + noise^2 + min(growth ahead, 1)^2)``, `ahead` in scaled
    time: errors grow with the horizon up to the spread of the data, where nothing is known. For
    the path itself (latent), `misfit`, the path's own share of the noise, stands for the noise.
    Where a variable is `shaped`, noise follows the signal: `shape` times as large, one on average.
    """

    noise: Float[np.ndarray, " dim"]
    scores: Float[np.ndarray, " n"]
    growth: Float[np.ndarray, " dim"]
    ahead_scores: Float[np.ndarray, " m"]
    misfit: Float[np.ndarray, " dim"]
    shaped: Float[np.ndarray, " dim"]
    usual: Float[np.ndarray, " dim"]

    def shape(self, z: Float[Any, "*n dim"], scaler: Scaler, xp: Any = np) -> Float[Any, "*n dim"]:
        """The noise at standardised states over its average."""
        size = noise_size(z, scaler, xp) / self.usual
        return xp.where(self.shaped > 0, xp.clip(size, *_SHAPE_RANGE), 1.0)

    def half_width(
        self,
        spread: Float[Any, "time dim"],
        coverage: float,
        ahead: Float[Any, " time"] | None = None,
        *,
        latent: bool = False,
        shape: Float[Any, "time dim"] | float = 1.0,
        xp: Any = np,
    ) -> Float[Any, "time dim"]:
        """Half width in standardised units; `ahead` is the time since the last observation.

        Pass ``xp=jax.numpy`` to trace through it, as through a `Scaler`.
        """
        q = quantile(self.scores, coverage)
        width = xp.sqrt(spread**2 + (self.misfit if latent else shape * self.noise) ** 2)
        if ahead is None:
            return q * width
        grown = xp.minimum(self.growth * xp.maximum(ahead, 0.0)[:, None], _MOST_GROWTH)
        far = xp.sqrt(width**2 + grown**2)
        wide = max(q, quantile(self.ahead_scores, coverage)) if len(self.ahead_scores) else q
        return xp.where((ahead > 0)[:, None], wide, q) * far

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, for a file."""
        return {k: np.asarray(v).tolist() for k, v in vars(self).items()}

    @classmethod
    def from_dict(cls, lists: dict[str, list[float]]) -> Calibration:
        """The calibration that `to_dict` wrote, now or before noise had a misfit and a shape."""
        none = [0.0 for _ in lists["noise"]]
        lists = {"misfit": lists["noise"], "shaped": none, "usual": [1.0 for _ in none]} | lists
        return cls(**{k: np.asarray(v, float) for k, v in lists.items()})


def quantile(scores: np.ndarray, coverage: float) -> float:
    """The ``ceil((n + 1) coverage)``-th smallest score; of too few, the normal law helps out."""
    n = len(scores)
    rank = int(np.ceil((n + 1) * coverage))
    if 1 <= rank <= n:
        return float(np.partition(scores, rank - 1)[rank - 1])
    from statistics import NormalDist

    return max(NormalDist().inv_cdf(0.5 + coverage / 2), float(scores.max(initial=0.0)))


def noise_size(z: Float[Any, "*n dim"], scaler: Scaler, xp: Any = np) -> Float[Any, "*n dim"]:
    """How noise depends on the signal where it does: as |x| on the raw scale, as 1/x on the log."""
    raw = xp.abs(z + scaler.offset / scaler.scale)
    return xp.where(scaler.positive, xp.exp(-xp.clip(scaler.scale * z, -20.0, 20.0)), raw)


def calibrate(
    paths: Float[np.ndarray, "members nodes dim"],
    values: Float[np.ndarray, "nodes dim"],
    held_out: np.ndarray,
    seen: np.ndarray,
    trusted: np.ndarray,
    scaler: Scaler,
    shaped: np.ndarray,
) -> tuple[Calibration, np.ndarray]:
    """From the points that each trusted member did not see; also returns which scores are whose.

    `held_out` and `seen` are bool (members, nodes, dim); the noise of variables that are `shaped`
    (dim,) follows the signal, which the `scaler` standardised. Where nobody held anything out (very
    short series), the residuals of all points serve, and the intervals are the narrower for it.
    """
    spread = paths[trusted].std(0)
    judged = held_out & trusted[:, None, None]
    if not judged.any():
        judged = np.broadcast_to(~np.isnan(values), paths.shape) & trusted[:, None, None]
    middle = paths[trusted].mean(0)
    usual = np.sqrt(np.mean(noise_size(middle, scaler) ** 2, axis=0))
    zero = np.zeros(len(shaped))
    blank = Calibration(zero, np.empty(0), zero, np.empty(0), zero, shaped.astype(float), usual)
    shape = blank.shape(middle, scaler)
    miss = np.abs(paths - np.nan_to_num(values))
    noise = np.maximum(_root_mean_square(miss / shape, judged), _FLOOR)
    # A path is drawn towards the points it saw as far as it strays from those it did not see.
    inner = _root_mean_square(miss / shape, seen & trusted[:, None, None])
    misfit = np.sqrt(np.maximum(noise**2 - inner**2, 0.0) / 2)
    members, nodes, dims = np.nonzero(judged)
    scale = np.sqrt(spread**2 + (shape * noise) ** 2)[nodes, dims]
    scores = miss[members, nodes, dims] / scale
    misfit = np.maximum(misfit, _FLOOR)
    return replace(blank, noise=noise, scores=scores, misfit=misfit), members


def _root_mean_square(miss: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Per variable (dim,) over the members' and nodes' entries in `which`; zero where none."""
    counts = which.sum((0, 1))
    return np.sqrt((np.where(which, miss, 0.0) ** 2).sum((0, 1)) / np.maximum(counts, 1))


def with_horizon(
    calibration: Calibration,
    miss: Float[np.ndarray, "points dim"],
    spread: Float[np.ndarray, "points dim"],
    ahead: Float[np.ndarray, " points"],
    shape: Float[np.ndarray, "points dim"] | float = 1.0,
) -> Calibration:
    """Add what a held-out end says: how errors grow with the time `ahead` of the data."""
    known = spread**2 + (shape * calibration.noise) ** 2
    excess = miss**2 - known
    distance = np.where(np.isnan(miss), np.nan, ahead[:, None] ** 2)
    total = np.nansum(distance, 0)
    growth = np.sqrt(np.maximum(np.nansum(excess, 0) / np.maximum(total, 1e-300), 0.0))
    # A variable that the end does not show is taken for as bad as the worst of the others.
    growth = np.where(total > 0, growth, growth.max())
    grown = np.minimum(growth * ahead[:, None], _MOST_GROWTH)
    scores = np.abs(miss) / np.sqrt(known + grown**2)
    return replace(calibration, growth=growth, ahead_scores=scores[~np.isnan(scores)])


def cross_coverage(scores: np.ndarray, owner: np.ndarray, coverage: float) -> tuple[int, int]:
    """(inside, points): each member's held-out points judged by the other members' scores."""
    inside = points = 0
    for member in np.unique(owner):
        own, others = scores[owner == member], scores[owner != member]
        if len(others):
            inside += int((own <= quantile(others, coverage)).sum())
            points += len(own)
    return inside, points
