"""Equilibria, limit cycles and the growth of small errors as matplotlib axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..records import Cycle, Equilibria, Equilibrium, Sensitivity
from .axes import axes_or_new, band, dress, new_figure, plot
from .flow import axis, plane
from .fonts import lettering
from .palette import CYCLE, FLOW, INK, LEARNED, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = 8  # of an equilibrium's mark, in points
_FINE = 200  # points of a drawn rate


@plot.register(Equilibria)
def _(found: Equilibria, *, ax: Axes | None = None, pair: tuple[int, int] = (0, 1)) -> Axes:
    """The phase portrait of two variables; of one variable alone, its rate over its value."""
    with lettering():
        ax = new_figure(5.6, 4.6).add_subplot() if ax is None else ax
        if len(found.names) == 1:
            _rates(ax, found)
            return dress(ax, x=found.names[0], y=f"rate of {found.names[0]} {found.rate_unit}")
        if len(found.names) == 2 and found.derivative is not None:
            _arrows(ax, found, pair)
        for path in found.paths:
            label = "learned path" if path is found.paths[0] else None
            ax.plot(*path[:, pair].T, color=LEARNED, linewidth=1.2, label=label)
        mark(ax, found, pair)
        dress(ax, x=found.names[pair[0]], y=found.names[pair[1]], legend=False)
        if ax.get_legend_handles_labels()[0]:
            place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3}
            ax.legend(frameon=False, fontsize="small", **place)
        return ax


def _arrows(ax: Axes, found: Equilibria, pair: tuple[int, int]) -> None:
    """The vector field over everything that is drawn."""
    from matplotlib.collections import LineCollection

    assert found.derivative is not None
    shown = [*found.paths, *(c.orbit for c in found.cycles), *(e.point[None] for e in found)]
    points = np.concatenate(shown)
    field = plane(found.derivative, points[np.isfinite(points).all(1)], pair, found.names)
    ax.add_collection(LineCollection(field.streamlets(), colors=FLOW, linewidths=0.8))
    ax.set_xlim(field.x[0], field.x[-1])
    ax.set_ylim(field.y[0], field.y[-1])


def _rates(ax: Axes, found: Equilibria) -> None:
    """``dx/dt`` over x, with the equilibria where it crosses zero."""
    ax.axhline(0, color=QUIET, linewidth=0.8)
    if found.derivative is not None:
        shown = np.concatenate([*found.paths, *(e.point[None] for e in found)])
        x = axis(shown, _FINE)
        ax.plot(x, found.derivative(x[:, None])[:, 0], color=LEARNED)
    labelled: set[str] = set()
    for e in found:
        _dot(ax, e, float(e.point[0]), 0.0, labelled)


def mark(ax: Axes, found: Equilibria, pair: tuple[int, int] | list[int]) -> None:
    """Equilibria and limit cycles into a phase portrait, as dynamics textbooks draw them.

    Stable ones are filled, unstable ones open, saddles crosses, centres dotted circles; an
    undecided one is an open square. Stable cycles are full lines, others dashed.
    """
    labelled: set[str] = set()
    for cycle in found.cycles:
        _ring(ax, cycle, list(pair), labelled)
    for e in found:
        _dot(ax, e, float(e.point[pair[0]]), float(e.point[pair[1]]), labelled)


def _ring(ax: Axes, cycle: Cycle, pair: list[int], labelled: set[str]) -> None:
    style, width = ("-", 6) if cycle.stable else ("--", 3.5)
    name = _once(f"{_STABILITY[cycle.stable]} limit cycle", labelled)
    ax.plot(*cycle.orbit[:, pair].T, style, color=CYCLE, linewidth=width, zorder=1.5, label=name)


def _dot(ax: Axes, e: Equilibrium, x: float, y: float, labelled: set[str]) -> None:
    look = {"marker": "o", "markersize": _SIZE, "markeredgecolor": INK, "markeredgewidth": 1.4}
    shape = mark_of(e)
    look |= {
        "filled": {"markerfacecolor": INK},
        "open": {"markerfacecolor": "white"},
        "dotted": {"markerfacecolor": "white"},
        "cross": {"marker": "X", "markerfacecolor": "white", "markersize": _SIZE + 2},
        "square": {"marker": "s", "markerfacecolor": "white"},
    }[shape]
    ax.plot(x, y, linestyle="none", zorder=4, label=_once(e.kind, labelled), **look)
    if shape == "dotted":
        ax.plot(x, y, "o", color=INK, markersize=0.35 * _SIZE, zorder=5)


def mark_of(e: Equilibrium) -> str:
    """How an equilibrium is marked: filled, open, dotted, cross or square."""
    if e.kind == "saddle":
        return "cross"
    if e.kind == "centre":
        return "dotted"
    return "square" if e.stable is None else "filled" if e.stable else "open"


_STABILITY = {True: "stable", False: "unstable", None: "undecided"}


def _once(label: str, labelled: set[str]) -> str | None:
    """The label the first time, so that the legend has it once."""
    if label in labelled:
        return None
    labelled.add(label)
    return label


@plot.register(Sensitivity)
def _(sensitivity: Sensitivity, *, ax: Axes | None = None) -> Axes:
    """By what factor the worst small error of the start has grown, and the exponent's line."""
    from matplotlib.ticker import LogFormatter  # plain numbers, not powers

    with lettering():
        ax = axes_or_new(ax)
        time, growth = sensitivity.time, sensitivity.growth
        spread = np.exp(sensitivity.growth_spread)
        ax.plot(time, growth, color=LEARNED, label="worst small error of the start")
        band(ax, time, growth / spread, growth * spread, LEARNED)
        rate = f"exponent {sensitivity.exponent:.3g}"
        ax.plot(time[[0, -1]], growth[[0, -1]], "--", color=INK, linewidth=1, label=rate)
        ax.set_yscale("log", nonpositive="mask")
        ax.yaxis.set_major_formatter(LogFormatter())
        ax.yaxis.set_minor_formatter(LogFormatter())
        dress(ax, x=sensitivity.time_name, y="growth of an error (factor)")
        return ax
