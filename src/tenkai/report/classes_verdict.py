"""How good a classifier is, beside simple ones, and whether it is an equation in depth."""

from __future__ import annotations

from typing import Any

from .classes_findings import Classifying
from .verdict import Verdict, verdict

_MOVED = 0.02  # share of rows whose class may change on another grid


@verdict.register(Classifying)
def _(estimator: Classifying) -> tuple[Verdict, Verdict]:
    found: Any = estimator
    nature = depth_of(found.held_out_)
    plain = Verdict("Depth", "a stack of layers", "residual blocks, solved by nothing.")
    return accuracy_of(found.held_out_), plain if nature is None else nature


def accuracy_of(held: Any) -> Verdict:
    """The share of held-out rows in their class beside the best of the simple classifiers."""
    if held is None:
        return Verdict("Accuracy", "not measured", "not measured, no rows were held out.")
    name, simple = max(held.baselines.items(), key=lambda item: item[1])
    gain = held.accuracy - simple
    low, high = held.interval
    if low <= simple <= high:
        how = "not clearly different from"
    else:
        how = f"{abs(100 * gain):.1f} points {'above' if gain > 0 else 'below'}"
    sentence = (
        f"{held.accuracy:.1%} of {held.rows:,} held-out rows are put in their class (95 % "
        f"interval {low:.1%} to {high:.1%}), {how} {name} ({simple:.1%})."
    )
    return Verdict("Accuracy", f"{held.accuracy:.1%}", sentence)


def passed_of(judged: tuple[int, int] | None) -> Verdict | None:
    """The accuracy on rows that were passed to the report."""
    if judged is None:
        return None
    right, rows = judged
    sentence = f"{right:,} of the {rows:,} rows that were passed are put in their class."
    return Verdict("Accuracy on these rows", f"{right / max(rows, 1):.1%}", sentence)


def loss_of(held: Any) -> Verdict | None:
    """The log loss of the held-out rows."""
    if held is None:
        return None
    sentence = "nats per held-out row: what its class was worth to the predicted probabilities."
    return Verdict("Log loss", f"{held.log_loss:.3g}", sentence)


def depth_of(held: Any) -> Verdict | None:
    """Whether classes hang on the grid in depth; None of residual blocks."""
    if held is None or held.changed is None:
        return None
    sentence = (
        f"{held.changed:.1%} of the held-out rows change their class when depth is solved "
        f"adaptively at 1e-5 ({held.nfe:.0f} evaluations per row)."
    )
    return Verdict("Depth", "an ODE" if held.changed <= _MOVED else "depends on its grid", sentence)
