"""Pictures of learned densities: a curve, a surface with the flow's frames, or pairs of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .axes import dress, new_figure, plot
from .density_findings import (
    Transporting,
    Way,
    chosen_columns,
    images_of,
    limits,
    shown,
    surface,
    way,
)
from .density_images import images_and_samples
from .fonts import lettering
from .palette import FLOW, INK, LEARNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
_BARS = 40
_CURVES = "Blues"


@plot.register(Transporting)
def _(found: Any, *, columns: Any = None) -> np.ndarray:
    """One variable: curve and rows. Two: surface, samples, frames. More: pairs, rows and samples.

    Of images: some of them, samples, and the bits per dimension over training.

    `columns` names those of a pair plot (default: up to five that depend most on others).
    """
    if images_of(found) is not None:
        if columns is not None:
            raise InputError(
                "columns", expected="none: images are shown whole", got=repr(columns),
                do="leave it out",
            )  # fmt: skip
        return images_and_samples(found)
    rows, samples = shown(found)
    dim = rows.shape[1]
    with lettering():
        if found.context_names_ or dim > 2 or columns is not None:
            axes = pairs(found, rows, samples, columns)
        elif dim == 1:
            axes = [curve(new_figure(6.4, 3.6).add_subplot(), found, rows)]
        else:
            axes = plane(found, rows, samples)
    panels = np.empty(len(axes), dtype=object)
    panels[:] = axes
    return panels


def curve(ax: Axes, found: Any, rows: np.ndarray) -> Axes:
    """The density of one variable, the rows as a histogram and as ticks below it."""
    flat = surface(found, rows)
    x = flat.axes[0]
    ends = (x[0], x[-1])
    ax.hist(rows[:, 0], bins=_BARS, range=ends, density=True, color=FLOW, label="rows")
    ax.plot(x, flat.density, color=LEARNED, label="density")
    bottom = ax.get_xaxis_transform()
    ax.plot(
        rows[:, 0], np.full(len(rows), 0.015), "|", color=INK, ms=5, alpha=0.3, transform=bottom
    )
    ax.set_xlim(*ends)
    return dress(ax, title="Density", x=found.names_[0], y="density")


def plane(found: Any, rows: np.ndarray, samples: np.ndarray) -> list[Axes]:
    """Surface and rows, samples, and below them the way of the samples from the base."""
    flowing = found.density_.is_continuous
    figure = new_figure(8.0, 5.9 if flowing else 3.8)
    parts = figure.add_gridspec(2 if flowing else 1, 1, height_ratios=(2.1, 1)[: 1 + flowing])
    upper: Any = parts[0].subgridspec(1, 2).subplots()
    flat = surface(found, rows)
    x, y = flat.axes
    ends = (x[0], x[-1], y[0], y[-1])
    upper[0].pcolormesh(x, y, flat.density, cmap=_CURVES, shading="gouraud", rasterized=True)
    upper[0].plot(*rows.T, ".", color=INK, markersize=1.5, alpha=0.4)
    upper[1].plot(*samples.T, ".", color=LEARNED, markersize=2, alpha=0.6)
    for ax, title in zip(upper, ("Density, and rows", "Samples"), strict=True):
        ax.set(xlim=ends[:2], ylim=ends[2:])
        dress(ax, title=title, x=found.names_[0], y=found.names_[1])
        ax.grid(False)
    if not flowing:
        return list(upper)
    some = way(found, len(_FRACTIONS))
    lower: Any = parts[1].subgridspec(1, len(_FRACTIONS)).subplots()
    return [*upper, *_frames(lower, some)]


def _frames(panels: Any, some: Way) -> list[Axes]:
    low, high = limits(some.points.reshape(-1, 2))
    for ax, fraction, points in zip(panels, some.fractions, some.points, strict=True):
        ax.plot(*points.T, ".", color=LEARNED, markersize=1.2, alpha=0.6)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
        ax.set_title(f"{fraction:.0%} of the way", fontsize="small", color=INK)
    return list(panels)


def pairs(found: Any, rows: np.ndarray, samples: np.ndarray, columns: Any) -> list[Axes]:
    """Rows below the diagonal, samples above it, both on it."""
    names = tuple(found.names_)
    chosen = chosen_columns(rows) if columns is None else numbers_of(names, columns)
    k = len(chosen)
    figure = new_figure(max(1.7 * k, 4.0) + 0.6, max(1.7 * k, 3.4) + 0.4)
    panels: Any = figure.subplots(k, k, squeeze=False)
    low, high = limits(np.concatenate([rows, samples]))
    for a, i in enumerate(chosen):
        for b, j in enumerate(chosen):
            ax = panels[a, b]
            ax.set_xlim(low[j], high[j])
            if a == b:
                _both(ax, rows[:, i], samples[:, i])
            else:
                drawn, shade = (rows, INK) if a > b else (samples, LEARNED)
                ax.plot(drawn[:, j], drawn[:, i], ".", color=shade, markersize=1.5, alpha=0.4)
                ax.set_ylim(low[i], high[i])
            ax.spines[["top", "right"]].set_visible(False)
            ax.tick_params(labelsize="x-small", labelbottom=a == k - 1, labelleft=b == 0 != a)
            ax.locator_params(nbins=4)
            if a == k - 1:
                ax.set_xlabel(names[j], fontsize="small")
            if b == 0:
                ax.set_ylabel(names[i], fontsize="small")
    title = "Rows (grey, below the diagonal) and samples (blue, above)"
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize="medium")
    return list(panels.ravel())


def _both(ax: Axes, rows: np.ndarray, samples: np.ndarray) -> None:
    ends = ax.get_xlim()
    options: dict[str, Any] = {"bins": 30, "range": ends, "density": True}
    ax.hist(rows, **options, color=FLOW)
    ax.hist(samples, **options, histtype="step", color=LEARNED)
    ax.set_yticks([])


def numbers_of(names: tuple[str, ...], columns: Any) -> tuple[int, ...]:
    """Columns by name or number."""
    picked = []
    for column in columns:
        if column in names:
            picked.append(names.index(column))
        elif isinstance(column, (int, np.integer)) and -len(names) <= column < len(names):
            picked.append(int(column) % len(names))
        else:
            raise InputError(
                "columns", expected=f"names or numbers of {', '.join(names)}", got=repr(column),
                do="pick some of these",
            )  # fmt: skip
    return tuple(picked)
