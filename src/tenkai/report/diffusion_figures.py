"""A learned diffusion as plotly figures: paths ahead, its fields, the stationary law, the check."""

from __future__ import annotations

from typing import Any

import numpy as np

from .diffusion_findings import Curve, DiffusionFindings, Field, Record, factor
from .figures import flow
from .palette import AHEAD, FLOW, INK, LEARNED, QUIET, colour, faint
from .traces import (
    DECADE,
    HEIGHT,
    Figure,
    axis_of,
    between,
    curve,
    dots_at,
    framed,
    scale_buttons,
)

_FEW = 300  # observations that are drawn as dots too
_BARS = 50
_ROUND = np.linspace(0, 2 * np.pi, 73)
_SOLID = 1.6  # standard errors of a bar of 90 %
_MOST_DOTS = 3000


def over_time(f: DiffusionFindings, i: int) -> Figure:
    """The data of one variable, then simulated paths, their mean and interval."""
    alone = len(f.series) == 1
    traces: list[dict] = []
    for k, one in enumerate(f.series):
        traces += _one_series(one, i, (INK, AHEAD) if alone else (colour(k), colour(k)), alone)
    x, y = axis_of(f.time_name), axis_of(f.label(i))
    if not np.nanmin([np.nanmin(np.asarray(trace["y"], float)) for trace in traces]) > 0:
        return framed(traces, x, y)
    logarithmic = _towering(f, i)
    scale = {"type": "log", "dtick": DECADE} if logarithmic else {"type": "linear"}
    y |= scale | {"minorloglabels": "complete"}
    return framed(traces, x, y, updatemenus=[scale_buttons(logarithmic)])


def _towering(f: DiffusionFindings, i: int) -> bool:
    """Whether what is ahead reaches so far that the data would shrink to a line."""
    tops = [np.nanmax(one.forecast.upper[:, i]) for one in f.series if one.forecast is not None]
    return bool(tops) and max(tops) > 3 * np.nanmax(f.values[:, i])


def _one_series(one: Record, i: int, shades: tuple[str, str], alone: bool) -> list[dict]:
    traces, thin = [], {"width": 1.2}
    observed = curve(one.time, one.observed[:, i], shades[0], "observed" if alone else one.id)
    traces.append(observed | {"line": {"color": shades[0]} | thin})
    if len(one.time) <= _FEW:
        traces.append(dots_at(one.time, one.observed[:, i], shades[0], size=3.5))
    ahead = one.forecast
    if ahead is None:
        return traces
    if one.paths is not None and one.paths_time is not None:
        time = np.concatenate([np.append(one.paths_time, one.paths_time[-1:])] * len(one.paths))
        gaps = np.full((len(one.paths), 1), np.nan)
        values = np.concatenate([one.paths[:, :, i], gaps], axis=1).ravel()
        look = {"line": {"width": 0.7}, "opacity": 0.55, "hoverinfo": "skip"}
        traces.append(curve(time, values, LEARNED, "simulated paths", **look))
    traces.append(between(ahead.time, ahead.lower[:, i], ahead.upper[:, i], shades[1]))
    name = f"mean and {ahead.coverage:.0%} of paths" if alone else ""
    dash = {"dash": "dash"}
    traces.append(curve(ahead.time, ahead.mean[:, i], shades[1], name, line=dash))
    return traces


def field(f: DiffusionFindings, i: int, of: Curve, what: str) -> Figure:
    """A field of one variable against it: the curve, what the data ask for, where they are."""
    traces = [_where(f.values[:, i], of.at)]
    if len(of.members) > 1:
        low, high = of.members.min(0), of.members.max(0)
        traces.append(between(of.at, low, high, LEARNED))
    traces.append(curve(of.at, of.mean, LEARNED, "learned"))
    asked = of.asked
    half = _SOLID * asked.error
    bars = {"type": "data", "array": half, "width": 0, "color": INK, "thickness": 1}
    traces.append(
        dots_at(asked.at, asked.value, INK, "what the data ask for", 5) | {"error_y": bars}
    )
    unit = f"{what} of {f.label(i)}"
    shown = np.concatenate([of.mean, asked.value - half, asked.value + half, [0.0]])
    shown = shown[np.isfinite(shown)]
    room = 0.12 * (np.ptp(shown) or 1.0)
    low = shown.min() - (0 if what == "diffusion" else room)
    y = axis_of(unit, range=[low, shown.max() + 2 * room], zeroline=True, zerolinecolor=FLOW)
    second = {"overlaying": "y", "side": "right", "visible": False, "range": [0, 5]}
    return framed(traces, axis_of(f.label(i)), y, yaxis2=second, bargap=0)


def _where(values: np.ndarray, at: np.ndarray) -> dict[str, Any]:
    """How many observations there are, as low grey bars; the highest is one high."""
    counts, edges = np.histogram(values, _BARS, (at[0], at[-1]))
    centres = 0.5 * (edges[1:] + edges[:-1])
    return {
        "type": "bar", "x": centres, "y": counts / max(counts.max(), 1), "yaxis": "y2",
        "marker": {"color": faint(QUIET, 0.35)}, "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip


def plane(f: DiffusionFindings, of: Field) -> Figure:
    """The drift as a flow, and what one usual gap adds as ellipses of one standard deviation."""
    i, j = (f.names.index(name) for name in of.drift.names)
    traces = [_cloud(f, i, j), flow(of.drift, "drift")]
    step = f.usual_gap**0.5 * np.stack([np.cos(_ROUND), np.sin(_ROUND)])
    around = [
        np.concatenate([place[:, None] + lower @ step, [[np.nan]] * 2], axis=1)
        for place, lower in zip(of.places, factor(of.noise), strict=True)
    ]
    x, y = np.concatenate(around, axis=1)
    traces.append(curve(x, y, LEARNED, "noise of one usual gap", line={"width": 1.5}))
    axes = (
        axis_of(f.label(k), range=[ends[0], ends[-1]], showgrid=False)
        for k, ends in ((i, of.drift.x), (j, of.drift.y))
    )
    return framed(traces, *axes, height=int(1.4 * HEIGHT))


def _cloud(f: DiffusionFindings, i: int, j: int) -> dict[str, Any]:
    """Observed states, thinned out."""
    some = f.values[:: max(1, len(f.values) // _MOST_DOTS)]
    dots = dots_at(some[:, i], some[:, j], QUIET, "observed", 2.5)
    return dots | {"opacity": 0.3, "hoverinfo": "skip"}


def law(f: DiffusionFindings) -> list[Figure]:
    """The density of one variable over the data, or ellipses over pairs of several."""
    found = f.law
    if found is None or not found.status.ok:
        return []
    if found.grid is not None and found.density is not None:
        return [_density(f, found.grid, found.density)]
    return [_ellipses(f, *(f.names.index(n) for n in of.drift.names)) for of in f.fields]


def _density(f: DiffusionFindings, grid: np.ndarray, density: np.ndarray) -> Figure:
    shown = density > 1e-4 * density.max()
    values = f.values[:, 0]
    heights, edges = np.histogram(values, _BARS, density=True)
    bars = {
        "type": "bar", "x": 0.5 * (edges[1:] + edges[:-1]), "y": heights, "name": "observed",
        "marker": {"color": faint(QUIET, 0.35)}, "hoverinfo": "skip",
    }  # fmt: skip
    traces = [bars, curve(grid[shown], density[shown], LEARNED, "stationary law")]
    ends = [float(min(grid[shown][0], edges[0])), float(max(grid[shown][-1], edges[-1]))]
    x = axis_of(f.label(0), range=ends)
    return framed(traces, x, axis_of("density", rangemode="tozero"), bargap=0)


def _ellipses(f: DiffusionFindings, i: int, j: int) -> Figure:
    found = f.law
    assert found is not None
    two = [i, j]
    root = factor(found.covariance[np.ix_(two, two)][None])[0]
    traces = [_cloud(f, i, j)]
    for reach, dash in ((1, "solid"), (2, "dash")):
        step = reach * np.stack([np.cos(_ROUND), np.sin(_ROUND)])
        x, y = found.mean[two, None] + root @ step
        line = {"dash": dash, "width": 2}
        traces.append(curve(x, y, LEARNED, f"{reach} standard deviation{'s' * (reach > 1)}",
                            line=line))  # fmt: skip
    return framed(traces, axis_of(f.label(i)), axis_of(f.label(j)), height=int(1.4 * HEIGHT))


def correlations(f: DiffusionFindings) -> Figure:
    """Autocorrelation of the innovations, and the band that holds 95 % of independent ones."""
    lags, bound = np.arange(1, len(f.correlations) + 1), 1.96 / f.innovations.count**0.5
    traces = [between(lags, -bound + 0 * lags, bound + 0 * lags, QUIET)]
    traces += [
        curve(lags, f.correlations[:, i], colour(i), name) | {"mode": "lines+markers"}
        for i, name in enumerate(f.names)
    ]
    reach = max(0.2, 1.15 * float(np.abs(f.correlations).max()))
    y = axis_of("correlation", range=[-reach, reach], zeroline=True, zerolinecolor=QUIET)
    return framed(traces, axis_of("rows apart"), y)
