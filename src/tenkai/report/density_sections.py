"""The page of a learned density, in its order. Every text from outside passes `escape`."""

from __future__ import annotations

from html import escape

import numpy as np

from . import density_figures as figures
from .axes import number, running
from .density_findings import SHOWN, DensityFindings
from .density_verdict import cost, nature, quality, repeated
from .diagram import draw
from .flow_animation import moving
from .moving import script
from .palette import FLOW
from .parts import Page, bars, capital, opening, plots, section, settings, table
from .sections import sections

_PANELS = 12  # variables with a panel of their own


@sections.register
def _(f: DensityFindings, heading: str, page: Page) -> str:
    cards = (
        quality(f.held_out, f.matched), repeated(f.repeats), cost(f.nfe, f.stiffness),
        nature(f.discretisation),
    )  # fmt: skip
    told = () if f.discretisation is None else (f.discretisation.message,)
    told += () if f.repeats is None else f.repeats.notes
    parts = [
        opening(f, heading, [c for c in cards if c is not None], told, _lead(f)),
        _density(f, page),
        _way(f),
        _marginals(f, page),
        _held_out(f),
        _repeats(f),
        _solving(f, page),
        _training(f, page),
        _network(f),
        settings(f),
    ]
    return "\n".join(p for p in parts if p)


def _lead(f: DensityFindings) -> str:
    count = f"{len(f.names)} variable{'s' * (len(f.names) > 1)}"
    if f.matched is not None:
        return f"{f.kind} matched to an unnormalised log density of {count}."
    given = f", given {', '.join(f.context_names)}" if f.context_names else ""
    return f"{f.kind} learned from {f.observations:,} rows of {count}{given}."


def _density(f: DensityFindings, page: Page) -> str:
    if f.surface is not None and len(f.names) == 1:
        drawn = page.place(figures.line(f), f"density of {f.names[0]} and its rows")
        return section("Density", plots([drawn], "narrow"), note="Bars are the rows.")
    names = ("density and rows", "samples")
    if f.surface is not None:
        items = [page.place(g, t) for g, t in zip(figures.heat(f), names, strict=True)]
        note = "Darker is denser. Samples of a good density look like the rows."
        return section("Density", plots(items, "two"), note=note)
    if len(f.names) == 1:  # conditional: only its samples are comparable with rows
        return ""
    note = f"Below the diagonal {_rows(f)}, above it samples, on it both (samples as a line)."
    if f.context_names:
        note += " Every sample is drawn at the context of a row."
    if len(f.chosen) < len(f.names):
        note += f" The {len(f.chosen)} variables of {len(f.names)} that depend most on others."
    drawn = page.place(figures.pairs(f), "pairs of variables, rows and samples")
    return section("Rows and samples", drawn, note=note)


def _rows(f: DensityFindings) -> str:
    if f.matched is not None:
        return "draws that judged the match"
    return f"{len(f.rows):,} rows" if f.observations > SHOWN else "rows"


def _way(f: DensityFindings) -> str:
    if f.way is None:
        return ""
    note = "From the standard normal base, in the place and size of the data, to the density. "
    note += "Grey dots are rows; lines are the paths of some points."
    shown = moving(f.way, f.rows, (f.names[0], f.names[1]))
    return section("The flow", shown, script(), note=note)


def _marginals(f: DensityFindings, page: Page) -> str:
    if len(f.names) <= len(f.chosen) and not (len(f.names) == 1 and f.surface is None):
        return ""
    items = [
        page.place(figures.marginal(f, i, legend=i == 0), f"{f.names[i]}: rows and samples")
        for i in range(min(len(f.names), _PANELS))
    ]
    note = "Bars are rows, lines are samples."
    if len(f.names) > _PANELS:
        note += f" The first {_PANELS} of {len(f.names)} variables are shown."
    return section("Every variable", plots(items, "two"), note=note)


def _held_out(f: DensityFindings) -> str:
    held = f.held_out
    if held is None:
        return ""
    rows = [("this flow", "", f"{held.mean:.4f} ± {held.error:.2g}", "")]
    rows += [
        (b.name, b.chosen, f"{b.mean:.4f}", f"{b.gain:+.3f} ± {b.error:.2g}") for b in held.beside
    ]
    note = f"Mean log density of {held.rows:,} rows that the model did not train on, in nats and "
    note += "in the units of the rows."
    note += " The others were fitted to the rest of the rows, too." if held.beside else ""
    head = ("density", "chosen", "nats per row", "gain of this flow")
    return section("Held-out rows", table(head, rows), note=note)


def _repeats(f: DensityFindings) -> str:
    found = f.repeats
    if found is None or not found.notes:
        return ""
    told = "".join(f"<p>{escape(capital(note))}.</p>" for note in found.notes)
    rows = [
        (
            c.name, f"{c.distinct:,}", f"{c.value:g}", f"{c.count:,} ({c.count / found.rows:.1%})",
            "atom" if c.atom else "categories" if c.category else "rounded" if c.rounded else "",
        )
        for c in found.columns
    ]  # fmt: skip
    head = ("column", "different values", "most frequent", "rows with it", "")
    return section("Repeated rows and values", told, table(head, rows))


def _solving(f: DensityFindings, page: Page) -> str:
    """What solving costs, and whether it matters how it is solved."""
    if f.nfe is None or f.discretisation is None:
        return ""
    check, rows = f.discretisation, []
    over = [r for r in running(f.fit) if r["stage"] != "matching"]  # which solves nothing
    ways = [np.array([number(r, f"nfe_{way}") for r in over]) for way in ("forward", "backward")]
    known = [w[np.isfinite(w) & (w > 0)] for w in ways]
    if all(map(len, known)):
        said = f"{known[0][-1]:.0f} forward, {known[1][-1]:.0f} backward"
        rows.append(("evaluations per row, last step of training", said))
    rows += [
        ("evaluations per row, adaptive at 1e-5", f"{f.nfe.mean:.0f} (at most {f.nfe.max:.0f})"),
        ("stiffness ratio along the paths, median", f"{f.stiffness:.3g}"),
        ("log density moves on a grid twice as fine by", f"{check.finer:.2g} nats"),
        ("log density moves by adaptive solving by", f"{check.adaptive:.2g} nats"),
        ("allowed", f"{check.tolerance:.2g} nats"),
    ]
    changes = any(len(w) > 1 and np.ptp(w) > 0 for w in known)
    drawn = ""
    if changes:
        drawn = page.place(figures.evaluations(f), "evaluations of the field over training")
        drawn = plots([drawn], "narrow")
    return section("Solving", drawn, table(("", ""), rows), note=capital(check.message))


def _network(f: DensityFindings) -> str:
    """The field of a continuous flow, else the flow."""
    flows = f.model.flows
    picture = draw(getattr(flows, "field", flows), f.members).svg
    return section("Network", f'<div class="scroll network">{picture}</div>')


def _training(f: DensityFindings, page: Page) -> str:
    rows = running(f.fit)
    stages = list(dict.fromkeys(r["stage"] for r in rows))
    drawn = [
        page.place(figures.loss(f, stage), f"loss of {stage}")
        for stage in stages
        if sum(r["stage"] == stage for r in rows) > 2
    ]
    shades = [FLOW] * len(f.seconds)
    spent = bars(((s, t, f"{t:.2f} s") for s, t in f.seconds.items()), shades)
    note = f"{f.fit.steps:,} steps, {sum(f.seconds.values()):.1f} s in all. Losses of likelihood "
    note += "are nats of the scaled rows."
    return section("Training", plots(drawn, "two"), spent, note=note)
