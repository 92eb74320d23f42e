"""Pictures of learned algorithms: error by iteration, learned numbers by layer, a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from .axes import axes_or_new, dress, new_figure, plot
from .fonts import lettering
from .palette import FLOW, INK, LEARNED, QUIET, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKED = 40  # layers up to which each one has its mark
_ROOM = 1.25  # of the height, so that the names stand above zig-zag lines
_STYLES = ("-", "--", "-.", ":")


@runtime_checkable
class Learned(Protocol):
    """An algorithm with learned numbers, by what it can do.

    It also has `parameters_`, `layers` and `fit_`.
    """

    def path(self, inputs: Any, *, layers: int | None = None) -> Any: ...
    def error(self, inputs: Any, targets: Any, **options: Any) -> np.ndarray: ...
    def with_parameters(self, **values: Any) -> Any: ...


def decibels(errors: Any) -> np.ndarray:
    """``10 log10 error``; NaN where there is no error, or no number."""
    errors = np.asarray(errors, float)
    good = np.isfinite(errors) & (errors > 0)
    return np.where(good, 10 * np.log10(np.where(good, errors, 1)), np.nan)


def convergence(
    curves: Mapping[str, Any],
    *,
    ax: Axes | None = None,
    trained: int | None = None,
    title: str = "Error by iteration",
    y: str = "mean squared error (dB)",
) -> Axes:
    """Errors before and after every iteration in dB, one line per method; the first is learned.

    `trained` draws where training ended: what is right of it was never trained.
    """
    with lettering():
        ax = axes_or_new(ax)
        for i, (name, errors) in enumerate(curves.items()):
            shade, style = _look(i)
            ax.plot(decibels(errors), color=shade, ls=style, lw=2.0 if i == 0 else 1.4, label=name)
        if trained is not None:
            ax.axvline(trained, color=QUIET, lw=0.8, ls=":")
            place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            ax.annotate("trained up to here", (trained, 0.02), xytext=(-4, 0), ha="right",
                        color=QUIET, fontsize="x-small", **place)  # fmt: skip
        _whole_numbers(ax)
        return dress(ax, title=title, x="iteration", y=y)


def by_layer(
    values: Mapping[str, Any],
    *,
    ax: Axes | None = None,
    levels: Mapping[str, float] | None = None,
    title: str = "Learned step by layer",
    y: str = "step size",
    log: bool = False,
) -> Axes:
    """A learned number per layer, one line per name; `levels` are values that do not change."""
    with lettering():
        ax = axes_or_new(ax)
        for i, (name, row) in enumerate(values.items()):
            shade, style = _look(i)
            row = np.asarray(row)
            mark = "o" if len(row) <= _MARKED else None
            ax.plot(np.arange(1, len(row) + 1), row, color=shade, ls=style, marker=mark, ms=3.5,
                    lw=1.4 if i == 0 else 1.1, label=name)  # fmt: skip
        for i, (name, level) in enumerate((levels or {}).items()):
            ax.axhline(level, color=INK, ls=_STYLES[1 + i % 3], lw=1.0, label=name)
        if log:
            ax.set_yscale("log")
        else:
            low, high = ax.get_ylim()
            ax.set_ylim(low, low + _ROOM * (high - low))
        _whole_numbers(ax)
        dress(ax, title=title, x="layer", y=y, legend=False)
        ax.legend(frameon=False, fontsize="small", loc="upper right", ncols=2)
        return ax


def sweep(
    x: Float[np.ndarray, " points"],
    curves: Mapping[str, Any],
    *,
    ax: Axes | None = None,
    title: str = "Error by signal-to-noise ratio",
    xlabel: str = "signal-to-noise ratio (dB)",
    ylabel: str = "error rate",
    log: bool = True,
) -> Axes:
    """Error against noise, one line per method; points without any error are left out."""
    with lettering():
        ax = axes_or_new(ax)
        for i, (name, errors) in enumerate(curves.items()):
            shade, style = _look(i)
            errors = np.asarray(errors, float)
            seen = np.where(errors > 0, errors, np.nan) if log else errors
            ax.plot(x, seen, color=shade, ls=style, marker="o", ms=3.5, label=name)
        if log:
            ax.set_yscale("log")
        return dress(ax, title=title, x=xlabel, y=ylabel)


def _whole_numbers(ax: Axes) -> None:
    """There is no layer two and a half."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _look(index: int) -> tuple[str, str]:
    """The learned method is a full line in the colour of everything learned."""
    if index == 0:
        return LEARNED, "-"
    return colour(index), _STYLES[1 + (index - 1) % 3]


@plot.register(Learned)
def _(algorithm: Learned) -> np.ndarray:
    """Panels: every parameter by layer (of arrays the root mean square), then the training loss."""
    parameters: dict[str, np.ndarray] = algorithm.parameters_  # type: ignore[attr-defined]
    layers: int = algorithm.layers  # type: ignore[attr-defined]
    fitted = algorithm.fit_  # type: ignore[attr-defined]
    count = len(parameters) + (fitted is not None)
    with lettering():
        figure = new_figure(4.4 * count, 3.4)
        axes = figure.subplots(1, count, squeeze=False)[0]
        for ax, (name, value) in zip(axes, parameters.items(), strict=False):
            size = np.sqrt(np.mean(np.abs(value.reshape(len(value), -1)) ** 2, axis=1))
            row = value if value.ndim == 1 and not np.iscomplexobj(value) else size
            every = row[np.arange(layers) % len(row)]
            label = name if value.ndim == 1 else f"{name}, root mean square"
            by_layer({name: every}, ax=ax, title="Learned, by layer", y=label)
            if ax.get_legend() is not None:
                ax.get_legend().remove()
            for start in range(len(row), layers, len(row)) if 1 < len(row) < layers else ():
                ax.axvline(start + 0.5, color=FLOW, lw=0.8)
        if fitted is not None:
            plot(fitted, ax=axes[-1])
            axes[-1].set_title("Training loss", loc="left")
            if axes[-1].get_legend() is not None:
                axes[-1].get_legend().remove()
    return axes
