"""A learned density as plotly figures: curve, surface, pairs, marginals, training."""

from __future__ import annotations

from typing import Any

import numpy as np

from .axes import number, running
from .density_findings import DensityFindings, limits
from .palette import FLOW, INK, LEARNED, colour, faint
from .traces import HEIGHT, Figure, axis_of, curve, dots_at, framed

_BARS = 40
_FEW = 400  # rows in each panel of a pair plot
_GAP = 0.02
_BLUES = [[0, "#ffffff"], [0.15, "#dbe9f6"], [0.4, "#9dc6e0"], [0.7, "#3f8fc5"], [1, "#08457e"]]


def line(f: DensityFindings) -> Figure:
    """The density of one variable and the histogram of the rows."""
    flat = f.surface
    assert flat is not None
    x = flat.axes[0]
    bars = histogram(f.rows[:, 0], (x[0], x[-1]), "rows")
    traces = [bars, curve(x, flat.density, LEARNED, "density")]
    return framed(traces, axis_of(f.names[0]), axis_of("density", rangemode="tozero"))


def heat(f: DensityFindings) -> list[Figure]:
    """The density of two variables with the rows, and samples."""
    flat = f.surface
    assert flat is not None
    x, y = flat.axes
    map_ = {
        "type": "heatmap", "x": x, "y": y, "z": [np.asarray(row) for row in flat.density],
        "colorscale": _BLUES, "showscale": False, "zsmooth": "best", "hoverinfo": "x+y+z",
    }  # fmt: skip
    ends = [{"range": [float(a[0]), float(a[-1])]} for a in (x, y)]
    out = []
    for below, points, shade, name in (
        ([map_], f.rows, faint(INK, 0.45), "rows"), ([], f.samples, faint(LEARNED, 0.6), "samples"),
    ):  # fmt: skip
        traces = [*below, dots_at(points[:, 0], points[:, 1], shade, name, size=3)]
        axes = (axis_of(f.names[i], **ends[i]) for i in (0, 1))
        out.append(framed(traces, *axes, height=380))
    return out


def histogram(values: np.ndarray, ends: tuple[float, float], name: str, **more: Any) -> dict:
    """Bars of unit area over these ends."""
    heights, edges = np.histogram(values, bins=_BARS, range=ends, density=True)
    middle = 0.5 * (edges[1:] + edges[:-1])
    look = {"marker": {"color": FLOW, "line": {"width": 0}}, "name": name, "showlegend": True}
    return {"type": "bar", "x": middle, "y": heights, "width": edges[1] - edges[0]} | look | more


def steps(values: np.ndarray, ends: tuple[float, float], name: str = "") -> dict:
    """The same as an outline."""
    heights, edges = np.histogram(values, bins=_BARS, range=ends, density=True)
    middle = 0.5 * (edges[1:] + edges[:-1])
    return curve(middle, heights, LEARNED, name, line={"shape": "hvh", "width": 1.5})


def marginal(f: DensityFindings, i: int, *, legend: bool) -> Figure:
    """One variable: rows as bars, samples as a line."""
    low, high = limits(f.rows)
    ends = (float(low[i]), float(high[i]))
    traces = [histogram(f.rows[:, i], ends, "rows"), steps(f.samples[:, i], ends, "samples")]
    y = axis_of("", showticklabels=False, rangemode="tozero")
    return framed(traces, axis_of(f.names[i]), y, height=220, showlegend=legend)


def pairs(f: DensityFindings) -> Figure:
    """Rows below the diagonal, samples above it, both on it."""
    chosen, k = f.chosen, len(f.chosen)
    low, high = limits(np.concatenate([f.rows, f.samples]))
    traces: list[dict] = []
    axes: dict[str, Any] = {}
    width = (1 + _GAP) / k - _GAP
    for a, i in enumerate(chosen):
        for b, j in enumerate(chosen):
            n = a * k + b + 1
            tag = str(n) if n > 1 else ""
            left, top = b * (width + _GAP), 1 - a * (width + _GAP)
            ends = (float(low[j]), float(high[j]))
            outer = {"showticklabels": a == k - 1, "nticks": 4, "tickfont": {"size": 10}}
            title = f.names[j] if a == k - 1 else ""
            axes[f"xaxis{tag}"] = axis_of(
                title, domain=[left, left + width], anchor=f"y{tag}", range=list(ends), **outer
            )
            outer |= {"showticklabels": b == 0 != a}
            title = f.names[i] if b == 0 else ""
            span = {} if a == b else {"range": [float(low[i]), float(high[i])]}
            axes[f"yaxis{tag}"] = axis_of(
                title, domain=[top - width, top], anchor=f"x{tag}", **span, **outer
            )
            placed = {"xaxis": f"x{tag}", "yaxis": f"y{tag}"}
            traces += [trace | placed for trace in _panel(f, i, j, ends)]
    x, y = axes.pop("xaxis"), axes.pop("yaxis")
    height = min(170 * k + 70, 900)
    return framed(traces, x, y, height=height, showlegend=False, **axes)


def _panel(f: DensityFindings, i: int, j: int, ends: tuple[float, float]) -> list[dict]:
    if i == j:
        return [histogram(f.rows[:, i], ends, "rows"), steps(f.samples[:, i], ends)]
    below = f.chosen.index(i) > f.chosen.index(j)
    drawn, shade = (f.rows, faint(INK, 0.4)) if below else (f.samples, faint(LEARNED, 0.5))
    return [dots_at(drawn[:_FEW, j], drawn[:_FEW, i], shade, size=2.5)]


def loss(f: DensityFindings, stage: str) -> Figure:
    """The loss of one stage and its validation, on a linear scale: nats may be negative."""
    rows = [r for r in running(f.fit) if r["stage"] == stage]
    at = [r["step"] for r in rows]
    traces = [curve(at, np.array([number(r, "loss") for r in rows]), LEARNED, "training")]
    validation = np.array([number(r, "validation") for r in rows])
    if np.isfinite(validation).any():
        dotted = {"dash": "dot", "width": 1.5}
        traces.append(curve(at, validation, colour(1), "left-out rows", line=dotted))
    return framed(traces, axis_of(f"step of {stage}"), axis_of("loss"), height=HEIGHT)


def evaluations(f: DensityFindings) -> Figure:
    """Evaluations of the field per row over training, forward and backward."""
    rows = [r for r in running(f.fit) if r["stage"] != "matching"]
    at = [r["step"] for r in rows]
    traces = [
        curve(at, np.array([number(r, f"nfe_{way}") for r in rows]), colour(k), way, line=look)
        for k, (way, look) in enumerate((("forward", {}), ("backward", {"dash": "dot"})))
    ]
    y = axis_of("evaluations per row", rangemode="tozero")
    return framed(traces, axis_of("optimiser step"), y)
