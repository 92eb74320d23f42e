"""Backtests and comparisons: errors by horizon, forecasts over the data, coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records import Backtest, Comparison, Coverage
from ..records.scores import horizons_of
from .axes import dress, new_figure, plot
from .fonts import lettering
from .palette import FLOW, INK, QUIET, colour

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MOST_VARIABLES = 4
_TALLEST = 3.0  # data ranges beyond the data that an interval may add to the axis
_HORIZONS = 12
_STYLES = (":", (0, (5, 2)), (0, (6, 2, 1, 2)), "-")


@plot.register(Backtest)
def _(test: Backtest, *, ax: Axes | None = None, series: str | None = None) -> Any:
    """Errors by horizon, then the forecasts of one series (the first) over its data by variable.

    Into a given `ax` only the errors are drawn.
    """
    with lettering():
        if ax is not None:
            return _errors(ax, test.errors(_horizons(test)), ["model"], test)
        points = test.points
        chosen = points.series[0] if series is None else series
        variables = list(dict.fromkeys(points.variable[points.series == chosen]))[:_MOST_VARIABLES]
        figure = new_figure(7.2, 2.9 + 2.3 * len(variables))
        grid = figure.add_gridspec(
            1 + len(variables), 1, height_ratios=[2.9] + [2.3] * len(variables)
        )
        axes = np.empty(1 + len(variables), dtype=object)
        axes[0] = _errors(
            figure.add_subplot(grid[0]), test.errors(_horizons(test)), ["model"], test
        )
        several = len(np.unique(points.series)) > 1
        for i, name in enumerate(variables):
            place = figure.add_subplot(grid[i + 1], sharex=axes[1] if i else None)
            axes[i + 1] = _forecasts(
                place, test, chosen, name, titled=several and not i, legend=not i
            )
        return axes


@plot.register(Comparison)
def _(comparison: Comparison, *, ax: Axes | None = None) -> Any:
    """Errors of all models by horizon, and the coverage of their intervals.

    Into a given `ax` only the errors are drawn.
    """
    first = next(iter(comparison.tests.values()))
    models = list(comparison.tests)
    table = comparison.errors(_horizons(first))
    with lettering():
        if ax is not None:
            return _errors(ax, table, models, first)
        figure = new_figure(9.6, 3.8)
        grid = figure.add_gridspec(1, 2, width_ratios=[1.7, 1])
        axes = np.empty(2, dtype=object)
        axes[0] = _errors(figure.add_subplot(grid[0]), table, models, first)
        found = {name: test.coverage for name, test in comparison.tests.items()}
        axes[1] = _coverages(figure.add_subplot(grid[1]), found)
        return axes


def _horizons(test: Backtest) -> np.ndarray:
    return horizons_of(test.points, _HORIZONS)


def _errors(ax: Axes, table: pd.DataFrame, models: Sequence[str], test: Backtest) -> Axes:
    """Models as bold lines with dots, baselines thin and dashed."""
    h, baselines = table.index.to_numpy(), list(test.points.naive)
    for name, style in zip(baselines, _STYLES, strict=False):
        ax.plot(h, table[name], color=QUIET, linestyle=style, linewidth=1.1, label=name)
    for i, name in enumerate(models):
        ax.plot(h, table[name], "o-", color=colour(i), linewidth=2, markersize=4, label=name)
    shown = table[[*models, *baselines]].to_numpy()
    usual = np.nanmax(np.append(shown[:, : len(models)].ravel(), np.nanmedian(shown)))
    top = np.nanmax(shown, initial=0.0)
    ax.set_ylim(0, min(1.08 * top, 3 * usual) or 1.0)  # a baseline that explodes leaves the picture
    points = test.points
    unit = points.unit or ("" if points.time_name == "time" else points.time_name)
    dress(
        ax,
        title=f"Forecast error over {len(test.origins)} origins",
        x=f"horizon [{unit}]" if unit else "horizon",
        y="RMSE within horizon [sd]",
        legend=False,
    )
    if len(h) <= _HORIZONS:
        ax.set_xticks(h)  # where there are errors, not halfway between two years
    handles, labels = ax.get_legend_handles_labels()
    order = [labels.index(name) for name in (*models, *baselines)]
    ax.legend(
        [handles[i] for i in order], [labels[i] for i in order], frameon=False, fontsize="small",
        loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2,
    )  # fmt: skip
    return ax


def _forecasts(
    ax: Axes, test: Backtest, series: str, variable: str, *, titled: bool, legend: bool
) -> Axes:
    """Every forecast with its interval, from a mark at its origin, over what was observed."""
    points, data = test.points, test.data
    j = data.names.index(variable)
    time, x = data.clock.decode(data[series].t), data[series].x[:, j]
    first, count = len(time), len(test.origins)
    for k in range(count):
        use = (points.origin == k) & (points.series == series) & (points.variable == variable)
        if not use.any() or not np.isfinite(test.mean[use]).all():
            continue
        n = int(points.seen[use][0])
        start = np.flatnonzero(~np.isnan(x[:n]))[-1:]
        at = np.concatenate([time[start], points.time[use]])
        mean, lower, upper = (
            np.concatenate([x[start], values[use]])
            for values in (test.mean, test.lower, test.upper)
        )
        shade = _shade(k, count)
        ax.fill_between(at, lower, upper, color=shade, alpha=0.09, linewidth=0)
        ax.plot(at, mean, color=shade, linewidth=1.3)
        ax.plot(at[:1], mean[:1], "s", color=shade, markersize=6)
        first = min(first, n)
    ax.plot(time, x, "-", color=FLOW, linewidth=0.8)
    ax.plot(time, x, "o", color=INK, markersize=3)
    _frame(ax, time, x, first)
    unit = data.units.get(variable)
    label = f"{variable} [{unit}]" if unit else variable
    dress(ax, title=series if titled else "", x=data.time_name, y=label, legend=False)
    if legend:
        _explain(ax, count, test.nominal)
    return ax


def _shade(origin: int, count: int) -> tuple[float, float, float, float]:
    """From the earliest origin, dark, to the latest."""
    from matplotlib import colormaps

    return colormaps["plasma"](0.05 + 0.75 * origin / max(count - 1, 1))


def _frame(ax: Axes, time: np.ndarray, x: np.ndarray, first: int) -> None:
    """As much of the past as of the forecast part; intervals may leave the picture."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    low, high = np.nanmin(x), np.nanmax(x)
    reach, (bottom, top) = _TALLEST * (high - low), ax.get_ylim()
    ax.set_ylim(max(bottom, low - reach), min(top, high + reach))
    turn = time[max(first - 1, 0)]
    begin = max(time[0], turn - (time[-1] - turn))
    edge = (time[-1] - begin) / 40
    ax.set_xlim(begin - edge, time[-1] + edge)
    if time.dtype.kind == "M":
        locator = AutoDateLocator(maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    elif (time % 1 == 0).all():
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _explain(ax: Axes, count: int, nominal: float) -> None:
    """A legend that says what squares, lines and shades are."""
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=INK, marker="o", linestyle="", markersize=3, label="observed"),
        *(
            Line2D([], [], color=_shade(k, count), marker="s", markersize=6, label=label)
            for k, label in {0: "first origin", count - 1: "last origin"}.items()
        ),
        Line2D([], [], color=INK, alpha=0.15, linewidth=7, label=f"{nominal:.0%} interval"),
    ]
    ax.legend(handles=entries, frameon=False, fontsize="small", loc="upper left",
              bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)  # fmt: skip


def _coverages(ax: Axes, found: dict[str, Coverage]) -> Axes:
    """Measured coverage with its binomial interval, beside the nominal one."""
    from matplotlib.ticker import PercentFormatter

    nominal = next(iter(found.values())).nominal
    lowest = nominal
    for i, one in enumerate(found.values()):
        if not one.points:
            continue
        low, high = one.interval()
        lowest = min(lowest, low)
        ax.plot([low, high], [i, i], color=colour(i), linewidth=2, solid_capstyle="butt")
        ax.plot([one.share], [i], "o", color=colour(i), markersize=6)
        ax.annotate(
            f"{one.inside} of {one.points}", ((low + high) / 2, i), xytext=(0, 8),
            textcoords="offset points", ha="center", fontsize="small", color=QUIET,
        )  # fmt: skip
    ax.axvline(nominal, color=QUIET, linestyle="--", linewidth=1)
    ax.set_yticks(range(len(found)), list(found))
    ax.set_ylim(len(found) - 0.4, -0.6)
    ax.set_xlim(max(0.0, lowest - 0.1) - 0.02, 1.02)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    title = f"Coverage of {nominal:.0%} intervals"
    return dress(ax, title=title, x="share inside (95 % binomial interval)", legend=False)
