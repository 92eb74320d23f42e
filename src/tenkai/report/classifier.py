"""The picture of a classifier by depth: how the states part, and the training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from .axes import batches_and_others, dress, new_figure, plot
from .classes_findings import shade, shown_of
from .fonts import lettering
from .palette import INK, LEARNED, colour
from .series_panels import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DEPTHS = (0.0, 0.5, 1.0)
_CLASSES = 10  # that get a name in the legend


@runtime_checkable
class ClassifyingByDepth(Protocol):
    """A fitted classifier whose states are known at any depth."""

    def hidden(self, X: Any, depths: Any) -> np.ndarray: ...

    def accuracy_by_tolerance(self, X: Any, y: Any) -> list[dict[str, float]]: ...


@plot.register(ClassifyingByDepth)
def _(classifier: Any) -> np.ndarray:
    """Panels: states of held-out rows at three depths, the training, accuracy beside baselines."""
    with lettering():
        figure = new_figure(9.0, 6.0)
        grid = figure.add_gridspec(2, 6)
        axes = [figure.add_subplot(grid[0, 2 * i : 2 * i + 2]) for i in range(3)]
        states(axes, classifier)
        axes.append(training(figure.add_subplot(grid[1, :3]), classifier))
        axes.append(accuracies(figure.add_subplot(grid[1, 3:]), classifier))
    panels = np.empty(len(axes), dtype=object)
    panels[:] = axes
    return panels


def states(axes: list[Axes], classifier: Any) -> None:
    """Two directions at each depth: where the classes' means differ most, else most variance."""
    found = classifier.hidden(shown_of(classifier), _DEPTHS)
    index = classifier.shown_classes_
    for ax, depth, h in zip(axes, _DEPTHS, found.reshape(len(_DEPTHS), len(index), -1),
                            strict=True):  # fmt: skip
        flat = _flattened(h.astype(float), index)
        for k in np.unique(index):
            name = plain(str(classifier.classes_[k])) if k < _CLASSES else None
            ax.plot(*flat[index == k].T, ".", ms=4, color=shade(k), label=name)
        title = {0.0: "Depth 0 (stem)", 1.0: "Depth 1 (head)"}.get(depth, f"Depth {depth:g}")
        dress(ax, title=title, legend=False)
        ax.set_xticklabels([])
        ax.set_yticklabels([])
    handles, names = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(
        handles, names, frameon=False, fontsize="small", markerscale=1.5,
        loc="outside upper center", ncols=_CLASSES,
    )  # fmt: skip


def _flattened(h: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Rows in the plane: along the first principal direction of the class means, then of the rest.

    Two directions of the means where there are three classes or more.
    """
    h = h - h.mean(0)
    means = np.stack([h[index == k].mean(0) for k in np.unique(index)])
    first = np.linalg.svd(means - means.mean(0), full_matrices=False)[2][: max(len(means) - 1, 1)]
    first = first[:2]
    rest = h - h @ first.T @ first
    second = np.linalg.svd(rest, full_matrices=False)[2]
    ways = np.concatenate([first, second, np.zeros((2, h.shape[1]))])[:2]
    return h @ ways.T


def training(ax: Axes, classifier: Any) -> Axes:
    """Cross-entropy of batches and of held-out rows over the steps."""
    batches_and_others(ax, classifier.fit_, "held-out rows")
    return dress(ax, title="Cross-entropy", x="step", y="nats per row")


def accuracies(ax: Axes, classifier: Any) -> Axes:
    """Held-out accuracy beside the simple classifiers'."""
    held = classifier.held_out_
    named = {} if held is None else {"this one": held.accuracy, **held.baselines}
    for i, value in enumerate(named.values()):
        ax.barh(i, 100 * value, color=LEARNED if i == 0 else colour(5), height=0.6)
        ax.text(2.0, i, f"{value:.1%}", va="center", color="white" if value > 0.2 else INK)
    ax.set_yticks(range(len(named)), list(named))
    ax.set_xlim(0, 100)
    ax.invert_yaxis()
    title = "No rows held out" if held is None else f"Accuracy, {held.rows} held-out rows"
    return dress(ax, title=title, x="%", legend=False)
