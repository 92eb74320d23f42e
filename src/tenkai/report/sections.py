"""The page of learned dynamics, in its order. Every text from outside passes `escape`."""

from __future__ import annotations

from functools import singledispatch
from html import escape

from ..records.equilibria import sentence
from . import figures
from .findings import SHOWN, About, Findings
from .palette import INK, LEARNED, QUIET, RULE
from .parts import (
    Page,
    bars,
    capital,
    network,
    numbers,
    opening,
    plots,
    section,
    settings,
    table,
    training,
)
from .verdict import Measured, Verdict, forecast_verdict, interval_verdict, measured

_PANELS = 12  # variables with a panel of their own


@singledispatch
def sections(findings: About, heading: str, page: Page) -> str:
    """The body of the page of what was found; figures it refers to are placed on `page`."""
    raise TypeError(f"no page for {type(findings).__name__}")


@sections.register
def _(f: Findings, heading: str, page: Page) -> str:
    told = () if f.discretisation is None else (f.discretisation.message,)
    parts = [
        opening(f, heading, _answers(f), told),
        _course(f, page),
        _held_out(f, page),
        _equation(f),
        _portrait(f, page),
        _standstill(f),
        _residuals(f, page),
        _coverage(f),
        _discretisation(f),
        training(f, page),
        network(f),
        settings(f),
    ]
    return "\n".join(p for p in parts if p)


def _answers(f: Findings) -> list[Verdict]:
    """What the page says first."""
    explained = "Share of the variance that one solve explains."
    answers = [
        forecast_verdict(f.held_out),
        interval_verdict(f.held_out, f.coverage),
        Verdict("Learned path", f"R² {f.score:.3f}", explained),
    ]
    if f.discretisation is not None:
        value = "an ODE" if f.discretisation.is_ode else "a discrete map"
        answers.append(Verdict("What was learned", value, f.discretisation.message))
    return answers


def _course(f: Findings, page: Page) -> str:
    shown = range(min(len(f.names), _PANELS))
    note = "Bands are intervals for observations; dots are what was observed."
    if f.total_series > SHOWN:
        note += f" The first {SHOWN} of {f.total_series} series are shown."
    if len(f.names) > _PANELS:
        note += f" The first {_PANELS} of {len(f.names)} variables are shown."
    items = [
        page.place(figures.over_time(f, i), f"{f.names[i]}: data, learned path, forecast")
        for i in shown
    ]
    return section("Data, learned path and forecast", plots(items), note=note)


def _held_out(f: Findings, page: Page) -> str:
    held = f.held_out
    if held is None or not held.forecasts:
        return ""
    shown = range(min(len(f.names), _PANELS))
    items = [
        page.place(figures.held_out(held, i), f"{f.names[i]}: forecast and held-out values")
        for i in shown
    ]
    errors = [("learned", held.error, f"{held.error:.3g}")]
    errors += [(name, e, f"{e:.3g}") for name, e in held.naive.items()]
    note = "A model that never saw the end of the series forecasts it. " + held.note
    label = '<p class="note">Root mean square error in standard deviations of each variable.</p>'
    return section(
        "Forecast of a held-out end",
        plots(items, "two"),
        label,
        bars(errors, [LEARNED, *[RULE] * len(held.naive)]),
        note=note,
    )


def _equation(f: Findings) -> str:
    """The numbers of a user's equation, and the share of a network beside it."""
    if f.parameters is None:
        return ""
    body = numbers(f)
    if f.shares is not None:
        shares = ((name, f"{share:.1%}") for name, share in f.shares.items())
        body += table(("variable", "share of the network in its slope along the data"), shares)
    return section("The equation", body, note="In the units of the equation's own parameters.")


def _portrait(f: Findings, page: Page) -> str:
    if not f.planes:
        return ""
    items = [
        page.place(figures.phase(f, p), f"vector field of {' and '.join(p.names)}")
        for p in f.planes
    ]
    note = "Arrows show where the learned equation moves the state; their length means nothing."
    if len(f.names) > 2:
        note += " The other variables stay at their medians."
    return section("Phase portrait", plots(items, "two" if len(items) > 1 else "narrow"), note=note)


def _standstill(f: Findings) -> str:
    """Equilibria as a table and limit cycles in words; nothing found is said too."""
    found = f.equilibria
    if found is None:
        return ""
    rows = ((cell.replace(" ± ", "\u00a0±\u00a0") for cell in row) for row in found.rows())
    places = table(found.heads(), rows) if len(found) else ""
    words = "".join(f"<p>{escape(capital(sentence(c, found)))}.</p>" for c in found.cycles)
    words += "".join(f'<p class="note">{escape(capital(line))}.</p>' for line in found.notes)
    note = "Where the learned equation stands still or goes round: place and spread over members."
    if found.inputs:
        held = ", ".join(f"{name} at {value:.4g}" for name, value in found.inputs.items())
        note += f" Held constant: {held}."
    return section("Equilibria and limit cycles", places, words, note=note)


def _residuals(f: Findings, page: Page) -> str:
    items = [
        page.place(figures.residuals(f), "residuals over time"),
        page.place(figures.quantiles(f.names, f.deviations()), "quantiles of the residuals"),
    ]
    note = "Observed minus learned. A pattern over time is structure that the equation misses."
    return section("Residuals", plots(items, "two"), note=note)


def _coverage(f: Findings) -> str:
    counts = measured(f.held_out, f.coverage)
    if not counts:
        return ""
    rows = []
    for c in counts:
        low, high = c.interval()
        inside, interval = f"{c.inside} of {c.points}", f"{low:.0%} to {high:.0%}"
        cells = (c.what, inside, f"{c.share:.1%}", interval, f"{c.nominal:.0%}")
        texts = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f"<tr>{texts}<td>{_strip(c)}</td></tr>")
    heads = ("measured on", "inside", "share", "95% binomial interval", "nominal", "")
    head = "".join(f"<th>{h}</th>" for h in heads)
    counted = f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
    note = "How many points that training did not see lie inside the intervals."
    return section("Coverage of the intervals", counted, note=note)


def _strip(c: Measured) -> str:
    """Nominal coverage (a line) and the measured one with its interval, from 0 to 100 %."""
    low, high = (100 * v for v in c.interval())
    at, aim = 100 * c.share, 100 * c.nominal
    return (
        '<svg viewBox="-4 0 108 16" width="216" height="32" role="img" aria-label="coverage">'
        f'<path d="M0 8H100" stroke="{QUIET}" stroke-width=".4"/>'
        f'<path d="M{low:.1f} 8H{high:.1f}" stroke="{LEARNED}" stroke-width="2"/>'
        f'<path d="M{aim:.1f} 2V14" stroke="{INK}" stroke-width=".8"/>'
        f'<circle cx="{at:.1f}" cy="8" r="2.6" fill="{LEARNED}"/></svg>'
    )


def _discretisation(f: Findings) -> str:
    d = f.discretisation
    if d is None:
        return ""
    rows = [
        ("on a finer grid", f"{d.finer:.2g}"),
        (f"by an adaptive solver ({d.nfe_adaptive} evaluations)", f"{d.adaptive:.2g}"),
        ("tolerance", f"{d.tolerance:.2g}"),
    ]
    head = ("the learned path, solved again", "largest move, relative to its range")
    return section("Discretisation", table(head, rows), note=capital(d.message))
