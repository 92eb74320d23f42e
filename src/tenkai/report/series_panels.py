"""Models of many series as matplotlib figures: series, the hidden plane, calibration, training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .axes import band, dress, new_figure, number, plot, running
from .classes_findings import shade
from .findings import gather
from .fonts import lettering
from .palette import AHEAD, INK, LEARNED, QUIET, RULE
from .series_findings import Latent, Recurring, SeriesFindings, Told
from .series_latent import Distances, Hidden, LatentFindings
from .series_recurrent import RecurrentFindings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 3
_CROSSES = 60  # of posteriors of a class; more hide the dots
_FEWEST = 3  # reports of a training that make a curve


@plot.register(Latent)
def _(estimator: Latent) -> np.ndarray:
    """Some series with their paths both ways, hidden paths, posteriors, errors, the training."""
    f: LatentFindings = gather(estimator)
    with lettering():
        figure, upper, lower = _frame(f, planar=len(f.names) == 2)
        axes = _series(figure, upper, f, planar=len(f.names) == 2)
        first, second, third = (figure.add_subplot(lower[0, k]) for k in range(3))
        axes += [hidden_paths(first, f.hidden, f.classes), posteriors(second, f.hidden, f.classes)]
        if f.distances is None:
            axes.append(loss(third, f))
        else:
            axes.append(distances(third, f.distances, f.time_name))
    return _panels(axes)


@plot.register(Recurring)
def _(estimator: Recurring) -> np.ndarray:
    """Some series with what is said of them one step ahead, the calibration, the training."""
    f: RecurrentFindings = gather(estimator)
    with lettering():
        figure, upper, lower = _frame(f, planar=False)
        axes = _series(figure, upper, f, planar=False)
        first, second, third = (figure.add_subplot(lower[0, k]) for k in range(3))
        axes += [transform(first, f), coverage(second, f), loss(third, f)]
    return _panels(axes)


def _panels(axes: list[Axes]) -> np.ndarray:
    panels = np.empty(len(axes), dtype=object)
    panels[:] = axes
    return panels


def _shape(f: SeriesFindings, planar: bool) -> tuple[int, int]:
    """Rows and columns of the series' panels."""
    if planar or len(f.chosen) == 1:
        across = min(_ACROSS, len(f.series))
        return -(-len(f.series) // across), across
    return len(f.series), len(f.chosen)


def _frame(f: SeriesFindings, planar: bool) -> tuple[Figure, Any, Any]:
    """A figure with a grid for the series and one below it for three panels."""
    down, across = _shape(f, planar)
    tall = (2.5 if planar else 2.0 if len(f.chosen) == 1 else 1.45) * down + 0.4
    figure = new_figure(9.0, tall + 3.2)
    parts = figure.add_gridspec(2, 1, height_ratios=(tall, 3.2))
    return figure, parts[0].subgridspec(down, across), parts[1].subgridspec(1, 3)


def _series(figure: Figure, grid: Any, f: SeriesFindings, planar: bool) -> list[Axes]:
    _, across = _shape(f, planar)
    columns = (0,) if planar else f.chosen
    axes = []
    for k, s in enumerate(f.series):
        for c, j in enumerate(columns):
            n = k * len(columns) + c
            ax = figure.add_subplot(grid[n // across, n % across])
            (_in_plane(ax, s) if planar else _over_time(ax, s, j))
            lowest = n + across >= len(f.series) * len(columns)
            x = (f.label(0) if planar else f.time_name) if lowest else ""
            y = f.label(1) if planar else f.label(j)
            dress(ax, x=x, y=y if not n % across or len(columns) > 1 else "", legend=False)
            if c == 0:
                ax.set_title(s.title(f.unit), loc="left", fontsize="small", color=QUIET)
            ax.locator_params(axis="y", nbins=4)
            axes.append(ax)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False)
    return axes


def _over_time(ax: Axes, s: Told, j: int) -> None:
    ax.plot(s.path.time, s.path.mean[:, j], color=LEARNED, label="given what was seen")
    band(ax, s.path.time, s.path.lower[:, j], s.path.upper[:, j], LEARNED)
    for k, p in enumerate(s.outside):
        label = None if k else "beyond it"
        ax.plot(p.time, p.mean[:, j], "--", color=AHEAD, label=label)
        band(ax, p.time, p.lower[:, j], p.upper[:, j], AHEAD)
    _dots(ax, s, s.time, s.observed[:, j])
    _calm(ax, [s.observed[:, j], s.path.mean[:, j], *(p.mean[:, j] for p in s.outside)])


def _calm(ax: Axes, seen: list[np.ndarray]) -> None:
    """Limits that a band cannot push far beyond the data."""
    known = np.concatenate(seen)
    known = known[np.isfinite(known)]
    if not len(known):
        return
    low, high = known.min(), known.max()
    more = max(high - low, 1e-300)
    bottom, top = ax.get_ylim()
    if bottom < low - more or top > high + more:
        ax.set_ylim(max(bottom, low - more), min(top, high + more))


def _in_plane(ax: Axes, s: Told) -> None:
    ax.plot(s.path.mean[:, 0], s.path.mean[:, 1], color=LEARNED, label="given what was seen")
    for k, p in enumerate(s.outside):
        label = None if k else "beyond it"
        ax.plot(p.mean[:, 0], p.mean[:, 1], "--", color=AHEAD, label=label)
    _dots(ax, s, s.observed[:, 0], s.observed[:, 1])


def _dots(ax: Axes, s: Told, x: np.ndarray, y: np.ndarray) -> None:
    g = s.given
    ax.plot(x[g], y[g], "o", color=INK, ms=2.5, label="observed")
    if not g.all():
        ax.plot(x[~g], y[~g], "o", mfc="none", mec=INK, mew=0.7, ms=3.5, label="observed, hidden")


def hidden_paths(ax: Axes, h: Hidden, names: tuple[str, ...]) -> Axes:
    """Hidden paths in their plane, coloured by class or by time."""
    if names:
        for k in np.unique(h.codes):
            _starts_of(ax, h.paths[h.codes == k], int(k), names)
    else:
        ax.plot(*h.paths.T, color=RULE, lw=0.6, zorder=1)
        time = np.tile(h.fractions, len(h.paths))
        flat = h.paths.reshape(-1, 2)
        dots = ax.scatter(flat[:, 0], flat[:, 1], c=time, s=3, cmap="viridis", zorder=2)
        bar = ax.figure.colorbar(dots, ax=ax, pad=0.02)
        bar.set_label("share of the duration", fontsize="small")
    dress(ax, title="Hidden paths", x="first component", y="second component")
    legend = ax.get_legend()
    if legend is not None:
        legend.set_frame_on(True)
        legend.get_frame().set(alpha=0.8, linewidth=0)
    return ax


def _starts_of(ax: Axes, paths: np.ndarray, k: int, names: tuple[str, ...]) -> None:
    tone = QUIET if k < 0 else shade(k)
    for path in paths:
        ax.plot(path[:, 0], path[:, 1], color=tone, lw=0.6, alpha=0.6)
    name = "unknown" if k < 0 else names[k]
    ax.plot(paths[:, 0, 0], paths[:, 0, 1], "o", color=tone, ms=3, label=plain(name))


def plain(name: str) -> str:
    """A label that matplotlib neither hides nor reads as mathematics."""
    return f" {name}" if name.startswith("_") else name.replace("$", r"\$")


def posteriors(ax: Axes, h: Hidden, names: tuple[str, ...]) -> Axes:
    """Where hidden paths begin, with one standard deviation."""
    for k in np.unique(h.start_codes):
        mine = h.start_codes == k
        tone = LEARNED if not names else QUIET if k < 0 else shade(int(k))
        few = slice(None, None, -(-int(mine.sum()) // _CROSSES))
        at, wide = h.start[mine][few], h.blur[mine][few]
        ax.errorbar(at[:, 0], at[:, 1], wide[:, 1], wide[:, 0], fmt="none", ecolor=tone,
                    elinewidth=0.5, alpha=0.6)  # fmt: skip
        ax.plot(*h.start[mine].T, "o", ms=2 if len(h.start) < 200 else 1, color=tone, alpha=0.8)
    return dress(ax, title="Posteriors of the beginning", x="first component", legend=False)


def distances(ax: Axes, d: Distances, time_name: str) -> Axes:
    """Errors by how far a hidden observation is from what was given."""
    for k, side in enumerate((d.distance < 0, d.distance >= 0)):
        names = ("this model", "nearest value carried on") if k else (None, None)
        ax.plot(d.distance[side], d.error[side], "o-", ms=3, color=LEARNED, label=names[0])
        ax.plot(d.distance[side], d.naive[side], "o:", ms=3, color=QUIET, label=names[1])
    ax.set_ylim(bottom=0)
    return dress(ax, title="Error (sd)", x=f"{time_name} beyond what was given")


def transform(ax: Axes, f: RecurrentFindings) -> Axes:
    """The histogram of the probability integral transform and the band of right ones."""
    n = len(f.transform)
    weights = np.full(n, f.bins / max(n, 1))
    off = 1.645 * np.sqrt((f.bins - 1) / max(n, 1))
    ax.axhspan(max(1 - off, 0), 1 + off, color=RULE, lw=0, label="90 % of right ones")
    ax.hist(f.transform, bins=f.bins, range=(0, 1), weights=weights, color=LEARNED, alpha=0.5)
    ax.axhline(1, color=INK, lw=0.8)
    ax.set_xlim(0, 1)
    return dress(ax, title="Probability integral transform", x="share below the value")


def coverage(ax: Axes, f: RecurrentFindings) -> Axes:
    """Measured against nominal coverage."""
    nominal, share = f.covered()
    ax.plot([0, 1], [0, 1], color=QUIET, lw=0.8)
    ax.plot(nominal, share, "o-", ms=3, color=LEARNED)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return dress(ax, title="Coverage of intervals", x="nominal", y="values inside")


def loss(ax: Axes, f: SeriesFindings) -> Axes:
    """The training loss and the one of held-out series, which may be in other units."""
    rows = running(f.fit)
    at = [r["total"] for r in rows]
    dot = "o" if len(rows) < _FEWEST else None  # a line of one point is not seen
    ax.plot(at, [number(r, "loss") for r in rows], marker=dot, color=LEARNED, label="batches")
    held = np.array([number(r, "validation") for r in rows])
    if np.isfinite(held).any():
        ax.plot(at, held, marker=dot, color=AHEAD, ls=":", label="held-out series")
    return dress(ax, title="Loss", x="step")
