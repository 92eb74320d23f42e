"""DU-RR-basis: where may the sequence of basis functions be cut off?

The problem of DU-RR, ``min int_0^1 (y'^2 - y^2 - t y) dt`` with ``y(0) = y(1) = 0``, solved with
m = 1, 2, 4, ... functions of four kinds, the ends built in, by Gauss-Legendre and Newton's method:
what is left is the truncation. Ritz: the least action over m functions falls to the true one as m
grows, if finite sums of them come close to every path together with its slope. How fast depends on
the functions: sines gain two powers of 1/m, because they have no second derivative at the ends,
where the solution has one. How far depends on them too: Gaussians ``exp(-(t - c)^2 / (b h)^2)`` of
spacing h stop at a share of about ``2 exp(-pi^2 b^2)`` (saturation; Maz'ya and Schmidt 1996), which
is 1e-4 for narrow ones (b = 1); wider ones stop at the rounding of their normal equations.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, section 6.3.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..problems import RBF, Polynomial, Sine, VariationalProblem
from ..records import Solution
from . import Row, Task
from .du_rr import ACTION, TRUTH, lagrangian, off

BASES: dict[str, tuple[Callable[[int], Any], tuple[int, ...]]] = {
    "polynomials": (Polynomial, (1, 2, 3, 4, 6, 8, 12, 16)),
    "sines": (Sine, (1, 2, 4, 8, 16, 32, 64)),
    "Gaussians": (RBF, (2, 4, 8, 16, 32, 64)),
    "narrow Gaussians": (lambda m: RBF(m, width=((m - 1) / 2) ** 2), (2, 4, 8, 16, 32, 64)),
    "book's Gaussians": (lambda m: RBF(m, -0.5, 1.95, 20.0), (2, 4, 8, 16, 32, 50)),
}
SATURATION = 1.03e-4
"""Theory: ``2 exp(-pi^2)``."""


def run(task: Task = Task(), *, most: int = 64) -> list[Row]:
    """The error of every basis with at most `most` functions."""
    rows, found = [], {}
    for name, (basis, counts) in BASES.items():
        found[name] = {m: solved(basis(m)) for m in counts if m <= most}
        for m, solution in found[name].items():
            note = f"action above the least {solution.action - ACTION:.1g}"
            if (name, m) == ("book's Gaussians", 50):
                note += "; with penalties, right-endpoint sum and Adam: 1.1e-3"
            rows.append(Row(f"max error, {name}, m = {m}", None, off(solution), note=note))
    order = sine_order({m: off(solution) for m, solution in found["sines"].items()})
    rows.append(
        Row("order of the sines", 2.0, order, note="of the last doubling; published: theory")
    )
    narrow = off(list(found["narrow Gaussians"].values())[-1]) / float(np.abs(TRUTH).max())
    rows.append(Row("share at which narrow Gaussians stop", SATURATION, narrow,
                    note="published: theory, 2 exp(-pi^2)"))  # fmt: skip
    if task.out is not None:
        draw(found, task.out / "du-rr-basis.png")
    return rows


def solved(trial: Any) -> Solution:
    """The least action over the functions of a trial."""
    return VariationalProblem(lagrangian, (0, 1), (0, 0), trial).solve()


def sine_order(errors: dict[int, float]) -> float:
    """How many powers of 1/m the last doubling gains."""
    (a, before), (b, after) = list(errors.items())[-2:]
    return float(np.log(before / after) / np.log(b / a))


def draw(found: dict[str, dict[int, Solution]], file: Path) -> None:
    """Error, and the share of the smallest eigenvalue in the second variation, against m."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import QUIET, colour

    with lettering():
        figure = new_figure(9.5, 3.8)
        left, right = figure.subplots(1, 2)
        for i, (name, solutions) in enumerate(found.items()):
            counts = list(solutions)
            errors = [max(off(s), 1e-17) for s in solutions.values()]
            shares = [max(abs(s.curvature or 0.0), 1e-19) for s in solutions.values()]
            left.loglog(counts, errors, "o-", color=colour(i), ms=4, label=name)
            right.loglog(counts, shares, "o-", color=colour(i), ms=4, label=name)
        right.axhline(np.finfo(float).eps, color=QUIET, lw=0.8, ls="--")
        right.annotate("rounding", (1, np.finfo(float).eps), (0, 3), color=QUIET,
                       textcoords="offset points", fontsize="small")  # fmt: skip
        for ax in (left, right):
            ax.set_xticks([1, 2, 4, 8, 16, 32, 64], labels=["1", "2", "4", "8", "16", "32", "64"])
            ax.minorticks_off()
        dress(left, title="Error of the path", x="functions m", y="max |y − exact|")
        dress(right, title="Smallest over largest curvature", x="functions m", legend=False)
        figure.savefig(file, dpi=150)
