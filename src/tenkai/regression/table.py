"""A table as it is learned from: every distinct row once, and who leaves which rows out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class Table(NamedTuple):
    """Distinct rows in the order of their values, their targets and weights, in raw units."""

    x: Float[np.ndarray, "rows in"]
    y: Float[np.ndarray, "rows out"]
    weight: Float[np.ndarray, " rows"]

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, targets."""
        return len(self.weight), self.x.shape[1], self.y.shape[1]

    @property
    def effective(self) -> float:
        """How many rows of equal weight these are worth (Kish 1965)."""
        return float(self.weight.sum() ** 2 / (self.weight**2).sum())


def distinct(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Table:
    """Rows of weight zero leave; equal rows become one, which weighs what they weighed together.

    So a weight of two is the same as a row that stands there twice, to the last bit, the order of
    the rows does not matter, and no member is judged by a copy of a row that it saw.
    """
    kept = weight > 0
    whole, weight = np.concatenate([x, y], axis=1)[kept], weight[kept]
    order = np.lexsort(whole.T[::-1])
    whole, weight = whole[order], weight[order]
    first = np.ones(len(whole), bool)
    first[1:] = (whole[1:] != whole[:-1]).any(axis=1)
    starts = np.flatnonzero(first)
    total = np.add.reduceat(weight, starts)
    return Table(whole[starts, : x.shape[1]], whole[starts, x.shape[1] :], total / total.mean())


def left_out(
    rows: int, members: int, share: float, seed: int
) -> Bool[np.ndarray, "members rows"] | None:
    """Which rows each member leaves out: folds of about that share, dealt to the members in turn.

    After all folds were dealt once they are drawn anew. None where `share` is zero or there are
    fewer than five rows.
    """
    if share == 0 or rows < 5:
        return None
    folds = int(np.clip(round(1 / share), 2, rows))
    out = np.zeros((members, rows), bool)
    for member in range(members):
        turn, fold = divmod(member, folds)
        order = np.random.default_rng([seed, turn]).permutation(rows)
        out[member, order[fold::folds]] = True
    return out
