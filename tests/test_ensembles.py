"""Ensembles of variational problems: expectations, the mean problem, whole families."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import tenkai as tk
from tenkai.problems import Network, Polynomial, VariationalProblem
from tenkai.problems.ensemble import Ensemble


def with_r(t, y, dy, r):
    return (1 + r) * dy**2 - y**2 - t * y


def exact(t, c):
    """The solution where c multiplies ``y'^2``."""
    root = np.sqrt(c)
    return np.sin(t / root) / (2 * np.sin(1 / root)) - t / 2


def test_what_asks_for_an_ensemble_says_so() -> None:
    problem = VariationalProblem(lambda t, y, dy: dy**2, (0, 1), (0, 0))
    with pytest.raises(tk.InputError, match="solve_family: expected an ensemble"):
        problem.solve_family()
    ensemble = {"lagrangian": with_r, "boundary": (0, 0), "r": stats.uniform()}
    with pytest.raises(tk.InputError, match=r"solve_family: .*got penalties"):
        VariationalProblem(**ensemble, penalty=10.0).solve_family()
    with pytest.raises(tk.InputError, match="trial: expected one that is linear"):
        VariationalProblem(**ensemble, trial=Network(4)).solve_family()


@pytest.mark.parametrize("r", [3, stats.poisson(3), [stats.norm(), "uniform"]])
def test_what_is_no_continuous_distribution_is_refused(r) -> None:
    with pytest.raises(tk.InputError, match="r: expected a frozen continuous"):
        VariationalProblem(with_r, (0, 1), (0, 0), r=r)


def test_a_lagrangian_takes_r_where_there_is_one() -> None:
    with pytest.raises(tk.InputError, match=r"expected a function L\(t, y, dy, r\)"):
        VariationalProblem(lambda t, y, dy: dy**2, (0, 1), (0, 0), r=stats.uniform())
    with pytest.raises(tk.InputError, match=r"expected a function L\(t, y, dy\)"):
        VariationalProblem(with_r, (0, 1), (0, 0))


@pytest.mark.parametrize(
    "part",
    [stats.norm(1, 2), stats.expon(), stats.lognorm(0.5), stats.uniform(1, 2), stats.beta(2, 3)],
    ids=lambda part: part.dist.name,
)
def test_expectations_over_a_distribution(part) -> None:
    r, q = Ensemble.of(part).nodes(32)
    assert q.sum() == pytest.approx(1, abs=1e-12)
    assert q @ r[:, 0] == pytest.approx(part.mean(), abs=1e-8)
    assert q @ r[:, 0] ** 2 == pytest.approx(part.moment(2), rel=1e-8)


def test_samples_follow_the_distribution_and_the_box_cuts_only_tails() -> None:
    ensemble = Ensemble.of([stats.norm(1, 2), stats.uniform(0, 1)])
    drawn = ensemble.sample(4000, 0)
    assert stats.kstest(drawn[:, 0], stats.norm(1, 2).cdf).pvalue > 1e-3
    assert stats.kstest(drawn[:, 1], stats.uniform(0, 1).cdf).pvalue > 1e-3
    low, high = ensemble.box
    assert (ensemble.inner(4000, 0) >= low).all()
    assert (ensemble.inner(4000, 0) <= high).all()
    np.testing.assert_allclose([low[1], high[1]], [0, 1])


@pytest.fixture(scope="module")
def family():
    problem = VariationalProblem(with_r, (0, 1), (0, 0), r=stats.uniform(0, 1))
    return problem.solve_family()


def test_the_mean_problem_is_not_the_mean_of_the_solutions(family) -> None:
    t = np.linspace(0, 1, 51)
    np.testing.assert_allclose(family.mean_problem(t), exact(t, 1.5), atol=1e-12)
    mean = np.mean([exact(t, 1 + r) for r in (np.arange(400) + 0.5) / 400], axis=0)
    np.testing.assert_allclose(family.mean_of_solutions(t), mean, atol=1e-4)
    assert np.abs(mean - exact(t, 1.5)).max() > 9e-4


def test_the_family_knows_every_problem(family) -> None:
    t, r = np.linspace(0, 1, 51), np.linspace(0, 1, 33)
    expected = np.array([exact(t, 1 + one) for one in r])
    np.testing.assert_allclose(family(t, r), expected, atol=1e-7)
    assert family.status.kind == "converged"
    assert family.residual.max() < 1e-4
    assert family(0.5, 0.3).shape == ()
    assert family(t, 0.3).shape == (51,)
    assert family(0.5, r).shape == (33,)
    np.testing.assert_allclose(family(t, r)[7], family(t, r[7]), rtol=1e-12, atol=1e-16)
    drawn, solutions = family.sample(5, t, seed=1)
    np.testing.assert_allclose(solutions, family(t, drawn[:, 0]))
    assert len(family.plot().lines) >= 52


@pytest.mark.parametrize("r", [-0.1, 1.2, np.nan, [0.5, 2.0]])
def test_a_problem_outside_the_support_is_one_line(family, r) -> None:
    with pytest.raises(tk.InputError, match="r: expected a number between 0 and 1") as error:
        family(0.5, r)
    assert "\n" not in str(error.value)


def test_one_problem_per_step_learns_the_mean_problem() -> None:
    problem = VariationalProblem(with_r, (0, 1), (0, 0), Polynomial(6), r=stats.uniform(0, 1))
    found = problem.solve(sampled=True)
    again = problem.solve(sampled=True)
    np.testing.assert_array_equal(found.values, again.values)
    np.testing.assert_allclose(found.values[:, 0], exact(found.time, 1.5), atol=2e-3)


def test_a_family_of_vectors_over_two_numbers_with_a_free_end() -> None:
    """``|y'|^2 / 2 + w^2 |y|^2 / 2`` from (1, r1), right end free: cosh(w (1 - t)) / cosh w."""

    def lagrangian(t, y, dy, r):
        return (jnp.sum(dy**2) + r[0] * jnp.sum(y**2)) / 2 - r[1] * y[1]

    problem = VariationalProblem(
        lagrangian, (0, 1), ([1.0, 0.0], [None, None]),
        r=[stats.uniform(0.5, 1), stats.norm(0, 0.5)],
    )  # fmt: skip
    found = problem.solve_family(trial=Polynomial(5), degree=4)
    assert found.status.ok
    t, r = np.linspace(0, 1, 21), np.array([[0.7, 0.4], [1.2, -0.9]])
    w = np.sqrt(r[:, :1])
    shape = np.cosh(w * (1 - t)) / np.cosh(w)
    expected = np.stack([shape, r[:, 1:] / w**2 * (1 - shape)], axis=-1)
    assert found(t, r).shape == (2, 21, 2)
    assert found(t, r[0]).shape == (21, 2)
    np.testing.assert_allclose(found(t, r), expected, atol=1e-4)
    with pytest.raises(tk.InputError, match="r: expected 2 numbers"):
        found(t, 0.7)


def test_a_family_with_hopeless_problems_says_so() -> None:
    problem = VariationalProblem(
        lambda t, y, dy, r: dy**2 - r * y**2 - t * y, (0, 1), (0, 0), Polynomial(6),
        r=stats.uniform(5, 10),
    )  # fmt: skip
    found = problem.solve_family(degree=4)
    assert not found.status.ok
    assert found.status.kind == "unbounded"
