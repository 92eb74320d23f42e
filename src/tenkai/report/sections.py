"""The parts of the report in their order. Every text from outside passes `escape`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from ..records.equilibria import sentence
from . import figures
from .axes import running
from .diagram import draw
from .findings import SHOWN, Findings
from .palette import INK, LEARNED, QUIET, RULE, colour
from .verdict import Measured, Verdict, forecast_verdict, interval_verdict, measured

_PANELS = 12  # variables with a panel of their own


def sections(findings: Findings, heading: str, drawn: dict[str, figures.Figure]) -> str:
    """The body of the page; the figures it refers to are put into `drawn` by their id."""
    page = _Page(drawn)
    parts = [
        _opening(findings, heading),
        _course(findings, page),
        _held_out(findings, page),
        _equation(findings),
        _portrait(findings, page),
        _standstill(findings),
        _residuals(findings, page),
        _coverage(findings),
        _discretisation(findings),
        _training(findings, page),
        _network(findings),
        _settings(findings),
    ]
    return "\n".join(p for p in parts if p)


class _Page:
    """Numbers the figures and keeps them for the script at the end."""

    def __init__(self, drawn: dict[str, figures.Figure]):
        self.drawn = drawn

    def place(self, figure: figures.Figure, alt: str) -> str:
        name = f"figure-{len(self.drawn) + 1}"
        self.drawn[name] = figure
        return f'<figure><div id="{name}" role="img" aria-label="{escape(alt)}"></div></figure>'


def _section(title: str, *body: str, note: str = "") -> str:
    hint = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{hint}{''.join(body)}</section>"


def _plots(items: Iterable[str], look: str = "") -> str:
    return f'<div class="{f"plots {look}".strip()}">{"".join(items)}</div>'


def _table(head: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> str:
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _bars(rows: Iterable[tuple[str, float, str]], shades: Sequence[str]) -> str:
    """A table whose numbers are also bars: name, number, the number as text."""
    rows = list(rows)
    most = max((v for _, v, _ in rows if np.isfinite(v)), default=0.0) or 1.0
    lines = []
    for (name, value, text), shade in zip(rows, shades, strict=True):
        share = 100 * value / most if np.isfinite(value) else 0
        lines.append(
            f"<tr><td>{escape(name)}</td><td>{escape(text)}</td><td class='bar'>"
            f'<span style="width:{share:.1f}%;background:{shade}"></span></td></tr>'
        )
    return f'<div class="scroll"><table class="bars">{"".join(lines)}</table></div>'


def _opening(f: Findings, heading: str) -> str:
    many = f"{f.total_series} series" if f.total_series > 1 else "one series"
    count = f"{f.observations:,} observed values of {len(f.names)} variable"
    count += "s" if len(f.names) > 1 else ""
    lead = f"{f.kind} learned from {many}: {count}{_span(f)}."
    status = f.fit.status
    lines = [status.message]
    lines += [f"Cause: {status.cause}."] if status.cause else []
    lines += [f"What to do: {status.remedy}."] if status.remedy else []
    told = "".join(f"<p>{escape(_sentence(line))}</p>" for line in lines)
    elsewhere = {*f.notes, f.discretisation and f.discretisation.message}
    notes = [note for note in status.notes if note not in elsewhere]
    told += "".join(f'<p class="note">{escape(_sentence(note))}</p>' for note in notes)
    look = "status" if status.ok else "status bad"
    return (
        f'<header><h1>{escape(heading)}</h1><p class="lead">{escape(lead)}</p>'
        f'<div class="{look}">{told}</div>{_cards(f)}</header>'
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _span(f: Findings) -> str:
    first = min(_moment(s.time[0]) for s in f.series)
    last = max(_moment(s.time[-1]) for s in f.series)
    return f", {f.time_name} {first} to {last}" if f.total_series == 1 else ""


def _moment(value: Any) -> str:
    value = np.asarray(value)
    if value.dtype.kind == "M":
        return str(np.datetime_as_string(value, unit="s")).removesuffix("T00:00:00")
    return f"{float(value):.6g}"


def _cards(f: Findings) -> str:
    cards = [
        forecast_verdict(f.held_out),
        interval_verdict(f.held_out, f.coverage),
        Verdict(
            "Learned path", f"R² {f.score:.3f}", "Share of the variance that one solve explains."
        ),
    ]
    if f.discretisation is not None:
        value = "an ODE" if f.discretisation.is_ode else "a discrete map"
        cards.append(Verdict("What was learned", value, f.discretisation.message))
    items = "".join(
        f'<li><div class="label">{escape(c.label)}</div><div class="value">{escape(c.value)}</div>'
        f"<p>{escape(_sentence(c.sentence))}</p></li>"
        for c in cards
    )
    return f'<ul class="cards">{items}</ul>'


def _course(f: Findings, page: _Page) -> str:
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
    return _section("Data, learned path and forecast", _plots(items), note=note)


def _held_out(f: Findings, page: _Page) -> str:
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
    return _section(
        "Forecast of a held-out end",
        _plots(items, "two"),
        label,
        _bars(errors, [LEARNED, *[RULE] * len(held.naive)]),
        note=note,
    )


def _equation(f: Findings) -> str:
    """The numbers of a user's equation, and the share of a network beside it."""
    if f.parameters is None:
        return ""
    body = _table(("parameter", "value", "standard error", "90% interval"), f.numbers())
    if f.shares is not None:
        shares = ((name, f"{share:.1%}") for name, share in f.shares.items())
        body += _table(("variable", "share of the network in its slope along the data"), shares)
    return _section("The equation", body, note="In the units of the equation's own parameters.")


def _portrait(f: Findings, page: _Page) -> str:
    if not f.planes:
        return ""
    items = [
        page.place(figures.phase(f, p), f"vector field of {' and '.join(p.names)}")
        for p in f.planes
    ]
    note = "Arrows show where the learned equation moves the state; their length means nothing."
    if len(f.names) > 2:
        note += " The other variables stay at their medians."
    return _section(
        "Phase portrait", _plots(items, "two" if len(items) > 1 else "narrow"), note=note
    )


def _standstill(f: Findings) -> str:
    """Equilibria as a table and limit cycles in words; nothing found is said too."""
    found = f.equilibria
    if found is None:
        return ""
    rows = ((cell.replace(" ± ", "\u00a0±\u00a0") for cell in row) for row in found.rows())
    table = _table(found.heads(), rows) if len(found) else ""
    words = "".join(f"<p>{escape(_sentence(sentence(c, found)))}.</p>" for c in found.cycles)
    words += "".join(f'<p class="note">{escape(_sentence(line))}.</p>' for line in found.notes)
    note = "Where the learned equation stands still or goes round: place and spread over members."
    if found.inputs:
        held = ", ".join(f"{name} at {value:.4g}" for name, value in found.inputs.items())
        note += f" Held constant: {held}."
    return _section("Equilibria and limit cycles", table, words, note=note)


def _residuals(f: Findings, page: _Page) -> str:
    items = [
        page.place(figures.residuals(f), "residuals over time"),
        page.place(figures.quantiles(f), "quantiles of the residuals"),
    ]
    note = "Observed minus learned. A pattern over time is structure that the equation misses."
    return _section("Residuals", _plots(items, "two"), note=note)


def _coverage(f: Findings) -> str:
    counts = measured(f.held_out, f.coverage)
    if not counts:
        return ""
    rows = []
    for c in counts:
        low, high = c.interval()
        counted, interval = f"{c.inside} of {c.points}", f"{low:.0%} to {high:.0%}"
        cells = (c.what, counted, f"{c.share:.1%}", interval, f"{c.nominal:.0%}")
        texts = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f"<tr>{texts}<td>{_strip(c)}</td></tr>")
    heads = ("measured on", "inside", "share", "95% binomial interval", "nominal", "")
    head = "".join(f"<th>{h}</th>" for h in heads)
    table = f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
    note = "How many points that training did not see lie inside the intervals."
    return _section("Coverage of the intervals", table, note=note)


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
    return _section("Discretisation", _table(head, rows), note=_sentence(d.message))


def _training(f: Findings, page: _Page) -> str:
    """The loss, and below it the time that each stage took, in the same colours."""
    rows = running(f.fit)
    order = list(dict.fromkeys(r["stage"] for r in rows))
    stages = sorted(f.seconds, key=lambda s: order.index(s) if s in order else -1)
    shades = [colour(order.index(s)) if s in order else QUIET for s in stages]
    spent = _bars(((s, f.seconds[s], f"{f.seconds[s]:.2f} s") for s in stages), shades)
    steps, total = (rows[-1]["total"] if rows else 0), sum(f.seconds.values())
    note = f"{steps:,} steps, {total:.1f} s in all. Loss in standardised units."
    return _section("Training", page.place(figures.loss(f.fit), "loss by stage"), spent, note=note)


def _network(f: Findings) -> str:
    picture = draw(f.model, f.members).svg
    return _section("Network", f'<div class="scroll network">{picture}</div>')


def _settings(f: Findings) -> str:
    rows = ((name, getattr(value, "name", value)) for name, value in sorted(f.settings.items()))
    settings = _section("Settings", _table(("option", "value"), rows))
    if not f.notes:
        return f'<div class="columns">{settings}</div>'
    told = "".join(f"<li>{escape(note)}</li>" for note in f.notes)
    notes = _section("Notes from reading the data", f"<ul>{told}</ul>")
    return f'<div class="columns">{settings}{notes}</div>'
