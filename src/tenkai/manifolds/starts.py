"""Rows as they train, and where their latents begin."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .estimate import Rows

STARTS = ("pca", "spectral", "random")
_THIN = 1e-3  # of the spread, for directions in which the data do not extend
_NEIGHBOURS = 10  # of the graph of a spectral start
_MARGIN = 0.9  # of a box that a start fills


class Prepared(NamedTuple):
    """Rows that differ, around their centre in units of their spread, with their weights.

    `where` gives for every row as passed the one that stands for it, -1 where it weighs nothing.
    """

    rows: Rows
    weight: Float[np.ndarray, " unique"]
    centre: Float[np.ndarray, " dim"]
    spread: float
    where: Int[np.ndarray, " n"]


def prepare(x: Float[np.ndarray, "n dim"], weight: Float[np.ndarray, " n"]) -> Prepared:
    """Rows that are the same stand for one with the sum of their weights; NaN is unobserved.

    Left out of its own estimate is then a row with all its copies, whose number and order make no
    difference. Rows without weight, and those of which nothing is observed, do not train.
    """
    counts = (weight > 0) & ~np.isnan(x).all(1)
    kept = np.flatnonzero(counts)
    known = ~np.isnan(x[kept])
    both = np.concatenate([np.where(known, x[kept], 0.0), known], axis=1)
    _, first, index = np.unique(both, axis=0, return_index=True, return_inverse=True)
    where = np.full(len(x), -1)
    where[kept] = index.ravel()
    total = np.bincount(index.ravel(), weight[kept], len(first))
    total = total / total.mean()
    seen = known[first] * total[:, None]
    filled = both[first, : x.shape[1]]
    centre = (seen * filled).sum(0) / np.maximum(seen.sum(0), 1e-300)
    around = np.where(known[first], filled - centre, 0.0)
    spread = float(np.sqrt((seen * around**2).sum() / max(seen.sum() / x.shape[1], 1e-300)))
    spread = spread if spread > 0 else 1.0
    around /= spread
    whole = total[:, None] if known.all() else seen
    variance = float((whole * around**2).sum())
    rows = Rows(around, whole, np.asarray(variance if variance > 0 else 1.0))
    return Prepared(rows, total, centre, spread, where)


def part(rows: Rows, chosen: Int[np.ndarray, " m"]) -> Rows:
    """Some of the rows."""
    x, seen = rows.x[chosen], rows.seen[chosen]
    variance = float((seen * x**2).sum())
    return Rows(x, seen, np.asarray(variance if variance > 0 else 1.0))


def start(
    kind: str, rows: Rows, latents: int, *, seed: int, box: tuple[float, float] | None
) -> tuple[Float[np.ndarray, "n latents"], tuple[str, ...]]:
    """Latents whose widest direction has standard deviation 1 (or fills the box), and notes."""
    random, notes = np.random.default_rng(seed), ()
    n = len(rows.x)
    if kind == "random":
        z = random.standard_normal((n, latents))
    elif kind == "spectral" and n > latents + 2:
        z, notes = _spectral(rows.x, latents, seed)
    else:
        z = _principal(rows, latents)
    width = z.std(0)
    widest = width.max() if width.max() > 0 else 1.0
    thin = width < _THIN * widest
    z = z / widest
    z[:, thin] = _THIN * random.standard_normal((n, int(thin.sum())))
    return fit_box(z, box), notes


def fit_box(z: np.ndarray, box: tuple[float, float] | None) -> np.ndarray:
    """Latents shrunk and moved until the box holds them."""
    if box is None:
        return z
    middle = (z.max(0) + z.min(0)) / 2
    half = max(float(np.abs(z - middle).max()), 1e-300)
    return (box[0] + box[1]) / 2 + (z - middle) * (_MARGIN * (box[1] - box[0]) / 2 / half)


def _principal(rows: Rows, latents: int) -> np.ndarray:
    """Scores of the leading principal components, signs fixed; zeros beyond their number."""
    weighed = rows.seen * rows.x
    values, vectors = np.linalg.eigh(weighed.T @ rows.x)
    leading = vectors[:, np.argsort(-values, kind="stable")][:, :latents]
    largest = np.abs(leading).argmax(0)
    leading = leading * np.where(leading[largest, range(leading.shape[1])] < 0, -1.0, 1.0)
    z = rows.x @ leading
    return np.pad(z, ((0, 0), (0, latents - z.shape[1])))


def _spectral(x: np.ndarray, latents: int, seed: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Eigenvectors of the Laplacian of the nearest neighbours' graph (Belkin and Niyogi 2003)."""
    from sklearn.manifold import SpectralEmbedding

    made = SpectralEmbedding(
        latents, affinity="nearest_neighbors", random_state=seed,
        n_neighbors=min(_NEIGHBOURS, len(x) - 1),
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        z = made.fit_transform(x)
    apart = any("not fully connected" in str(w.message) for w in told)
    return z, ("the start: its graph of neighbours falls into parts",) if apart else ()
