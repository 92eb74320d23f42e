"""How good a regressor is, beside simple models, and how far its intervals can be trusted."""

from __future__ import annotations

from typing import Any

from .regression_findings import Regressing
from .verdict import Verdict, verdict


@verdict.register(Regressing)
def _(estimator: Regressing) -> tuple[Verdict, Verdict]:
    found: Any = estimator
    return error_of(found.held_out_, tuple(found.target_names_)), intervals_of(found.held_out_)


def error_of(held: Any, names: tuple[str, ...]) -> Verdict:
    """The error on rows that did not train beside the better of the simple models."""
    if held is None:
        return Verdict("Error", "not measured", "not measured, no rows were left out.")
    name, simple = held.best_baseline
    ratio = simple / held.error if held.error > 0 else float("inf")
    how = f"{ratio:.3g} times better than" if ratio > 1 else "no better than"
    if len(names) == 1:
        value, baseline = f"{held.rmse[0]:.3g}", f"{held.baselines[name][0]:.3g}"
        unit = f"root mean square error of {names[0]}"
    else:
        value, baseline = f"{held.error:.3g}", f"{simple:.3g}"
        unit = "root mean square error in standard deviations"
    what = "new rows of the function" if held.fresh else "rows that did not train"
    sentence = f"{value} {unit} on {held.rows:,} {what}, {how} {name} ({baseline})."
    return Verdict("Error", f"{value} vs {baseline}", sentence)


def intervals_of(held: Any) -> Verdict:
    """How many values lie in their intervals."""
    if held is None:
        return Verdict("Intervals", "not measured", "there are none, no rows were left out.")
    c = held.coverage
    sentence = (
        f"{c.inside:,} of {c.points:,} values ({c.share:.1%}) lie inside the {c.nominal:.0%} "
        "interval whose width other rows gave."
    )
    return Verdict("Intervals", f"{c.share:.1%}", sentence)


def largest_of(held: Any) -> Verdict | None:
    """Of a function the largest error, None of a table."""
    if held is None or not held.fresh:
        return None
    sentence = f"the largest error on {held.rows:,} new rows of the box."
    return Verdict("Largest error", f"{max(held.largest):.3g}", sentence)
