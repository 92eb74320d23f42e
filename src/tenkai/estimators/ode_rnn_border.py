"""What users pass to an `ODERNN`, checked once; and what came of it, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..records import Status
from ..sequences.recurrent import KINDS
from ..sequences.recurrent_evaluation import HeldOutSeries
from ..sequences.recurrent_learning import Design
from ..unfold import Tableau
from .base import check_numbers

if TYPE_CHECKING:
    from .ode_rnn import ODERNN

_LEAST = {
    "hidden": 1, "width": 1, "depth": 0, "substeps": 1, "window": 2, "steps": 1, "batch": 1,
    "patience": 1,
}  # fmt: skip
_BOUNDS = {
    "learning_rate": (0, 1), "decay": (0, np.inf), "hide": (0, 0.99), "density": (0, np.inf),
    "held_out": (0, 0.9),
}  # fmt: skip
_ALLOWED = {
    "cell": KINDS, "sides": ("past", "both"), "precision": ("float32", "float64"),
}  # fmt: skip


def design_of(rnn: ODERNN) -> Design:
    """The arguments as the core takes them; `InputError` for one that cannot work."""
    check_numbers(rnn, _LEAST, _BOUNDS, _ALLOWED)
    if not isinstance(rnn.method, Tableau):
        raise InputError(
            "method", expected="a Runge-Kutta tableau", got=repr(rnn.method),
            do="pass tenkai.unfold.RK4, say",
        )  # fmt: skip
    if rnn.cell == "imputed" and rnn.sides == "both":
        raise InputError(
            "sides", expected='"past" where values are imputed', got='"both"',
            do='pass cell="gaps", or sides="past"',
        )  # fmt: skip
    return Design(
        rnn.cell, 2 if rnn.sides == "both" else 1, rnn.hidden, rnn.width, rnn.depth, rnn.method,
        rnn.substeps, rnn.window, float(rnn.density), rnn.steps, rnn.batch,
        float(rnn.learning_rate), float(rnn.decay), float(rnn.hide), float(rnn.held_out),
        rnn.patience, rnn.seed, np.dtype(rnn.precision),
    )  # fmt: skip


def status_of(held: HeldOutSeries | None, training: Status, notes: tuple[str, ...]) -> Status:
    """Whether the model can be used, its cause where not, and a remedy."""
    if not training.ok:
        return replace(training, notes=(*training.notes, *notes))
    how = "until held-out series saw no gain" if training.kind == "early" else "all steps"
    if held is None:
        return Status("finished", f"Trained {how}; nothing was held out", notes=notes)
    if not np.isfinite(held.log_density):
        return Status(
            "diverged", "the density of the held-out series is not finite",
            "the state ran away", "lower learning_rate, or raise substeps", False, notes,
        )  # fmt: skip
    name, naive = held.best_naive
    short = []
    if held.log_density < naive:
        short.append(
            f"held-out values are no likelier ({held.log_density:.4g} nats) than by the {name} "
            f"({naive:.4g})"
        )
    if held.labelled and held.cross_entropy > held.naive_cross_entropy:
        short.append(
            f"held-out labels are no likelier ({-held.cross_entropy:.3g} nats) than by their "
            f"frequencies ({-held.naive_cross_entropy:.3g})"
        )
    if len(short) == (2 if held.labelled else 1):
        return Status(
            "not converged", "; ".join(short), "too few steps or series, or overfitting",
            "raise steps, lower hidden, or set decay", False, notes,
        )  # fmt: skip
    notes = (*notes, *short)
    said = f"{held.log_density:.4g} nats per held-out value, {name} {naive:.4g}"
    if held.labelled:
        said += f"; {_labels_in_words(held)}"
    return Status("converged", f"Trained {how}: {said}", notes=notes)


def _labels_in_words(held: HeldOutSeries) -> str:
    words = f"accuracy {held.accuracy:.1%}, the usual class {held.naive_accuracy:.1%}"
    return words + ("" if np.isnan(held.auc) else f", AUC {held.auc:.3f}")


def lines_of(held: HeldOutSeries) -> list[str]:
    """What was found on held-out series."""
    naive = ", ".join(f"{k} {v:.4g}" for k, v in held.naive.items())
    errors = ", ".join(f"{k} {v:.3g}" for k, v in held.naive_errors.items())
    lines = [
        f"on {held.note}:",
        f"log density {held.log_density:.4g} nats per value; {naive}",
        f"error {held.error:.3g} sd; {errors}",
        f"{held.nominal:.0%} intervals held {held.inside} of {held.points} values",
    ]
    if held.labelled:
        lines.append(f"{_labels_in_words(held)} ({held.labelled} series)")
    return lines
