"""Pictures of several models of the same series: their paths through one, and their risks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .axes import dress, new_figure
from .fonts import lettering
from .palette import INK, QUIET, colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACROSS = 3


def paths_through(
    one: Any, names: Sequence[str], found: dict[str, np.ndarray], shown: Sequence[str], *,
    times: np.ndarray | None = None, x: str = "time", title: str = "",
) -> Figure:  # fmt: skip
    """What was observed of some variables of a series, and what models say at `times`."""
    at = one.t if times is None else times
    chosen = [i for i, name in enumerate(names) if name in shown]
    down = -(-len(chosen) // _ACROSS)
    with lettering():
        figure = new_figure(9.0, 2.3 * down + 0.4)
        for k, i in enumerate(chosen):
            ax = figure.add_subplot(down, _ACROSS, k + 1)
            for j, (name, values) in enumerate(found.items()):
                ax.plot(at, values[:, i], color=colour(j), linewidth=1.3, label=name)
            ax.plot(one.t, one.x[:, i], "o", color=INK, markersize=2.5, label="observed")
            below = k + _ACROSS >= len(chosen)
            dress(ax, title=names[i], x=x if below else "", legend=False)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(labels), frameon=False,
            fontsize="small", title=title or None,
        )  # fmt: skip
    return figure


def risk_curves(risks: dict[str, np.ndarray], positive: np.ndarray) -> Figure:
    """Receiver operating characteristics of several scores of the same cases."""
    with lettering():
        figure = new_figure(4.6, 4.2)
        ax = figure.add_subplot()
        for k, (name, risk) in enumerate(risks.items()):
            order = np.argsort(-risk, kind="stable")
            hit = np.concatenate([[0.0], np.cumsum(positive[order])])
            false = np.concatenate([[0.0], np.cumsum(~positive[order])])
            hit, false = hit / max(hit[-1], 1.0), false / max(false[-1], 1.0)
            area = float(np.trapezoid(hit, false))
            ax.plot(false, hit, color=colour(k), linewidth=1.3, label=f"{name}: {area:.3f}")
        ax.plot([0, 1], [0, 1], ":", color=QUIET)
        ax.set_aspect("equal")
        dress(ax, title="Mortality: area under the curve", x="false alarms", y="found")
    return figure
