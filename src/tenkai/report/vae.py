"""Pictures of variational autoencoders: reconstructions, samples, the training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from .axes import dress, new_figure, number, plot, running
from .fonts import lettering
from .palette import AHEAD, INK, LEARNED, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 8
_POINTS = 500


@runtime_checkable
class Autoencoding(Protocol):
    """A fitted variational autoencoder."""

    def encode(self, X: Any) -> Any: ...

    def decode(self, z: Any) -> np.ndarray: ...

    def elbo(self, X: Any) -> np.ndarray: ...

    def reconstruct(self, X: Any) -> np.ndarray: ...


@plot.register(Autoencoding)
def _(vae: Any) -> np.ndarray:
    """Panels: rows beside their reconstructions, samples, and the ELBO over the training."""
    images = len(vae.columns_.shape) == 2
    with lettering():
        figure = new_figure(8.0, 6.4 if images else 5.6)
        if images:
            grid = figure.add_gridspec(3, 1, height_ratios=(2.0, 2.0, 1.7))
            few = vae.shown_[:_ACROSS]
            pairs = np.concatenate([few, vae.reconstruct(few)])
            made = vae.sample(2 * _ACROSS, noise=False)
            axes = [
                tiles(figure.add_subplot(grid[0]), pairs, len(few), "Held out; below, out of z"),
                tiles(figure.add_subplot(grid[1]), made, _ACROSS, "Means of samples"),
                elbo_over_steps(figure.add_subplot(grid[2]), vae),
            ]
        else:
            grid = figure.add_gridspec(2, 2)
            axes = _table(figure, grid, vae)
    panels = np.empty(len(axes), dtype=object)
    panels[:] = axes
    return panels


def tiles(ax: Axes, images: np.ndarray, across: int, title: str) -> Axes:
    """Images (n, height, width) side by side, `across` in a row, on a common grey scale."""
    n, height, width = images.shape
    down = -(-n // across)
    gap = max(1, height // 14)
    sheet = np.full((down * (height + gap) - gap, across * (width + gap) - gap), np.nan)
    for i, image in enumerate(images):
        top, left = i // across * (height + gap), i % across * (width + gap)
        sheet[top : top + height, left : left + width] = image
    ax.imshow(sheet, cmap="gray", interpolation="nearest")
    ax.set_axis_off()
    ax.set_title(title, loc="left", color=INK)
    return ax


def elbo_over_steps(ax: Axes, vae: Any) -> Axes:
    """The ELBO of batches and of held-out rows over the steps, in the units of the table."""
    rows = running(vae.fit_)
    steps = [r["total"] for r in rows]
    units = vae.columns_.log_units
    seen = [-number(r, "loss") - units for r in rows]
    held = [-number(r, "validation") - units for r in rows]
    ax.plot(steps, seen, color=LEARNED, label="batches (KL warmed up)")
    ax.plot(steps, held, color=AHEAD, label="held-out rows")
    ax.axhline(vae.held_out_.independent, color=QUIET, ls=":", label="independent columns")
    # The first steps are far below the rest.
    finite = np.asarray(held)[np.isfinite(held)]
    if len(finite) > 4:
        low = min(vae.held_out_.independent, np.quantile(finite, 0.1))
        high = max(finite.max(), np.nanmax(seen[len(seen) // 4 :]))
        ax.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    return dress(ax, title="ELBO per row", x="step", y="nats")


def _table(figure: Figure, grid: Any, vae: Any) -> list[Axes]:
    """Two pairs of columns, the posterior's means, the training."""
    real = vae.shown_.reshape(len(vae.shown_), -1)
    made = vae.sample(_POINTS).reshape(_POINTS, -1)
    names = vae.columns_.names or tuple(f"x{i}" for i in range(real.shape[1]))
    last = min(3, real.shape[1]) - 1
    axes = []
    for k, (i, j) in enumerate(((0, min(1, last)), (min(1, last), last))):
        ax = figure.add_subplot(grid[0, k])
        ax.plot(made[:, i], made[:, j], ".", color=LEARNED, ms=3, alpha=0.5, label="samples")
        ax.plot(real[:, i], real[:, j], ".", color=INK, ms=3, label="held-out rows")
        axes.append(dress(ax, title="Samples" if k == 0 else "", x=names[i], y=names[j]))
    z = vae.encode(vae.shown_).mean
    ax = figure.add_subplot(grid[1, 0])
    most = np.argsort(-z.var(0))[:2]
    ax.plot(z[:, most[0]], z[:, most[-1]], ".", color=LEARNED, ms=3)
    title = "Posterior means of held-out rows"
    axes.append(dress(ax, title=title, x=f"z{most[0]}", y=f"z{most[-1]}"))
    axes.append(elbo_over_steps(figure.add_subplot(grid[1, 1]), vae))
    return axes


def compared(results: dict[str, tuple[np.ndarray, np.ndarray]], truth: np.ndarray) -> Figure:
    """Reconstructions of the same images and samples by several posteriors."""
    with lettering():
        figure = new_figure(9.0, 0.95 * (len(results) + 1))
        grid = figure.add_gridspec(len(results) + 1, 2)
        tiles(figure.add_subplot(grid[0, 0]), truth, len(truth), "Test images")
        figure.add_subplot(grid[0, 1]).set_axis_off()
        for i, (name, (again, drawn)) in enumerate(results.items(), start=1):
            tiles(figure.add_subplot(grid[i, 0]), again, len(again), f"{name}: reconstructed")
            tiles(figure.add_subplot(grid[i, 1]), drawn, len(drawn), f"{name}: samples")
    return figure
