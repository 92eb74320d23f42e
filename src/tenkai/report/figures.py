"""Findings about trajectories as plotly figures."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from ..records import Equilibria, Fit, HeldOut
from .axes import name_of, number, running
from .findings import SHOWN, Findings, Shown
from .flow import Plane
from .palette import AHEAD, CYCLE, FLOW, INK, LEARNED, QUIET, colour
from .portrait import mark_of
from .traces import DECADE, HEIGHT, Figure, axis_of, between, curve, dots_at, framed, scale_buttons

_QUANTILES = 400  # points of a Q-Q plot; more are not seen


def over_time(findings: Findings, variable: int) -> Figure:
    """Data, learned path and forecast of one variable, with their intervals.

    Where everything is positive two buttons choose the axis; where intervals reach far above the
    data, the logarithmic one is shown first, because on it the data stay readable.
    """
    alone = len(findings.series) == 1
    traces: list[dict] = []
    for k, series in enumerate(findings.series):
        shades = (LEARNED, AHEAD, INK) if alone else (colour(k),) * 3
        names = ("learned", "forecast", "observed") if alone else (series.id, "", "")
        traces += _one_series(series, variable, shades, names)
    x, y = axis_of(findings.time_name), axis_of(findings.label(variable))
    if not np.nanmin(np.concatenate([trace["y"] for trace in traces])) > 0:
        return framed(traces, x, y)
    logarithmic = findings.towering
    scale = {"type": "log", "dtick": DECADE} if logarithmic else {"type": "linear"}
    y |= scale | {"minorloglabels": "complete"}
    return framed(traces, x, y, updatemenus=[scale_buttons(logarithmic)])


def _one_series(series: Shown, i: int, shades: tuple, names: tuple) -> list[dict]:
    path, ahead = series.path, series.ahead
    traces = []
    if path.lower is not None and path.upper is not None:
        traces.append(between(path.time, path.lower[:, i], path.upper[:, i], shades[0]))
    traces.append(curve(path.time, path.values[:, i], shades[0], names[0]))
    if ahead is not None:
        traces.append(between(ahead.time, ahead.lower[:, i], ahead.upper[:, i], shades[1]))
        dash = {"dash": "dash"}
        traces.append(curve(ahead.time, ahead.mean[:, i], shades[1], names[1], line=dash))
    traces.append(dots_at(series.time, series.observed[:, i], shades[2], names[2]))
    return traces


def held_out(held: HeldOut, variable: int) -> Figure:
    """The forecast of the held-out end against what was observed there, of the first series."""
    traces: list[dict] = []
    alone = len(held.forecasts) == 1
    for k, forecast in enumerate(held.forecasts[:SHOWN]):
        line, dots = (AHEAD, INK) if alone else (colour(k), colour(k))
        names = ("forecast", "held out") if alone else (forecast.series, "")
        lower, upper = forecast.lower[:, variable], forecast.upper[:, variable]
        traces.append(between(forecast.time, lower, upper, line))
        mean, dash = forecast.mean[:, variable], {"dash": "dash"}
        traces.append(curve(forecast.time, mean, line, names[0], line=dash))
        traces.append(dots_at(forecast.time, held.observed[k][:, variable], dots, names[1]))
    first = held.forecasts[0]
    return framed(traces, axis_of(first.time_name), axis_of(name_of(first, variable)))


def phase(findings: Findings, plane: Plane) -> Figure:
    """The learned vector field of two variables, the observations and the learned path in it."""
    i, j = (findings.names.index(name) for name in plane.names)
    alone = len(findings.series) == 1
    found = findings.marked
    traces = [flow(plane), *([] if found is None else _rings(found, (i, j)))]
    for k, series in enumerate(findings.series):
        line, dots = (LEARNED, INK) if alone else (colour(k), colour(k))
        name = "learned path" if alone else series.id
        traces.append(curve(series.path.values[:, i], series.path.values[:, j], line, name))
        label = "observed" if alone else ""
        traces.append(dots_at(series.observed[:, i], series.observed[:, j], dots, label))
    traces += [] if found is None else _marks(found, (i, j))
    x = axis_of(findings.label(i), range=[plane.x[0], plane.x[-1]], showgrid=False)
    y = axis_of(findings.label(j), range=[plane.y[0], plane.y[-1]], showgrid=False)
    return framed(traces, x, y, height=int(1.4 * HEIGHT))


def flow(plane: Plane, name: str = "vector field") -> dict[str, Any]:
    """All streamlets as one trace, parted by gaps."""
    gap = np.full((1, 2), np.nan)
    pieces = [np.concatenate([line, gap]) for line in plane.streamlets()] or [gap]
    points = np.concatenate(pieces)
    line = {"width": 1}
    return curve(points[:, 0], points[:, 1], FLOW, name, line=line, hoverinfo="skip")


_SYMBOLS = {
    "filled": {"symbol": "circle", "color": INK},
    "open": {"symbol": "circle", "color": "white"},
    "dotted": {"symbol": "circle-open-dot", "color": INK},
    "cross": {"symbol": "x", "color": "white"},
    "square": {"symbol": "square", "color": "white"},
}


def _rings(found: Equilibria, pair: tuple[int, int]) -> list[dict]:
    """Limit cycles: a full line where they are stable, else dashed."""
    traces = []
    for cycle in found.cycles:
        x, y = cycle.orbit[:, list(pair)].T
        line = {"width": 9} if cycle.stable else {"width": 5, "dash": "dash"}
        traces.append(curve(x, y, CYCLE, "limit cycle", line=line))
    return traces


def _marks(found: Equilibria, pair: tuple[int, int]) -> list[dict]:
    """Equilibria, one trace for each kind, marked as in the matplotlib pictures."""
    traces = []
    for kind in dict.fromkeys(e.kind for e in found):
        mine = [e for e in found if e.kind == kind]
        x, y = (np.array([e.point[k] for e in mine]) for k in pair)
        look = {"size": 11, "line": {"color": INK, "width": 2}} | _SYMBOLS[mark_of(mine[0])]
        traces.append(dots_at(x, y, INK, kind) | {"marker": look})
    return traces


def loss(fit: Fit) -> Figure:
    """Loss over the steps of all stages, on a log scale; events as thin lines."""
    rows = running(fit)
    traces, marks = [], []
    for k, stage in enumerate(dict.fromkeys(r["stage"] for r in rows)):
        mine = [r for r in rows if r["stage"] == stage]
        steps = [r["total"] for r in mine]
        losses, validation = (
            np.array([number(r, key) for r in mine]) for key in ("loss", "validation")
        )
        traces.append(curve(steps, losses, colour(k), str(stage)))
        if np.isfinite(validation).any():
            dotted = {"dash": "dot", "width": 1.5}
            name = f"{stage}, validation"
            traces.append(curve(steps, validation, colour(k), name, line=dotted))
    for r in rows:
        if r.get("event"):
            marks.append({"x0": r["total"], "x1": r["total"], "y0": 0, "y1": 1, "yref": "paper"})
    line = {"color": FLOW, "width": 1}
    shapes = [{"type": "line", "layer": "below", "line": line} | m for m in marks]
    y = axis_of("loss", type="log", exponentformat="power", dtick=1)
    return framed(traces, axis_of("optimiser step"), y, shapes=shapes, showlegend=False)


def residuals(findings: Findings) -> Figure:
    """Standardised residuals over time."""
    deviations, time = findings.deviations(), np.concatenate([s.time for s in findings.series])
    traces = [
        dots_at(time, deviations[:, i], colour(i), name) for i, name in enumerate(findings.names)
    ]
    zero = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0}
    shapes = [zero | {"line": {"color": QUIET, "width": 1}}]
    y = axis_of("residual (sd)")
    return framed(traces, axis_of(findings.time_name), y, shapes=shapes)


def quantiles(names: tuple[str, ...], deviations: np.ndarray, what: str = "residual") -> Figure:
    """Quantiles of standardised deviations (n, dim) against those of a normal distribution."""
    traces, reach = [], 2.0
    for i, name in enumerate(names):
        values = np.sort(deviations[np.isfinite(deviations[:, i]), i])
        count = min(len(values), _QUANTILES)
        level = (np.arange(count) + 0.5) / max(count, 1)
        normal = [NormalDist().inv_cdf(p) for p in level]
        sample = np.quantile(values, level) if count else values
        reach = max([reach, *np.abs(normal[-1:]), *np.abs(sample[[0, -1]])])
        traces.append(dots_at(normal, sample, colour(i), name))
    ends = [-reach, reach]
    traces.insert(0, curve(ends, ends, QUIET, line={"width": 1}, hoverinfo="skip"))
    return framed(traces, axis_of("normal quantile"), axis_of(f"{what} quantile"))
