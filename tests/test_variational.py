"""Variational problems against closed forms, laws of the calculus of variations, and themselves."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import tenkai as tk
from tenkai.problems import (
    RBF,
    GaussLegendre,
    Network,
    PiecewiseConstant,
    Polynomial,
    RightEndpoint,
    Sine,
    Trapezoid,
    VariationalProblem,
)
from tenkai.problems.ensemble import Ensemble

SHORT = Polynomial(12)


def book(t, y, dy):
    return dy**2 - y**2 - t * y


def book_with_r(t, y, dy, r):
    return (1 + r) * dy**2 - y**2 - t * y


def book_exact(t, c=1.0):
    root = np.sqrt(c)
    return np.sin(t / root) / (2 * np.sin(1 / root)) - t / 2


def straight(t, y, dy):
    return dy**2


# Closed forms -----------------------------------------------------------------------------------


def cycloid():
    """Quickest descent from rest at height 0, between two points of the cycloid (Bernoulli)."""
    angle = np.linspace(0.8, 2.6, 60)
    return angle - np.sin(angle), 1 - np.cos(angle)


def great_circle():
    """Shortest way on a sphere, as the angle from the pole over the longitude."""
    phi = np.linspace(0.0, 1.5, 60)
    return phi, np.arctan2(1, 0.7 * np.cos(phi - 0.4))


def catenary():
    """Least area of revolution (Euler 1744)."""
    t = np.linspace(-0.6, 0.9, 60)
    return t, np.cosh(t)


CLASSICS = [
    (lambda t, y, dy: jnp.sqrt((1 + dy**2) / y), *cycloid()),
    (lambda t, y, dy: jnp.sqrt(dy**2 + jnp.sin(y) ** 2), *great_circle()),
    (lambda t, y, dy: y * jnp.sqrt(1 + dy**2), *catenary()),
    (lambda t, y, dy: jnp.sqrt(1 + dy**2), np.array([1.0, 2.0, 4.0]), np.array([3.0, 2.0, 0.0])),
]


@pytest.mark.parametrize(
    ("lagrangian", "t", "y"), CLASSICS, ids=["cycloid", "great circle", "catenary", "line"]
)
def test_the_classics(lagrangian, t, y) -> None:
    found = VariationalProblem(lagrangian, (t[0], t[-1]), (y[0], y[-1])).solve()
    assert found.status.kind == "converged"
    np.testing.assert_allclose(found(t), y, atol=1e-8)
    assert found.relative_residual < 1e-6
    assert found.legendre > 0
    np.testing.assert_allclose(found.boundary_errors, 0, atol=1e-14)


@pytest.fixture(scope="module")
def default():
    return VariationalProblem(book, (0, 1), (0, 0)).solve()


def test_the_default_solver_on_the_books_problem(default) -> None:
    t = np.linspace(0, 1, 501)
    assert np.abs(default(t) - book_exact(t)).max() < 1e-12
    slope = np.cos(t) / (2 * np.sin(1)) - 0.5
    np.testing.assert_allclose(default.derivative(t), slope, atol=1e-10)
    assert default.action == pytest.approx(-0.5 * ((1 - 1 / np.tan(1)) / 2 - 1 / 6), abs=1e-14)
    assert default.loss == default.action
    assert default.relative_residual < 1e-9
    assert default.curvature > 0
    assert np.isnan(default.natural).all()


def test_the_books_recipe_to_the_last_digits() -> None:
    problem = VariationalProblem(
        book, (0, 1), (0, 0), RBF(50, -0.5, 1.95, 20.0, start=1.0), RightEndpoint(100),
        penalty=1000.0,
    )  # fmt: skip
    found = problem.solve(rule=optax.adam(1.0), steps=300, finish=0)
    assert found.loss == pytest.approx(-0.006088545544344969, abs=1e-8)
    assert found.loss == pytest.approx(found.action + 1000 * (found.boundary_errors**2).sum())
    assert np.abs(found(found.time) - book_exact(found.time)).max() < 1.2e-3
    assert found.status.kind == "not converged"  # its wiggles do not solve the equation


# Trials, quadratures, ends ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trial", "atol"), [(Polynomial(8), 1e-11), (RBF(20), 1e-8), (Sine(16), 1e-4)], ids=repr
)
def test_every_linear_trial(trial, atol) -> None:
    found = VariationalProblem(book, (0, 1), (0, 0), trial).solve()
    np.testing.assert_allclose(found.values[:, 0], book_exact(found.time), atol=atol)
    assert found.status.ok or trial == Sine(16)


def test_a_network_as_trial() -> None:
    problem = VariationalProblem(book, (0, 1), (0, 0), Network(8, 1), GaussLegendre(24))
    found = problem.solve(steps=500)
    np.testing.assert_allclose(found.values[:, 0], book_exact(found.time), atol=1e-4)
    assert found.curvature is None


@pytest.mark.parametrize(("rule", "order"), [(RightEndpoint, 1), (Trapezoid, 2)])
def test_quadratures_have_their_order(rule, order) -> None:
    def error(n: int) -> float:
        t, w = rule(n).nodes(-1.0, 2.0)
        return abs(w @ np.exp(t) - (np.exp(2) - np.exp(-1)))

    assert np.log2(error(200) / error(400)) == pytest.approx(order, abs=0.02)


def test_gauss_legendre_is_exact_below_twice_its_nodes() -> None:
    t, w = GaussLegendre(5).nodes(-1.0, 2.0)
    for degree in range(10):
        exact = (2.0 ** (degree + 1) - (-1.0) ** (degree + 1)) / (degree + 1)
        assert w @ t**degree == pytest.approx(exact, rel=1e-13)


def test_a_coarse_quadrature_moves_the_solution_by_its_order() -> None:
    errors = []
    for n in (400, 800):
        found = VariationalProblem(book, (0, 1), (0, 0), Polynomial(4), RightEndpoint(n)).solve()
        errors.append(np.abs(found.values[:, 0] - book_exact(found.time)).max())
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.05)


def test_penalties_approach_the_ends_that_are_built_in() -> None:
    """The end's miss is its momentum over twice the weight."""
    misses = []
    for weight in (1e3, 1e4):
        found = VariationalProblem(book, (0, 1), (0, 0), SHORT, penalty=weight).solve()
        misses.append(np.abs(found.boundary_errors).max())
        assert np.abs(found.values[:, 0] - book_exact(found.time)).max() < 1 / weight
    assert misses[0] / misses[1] == pytest.approx(10, rel=0.01)
    slope = abs(np.cos(1) / (2 * np.sin(1)) - 0.5)
    assert misses[1] == pytest.approx(2 * slope / 2 / 1e4, rel=0.01)


def test_a_free_end_has_no_momentum() -> None:
    problem = VariationalProblem(lambda t, y, dy: y**2 + dy**2, (0, 1), (1.0, None), SHORT)
    found = problem.solve()
    np.testing.assert_allclose(found(1.0), 1 / np.cosh(1), atol=1e-12)
    assert found.action == pytest.approx(np.tanh(1), abs=1e-13)
    assert abs(found.natural[1, 0]) < 1e-10
    assert np.isnan(found.natural[0, 0])
    assert "natural condition" in " ".join(found.status.notes)


def test_a_vector_with_mixed_ends() -> None:
    """Two oscillators: one held at both ends, one free on the right."""
    rates = np.array([1.0, 2.0])
    end = 0.6

    def lagrangian(t, y, dy):
        return jnp.sum(dy**2 - (rates * y) ** 2) / 2

    given = ([0.0, 1.0], [1.0, None])
    found = VariationalProblem(lagrangian, (0, end), given, SHORT).solve()
    t = np.linspace(0, end, 40)
    exact = np.stack([np.sin(t) / np.sin(end), np.cos(2 * (end - t)) / np.cos(2 * end)], 1)
    assert found(t).shape == (40, 2)
    assert found(0.3).shape == (2,)
    np.testing.assert_allclose(found(t), exact, atol=1e-10)
    assert np.isfinite(found.natural).tolist() == [[False, False], [False, True]]
    nan = VariationalProblem(lagrangian, (0, end), ([0.0, 1.0], [1.0, np.nan]), SHORT).solve()
    np.testing.assert_array_equal(nan.values, found.values)


def test_a_guess_picks_the_branch() -> None:
    """A double well with free ends: the path rests in the well where the guess lies."""

    def lagrangian(t, y, dy):
        return dy**2 + (y**2 - 1) ** 2

    for side in (-1.0, 1.0):
        problem = VariationalProblem(
            lagrangian, (0, 3), trial=Polynomial(6), guess=lambda t, s=side: s * (1 + 0.1 * t)
        )
        found = problem.solve()
        np.testing.assert_allclose(found.values, side, atol=1e-6)
        assert found.status.ok


# What is told -----------------------------------------------------------------------------------


def test_the_residual_is_that_of_finite_differences() -> None:
    """On a path that is no solution: too few functions."""
    found = VariationalProblem(
        lambda t, y, dy: dy**2 * (1 + y**2) + jnp.sin(t) * y, (0, 2), (0.2, 1.0), Polynomial(1)
    ).solve()
    t, h = found.time[5:-5:10], 1e-4

    def momentum(t):
        return 2 * found.derivative(t) * (1 + found(t) ** 2)

    change = (momentum(t + h) - momentum(t - h)) / (2 * h)
    force = 2 * found.derivative(t) ** 2 * found(t) + np.sin(t)
    np.testing.assert_allclose(found.residual[5:-5:10, 0], change - force, atol=1e-6)
    assert found.relative_residual > 0.01
    assert found.status.kind == "not converged"
    assert not found.status.ok


@pytest.mark.parametrize(
    ("lagrangian", "interval", "boundary"),
    [
        (lambda t, y, dy: dy**2 - 16 * y**2, (0, np.pi), (0, 0)),
        (lambda t, y, dy: dy**2 - 16 * y**2, (0, 1), (0, 1)),
        (lambda t, y, dy: dy**2 - (1.02 * np.pi * y) ** 2, (0, 1), (0, 0)),
        (lambda t, y, dy: y, (0, 1), (0, 0)),
        (lambda t, y, dy: -(dy**2), (0, 1), (0, 1)),
        (lambda t, y, dy: dy**2 - y, (0, 1), (None, None)),
    ],
    ids=["at rest", "forced", "just beyond the conjugate point", "linear", "maximum", "free"],
)
def test_a_problem_without_a_minimum_says_so(lagrangian, interval, boundary) -> None:
    found = VariationalProblem(lagrangian, interval, boundary, SHORT).solve()
    assert found.status.kind == "unbounded"
    assert not found.status.ok
    assert "conjugate" in str(found.status)


def test_just_before_the_conjugate_point_there_is_a_minimum() -> None:
    found = VariationalProblem(
        lambda t, y, dy: dy**2 - (0.98 * np.pi * y) ** 2, (0, 1), (0, 1), SHORT
    ).solve()
    assert found.status.kind == "converged"
    t = np.linspace(0, 1, 30)
    np.testing.assert_allclose(
        found(t), np.sin(0.98 * np.pi * t) / np.sin(0.98 * np.pi), rtol=1e-5, atol=1e-5
    )


def test_a_straight_line_has_no_residual_although_it_has_no_forces() -> None:
    for ends in ((0, 0), (2.0, 5.0)):
        found = VariationalProblem(straight, (0, 2), ends, SHORT).solve()
        assert found.status.ok
        assert found.relative_residual < 1e-8


def test_a_record_is_a_table_and_a_picture(default) -> None:
    frame = default.to_frame()
    assert list(frame.columns) == ["time", "y", "dy", "residual y"]
    assert len(frame) == len(default.time)
    np.testing.assert_array_equal(np.asarray(default), default.values)
    above, below = default.plot()
    assert above.figure is below.figure
    assert default(0.5).shape == ()
    assert default([[0.1, 0.2]]).shape == (1, 2)


# Errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"interval": (1, 0)}, "interval: expected two finite times"),
        ({"interval": (0, np.inf)}, "interval: expected two finite times"),
        ({"interval": 3}, "interval: expected two finite times"),
        ({"boundary": (0, [1, 2])}, "boundary: expected finite ends of one shape"),
        ({"boundary": 0}, "boundary: expected two ends"),
        ({"boundary": (0, "a")}, "boundary: expected numbers"),
        ({"boundary": (0, np.inf)}, "boundary: expected finite ends"),
        ({"lagrangian": lambda t, y: y}, r"lagrangian: expected a function L\(t, y, dy\)"),
        ({"lagrangian": book_with_r}, r"lagrangian: expected a function L\(t, y, dy\)"),
        ({"r": stats.uniform()}, r"lagrangian: expected a function L\(t, y, dy, r\)"),
        ({"lagrangian": lambda t, y, dy: jnp.ones(3) * y}, r"got float32 of shape \(3,\)"),
        ({"lagrangian": lambda t, y, dy: 1j * y}, "one real number"),
        ({"lagrangian": lambda t, y, dy: y[0]}, r"lagrangian: expected L\(t, y, dy\) in JAX"),
        ({"lagrangian": lambda t, y, dy: jnp.log(y) + dy**2}, "lagrangian: expected finite values"),
        ({"trial": PiecewiseConstant(4)}, "trial: expected differentiable functions"),
        ({"trial": 8}, "trial: expected differentiable functions"),
        ({"quadrature": 100}, "quadrature: expected GaussLegendre"),
        ({"quadrature": RightEndpoint(0)}, "quadrature: expected a positive number"),
        ({"penalty": -1.0}, "penalty: expected a positive weight"),
        ({"r": 3}, "r: expected a frozen continuous"),
        ({"r": stats.poisson(3)}, "r: expected a frozen continuous"),
        ({"trial": Network(4), "guess": lambda t: t}, "guess: expected a trial that is linear"),
    ],
)
def test_what_does_not_fit_together_is_one_line(changed, match) -> None:
    given = {"lagrangian": book, "interval": (0, 1), "boundary": (0, 0)} | changed
    with pytest.raises(tk.InputError, match=match) as error:
        VariationalProblem(**given).solve()
    assert "\n" not in str(error.value)


def test_what_asks_for_an_ensemble_says_so() -> None:
    problem = VariationalProblem(book, (0, 1), (0, 0))
    with pytest.raises(tk.InputError, match="sampled: expected an ensemble"):
        problem.solve(sampled=True)
    with pytest.raises(tk.InputError, match="solve_family: expected an ensemble"):
        problem.solve_family()
    ensemble = {"lagrangian": book_with_r, "boundary": (0, 0), "r": stats.uniform()}
    with pytest.raises(tk.InputError, match=r"solve_family: .*got penalties"):
        VariationalProblem(**ensemble, penalty=10.0).solve_family()
    with pytest.raises(tk.InputError, match="trial: expected one that is linear"):
        VariationalProblem(**ensemble, trial=Network(4)).solve_family()


# Ensembles --------------------------------------------------------------------------------------


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
    problem = VariationalProblem(book_with_r, (0, 1), (0, 0), r=stats.uniform(0, 1))
    return problem.solve_family()


def test_the_mean_problem_is_not_the_mean_of_the_solutions(family) -> None:
    t = np.linspace(0, 1, 51)
    np.testing.assert_allclose(family.mean_problem(t), book_exact(t, 1.5), atol=1e-12)
    mean = np.mean([book_exact(t, 1 + r) for r in (np.arange(400) + 0.5) / 400], axis=0)
    np.testing.assert_allclose(family.mean_of_solutions(t), mean, atol=1e-4)
    assert np.abs(mean - book_exact(t, 1.5)).max() > 9e-4


def test_the_family_knows_every_problem(family) -> None:
    t, r = np.linspace(0, 1, 51), np.linspace(0, 1, 33)
    exact = np.array([book_exact(t, 1 + one) for one in r])
    np.testing.assert_allclose(family(t, r), exact, atol=1e-7)
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
    problem = VariationalProblem(book_with_r, (0, 1), (0, 0), Polynomial(6), r=stats.uniform(0, 1))
    found = problem.solve(sampled=True)
    again = problem.solve(sampled=True)
    np.testing.assert_array_equal(found.values, again.values)
    np.testing.assert_allclose(found.values[:, 0], book_exact(found.time, 1.5), atol=2e-3)


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
    exact = np.stack([shape, r[:, 1:] / w**2 * (1 - shape)], axis=-1)
    assert found(t, r).shape == (2, 21, 2)
    assert found(t, r[0]).shape == (21, 2)
    np.testing.assert_allclose(found(t, r), exact, atol=1e-4)
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
