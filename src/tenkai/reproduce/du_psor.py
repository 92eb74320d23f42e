"""DU-PSOR: learned relaxation of fixed-point iterations and of Jacobi's method.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, chapter 4. The recipes
are the book's; an error is the mean over 1000 fresh problems after the last layer, its median over
draws of the matrix. For ``x = A x + b`` our draws are like the published one, whose
``omega = 2 / (l_min + l_max)`` of ``I - A`` its notebook prints as 1.56292 (ours within 1 %).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from ..algorithms import (
    Unfolded,
    chebyshev_radius,
    chebyshev_steps,
    jacobi,
    linear_systems,
    relaxation,
    sor,
)
from . import Row, Task
from .du_gd import ADAM, Curves, gaussian, judge, learn, rows

PERIODS = {"T=2": 6.2e-6, "T=4": 1.9e-7}
JACOBI = {"T=1": 1.9e-9, "T=2": 7.1e-16, "T=8": 2.7e-18}
GRID = np.linspace(0.01, 2.0, 200)
Found = tuple[Curves, dict[str, Unfolded], np.ndarray]


class Affine(eqx.Module):
    """``x -> A x + b``."""

    matrix: Any

    def __call__(self, x: Any, b: Any) -> Any:
        return self.matrix @ x + b


def contraction(gauss: np.ndarray) -> np.ndarray:
    """``G^T G / |G^T G|``, Frobenius norm: a map with slopes between 0 and 1."""
    A = gauss.T @ gauss
    return A / np.linalg.norm(A)


def plain_best(gauss: np.ndarray) -> float:
    """The best single relaxation factor for all errors, ``2 / (l_min + l_max)`` of ``I - A``."""
    values = np.linalg.eigvalsh(np.eye(len(gauss)) - contraction(gauss))
    return 2 / (values[0] + values[-1])


def fixed_points(seeds: int) -> list[Found]:
    """``x = A x + b``, 8 unknowns, 10 layers: periods 2 and 4."""
    found = []
    for seed, gauss in enumerate(gaussian((8, 8), seeds, plain_best, 1.5629163)):
        A = contraction(gauss)
        problems = linear_systems(np.eye(8) - A)
        learned = {}
        for name in PERIODS:
            one = relaxation(Affine(A), np.zeros(8), layers=10, tied=int(name[2:]), seed=seed)
            learned[name] = learn(one, problems, 40, 50, ADAM(0.1))
        values = np.linalg.eigvalsh(np.eye(8) - A)
        steps = chebyshev_steps(values[0], values[-1], 10, stable=True)
        learned["Chebyshev"] = learned["T=2"].with_parameters(omega=steps)
        learned["plain iteration"] = learned["T=2"].with_parameters(omega=1.0)
        found.append((judge(learned, problems, GRID, "omega"), learned, np.eye(8) - A))
    return found


def systems(seeds: int) -> list[Found]:
    """``P x = q`` by Jacobi, 32 unknowns, ``P = .15 I + M^T M``, M = .05 G: 20 layers."""
    found = []
    for seed, P in enumerate(positive(seeds)):
        problems = linear_systems(P)
        learned = {}
        for name in JACOBI:
            one = jacobi(P, omega=1.0, layers=20, tied=int(name[2:]), seed=seed)
            learned[name] = learn(one, problems, 50, 100, ADAM(0.01))
        learned["Chebyshev"] = jacobi(P, layers=20)
        learned["plain Jacobi"] = learned["T=1"].with_parameters(omega=1.0)
        curves = judge(learned, problems, GRID, "omega")
        y, x = learned["T=1"].draw(problems, 1000, seed=3)
        curves["SOR with Young's factor"] = sor(P, layers=20).error(y, x)
        found.append((curves, learned, P))
    return found


def positive(count: int) -> Iterator[np.ndarray]:
    """The book's positive definite matrices."""
    for seed in range(count):
        M = 0.05 * np.random.default_rng(seed).standard_normal((32, 32))
        yield 0.15 * np.eye(32) + M.T @ M


def run(task: Task = Task(), *, seeds: int = 7) -> list[Row]:
    """Both problems, with the spectral radius of one period of what was learned."""
    points, found = fixed_points(seeds), systems(seeds)
    if task.out is not None:
        draw(points[0], found[0], task.out / "du-psor.png")
    made = rows([p[0] for p in points], dict(PERIODS), "PSOR")
    made += radii(points[0])
    return made + rows([f[0] for f in found], dict(JACOBI), "Jacobi")


def radii(found: Found) -> list[Row]:
    """Per iteration, the first draw: ``max |prod_t (1 - omega[t] l)|^(1/T)``."""
    _, learned, P = found
    values, made = np.linalg.eigvalsh(P), []
    for name in PERIODS:
        omega = learned[name].parameters_["omega"]
        radius = np.abs(np.prod(1 - np.outer(values, omega), axis=1)).max() ** (1 / len(omega))
        least = chebyshev_radius(values[0], values[-1], len(omega)) ** (1 / len(omega))
        note = f"per iteration; Chebyshev steps {least:.4f}, the least there is"
        made.append(Row(f"spectral radius, PSOR, {name}", None, float(radius), note=note))
    best = (values[-1] - values[0]) / (values[-1] + values[0])
    return [*made, Row("spectral radius, PSOR, one factor", None, float(best))]


def draw(point: Found, system: Found, file: Path) -> None:
    """Errors of both problems, beyond the trained layers too, and the learned factors."""
    from ..report.algorithms import by_layer, convergence
    from ..report.axes import new_figure
    from ..report.fonts import lettering

    with lettering():
        figure = new_figure(10.0, 7.0)
        axes = figure.subplots(2, 2)
        beyond = judge(point[1], linear_systems(point[2]), GRID, "omega", layers=30)
        first = {f"learned, {k}": beyond[k] for k in reversed(PERIODS)}
        rest = {k: v for k, v in beyond.items() if k not in PERIODS}
        title = "x = A x + b, 8 unknowns"
        convergence(first | rest, ax=axes[0, 0], trained=10, title=title)
        look: dict[str, Any] = {"y": "relaxation factor", "title": "Learned factor by layer"}
        omega = point[1]["T=4"].parameters_["omega"][np.arange(10) % 4]
        levels = {"best for all errors": _best(point[2])}
        by_layer({"learned, T=4": omega}, ax=axes[0, 1], levels=levels, **look)
        first = {f"learned, {k}": system[0][k] for k in reversed(JACOBI)}
        rest = {k: v for k, v in system[0].items() if k not in JACOBI}
        convergence(first | rest, ax=axes[1, 0], title="Jacobi, 32 unknowns")
        omega = system[1]["T=8"].parameters_["omega"][np.arange(20) % 8]
        by_layer({"learned, T=8": omega}, ax=axes[1, 1], levels={"plain Jacobi": 1.0}, **look)
        figure.savefig(file, dpi=150)


def _best(P: np.ndarray) -> float:
    values = np.linalg.eigvalsh(P)
    return float(2 / (values[0] + values[-1]))
