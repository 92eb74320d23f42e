"""A classifier as plotly figures: states by depth, tolerance, training; its mistakes as images."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np

from .classes_findings import ClassFindings, Depths, Mistake, shade
from .palette import LEARNED, faint
from .series_tiles import Panel, tiled
from .traces import Figure, axis_of, curve, dots_at, framed, losses

_SIDE = 72  # pixels of the page that a mistake is wide
_DECADE = 10.0  # losses that fall further are drawn on a log scale


def states(h: Depths, names: tuple[str, ...]) -> Figure:
    """States at several depths in one plane, coloured by class."""
    low, high = h.points.min((0, 1)), h.points.max((0, 1))
    more = 0.06 * np.where(high > low, high - low, 1.0)
    ends = [[float(a), float(b)] for a, b in zip(low - more, high + more, strict=True)]
    present = np.unique(h.codes)
    panels = []
    for n, (depth, points) in enumerate(zip(h.depths, h.points, strict=True)):
        traces = [
            dots_at(
                points[h.codes == k, 0], points[h.codes == k, 1], faint(shade(int(k)), 0.75),
                names[k] if n == 0 else "", size=4,
            )
            for k in present
        ]  # fmt: skip
        y = axis_of("", range=ends[1], showticklabels=n == 0)
        panels.append(Panel(traces, axis_of("", range=ends[0]), y, f"depth {depth:g}"))
    lines = -(-len(present) // 8)
    return tiled(panels, len(panels), 200, 0.02, margin={"l": 44, "r": 12, "t": 36 + 22 * lines,
                                                         "b": 32})  # fmt: skip


def by_tolerance(f: ClassFindings, key: str, title: str) -> Figure:
    """A number against the tolerance of the solver."""
    rtol, values = (np.array([row[k] for row in f.tolerances]) for k in ("rtol", key))
    line = curve(rtol, values, LEARNED) | {"mode": "lines+markers", "marker": {"size": 6}}
    x = axis_of("tolerance (rtol)", type="log", exponentformat="power", dtick=1)
    look: dict = {"rangemode": "tozero"}
    if key == "accuracy":
        ends = [max(float(values.min()) - 0.02, 0.0), min(float(values.max()) + 0.02, 1.004)]
        look = {"tickformat": ".1%", "range": ends}
    return framed([line], x, axis_of(title, **look), height=260)


def training(f: ClassFindings) -> Figure | None:
    """The cross-entropy of batches and of held-out rows; None without a curve."""
    traces = losses(f.fit, "held-out rows")
    if not traces:
        return None
    known = np.concatenate([t["y"] for t in traces])
    known = known[np.isfinite(known)]
    wide = len(known) and known.min() > 0 and known.max() > _DECADE * known.min()
    scale = {"type": "log", "exponentformat": "power", "dtick": 1} if wide else {}
    return framed(traces, axis_of("optimiser step"), axis_of("cross-entropy (nats)", **scale))


def mistakes(found: tuple[Mistake, ...]) -> str:
    """Images side by side, each with what it is and what it was taken for."""
    cells = [_cell(m, f"{m.said} ({m.sure:.0%})", f"is {m.true} ({m.left:.0%})") for m in found]
    look = "display:grid;grid-template-columns:repeat(auto-fill,minmax(6.5rem,1fr));gap:1rem .75rem"
    return f'<div style="{look}">{"".join(cells)}</div>'


def _cell(m: Mistake, said: str, true: str) -> str:
    look = f"width:{_SIDE}px;image-rendering:pixelated;border:1px solid #d9dce1"
    alt = escape(f"{true}, taken for {said}")
    words = f"{escape(said)}<br>{escape(true)}"
    below = f'<figcaption style="line-height:1.3;overflow-wrap:anywhere">{words}</figcaption>'
    return f'<figure><img src="{_png(m.image)}" alt="{alt}" style="{look}">{below}</figure>'


def _png(image: np.ndarray) -> str:
    """A data address of an image (h, w, c) of one, three or more channels, from 0 to 1."""
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, drawable(image), cmap="gray", vmin=0, vmax=1, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def drawable(image: np.ndarray) -> np.ndarray:
    """Grey (h, w) or coloured (h, w, 3), from 0 to 1; of other channels their mean."""
    bounded = np.clip(image, 0.0, 1.0)
    return bounded if image.shape[-1] == 3 else bounded.mean(-1)
