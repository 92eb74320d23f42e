"""`UKR`: unsupervised kernel regression, a scikit-learn transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from ..devices import arithmetic
from ..manifolds import evaluation
from ..manifolds.learning import Recipe, learn
from ..records import Fit
from . import ukr_border as border
from .sklearn_border import RowEstimator, all_or_nothing, require_fitted
from .ukr_judgement import status_of


class UKR(RowEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learns latents of rows, and the surface over them, by kernel regression.

    ``f(z) = sum_j k(z, z_j) x_j / sum_j k(z, z_j)``, with latents z_j that minimise
    ``sum_i |x_i - f_{-i}(z_i)|^2 / sum_i |x_i|^2 + penalty mean |z|^2``, where f_{-i} leaves row i
    out: rows have near them what they are like. X is centred, columns keep their scale.

    Args:
        n_components: latents of a row.
        kernel: "gaussian", "student-t" (heavier tails) or "quartic" (zero beyond some bandwidths).
        bandwidth: of the kernel, in the units of the latents; "auto" begins
            with the smallest leave-one-out error of the start, and stays wider where narrowing
            to it (see `widening`) gains nothing.
        leave_one_out: False leaves rows in their own estimate; then use `penalty` or `box`.
        penalty: weight of the mean square of the latents.
        box: (low, high), ends between which every latent is kept; None leaves them free.
        init: "pca", "spectral", "random", or latents (n, n_components). Named starts have standard
            deviation 1 in their widest direction, or fill the box.
        steps, learning_rate: of Adam over all rows, the rate in bandwidths.
        widening: how many times as wide as `bandwidth` the kernel begins; it narrows over 70 % of
            the steps, so that a torn start mends. 1 keeps a start where it is.
        inducing: rows that train, drawn by the seed; the others are projected. "auto": 5000 where
            there are more than 20 000, else all (None).
        snapshots: latents kept in `history_`, about that many.
        seed, precision: of everything random, and of the training's arithmetic ("auto": float64 up
            to 5000 rows). Projections are in float64.

    NaN in X is an entry that was not observed: it is no part of the estimate nor of the error. Rows
    that are the same count as one with the sum of their weights.

    After `fit`: `embedding_` (the trained latents, one for each row; `transform` of the same rows
    is near to them but not equal), `error_` (share of the variance that is missed), `bandwidth_`,
    `history_` (pairs of step and latents), `isolated_` (rows that nothing is near to), `apart_`
    (inducing latents against all rows), `fit_` (status, history of the error), `model_` (a
    `tenkai.manifolds.Manifold`), `data_` (X). `plot` and `animate` take ``color=``, numbers or
    labels of the rows.

    Source: Meinicke, Klanke, Memisevic and Ritter 2005.

    >>> import numpy as np, tenkai as tk
    >>> z = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    >>> x = np.column_stack([z, z[:, 0] ** 2 - z[:, 1] ** 2])
    >>> ukr = tk.UKR().fit(x)
    >>> ukr.embedding_.shape, ukr.inverse_transform(ukr.transform(x[:5])).shape, ukr.error_ < 0.01
    ((200, 2), (5, 3), True)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        kernel: Literal["gaussian", "student-t", "quartic"] = "gaussian",
        bandwidth: float | Literal["auto"] = "auto",
        leave_one_out: bool = True,
        penalty: float = 0.0,
        box: tuple[float, float] | None = None,
        init: Any = "pca",
        steps: int = 500,
        learning_rate: float = 0.5,
        widening: float = 7.0,
        inducing: int | Literal["auto"] | None = "auto",
        snapshots: int = 50,
        seed: int = 0,
        precision: Literal["auto", "float32", "float64"] = "auto",
    ):
        self.n_components = n_components
        self.kernel: Any = kernel
        self.bandwidth: Any = bandwidth
        self.leave_one_out = leave_one_out
        self.penalty = penalty
        self.box = box
        self.init = init
        self.steps = steps
        self.learning_rate = learning_rate
        self.widening = widening
        self.inducing: Any = inducing
        self.snapshots = snapshots
        self.seed = seed
        self.precision: Any = precision

    @all_or_nothing
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, log: Path | str | None = None,
        progress: bool | None = None, checkpoint: Path | str | None = None,
    ) -> UKR:  # fmt: skip
        """Learn from rows (n, features); `y` is ignored.

        `sample_weight` (n,) weighs rows in the estimate and in the error. `log` is a history.jsonl,
        `progress` a bar (None: on a terminal or in a notebook), `checkpoint` a folder from which
        an interrupted fit goes on.

        Raises `InputError` for rows or arguments that cannot work.
        """
        border.check_arguments(self)
        x, weight = border.training_rows(self, X, sample_weight)
        init = border.start_of(self, len(x))
        recipe = self._recipe(len(x))
        with arithmetic(recipe.precision):
            learned = learn(x, weight, recipe, init, log=log, progress=progress,
                            checkpoint=checkpoint)  # fmt: skip
        made = learned.fit
        self.data_, self.recipe_ = x, recipe
        self.model_, self.embedding_ = learned.manifold, learned.embedding
        self.bandwidth_, self.error_ = float(learned.manifold.bandwidth), learned.error
        self.history_, self.isolated_, self.apart_ = (
            learned.history, learned.isolated, learned.apart,
        )  # fmt: skip
        self.trained_ = learned.trained
        self.n_iter_ = made.steps
        status = status_of(learned, recipe)
        self.fit_ = Fit(self.model_, status, list(made.history), made.seconds, made.steps)
        return self

    def _recipe(self, rows: int) -> Recipe:
        return Recipe(
            latents=int(self.n_components), kernel=self.kernel,
            bandwidth=None if isinstance(self.bandwidth, str) else float(self.bandwidth),
            left_out=bool(self.leave_one_out), penalty=float(self.penalty),
            box=border.box_of(self), steps=int(self.steps), rate=float(self.learning_rate),
            widening=float(self.widening), inducing=border.inducing_of(self, rows),
            snapshots=int(self.snapshots), seed=int(self.seed),
            precision=border.precision_of(self, rows),
        )  # fmt: skip

    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None, **options: Any
    ) -> Float[np.ndarray, "n latents"]:
        """``fit(X).transform(X)``; the trained latents themselves are `embedding_`."""
        return self.fit(X, y, sample_weight, **options).transform(X)

    def transform(self, X: Any) -> Float[np.ndarray, "n latents"]:
        """The most probable latent of every row, refined from that of the nearest learned one.

        ``argmin_z |x - f(z)|^2 / (2 s^2) - log sum_j k(z, z_j)`` with the variance s^2 of the
        leave-one-out errors; NaN in X is not observed.
        """
        x = border.rows_like(self, X)
        return evaluation.transform(self.model_, x)

    def inverse_transform(self, Z: Any) -> Float[np.ndarray, "n features"]:
        """Points of the surface at latents (n, n_components), in the units of X."""
        z = border.latents_like(self, Z)
        return evaluation.inverse_transform(self.model_, z)

    def reconstruct(self, X: Any) -> Float[np.ndarray, "n features"]:
        """``inverse_transform(transform(X))``: rows moved to the surface, gaps filled."""
        return self.inverse_transform(self.transform(X))

    def score(self, X: Any, y: Any = None) -> float:
        """The share of the variance of X around the learned centre that `reconstruct` explains.

        At most 1; of rows that were fitted it flatters: see `error_`.
        """
        x = border.rows_like(self, X)
        seen = ~np.isnan(x)
        made = evaluation.inverse_transform(self.model_, evaluation.transform(self.model_, x))
        missed = np.where(seen, x - made, 0.0) ** 2
        around = np.where(seen, x - self.model_.centre, 0.0) ** 2
        return 1.0 - float(missed.sum() / max(around.sum(), 1e-300))

    def animate(self, path: Path | str, *, color: Any = None) -> Path:
        """Write the learning of the latents as one HTML file that needs nothing else."""
        require_fitted(self)
        from ..report.manifold_animation import animation

        return animation(self, path, color=color)

    def save(self, path: Path | str) -> None:
        """One safetensors file: manifold, latents, rows and history."""
        require_fitted(self)
        from .ukr_saving import save

        save(self, path)

    @property
    def _n_features_out(self) -> int:
        return self.model_.latents

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
