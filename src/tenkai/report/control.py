"""The picture of a control problem's solution: states, controls and costate over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..records import ControlSolution
from .axes import band, dress, new_figure, plot
from .fonts import lettering
from .palette import QUIET, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAINT = 12  # single paths behind their mean


@plot.register(ControlSolution)
def _(solution: ControlSolution, *, ax: Axes | None = None) -> Any:
    """Three axes, states above controls above costate; the states alone with `ax`.

    Of several paths the mean with the inner 90 % and a few single ones; dashed: bounds.
    """
    with lettering():
        if ax is not None:
            return _states(solution, ax)
        figure = new_figure(6.4, 6.4)
        axes = figure.subplots(3, 1, sharex=True)
        _states(solution, axes[0])
        lines(axes[1], solution.time, solution.controls, "u")
        for bound in solution.bounds or ():
            for level in np.unique(bound[np.isfinite(bound)]):
                axes[1].axhline(level, color=QUIET, linewidth=0.8, linestyle="--")
        dress(axes[1], title="Controls")
        lines(axes[2], solution.time, solution.costate, "costate ")
        dress(axes[2], title="Costate", x="time")
        figure.align_ylabels()
        return axes


def _states(solution: ControlSolution, ax: Axes) -> Axes:
    lines(ax, solution.time, solution.states, "x")
    error = "" if solution.standard_error is None else f" ± {solution.standard_error:.2g}"
    title = f"States: cost {solution.cost:.5g}{error}"
    if not solution.status.ok:
        title += f" ({solution.status.kind})"
    return dress(ax, title=title)


def lines(ax: Axes, time: np.ndarray, values: np.ndarray, name: str) -> None:
    """Components over time; of several paths (paths, time, dim) mean, inner 90 %, a few paths."""
    for i in range(values.shape[-1]):
        label = f"{name}{i + 1}" if values.shape[-1] > 1 else name.strip()
        if values.ndim == 2:
            ax.plot(time, values[:, i], color=colour(i), label=label)
            continue
        for one in values[:_FAINT, :, i]:
            ax.plot(time, one, color=colour(i), alpha=0.25, linewidth=0.5)
        low, high = np.percentile(values[..., i], [5, 95], axis=0)
        band(ax, time, low, high, colour(i))
        ax.plot(time, values[..., i].mean(axis=0), color=colour(i), label=label)
