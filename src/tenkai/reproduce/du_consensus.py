"""DU-consensus: the karate club agrees on its mean, with a learned step for every round.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, chapter 5; the graph:
Zachary 1977, 34 members and 78 friendships.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..algorithms import Unfolded, consensus, consensus_problems, laplacian
from . import Row, Task
from .du_gd import ADAM, DEFAULT, Curves, judge, learn, rows

NODES, ROUNDS = 34, 75
FRIENDS = {  # members from 1, each with those friends whose number is larger
    1: (2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 18, 20, 22, 32),
    2: (3, 4, 8, 14, 18, 20, 22, 31), 3: (4, 8, 9, 10, 14, 28, 29, 33), 4: (8, 13, 14),
    5: (7, 11), 6: (7, 11, 17), 7: (17,), 9: (31, 33, 34), 10: (34,), 14: (34,), 15: (33, 34),
    16: (33, 34), 19: (33, 34), 20: (34,), 21: (33, 34), 23: (33, 34), 24: (26, 28, 30, 33, 34),
    25: (26, 28, 32), 26: (32,), 27: (30, 34), 28: (34,), 29: (32, 34), 30: (33, 34), 31: (33, 34),
    32: (33, 34), 33: (34,),
}  # fmt: skip


def karate_club() -> Float[np.ndarray, "34 34"]:
    """The adjacency matrix."""
    W = np.zeros((NODES, NODES))
    for member, friends in FRIENDS.items():
        W[member - 1, np.array(friends) - 1] = 1.0
    return W + W.T


def fits(seeds: int, inner: int) -> tuple[list[Curves], dict[str, Unfolded]]:
    """Errors per seed, and the algorithms of the last one."""
    graph, problems, found, learned = karate_club(), consensus_problems(NODES), [], {}
    grid = np.linspace(0.2, 1.2, 200) * best_step()
    for seed in range(seeds):
        book = consensus(graph, eta=0.0, layers=ROUNDS, seed=seed)
        ours = consensus(graph, layers=ROUNDS, seed=seed)
        learned = {"": learn(book, problems, inner, 200, ADAM(5e-4)),
                   DEFAULT: ours, "Chebyshev": ours.with_parameters()}  # fmt: skip
        ours.fit(problems)
        found.append(judge(learned, problems, grid))
    return found, learned


def best_step() -> float:
    """``2 / (l_2 + l_n)`` of the Laplacian."""
    rates = np.linalg.eigvalsh(laplacian(karate_club()))
    return float(2 / (rates[1] + rates[-1]))


def run(task: Task = Task(), *, seeds: int = 2, inner: int = 50) -> list[Row]:
    """The book's recipe: 75 rounds, 50 steps each, batches of 200."""
    found, learned = fits(seeds, inner)
    if task.out is not None:
        draw(found[-1], learned, task.out / "du-consensus.png")
    rates = np.linalg.eigvalsh(laplacian(karate_club()))
    worst = [
        float(np.abs(np.prod(1 - np.outer(rates[1:], a.parameters_["eta"]), axis=1)).max())
        for a in (learned[""], learned["Chebyshev"])
    ]
    one = float((rates[-1] - rates[1]) / (rates[-1] + rates[1])) ** ROUNDS
    note = f"of all {ROUNDS} rounds; one step for all {one:.2g}, Chebyshev steps {worst[1]:.2g}"
    return [
        *rows(found, {"": 4.80e-6}, "consensus"),
        Row("spectral radius, consensus, learned", None, worst[0], note=note),
    ]


def draw(curves: Curves, learned: dict[str, Unfolded], file: Path) -> None:
    """Errors by round, and the learned steps."""
    from ..report.algorithms import by_layer, convergence
    from ..report.axes import new_figure
    from ..report.fonts import lettering

    with lettering():
        figure = new_figure(10.0, 3.6)
        left, right = figure.subplots(1, 2)
        shown = {"learned (book's recipe)": curves[""]}
        shown |= {k: v for k, v in curves.items() if k}
        convergence(shown, ax=left, title="Consensus in the karate club")
        steps = {"learned": learned[""].parameters_["eta"]}
        levels = {"best for all errors": best_step()}
        by_layer(steps, ax=right, title="Learned step by round", levels=levels)
        right.set_xlabel("round")
        left.set_xlabel("round")
        figure.savefig(file, dpi=150)
