"""A fitted estimator as one matplotlib figure of panels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .axes import band, dress, new_figure, plot
from .findings import Dynamics, Findings, Shown, trajectories
from .flow import Plane
from .fonts import lettering
from .palette import AHEAD, FLOW, INK, LEARNED, colour
from .portrait import mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@plot.register(Dynamics)
def _(estimator: Dynamics) -> np.ndarray:
    """Panels: every variable with data, fit and forecast, then the phase portraits."""
    findings = trajectories(estimator)
    dim, planes = len(findings.names), findings.planes
    rows = dim + (len(planes) + 1) // 2
    with lettering():
        figure = new_figure(8.0, 2.5 * dim + 3.8 * (rows - dim))
        heights = [2.5] * dim + [3.8] * (rows - dim)
        grid = figure.add_gridspec(rows, 2, height_ratios=heights)
        axes = [
            over_time(figure.add_subplot(grid[i, :]), findings, i, legend=i == 0)
            for i in range(dim)
        ]
        for i, field in enumerate(planes):
            place = grid[dim + i // 2, :] if len(planes) == 1 else grid[dim + i // 2, i % 2]
            axes.append(phase(figure.add_subplot(place), findings, field))
    panels = np.empty(len(axes), dtype=object)
    panels[:] = axes
    return panels


def over_time(ax: Axes, findings: Findings, variable: int, *, legend: bool = True) -> Axes:
    """Data, learned path and forecast of one variable, with their intervals."""
    alone = len(findings.series) == 1
    for k, series in enumerate(findings.series):
        learned, ahead = (LEARNED, AHEAD) if alone else (colour(k), colour(k))
        label = "learned" if alone else series.id
        path, forecast = series.path, series.ahead
        ax.plot(path.time, path.values[:, variable], color=learned, label=label)
        if path.lower is not None and path.upper is not None:
            band(ax, path.time, path.lower[:, variable], path.upper[:, variable], learned)
        if forecast is not None:
            label = "forecast" if alone else None
            ax.plot(forecast.time, forecast.mean[:, variable], "--", color=ahead, label=label)
            lower, upper = forecast.lower[:, variable], forecast.upper[:, variable]
            band(ax, forecast.time, lower, upper, ahead)
        dots = INK if alone else learned
        label = "observed" if alone else None
        ax.plot(series.time, series.observed[:, variable], "o", c=dots, ms=3, label=label)
    return dress(ax, x=findings.time_name, y=findings.label(variable), legend=legend)


def phase(ax: Axes, findings: Findings, field: Plane) -> Axes:
    """The learned vector field of two variables, the observations and the learned path in it."""
    from matplotlib.collections import LineCollection

    pair = [findings.names.index(name) for name in field.names]
    ax.add_collection(LineCollection(field.streamlets(), colors=FLOW, linewidths=0.8))
    alone = len(findings.series) == 1
    for k, series in enumerate(findings.series):
        _orbit(ax, series, pair, LEARNED if alone else colour(k), INK if alone else colour(k))
    ax.set_xlim(field.x[0], field.x[-1])
    ax.set_ylim(field.y[0], field.y[-1])
    x, y = (findings.label(i) for i in pair)
    if findings.marked is not None:
        mark(ax, findings.marked, pair)
    return dress(ax, title="Learned vector field", x=x, y=y)


def _orbit(ax: Axes, series: Shown, pair: list[int], line: str, dots: str) -> None:
    path = series.path.values[:, pair]
    ax.plot(path[:, 0], path[:, 1], color=line)
    ax.plot(*series.observed[:, pair].T, "o", color=dots, markersize=3)
