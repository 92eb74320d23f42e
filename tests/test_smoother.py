"""The smoother: values, slopes and noise by their laws, and no nonsense on awkward series."""

from __future__ import annotations

import numpy as np
import pytest

from tenkai.curriculum.problem import Problem
from tenkai.curriculum.smoother import Clock, choose, condition, smooth
from tenkai.curriculum.smoothing import Smoother
from tenkai.data import Scaler, Trajectories

SEEDS = range(20)


def signal(t: np.ndarray) -> np.ndarray:
    return 2.0 + 1.5 * np.sin(1.5 * t)


def slope(t: np.ndarray) -> np.ndarray:
    return 2.25 * np.cos(1.5 * t)


def noisy(seed: int, kind: str, n: int = 70, level: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    t = np.sort(random.uniform(0, 10, n))
    e = level * random.normal(size=n)
    return t, signal(t) * (1 + e) if kind == "relative" else signal(t) + e


def test_exact_data_are_interpolated_and_their_slopes_found() -> None:
    t = np.linspace(0, 10, 60)
    at = np.linspace(0.5, 9.5, 100)
    got = smooth(t, np.sin(t), at)
    assert np.abs(got.value - np.sin(at)).max() < 1e-4
    assert np.abs(got.slope - np.cos(at)).max() < 3e-3
    assert got.noise < 1e-3


@pytest.mark.parametrize("kind", ["additive", "relative"])
def test_noise_level_and_kind_are_recovered(kind: str) -> None:
    kernels = [choose([noisy(seed, kind)], np.abs)[0] for seed in SEEDS]
    name = {"additive": "constant", "relative": "shaped"}[kind]
    right = [k for k in kernels if k.kind == name]
    assert len(right) >= 17
    assert np.mean([k.level for k in right]) == pytest.approx(0.1, rel=0.3)


@pytest.mark.parametrize("kind", ["additive", "relative"])
def test_spreads_are_calibrated(kind: str) -> None:
    at = np.linspace(0.5, 9.5, 50)
    z, inside = [], []
    for seed in SEEDS:
        got = smooth(*noisy(seed, kind), at)
        z.append((got.slope - slope(at)) / got.slope_sd)
        inside.append(np.abs(got.value - signal(at)) < 1.645 * got.value_sd)
    assert 0.6 < np.sqrt(np.mean(np.square(z))) < 1.6
    assert 0.78 < np.mean(inside) < 0.98


def test_noise_sd_at_points_follows_the_signal() -> None:
    at = np.linspace(0.5, 9.5, 50)
    got = np.mean([smooth(*noisy(seed, "relative"), at).noise_sd for seed in SEEDS], axis=0)
    assert np.corrcoef(got, signal(at))[0, 1] > 0.9
    assert got.max() / got.min() > 3.0  # the signal's own ratio is 7


def test_time_may_be_shifted_and_scaled_and_values_with_additive_noise_as_well() -> None:
    t, x = noisy(0, "additive")
    at = np.linspace(0, 10, 40)
    (kernel,) = choose([(t, x)])
    plain = condition(t, x, at, kernel)
    other_t = 1000.0 + 86400.0 * t
    (kernel,) = choose([(other_t, -5.0 + 1e-3 * x)])
    other = condition(other_t, -5.0 + 1e-3 * x, 1000.0 + 86400.0 * at, kernel)
    np.testing.assert_allclose(other.value, -5.0 + 1e-3 * plain.value, rtol=1e-6)
    np.testing.assert_allclose(other.slope * 86400.0 / 1e-3, plain.slope, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(other.slope_sd * 86400.0 / 1e-3, plain.slope_sd, rtol=1e-3)
    assert other.noise == pytest.approx(1e-3 * plain.noise, rel=1e-3)


def test_one_outlier_does_not_bend_the_path() -> None:
    found, errors = 0, []
    at = np.linspace(0, 10, 100)
    for seed in SEEDS:
        t, x = noisy(seed, "additive")
        x[30] += 3.0
        (kernel,) = choose([(t, x)], np.abs)
        found += kernel.sd[30] > 10 * np.median(kernel.sd)
        errors.append(np.abs(condition(t, x, at, kernel).value - signal(at)).max())
    assert found >= 18
    assert np.median(errors) < 0.25


def test_points_without_outliers_are_kept() -> None:
    for seed in SEEDS:
        (kernel,) = choose([noisy(seed, "additive")])
        assert np.ptp(kernel.sd) == 0.0


def test_a_fast_transient_is_followed_by_a_quiet_end() -> None:
    random = np.random.default_rng(0)
    t = np.linspace(0, 10, 80)
    truth = np.exp(-3 * t)
    x = truth + 0.01 * random.normal(size=len(t))
    (kernel,) = choose([(t, x)])
    got = condition(t, x, t, kernel)
    assert kernel.clock.rate(np.array([0.1]))[0] > 2 * kernel.clock.rate(np.array([8.0]))[0]
    assert np.abs(got.value - truth)[30:].max() < 0.01
    assert got.slope_sd[2] > 2 * got.slope_sd[60]


def test_the_clock_is_increasing_and_its_rate_is_its_derivative() -> None:
    (kernel,) = choose([noisy(1, "additive")])
    at = np.linspace(-5, 15, 2001)
    u = kernel.clock(at)
    assert (np.diff(u) > 0).all()
    inside = slice(600, 1400)
    np.testing.assert_allclose(np.gradient(u, at)[inside], kernel.clock.rate(at)[inside], rtol=0.1)
    plain = Clock(np.array([3.0, 4.0]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(plain(at), at - 3.0)


def test_a_gap_widens_the_spread_and_no_path_shoots_over_it() -> None:
    for seed in range(5):
        t, x = noisy(seed, "additive", n=90)
        kept = (t < 4) | (t > 6.5)
        got = smooth(t[kept], x[kept], np.array([2.0, 5.2]))
        assert got.slope_sd[1] > 2 * got.slope_sd[0]
        at = np.linspace(4, 6.5, 30)
        assert np.abs(smooth(t[kept], x[kept], at).value - 2.0).max() < 3.0


def test_few_points_of_many_series_share_their_kernel() -> None:
    random = np.random.default_rng(0)
    phases = random.uniform(0, 6, 30)
    series = []
    for phase in phases:
        t = np.sort(random.uniform(0, 4, random.integers(4, 7)))
        series.append((t, np.sin(1.5 * t + phase) + 0.05 * random.normal(size=len(t))))
    together, alone, inside = [], [], []
    kernels = choose(series)
    for (t, x), phase, kernel in zip(series, phases, kernels, strict=True):
        at = np.linspace(t[0], t[-1], 40)
        truth = np.sin(1.5 * at + phase)
        got = condition(t, x, at, kernel)
        together.append(np.mean((got.value - truth) ** 2))
        alone.append(np.mean((smooth(t, x, at).value - truth) ** 2))
        inside.append(np.abs(got.slope - 1.5 * np.cos(1.5 * at + phase)) < 1.645 * got.slope_sd)
    assert np.mean(together) < np.mean(alone)
    assert np.median([k.sd[0] for k in kernels]) == pytest.approx(0.05, rel=0.5)
    assert 0.75 < np.mean(np.concatenate(inside)) < 0.98


@pytest.mark.parametrize("points", [3, 4, 5])
def test_an_oscillation_of_few_points_a_period_is_not_called_noise(points: int) -> None:
    shares, inside = [], []
    for seed in range(10):
        random = np.random.default_rng(seed)
        every = np.arange(24 * points) / (2 * points)
        t = np.sort(random.permutation(every)[: 12 * points])
        truth, change = 2 + np.sin(2 * np.pi * every), 2 * np.pi * np.cos(2 * np.pi * every)
        x = np.interp(t, every, truth) * (1 + 0.05 * random.normal(size=len(t)))
        got = smooth(t, x, every)
        shares.append(1 - np.mean((got.value - truth) ** 2) / np.var(truth))
        inside.append(np.mean(np.abs(got.slope - change) < 1.645 * got.slope_sd))
    assert min(shares) > 0.9
    assert np.mean(inside) > 0.75


def test_slopes_of_a_rhythm_are_derivatives_of_its_values() -> None:
    t = np.linspace(0, 10, 35)
    (kernel,) = choose([(t, np.sin(2 * np.pi * t))])
    assert kernel.rhythm is not None
    assert kernel.rhythm.period == pytest.approx(1.0, rel=0.02)
    at, h = np.linspace(1, 9, 50), 1e-5
    before, here, after = (condition(t, np.sin(2 * np.pi * t), at + s, kernel) for s in (-h, 0, h))
    np.testing.assert_allclose((after.value - before.value) / (2 * h), here.slope, atol=1e-3)


LINE = np.linspace(0, 10, 50)
AWKWARD = {
    "two": (LINE[:2], np.array([1.0, 2.0])),
    "three": (LINE[:3], np.array([1.0, 2.0, 1.5])),
    "one": (LINE[:1], np.array([4.0])),
    "constant": (LINE, np.full(50, 3.0)),
    "constant but one": (LINE, np.where(np.arange(50) == 20, 4.0, 3.0)),
    "rounded": (LINE, np.round(np.sin(LINE))),
    "step": (LINE, (LINE > 5) * 1.0),
    "straight": (LINE, 3 * LINE),
    "decades": (LINE, np.exp(2 * LINE)),
    "huge": (LINE, 1e30 * np.sin(LINE)),
    "tiny": (LINE, 1e-30 * np.sin(LINE)),
    "far from zero": (1e9 + LINE, 1e9 + np.sin(LINE)),
    "bursts": (np.append(np.geomspace(1e-9, 1e-3, 30), LINE[5:15]), np.sin(np.arange(40.0))),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_series_give_finite_numbers_inside_their_range(name: str) -> None:
    t, x = AWKWARD[name]
    at = np.linspace(t[0], t[-1], 37)
    got = smooth(t, x, at)
    for column in (got.value, got.slope, got.value_sd, got.slope_sd, got.noise_sd):
        assert np.isfinite(column).all()
    assert (got.value_sd >= 0).all()
    span = np.ptp(x) or 1.0
    assert got.value.max() < x.max() + 0.5 * span
    assert got.value.min() > x.min() - 0.5 * span


def problem_of(kind: str, positive: bool) -> tuple[Problem, Scaler]:
    t, x = noisy(3, kind)
    x = x + 1.0 * (kind == "additive")  # away from zero, where the log would be ill
    problem = Problem.of(Trajectories.from_arrays(x[:, None], t))
    return problem, Scaler.fit(problem.values, [positive])


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("kind", ["additive", "relative"])
def test_noise_has_the_same_kind_and_level_on_the_raw_and_the_log_scale(
    kind: str, positive: bool
) -> None:
    problem, scaler = problem_of(kind, positive)
    closed = np.zeros(len(problem.tau), bool)
    scaled = scaler.forward(problem.values)
    smoother = Smoother(problem, scaled, closed, scaler=scaler)
    assert smoother.shaped == [(kind == "relative") != positive]
    smoothed = smoother(~np.isnan(problem.values))
    assert smoothed.noise_sd.shape == problem.values.shape
    raw = smoothed.noise_sd * scaler.scale * (problem.values if positive else 1.0)
    wanted = 0.1 * (problem.values if kind == "relative" else 1.0)
    assert np.median(raw / wanted) == pytest.approx(1.0, rel=0.35)


def test_a_variable_not_seen_in_one_series_and_one_that_never_moves() -> None:
    t = [np.linspace(0, 1, 12), np.linspace(0, 1, 5)]
    x = [np.stack([np.sin(5 * s), np.full(len(s), 2.0)], 1) for s in t]
    problem = Problem.of(Trajectories.from_arrays(x, t))
    values = problem.values.copy()
    values[12:, 0] = np.nan
    closed = np.zeros(len(problem.tau), bool)
    smoother = Smoother(problem, values, closed, scaler=Scaler.identity(2))
    got = smoother(~np.isnan(values))
    for column in (got.states, got.slope, got.slope_sd, got.noise_sd):
        assert np.isfinite(column).all()
    assert got.slope_sd[-1, 0] > 100.0  # not seen
    np.testing.assert_allclose(got.states[:, 1], 2.0)
    assert not smoother.shaped.any()


def test_blocks_of_a_long_series_join() -> None:
    t, x = noisy(0, "additive", n=900)
    (kernel,) = choose([(t, x)])
    at = np.linspace(0, 10, 4001)
    value = condition(t, x, at, kernel).value
    assert np.abs(np.diff(value)).max() < 0.02
    assert np.sqrt(np.mean((value - signal(at)) ** 2)) < 0.04
