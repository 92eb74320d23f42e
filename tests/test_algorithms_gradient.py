"""Laws of learned gradient, stationary and consensus iterations and of what they begin with."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import lsq_linear

from tenkai import InputError
from tenkai.algorithms import (
    box_problems,
    chebyshev_radius,
    chebyshev_semi_iteration,
    chebyshev_steps,
    conjugate_gradients,
    consensus,
    consensus_problems,
    descent,
    gradient_descent,
    heavy_ball,
    jacobi,
    laplacian,
    least_squares_problems,
    linear_systems,
    optimal_relaxation,
    projected_gradient,
    relaxation,
    ridge,
    sor,
)
from tenkai.reproduce import du_consensus, du_gd, du_psor

RNG = np.random.default_rng(0)
A = RNG.normal(size=(12, 5))
Y = RNG.normal(size=(7, 12))
P = A.T @ A + np.eye(5)
Q = RNG.normal(size=(7, 5))
RING = np.roll(np.eye(6), 1, 0) + np.roll(np.eye(6), -1, 0)


@pytest.mark.parametrize(("low", "high"), [(1.0, 100.0), (0.3, 0.4), (2.0, 2.0)])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_radius_of_chebyshev_steps_is_the_formula(low: float, high: float, count: int) -> None:
    z = np.linspace(low, high, 2001)
    for stable in (False, True):
        steps = chebyshev_steps(low, high, count, stable=stable)
        radius = np.abs(np.prod(1 - np.outer(z, steps), axis=1)).max()
        assert radius == pytest.approx(chebyshev_radius(low, high, count), rel=1e-5, abs=1e-12)


def test_chebyshev_steps_beat_any_other_steps_in_the_worst_case() -> None:
    z, best = np.linspace(1, 100, 500), chebyshev_radius(1, 100, 3)
    rng = np.random.default_rng(1)
    for _ in range(100):
        steps = chebyshev_steps(1, 100, 3) * rng.normal(1, 0.1, 3)
        assert np.abs(np.prod(1 - np.outer(z, steps), axis=1)).max() > best


def test_stable_order_keeps_many_steps_from_growing_errors() -> None:
    diagonal = np.linspace(1, 400, 60)
    x = np.ones(60)
    for eta in chebyshev_steps(1, 400, 100, stable=True):
        x = x - eta * diagonal * x
    assert np.abs(x).max() <= 1.001 * chebyshev_radius(1, 400, 100)


def test_semi_iteration_equals_chebyshev_steps_at_every_depth() -> None:
    values = np.linalg.svd(A, compute_uv=False) ** 2
    path = heavy_ball(A, layers=6).path(Y)
    for depth in (1, 2, 5, 6):
        steps = chebyshev_steps(values[-1], values[0], depth)
        plain = gradient_descent(A, layers=depth).with_parameters(eta=steps)
        np.testing.assert_allclose(path[depth], plain(Y), atol=1e-10)
    eta, beta = chebyshev_semi_iteration(2.0, 2.0, 3)
    np.testing.assert_array_equal((eta, beta), (np.full(3, 0.5), np.zeros(3)))


def test_tied_heavy_ball_is_polyaks() -> None:
    made = heavy_ball(A, 0.5, tied=True, layers=200)
    eta, beta = (made.parameters_[k][0] for k in ("eta", "beta"))
    values = np.linalg.svd(A, compute_uv=False) ** 2 + 0.5
    for z in (values[0], values[-1]):  # both ends of the spectrum decay alike, at sqrt(beta)
        roots = np.roots([1, -(1 + beta - eta * z), beta])
        np.testing.assert_allclose(np.abs(roots), np.sqrt(beta), rtol=1e-4)
    exact = np.linalg.solve(A.T @ A + 0.5 * np.eye(5), A.T @ Y.T).T
    np.testing.assert_allclose(made(Y), exact, atol=1e-10)


def energy(x: np.ndarray) -> np.ndarray:
    """The objective above its minimum, (batch,)."""
    apart = x - Y @ np.linalg.pinv(A).T
    return np.sum((apart @ A.T) ** 2, axis=-1)


def test_conjugate_gradients_bound_every_method_and_end() -> None:
    path = conjugate_gradients(A, Y, 7)
    np.testing.assert_allclose(path[5:], np.broadcast_to(path[5], (3, 7, 5)), atol=1e-9)
    np.testing.assert_allclose(path[5], Y @ np.linalg.pinv(A).T, atol=1e-9)
    other = heavy_ball(A, layers=4).path(Y)
    for depth in range(5):
        assert np.all(energy(path[depth]) <= energy(other[depth]) + 1e-12)
    weighted = conjugate_gradients(A, Y, 6, weight=2.0)[-1]
    np.testing.assert_allclose(weighted @ (A.T @ A + 2 * np.eye(5)), Y @ A, atol=1e-9)


@pytest.mark.parametrize("shape", [(12, 5), (3, 9)])  # by A^H A at once, and factor by factor
@pytest.mark.parametrize("complex_", [False, True])
def test_gradient_descent_is_the_formula(shape: tuple[int, int], complex_: bool) -> None:
    rng = np.random.default_rng(2)
    B = rng.normal(size=shape) + (1j * rng.normal(size=shape) if complex_ else 0)
    y = rng.normal(size=(2, shape[0])).astype(B.dtype)
    eta = np.array([0.01, 0.03, 0.02])
    made = gradient_descent(B, layers=3).with_parameters(eta=eta)
    x = np.zeros((2, shape[1]), B.dtype)
    for step in eta:
        x = x - step * (x @ B.T - y) @ B.conj()
    np.testing.assert_allclose(made(y), x, atol=1e-12)
    long = gradient_descent(B, layers=400, tied=20)
    np.testing.assert_allclose(long(y), y @ np.linalg.pinv(B).T, atol=1e-6)


def test_descent_of_any_objective_real_and_complex() -> None:
    def bowl(x: Any, y: Any) -> Any:
        return jnp.sum(jnp.abs(x - y) ** 2) / 2

    for y in (np.ones((1, 2)), np.full((1, 2), 1 + 2j)):
        made = descent(bowl, jnp.zeros_like, eta=0.5, layers=3)
        np.testing.assert_allclose(made(y), (1 - 0.5**3) * y)


def test_ridge_solves_its_problem_and_begins_alike_with_learned_weights() -> None:
    exact = np.linalg.solve(A.T @ A + 3 * np.eye(5), A.T @ Y.T).T
    for learn in (False, True):
        np.testing.assert_allclose(ridge(A, 3.0, learn_weight=learn, layers=40)(Y), exact)
    y, x = ridge(A, 3.0).draw(least_squares_problems(A, 3.0), 7)
    np.testing.assert_allclose(x @ (A.T @ A + 3 * np.eye(5)), y @ A, atol=1e-12)


def test_projected_gradient_stays_in_the_box_and_solves_its_problem() -> None:
    made = projected_gradient(A, -0.1, 0.2, layers=500)
    path = made.path(3 * Y, layers=500)
    assert path.min() >= -0.1 and path.max() <= 0.2
    for y, x in zip(3 * Y, path[-1], strict=True):
        np.testing.assert_allclose(x, lsq_linear(A, y, (-0.1, 0.2), tol=1e-13).x, atol=1e-7)


def test_box_problems_are_solved_to_rounding() -> None:
    low, high = np.full(5, -0.1), np.linspace(0.1, 0.3, 5)
    y, x = projected_gradient(A, low, high).draw(box_problems(A, low, high), 50)
    assert np.all((x >= low) & (x <= high)) and np.any(x == low) and np.any(x == high)
    slope = (x @ A.T - y) @ A  # zero inside, towards the bound at a bound
    np.testing.assert_allclose(slope[(x > low) & (x < high)], 0, atol=1e-12)
    assert np.all(slope[x == low] > 0) and np.all(slope[x == high] < 0)


def test_solutions_are_fixed_points_of_stationary_iterations() -> None:
    exact = np.linalg.solve(P, Q.T).T
    for made in (jacobi(P), sor(P)):
        with jax.enable_x64(True):
            layer = du_gd.Layer({"omega": 1.3}, Q[0], 0)
            np.testing.assert_allclose(made.iteration.step(exact[0], layer), exact[0])
    np.testing.assert_allclose(sor(P, omega=1.0, layers=80)(Q), exact, atol=1e-8)
    np.testing.assert_allclose(jacobi(P, layers=60, tied=10)(Q), exact, atol=1e-8)
    y, x = jacobi(P).draw(linear_systems(P), 5)
    np.testing.assert_allclose(x @ P, y, atol=1e-10)


def test_jacobi_without_positive_spectrum_begins_plain() -> None:
    turn = np.array([[1.0, -0.5], [0.5, 1.0]])
    np.testing.assert_array_equal(jacobi(turn, layers=3).parameters_["omega"], np.ones(3))
    np.testing.assert_allclose(jacobi(turn, layers=80)(np.ones((1, 2))) @ turn.T, 1)


def test_youngs_factor_is_the_best_one() -> None:
    n = 12
    poisson = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    best = optimal_relaxation(poisson)

    def radius(omega: float) -> float:
        diagonal, lower = np.diag(np.diag(poisson)), np.tril(poisson, -1)
        move = np.eye(n) - np.linalg.solve(diagonal / omega + lower, poisson)
        return float(np.abs(np.linalg.eigvals(move)).max())

    assert radius(best) == pytest.approx(best - 1, abs=1e-3)
    assert radius(best) < min(radius(best - 0.02), radius(best + 0.02))


def test_relaxation_of_a_nonlinear_map() -> None:
    made = relaxation(lambda x, y: jnp.cos(x) + y, 0.0, omega=0.6, layers=60)
    x = made(np.linspace(-1, 1, 5))
    np.testing.assert_allclose(x, np.cos(x) + np.linspace(-1, 1, 5), atol=1e-10)


@pytest.mark.parametrize("graph", [RING, laplacian(RING), 3 * RING])
def test_consensus_preserves_the_mean_and_reaches_it(graph: np.ndarray) -> None:
    x = RNG.normal(size=(4, 6))
    path = consensus(graph, layers=20).path(x)
    mean = x.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(path.mean(axis=-1), np.broadcast_to(mean[:, 0], (21, 4)))
    np.testing.assert_allclose(path[-1], np.broadcast_to(mean, (4, 6)), atol=1e-6)
    several = consensus(graph, layers=20)(np.stack([x, 2 * x], axis=-1))  # (batch, n, dim)
    np.testing.assert_allclose(several[..., 1], 2 * path[-1], atol=1e-12)


def test_the_karate_club() -> None:
    club = du_consensus.karate_club()
    rates = np.linalg.eigvalsh(laplacian(club))
    assert club.sum() == 2 * 78 and club.sum(0).max() == 17
    np.testing.assert_allclose(rates[[1, -1]], [0.468525, 18.136696], atol=1e-6)


@pytest.mark.parametrize("name", ["gradient", "relaxation", "consensus"])
def test_learned_is_at_most_half_the_best_fixed_step(name: str) -> None:
    made, problems, parameter, values = {
        "gradient": lambda: (
            gradient_descent(A, layers=8), least_squares_problems(A), "eta",
            np.linspace(0.001, 0.2, 200),
        ),
        "relaxation": lambda: (
            jacobi(P, layers=6), linear_systems(P), "omega", np.linspace(0.01, 2, 200),
        ),
        "consensus": lambda: (
            consensus(du_consensus.karate_club(), layers=10), consensus_problems(34), "eta",
            np.linspace(0.001, 0.2, 200),
        ),
    }[name]()  # fmt: skip
    fixed = made.best_fixed(*made.draw(problems, 100, seed=2), values, name=parameter).value
    test = made.draw(problems, 300)
    baseline = made.with_parameters(**{parameter: fixed}).error(*test)[-1]
    before = made.error(*test)[-1]
    learned = made.fit(problems, steps=300, batch=50).error(*test)[-1]
    assert learned <= 0.5 * baseline and learned < 0.95 * before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chebyshev_steps(0.0, 1.0, 3), "eigenvalues: expected 0 < low <= high"),
        (lambda: chebyshev_semi_iteration(2.0, 1.0, 3), "eigenvalues: expected 0 < low <= high"),
        (lambda: gradient_descent(np.ones(3)), r"matrix: expected .* got shape \(3,\)"),
        (lambda: ridge(A, -1.0), "weight: expected a number above 0"),
        (lambda: projected_gradient(A, 1.0, 0.0), "low, high: expected low < high"),
        (lambda: projected_gradient(A, np.zeros(3)), r"numbers or \(5,\)"),
        (lambda: box_problems(A.T), "full column rank"),
        (lambda: jacobi(A), "a square one without zeros on its diagonal"),
        (lambda: sor(np.array([[0.0, 1.0], [1.0, 0.0]])), "without zeros on its diagonal"),
        (lambda: consensus(np.ones((2, 3))), "graph: expected a symmetric matrix"),
        (lambda: consensus(np.eye(3)), "weights of at least 0 and no loops"),
        (lambda: consensus(-RING), "weights of at least 0"),
        (lambda: consensus(np.kron(np.eye(2), RING)), "one connected graph; got several parts"),
    ],
)
def test_border(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_reproduced_quadratic_and_fixed_points() -> None:
    curves, steps = du_gd.quadratic(1)
    rows = {r.quantity: r for r in du_gd.rows(curves, {"T=3": 0.1537}, "quadratic")}
    learned = rows["final MSE (book's recipe), quadratic, T=3"].ours
    assert learned is not None and learned < 0.25  # a published batch of 50 has sd .036
    assert learned < 0.5 * (rows["baseline MSE, quadratic, best fixed step"].ours or 0)
    radii = [row.ours for row in du_gd.radii(steps)]
    np.testing.assert_allclose(radii[:2], [0.84264, 0.94176], atol=1e-5)
    ends = {k: v[-1] for k, v in du_psor.fixed_points(1)[0][0].items()}
    assert ends["T=2"] <= 1.2 * 6.2e-6 and ends["T=4"] <= 1.2 * 1.9e-7
    assert ends["T=4"] < ends["T=2"] < 0.5 * ends["best fixed step"]
