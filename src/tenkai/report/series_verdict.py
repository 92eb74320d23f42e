"""How good models of many series are, beside simple ones, and how far to trust their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..records import Coverage
from .series_findings import Latent, Recurring
from .verdict import Verdict, verdict

_WHERE = {"between": "between what was seen", "after": "after it", "before": "before it"}


@verdict.register(Latent)
def _(estimator: Latent) -> tuple[Verdict, Verdict]:
    found: Any = estimator
    held = found.held_out_
    kinds = [] if held is None else list(held.errors)
    main = "after" if "after" in kinds else kinds[0] if kinds else "after"
    return error_of(held, main), intervals_of(held)


@verdict.register(Recurring)
def _(estimator: Recurring) -> tuple[Verdict, Verdict]:
    found: Any = estimator
    return density_of(found.held_out_), counted_of(found.held_out_)


def error_of(held: Any, kind: str) -> Verdict:
    """Of a latent model: the error at hidden observations of one kind beside the best naive one."""
    label = f"Error {_WHERE[kind].replace('it', 'what was seen')}"
    if held is None or kind not in held.errors:
        why = "no series were held out" if held is None else "no observations of that kind"
        return Verdict(label, "not measured", f"not measured, {why}.")
    one = held.errors[kind]
    name, naive = one.best_naive
    sentence = (
        f"error {one.error:.2g} standard deviations at {one.points:,} hidden observations of "
        f"{held.series:,} held-out series: {_times(naive, one.error)} the best naive "
        f"answer ({name}, {naive:.2g})."
    )
    return Verdict(label, f"{one.error:.2g} vs {naive:.2g}", sentence)


def _times(naive: float, error: float) -> str:
    ratio = naive / error if error > 0 else float("inf")
    return f"{ratio:.1f} times better than" if ratio > 1 else "no better than"


def intervals_of(held: Any) -> Verdict:
    """Of a latent model: coverage of the intervals, all kinds together and each."""
    if held is None or not held.errors:
        sentence = "coverage not measured, no series were held out."
        return Verdict("Intervals", "not measured", sentence)
    parts = {k: e.coverage for k, e in held.errors.items()}
    inside, points = (sum(getattr(c, a) for c in parts.values()) for a in ("inside", "points"))
    nominal = next(iter(parts.values())).nominal
    each = ", ".join(f"{c.share:.0%} {_WHERE[k]}" for k, c in parts.items())
    sentence = (
        f"{inside:,} of {points:,} hidden observations inside the {nominal:.0%} interval: {each}."
    )
    return Verdict("Intervals", f"{inside / points:.0%}", sentence)


def density_of(held: Any) -> Verdict:
    """Of a recurrent model: nats per value beside the best naive forecast."""
    label = "Log density"
    if held is None or not np.isfinite(held.log_density):
        return Verdict(label, "not measured", "not measured, nothing was held out.")
    name, naive = held.best_naive
    gain = held.log_density - naive
    how = f"{gain:.2g} more than" if gain > 0 else "no more than"
    sentence = (
        f"{held.log_density:.3g} nats per value, over {held.points:,} values ({held.note}): "
        f"{how} the best naive "
        f"forecast ({name}, {naive:.3g})."
    )
    return Verdict(label, f"{held.log_density:.3g} vs {naive:.3g}", sentence)


def step_of(held: Any, both: bool) -> Verdict:
    """Of a recurrent model: the error one step ahead, from `both` sides that of left-out values."""
    label = "Left-out values" if both else "One step ahead"
    if held is None or not np.isfinite(held.error):
        return Verdict(label, "not measured", "not measured, nothing was held out.")
    name = min(held.naive_errors, key=lambda k: held.naive_errors[k])
    naive = held.naive_errors[name]
    sentence = f"error {held.error:.2g} standard deviations: {_times(naive, held.error)} the best "
    sentence += f"naive forecast ({name}, {naive:.2g})."
    return Verdict(label, f"{held.error:.2g} vs {naive:.2g}", sentence)


def counted_of(held: Any) -> Verdict:
    """Of a recurrent model: coverage of the intervals one step ahead."""
    if held is None or not held.points:
        sentence = "coverage not measured, nothing was held out."
        return Verdict("Intervals", "not measured", sentence)
    count = Coverage(held.inside, held.points, held.nominal)
    low, high = count.interval()
    sentence = (
        f"{held.inside:,} of {held.points:,} held-out values inside the {held.nominal:.0%} "
        f"interval (95% binomial interval {low:.0%} to {high:.0%})."
    )
    return Verdict("Intervals", f"{count.share:.0%}", sentence)


def classes_of(held: Any) -> Verdict | None:
    """Accuracy on held-out series beside the commonest class, and the area under the curve."""
    if held is None or held.accuracy is None or np.isnan(held.accuracy):
        return None
    naive = held.majority if hasattr(held, "majority") else held.naive_accuracy
    sentence = f"{held.accuracy:.1%} of held-out series are put in their class, {naive:.1%} by the "
    sentence += "commonest class alone"
    if held.auc is not None and np.isfinite(held.auc):
        sentence += f"; area under the ROC curve {held.auc:.3f}"
    return Verdict("Classes", f"{held.accuracy:.1%}", f"{sentence}.")
