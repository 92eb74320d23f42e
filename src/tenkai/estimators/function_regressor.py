"""`FunctionRegressor`: multilayer perceptrons of a table's columns, or of a function over a box."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin

from ..devices import arithmetic
from ..errors import InputError
from ..records import Fit, Prediction
from ..regression.evaluation import evaluate, spread_of
from ..regression.learning import Learned, Recipe, learn
from ..regression.network import parameters
from . import function_regressor_border as border
from . import function_regressor_judgement as judgement
from .sklearn_border import RowEstimator, all_or_nothing, require_fitted

Auto = Literal["auto"]
_INTERVALS = 50  # in which the left-out rows judge; fewer where their weights fill the memory
_KEPT = 2**26  # numbers
_FEW = 64  # rows, up to which a step takes all
_MANY = 10_000  # rows, from which a step takes more
_PASSES = 10  # over the rows, at least
_STEPS, _FRESH_STEPS = 5000, 8000  # of a table at least, of a function


class FunctionRegressor(RowEstimator, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Learns targets of a table's rows, or a function over a box, by an ensemble of perceptrons.

    ``y = s(W_L a(... a(W_1 x + b_1) ...) + b_L)`` in standardised units, for each member; the
    prediction is the members' mean. Every member leaves out a share of the rows; together these
    choose the step at which the members are kept, and calibrate the intervals.

    Args:
        hidden: units of each hidden layer; ``()`` is a linear model.
        activation, output_activation: by name, of the hidden layers and of the output (see
            `tenkai.fields.ACTIVATIONS`). An activation on the output keeps the targets' own units.
        members: networks in the ensemble, trained in one program.
        steps, batch: optimiser steps, and rows in each of them.
        learning_rate, schedule: of Adam; the rate falls to zero by a cosine, or is "constant".
        decay: weight decay, decoupled from the gradient (Loshchilov and Hutter 2019).
        held_out: share of the rows that each member leaves out, in turn; 0 keeps the last weights,
            and there are no intervals.
        patience: judgements (fifty a training) in which no member became better, to stop early;
            None trains to the end. The weights of the best judgement are kept either way.
        standardise: scale columns and targets inside the model. False learns raw numbers.
        snapshot_every: keep the model every so many steps, see `at_step`.
        seed, precision: of everything random, and of the training; predictions are float64.

    After `fit` or `fit_function`: `fit_` (status, history, snapshots), `history` (a table),
    `model_` (a `tenkai.regression.RegressionNetwork`, raw units in and out), `best_step_` (at
    which its weights were kept), `held_out_` (errors on rows that did not train, beside a linear
    model and a constant), `parameters_` of a member,
    `target_names_`, `shown_` (up to 500 rows that did not train, for pictures; they are saved
    with the model).

    >>> import numpy as np, tenkai as tk
    >>> x = np.random.default_rng(0).uniform(-2, 2, (200, 1))
    >>> reg = tk.FunctionRegressor(members=4, steps=500).fit(x, np.sin(2 * x[:, 0]))
    >>> bool(reg.score(x, np.sin(2 * x[:, 0])) > 0.99)
    True
    >>> found = reg.predict(x[:3], coverage=0.9)
    >>> found.mean.shape, bool((found.lower < found.upper).all())
    ((3,), True)
    >>> reg = tk.FunctionRegressor(members=1, steps=1000).fit_function(np.exp, 0, 1)
    >>> bool(abs(reg.predict([[0.2]])[0] - np.exp(0.2)) < 0.01)
    True
    """

    def __init__(
        self,
        hidden: tuple[int, ...] = (64, 64),
        *,
        activation: str = "silu",
        output_activation: str = "identity",
        members: int = 10,
        steps: int | Auto = "auto",
        batch: int | Auto = "auto",
        learning_rate: float = 1e-2,
        schedule: Literal["cosine", "constant"] = "cosine",
        decay: float = 0.0,
        held_out: float = 0.1,
        patience: int | None = None,
        standardise: bool = True,
        snapshot_every: int | None = None,
        seed: int = 0,
        precision: Literal["float32", "float64"] = "float32",
    ):
        self.hidden = hidden
        self.activation = activation
        self.output_activation = output_activation
        self.members = members
        self.steps: int | Auto = steps
        self.batch: int | Auto = batch
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.decay = decay
        self.held_out = held_out
        self.patience = patience
        self.standardise = standardise
        self.snapshot_every = snapshot_every
        self.seed = seed
        self.precision = precision

    @all_or_nothing
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, log: Path | str | None = None,
        progress: bool | None = None, checkpoint: Path | str | None = None,
        live_every: int | None = None,
    ) -> FunctionRegressor:  # fmt: skip
        """Learn from rows X (n, columns) and targets y (n,) or (n, targets).

        A row of weight two counts as two equal rows. `log` is a history.jsonl, `progress` a bar
        (None: on a terminal or in a notebook), `checkpoint` a folder from which an interrupted fit
        goes on with the same bits, `live_every` draws the loss in a notebook, every so many of the
        fifty judgements.

        Raises `InputError` for NaN, lengths that do not fit, unknown activations (it lists the
        known) and arguments that cannot work.
        """
        border.check_arguments(self)
        given = border.training_rows(self, X, y, sample_weight)
        self.flat_, self.target_names_ = given.flat, given.names
        with arithmetic(self.precision):
            learned = learn(
                given.table, self._recipe(*given.table.shape), log=log, progress=progress,
                checkpoint=checkpoint, live_every=live_every,
            )  # fmt: skip
        judged = None
        if learned.out is not None:
            answers = evaluate(learned.model, given.table.x)
            judged = judgement.judge_table(given.table, answers, learned.out)
        return self._keep(learned, judged, given.notes)

    @all_or_nothing
    def fit_function(
        self, f: Callable, low: Any, high: Any, *, log: Path | str | None = None,
        progress: bool | None = None, checkpoint: Path | str | None = None,
        live_every: int | None = None,
    ) -> FunctionRegressor:  # fmt: skip
        """Learn a function over the box from `low` to `high`: fresh rows in every step.

        `f` takes a whole batch: (n,) where `low` and `high` are numbers, else (n, inputs); it
        returns (n,) or (n, outputs). What JAX can trace runs inside the compiled loop, a NumPy
        function is asked for many steps' rows at once. `predict` takes rows (n, inputs).

        Raises `InputError` for a function that is not finite in the box, or takes no batches.

        >>> import jax.numpy as jnp, tenkai as tk
        >>> wave = lambda x: jnp.sin(x[:, 0]) * x[:, 1]
        >>> reg = tk.FunctionRegressor(members=2, steps=300).fit_function(wave, [0, 0], [3, 1])
        >>> reg.predict([[1.0, 0.5]]).shape
        (1,)
        """
        from .function_regressor_sampling import learn_function

        border.check_arguments(self)
        options = {"log": log, "progress": progress, "checkpoint": checkpoint,
                   "live_every": live_every}  # fmt: skip
        learned, judged, target = learn_function(self, f, low, high, options)
        self.n_features_in_ = len(target.low)
        vars(self).pop("feature_names_in_", None)  # of an earlier fit to a table
        self.flat_ = target.outputs == 1
        count = target.outputs
        self.target_names_ = ("y",) if count == 1 else tuple(f"y{j}" for j in range(count))
        return self._keep(learned, judged, ())

    def _recipe(self, rows: int | None, n_in: int, n_out: int) -> Recipe:
        """For a table of that many rows, or for fresh ones (None), columns and targets."""
        most = 64 if rows is None or rows < _MANY else 256
        batch = most if self.batch == border.AUTO else int(self.batch)
        if rows is not None and (batch >= rows or (self.batch == border.AUTO and rows <= _FEW)):
            batch = None  # type: ignore[assignment]
        passes = 0 if rows is None or batch is None else _PASSES * rows // batch
        least = _STEPS if rows is not None else _FRESH_STEPS
        steps = max(least, passes) if self.steps == border.AUTO else int(self.steps)
        sizes = (n_in, *map(int, self.hidden), n_out)
        numbers = self.members * sum((a + 1) * b for a, b in itertools.pairwise(sizes))
        judged = int(np.clip(_KEPT // numbers, 5, _INTERVALS))
        every = interval(max(1, steps // judged), self.snapshot_every)
        return Recipe(
            sizes[1:-1], self.activation, self.output_activation,
            int(self.members), steps, batch, float(self.learning_rate),
            self.schedule == "cosine", float(self.decay), float(self.held_out), every,
            self.patience, self.snapshot_every, bool(self.standardise), int(self.seed),
        )  # fmt: skip

    def _keep(
        self, learned: Learned, judged: judgement.Judged | None, notes: tuple[str, ...]
    ) -> FunctionRegressor:
        made = learned.fit
        self.model_, self.best_step_ = learned.model, learned.step
        self.parameters_ = parameters(learned.model)
        self.held_out_ = None if judged is None else judged.held
        self.calibration_ = None if judged is None else judged.calibration
        self.shown_ = None if judged is None else judged.shown
        status = judgement.status_of(made.status, self.held_out_, notes)
        self.n_iter_ = made.steps
        self.fit_ = Fit(
            self.model_, status, list(made.history), made.seconds, made.steps, made.snapshots,
            made.members,
        )  # fmt: skip
        return self

    @overload
    def predict(self, X: Any, coverage: None = None) -> np.ndarray: ...

    @overload
    def predict(self, X: Any, coverage: float) -> Prediction: ...

    def predict(self, X: Any, coverage: float | None = None) -> np.ndarray | Prediction:
        """The mean of the members, (n,) or (n, targets) as y was; with `coverage` an interval too.

        A `tenkai.records.Prediction` has `mean`, `lower`, `upper`: each target's interval holds
        a share `coverage` of new rows that are drawn like those of the fit.
        """
        x = border.rows_like(self, X)
        if coverage is not None:
            border.check_coverage(self, coverage)
        answers = evaluate(self.model_, x)
        mean = answers.mean(axis=0)
        if coverage is None:
            return self._as_given(mean)
        assert self.calibration_ is not None
        half = self.calibration_.half_width(spread_of(answers), float(coverage))
        parts = (self._as_given(v) for v in (mean, mean - half, mean + half))
        return Prediction(*parts, float(coverage), self.target_names_)

    def predict_members(self, X: Any) -> Float[np.ndarray, "members n *targets"]:
        """Every member's own prediction."""
        answers = evaluate(self.model_, border.rows_like(self, X))
        return answers[..., 0] if self.flat_ else answers

    def _as_given(self, y: np.ndarray) -> np.ndarray:
        return y[:, 0] if self.flat_ else y

    def at_step(self, step: int) -> FunctionRegressor:
        """The regressor as it was after that step of the training, one of `snapshot_every`.

        Its intervals are those of the end. Raises `InputError` for a step of which none was kept.
        """
        require_fitted(self)
        kept = dict(self.fit_.snapshots)
        if step not in kept:
            known = ", ".join(map(str, kept)) or "none: fit with snapshot_every="
            raise InputError("step", expected=known, got=repr(step), do="pick one of these")
        other = copy.copy(self)
        other.model_ = kept[step]
        return other

    @property
    def history(self) -> Any:
        """The training as a table: step, loss and validation (in standardised units), seconds."""
        require_fitted(self)
        return self.fit_.to_frame()

    def _further(self) -> list[str]:
        held = [] if self.held_out_ is None else [str(self.held_out_)]
        return [*held, f"{self.members} members of {self.parameters_} parameters"]

    def save(self, path: Path | str) -> None:
        """One safetensors file: networks, scaling, calibration. Snapshots are not in it."""
        require_fitted(self)
        from .function_regressor_saving import save

        save(self, path)


def interval(every: int, snapshot_every: int | None) -> int:
    """Steps of an interval, at most `every`, that divide those of a snapshot."""
    if snapshot_every is None:
        return every
    return next(n for n in range(min(every, snapshot_every), 0, -1) if snapshot_every % n == 0)
