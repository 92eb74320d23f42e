"""The page of a learned diffusion, in its order. Every text from outside passes `escape`."""

from __future__ import annotations

import numpy as np

from . import diffusion_figures as figures
from .diffusion_findings import DiffusionFindings
from .figures import quantiles
from .findings import SHOWN
from .parts import (
    Page,
    capital,
    numbers,
    opening,
    plots,
    section,
    settings,
    table,
    training,
)
from .sections import sections
from .verdict import Verdict

_PANELS = 12  # variables with a panel of their own


@sections.register
def _(f: DiffusionFindings, heading: str, page: Page) -> str:
    parts = [
        opening(f, heading, [*f.answers, _settling(f)]),
        _course(f, page),
        _equation(f),
        _fields(f, page),
        _planes(f, page),
        _law(f, page),
        _innovations(f, page),
        training(f, page),
        settings(f),
    ]
    return "\n".join(p for p in parts if p)


def _settling(f: DiffusionFindings) -> Verdict:
    """Where it settles, as an answer."""
    law = f.law
    if law is None:
        return Verdict("Stationary law", "none", "The fields read the time.")
    if not law.status.ok:
        return Verdict("Stationary law", "none", f"{capital(law.status.cause)}.")
    shown = zip(f.names, law.mean, law.sd, strict=True)
    told = [f"{name} {mean:.3g} ± {sd:.2g}" for name, mean, sd in shown]
    one = f"{law.mean[0]:.3g} ± {law.sd[0]:.2g}" if len(told) == 1 else "there is one"
    most = 4
    rest = f" and {len(told) - most} more" if len(told) > most else ""
    words = f"Mean and standard deviation that it settles to: {', '.join(told[:most])}{rest}."
    return Verdict("Stationary law", one, words)


def _course(f: DiffusionFindings, page: Page) -> str:
    ahead = [one.forecast for one in f.series if one.forecast is not None]
    note = "What was observed"
    if ahead:
        note += (
            f", then the mean of simulated paths and the band that holds {ahead[0].coverage:.0%}"
        )
        note += " of them"
    note += "."
    if not ahead:
        note += f" No forecast: it needs future values of {f.held}."
    if f.total_series > SHOWN:
        note += f" The first {SHOWN} of {f.total_series} series are shown."
    if len(f.names) > _PANELS:
        note += f" The first {_PANELS} of {len(f.names)} variables are shown."
    items = [
        page.place(figures.over_time(f, i), f"{f.names[i]}: data, simulated paths, forecast")
        for i in range(min(len(f.names), _PANELS))
    ]
    return section("Data and forecast", plots(items), note=note)


def _equation(f: DiffusionFindings) -> str:
    if f.parameters is None:
        return ""
    note = "In the units of the equation's own parameters; standard errors hold although the "
    note += "likelihood is Gaussian (sandwich)."
    return section("The equation", numbers(f), note=note)


def _fields(f: DiffusionFindings, page: Page) -> str:
    items = []
    for i in range(min(len(f.names), _PANELS)):
        name = f.names[i]
        items.append(page.place(figures.field(f, i, f.drifts[i], "drift"), f"drift of {name}"))
        items.append(page.place(figures.field(f, i, f.sizes[i], "diffusion"), f"noise of {name}"))
    unit = {"days": "day"}.get(f.time_unit, "unit of time")
    note = f"Drift per {unit}, diffusion per root of it."
    if len(f.names) > 1:
        note += " The other variables stay at their medians."
    if f.held:
        note += f" {f.held} at their means."
    if len(f.drifts[0].members) > 1:
        note += f" The band is the range of {len(f.drifts[0].members)} members."
    note += " Dots are what the transitions from there ask for, with 90% bars: where they leave "
    note += "the curve, it is wrong. Grey bars show where the data are; beyond them it is a guess."
    return section("Drift and diffusion", plots(items, "two"), note=note)


def _planes(f: DiffusionFindings, page: Page) -> str:
    if not f.fields:
        return ""
    items = [
        page.place(figures.plane(f, of), f"drift and noise of {' and '.join(of.drift.names)}")
        for of in f.fields
    ]
    note = "Arrows show where the drift moves the state; their length means nothing. Ellipses: "
    note += "the noise that one usual gap adds."
    look = "two" if len(items) > 1 else "narrow"
    return section("Drift in the plane", plots(items, look), note=note)


def _law(f: DiffusionFindings, page: Page) -> str:
    law = f.law
    if law is None:
        return ""
    if not law.status.ok:
        told = f"{capital(law.status.message)}: {law.status.cause}. {capital(law.status.remedy)}."
        return section("Stationary law", note=told)
    seen = zip(f.values.mean(0), f.values.std(0), strict=True)
    rows = [
        (name, f"{mean:.4g}", f"{sd:.3g}", f"{m:.4g}", f"{s:.3g}")
        for name, mean, sd, (m, s) in zip(f.names, law.mean, law.sd, seen, strict=True)
    ]
    heads = ("variable", "mean", "standard deviation", "mean of the data", "their deviation")
    drawn = [page.place(figure, "stationary law and the data") for figure in figures.law(f)]
    note = f"{capital(law.status.message)}. A record shorter than a few returns differs from it."
    if f.held:
        note += f" Held constant at their means: {f.held}."
    look = "two" if len(drawn) > 1 else "narrow"
    return section("Stationary law", table(heads, rows), plots(drawn, look), note=note)


def _innovations(f: DiffusionFindings, page: Page) -> str:
    items = [
        page.place(quantiles(f.names, f.deviations(), "innovation"), "quantiles of innovations"),
        page.place(figures.correlations(f), "autocorrelation of innovations"),
    ]
    found = f.innovations
    each = (found.correlation, found.kurtosis, found.distance, found.memory)
    rows = [
        (name, f"{c:.3f}", f"{k:.2f}", f"{d:.3f}", f"{np.clip(m, 0, 1):.0%}")
        for name, c, k, d, m in zip(f.names, *each, strict=True)
    ]
    heads = (
        "variable", "correlation with the next", "excess kurtosis", "distance from normal",
        "variance known one row ahead",
    )  # fmt: skip
    note = "What each transition brought beyond its forecast, over its standard deviation. Of the "
    note += "right model they are independent standard normal numbers: a straight line on the "
    note += "left, about one of twenty outside the band on the right."
    title = "Check: standardised innovations"
    return section(title, plots(items, "two"), table(heads, rows), note=note)
