"""DU-RR: error against the number of basis functions, for polynomials, sines and Gaussians.

The problem of `du-rr`. The minimum over the first m functions falls to the true one as m grows
(Ritz 1909); how fast, and how far, depends on the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..problems import RBF, GaussLegendre, Polynomial, RightEndpoint, Sine, VariationalProblem
from . import Row, Task
from .du_rr import ACTION, lagrangian, off

COUNTS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64)
LOW, HIGH, WIDTH = -0.5, 1.95, 20.0  # of the book's Gaussians
PENALTY = 1000.0
NODES = GaussLegendre(192)


def fixed(m: int) -> RBF:
    """The book's width and reach, whatever the number."""
    return RBF(m, low=LOW, high=HIGH, width=WIDTH)


def tied(m: int) -> RBF:
    """A width that falls with the spacing."""
    return RBF(m, low=LOW, high=HIGH)


BUILT_IN: dict[str, Callable[[int], Any]] = {
    "polynomials": Polynomial,
    "sines": Sine,
    "Gaussians, width tied to the spacing": tied,
    "Gaussians, the book's width": fixed,
}
Curve = dict[int, tuple[float, float]]
"""By m: the largest error of the path, and how far the action is from the true one."""


def curve(trial: Callable[[int], Any], counts: tuple[int, ...], **how: Any) -> Curve:
    """Errors for every number of functions."""
    found = {}
    for m in counts:
        problem = VariationalProblem(lagrangian, (0, 1), (0, 0), trial(m), **how)
        solution = problem.solve()
        found[m] = off(solution), abs(solution.action - ACTION)
    return found


def run(task: Task = Task(), *, counts: tuple[int, ...] = COUNTS) -> list[Row]:
    """Every basis with its ends built in, by fine quadrature; the book's setting by Newton."""
    curves = {name: curve(trial, counts, quadrature=NODES) for name, trial in BUILT_IN.items()}
    name = "Gaussians, the book's penalties and fine quadrature"
    curves[name] = curve(fixed, counts, quadrature=NODES, penalty=PENALTY)
    name = "Gaussians, the book's penalties and sum"
    curves[name] = curve(fixed, counts, quadrature=RightEndpoint(100), penalty=PENALTY)
    if task.out is not None:
        draw(curves, task.out / "du-rr-basis.png")
    return [row for name, found in curves.items() for row in _rows(name, found)]


def _rows(name: str, found: Curve) -> list[Row]:
    best = min(found, key=lambda m: found[m][0])
    last = max(found)
    told = ", ".join(f"{m}: {found[m][0]:.1g}" for m in found if m in (1, 2, 4, 8, 16, 32, 64))
    return [
        Row(f"max error, {name}, m = {last}", None, found[last][0],
            note=f"by m {told}; least at m = {best}"),
        Row(f"action gap, {name}, m = {last}", None, found[last][1],
            note=f"the path's error falls like m^{rate(found):.1f} from 8 on" if name == "sines"
            else ""),
    ]  # fmt: skip


def rate(found: Curve, low: int = 8) -> float:
    """The slope of log error against log m from `low` functions on."""
    m = np.array([m for m in found if m >= low])
    return float(np.polyfit(np.log(m), np.log([found[k][0] for k in m.tolist()]), 1)[0])


def draw(curves: Mapping[str, Curve], file: Path) -> None:
    """Error of the path and of the action against m."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import colour

    with lettering():
        figure = new_figure(10.5, 4.6)
        axes = figure.subplots(1, 2, sharey=True)
        for i, (name, found) in enumerate(curves.items()):
            style = "--" if "penalties" in name else "-"
            for which, ax in enumerate(axes):
                errors = [max(found[m][which], 1e-18) for m in found]
                ax.loglog(list(found), errors, style, marker="o", ms=3, color=colour(i), label=name)
        for ax in axes:
            ax.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
            ax.minorticks_off()
        dress(axes[0], title="Largest error of the path", x="functions m", legend=False)
        dress(axes[1], title="Gap of the action", x="functions m", legend=False)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False,
                      fontsize="small")  # fmt: skip
        figure.savefig(file, dpi=150)
