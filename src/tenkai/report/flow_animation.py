"""A flow as a moving picture: points on their way from the base to the data, in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..storage import write_atomic
from .density import numbers_of
from .density_findings import SHOWN, Transporting, Way, limits, way
from .moving import Motion, framing, pixels, player, script, standing_alone
from .palette import FLOW, LEARNED, QUIET

_LINES = 40  # paths that are drawn
_MILLISECONDS = 4000
_DOTS = 600  # rows behind the points


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


def moving(some: Way, rows: np.ndarray, names: tuple[str, str], *, play: bool = False) -> str:
    """The picture of a way in two variables, with its controls; `script` makes it move."""
    low, high = limits(np.concatenate([*some.points, rows]))
    scaled = (some.points - low) / (high - low)
    frames, count = scaled.shape[:2]
    motion = Motion(
        scaled, np.linspace(0, 100, frames), "", " % of the way", [LEARNED], np.zeros(count, int),
        _MILLISECONDS,
    )  # fmt: skip
    label = f"{names[0]} and {names[1]}: points moving from the base to the data"
    ground = _ground(scaled, (rows - low) / (high - low), (low, high), names)
    return player(motion, ground, label, "share of the way", play=play)


def _ground(scaled: np.ndarray, rows: np.ndarray, ends: tuple, names: tuple[str, str]) -> str:
    """Axes, rows as grey dots and some paths, in a frame from 0 to 1."""
    parts = [framing(ends, names)]
    inside = rows[((rows >= 0) & (rows <= 1)).all(1)][:_DOTS]
    dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in pixels(inside))
    parts.append(f'<path d="{dots}" stroke="{QUIET}" stroke-width="3" opacity=".35"/>')
    for path in np.clip(scaled[:, :_LINES], 0, 1).swapaxes(0, 1):
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in pixels(path))
        parts.append(f'<path d="M{line}" fill="none" stroke="{FLOW}" stroke-width=".8"/>')
    return "".join(parts)
