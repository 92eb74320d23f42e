"""What pages are made of, and the sections that all of them have.

Every text from outside passes `escape`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from . import figures
from .axes import running
from .diagram import draw
from .findings import About
from .palette import QUIET, colour
from .traces import Figure
from .verdict import Verdict

_FEWEST_REPORTS = 3


class Page:
    """Numbers the figures and keeps them for the script at the end."""

    def __init__(self, drawn: dict[str, Figure]):
        self.drawn = drawn

    def place(self, figure: Figure, alt: str) -> str:
        """A place for the figure, named to readers who do not see it."""
        name = f"figure-{len(self.drawn) + 1}"
        self.drawn[name] = figure
        return f'<figure><div id="{name}" role="img" aria-label="{escape(alt)}"></div></figure>'


def section(title: str, *body: str, note: str = "") -> str:
    """A headline, a note on how to read it, and what is below."""
    hint = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{hint}{''.join(body)}</section>"


def plots(items: Iterable[str], look: str = "") -> str:
    """Figures side by side where there is room."""
    return f'<div class="{f"plots {look}".strip()}">{"".join(items)}</div>'


def table(head: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> str:
    """A table of texts and numbers."""
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def bars(rows: Iterable[tuple[str, float, str]], shades: Sequence[str]) -> str:
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


def opening(
    f: About, heading: str, cards: Iterable[Verdict], elsewhere: Iterable[str] = (), lead: str = ""
) -> str:
    """Title, what was learned from what, the status and the answers; notes told `elsewhere`."""
    many = f"{f.total_series} series" if f.total_series > 1 else "one series"
    count = f"{f.observations:,} observed values of {len(f.names)} variable"
    count += "s" if len(f.names) > 1 else ""
    lead = lead or f"{f.kind} learned from {many}: {count}{_span(f)}."
    status = f.fit.status
    lines = [status.message]
    lines += [f"Cause: {status.cause}."] if status.cause else []
    lines += [f"What to do: {status.remedy}."] if status.remedy else []
    told = "".join(f"<p>{escape(capital(line))}</p>" for line in lines)
    told_below = {*f.notes, *elsewhere}
    notes = [note for note in status.notes if note not in told_below]
    told += "".join(f'<p class="note">{escape(capital(note))}</p>' for note in notes)
    look = "status" if status.ok else "status bad"
    return (
        f'<header><h1>{escape(heading)}</h1><p class="lead">{escape(lead)}</p>'
        f'<div class="{look}">{told}</div>{_cards(cards)}</header>'
    )


def capital(text: str) -> str:
    """With a capital."""
    return text[:1].upper() + text[1:]


def _span(f: About) -> str:
    first, last = (moment(end) for end in f.span)
    return f", {f.time_name} {first} to {last}" if f.total_series == 1 else ""


def moment(value: Any) -> str:
    """A time in words."""
    value = np.asarray(value)
    if value.dtype.kind == "M":
        return str(np.datetime_as_string(value, unit="s")).removesuffix("T00:00:00")
    return f"{float(value):.6g}"


def _cards(cards: Iterable[Verdict]) -> str:
    items = "".join(
        f'<li><div class="label">{escape(c.label)}</div><div class="value">{escape(c.value)}</div>'
        f"<p>{escape(capital(c.sentence))}</p></li>"
        for c in cards
    )
    return f'<ul class="cards">{items}</ul>'


def training(f: About, page: Page) -> str:
    """The loss, and below it the time that each stage took, in the same colours."""
    rows = running(f.fit)
    order = list(dict.fromkeys(r["stage"] for r in rows))
    stages = sorted(f.seconds, key=lambda s: order.index(s) if s in order else -1)
    shades = [colour(order.index(s)) if s in order else QUIET for s in stages]
    spent = bars(((s, f.seconds[s], f"{f.seconds[s]:.2f} s") for s in stages), shades)
    steps, total = (rows[-1]["total"] if rows else 0), sum(f.seconds.values())
    note = f"{steps:,} steps, {total:.1f} s in all."
    if len(rows) < _FEWEST_REPORTS:  # a curve of two points says nothing
        return section("Training", spent, note=note)
    note += " Loss in standardised units."
    return section("Training", page.place(figures.loss(f.fit), "loss by stage"), spent, note=note)


def network(f: About) -> str:
    """A diagram of the model."""
    picture = draw(f.model, f.members).svg
    return section("Network", f'<div class="scroll network">{picture}</div>')


def settings(f: About) -> str:
    """The arguments, and what was said when the data were read."""
    rows = ((name, getattr(value, "name", value)) for name, value in sorted(f.settings.items()))
    options = section("Settings", table(("option", "value"), rows))
    if not f.notes:
        return f'<div class="columns">{options}</div>'
    told = "".join(f"<li>{escape(note)}</li>" for note in f.notes)
    notes = section("Notes from reading the data", f"<ul>{told}</ul>")
    return f'<div class="columns">{options}{notes}</div>'


def numbers(f: About) -> str:
    """The table of the numbers of a user's equation."""
    return table(("parameter", "value", "standard error", "90% interval"), f.numbers())
