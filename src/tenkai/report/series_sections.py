"""The pages of models of many series, in their order. Every text from outside passes `escape`."""

from __future__ import annotations

from html import escape
from typing import Any

from . import series_figures as figures
from .axes import running
from .diagram import draw
from .palette import LEARNED, RULE
from .parts import Page, bars, opening, plots, section, settings, table
from .sections import sections
from .series_findings import SeriesFindings
from .series_latent import LatentFindings
from .series_recurrent import RecurrentFindings
from .series_verdict import classes_of, counted_of, density_of, error_of, intervals_of, step_of

_CLASSES = 30  # of a drawn matrix
_KINDS = {"between": "between what was seen", "after": "after it", "before": "before it"}


@sections.register
def _(f: LatentFindings, heading: str, page: Page) -> str:
    held = f.held_out
    cards = [error_of(held, k) for k in ("after", "between", "before")
             if held is None or k in held.errors][: 1 if held is None else 3]  # fmt: skip
    cards += [intervals_of(held), *filter(None, [classes_of(held)])]
    # The lines about held-out series are the table below.
    told = tuple(n for n in f.fit.status.notes if held is not None and "held-out series" in n)
    parts = [
        opening(f, heading, cards, told),
        _courses(f, page),
        _errors(f, page),
        _hidden(f, page),
        _classes(f, page),
        _training(f, page, "mean squared misses at hidden observations, in sd²"),
        _network(f),
        settings(f),
    ]
    return "\n".join(p for p in parts if p)


@sections.register
def _(f: RecurrentFindings, heading: str, page: Page) -> str:
    held = f.held_out
    cards = [density_of(held), step_of(held, f.both), counted_of(held)]
    cards += filter(None, [classes_of(held)])
    parts = [
        opening(f, heading, cards),
        _courses(f, page),
        _calibration(f, page),
        _naive(f),
        _classes(f, page),
        _training(f, page, "the loss of series that say when to stop"),
        _network(f),
        settings(f),
    ]
    return "\n".join(p for p in parts if p)


def _courses(f: SeriesFindings, page: Page) -> str:
    notes = [f.how]
    if any(not s.given.all() for s in f.series):
        notes.append(
            "Of each the middle was given to the model; rings are observations that were hidden "
            "from it."
        )
    if isinstance(f, RecurrentFindings):
        what = "all values" if f.both else "the values before it alone"
        notes.append(f"At every moment the prediction is given {what}.")
        if any(s.outside for s in f.series):
            notes.append("Dashed: forecast by draws.")
    notes.append(f"Bands are {f.coverage:.0%} intervals for observations.")
    if len(f.chosen) < len(f.names):
        notes.append(
            f"The {len(f.chosen)} of {len(f.names)} variables that were observed most often."
        )
    items = []
    if len(f.names) == 2 and not isinstance(f, RecurrentFindings):
        items.append(page.place(figures.planes(f), "series in the plane of their variables"))
    items.append(page.place(figures.courses(f), "series over time with paths and intervals"))
    title = "Data and what the model says"
    return section(title, plots(items), note=" ".join(n for n in notes if n))


def _errors(f: LatentFindings, page: Page) -> str:
    held = f.held_out
    if held is None or not held.errors:
        return ""
    rows = []
    for kind, e in held.errors.items():
        low, high = e.coverage.interval()
        naive = ", ".join(f"{n} {v:.3g}" for n, v in e.naive.items())
        rows.append((
            _KINDS[kind], f"{e.points:,}", f"{e.error:.3g}", naive,
            f"{e.coverage.share:.1%} ({low:.0%} to {high:.0%})",
        ))  # fmt: skip
    nominal = next(iter(held.errors.values())).coverage.nominal
    head = (
        "hidden observations", "values", "error (sd)", "naive answers (sd)",
        f"inside {nominal:.0%} intervals (95% binomial interval)",
    )  # fmt: skip
    drawn = ""
    if f.distances is not None:
        drawn = page.place(figures.distances(f.distances, f.time_name), "error by distance")
        drawn = plots([drawn], "narrow")
    note = f"Root mean squares over {held.series:,} series that did not train, in standard "
    note += "deviations of each variable. Naive answers come from what was seen of the same series."
    return section("Held-out series", table(head, rows), drawn, note=note)


def _hidden(f: LatentFindings, page: Page) -> str:
    h = f.hidden
    by = "class" if f.classes else "time"
    if f.classes and h.predicted:
        by = "predicted class"
    note = (
        f"In the plane of the two principal components ({h.share:.0%} of the variance). Left: "
        f"paths of {len(h.paths)} series, coloured by {by}"
        f"{'; dots are where they begin' if f.classes else ''}. Right: posteriors of the state "
        f"in which {len(h.start):,} series begin, their means and (of some) one standard deviation."
    )
    items = [
        page.place(figures.hidden_paths(h, f.classes), "hidden paths"),
        page.place(figures.posteriors(h, f.classes), "posteriors of the first state"),
    ]
    rows = [(f"z{i}", float(v), f"{v:.2f}") for i, v in enumerate(h.nats)]
    told = '<p class="note">Nats that the posterior of the first state knows more than the prior, '
    told += "per hidden dimension; one near zero is not used.</p>"
    shades = [LEARNED] * len(rows)
    return section("Hidden states", plots(items, "two"), told, bars(rows, shades), note=note)


def _calibration(f: RecurrentFindings, page: Page) -> str:
    if not len(f.transform):
        return ""
    items = [
        page.place(figures.transform(f), "probability integral transform"),
        page.place(figures.coverage(f), "measured against nominal coverage"),
    ]
    note = (
        f"{len(f.transform):,} values of {f.of}. Left: how the values spread over their predicted "
        "distributions; right ones are flat, and the grey band holds 90% of their bars (values "
        "taken as independent). Right: central intervals of every width."
    )
    return section("Calibration", plots(items, "two"), note=note)


def _naive(f: RecurrentFindings) -> str:
    held = f.held_out
    if held is None:
        return ""
    rows = [("this model", f"{held.log_density:.4g}", "", f"{held.error:.3g}")]
    for name, value in held.naive.items():
        gain = f"{held.log_density - value:+.3g}"
        rows.append((name, f"{value:.4g}", gain, f"{held.naive_errors[name]:.3g}"))
    head = ("forecast", "nats per value", "gain of this model", "error one step ahead (sd)")
    if f.both:
        head = (*head[:3], "error at left-out values (sd)")
    note = f"On {held.note}; log densities in the units of the data."
    return section("Beside simple forecasts", table(head, rows), note=note)


def _classes(f: SeriesFindings, page: Page) -> str:
    verdict = classes_of(f.held_out)
    c = f.confusion
    if c is None:
        return "" if verdict is None else section("Classes", f"<p>{escape(str(verdict))}</p>")
    drawn = ""
    if len(c.names) <= _CLASSES:
        drawn = plots([page.place(figures.confusion(c), "true and said classes")], "narrow")
    note = f"{c.right:,} of {int(c.counts.sum()):,} right. Rows are the true classes, shades "
    note += "shares of each of them, numbers counts."
    return section("Classes", drawn, note=note)


def _training(f: SeriesFindings, page: Page, validation: str) -> str:
    made = [
        figures.progress(f.fit, "loss", "loss (nats per value)"),
        figures.progress(f.fit, "validation", "held-out loss"),
        figures.progress(f.fit, "nfe_forward", "evaluations of the field", "nfe_backward"),
    ]
    words = ("loss", "validation", "evaluations")
    items = [page.place(g, w) for g, w in zip(made, words, strict=True) if g is not None]
    rows = running(f.fit)
    spent = bars(((s, t, f"{t:.2f} s") for s, t in f.seconds.items()), [RULE] * len(f.seconds))
    note = f"{rows[-1]['total'] if rows else f.fit.steps:,} steps, "
    note += f"{sum(f.seconds.values()):.1f} s in all, {f.precision}."
    if items:
        note += f" Held-out loss: {validation}"
        note += (
            ", and the weighted cross-entropy of the classes." if classes_of(f.held_out) else "."
        )
    if f.filled is not None:
        note += f" {f.filled:.0%} of the packed slots held data."
    return section("Training", plots(items, "two"), spent if len(f.seconds) > 1 else "", note=note)


def _network(f: Any) -> str:
    picture = draw(f.model, 1).svg
    return section("Network", f'<div class="scroll network">{picture}</div>')
