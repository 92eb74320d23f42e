"""Records as matplotlib axes."""

from __future__ import annotations

import sys
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records import Fit, Forecast, HeldOut, Path
from .fonts import lettering
from .palette import AHEAD, FLOW, INK, LEARNED, QUIET, RULE, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@singledispatch
def plot(record: Any, **options: Any) -> Any:
    """Matplotlib axes of a record or of a fitted estimator.

    Records take `ax=` to draw into existing axes; an estimator gives an array of axes, its panels.
    Raises `TypeError` for anything that has no picture.
    """
    raise TypeError(f"no picture for {type(record).__name__}; register one with report.plot")


def new_figure(width: float, height: float) -> Figure:
    """A figure outside pyplot's global state; inside a notebook one that the notebook shows."""
    if "ipykernel" in sys.modules:
        from matplotlib import pyplot

        return pyplot.figure(figsize=(width, height), layout="constrained")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Axes | None) -> Axes:
    """The given axes, or those of a new figure of standard size."""
    return new_figure(6.4, 3.6).add_subplot() if ax is None else ax


def dress(ax: Axes, *, title: str = "", x: str = "", y: str = "", legend: bool = True) -> Axes:
    """Titles, and as little frame as reading needs."""
    ax.set(xlabel=x, ylabel=y)
    ax.set_title(title, loc="left", color=INK)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color=RULE, linewidth=0.6)
    ax.set_axisbelow(True)
    _shorten_dates(ax)
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small")
    return ax


def _shorten_dates(ax: Axes) -> None:
    """Dates below an axis without what they share: whole ones run into each other."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = ax.xaxis.get_major_locator()
    if isinstance(locator, AutoDateLocator):
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def band(ax: Axes, time: Any, lower: Any, upper: Any, shade: str) -> None:
    """An interval over time."""
    ax.fill_between(time, lower, upper, color=shade, alpha=0.18, linewidth=0)


def name_of(record: Path | Forecast, variable: int) -> str:
    """The name of a variable as the data gave it."""
    return record.names[variable] if record.names else f"y{variable}"


@plot.register(Path)
def _(path: Path, *, ax: Axes | None = None) -> Axes:
    with lettering():
        ax = axes_or_new(ax)
        for i in range(path.values.shape[-1]):
            ax.plot(path.time, path.values[:, i], color=colour(i), label=name_of(path, i))
            if path.lower is not None and path.upper is not None:
                band(ax, path.time, path.lower[:, i], path.upper[:, i], colour(i))
        return dress(ax, title=path.series, x=path.time_name)


@plot.register(Forecast)
def _(forecast: Forecast, *, ax: Axes | None = None) -> Axes:
    with lettering():
        ax = axes_or_new(ax)
        for i in range(forecast.mean.shape[-1]):
            ax.plot(forecast.time, forecast.mean[:, i], color=colour(i), label=name_of(forecast, i))
            band(ax, forecast.time, forecast.lower[:, i], forecast.upper[:, i], colour(i))
        title = f"{forecast.series} forecast, {forecast.coverage:.0%} interval".strip()
        return dress(ax, title=title, x=forecast.time_name)


@plot.register(Fit)
def _(fit: Fit, *, ax: Axes | None = None) -> Axes:
    """Loss over all stages, with the validation loss where there is one and the events marked."""
    with lettering():
        ax = axes_or_new(ax)
        rows = running(fit)
        for i, stage in enumerate(dict.fromkeys(r["stage"] for r in rows)):
            mine = [r for r in rows if r["stage"] == stage]
            steps = [r["total"] for r in mine]
            ax.plot(steps, [number(r, "loss") for r in mine], color=colour(i), label=stage)
            validation = [number(r, "validation") for r in mine]
            if np.isfinite(validation).any():
                ax.plot(steps, validation, color=colour(i), linestyle="--", linewidth=1)
        for r in rows:
            if r.get("event"):
                ax.axvline(r["total"], color=FLOW, linewidth=0.8)
                ax.annotate(
                    str(r["event"]).split(":")[0],
                    (r["total"], 1.0),
                    xycoords=("data", "axes fraction"),
                    rotation=90,
                    va="top",
                    ha="right",
                    fontsize="x-small",
                    color=QUIET,
                )
        ax.set_yscale("log", nonpositive="mask")
        return dress(ax, title="Loss by stage (dashed: validation)", x="step", y="loss")


def batches_and_others(ax: Axes, fit: Fit, others: str) -> None:
    """The loss of batches and of rows that did not train, over the steps, on a log scale."""
    rows = running(fit)
    steps = [r["total"] for r in rows]
    ax.plot(steps, [number(r, "loss") for r in rows], color=LEARNED, label="batches")
    held = [number(r, "validation") for r in rows]
    if np.isfinite(held).any():
        ax.plot(steps, held, color=AHEAD, label=others)
    ax.set_yscale("log", nonpositive="mask")


def running(fit: Fit) -> list[dict[str, Any]]:
    """The history with `total`: the step counted over all stages, also where each starts at 0."""
    rows, base, last, stage = [], 0, 0, None
    for entry in fit.history:
        step = int(entry.get("step") or 0)
        if entry.get("stage") != stage:
            stage, base = entry.get("stage"), (base + last if step < last else base)
        last = step
        rows.append({"stage": "fit", **entry, "total": base + step})
    return rows


def number(entry: dict[str, Any], key: str) -> float:
    """A value of the history as a float, NaN where it is missing."""
    value = entry.get(key)
    return float("nan") if value is None else float(value)


@plot.register(HeldOut)
def _(held: HeldOut, *, ax: Axes | None = None) -> Axes:
    """The forecast of the held-out end with what was observed, and the errors in the title."""
    with lettering():
        ax = axes_or_new(ax)
        for forecast, observed in zip(held.forecasts, held.observed, strict=True):
            first = forecast is held.forecasts[0]
            for i in range(forecast.mean.shape[-1]):
                name = name_of(forecast, i) if first else None
                ax.plot(forecast.time, forecast.mean[:, i], color=colour(i), label=name)
                band(ax, forecast.time, forecast.lower[:, i], forecast.upper[:, i], colour(i))
                ax.plot(forecast.time, observed[:, i], "o", color=colour(i), markersize=4)
        naive = ", ".join(f"{name} {error:.2g}" for name, error in held.naive.items())
        title = f"Held-out end: error {held.error:.2g}; naive forecasts: {naive}"
        dress(ax, title=title, x=held.forecasts[0].time_name if held.forecasts else "")
        ax.title.set_fontsize("medium")
        return ax
