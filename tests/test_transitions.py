"""Moments of a transition, its density, its layout; evidence; checks of innovations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.signal import lfilter
from scipy.stats import multivariate_normal, norm

from tenkai.diffusions.checks import examine, judge
from tenkai.diffusions.evidence import regression, strength
from tenkai.diffusions.known import chapman_kolmogorov, double_well, exact_double_well
from tenkai.diffusions.moments import cholesky, forward_substitution
from tenkai.diffusions.start import Columns, log_scale, start
from tenkai.diffusions.transitions import Pairs, arrivals, first_substeps, log_density, pack


def pairs(z0, z1, gap, u0=None, u1=None) -> Pairs:
    n = len(gap)
    return Pairs(np.cumsum(gap) - gap, np.asarray(gap, float), z0, z1, u0, u1, np.zeros(n, int))


def reached(fields, x, gap: float, substeps: int):
    """Mean and covariance of the end of one transition."""
    x = np.atleast_2d(np.asarray(x, float))
    with jax.enable_x64(True):
        data = pack(pairs(x, x, np.array([gap])), np.array([substeps]))
        out = arrivals(fields, data)
        return np.asarray(out.mean)[0], np.asarray(out.covariance)[0]


def well(t, y, u):
    return y - y**3, 0.7 + 0.0 * y


def test_moments_of_a_plane_ornstein_uhlenbeck_process_are_exact() -> None:
    matrix, noise = np.array([[1.0, 0.4], [-0.3, 0.7]]), np.array([[0.5, 0.0], [0.3, 0.4]])
    mean, covariance = reached(lambda t, y, u: (-matrix @ y, noise), [1.0, -2.0], 0.8, 32)
    law = solve_continuous_lyapunov(-matrix, -noise @ noise.T)
    keep = expm(-0.8 * matrix)
    np.testing.assert_allclose(mean, keep @ [1.0, -2.0], atol=1e-8)
    np.testing.assert_allclose(covariance, law - keep @ law @ keep.T, atol=1e-8)


def test_moments_of_geometric_brownian_motion_are_exact() -> None:
    mean, covariance = reached(lambda t, y, u: (1.1 * y, 0.6 * y), [2.0], 0.7, 64)
    right = 2.0 * np.exp(1.1 * 0.7)
    np.testing.assert_allclose(mean, right, rtol=1e-8)
    np.testing.assert_allclose(covariance, right**2 * np.expm1(0.36 * 0.7), rtol=1e-7)


def test_moments_of_a_square_root_process_are_exact() -> None:
    k, level, s, x, t = 1.5, 0.8, 0.4, 0.5, 0.6
    mean, covariance = reached(lambda t, y, u: (k * (level - y), s * jnp.sqrt(y)), [x], t, 64)
    e = np.exp(-k * t)
    np.testing.assert_allclose(mean, level + (x - level) * e, rtol=1e-8)
    right = x * s**2 / k * (e - e**2) + level * s**2 / (2 * k) * (1 - e) ** 2  # Cox et al. 1985
    np.testing.assert_allclose(covariance, right, rtol=1e-7)


def test_substeps_converge_at_fourth_order() -> None:
    fine = np.concatenate([np.ravel(a) for a in reached(well, [0.3], 0.5, 256)])
    errors = [
        np.abs(np.concatenate([np.ravel(a) for a in reached(well, [0.3], 0.5, n)]) - fine).max()
        for n in (2, 4, 8)
    ]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (orders > 3.7).all(), orders


def test_moments_of_a_cubic_drift_agree_with_simulation() -> None:
    random, gap, fine = np.random.default_rng(0), 0.1, 50
    x = np.full(400_000, 0.4)
    for _ in range(fine):
        x = x + gap / fine * (x - x**3) + 0.7 * np.sqrt(gap / fine) * random.standard_normal(len(x))
    mean, covariance = reached(well, [0.4], gap, 4)
    assert abs(mean[0] - x.mean()) < 4 * x.std() / len(x) ** 0.5 + 1e-4
    assert abs(covariance[0, 0] / x.var() - 1) < 4 * (2 / len(x)) ** 0.5 + 2e-3


def test_density_is_the_exact_one_of_a_process_with_affine_drift() -> None:
    random, gap = np.random.default_rng(1), 0.3
    z0, z1 = random.standard_normal((2, 5, 2))
    matrix, noise = np.array([[1.0, 0.4], [-0.3, 0.7]]), np.array([0.5, 0.9])
    with jax.enable_x64(True):
        data = pack(pairs(z0, z1, np.full(5, gap)), np.full(5, 32))
        ours = np.asarray(log_density(lambda t, y, u: (-matrix @ y, noise), data))
    law = solve_continuous_lyapunov(-matrix, -np.diag(noise**2))
    keep = expm(-gap * matrix)
    spread = law - keep @ law @ keep.T
    right = [multivariate_normal.logpdf(b, keep @ a, spread) for a, b in zip(z0, z1, strict=True)]
    np.testing.assert_allclose(ours, right, atol=1e-7)


@pytest.mark.parametrize("width", [2, 1024])
@pytest.mark.parametrize("room", [1, 2])
def test_layout_changes_no_answer(width: int, room: int) -> None:
    random = np.random.default_rng(2)
    gap, counts = random.uniform(0.1, 2.0, 7), np.array([1, 3, 2, 5, 1, 1, 4])
    z = random.standard_normal((7, 1))
    u0, u1 = random.standard_normal((2, 7, 1))

    def fields(t, y, u):
        return -y + u + jnp.sin(t), 0.5 + 0.0 * y

    with jax.enable_x64(True):
        whole = pairs(z, z, gap, u0, u1)
        together = arrivals(fields, pack(whole, counts, room, width))
        for k in range(7):
            alone = pack(Pairs(*(a[k : k + 1] for a in whole)), counts[k : k + 1])
            for a, b in zip(arrivals(fields, alone), together, strict=True):
                np.testing.assert_allclose(np.asarray(a)[0], np.asarray(b)[k], atol=1e-12)


@pytest.mark.parametrize("dim", [1, 3, 7])
def test_factors_written_out_are_the_factors(dim: int) -> None:
    root = np.random.default_rng(dim).standard_normal((dim, dim + 2))
    matrix = root @ root.T
    with jax.enable_x64(True):
        lower = np.asarray(cholesky(jnp.asarray(matrix)))
        solved = np.asarray(forward_substitution(jnp.asarray(lower), jnp.asarray(root)))
    np.testing.assert_allclose(lower, np.linalg.cholesky(matrix), atol=1e-10)
    np.testing.assert_allclose(lower @ solved, root, atol=1e-10)


def test_fine_grid_density_is_a_density_and_near_the_gaussian_one() -> None:
    numbers, step = np.array([1.0, 1.0, 0.7]), 0.05
    ends = np.linspace(-1.2, 1.9, 801)
    record = np.stack([np.full(801, 0.4), ends], 1).ravel()
    each = chapman_kolmogorov(record, step, numbers)[::2]
    assert abs(np.trapezoid(np.exp(each), ends) - 1) < 1e-6
    near = np.abs(ends - 0.4) < 0.3
    with jax.enable_x64(True):
        z1 = ends[near, None]
        data = pack(pairs(np.full_like(z1, 0.4), z1, np.full(len(z1), step)), np.ones(len(z1), int))
        gaussian = np.asarray(log_density(well, data))
    assert np.abs(gaussian - each[near]).max() < 0.02


def test_fine_grid_maximum_is_a_maximum() -> None:
    known = double_well()
    (x,) = known.draw([7], 800, known.step)
    best = exact_double_well(x, known.step)
    top = chapman_kolmogorov(x, known.step, best).sum()
    for move in np.concatenate([np.eye(3), -np.eye(3)]) * [0.05, 0.05, 0.005]:
        assert chapman_kolmogorov(x, known.step, best + move).sum() < top


def features(n: int, seed: int):
    x = np.random.default_rng(seed).standard_normal((n, 1))
    whole = pairs(x, x, np.ones(n))
    columns = Columns.of(whole, False, False)
    hinges = np.maximum(x - np.linspace(-1.5, 1.5, 9), 0)
    return columns, x[:, 0], np.concatenate([np.ones((n, 1)), x, hinges], 1)


def test_evidence_bends_only_what_is_bent() -> None:
    _, x, columns = features(800, 0)
    noise = np.random.default_rng(1).standard_normal(800)
    weight = np.ones(800)
    straight = regression(columns, 2, 1 - 2 * x + noise, weight)
    assert not straight.mode[2:].any() and abs(straight.mode[1] + 2) < 0.15
    level = regression(columns, 2, noise, weight)
    assert not level.mode[1:].any()
    bent = regression(columns, 2, np.sin(2 * x) + 0.5 * noise, weight * 4)
    assert bent.gain > 20
    near = np.abs(x) < 1.5  # where there are hinges
    assert np.sqrt(np.mean((columns @ bent.mode - np.sin(2 * x))[near] ** 2)) < 0.1
    assert strength(columns[:, :2], columns[:, 2:], noise, weight)[0] < 3.0


def test_root_is_that_of_the_posterior_covariance() -> None:
    _, x, columns = features(300, 3)
    found = regression(columns, 2, np.sin(2 * x), np.full(300, 10.0))
    precision = 10 * columns.T @ columns + np.diag(found.precision)
    np.testing.assert_allclose(found.root @ found.root.T @ precision, np.eye(11), atol=1e-4)


def test_size_of_noise_is_found_where_it_follows_the_state() -> None:
    _, x, columns = features(4000, 5)
    e = np.exp(0.4 * x) * np.random.default_rng(6).standard_normal(4000)
    found = log_scale(columns, 2, e)
    near = np.abs(x) < 2
    assert np.abs(columns @ found.mode - 0.4 * x)[near].max() < 0.15
    assert not log_scale(columns, 2, np.random.default_rng(7).standard_normal(4000)).mode[1:].any()


def test_start_has_no_units_where_nothing_is_bent() -> None:
    random = np.random.default_rng(8)
    x = random.standard_normal((1000, 2))
    z1 = x - 0.1 * x + 0.2 * random.standard_normal((1000, 2))
    made = start(Columns.of(pairs(x, z1, np.ones(1000)), True, False), 16, random)
    assert made.hidden.direction.shape == (0, 2)
    np.testing.assert_allclose(made.drift.centre[:, 1:], -0.1 * np.eye(2), atol=0.03)
    np.testing.assert_allclose(made.base @ made.base.T, 0.04 * np.eye(2), atol=0.005)


def test_first_substeps_grow_with_what_a_gap_forgets() -> None:
    random = np.random.default_rng(11)

    def first(keep: float) -> int:
        x = random.standard_normal((2000, 1))
        z1 = keep * x + (1 - keep**2) ** 0.5 * random.standard_normal((2000, 1))
        return first_substeps(pairs(x, z1, np.ones(2000)))

    assert [first(np.exp(-r)) for r in (0.05, 0.2, 0.5, 1.0, 6.0)] == [1, 1, 2, 4, 4]
    walk = random.standard_normal((2000, 1)) * 100
    assert first_substeps(pairs(walk, 1.01 * walk, np.ones(2000))) == 1


def kind(errors: np.ndarray, memory: float = 0.9) -> str:
    starts = np.random.default_rng(9).standard_normal(errors.shape)
    found = examine(errors, starts, np.zeros(len(errors), int), np.full(errors.shape[1], memory))
    return judge(found, tuple("xy"[: errors.shape[1]]), -1.0, ()).kind


def test_innovations_tell_what_is_wrong() -> None:
    random = np.random.default_rng(0)
    e = random.standard_normal((3000, 2))
    assert kind(e) == "converged"
    assert kind(e, memory=0.001) == "no memory"
    assert kind((e[1:] - 0.4 * e[:-1]) / 1.16**0.5) == "measurement noise"
    assert kind((e[1:] + 0.4 * e[:-1]) / 1.16**0.5) == "hidden state"
    jumped = e + 6 * (random.uniform(size=e.shape) < 0.01) * random.standard_normal(e.shape)
    assert kind(jumped / jumped.std(0)) == "jumps"
    assert kind(norm.ppf(random.beta(2, 1, size=(3000, 1)))) == "not Gaussian"
    assert kind(e * np.nan) == "diverged"


def test_innovations_of_right_models_seem_to_depend_on_the_state_in_one_of_a_thousand() -> None:
    """1000 paths of a process, with the innovations that its regression leaves."""
    random, alarms, largest = np.random.default_rng(1), 0, []
    for noise in random.standard_normal((1000, 1000)):
        x = np.concatenate([[0.0], lfilter([1.0], [1.0, -0.9], noise)])
        miss = x[1:] - np.polyval(np.polyfit(x[:-1], x[1:], 1), x[:-1])
        e = (miss / miss.std())[:, None]
        found = examine(e, x[:-1, None], np.zeros(1000, int), np.ones(1))
        largest.append(found.structure.max())
        alarms += judge(found, ("x",), -1.0, ()).kind == "missed structure"
    assert alarms <= 3 and 1.2 < np.median(largest) < 2.2


def test_innovations_tell_which_field_misses_what() -> None:
    random = np.random.default_rng(2)
    e, z = random.standard_normal((2, 2000, 2))
    shifted = np.stack([e[:, 0], e[:, 1] + 0.2 * np.abs(z[:, 0])], 1)
    stretched = e * np.exp([0.2, 0] * z)
    for errors, field in ((shifted, "drift"), (stretched, "diffusion")):
        found = examine(errors, z, np.zeros(2000, int), np.ones(2))
        status = judge(found, ("x", "y"), -1.0, ())
        assert status.kind == "missed structure" and field in status.cause
        assert status.remedy and ("y depends on x" if field == "drift" else "x depends on x") in (
            status.cause
        )


def test_correlation_skips_the_seams_of_series() -> None:
    e = np.tile([[1.0], [-1.0]], (50, 1))
    joined = examine(e, e, np.zeros(100, int), np.ones(1)).correlation
    parted = examine(e, e, np.repeat(np.arange(50), 2), np.ones(1)).correlation
    np.testing.assert_allclose([joined[0], parted[0]], [-1, -1], atol=1e-9)
    swapped = examine(e, e, np.arange(1, 101) // 2, np.ones(1)).correlation
    np.testing.assert_allclose(swapped, -1, atol=1e-9)
