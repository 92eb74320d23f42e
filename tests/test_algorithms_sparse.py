"""Laws of the sparse and binary algorithms: shrinkages, convergence, what learning gains."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate, optimize

import tenkai as tk
from tenkai import InputError
from tenkai.algorithms import (
    binary_problems,
    fista,
    ista,
    linear_mmse,
    lista,
    mmse_shrinkage,
    soft,
    soft_projected,
    sparse_problems,
    symbol_errors,
    tista,
    zero_forcing,
)

rng = np.random.default_rng(0)
A = rng.normal(size=(20, 40))
C = (rng.normal(size=(20, 40)) + 1j * rng.normal(size=(20, 40))) / np.sqrt(2)
WEIGHT = 2.0
SINGLE = {"precision": "float32"}


def some(matrix: np.ndarray, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return ista(matrix).draw(sparse_problems(matrix, 0.1, 0.1), count)


def objective(matrix: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The LASSO's, per problem; x may have a leading axis of iterations."""
    misfit = np.sum(np.abs(y - x @ matrix.T) ** 2, -1) / 2
    return misfit + WEIGHT * np.sum(np.abs(x), -1)


@pytest.mark.parametrize("x", [-3.0, -0.4, 0.0, 0.7, 2.5])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_the_soft_threshold_is_the_proximal_operator(x: float, threshold: float) -> None:
    def cost(z: float) -> float:
        return (z - x) ** 2 / 2 + threshold * abs(z)

    found = optimize.minimize_scalar(
        cost, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9}
    )
    with jax.enable_x64(True):
        assert cost(float(soft(x, threshold))) <= found.fun + 1e-12


def test_the_soft_threshold_of_complex_numbers_keeps_the_phase() -> None:
    with jax.enable_x64(True):
        z = np.asarray(soft(jnp.array([3 + 4j, 0.3 - 0.4j, 0.0]), 1.0))
        slope = jax.grad(lambda t: jnp.abs(soft(jnp.array(0j), t)))(0.5)
    np.testing.assert_allclose(z, [0.8 * (3 + 4j), 0, 0], atol=1e-12)
    assert np.isfinite(slope)


DENSITY, VARIANCE, NOISE = 0.1, 1.7, 0.2


def joint(r: float, power: int) -> float:
    """The integral of ``x^power p(x) N(r; x, NOISE)`` over the Gaussian part of the prior."""

    def integrand(x: float) -> float:
        prior = np.exp(-(x**2) / (2 * VARIANCE)) / np.sqrt(VARIANCE)
        return x**power * prior * np.exp(-((r - x) ** 2) / (2 * NOISE)) / np.sqrt(NOISE)

    return DENSITY * integrate.quad(integrand, -12, 12, points=(0.0, r), epsabs=1e-13)[0]


@pytest.mark.parametrize("r", [-2.0, -0.5, 0.0, 0.3, 1.2, 4.0])
def test_the_mmse_shrinkage_is_the_conditional_mean(r: float) -> None:
    zero = (1 - DENSITY) * np.sqrt(2 * np.pi) * np.exp(-(r**2) / (2 * NOISE)) / np.sqrt(NOISE)
    with jax.enable_x64(True):
        ours = float(mmse_shrinkage(r, NOISE, DENSITY, VARIANCE))
    assert ours == pytest.approx(joint(r, 1) / (joint(r, 0) + zero), abs=1e-9)


def test_the_mmse_shrinkage_is_a_step_along_the_log_density() -> None:
    def log_density(r: jax.Array) -> jax.Array:
        parts = [
            jnp.log(weight) - r**2 / (2 * v) - jnp.log(v) / 2
            for weight, v in ((1 - DENSITY, NOISE), (DENSITY, NOISE + VARIANCE))
        ]
        return jnp.logaddexp(*parts)

    with jax.enable_x64(True):
        r = jnp.linspace(-5, 5, 41)
        step = r + NOISE * jax.vmap(jax.grad(log_density))(r)
        np.testing.assert_allclose(mmse_shrinkage(r, NOISE, DENSITY, VARIANCE), step, atol=1e-12)


def test_the_mmse_shrinkage_has_the_least_error_for_complex_signals_too() -> None:
    draw = np.random.default_rng(1)

    def normal(n: int) -> np.ndarray:
        return (draw.normal(size=n) + 1j * draw.normal(size=n)) / np.sqrt(2)

    x = normal(40_000) * (draw.random(40_000) < DENSITY)
    r = x + np.sqrt(NOISE) * normal(40_000)
    with jax.enable_x64(True):
        best = np.asarray(mmse_shrinkage(r, NOISE, DENSITY))
        softened = [np.asarray(soft(r, t)) for t in np.linspace(0, 2, 21)]
    # Orthogonality: the error of a conditional mean is uncorrelated with every function of r.
    assert abs(np.mean((x - best) * np.conj(best))) < 3e-3
    assert np.mean(abs(x - best) ** 2) < min(np.mean(abs(x - s) ** 2) for s in softened)


@pytest.mark.parametrize("matrix", [A, C], ids=["real", "complex"])
def test_ista_descends_to_the_lasso_solution(matrix: np.ndarray) -> None:
    y, _ = some(matrix)
    model = ista(matrix, WEIGHT, layers=3000)
    costs = objective(matrix, y, model.path(y))
    assert (np.diff(costs, axis=0) <= 1e-12).all()
    # Optimal: the gradient lies in the subdifferential of the 1-norm.
    x = model(y)
    gradient = (y - x @ matrix.T) @ matrix.conj()
    assert (np.abs(gradient) <= WEIGHT + 1e-6).all()
    at = np.abs(x) > 1e-6
    np.testing.assert_allclose(
        gradient[at], WEIGHT * (x / np.abs(np.where(at, x, 1)))[at], atol=1e-5
    )


def test_ista_and_fista_find_what_scikit_learn_finds() -> None:
    from sklearn.linear_model import Lasso

    y, _ = some(A)
    judge = Lasso(alpha=WEIGHT / len(A), fit_intercept=False, tol=1e-12, max_iter=100_000)
    theirs = np.stack([judge.fit(A, row).coef_ for row in y])
    np.testing.assert_allclose(fista(A, WEIGHT, 2000)(y), theirs, atol=1e-6)
    np.testing.assert_allclose(ista(A, WEIGHT, 6000)(y), theirs, atol=1e-6)


def test_fista_keeps_its_bound_and_overtakes_ista() -> None:
    y, _ = some(A)
    best = objective(A, y, fista(A, WEIGHT, 4000)(y))
    slow, fast = (objective(A, y, f(A, WEIGHT, 200).path(y)) - best for f in (ista, fista))
    solution = fista(A, WEIGHT, 4000)(y)
    bound = 2 * np.linalg.norm(A, 2) ** 2 * np.sum(solution**2, -1)
    k = np.arange(1, 201)[:, None]
    assert (fast[1:] <= bound / (k + 1) ** 2 + 1e-9).all()
    assert fast[50].mean() < slow[50].mean() / 3
    assert fast[100].mean() < slow[100].mean() / 10


@pytest.mark.parametrize("matrix", [A, C], ids=["real", "complex"])
def test_untrained_lista_is_ista(matrix: np.ndarray) -> None:
    y, _ = some(matrix)
    classical, learned = (f(matrix, WEIGHT, 10) for f in (ista, lista))
    np.testing.assert_allclose(learned.path(y), classical.path(y), atol=1e-12)


def test_thresholds_that_follow_the_step_are_the_same_algorithm() -> None:
    y, _ = some(A)
    free, bound = (ista(A, WEIGHT, 10, thresholds=t) for t in (True, False))
    assert set(free.parameters_) == {"step", "threshold"}
    assert set(bound.parameters_) == {"step"}
    np.testing.assert_allclose(free(y), bound(y), atol=1e-12)


@pytest.mark.parametrize("matrix", [A, C], ids=["real", "complex"])
@pytest.mark.parametrize("of", [ista, lista, "tista"], ids=["ista", "lista", "tista"])
def test_learning_beats_the_best_fixed_step(matrix: np.ndarray, of) -> None:
    problems = sparse_problems(matrix, 0.05, 0.1)
    options = {"layers": 6} | SINGLE
    model = tista(matrix, 0.05, 0.1, **options) if of == "tista" else of(matrix, WEIGHT, **options)
    y, x = model.draw(problems, 400)
    rate = {"tista": 0.02, ista: 1e-3, lista: 2e-3}[of]
    model.fit(problems, steps=100, batch=100, incremental=True, rule=optax.adam(rate))
    fixed = ista(matrix, WEIGHT, thresholds=False, **options)
    scale = fixed.parameters_["step"][0]
    best = fixed.best_fixed(y, x, np.linspace(0.1, 3, 50) * scale)
    assert model.fit_.status.ok
    assert model.error(y, x)[-1] < best.error[-1] / 2
    assert all(np.isfinite(v).all() for v in model.parameters_.values())


def test_the_sampler_draws_what_it_says() -> None:
    problems = sparse_problems(C, 0.2, 0.3, variance=4.0)
    y, x = ista(C).draw(problems, 4000)
    noise = y - x @ C.T
    assert np.mean(x != 0) == pytest.approx(0.2, abs=0.005)
    assert np.mean(np.abs(x[x != 0]) ** 2) == pytest.approx(4, rel=0.05)
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(0.09, rel=0.03)
    assert abs(np.mean(noise**2)) < 0.003  # circular
    again = ista(C).draw(problems, 4000)
    np.testing.assert_array_equal(again[0], y)


def test_training_is_deterministic() -> None:
    problems = sparse_problems(A)
    one, two = (ista(A, layers=3).fit(problems, steps=5, incremental=True) for _ in range(2))
    for name, values in one.parameters_.items():
        np.testing.assert_array_equal(values, two.parameters_[name])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ista(np.zeros((3, 4))), "empty, zero or not finite"),
        (lambda: ista(np.ones(3)), r"shape \(3,\)"),
        (lambda: fista([[1.0, np.nan]]), "not finite"),
        (lambda: ista(A, weight=0.0), "weight: expected a number above 0"),
        (lambda: tista(A, 0.0, 0.1), "density: expected a number above 0 and at most 1"),
        (lambda: tista(A, 0.1, -1.0), "noise: expected a number above 0"),
        (lambda: sparse_problems(A, density=1.5), "density"),
        (lambda: soft_projected(), "every problem brings its own matrix"),
        (lambda: binary_problems(A, noise=[1, 2]), "noise"),
    ],
)
def test_wrong_arguments_are_one_line(make, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


B = rng.normal(size=(16, 12))
D = rng.normal(size=(16, 12)) + 1j * rng.normal(size=(16, 12))


def test_without_noise_zero_forcing_is_exact_and_mmse_is_zero_forcing() -> None:
    for matrix in (B, D):
        y, x = soft_projected(matrix).draw(binary_problems(matrix, 0.0), 50)
        np.testing.assert_allclose(zero_forcing(matrix, y), x, atol=1e-10)
        np.testing.assert_allclose(linear_mmse(matrix, y, 0.0), x, atol=1e-10)
        assert not symbol_errors(x, x).any()
        assert symbol_errors(-x, x).all()


@pytest.mark.parametrize("matrix", [B, D], ids=["real", "complex"])
def test_the_linear_mmse_estimate_has_the_least_error_of_its_kind(matrix: np.ndarray) -> None:
    noise = 2.0
    y, x = soft_projected(matrix).draw(binary_problems(matrix, noise), 20_000)

    def miss(level: float) -> float:
        return float(np.mean(np.abs(linear_mmse(matrix, y, level) - x) ** 2))

    assert miss(noise) < min(miss(0.6 * noise), miss(1.6 * noise))
    assert miss(noise) < np.mean(np.abs(zero_forcing(matrix, y) - x) ** 2)


def test_zero_forcing_makes_the_errors_that_theory_says() -> None:
    from scipy.stats import norm

    noise = 2.0
    y, x = soft_projected(B).draw(binary_problems(B, noise), 20_000)
    spread = noise * np.sqrt(np.diag(np.linalg.inv(B.T @ B)))
    ours = symbol_errors(zero_forcing(B, y), x).mean(0)
    np.testing.assert_allclose(ours, norm.sf(1 / spread), atol=0.012)


@pytest.mark.parametrize("squash", [None, jnp.tanh], ids=["clip", "tanh"])
@pytest.mark.parametrize("matrix", [B, D], ids=["real", "complex"])
def test_the_learned_detector_beats_fixed_and_linear_ones(matrix: np.ndarray, squash) -> None:
    noise = 2.0 if matrix is B else 3.0
    problems = binary_problems(matrix, noise)
    options = SINGLE | ({} if squash is None else {"squash": squash})
    model = soft_projected(matrix, 8, **options)
    y, x = model.draw(problems, 4000)
    scale = model.parameters_["step"][0]
    fixed = model.best_fixed(y[:500], x[:500], np.linspace(0.1, 3, 60) * scale, name="step")
    model.fit(problems, steps=60, batch=100, incremental=True, rule=optax.adam(3e-3))
    assert model.error(y, x)[-1] < fixed.error[-1]
    assert np.abs(model(y).real).max() <= 1
    rates = [symbol_errors(e, x).mean() for e in (model(y), linear_mmse(matrix, y, noise))]
    assert rates[0] < rates[1]


def test_one_detector_learns_for_channels_that_change() -> None:
    def fading(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (16, 12))

    problems = binary_problems(fading, 1.5)
    model = soft_projected(layers=8, step=0.02, **SINGLE)
    (y, channels), x = model.draw(problems, 3000)
    before = model.error((y, channels), x)[-1]
    model.fit(problems, steps=60, batch=100, incremental=True, rule=optax.adam(3e-3))
    assert model.error((y, channels), x)[-1] < before / 1.5
    linear = symbol_errors(linear_mmse(channels, y, 1.5), x).mean()
    assert symbol_errors(model((y, channels)), x).mean() < linear


def test_the_public_names_are_there() -> None:
    for name in ("ista", "fista", "lista", "tista", "soft_projected", "sum_product"):
        assert callable(getattr(tk.algorithms, name))


@pytest.mark.slow
def test_the_reproduced_tables_of_sparse_and_binary_signals(tmp_path) -> None:
    from tenkai.reproduce import Task, du_bqp, du_ista

    task = Task(out=tmp_path)
    rows = {r.quantity: r for r in du_ista.run(task, seeds=1, layers=8, tests=2, longer=20)}
    assert rows["final MSE (book's recipe), ISTA on 10 problems"].published == 1.73
    learned = rows["final MSE, ISTA, trained longer"].ours
    assert learned < rows["baseline MSE, best fixed step, weight 1"].ours
    assert rows["final MSE, TISTA"].ours < learned
    rows = {r.quantity: r for r in du_bqp.run(task, seeds=1, layers=6, tests=500, trials=4000)}
    assert rows["symbol error rate, zero forcing"].ours == pytest.approx(0.156, abs=0.012)
    best = rows["symbol error rate, all 16 vectors"].ours
    assert best <= rows["symbol error rate, soft-projected gradient, learned"].ours
    for name in ("du-ista", "du-bqp"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
