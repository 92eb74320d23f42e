"""The page of a classifier, in its order. Every text from outside passes `escape`."""

from __future__ import annotations

import numpy as np

from . import classes_figures as figures
from .axes import running
from .classes_findings import ClassFindings
from .classes_verdict import accuracy_of, depth_of, loss_of, passed_of
from .palette import LEARNED, RULE
from .parts import Page, bars, network, opening, plots, section, settings, table
from .sections import sections
from .series_figures import confusion, progress

_MATRIX = 30  # classes of a drawn matrix
_FEW = 10  # up to which mistakes are read off the matrix
_PAIRS = 8


@sections.register
def _(f: ClassFindings, heading: str, page: Page) -> str:
    held = f.held_out
    cards = [passed_of(f.judged), accuracy_of(held), loss_of(held), depth_of(held)]
    parts = [
        opening(f, heading, [c for c in cards if c is not None], (), _lead(f)),
        _accuracy(f),
        _confusion(f, page),
        _mistakes(f),
        _hidden(f, page),
        _tolerance(f, page),
        _training(f, page),
        network(f),
        settings(f),
    ]
    return "\n".join(p for p in parts if p)


def _lead(f: ClassFindings) -> str:
    if f.of_images:
        what = "images"
    else:
        what = f"rows of {len(f.names)} variable{'s' * (len(f.names) > 1)}"
    return f"{f.kind} of {what}, {f.count:,} learned numbers."


def _accuracy(f: ClassFindings) -> str:
    held = f.held_out
    if held is None:
        return ""
    low, high = held.interval
    rows = [(f.kind, held.accuracy, f"{held.accuracy:.2%} ({low:.1%} to {high:.1%})")]
    rows += [(name, value, f"{value:.2%}") for name, value in held.baselines.items()]
    note = (
        f"Share of {held.rows:,} rows in their class, none of which trained; the simple "
        "classifiers learned from the other rows too. The best of the judged networks was chosen "
        "by these rows, so the first number, with its "
        "95 % binomial interval, is a little too kind."
    )
    shades = [LEARNED, *[RULE] * len(held.baselines)]
    return section("Held-out accuracy", bars(rows, shades), note=note)


def _confusion(f: ClassFindings, page: Page) -> str:
    c = f.confusion
    if c is None:
        return ""
    parts = []
    if len(c.names) <= _MATRIX:
        parts.append(plots([page.place(confusion(c), "true and said classes")], "narrow"))
    pairs = c.pairs(_PAIRS)
    if pairs and len(c.names) > _FEW:
        rows = [(a, b, f"{n:,} of {total:,}") for a, b, n, total in pairs]
        parts.append(table(("class", "taken for", "how often"), rows))
    total = int(c.counts.sum())
    note = f"{c.right:,} of {total:,} right, of {f.rows}"
    if f.judged is None and f.held_out is not None and total < f.held_out.rows:
        note += f" ({total:,} of which the model keeps)"
    note += ". Rows are the true classes, shades are shares of each of them, numbers counts."
    return section("Confusion", *parts, note=note)


def _mistakes(f: ClassFindings) -> str:
    if not f.mistakes:
        return ""
    wrong = int(f.confusion.counts.sum()) - f.confusion.right if f.confusion is not None else 0
    note = f"The surest of {wrong:,} among {f.rows}: what it said, then what it is, each with its "
    note += "predicted probability."
    return section("Worst mistakes", figures.mistakes(f.mistakes), note=note)


def _hidden(f: ClassFindings, page: Page) -> str:
    h = f.hidden
    if h is None:
        return ""
    note = (
        f"{h.points.shape[1]:,} of {f.rows}, in the plane of the two principal components of all "
        f"depths together ({h.share:.0%} of the variance); depth 0 is what the stem says, depth 1 "
        "what the head reads."
    )
    if f.of_images:
        note += " A state is the mean of its channels over the pixels."
    drawn = page.place(figures.states(h, f.classes), "hidden states by depth")
    return section("Hidden states by depth", plots([drawn]), note=note)


def _tolerance(f: ClassFindings, page: Page) -> str:
    if not f.tolerances:
        return ""
    items = [
        page.place(figures.by_tolerance(f, "accuracy", "accuracy"), "accuracy against tolerance"),
        page.place(figures.by_tolerance(f, "nfe", "evaluations per row"), "NFE against tolerance"),
    ]
    rows = [
        (f"{r['rtol']:.0e}", f"{r['accuracy']:.1%}", f"{r['nfe']:.1f}", f"{r['error']:.2g}",
         f"{r['seconds']:.3g} s")
        for r in f.tolerances
    ]  # fmt: skip
    head = ("tolerance", "accuracy", "NFE per row", "largest move of a probability", "time")
    note = "Every row is solved by an adaptive method after training: accuracy against its price."
    if f.nfe is not None and len(f.nfe) and np.ptp(f.nfe) > 0:
        note += f" At 1e-3 rows need from {f.nfe.min():.0f} to {f.nfe.max():.0f} evaluations."
    return section("Accuracy against tolerance", plots(items, "two"), table(head, rows), note=note)


def _training(f: ClassFindings, page: Page) -> str:
    made = [
        figures.training(f),
        progress(f.fit, "nfe_forward", "evaluations per row", "nfe_backward"),
    ]
    words = ("cross-entropy over training", "evaluations over training")
    items = [page.place(g, w) for g, w in zip(made, words, strict=True) if g is not None]
    rows = running(f.fit)
    steps = rows[-1]["total"] if rows else f.fit.steps
    note = f"{steps:,} steps, {sum(f.seconds.values()):.1f} s in all."
    return section("Training", plots(items, "two"), note=note)
