"""Pictures of variational problems: a path above its residual, and a family of paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records import Family, Solution
from .axes import axes_or_new, dress, new_figure, plot
from .fonts import lettering
from .palette import AHEAD, FLOW, INK, LEARNED, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SAMPLED = 50  # solutions of a family behind its means
_POINTS = 201


@plot.register(Solution)
def _(
    solution: Solution,
    *,
    ax: Axes | None = None,
    title: str = "",
    names: Sequence[str] = (),
    time: str = "t",
) -> Any:
    """Two axes, the path with its ends above the Euler-Lagrange residual; the path alone with `ax`.

    `title` and the `names` of the components take any script; full dots are ends that were given,
    hollow ones free ends.
    """
    with lettering():
        names = list(names) or _names(solution)
        if ax is not None:
            return _path(ax, solution, title, names, time)
        figure = new_figure(6.4, 5.0)
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        _path(top, solution, title, names, "")
        _residual(below, solution, names, time)
        figure.align_ylabels()
        return np.array([top, below])


def _names(solution: Solution) -> list[str]:
    dim = solution.values.shape[1]
    return ["y"] if solution.scalar else [f"y{i + 1}" for i in range(dim)]


def _path(ax: Axes, solution: Solution, title: str, names: Sequence[str], time: str) -> Axes:
    for i, name in enumerate(names):
        ax.plot(solution.time, solution.values[:, i], color=colour(i), label=name)
        for end in (0, -1):
            inside = "white" if np.isfinite(solution.natural[end, i]) else colour(i)
            at = solution.time[end], solution.values[end, i]
            ax.plot(*at, "o", ms=5, color=colour(i), mfc=inside, clip_on=False, zorder=3)
    told = f"{solution.status.kind}, action {solution.action:.6g}"
    one = len(names) == 1
    dress(ax, title=f"{title}: {told}" if title else told[:1].upper() + told[1:],
          x=time, y=names[0] if one else "", legend=not one)  # fmt: skip
    return ax


def _residual(ax: Axes, solution: Solution, names: Sequence[str], time: str) -> None:
    for i, name in enumerate(names):
        ax.plot(solution.time, solution.residual[:, i], color=colour(i), lw=1, label=name)
    ax.axhline(0, color=INK, lw=0.6)
    title = f"Euler-Lagrange residual, {solution.relative_residual:.1g} of its terms"
    dress(ax, title=title, x=time, y="d/dt $L_{y'}$ − $L_y$", legend=False)


@plot.register(Family)
def _(
    family: Family, *, ax: Axes | None = None, count: int = _SAMPLED, seed: int = 0,
    title: str = "", component: int = 0, time: str = "t", name: str = "y",
) -> Axes:  # fmt: skip
    """`count` sampled solutions, their mean over the ensemble, and the mean problem's solution.

    One component of a vector y; draw another with `component`.
    """
    with lettering():
        ax = axes_or_new(ax)
        t = np.linspace(*family.interval, _POINTS)
        pick = ... if family.scalar else (..., component)
        for i, y in enumerate(family.sample(count, t, seed=seed)[1][pick]):
            label = f"{count} sampled solutions" if i == 0 else None
            ax.plot(t, y, color=FLOW, lw=0.7, label=label)
        ax.plot(t, family.mean_of_solutions(t)[pick], color=AHEAD, ls="--",
                label="mean of the solutions")  # fmt: skip
        if family.mean_problem is not None:
            ax.plot(t, family.mean_problem(t)[pick], color=LEARNED,
                    label="solution of the mean problem")  # fmt: skip
        told = "Solutions of the ensemble" + ("" if family.status.ok else f": {family.status.kind}")
        return dress(ax, title=title or told, x=time, y=name)
