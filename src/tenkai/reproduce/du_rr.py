"""DU-RR: a variational problem by Ritz's method, unfolded.

``min int_0^1 (y'^2 - y^2 - t y) dt`` with ``y(0) = y(1) = 0``, whose solution is
``sin t / (2 sin 1) - t / 2``. The book's recipe: 50 Gaussians, the right-endpoint sum over 100
points, the ends held by penalties, 300 steps of Adam. Beside it the library's default.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, section 6.3.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import optax

from ..problems import RBF, RightEndpoint, VariationalProblem
from ..records import Solution
from . import Row, Task

TIMES = np.linspace(0, 1, 1001)
TRUTH = np.sin(TIMES) / (2 * np.sin(1)) - TIMES / 2
ACTION = -0.5 * ((1 - 1 / np.tan(1)) / 2 - 1 / 6)  # of the true solution, -0.00614351268
LOSS = -0.006088545544344969  # after update 300, float64
BOOK: dict[str, Any] = {
    "trial": RBF(50, low=-0.5, high=1.95, width=20.0, start=1.0),
    "quadrature": RightEndpoint(100),
    "penalty": 1000.0,
}
ADAM = optax.adam(1.0)


def lagrangian(t: Any, y: Any, dy: Any) -> Any:
    """``y'^2 - y^2 - t y``."""
    return dy**2 - y**2 - t * y


def off(solution: Solution) -> float:
    """The largest error of a path."""
    return float(np.abs(solution(TIMES) - TRUTH).max())


def run(task: Task = Task(), *, steps: int = 300) -> list[Row]:
    """The book's recipe after `steps` updates, and the default solver."""
    problem = VariationalProblem(lagrangian, (0, 1), (0, 0), **BOOK)
    before = problem.solve(rule=ADAM, steps=steps - 1, finish=0)
    problem.solve(rule=ADAM, steps=steps, finish=0)
    begun = time.perf_counter()
    book = problem.solve(rule=ADAM, steps=steps, finish=0)
    seconds = time.perf_counter() - begun
    ours = VariationalProblem(lagrangian, (0, 1), (0, 0)).solve()
    if task.out is not None:
        draw(book, ours, task.out / "du-rr.png")
    ends = ", ".join(f"{abs(e):.1g}" for e in book.boundary_errors[:, 0])
    return [
        Row("loss (book's recipe)", LOSS, book.loss,
            note=f"after {steps} updates; {seconds:.2g} s once compiled"),
        Row("loss before the last update", -0.006088369, before.loss),
        Row("max error (book's recipe)", 1.1e-3, off(book), note=f"ends off by {ends}"),
        Row("action (book's recipe)", None, book.action, note="the loss without its penalties"),
        Row("max error", None, off(ours), note="default solver"),
        Row("action", float(f"{ACTION:.11f}"), ours.action, note="default; published: exact"),
    ]  # fmt: skip


def draw(book: Solution, ours: Solution, file: Path) -> None:
    """Both paths and the truth; the errors of both, and what the Euler-Lagrange equation says."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import AHEAD, INK, LEARNED

    runs = (("book's recipe", book, AHEAD, "--"), ("default", ours, LEARNED, "-"))
    with lettering():
        figure = new_figure(10.5, 3.4)
        axes = figure.subplots(1, 3)
        for name, solution, shade, style in runs:
            axes[0].plot(TIMES, solution(TIMES), color=shade, ls=style, label=name)
            error = np.abs(solution(TIMES) - TRUTH)
            axes[1].plot(TIMES, np.maximum(error, 1e-18), color=shade, ls=style, label=name)
            residual = np.abs(solution.residual[:, 0])
            axes[2].plot(solution.time, residual, color=shade, ls=style, label=name)
        axes[0].plot(TIMES, TRUTH, color=INK, ls=":", label="exact")
        for ax in axes[1:]:
            ax.set_yscale("log")
        dress(axes[0], title="Path", x="t", y="y")
        dress(axes[1], title="Error", x="t", y="|y − exact|", legend=False)
        y = "|d/dt $L_{y'}$ − $L_y$|"
        dress(axes[2], title="Euler-Lagrange residual", x="t", y=y, legend=False)
        figure.savefig(file, dpi=150)
