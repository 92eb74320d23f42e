"""How good a classifier is, in numbers and in words."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..classifiers import evaluation
from ..errors import InputError
from ..records import Status
from ..records.scores import binomial_interval
from . import ode_classifier_border as border

if TYPE_CHECKING:
    from .ode_classifier import ODEClassifier

_FREQUENT, _LOGISTIC = "most frequent class", "logistic regression"
_REGRESSED = 5000  # rows that logistic regression learns from, at most
_LOOKED_AT = 500  # rows that are solved again
_CHECK = 1e-5
_MOVED = 0.02  # share of rows whose class may change


@dataclass(frozen=True)
class HeldOutAccuracy:
    """Accuracy on `rows` that did not train, beside simple classifiers on the same rows.

    These rows chose the best of the judged networks, so it is a little too kind. `changed` is the
    share of them (of 500) whose class is another by an adaptive solve at 1e-5, None of residual
    blocks; `nfe` its mean NFE per row.
    """

    rows: int
    accuracy: float
    log_loss: float
    baselines: dict[str, float]
    changed: float | None
    nfe: float | None

    @property
    def interval(self) -> tuple[float, float]:
        """The exact binomial 95 % interval of the accuracy: of few rows it is wide."""
        return binomial_interval(round(self.accuracy * self.rows), self.rows)

    def __str__(self) -> str:
        simple = ", ".join(f"{name} {value:.2%}" for name, value in self.baselines.items())
        low, high = self.interval
        text = (
            f"{self.rows} held-out rows: accuracy {self.accuracy:.2%} (95 % binomial interval "
            f"{low:.1%} to {high:.1%}), log loss {self.log_loss:.3g}; {simple}"
        )
        if self.changed is None:
            return text
        return text + f"; solved at {_CHECK:g} ({self.nfe:.0f} NFE) {self.changed:.1%} change class"


def held_out(
    classifier: ODEClassifier, rows: np.ndarray, index: np.ndarray, held: np.ndarray
) -> HeldOutAccuracy | None:
    """The record of the rows that did not train; None where there are none."""
    if not len(held):
        return None
    x, y = rows[held], index[held]
    found = classifier._evaluate_rows(x)
    right = found.logits.argmax(1) == y
    chance = evaluation.probabilities(found.logits)[np.arange(len(y)), y]
    changed = nfe = None
    if evaluation.is_solved(classifier.model_):
        again = copy_at(classifier, _CHECK)._evaluate_rows(x[:_LOOKED_AT])
        moved = again.logits.argmax(1) != found.logits[:_LOOKED_AT].argmax(1)
        changed, nfe = float(np.mean(moved | ~again.ok)), float(again.nfe.mean())
    trained = np.setdiff1d(np.arange(len(rows)), held)
    return HeldOutAccuracy(
        len(held), float(right.mean()), float(-np.log(np.maximum(chance, 1e-30)).mean()),
        _baselines(rows, index, trained, held), changed, nfe,
    )  # fmt: skip


def copy_at(classifier: ODEClassifier, rtol: float) -> ODEClassifier:
    """`with_tolerance` before the fit has ended."""
    import copy

    other = copy.copy(classifier)
    other.model_ = evaluation.at_tolerance(classifier.model_, rtol)
    return other


def _baselines(
    rows: np.ndarray, index: np.ndarray, trained: np.ndarray, held: np.ndarray
) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    y = index[trained]
    frequent = np.bincount(y).argmax()
    found = {_FREQUENT: float(np.mean(index[held] == frequent))}
    few = trained
    if len(trained) > _REGRESSED:
        few = trained[np.linspace(0, len(trained) - 1, _REGRESSED).astype(int)]
    if len(np.unique(index[few])) < 2:
        return found
    flat = rows.reshape(len(rows), -1)
    scaler = StandardScaler().fit(flat[few].astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 100 iterations are enough for a comparison
        simple = LogisticRegression(max_iter=100).fit(
            scaler.transform(flat[few].astype(np.float64)), index[few]
        )
        guess = simple.predict(scaler.transform(flat[held].astype(np.float64)))
    return found | {_LOGISTIC: float(np.mean(guess == index[held]))}


def status_of(made: Status, held: HeldOutAccuracy | None, notes: tuple[str, ...]) -> Status:
    """How the training ended, and whether what it learned is any good."""
    if not made.ok:
        return Status(made.kind, made.message, made.cause, made.remedy, False, notes)
    if held is None:
        told = (*notes, "no rows were held out: nothing says how good it is on new ones")
        return Status("finished", f"{made.message}; nothing held out", notes=told)
    best, value = max(held.baselines.items(), key=lambda item: item[1])
    said = f"{made.message}; accuracy {held.accuracy:.2%} on {held.rows} held-out rows"
    if held.interval[1] < value:
        return Status(
            "beaten", said, f"{best} has {value:.2%} there",
            "use that one, or raise steps= or decay=, or pass more rows", False, notes,
        )  # fmt: skip
    if held.changed is not None and held.changed > _MOVED:
        notes = (*notes, (
            f"the grid it was trained on matters: solved at {_CHECK:g} {held.changed:.1%} of the "
            "held-out rows change class; train with more steps in the body"
        ))  # fmt: skip
    return Status("finished", f"{said} ({best} {value:.2%})", notes=notes)


def by_tolerance(
    classifier: ODEClassifier, X: Any, y: Any, rtols: Sequence[float]
) -> list[dict[str, float]]:
    """See `ODEClassifier.accuracy_by_tolerance`."""
    rows = border.rows_like(classifier, X)
    labels = np.asarray(y)
    if labels.shape != (len(rows),):
        raise InputError(
            "y", expected=f"{len(rows)} labels, one for each row of X",
            got=f"shape {labels.shape}", do="pass one label a row",
        )  # fmt: skip
    if not len(rtols):
        raise InputError("rtols", expected="tolerances", got="none", do="pass [1e-2, 1e-4]")
    smallest = max(min(rtols) / 100, 1e-12 if len(classifier.shape_) == 1 else 1e-7)
    exact = classifier.with_tolerance(smallest)._evaluate_rows(rows)
    truth = evaluation.probabilities(exact.logits)
    table = []
    for rtol in rtols:
        solved = classifier.with_tolerance(rtol)
        solved._evaluate_rows(rows[:1])  # compiles
        begun = time.perf_counter()
        found = solved._evaluate_rows(rows)
        seconds = time.perf_counter() - begun
        off = np.abs(evaluation.probabilities(found.logits) - truth).max()
        guess = classifier.classes_[found.logits.argmax(1)]
        table.append({
            "rtol": float(rtol), "accuracy": float(np.mean(guess == labels)),
            "nfe": float(found.nfe.mean()), "seconds": seconds, "error": float(off),
        })  # fmt: skip
    return table
