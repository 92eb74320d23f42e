"""The picture of a manifold: its latents, its learning, the surface among the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .axes import dress, new_figure, number, plot, running
from .fonts import lettering
from .manifold_findings import (
    Plane,
    Shades,
    Space,
    Surface,
    Unfolding,
    drawn_rows,
    names_of,
    plane_of,
    shades_of,
    surface_of,
)
from .palette import FLOW, INK, LEARNED, QUIET
from .series_panels import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@plot.register(Unfolding)
def _(found: Any, *, color: Any = None) -> np.ndarray:
    """Panels: latents, the rows with the surface, the error over the steps."""
    rows, names = drawn_rows(found), names_of(found)
    shades = shades_of(color, len(found.embedding_)).taken(rows)
    space = Space.of(found.data_, names)
    with lettering():
        figure = new_figure(12.0, 4.0)
        grid = figure.add_gridspec(1, 3, width_ratios=(1.15, 1.15, 0.9))
        latents = figure.add_subplot(grid[0])
        latent_map(latents, plane_of(found.embedding_[rows], found.data_[rows]), shades)
        solid = len(space.names) == 3
        among: Any = figure.add_subplot(grid[1], projection="3d" if solid else None)
        surface(among, space, space.to(found.data_[rows]), surface_of(found), shades)
        learned = learning(figure.add_subplot(grid[2]), found)
    panels = np.empty(3, dtype=object)
    panels[:] = [latents, among, learned]
    return panels


def latent_map(ax: Axes, plane: Plane, shades: Shades) -> Axes:
    """Latents of rows in their plane."""
    scattered(ax, plane.points, shades, legend=True)
    if plane.names[0] == "z1":
        ax.set_aspect("equal", "datalim")
    return dress(ax, title="Latents", x=plane.names[0], y=plane.names[1], legend=False)


def scattered(ax: Any, points: np.ndarray, shades: Shades, *, legend: bool = False) -> None:
    """Rows as dots in their colours; a legend or a scale beside them."""
    look: dict[str, Any] = {"s": 9, "linewidths": 0}
    if shades.codes is not None:
        for k in np.unique(shades.codes):
            name = plain(shades.names[k])
            ax.scatter(*points[shades.codes == k].T, color=shades.of_class(int(k)), label=name,
                       **look)  # fmt: skip
        if legend:
            ax.legend(frameon=False, fontsize="small", title=plain(shades.title) or None,
                      markerscale=1.6)  # fmt: skip
    elif shades.values is not None:
        drawn = ax.scatter(*points.T, c=shades.values, cmap="viridis", **look)
        if legend:
            ax.figure.colorbar(drawn, ax=ax, label=plain(shades.title), shrink=0.8)
    else:
        ax.scatter(*points.T, color=LEARNED, **look)


def surface(ax: Any, space: Space, rows: np.ndarray, found: Surface | None, shades: Shades) -> Any:
    """Rows in their space, and the surface or the curve among them."""
    scattered(ax, rows, shades)
    solid = len(space.names) == 3
    if found is not None:
        line = {"color": INK if found.curve else QUIET, "linewidth": 1.4 if found.curve else 0.5}
        places = space.to(found.points.reshape(-1, found.points.shape[-1]))
        known = np.isfinite(found.points.reshape(len(places), -1)).all(axis=1, keepdims=True)
        places = np.where(known, places, np.nan)
        places = places.reshape(*found.points.shape[:-1], -1)
        for way in lines_of(places):
            ax.plot(*way.T, **line)
    from matplotlib.ticker import MaxNLocator

    names = [plain(name) for name in space.names]
    if not solid:
        x, y = (*names, "")[:2]
        return dress(ax, title="Rows and surface", x=x, y=y, legend=False)
    ax.set(xlabel=names[0], ylabel=names[1], zlabel=names[2])
    ax.set_title("Rows and surface", loc="left", color=INK)
    ax.set_box_aspect(None, zoom=0.86)  # room for the labels
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_major_locator(MaxNLocator(4))
        axis.pane.set(facecolor="white", edgecolor=FLOW)
        axis.set_tick_params(labelsize="small")
    return ax


def lines_of(places: np.ndarray) -> list[np.ndarray]:
    """The curve, or the two families of lines of a surface (a, b, dim)."""
    if places.ndim == 2:
        return [places]
    return [*places, *places.swapaxes(0, 1)]


def learning(ax: Axes, found: Any) -> Axes:
    """What was minimised, over the steps."""
    rows = running(found.fit_)
    ax.plot([r["total"] for r in rows], [number(r, "loss") for r in rows], color=LEARNED)
    ax.set_yscale("log", nonpositive="mask")
    share = "leave-one-out error" if found.leave_one_out else "error"
    ax.axhline(found.error_, color=QUIET, linewidth=0.8, linestyle="--")
    title = f"{share[:1].upper()}{share[1:]}: {found.error_:.2%}"
    return dress(ax, title=title, x="step", y="share of the variance", legend=False)
