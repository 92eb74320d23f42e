"""Pictures of learned diffusions: simulated paths, fields, the stationary law, innovations."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ..records import Forecast, Paths, Stationary
from .axes import axes_or_new, band, dress, new_figure, plot
from .fonts import lettering
from .palette import FLOW, INK, LEARNED, QUIET, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = 30  # paths that are drawn one by one
_POINTS = 200
_AHEAD = 60  # usual gaps of forecast


@runtime_checkable
class Fluctuating(Protocol):
    """A fitted estimator of a stochastic differential equation."""

    def drift(self, y: Any) -> np.ndarray: ...

    def diffusion(self, y: Any) -> np.ndarray: ...

    def stationary(self) -> Stationary: ...

    def forecast(self, *args: Any, **options: Any) -> Any: ...


@plot.register(Paths)
def _(paths: Paths, *, ax: Axes | None = None) -> Axes:
    """Some paths, the mean of all and the band that holds 90 %."""
    with lettering():
        ax = axes_or_new(ax)
        low, high = paths.quantile([0.05, 0.95])
        for i in range(paths.values.shape[-1]):
            name = paths.names[i] if paths.names else f"y{i}"
            few = paths.values[:_SHOWN, :, i].T
            ax.plot(paths.time, few, color=colour(i), linewidth=0.5, alpha=0.35)
            ax.plot(paths.time, paths.mean[:, i], color=colour(i), linewidth=2, label=name)
            band(ax, paths.time, low[:, i], high[:, i], colour(i))
        title = f"{len(paths)} paths: mean and 90 %"
        return dress(ax, title=title, x=paths.time_name)


@plot.register(Stationary)
def _(law: Stationary, *, ax: Axes | None = None) -> Axes:
    """The density of one variable; of several, ellipses of one and two standard deviations."""
    with lettering():
        ax = axes_or_new(ax)
        if not law.status.ok:
            return dress(ax, title=law.status.message)
        names = law.names or tuple(f"y{i}" for i in range(len(law.mean)))
        if law.grid is not None and law.density is not None:
            ax.fill_between(law.grid, law.density, color=faint_of(LEARNED), linewidth=0)
            ax.plot(law.grid, law.density, color=LEARNED)
            shown = law.density > 1e-4 * law.density.max()
            ax.set_xlim(law.grid[shown][0], law.grid[shown][-1])
            ax.set_ylim(bottom=0)
            return dress(ax, title="Stationary law", x=names[0], y="density")
        angle = np.linspace(0, 2 * np.pi, _POINTS)
        root = np.linalg.cholesky(law.covariance[:2, :2])
        for reach in (1, 2):
            x, y = law.mean[:2, None] + reach * root @ np.stack([np.cos(angle), np.sin(angle)])
            ax.plot(x, y, color=LEARNED, label=f"{reach} sd", alpha=1 / reach)
        return dress(ax, title="Stationary law", x=names[0], y=names[1])


def faint_of(shade: str) -> tuple[float, float, float, float]:
    """A colour as the ground of a picture."""
    from matplotlib.colors import to_rgba

    return to_rgba(shade, 0.18)


@plot.register(Fluctuating)
def _(sde: Any) -> np.ndarray:
    """Panels: data and forecast, drift and diffusion of every variable, what the law is."""
    data, dim = sde.data_, len(sde.data_.names)
    with lettering():
        figure = new_figure(8.0, 2.4 * (dim + 1) + 0.4)
        grid = figure.add_gridspec(dim + 1, 2)
        axes = [ahead(figure.add_subplot(grid[0, :]), sde)]
        values = np.concatenate([s.x[np.isfinite(s.x).all(1)] for s in data])
        for i in range(dim):
            pair = [figure.add_subplot(grid[i + 1, j]) for j in (0, 1)]
            axes += _fields(pair, sde, values, i)
    panels = np.empty(len(axes), dtype=object)
    panels[:] = axes
    return panels


def ahead(ax: Axes, sde: Any) -> Axes:
    """The end of the first series and its forecast."""
    one, clock = sde.data_[0], sde.data_.clock
    gap = float(np.median(np.diff(one.t)))
    later = one.t[-1] + gap * np.arange(1, _AHEAD + 1)
    first: Forecast = sde.forecast(times=clock.decode(later), data=_alone(sde.data_))
    tail = slice(-2 * _AHEAD, None)
    for i, name in enumerate(sde.data_.names):
        ax.plot(clock.decode(one.t[tail]), one.x[tail, i], color=colour(i), lw=1, label=name)
        ax.plot(first.time, first.mean[:, i], "--", color=colour(i))
        band(ax, first.time, first.lower[:, i], first.upper[:, i], colour(i))
    title = f"Data and forecast, {first.coverage:.0%} of paths"
    return dress(ax, title=title, x=sde.data_.time_name)


def _alone(data: Any) -> Any:
    """The first series alone."""
    return dataclasses.replace(data, series=data.series[:1])


def _fields(pair: list[Axes], sde: Any, values: np.ndarray, i: int) -> list[Axes]:
    """Drift and size of the noise of one variable against it, the others at their means."""
    name = sde.data_.names[i]
    low, high = np.quantile(values[:, i], [0.001, 0.999])
    at = np.tile(values.mean(0), (_POINTS, 1))
    at[:, i] = np.linspace(low, high, _POINTS)
    noise = sde.diffusion(at)
    size = np.abs(noise[:, i]) if noise.ndim == 2 else np.linalg.norm(noise[:, i], axis=-1)
    others = " (others at their means)" if values.shape[1] > 1 else ""
    for ax, y, title in ((pair[0], sde.drift(at)[:, i], "Drift"), (pair[1], size, "Diffusion")):
        seen = ax.twinx()
        seen.hist(values[:, i], bins=40, range=(low, high), color=FLOW, alpha=0.35)
        seen.set_yticks([])
        seen.spines[:].set_visible(False)
        ax.set_zorder(seen.get_zorder() + 1)
        ax.patch.set_visible(False)
        ax.plot(at[:, i], y, color=LEARNED)
        ax.locator_params(axis="x", nbins=6)
        dress(ax, title=f"{title} of {name}", x=f"{name}{others}")
    pair[0].axhline(0, color=QUIET, linewidth=0.8)
    pair[1].set_ylim(bottom=0, top=1.3 * float(size.max()))
    return pair


def recovered(known: Any, curves: list[tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Learned drifts and diffusions of many records of one variable, and the truth."""
    x, truth = known.states[:, 0], known.fields(known.states)
    with lettering():
        figure = new_figure(8.0, 3.2)
        for j, title in enumerate(("Drift", "Diffusion")):
            ax = figure.add_subplot(1, 2, j + 1)
            for k, curve in enumerate(curves):
                label = f"{len(curves)} records" if k == 0 else None
                ax.plot(x, curve[j][:, 0], color=LEARNED, lw=0.8, alpha=0.5, label=label)
            ax.plot(x, truth[j][:, 0], "--", color=INK, linewidth=2, label="truth")
            dress(ax, title=f"{title}, {known.name}", x="state")
            if j:
                ax.set_ylim(0, 1.5 * float(truth[j].max()))
    return figure
