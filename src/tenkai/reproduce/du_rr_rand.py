"""DU-RR-rand: an ensemble of variational problems, one drawn for every step.

``min int_0^1 ((1 + alpha + beta r) y'^2 - y^2 - t y) dt`` with ``y(0) = y(1) = 0`` and r uniform
on (0, 1). The expected action is that with ``c = 1 + alpha + beta / 2``, so what is learned is
``y = sin(t / sqrt c) / (2 sin(1 / sqrt c)) - t / 2``, the solution of the mean problem; the mean
of the solutions is another curve. A family of solutions is all of them at once.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, section 6.3.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ..problems import VariationalProblem
from ..records import Family, Solution
from . import Row, Task
from .du_rr import ADAM, BOOK, TIMES

CASES = {(0.0, 0.0): (3e-4, 1.4e-3), (1.0, 0.0): (3e-4, 1.4e-3),
         (0.0, 1.0): (7e-4, 6.5e-3), (0.5, 0.0): (3e-4, 1.4e-3)}  # fmt: skip
"""Published: least and largest of the maximal errors of five seeds."""
PEAKS = {1.0: 0.03565, 1.5: 0.02291, 2.0: 0.01688}  # by c
GRID = np.linspace(0, 1, 101)


class Lagrangian:
    """``(1 + alpha + beta r) y'^2 - y^2 - t y``."""

    def __init__(self, alpha: float, beta: float):
        self.alpha, self.beta = alpha, beta

    def __call__(self, t: Any, y: Any, dy: Any, r: Any) -> Any:
        return (1 + self.alpha + self.beta * r) * dy**2 - y**2 - t * y


def exact(t: Any, c: Any) -> Any:
    """The solution where c multiplies ``y'^2``."""
    root = np.sqrt(c)
    return np.sin(t / root) / (2 * np.sin(1 / root)) - t / 2


def off(solution: Solution, c: float) -> float:
    """The largest error of a path."""
    return float(np.abs(solution(TIMES) - exact(TIMES, c)).max())


def run(task: Task = Task(), *, seeds: int = 5, steps: int = 250) -> list[Row]:
    """Median errors over seeds for each (alpha, beta); then the family of all problems."""
    rows: list[Row] = []
    drawn: dict[tuple[float, float], tuple[list[Solution], list[Solution], Solution]] = {}
    for (alpha, beta), published in CASES.items():
        asked: dict[str, Any] = {"lagrangian": Lagrangian(alpha, beta), "boundary": (0, 0),
                                 "r": stats.uniform(0, 1)}  # fmt: skip
        c = 1 + alpha + beta / 2
        book = _seeded(seeds, {**asked, **BOOK}, rule=ADAM, steps=steps, finish=0)
        own = _seeded(seeds, asked)
        mean = VariationalProblem(**asked).solve()
        drawn[alpha, beta] = book, own, mean
        rows += _rows(f"(α, β) = ({alpha:g}, {beta:g})", c, book, own, mean, published)
    problem = VariationalProblem(Lagrangian(0.0, 1.0), boundary=(0, 0), r=stats.uniform(0, 1))
    begun = time.perf_counter()
    family = problem.solve_family()
    rows += _family_rows(family, time.perf_counter() - begun)
    if task.out is not None:
        book, own, mean = drawn[0.0, 1.0]
        draw(book, own, mean, family, task.out / "du-rr-rand.png")
    return rows


def _seeded(seeds: int, asked: dict[str, Any], **how: Any) -> list[Solution]:
    """One r for every step, drawn anew for every seed."""
    problems = [VariationalProblem(**asked, seed=seed) for seed in range(seeds)]
    return [problem.solve(sampled=True, **how) for problem in problems]


def _rows(
    case: str, c: float, book: list[Solution], own: list[Solution], mean: Solution,
    published: tuple[float, float],
) -> list[Row]:  # fmt: skip
    errors, ours = ([off(s, c) for s in runs] for runs in (book, own))
    told = f"{min(errors):.2g} to {max(errors):.2g}; published {published[0]:g} to {published[1]:g}"
    return [
        Row(f"max error (book's recipe), {case}", published[1], float(np.median(errors)),
            n=len(errors), note=f"median; {told}"),
        Row(f"max error, {case}", None, float(np.median(ours)), n=len(ours),
            note="median; one r per step too, the library's defaults"),
        Row(f"max error, r by quadrature, {case}", None, off(mean, c)),
        Row(f"peak, {case}", PEAKS[c], float(mean(TIMES).max())),
    ]  # fmt: skip


def _family_rows(family: Family, seconds: float) -> list[Row]:
    truth = np.array([exact(TIMES, 1 + r) for r in GRID])
    worst = float(np.abs(family(TIMES, GRID) - truth).max())
    many = np.random.default_rng(0).random(10_000)
    one, together = _pace(family, 0.3, 1000), _pace(family, many, 3) / len(many)
    return [
        Row("max error of the family", None, worst, note=f"101 values of r; {seconds:.2g} s"),
        Row("a new r, alone", None, 1e6 * one, unit="µs", note="y(0.5; r)"),
        Row("a new r among 10000", None, 1e6 * together, unit="µs", note="y(0.5; r)"),
        Row("mean of the solutions at 0.5", 0.02342, float(family.mean_of_solutions(0.5))),
        Row("solution of the mean problem at 0.5", 0.02239, float(exact(0.5, 1.5))),
    ]


def _pace(family: Family, r: Any, calls: int) -> float:
    """Seconds of one call, the least of five rounds."""
    rounds = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(calls):
            family(0.5, r)
        rounds.append((time.perf_counter() - begun) / calls)
    return min(rounds)


def draw(
    book: list[Solution], own: list[Solution], mean: Solution, family: Family, file: Path
) -> None:
    """What one r per step learns over the seeds; the family with its two means."""
    from ..report import plot
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import AHEAD, INK, colour

    with lettering():
        figure = new_figure(10.0, 3.8)
        left, right = figure.subplots(1, 2)
        truth = exact(TIMES, 1.5)
        for name, runs, shade in (("book's recipe", book, AHEAD), ("library", own, colour(2))):
            for i, solution in enumerate(runs):
                error = np.abs(solution(TIMES) - truth)
                label = f"{name}, one r per step" if i == 0 else None
                left.semilogy(TIMES[1:-1], error[1:-1], color=shade, lw=0.9, label=label)
        left.semilogy(TIMES[1:-1], np.abs(mean(TIMES) - truth)[1:-1] + 1e-18, color=INK, lw=0.9,
                      label="r by quadrature")  # fmt: skip
        dress(left, title="Error to the mean problem, β = 1", x="t", y="|y − exact|")
        plot(family, ax=right, title="Two means of an ensemble, β = 1")
        figure.savefig(file, dpi=150)
