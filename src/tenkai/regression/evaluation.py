"""What an ensemble says of rows, and how far its answers are off: conformal intervals.

A row is judged by the members that did not see it. Its score is the miss in units of
``u(x) = sqrt(floor^2 + spread(x)^2)``, `spread` the standard deviation of the members, `floor` the
root mean square of the misses. The interval is ``mean +- q u(x)`` with `q` the conformal quantile
of the scores (Vovk 2015, cross-conformal prediction), so it is wider where the members disagree.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from ..devices import arithmetic
from .network import RegressionNetwork

_BLOCKS = (64, 4096)  # rows that go through one program
_KEPT = 2000  # scores


class Calibration(NamedTuple):
    """Sorted scores of each target with their cumulative shares, and what they are in units of."""

    floor: Float[np.ndarray, " out"]
    scores: Float[np.ndarray, "points out"]
    share: Float[np.ndarray, "points out"]
    rows: float

    def half_width(
        self, spread: Float[np.ndarray, "rows out"], coverage: float
    ) -> Float[np.ndarray, "rows out"]:
        """Half the interval's width; at most that of the largest score."""
        level = coverage * (1 + 1 / self.rows)
        at = [min(int(np.searchsorted(s, level - 1e-9)), len(s) - 1) for s in self.share.T]
        factor = self.scores[at, np.arange(len(at))]
        return factor * np.sqrt(self.floor**2 + spread**2)


@eqx.filter_jit
def _members(model: RegressionNetwork, x: Array) -> Array:
    return model.rows(x)


def evaluate(
    model: RegressionNetwork, x: Float[np.ndarray, "rows in"]
) -> Float[np.ndarray, "members rows out"]:
    """Every member's answer to every row, float64: a row's answer does not hang on the others."""
    block = _BLOCKS[0] if len(x) <= _BLOCKS[0] else _BLOCKS[1]
    with arithmetic("float64"):
        wide = jax.tree.map(lambda a: np.asarray(a, np.float64) if eqx.is_array(a) else a, model)
        parts = []
        for start in range(0, len(x), block):
            part = np.asarray(x[start : start + block], np.float64)
            padded = np.concatenate([part, np.repeat(part[:1], block - len(part), axis=0)])
            parts.append(np.asarray(_members(wide, padded))[:, : len(part)])
    return np.concatenate(parts, axis=1)


def spread_of(answers: Float[np.ndarray, "members rows out"]) -> Float[np.ndarray, "rows out"]:
    """The members' standard deviation; zero of one member."""
    return answers.std(axis=0, ddof=1) if len(answers) > 1 else np.zeros(answers.shape[1:])


def left_out_mean(
    answers: Float[np.ndarray, "members rows out"], out: Bool[np.ndarray, "members rows"]
) -> Float[np.ndarray, "rows out"]:
    """The mean of the members that did not see a row; NaN where all did."""
    count = out.sum(axis=0)[:, None]
    total = np.where(out[:, :, None], answers, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def calibrate(
    miss: Float[np.ndarray, "rows out"], spread: Float[np.ndarray, "rows out"],
    weight: Float[np.ndarray, " rows"],
) -> Calibration:  # fmt: skip
    """From misses of rows that did not train."""
    floor = np.sqrt(np.average(miss**2, axis=0, weights=weight))
    floor = np.maximum(floor, np.finfo(float).tiny ** 0.5)
    scores = np.abs(miss) / np.sqrt(floor**2 + spread**2)
    order = np.argsort(scores, axis=0, kind="stable")
    scores = np.take_along_axis(scores, order, axis=0)
    share = np.cumsum(weight[order], axis=0) / weight.sum()
    rows = float(weight.sum() ** 2 / (weight**2).sum())
    if len(scores) > _KEPT:
        kept = np.unique(np.linspace(0, len(scores) - 1, _KEPT).round().astype(int))
        scores, share = scores[kept], share[kept]
    return Calibration(floor, scores, share, rows)
