"""The page of a regressor, in its order. Every text from outside passes `escape`."""

from __future__ import annotations

import numpy as np

from . import regression_figures as figures
from .axes import running
from .figures import quantiles
from .palette import LEARNED, RULE
from .parts import Page, bars, network, opening, plots, section, settings, table
from .regression_findings import RegressionFindings
from .regression_verdict import error_of, intervals_of, largest_of
from .sections import sections

_TARGETS = 6  # with pictures of their own


@sections.register
def _(f: RegressionFindings, heading: str, page: Page) -> str:
    held = f.held_out
    cards = [error_of(held, f.names), intervals_of(held), largest_of(held)]
    parts = [
        opening(f, heading, [c for c in cards if c is not None], (), _lead(f)),
        _fit(f, page),
        _errors(f),
        _residuals(f, page),
        _coverage(f),
        _effects(f, page),
        _training(f, page),
        network(f),
        settings(f),
    ]
    return "\n".join(p for p in parts if p)


def _lead(f: RegressionFindings) -> str:
    what = f"{len(f.columns)} column{'s' * (len(f.columns) > 1)}"
    many = f"{f.members} networks" if f.members > 1 else "one network"
    return f"{f.kind} of {what}: {many} of {f.count:,} learned numbers."


def _whose(f: RegressionFindings) -> str:
    if f.held_out.fresh:
        return "new rows of the function"
    return "rows, each predicted by the networks that left it out"


def _fit(f: RegressionFindings, page: Page) -> str:
    rows = f.rows
    if rows is None:
        return ""
    items = []
    for j, name in enumerate(f.names[:_TARGETS]):
        drawn = (
            figures.against(rows, j, name)
            if f.curve is None
            else figures.fitted(f.curve, rows, j, f.columns[0], name)
        )
        items.append(page.place(drawn, f"fit of {name}"))
    note = f"{len(rows.y):,} {_whose(f)}; {f.coverage:.0%} intervals."
    return section("Fit", plots(items, "two" if len(items) > 1 else ""), note=note)


def _errors(f: RegressionFindings) -> str:
    held = f.held_out
    if held is None:
        return ""
    parts = []
    for j, name in enumerate(f.names):
        rows = [(f"{name}, {f.kind}", held.rmse[j], f"{held.rmse[j]:.4g}")]
        rows += [(f"{name}, {b}", v[j], f"{v[j]:.4g}") for b, v in held.baselines.items()]
        parts.append(bars(rows, [LEARNED, *[RULE] * len(held.baselines)]))
    note = f"Root mean square error on {held.rows:,} {_whose(f)}"
    note += (
        "; the simple models learned from these rows themselves."
        if held.fresh
        else ", and of simple models on the same rows in the same folds. All networks together, as "
        "they predict new rows, are a little better."
    )
    return section("Error beside simple models", *parts, note=note)


def _residuals(f: RegressionFindings, page: Page) -> str:
    rows = f.rows
    if rows is None:
        return ""
    size = np.sqrt(np.mean(rows.residuals**2, axis=0))
    scaled = rows.residuals / np.where(size > 0, size, 1.0)
    items = [
        page.place(figures.residuals(rows, f.names), "residuals against predictions"),
        page.place(quantiles(f.names, scaled), "quantiles of the residuals"),
    ]
    note = "Observed minus predicted, in units of the root mean square error. A pattern on the "
    note += "left is something that was not learned; tails on the right are larger errors than a "
    note += "normal distribution has."
    return section("Residuals", plots(items, "two"), note=note)


def _coverage(f: RegressionFindings) -> str:
    if f.held_out is None:
        return ""
    lines = []
    for c in f.held_out.coverages:
        low, high = c.interval()
        said = f"{c.inside:,} of {c.points:,}"
        lines.append((f"{c.nominal:.0%}", f"{c.share:.1%}", said, f"{low:.1%} to {high:.1%}"))
    head = ("interval", "measured", "values inside", "95% binomial interval")
    note = "Values inside intervals whose width came from the other folds of rows."
    return section("Coverage", table(head, lines), note=note)


def _effects(f: RegressionFindings, page: Page) -> str:
    if not f.effects:
        return ""
    span = None
    if len(f.names) == 1:
        every = np.concatenate([e.mean[:, 0] for e in f.effects])
        more = 0.05 * float(np.ptp(every)) or 1.0
        span = float(every.min()) - more, float(every.max()) + more
    items = [page.place(figures.effect(e, f.names, span), f"effect of {e.name}") for e in f.effects]
    note = "The mean prediction over rows when one column takes the same value in all of them, "
    note += "from its 2.5% to its 97.5% quantile; columns that move it most come first."
    return section("Effect of each column", plots(items, "two"), note=note)


def _training(f: RegressionFindings, page: Page) -> str:
    drawn = figures.training(f)
    rows = running(f.fit)
    steps = rows[-1]["total"] if rows else f.fit.steps
    note = f"{steps:,} steps, {sum(f.seconds.values()):.1f} s in all."
    items = [] if drawn is None else [page.place(drawn, "squared error over training")]
    return section("Training", plots(items), note=note)
