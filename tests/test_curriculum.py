"""The smoother, the folds, the intervals: each by its law."""

from __future__ import annotations

import numpy as np
import pytest

from tenkai.curriculum.intervals import (
    Calibration,
    calibrate,
    cross_coverage,
    quantile,
    with_horizon,
)
from tenkai.curriculum.problem import Problem, ends, folds, windows
from tenkai.curriculum.smoothing import Smoother
from tenkai.data import Scaler, Trajectories

UNIT = Scaler(np.zeros(1), np.ones(1), np.zeros(1, bool))


def two_series() -> Problem:
    random = np.random.default_rng(0)
    t = [np.sort(random.uniform(0, 5, 30)), np.sort(random.uniform(2, 9, 12))]
    x = [np.stack([np.sin(s), np.cos(s)], 1) for s in t]
    x[0][3, 1] = np.nan
    return Problem.of(Trajectories.from_arrays(x, t))


def test_folds_deal_every_inner_point_once_and_keep_the_ends() -> None:
    problem = two_series()
    left_out = folds(problem, 5, seed=0)
    for span in problem.spans:
        assert (left_out[:, span].sum(0)[1:-1] == 1).all()
        assert not left_out[:, [span.start, span.stop - 1]].any()
    assert not folds(problem, 1, seed=0).any()


def test_held_out_ends_and_windows_do_not_overlap() -> None:
    problem = two_series()
    closed = ends(problem, 0.2)
    assert [int(closed[s].sum()) for s in problem.spans] == [6, 2]
    reset = windows(problem, 4, closed)
    assert not (reset & closed).any()
    assert all(reset[s.start] for s in problem.spans)


def test_smoother_uses_only_what_a_member_may_see() -> None:
    problem = two_series()
    none = np.zeros(len(problem.tau), bool)
    smoother = Smoother(problem, problem.values, none)
    use = ~np.isnan(problem.values)
    before = smoother(use).states
    changed = problem.values.copy()
    changed[5] += 100.0
    use[5] = False
    other = Smoother(problem, changed, none)
    other.kernels = smoother.kernels
    assert np.abs(other(use).states - before).max() < 1.0


def test_the_held_out_end_does_not_reach_the_smoother() -> None:
    problem = two_series()
    closed = ends(problem, 0.2)
    changed = np.where(closed[:, None], 100.0 * np.cos(problem.tau)[:, None], problem.values)
    a, b = (Smoother(problem, x, closed) for x in (problem.values, changed))
    use = ~np.isnan(problem.values) & ~closed[:, None]
    np.testing.assert_array_equal(a(use).slope, b(use).slope)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_conformal_quantile_covers(coverage: float) -> None:
    random = np.random.default_rng(0)
    inside = [
        np.abs(random.normal(size=400)) <= quantile(np.abs(random.normal(size=60)), coverage)
        for _ in range(100)
    ]
    assert abs(np.mean(inside) - coverage) < 0.02


def test_few_scores_fall_back_on_the_normal_law() -> None:
    assert quantile(np.array([0.1, 0.2]), 0.9) == pytest.approx(1.6449, abs=1e-3)
    assert quantile(np.array([0.1, 5.0]), 0.9) == 5.0


def test_calibrated_intervals_cover_new_observations() -> None:
    random = np.random.default_rng(0)
    truth = np.zeros((300, 2))
    values = truth + random.normal(size=truth.shape) * [0.1, 0.5]
    paths = truth + 0.05 * random.normal(size=(5, *truth.shape))
    held_out = np.zeros(paths.shape, bool)
    for m in range(5):
        held_out[m, m::5] = True
    calibration, owner = calibrate(
        paths, values, held_out, ~held_out, np.ones(5, bool), UNIT, np.zeros(2, bool)
    )
    half = calibration.half_width(paths.std(0), 0.9)
    new = truth + random.normal(size=truth.shape) * [0.1, 0.5]
    assert abs(np.mean(np.abs(new - paths.mean(0)) <= half) - 0.9) < 0.04
    inside, points = cross_coverage(calibration.scores, owner, 0.9)
    assert points == 600
    assert abs(inside / points - 0.9) < 0.02


def test_intervals_follow_noise_that_follows_the_signal() -> None:
    random = np.random.default_rng(0)
    truth = np.linspace(0.5, 4.0, 600)[:, None]
    values = truth * (1 + 0.1 * random.normal(size=truth.shape))
    held_out = np.arange(600)[:, None] % 5 == np.arange(5)[:, None, None]
    paths = np.broadcast_to(truth, held_out.shape)
    trusted, shaped = np.ones(5, bool), np.ones(1, bool)
    made, _ = calibrate(paths, values, held_out, ~held_out, trusted, UNIT, shaped)
    half = made.half_width(np.zeros_like(truth), 0.9, shape=made.shape(truth, UNIT))
    np.testing.assert_allclose(half, 0.1645 * truth, rtol=0.1)
    new = truth * (1 + 0.1 * random.normal(size=truth.shape))
    for part in (slice(0, 200), slice(400, 600)):
        assert abs(np.mean(np.abs(new - truth)[part] <= half[part]) - 0.9) < 0.06


def test_latent_intervals_cover_the_path_and_are_narrower() -> None:
    """Members are cubic regressions, each without its fold; the truth is a cubic."""
    inside = narrower = 0.0
    for seed in range(60):
        random = np.random.default_rng(seed)
        t = np.linspace(-1, 1, 60)
        truth = 1 + t - 2 * t**3
        values = truth + 0.3 * random.normal(size=60)
        held_out = np.zeros((5, 60, 1), bool)
        paths = np.empty((5, 60, 1))
        for m, left in enumerate(np.array_split(random.permutation(60), 5)):
            held_out[m, left] = True
            kept = np.setdiff1d(np.arange(60), left)
            paths[m, :, 0] = np.polyval(np.polyfit(t[kept], values[kept], 3), t)
        calibration, _ = calibrate(
            paths, values[:, None], held_out, ~held_out, np.ones(5, bool), UNIT, np.zeros(1, bool)
        )
        half = calibration.half_width(paths.std(0), 0.9, latent=True)
        inside += np.mean(np.abs(truth[:, None] - paths.mean(0)) <= half) / 60
        narrower += half.mean() / calibration.half_width(paths.std(0), 0.9).mean() / 60
    assert 0.8 < inside < 0.98
    assert narrower < 0.5


def test_intervals_grow_with_the_horizon() -> None:
    zero = np.zeros(1)
    flat = Calibration(
        np.array([0.1]), np.ones(50), zero, np.empty(0), np.ones(1), zero, np.ones(1)
    )
    ahead = np.linspace(0.01, 1.0, 20)
    miss = (0.1 + ahead)[:, None] * np.random.default_rng(0).choice([-1, 1], (20, 1))
    grown = with_horizon(flat, miss, np.zeros((20, 1)), ahead)
    half = grown.half_width(np.zeros((3, 1)), 0.9, np.array([0.0, 0.5, 1.0]))[:, 0]
    assert half[0] < half[1] < half[2]
    again = Calibration.from_dict(grown.to_dict())
    np.testing.assert_array_equal(again.half_width(np.zeros((3, 1)), 0.9, ahead[:3]),
                                  grown.half_width(np.zeros((3, 1)), 0.9, ahead[:3]))  # fmt: skip
