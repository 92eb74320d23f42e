"""`ODEClassifier`: classes of rows or images by an ODE in depth."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin

from ..classifiers import (
    ODE,
    Augmentation,
    BodyKind,
    Design,
    LinearStem,
    PaperStem,
    Stem,
    evaluation,
)
from ..classifiers.learning import Recipe, learn
from ..classifiers.network import build, parameters, stem_for
from ..devices import arithmetic
from ..errors import InputError
from ..records import Fit
from . import ode_classifier_border as border
from . import ode_classifier_judgement as judgement
from .sklearn_border import RowEstimator, all_or_nothing, require_fitted

if TYPE_CHECKING:
    pass

Auto = Literal["auto"]
_FULL_BATCH = 2048  # rows of a table, up to which a step takes all
_WIDE = 10_000  # numbers in a table, up to which it trains in float64
_TABLE, _IMAGES = 32, 64  # widths
_SHOWN = 300  # rows that the estimator keeps, for pictures


class ODEClassifier(RowEstimator, ClassifierMixin, BaseEstimator):
    """Learns classes of the rows of a table or of images, by an ODE in depth.

    ``p(y | x) = softmax(head(h(1)))`` with ``dh/dt = block(t, h)`` and ``h(0) = stem(x)``. Of a
    table (n, features) stem and head are linear and the block a network with one hidden layer; of
    images (n, h, w, c) or (n, h, w), unsigned bytes or real numbers, all are convolutional.

    Args:
        body: out of `tenkai.classifiers`: `ODE` (gradients by the continuous adjoint, memory
            constant in depth), `RungeKutta` (through the solver's steps), `Residual` (blocks with
            weights of their own); None is ``ODE()``.
        stem: of images, `Stem` or `PaperStem`; None is ``Stem()``.
        width, activation: numbers (or channels) of the state, and of tables the block's activation.
        steps, batch, learning_rate: of Adam; the rate rises and falls once. By default tables of up
            to 2048 rows take all rows in every step, others 128, for ten passes over the rows.
        decay, smoothing, augmentation: weight decay, label smoothing, and what images suffer in
            training (`tenkai.classifiers.Augmentation`).
        held_out, patience: share of rows that judge and do not train, and after how many
            judgements without a better one to stop.
        seed, precision: of everything random, and of the training's arithmetic: by default float64
            for tables of up to 10 000 numbers, else float32. Tables are predicted in float64.

    After `fit`: `classes_`, `fit_` (status, history), `model_` (a `tenkai.classifiers.Network`),
    `held_out_` (accuracy on rows that did not train, beside the most frequent class and logistic
    regression), `parameters_`, `shape_`, `shown_` (up to 300 of the held-out rows, for pictures;
    they are saved with the model).

    Source: Chen et al. 2018, section 3.

    >>> import numpy as np, tenkai as tk
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = np.where(np.hypot(*x.T) < 1, "inside", "outside")
    >>> clf = tk.ODEClassifier(steps=200).fit(x, y)
    >>> bool(clf.score(x, y) > 0.9), clf.hidden(x, [0, 0.5, 1]).shape, clf.nfe(x).shape
    (True, (3, 200, 32), (200,))
    """

    def __init__(
        self,
        body: BodyKind | None = None,
        *,
        stem: Stem | PaperStem | LinearStem | None = None,
        width: int | Auto = "auto",
        activation: str = "tanh",
        steps: int | Auto = "auto",
        batch: int | Auto = "auto",
        learning_rate: float = 3e-3,
        decay: float = 1e-4,
        smoothing: float = 0.0,
        augmentation: Augmentation | None = None,
        held_out: float = 0.1,
        patience: int = 10,
        seed: int = 0,
        precision: Literal["auto", "float32", "float64"] = "auto",
    ):
        self.body = body
        self.stem = stem
        self.width: int | Auto = width
        self.activation = activation
        self.steps: int | Auto = steps
        self.batch: int | Auto = batch
        self.learning_rate = learning_rate
        self.decay = decay
        self.smoothing = smoothing
        self.augmentation = augmentation
        self.held_out = held_out
        self.patience = patience
        self.seed = seed
        self.precision = precision

    @all_or_nothing
    def fit(
        self, X: Any, y: Any, *, minutes: float | None = None, log: Path | str | None = None,
        progress: bool | None = None, checkpoint: Path | str | None = None,
    ) -> ODEClassifier:  # fmt: skip
        """Learn from rows and their labels, which may be numbers or strings.

        `minutes` trains for about that long instead of `steps`. `log` is a history.jsonl,
        `progress` a bar (None: on a terminal or in a notebook), `checkpoint` a folder from which
        an interrupted fit goes on.

        Raises `InputError` for rows that are no table and no images, NaN, labels of another length,
        a single class, and arguments that cannot work.
        """
        border.check_arguments(self)
        rows, given = border.training_rows(self, X, y)
        of_images = rows.ndim == 4
        border.check_for_kind(self, of_images)
        known = border.labels(given, len(rows))
        border.check_minutes(minutes, checkpoint)
        self.classes_, self.shape_ = known.classes, rows.shape[1:]
        self.bytes_ = rows.dtype == np.uint8
        self.n_features_in_ = int(np.prod(self.shape_))
        x, design = self._designed(rows)
        self.precision_ = self._arithmetic(rows)
        with arithmetic(self.precision_):
            start = build(design, key=jax.random.key(self.seed))
            learned = learn(
                start, x, known.index, self._recipe(rows), share=self.held_out, minutes=minutes,
                log=log, progress=progress, checkpoint=checkpoint,
            )  # fmt: skip
        self.design_, self.model_ = design, learned.network
        self.parameters_ = parameters(learned.network)
        made = learned.fit
        self.n_iter_ = made.steps
        self.rtol_ = None
        held = judgement.held_out(self, rows, known.index, learned.held)
        self.held_out_ = held
        shown = (learned.held if held else np.arange(len(rows)))[:_SHOWN]
        self.shown_, self.shown_classes_ = rows[shown], known.index[shown]
        status = judgement.status_of(made.status, held, known.notes)
        self.fit_ = Fit(self.model_, status, list(made.history), made.seconds, made.steps)
        return self

    def _designed(self, rows: np.ndarray) -> tuple[np.ndarray, Design]:
        """Rows in the form that trains, and the network for them."""
        of_images = rows.ndim == 4
        if of_images:
            self.centre_ = self.scale_ = None
            some = rows[:: max(1, len(rows) // 5000)].astype(np.float64)
            centre, spread = some.mean((0, 1, 2)), some.std((0, 1, 2))
            spread = np.where(spread > 0, spread, 1.0)
            numbers = tuple(map(float, centre)), tuple(map(float, spread))
        else:
            self.centre_, spread = rows.mean(0), rows.std(0)
            self.scale_ = np.where(spread > 0, spread, 1.0)
            numbers = (), ()
        width = (_IMAGES if of_images else _TABLE) if self.width == border.AUTO else self.width
        design = Design(
            tuple(rows.shape[1:]), len(self.classes_), self.body or ODE(),
            stem_for(self.shape_, self.stem), int(width), self.activation, *numbers,
        )  # fmt: skip
        return self._prepared(rows), design

    def _prepared(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.centre_ is None else (rows - self.centre_) / self.scale_

    def _arithmetic(self, rows: np.ndarray) -> str:
        if self.precision != border.AUTO:
            return self.precision
        return "float64" if rows.ndim == 2 and rows.size <= _WIDE else "float32"

    def _recipe(self, rows: np.ndarray) -> Recipe:
        full = rows.ndim == 2 and len(rows) <= _FULL_BATCH
        batch = (None if full else 128) if self.batch == border.AUTO else int(self.batch)
        if batch is not None and batch >= len(rows):
            batch = None
        passes = 500 if batch is None else max(500, 10 * len(rows) // batch)
        steps = passes if self.steps == border.AUTO else int(self.steps)
        return Recipe(
            steps, batch, float(self.learning_rate), float(self.decay), float(self.smoothing),
            self.augmentation, max(1, steps // 20), self.patience, int(self.seed),
        )  # fmt: skip

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of every row."""
        logits = self._evaluated(X).logits
        return self.classes_[logits.argmax(1)]

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n classes"]:
        """Probabilities of the classes, in the order of `classes_`."""
        return evaluation.probabilities(self._evaluated(X).logits)

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits (n, classes); of two classes their difference (n,)."""
        logits = self._evaluated(X).logits
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def hidden(self, X: Any, depths: Any = 1.0) -> np.ndarray:
        """States (depths, n, ...) at depths from 0 (the stem's output) to 1 (the head's input).

        Between the steps of a fixed grid by a cubic, between residual blocks by a straight line.
        """
        at = border.depths_of(depths)
        rows = border.rows_like(self, X)
        with arithmetic(self._predicts()):
            return evaluation.states(self._network(), self._prepared(rows), at)

    def nfe(self, X: Any, *, rtol: float = 1e-3) -> Float[np.ndarray, " n"]:
        """Evaluations of the block per row by an adaptive solve; of residual blocks their number.

        By the tolerance of `with_tolerance` where there is one, else by `rtol`.
        """
        rows = border.rows_like(self, X)
        if self.rtol_ is not None or not evaluation.is_solved(self.model_):
            return self._evaluate_rows(rows).nfe
        return self.with_tolerance(rtol)._evaluate_rows(rows).nfe

    def with_tolerance(self, rtol: float) -> ODEClassifier:
        """The same classifier, every row solved by Dormand-Prince's method at this tolerance.

        Accuracy can be had for time after training (Chen et al. 2018, figure 3). Raises
        `InputError` for residual blocks.
        """
        require_fitted(self)
        if rtol is None:
            raise InputError("rtol", expected="a number", got="None", do="pass 1e-3")
        border.check_tolerance("rtol", rtol)
        other = copy.copy(self)
        other.model_ = evaluation.at_tolerance(self.model_, float(rtol))
        other.rtol_ = float(rtol)
        return other

    def accuracy_by_tolerance(
        self, X: Any, y: Any, rtols: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    ) -> list[dict[str, float]]:
        """For every tolerance: `rtol`, `accuracy`, mean `nfe` per row, `seconds`, `error`.

        `error` is the largest difference of a probability to a solve at a hundredth of the smallest
        tolerance.
        """
        return judgement.by_tolerance(self, X, y, rtols)

    def _predicts(self) -> str:
        """Tables in float64, whatever trained: a row's answer must not depend on the others."""
        return self.precision_ if len(self.shape_) == 3 else "float64"

    def _network(self) -> Any:
        return self.model_ if len(self.shape_) == 3 else evaluation.wide(self.model_)

    def _evaluated(self, X: Any) -> evaluation.Evaluated:
        return self._evaluate_rows(border.rows_like(self, X))

    def _evaluate_rows(self, rows: np.ndarray) -> evaluation.Evaluated:
        with arithmetic(self._predicts()):
            return evaluation.evaluate(self._network(), self._prepared(rows))

    def _further(self) -> list[str]:
        held = [] if self.held_out_ is None else [str(self.held_out_)]
        return [*held, f"{self.parameters_} parameters"]

    def save(self, path: Path | str) -> None:
        """One safetensors file: network, scaling, classes."""
        require_fitted(self)
        from .ode_classifier_saving import save

        save(self, path)
