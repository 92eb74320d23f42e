"""Traces and layouts of plotly figures: plain dictionaries.

Building them by hand is faster than plotly's validated classes and needs no import. Every text
from the data is escaped: plotly reads a subset of HTML in labels.
"""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from ..records import Fit
from .axes import number, running
from .fonts import PAGE_FAMILY
from .palette import AHEAD, INK, LEARNED, QUIET, RULE, faint

Figure = dict[str, Any]
HEIGHT = 300


def axis_of(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title."""
    return {
        "title": {"text": escape(title), "standoff": 8},
        "gridcolor": RULE,
        "zeroline": False,
        "linecolor": QUIET,
        "automargin": True,
        **more,
    }


def framed(traces: list[dict], x: dict, y: dict, **layout: Any) -> Figure:
    """Traces in the layout that all figures share."""
    family = f'"{PAGE_FAMILY}", system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'
    base = {
        "height": HEIGHT,
        "margin": {"l": 56, "r": 12, "t": 34, "b": 44},
        "font": {"family": family, "size": 13, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": x,
        "yaxis": y,
    }
    return {"data": traces, "layout": base | layout}


def curve(x: Any, y: Any, shade: str, name: str = "", **more: Any) -> dict[str, Any]:
    """A line; named ones stand in the legend."""
    line = {"color": shade, "width": 2} | more.pop("line", {})
    shown = {"name": escape(name), "showlegend": bool(name)}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line} | shown | more


def losses(fit: Fit, others: str) -> list[dict[str, Any]]:
    """Lines of the loss of batches and of rows that did not train; none of a short training."""
    rows = running(fit)
    if len(rows) < 3:
        return []
    at = [r["total"] for r in rows]
    made = [curve(at, np.array([number(r, "loss") for r in rows]), LEARNED, "batches")]
    held = np.array([number(r, "validation") for r in rows])
    if np.isfinite(held).any():
        made.append(curve(at, held, AHEAD, others, line={"dash": "dot"}))
    return made


def dots_at(x: Any, y: Any, shade: str, name: str = "", size: float = 5) -> dict[str, Any]:
    """Points; named ones stand in the legend."""
    shown = {"name": escape(name), "showlegend": bool(name)}
    marker = {"color": shade, "size": size}
    return {"type": "scatter", "mode": "markers", "x": x, "y": y, "marker": marker} | shown


def between(x: np.ndarray, lower: np.ndarray, upper: np.ndarray, shade: str) -> dict[str, Any]:
    """One closed outline: it needs no other trace to fill to."""
    return {
        "type": "scatter",
        "mode": "none",
        "x": np.concatenate([x, x[::-1]]),
        "y": np.concatenate([lower, upper[::-1]]),
        "fill": "toself",
        "fillcolor": faint(shade),
        "hoverinfo": "skip",
        "showlegend": False,
    }


DECADE = "D2"  # ticks at 1, 2 and 5 of each decade do not run into each other


def scale_buttons(logarithmic: bool) -> dict[str, Any]:
    """Two buttons that choose the scale of the vertical axis."""

    def button(kind: str) -> dict[str, Any]:
        ticks = DECADE if kind == "log" else None
        change = {"yaxis.type": kind, "yaxis.dtick": ticks, "yaxis.autorange": True}
        return {"label": kind, "method": "relayout", "args": [change]}

    place = {"x": 1, "xanchor": "right", "y": 1.03, "yanchor": "bottom", "pad": {"r": 0}}
    look = {"bgcolor": "white", "bordercolor": RULE, "font": {"size": 11, "color": QUIET}}
    buttons = [button("linear"), button("log")]
    shown = {"type": "buttons", "direction": "right", "active": int(logarithmic)}
    return shown | place | look | {"buttons": buttons}
