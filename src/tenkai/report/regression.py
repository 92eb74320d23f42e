"""The picture of a regressor: what was learned, its residuals, the training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .axes import axes_or_new, band, batches_and_others, dress, new_figure, plot
from .fonts import lettering
from .palette import INK, LEARNED, QUIET, colour
from .regression_findings import Curve, Regressing, Rows, columns_of, curve_of, rows_of
from .series_panels import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TARGETS = 3


@plot.register(Regressing)
def _(regressor: Any) -> np.ndarray:
    """Panels: the fit of up to three targets, residuals, the training."""
    rows, names = rows_of(regressor), tuple(map(plain, regressor.target_names_))
    line = curve_of(regressor, rows)
    few = names[:_TARGETS] if rows is not None else ()
    with lettering():
        figure = new_figure(9.0, 6.4 if few else 3.4)
        grid = figure.add_gridspec(2 if few else 1, 6)
        axes = []
        for j, name in enumerate(few):
            width = 6 // len(few)
            ax = figure.add_subplot(grid[0, j * width : (j + 1) * width])
            if line is None:
                axes.append(against(ax, rows, j, name))
            else:
                axes.append(fitted(ax, line, rows, j, plain(columns_of(regressor)[0]), name))
        below = figure.add_subplot(grid[-1, 3:]) if few else figure.add_subplot(grid[0, :])
        if few:
            axes.append(residuals(figure.add_subplot(grid[1, :3]), rows, names))
        axes.append(training(below, regressor))
    panels = np.empty(len(axes), dtype=object)
    panels[:] = axes
    return panels


def fitted(ax: Axes | None, c: Curve, rows: Rows, target: int, x: str, y: str) -> Axes:
    """The function of one column with its interval, the rows and a line."""
    ax = axes_or_new(ax)
    ax.plot(rows.x[:, 0], rows.y[:, target], ".", color=INK, ms=4, alpha=0.4, label="did not train")
    if c.line is not None:
        ax.plot(c.x, c.line[:, target], ":", color=QUIET, label="linear model")
    if c.lower is not None and c.upper is not None:
        band(ax, c.x, c.lower[:, target], c.upper[:, target], LEARNED)
    ax.plot(c.x, c.mean[:, target], color=LEARNED, label="learned, 90% interval")
    return dress(ax, title=y, x=x, y=y)


def against(ax: Axes | None, rows: Rows, target: int, name: str) -> Axes:
    """Observed against predicted, with the intervals."""
    ax = axes_or_new(ax)
    mean, y = rows.mean[:, target], rows.y[:, target]
    ax.vlines(mean, rows.lower[:, target], rows.upper[:, target], color=LEARNED, alpha=0.15, lw=1)
    ends = [min(mean.min(), y.min()), max(mean.max(), y.max())]
    ax.plot(ends, ends, color=QUIET, lw=0.8)
    ax.plot(mean, y, ".", color=LEARNED, ms=4)
    r2 = 1 - np.mean((y - mean) ** 2) / max(float(np.var(y)), 1e-300)
    title = f"{name}: R² {r2:.3g}, rows that did not train"
    return dress(ax, title=title, x="predicted", y="observed")


def residuals(ax: Axes | None, rows: Rows, names: tuple[str, ...]) -> Axes:
    """Residuals in units of their root mean square against predictions in standard deviations."""
    ax = axes_or_new(ax)
    size = np.sqrt(np.mean(rows.residuals**2, axis=0))
    units = np.where(rows.y.std(axis=0) > 0, rows.y.std(axis=0), 1.0)
    at = (rows.mean - rows.y.mean(axis=0)) / units
    ax.axhline(0.0, color=QUIET, lw=0.8)
    for j, name in enumerate(names):
        label = name if len(names) > 1 else None
        scaled = rows.residuals[:, j] / (size[j] if size[j] > 0 else 1.0)
        ax.plot(at[:, j], scaled, ".", color=colour(j), ms=4, alpha=0.7, label=label)
    return dress(ax, title="Residuals (RMSE)", x="predicted (standard deviations)")


def training(ax: Axes | None, regressor: Any) -> Axes:
    """The squared error of batches and of rows that did not train."""
    ax = axes_or_new(ax)
    batches_and_others(ax, regressor.fit_, "did not train")
    return dress(ax, title="Squared error (standardised)", x="step")
