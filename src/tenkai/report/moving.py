"""Points that move over a frame, with a button and a slider: the part that animations share.

Axes and texts are SVG made here; a short script moves the points on a canvas above it. Nothing is
loaded from anywhere.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

import numpy as np

from .fonts import font_face
from .palette import INK, QUIET, RULE

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _EDGE = 640, 520, 62, 52, 10
_STYLE = """
.moving { position: relative; max-width: 42rem; margin: .5rem 0; }
.moving svg { display: block; width: 100%; height: auto; }
.moving canvas { position: absolute; pointer-events: none; }
.moving .controls { display: flex; gap: .75rem; align-items: center; padding: .25rem 0 0; }
.moving button { min-width: 5rem; padding: .3rem .8rem; font: inherit; cursor: pointer; }
.moving input { flex: 1; min-width: 6rem; }
.moving output { min-width: 8.5rem; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True, eq=False)
class Motion:
    """Places (frames, points, 2) in a frame from 0 to 1, and what is said of every frame.

    `counted` (frames,) is shown between `before` and `after`; `colours` (points,) are numbers in
    `palette`.
    """

    places: np.ndarray
    counted: Sequence[float]
    before: str
    after: str
    palette: Sequence[str]
    colours: np.ndarray
    milliseconds: int


def player(
    motion: Motion, ground: str, label: str, share: str, *, play: bool, below: str = ""
) -> str:  # fmt: skip
    """The motion above its `ground` (SVG), with its controls; `script` makes it move."""
    # Beyond the frame points wait at its edge.
    whole = np.round(np.clip(np.nan_to_num(motion.places), 0, 1) * 65535).astype("<u2")
    told = {
        "points": base64.b64encode(whole.tobytes()).decode("ascii"),
        "counted": [float(v) for v in motion.counted],
        "before": motion.before,
        "after": motion.after,
        "palette": list(motion.palette),
        "colours": motion.colours.tolist(),
        "milliseconds": motion.milliseconds,
        "play": play,
    }
    data = json.dumps(told).replace("<", "\\u003c")
    return (
        '<div class="moving"><div style="position:relative">'
        f"{drawing(ground)}{_canvas(label)}</div>"
        '<div class="controls"><button type="button">Play</button>'
        f'<input type="range" min="0" max="1000" value="1000" aria-label="{escape(share)}">'
        f'<output></output></div><script type="application/json">{data}</script>{below}</div>'
    )


def script() -> str:
    """What moves every picture of a page; once, behind them."""
    code = files("tenkai.report").joinpath("moving.js").read_text(encoding="utf-8")
    return f"<style>{_STYLE}</style><script>{code}</script>"


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


def _canvas(label: str) -> str:
    """Where a script draws: the inner part of the frame."""
    inner = (_WIDTH - _LEFT - _EDGE, _HEIGHT - _BOTTOM - _EDGE)
    place = (
        f"left:{_LEFT / _WIDTH:.4%};width:{inner[0] / _WIDTH:.4%};top:{_EDGE / _HEIGHT:.4%};"
        f"height:{inner[1] / _HEIGHT:.4%}"
    )
    return (
        f'<canvas width="{2 * inner[0]}" height="{2 * inner[1]}" style="{place}" role="img" '
        f'aria-label="{escape(label)}"></canvas>'
    )


def drawing(inside: str) -> str:
    """The SVG below it."""
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" stroke-linecap="round" font-size="13" '
        f'fill="{INK}" aria-hidden="true">{inside}</svg>'
    )


def pixels(places: np.ndarray) -> np.ndarray:
    """Where places from 0 to 1 stand in the drawing."""
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
            x, y = pixels(share)[0]
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
