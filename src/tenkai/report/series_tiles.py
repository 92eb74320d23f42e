"""Many small plotly panels in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from .palette import QUIET
from .traces import Figure, framed

GAP = 0.05  # between panels, of the width
ROOM = 46  # pixels between rows of panels


class Panel(NamedTuple):
    """What one of many small panels holds."""

    traces: list[dict]
    x: dict
    y: dict
    title: str


def tiled(
    panels: Sequence[Panel], across: int, height: int, gap: float = GAP, room: int = ROOM,
    **layout: Any,
) -> Figure:  # fmt: skip
    """Panels side by side, row by row."""
    down = -(-len(panels) // across)
    whole = down * (height + room) - room
    wide, tall = (1 + gap) / across - gap, height / whole
    traces: list[dict] = []
    axes: dict[str, Any] = {}
    notes = []
    for n, panel in enumerate(panels):
        tag = str(n + 1) if n else ""
        left, top = n % across * (wide + gap), 1 - n // across * (height + room) / whole
        ends = [max(top - tall, 0.0), min(top, 1.0)]
        axes[f"xaxis{tag}"] = panel.x | {"domain": [left, left + wide], "anchor": f"y{tag}"}
        axes[f"yaxis{tag}"] = panel.y | {"domain": ends, "anchor": f"x{tag}", "nticks": 5}
        traces += [t | {"xaxis": f"x{tag}", "yaxis": f"y{tag}"} for t in panel.traces]
        notes.append({
            "text": escape(panel.title), "x": left, "y": ends[1], "xref": "paper", "yref": "paper",
            "xanchor": "left", "yanchor": "bottom", "showarrow": False,
            "font": {"size": 12, "color": QUIET},
        })  # fmt: skip
    x, y = axes.pop("xaxis"), axes.pop("yaxis")
    legend = {"orientation": "h", "x": 0, "y": 1 + 26 / whole, "yanchor": "bottom"}
    margin = {"l": 56, "r": 12, "t": 56, "b": 48}
    more = {"annotations": notes, "legend": legend, "margin": margin} | axes | layout
    return framed(traces, x, y, height=whole + 104, **more)
