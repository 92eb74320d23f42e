"""The report: one HTML file that needs nothing else, to read, send and print."""

from __future__ import annotations

import json
from datetime import date
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..storage import write_atomic
from .findings import About, gather
from .fonts import font_face
from .parts import Page
from .sections import sections
from .traces import Figure

_START = """
const figures = JSON.parse(document.getElementById("figures").textContent);
const touch = window.matchMedia("(pointer: coarse)").matches;
for (const [id, figure] of Object.entries(figures)) {
  if (touch) figure.layout.dragmode = false;
  Plotly.newPlot(id, figure.data, figure.layout, {responsive: true, displayModeBar: false});
}
const fit = () => { for (const id of Object.keys(figures)) Plotly.Plots.resize(id); };
window.matchMedia("print").addEventListener("change", fit);
"""


def html(
    estimator: Any,
    path: str | Path,
    *,
    title: str = "",
    forecasts: Any = None,
    coverage: float = 0.9,
) -> Path:
    """Write the report of a fitted estimator to `path` and return the path.

    `forecasts` are shown instead of the estimator's default ones; `coverage` is of all intervals.
    The file is replaced in one step, so that a reader never sees half a page.
    """
    path = Path(path)
    text = render(gather(estimator, forecasts, coverage), title)

    write_atomic(path, text.encode())
    return path


def render(findings: About, title: str = "") -> str:
    """The whole page as text."""
    from plotly.offline import get_plotlyjs

    heading = title or findings.heading
    drawn: dict[str, Figure] = {}
    body = sections(findings, heading, Page(drawn))
    data = _inert(json.dumps(drawn, default=_plain, ensure_ascii=False, allow_nan=False))
    style = files("tenkai.report").joinpath("page.css").read_text(encoding="utf-8")
    made = f"Made by tenkai {__version__} on {date.today().isoformat()}."
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(heading)}</title><style>{font_face(body + data)}\n{style}</style></head>\n"
        f"<body>{body}<footer>{made}</footer>\n"
        f'<script type="application/json" id="figures">{data}</script>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>{_START}</script></body></html>\n"
    )


def _inert(data: str) -> str:
    """JSON that cannot end its script element, whatever the texts in it say."""
    return data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:
    """Arrays and NumPy scalars as JSON: gaps are null, dates ISO 8601, seven digits of a number."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "M":
            return np.datetime_as_string(value, unit="s").tolist()
        if value.dtype.kind == "f":
            return [float(f"{v:.7g}") if np.isfinite(v) else None for v in value.tolist()]
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else str(value)
