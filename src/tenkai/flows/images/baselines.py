"""What a flow of images is compared with, in nats per image of whole grey levels.

A histogram of every pixel is exact. A Gaussian, a mixture of Gaussians and a kernel density answer
for ``x + u``, as the flow does: the mean over the same number of draws of u. Images are not
whitened: their noise is as large in every direction, and covariances are shrunk (Ledoit and Wolf
2004), so that they exist for more pixels than images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..baselines import Baseline, log_kernels
from ..checks import folds
from .evaluation import dequantised

_COMPONENTS = (1, 2, 4, 8, 16)
_FEWEST = 20  # images in a component
_MOST_TRAINED, _MOST_CHOOSING = 8000, 1000
_MOST_PIXELS = 1024  # beyond, covariances take longer than the flow
_WIDTHS = np.geomspace(0.01, 0.3, 12)  # of the grey levels

Images = Int[np.ndarray, "images dim"]


def baselines(
    train: Images, asked: Images, levels: int, *, draws: int = 4, seed: int = 0
) -> tuple[Baseline, ...]:
    """Fitted to `train`, at the images `asked`.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).integers(0, 4, (60, 9))
    >>> [b.name for b in baselines(x[:50], x[50:], 4)]
    ['histogram per pixel', 'Gaussian', 'Gaussian mixture', 'kernel density']
    """
    random = np.random.default_rng(seed)
    train = random.permutation(train)[:_MOST_TRAINED]
    out = [Baseline("histogram per pixel", "independent", _histograms(train, asked, levels))]
    left = folds(train, 5, seed) == 0  # copies of an image stay on one side
    rows, filled = dequantised(train, 1, seed), dequantised(asked, draws, seed + 1)

    def add(name: str, chosen: str, logs: np.ndarray) -> None:
        out.append(Baseline(name, chosen, logs.reshape(draws, -1).mean(0)))

    if train.shape[1] <= _MOST_PIXELS:
        add("Gaussian", "shrunk covariance", _mixture(rows, 1, seed)(filled))
        k = _components(rows, left, seed)
        said = f"{k} component{'s' * (k > 1)}"
        add("Gaussian mixture", said, _mixture(rows, k, seed)(filled))
    width = _width(rows, left, levels)
    add("kernel density", f"bandwidth {width:.2g}", log_kernels(filled, rows, np.array([width]))[0])
    return tuple(out)


def _histograms(train: Images, asked: Images, levels: int) -> Float[np.ndarray, " images"]:
    """Every pixel on its own; half an image in every grey level beforehand (Krichevsky)."""
    pixels = np.arange(train.shape[1])
    counts = np.full((len(pixels), levels), 0.5)
    np.add.at(counts, (np.broadcast_to(pixels, train.shape), train), 1.0)
    shares = np.log(counts) - np.log(counts.sum(1, keepdims=True))
    return shares[pixels, asked].sum(1)


class _Component(NamedTuple):
    log_weight: float
    mean: np.ndarray
    root: np.ndarray  # lower triangular, of the covariance

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Weighted."""
        from scipy.linalg import solve_triangular

        z = solve_triangular(self.root, (x - self.mean).T, lower=True)
        size = np.log(np.diag(self.root)).sum() + 0.5 * len(z) * math.log(2 * math.pi)
        return self.log_weight - 0.5 * (z**2).sum(0) - size


def _mixture(rows: np.ndarray, k: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A Gaussian on each of `k` clusters."""
    from scipy.special import logsumexp
    from sklearn.cluster import KMeans
    from sklearn.covariance import ledoit_wolf
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        labels = KMeans(k, n_init="auto", random_state=seed).fit_predict(rows)
    parts = []
    for label in range(k):
        mine = rows[labels == label]
        covariance = np.atleast_2d(ledoit_wolf(mine if len(mine) > 1 else rows)[0]) + 1e-6 * np.eye(
            rows.shape[1]
        )
        root = np.linalg.cholesky(covariance)
        parts.append(_Component(math.log(len(mine) / len(rows)), mine.mean(0), root))

    def log_density(x: np.ndarray) -> np.ndarray:
        return np.asarray(logsumexp([part.log_density(x) for part in parts], axis=0))

    return log_density


def _components(rows: np.ndarray, left: Bool[np.ndarray, " rows"], seed: int) -> int:
    """What suits the images that are left out."""
    kept = rows[~left]
    counts = [k for k in _COMPONENTS if k == 1 or k * _FEWEST <= len(kept)]
    if not left.any() or len(counts) == 1:
        return 1
    scores = [_mixture(kept, k, seed)(rows[left]).mean() for k in counts]
    return counts[int(np.argmax(scores))]


def _width(rows: np.ndarray, left: Bool[np.ndarray, " rows"], levels: int) -> float:
    """The bandwidth that suits the images that are left out."""
    widths = np.maximum(_WIDTHS * levels, 0.3)
    if not left.any() or left.all():
        return float(widths[-1])
    scores = log_kernels(rows[left][:_MOST_CHOOSING], rows[~left], widths).mean(1)
    return float(widths[int(np.argmax(scores))])
