"""The learning of latents as a moving picture, in one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..storage import write_atomic
from .classes_findings import shade
from .manifold_findings import Shades, Unfolding, drawn_rows, shades_of
from .moving import Motion, framing, player, script, standing_alone
from .palette import LEARNED

_MILLISECONDS = 5000
_SCALE = 32  # colours of a scale


def animation(found: Unfolding, path: str | Path, *, color: Any = None) -> Path:
    """Write the learning of a manifold of two latents to `path` and return the path.

    `color` has one number or label for each row. Raises `InputError` for other than two latents.
    """
    learned: Any = found
    if learned.embedding_.shape[1] != 2:
        raise InputError(
            "animation", expected="two latents", got=str(learned.embedding_.shape[1]),
            do="fit with n_components=2",
        )  # fmt: skip
    history, count = learned.history_, len(learned.embedding_)
    if len(history[0][1]) != count:  # only the rows that trained have a history
        stands, first = np.unique(learned.trained_, return_index=True)
        shades = shades_of(color, count).taken(first[stands >= 0])
    else:
        rows = drawn_rows(learned)
        history = tuple((step, z[rows]) for step, z in history)
        shades = shades_of(color, count).taken(rows)
    body = moving(history, shades, ("z1", "z2"), play=True)
    path = Path(path)
    write_atomic(path, standing_alone(body + script(), "Learning of the latents").encode())
    return path


def moving(
    history: Sequence[tuple[int, np.ndarray]], shades: Shades, names: tuple[str, str],
    *, play: bool = False,
) -> str:  # fmt: skip
    """The picture of latents (steps of (n, 2)) with its controls; `script` makes it move."""
    places = np.stack([z for _, z in history])
    known = places[np.isfinite(places).all(-1)]
    low, high = known.min(0), known.max(0)
    more = 0.03 * np.where(high > low, high - low, 1.0)
    low, high = low - more, high + more
    palette, index = _painted(shades, places.shape[1])
    steps = [step for step, _ in history]
    scaled = (places - low) / (high - low)
    motion = Motion(scaled, steps, "step ", "", palette, index, _MILLISECONDS)
    return player(
        motion, framing((low, high), names),
        "latents moving from the start of the training to its end", "share of the training",
        play=play, below=_legend(shades),
    )  # fmt: skip


def _painted(shades: Shades, count: int) -> tuple[list[str], np.ndarray]:
    """Colours, and every row's number among them."""
    if shades.codes is not None:
        return [shade(k) for k in range(len(shades.names))], shades.codes
    if shades.values is not None:
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        low, high = np.nanmin(shades.values), np.nanmax(shades.values)
        share = (shades.values - low) / (high - low if high > low else 1.0)
        index = np.nan_to_num(share * (_SCALE - 1)).round().astype(int)
        return [to_hex(c) for c in colormaps["viridis"](np.linspace(0, 1, _SCALE))], index
    return [LEARNED], np.zeros(count, int)


def _legend(shades: Shades) -> str:
    if shades.codes is None:
        return ""
    parts = (
        f'<span style="color:{shade(k)}">●</span> {escape(name)}'
        for k, name in enumerate(shades.names)
    )
    return f'<p class="note">{" &nbsp; ".join(parts)}</p>'
