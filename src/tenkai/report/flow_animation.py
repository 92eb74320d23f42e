"""A flow as a moving picture: points on their way from the base to the data, in one HTML file.

Axes and texts are SVG made here; a short script moves the points on a canvas above it. Nothing is
loaded from anywhere.
"""

from __future__ import annotations

import base64
import json
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..storage import write_atomic
from .density import numbers_of
from .density_findings import SHOWN, Transporting, Way, limits, way
from .fonts import font_face
from .palette import FLOW, INK, LEARNED, QUIET, RULE

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _EDGE = 640, 520, 62, 52, 10
_LINES = 40  # paths that are drawn
_MILLISECONDS = 4000
_DOTS = 600  # rows behind the points
_STYLE = """
.transport { position: relative; max-width: 42rem; margin: .5rem 0; }
.transport svg { display: block; width: 100%; height: auto; }
.transport canvas { position: absolute; pointer-events: none; }
.transport .controls { display: flex; gap: .75rem; align-items: center; padding: .25rem 0 0; }
.transport button { min-width: 5rem; padding: .3rem .8rem; font: inherit; cursor: pointer; }
.transport input { flex: 1; min-width: 6rem; }
.transport output { min-width: 8.5rem; font-variant-numeric: tabular-nums; }
"""


def animation(found: Transporting, path: str | Path, *, columns: Any = None) -> Path:
    """Write the animation of a fitted continuous density to `path` and return the path.

    Samples (of a conditional density: rows) move from the base to the data; grey dots are rows.
    Of more than two variables `columns`, names or numbers, says which two are seen; default: the
    first two. Raises `InputError` for one variable and for flows that have no time.
    """
    density: Any = found
    names = tuple(density.names_)
    if len(names) == 1:
        raise InputError(
            "animation", expected="two variables or more", got=f"one, {names[0]!r}",
            do="use .plot() for its density",
        )  # fmt: skip
    pair = numbers_of(names, (0, 1) if columns is None else columns)
    if len(pair) != 2:
        raise InputError(
            "columns", expected="two", got=f"{len(pair)}", do="name two of the variables"
        )
    moved = way(density)
    picked = Way(moved.fractions, moved.points[..., list(pair)])
    rows = density.data_[:SHOWN][:, list(pair)]
    body = moving(picked, rows, (names[pair[0]], names[pair[1]]), play=True)
    path = Path(path)
    title = f"The flow of {names[pair[0]]} and {names[pair[1]]}"
    write_atomic(path, standing_alone(body + script(), title).encode())
    return path


def standing_alone(body: str, title: str) -> str:
    """A page of its own around a moving picture."""
    family = 'font: 1rem/1.5 "tenkai-ja", system-ui, sans-serif'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{font_face(title + body)}\n"
        f"body {{ {family}; color: {INK}; margin: 1rem auto; max-width: 44rem; padding: 0 1rem }}\n"
        f"h1 {{ font-size: 1.3rem }}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def script() -> str:
    """What moves every picture of a page; once, behind them."""
    code = files("tenkai.report").joinpath("flow_animation.js").read_text(encoding="utf-8")
    return f"<style>{_STYLE}</style><script>{code}</script>"


def moving(some: Way, rows: np.ndarray, names: tuple[str, str], *, play: bool = False) -> str:
    """The picture of a way in two variables, with its controls; `script` makes it move."""
    low, high = limits(np.concatenate([*some.points, rows]))
    scaled = (some.points - low) / (high - low)
    # Beyond the frame they wait at its edge.
    whole = np.round(np.clip(scaled, 0, 1) * 65535).astype("<u2")
    told = {
        "points": base64.b64encode(whole.tobytes()).decode("ascii"),
        "frames": len(some.fractions),
        "count": some.points.shape[1],
        "colour": LEARNED,
        "milliseconds": _MILLISECONDS,
        "play": play,
    }
    label = escape(f"{names[0]} and {names[1]}: points moving from the base to the data")
    return (
        f'<div class="transport"><div style="position:relative">'
        f"{_ground(scaled, (rows - low) / (high - low), (low, high), names)}"
        f"{canvas(label)}</div>"
        '<div class="controls"><button type="button">Play</button>'
        '<input type="range" min="0" max="1000" value="1000" aria-label="share of the way">'
        "<output>100 % of the way</output></div>"
        f'<script type="application/json">{json.dumps(told)}</script></div>'
    )


def canvas(label: str) -> str:
    """Where a script draws: the inner part of the frame."""
    inner = (_WIDTH - _LEFT - _EDGE, _HEIGHT - _BOTTOM - _EDGE)
    place = (
        f"left:{_LEFT / _WIDTH:.4%};width:{inner[0] / _WIDTH:.4%};top:{_EDGE / _HEIGHT:.4%};"
        f"height:{inner[1] / _HEIGHT:.4%}"
    )
    return (
        f'<canvas width="{2 * inner[0]}" height="{2 * inner[1]}" style="{place}" role="img" '
        f'aria-label="{label}"></canvas>'
    )


def drawing(inside: str) -> str:
    """The SVG below it."""
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" stroke-linecap="round" font-size="13" '
        f'fill="{INK}" aria-hidden="true">{inside}</svg>'
    )


def _ground(scaled: np.ndarray, rows: np.ndarray, ends: tuple, names: tuple[str, str]) -> str:
    """Axes, rows as grey dots and some paths, in a frame from 0 to 1."""
    parts = [framing(ends, names)]
    inside = rows[((rows >= 0) & (rows <= 1)).all(1)][:_DOTS]
    dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in _pixels(inside))
    parts.append(f'<path d="{dots}" stroke="{QUIET}" stroke-width="3" opacity=".35"/>')
    for path in np.clip(scaled[:, :_LINES], 0, 1).swapaxes(0, 1):
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in _pixels(path))
        parts.append(f'<path d="M{line}" fill="none" stroke="{FLOW}" stroke-width=".8"/>')
    return drawing("".join(parts))


def _pixels(places: np.ndarray) -> np.ndarray:
    inner = np.array([_WIDTH - _LEFT - _EDGE, _HEIGHT - _BOTTOM - _EDGE])
    flipped = np.stack([places[:, 0], 1 - places[:, 1]], 1)
    return flipped * inner + np.array([_LEFT, _EDGE])


def framing(ends: tuple, names: tuple[str, str]) -> str:
    """Axes with their ticks and names, from `ends`, the lowest and the highest values."""
    from matplotlib.ticker import MaxNLocator

    low, high = ends
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _EDGE
    out = [f'<path d="M{_LEFT} {_EDGE}V{bottom}H{right}" fill="none" stroke="{QUIET}"/>']
    for axis in (0, 1):
        ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low[axis], high[axis])
        for tick in ticks[(ticks >= low[axis]) & (ticks <= high[axis])]:
            share = np.full((1, 2), (tick - low[axis]) / (high[axis] - low[axis]))
            x, y = _pixels(share)[0]
            text = f"{round(float(tick), 12):g}".replace("-", "\u2212")
            if axis == 0:
                out.append(f'<path d="M{x:.1f} {_EDGE}V{bottom}" stroke="{RULE}"/>')
                out.append(
                    f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{text}</text>'
                )
            else:
                out.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="{RULE}"/>')
                out.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    middle = (_LEFT + right) / 2, (_EDGE + bottom) / 2
    first, second = (escape(name) for name in names)
    out.append(f'<text x="{middle[0]}" y="{_HEIGHT - 10}" text-anchor="middle">{first}</text>')
    turn = f'transform="translate(16 {middle[1]}) rotate(-90)" text-anchor="middle"'
    return "".join([*out, f"<text {turn}>{second}</text>"])
