"""Mean problems and families: what is learned for which distribution, and how it is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tenkai import InputError, VariationalProblem
from tenkai.problems import RBF, Polynomial
from tenkai.problems.ensemble import Ensemble

T = np.linspace(0, 1, 101)
UNIFORM = stats.uniform(0, 1)


def stiff(t: Any, y: Any, dy: Any, r: Any) -> Any:
    return (1 + r) * dy**2 - y**2 - t * y


def exact(t: Any, c: Any) -> Any:
    """Where c multiplies y'^2."""
    root = np.sqrt(c)
    return np.sin(t / root) / (2 * np.sin(1 / root)) - t / 2


def problem(r: Any = UNIFORM, **options: Any) -> VariationalProblem:
    return VariationalProblem(stiff, (0, 1), (0, 0), r=r, **options)


@pytest.mark.parametrize(
    ("r", "mean"),
    [(UNIFORM, 0.5), (stats.norm(0.5, 0.1), 0.5), (stats.expon(0, 0.3), 0.3),
     (stats.beta(0.5, 0.5), 0.5)],
    ids=["uniform", "normal", "exponential", "arcsine"],
)  # fmt: skip
def test_the_mean_problem_is_that_of_the_mean_where_the_action_is_affine(
    r: Any, mean: float
) -> None:
    y = problem(r).solve()
    assert y.status.ok
    np.testing.assert_allclose(y(T), exact(T, 1 + mean), atol=2e-6)


def test_where_the_action_is_not_affine_it_is_not() -> None:
    """E exp(r) for r ~ U(0, 1) is e - 1, not exp(1/2)."""
    y = VariationalProblem(
        lambda t, y, dy, r: jnp.exp(r) * dy**2 - y**2 - t * y, (0, 1), (0, 0), r=UNIFORM
    ).solve()
    np.testing.assert_allclose(y(T), exact(T, np.e - 1), atol=1e-12)


@pytest.mark.parametrize("dim", [2, 5, 12])
def test_vectors_of_numbers(dim: int) -> None:
    """Product rules while there are few numbers, quasi-random points where there are many."""
    y = VariationalProblem(
        lambda t, y, dy, r: (1 + jnp.mean(r)) * dy**2 - y**2 - t * y, (0, 1), (0, 0),
        r=[UNIFORM] * dim,
    ).solve()  # fmt: skip
    np.testing.assert_allclose(y(T), exact(T, 1.5), atol=1e-12 if dim < 6 else 1e-4)


def test_the_mean_of_the_solutions_is_not_the_solution_of_the_mean_problem() -> None:
    family = problem().solve_family()
    r, w = np.polynomial.legendre.leggauss(40)
    truth = (w / 2) @ exact(T, 1.5 + r[:, None] / 2)
    np.testing.assert_allclose(family.mean_of_solutions(T), truth, atol=1e-8)
    assert family.mean_of_solutions(0.5) == pytest.approx(0.02342, abs=5e-6)
    assert family.mean_problem(0.5) == pytest.approx(0.02239, abs=5e-6)
    r, y = family.sample(5, T, seed=3)
    np.testing.assert_allclose(y, exact(T, 1 + r), atol=1e-7)
    np.testing.assert_array_equal(family.sample(5, T, seed=3)[0], r)


def test_unbounded_supports_leave_their_tails() -> None:
    family = problem(stats.norm(0.5, 0.1)).solve_family()
    assert family.status.ok
    np.testing.assert_allclose(family(T, 0.75), exact(T, 1.75), atol=1e-7)
    with pytest.raises(InputError, match=r"r: expected a number between 0\.128.* got 2"):
        family(T, 2.0)


def test_drawn_problems_are_seeded() -> None:
    first, again, other = (problem(seed=seed).solve(sampled=True, steps=200) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.values, again.values)
    assert np.abs(first.values - other.values).max() > 1e-6
    np.testing.assert_allclose(first(T), exact(T, 1.5), atol=5e-3)


def test_more_draws_come_closer_to_the_mean_problem() -> None:
    off = [
        np.median([
            np.abs(problem(seed=s).solve(sampled=True, steps=n)(T) - exact(T, 1.5)).max()
            for s in range(3)
        ])
        for n in (100, 3000)
    ]  # fmt: skip
    assert off[1] < 1e-3 and off[1] < off[0] / 2
    finished = problem().solve(sampled=True, steps=20, finish=20)
    np.testing.assert_allclose(finished(T), exact(T, 1.5), atol=1e-12)


def test_a_family_that_was_not_learned_says_so() -> None:
    narrow = problem(stats.uniform(0, 1), trial=Polynomial(2)).solve_family(degree=1)
    assert not narrow.status.ok and "raise degree" in narrow.status.remedy


def test_the_picture_of_a_family() -> None:
    family = problem(trial=RBF(12)).solve_family()
    ax = family.plot(count=7, title="問題の族")
    assert ax.get_title(loc="left") == "問題の族"
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [
        "7 sampled solutions", "mean of the solutions", "solution of the mean problem"
    ]  # fmt: skip
    assert len(ax.lines) == 9
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), exact(ax.lines[-1].get_xdata(), 1.5),
                               atol=1e-7)  # fmt: skip
    ax.figure.canvas.draw()


@pytest.mark.parametrize(("dim", "error"), [(1, 1e-9), (3, 2e-3), (4, 1e-8), (9, 5e-3)])
@pytest.mark.parametrize("part", [stats.uniform(0, 1), stats.norm(0, 1)], ids=["uniform", "normal"])
def test_expectations_over_many_numbers(part: Any, dim: int, error: float) -> None:
    """``E exp(r_1) r_2^2`` is the product of two expectations, whatever the other numbers."""
    r, q = Ensemble.of([part] * dim).nodes(32)
    assert len(r) <= 2048 and q.sum() == pytest.approx(1.0)
    mean = np.exp(r[:, 0]) * (r[:, 1] ** 2 if dim > 1 else 1)
    first = np.e - 1 if part.support()[0] == 0 else np.exp(0.5)
    truth = first * (part.moment(2) if dim > 1 else 1)
    scattered = dim > 3 and part.support()[0] != 0
    assert q @ mean == pytest.approx(truth, rel=2e-2 if scattered else error)


def test_the_guide_runs() -> None:
    """Every block of the half on variational problems, in one session."""
    text = (Path(__file__).parent.parent / "docs" / "problems.md").read_text("utf-8")
    half = text.split("## Optimal control")[0]
    session: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", half, re.DOTALL):
        exec(block, session)
    assert session["y"].action == pytest.approx(1 + np.sinh(2) / 2, abs=1e-9)
    assert session["y"].status.ok and session["family"].status.ok
    assert session["drawn"](0.5) == pytest.approx(session["one"](0.5), abs=1e-3)
