"""The result in words and numbers: what the command line prints and the page's first lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from ..records import Coverage, HeldOut


@dataclass(frozen=True)
class Verdict:
    """One answer: a label, its number, and the sentence that says what the number means."""

    label: str
    value: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.label}: {self.sentence}"


@singledispatch
def verdict(estimator: Any) -> tuple[Verdict, Verdict]:
    """How good the forecast is and how far its intervals can be trusted.

    Other estimators than those of trajectories register their own.
    """
    held = estimator.held_out_
    return forecast_verdict(held), interval_verdict(held, estimator.coverage_)


def forecast_verdict(held: HeldOut | None) -> Verdict:
    """The error on a held-out end beside the best of the naive forecasts."""
    if held is None:
        sentence = "not measured, no end of the series was held out."
        return Verdict("Forecast", "not measured", sentence)
    name, naive = held.best_naive
    ratio = naive / held.error if held.error > 0 else float("inf")
    how = f"{ratio:.1f} times better than" if ratio > 1 else "no better than"
    sentence = (
        f"error {held.error:.2g} standard deviations on a held-out end, {how} "
        f"the best naive forecast ({name}, {naive:.2g})."
    )
    return Verdict("Forecast", f"{held.error:.2g} vs {naive:.2g}", sentence)


def interval_verdict(held: HeldOut | None, coverage: dict[str, Any] | None) -> Verdict:
    """How many left-out points lie inside the intervals, with their number."""
    counts = measured(held, coverage)
    if not counts:
        sentence = "coverage not measured, no points were left out."
        return Verdict("Intervals", "not measured", sentence)
    parts = [
        f"{c.inside} of {c.points} {c.what} ({c.share:.0%}) inside the {c.nominal:.0%} interval"
        for c in counts
    ]
    value = f"{counts[0].inside} of {counts[0].points}"
    return Verdict("Intervals", value, f"{'; '.join(parts)}.")


@dataclass(frozen=True)
class Measured(Coverage):
    """A measured coverage, and of `what`."""

    what: str


def measured(held: HeldOut | None, coverage: dict[str, Any] | None) -> list[Measured]:
    """The coverages that were measured, on points that training did not see."""
    found = []
    if coverage and coverage["points"]:
        inside, points = int(coverage["inside"]), int(coverage["points"])
        found.append(Measured(inside, points, coverage["nominal"], "left-out points"))
    if held is not None and held.points:
        found.append(Measured(held.inside, held.points, held.nominal, "held-out forecasts"))
    return found
