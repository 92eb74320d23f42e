"""What a flow is compared with: a Gaussian, a Gaussian mixture and a kernel density.

All are fitted to rows that the training rows sphere, so that scales do not matter, and answer in
nats in the units of the rows. With a context each is fitted to both together, and
``p(x | c) = p(c, x) / p(c)``. scikit-learn is imported when a mixture is fitted.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from .checks import check_singular, folds
from .whitening import Whitening, spread

_COMPONENTS = (1, 2, 4, 8, 16, 32)
_BANDWIDTHS = np.geomspace(0.05, 1.5, 12)
_MOST_CHOOSING = 2000  # rows on which a bandwidth is chosen
_BLOCK = 1 << 20  # numbers of a block of distances

Rows = Float[np.ndarray, "rows dim"]


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted density: its name, what was chosen, and the log density of the rows asked for."""

    name: str
    chosen: str
    log_density: Float[np.ndarray, " rows"]

    @property
    def mean(self) -> float:
        """Mean log density, nats per row."""
        return float(self.log_density.mean())


@dataclass(frozen=True, eq=False)
class _Sphered:
    """Training and asked rows, contexts before the variables, sphered by the training rows.

    The whitening is lower triangular, so the first `known` columns are the contexts' alone, and
    `log_det` is that of the variables given the contexts.
    """

    train: Rows
    asked: Rows
    known: int
    log_det: float

    @classmethod
    def of(cls, train: Rows, asked: Rows, contexts: tuple[Rows, Rows] | None) -> _Sphered:
        known = 0
        if contexts is not None:
            first, second = _independent(*contexts)
            known = first.shape[1]
            train, asked = np.hstack([first, train]), np.hstack([second, asked])
        sphere = Whitening.fit(train)
        log_det = float(np.log(np.diag(sphere.mix)[known:]).sum())
        return cls(sphere.forward(train), sphere.forward(asked), known, log_det)


def _independent(train: Rows, asked: Rows) -> tuple[Rows, Rows]:
    """Contexts without what is constant or linear in the others, as one column per category is."""
    mean, scale = train.mean(0), spread(train)
    _, size, axes = np.linalg.svd((train - mean) / scale, full_matrices=False)
    axes = axes[size > 1e-5 * len(train) ** 0.5]
    return ((train - mean) / scale) @ axes.T, ((asked - mean) / scale) @ axes.T


def can_fit(train: Rows, context: Rows | None = None) -> bool:
    """Whether a Gaussian of full covariance of rows (and contexts) exists."""
    if context is not None:
        train = np.hstack([_independent(context, context)[0], train])
    try:
        check_singular(train, [""] * train.shape[1])
    except InputError:
        return False
    return True


class Choice(NamedTuple):
    """How many Gaussians, and how wide a kernel in units of the sphered rows."""

    components: int
    width: float


def choose(train: Rows, context: Rows | None = None, seed: int = 0) -> Choice:
    """What suits rows that training leaves out: a fifth of them, or each in turn."""
    rows = _Sphered.of(train, train[:1], None if context is None else (context, context[:1]))
    return Choice(_components(rows, seed), _width(rows, seed))


def baselines(
    train: Rows, asked: Rows, contexts: tuple[Rows, Rows] | None = None, seed: int = 0,
    choice: Choice | None = None,
) -> tuple[Baseline, ...]:  # fmt: skip
    """All three, fitted to `train`, at the rows `asked`; `contexts` are those of both.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(400, 1))
    >>> [b.name for b in baselines(x[:300], x[300:])]
    ['Gaussian', 'Gaussian mixture', 'kernel density']
    """
    rows = _Sphered.of(train, asked, contexts)
    chosen = choice or choose(train, None if contexts is None else contexts[0], seed)
    mixture = _mixture(rows, chosen.components, seed)
    return _gaussian(rows), mixture, _kernel_density(rows, chosen.width)


def _gaussian(rows: _Sphered) -> Baseline:
    """Maximum likelihood; sphered, the variables do not depend on the contexts any more."""
    z = rows.asked[:, rows.known :]
    logs = -0.5 * (z**2).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi) + rows.log_det
    return Baseline("Gaussian", "full covariance", logs)


def _components(rows: _Sphered, seed: int) -> int:
    z, dim = rows.train, rows.train.shape[1]
    left = folds(z, 5, seed) == 0
    numbers = 1 + dim + dim * (dim + 1) // 2
    counts = [k for k in _COMPONENTS if k == 1 or k * numbers < (~left).sum() / 2]
    if len(counts) == 1 or not left.any():
        return 1
    scores = [_conditional(_fitted(z[~left], k, seed), z[left], rows.known).mean() for k in counts]
    return counts[int(np.argmax(scores))]


def _mixture(rows: _Sphered, components: int, seed: int) -> Baseline:
    """Gaussians of full covariance."""
    fitted = _fitted(rows.train, components, seed)
    logs = _conditional(fitted, rows.asked, rows.known) + rows.log_det
    said = f"{components} component{'s' * (components > 1)}"
    return Baseline("Gaussian mixture", said, logs)


def _fitted(z: Rows, k: int, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    # Its products are so small that threads take ten times as long as one.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(k, random_state=seed, reg_covar=1e-4).fit(z)


def _conditional(fitted: Any, z: Rows, known: int) -> Float[np.ndarray, " rows"]:
    """Log density of the columns behind the first `known` given these."""
    logs = fitted.score_samples(z)
    if not known:
        return logs
    from scipy.special import logsumexp
    from scipy.stats import multivariate_normal

    parts = [
        multivariate_normal(mean[:known], covariance[:known, :known]).logpdf(z[:, :known])
        for mean, covariance in zip(fitted.means_, fitted.covariances_, strict=True)
    ]
    return logs - logsumexp(np.stack(parts), axis=0, b=fitted.weights_[:, None])


def _width(rows: _Sphered, seed: int) -> float:
    """The best bandwidth when every row is left out in turn.

    Equal rows count once here: with them the best bandwidth would be zero.
    """
    unique = np.unique(rows.train, axis=0)
    if len(unique) > _MOST_CHOOSING:
        unique = np.random.default_rng(seed).permutation(unique)[:_MOST_CHOOSING]
    scores = _kernels(unique, unique, _BANDWIDTHS, rows.known, leave_out=True).mean(1)
    # The best bandwidth shrinks as n^(-1 / (dim + 4)).
    n, dim = rows.train.shape
    return float(_BANDWIDTHS[int(np.argmax(scores))] * (len(unique) / n) ** (1 / (dim + 4)))


def _kernel_density(rows: _Sphered, width: float) -> Baseline:
    """A Gaussian kernel on every row."""
    logs = _kernels(rows.asked, rows.train, np.array([width]), rows.known)[0] + rows.log_det
    return Baseline("kernel density", f"bandwidth {width:.2g}", logs)


def _kernels(
    at: Rows, rows: Rows, widths: Float[np.ndarray, " widths"], known: int, *,
    leave_out: bool = False,
) -> Float[np.ndarray, "widths rows"]:  # fmt: skip
    logs = log_kernels(at, rows, widths, leave_out=leave_out)
    if not known:
        return logs
    return logs - log_kernels(at[:, :known], rows[:, :known], widths, leave_out=leave_out)


def log_kernels(
    at: Rows, rows: Rows, widths: Float[np.ndarray, " widths"], *, leave_out: bool = False
) -> Float[np.ndarray, "widths rows"]:
    """Log of the mean of Gaussian kernels on `rows`, at every row of `at`, for every width.

    With `leave_out` both are the same rows, and none sees its own kernel.
    """
    from scipy.special import logsumexp

    n, dim = rows.shape
    size, out = max(1, _BLOCK // n), np.empty((len(widths), len(at)))
    norms = (rows**2).sum(1)
    constant = math.log(n - leave_out) + 0.5 * dim * math.log(2 * math.pi)
    for i in range(0, len(at), size):
        block = at[i : i + size]
        squares = np.maximum((block**2).sum(1)[:, None] - 2 * block @ rows.T + norms, 0.0)
        if leave_out:
            squares[np.arange(len(block)), np.arange(i, i + len(block))] = np.inf
        for k, h in enumerate(widths):
            logs = logsumexp(-squares / (2 * h**2), axis=1)
            out[k, i : i + size] = logs - constant - dim * math.log(h)
    return out
