"""Learning flows: shaping, pairing, mixtures, and trainings that nothing destroys."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from tenkai.flows import FFJORD, Grid, RealNVP
from tenkai.flows.evaluation import (
    combined,
    evaluate,
    log_density_of,
    members_log_density,
    normal,
)
from tenkai.flows.learning import learn
from tenkai.flows.mixture import Mixture, stacked, tail_log_density, tail_sample
from tenkai.flows.pairing import paired
from tenkai.flows.recipe import Recipe, default_architecture
from tenkai.flows.whitening import Shaping, Whitening

TINY = FFJORD(width=16, kind="concat", solver=Grid(3))
QUICK = Recipe(members=2, matching=200, steps=60, batch=64, rate=4e-3)


def columns(kind: str, rows: int = 800, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    spike = random.normal(size=(rows, 2))
    spike[0] = 1e6
    return {
        "normal": random.normal(3.0, 5.0, (rows, 2)),
        "lognormal": random.lognormal(size=(rows, 2)),
        "student": random.standard_t(2.5, (rows, 2)),
        "cauchy": random.standard_cauchy((rows, 2)),
        "one point at 1e6": spike,
        "half zeros": np.maximum(random.normal(size=(rows, 2)), 0),
        "few values": random.integers(0, 4, (rows, 2)).astype(float),
    }[kind]


KINDS = (
    *("normal", "lognormal", "student", "cauchy"),
    *("one point at 1e6", "half zeros", "few values"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_shaping_is_inverted_and_its_log_determinant_is_its_jacobian(kind: str) -> None:
    x = columns(kind)
    shaping = Shaping.fit(x)
    some = x[1:20] + 0.1 * x[1:20].std()
    z = shaping.forward(some)
    assert np.allclose(shaping.inverse(z), some, rtol=1e-8, atol=1e-8)
    step = 1e-6 * (1 + np.abs(some))
    partial = [
        (shaping.forward(some + step * e) - shaping.forward(some - step * e)) / (2 * step[:, [j]])
        for j, e in enumerate(np.eye(2))
    ]
    jacobian = np.stack(partial, axis=-1)
    assert np.allclose(np.linalg.slogdet(jacobian)[1], shaping.log_det(some), atol=1e-4)


def test_shaping_leaves_normal_columns_and_atoms_alone() -> None:
    for kind in ("normal", "half zeros", "few values"):
        x = columns(kind)
        assert np.isnan(Shaping.fit(x).curves[1]).all(), kind
        assert np.allclose(Shaping.fit(x).forward(x), Whitening.fit(x).forward(x))


@pytest.mark.parametrize("kind", ["lognormal", "student", "cauchy", "one point at 1e6"])
def test_shaping_brings_rows_near_and_raises_their_likelihood(kind: str) -> None:
    x = columns(kind)
    shaping, plain = Shaping.fit(x), Whitening.fit(x)
    z = shaping.forward(x)
    gain = normal(z) + shaping.log_det(x) - normal(plain.forward(x)) - plain.log_det
    assert gain.mean() > 0.1
    assert np.abs(z).max() < 25
    assert 0.5 < np.subtract(*np.quantile(z[:, 0], [0.84, 0.16])) / 2 < 1.5


def test_a_row_far_out_keeps_a_density() -> None:
    """No curve is lighter than a normal far out."""
    x = columns("lognormal")
    shaping = Shaping.fit(x)
    assert (shaping.curves[3] <= 1).all()
    far = np.array([[1e3, 1e3]])
    assert normal(shaping.forward(far))[0] > -0.5 * 2 * (1e3 / x.std()) ** 2


def test_pairs_are_nearer_than_strangers_and_use_every_row_about_once() -> None:
    random = np.random.default_rng(0)
    x, z = random.normal(size=(2, 256, 2)).astype(np.float32)
    found = np.asarray(paired(x, z, jax.random.key(0)))
    assert np.mean((found - x) ** 2) < 0.15 * np.mean((z - x) ** 2)
    counts = np.unique(found, axis=0, return_counts=True)[1]
    assert len(counts) > 0.5 * len(z)
    assert counts.max() <= 6


def test_pairs_of_rows_without_spread_and_of_any_number_are_finite() -> None:
    for rows in (1, 7, 129, 200):
        x = np.zeros((rows, 3), np.float32)
        assert np.isfinite(paired(x, x, jax.random.key(0))).all()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.98])
def test_the_weight_of_the_start_is_the_share_of_rows_it_explains(share: float) -> None:
    mine = np.random.default_rng(0).random(4000) < share
    found = stacked(np.where(mine, -20.0, 0.0), np.where(mine, 0.0, -20.0))
    assert abs(found - mine.mean()) < 0.01


def test_the_best_member_has_the_largest_weight_and_shares_sum_to_one() -> None:
    mixture = Mixture(np.zeros((3, 2)), np.array([0.2, 0.1, 0.7]), np.asarray(0.9))  # type: ignore
    assert mixture.best == 2
    np.testing.assert_allclose(mixture.shares, [0.02, 0.01, 0.07, 0.9])


def test_recipes_are_decided_and_what_is_told_stays() -> None:
    flow = TINY.build(2, key=jax.random.key(0))
    for rows in (20, 1000, 20_000, 200_000):
        for dim in (1, 2, 11, 64):
            found = Recipe(steps=7, decay=0.5).resolved(flow, dim, rows)
            assert None not in dataclasses.astuple(found)
            assert (found.steps, found.decay) == (7, 0.5)
            assert Recipe().resolved(object(), dim, rows).matching == 0
    assert default_architecture(64, 20_000).width >= 64  # type: ignore


def test_sharp_units_begin_steep_and_where_the_rows_are() -> None:
    plain, sharp = (
        FFJORD(width=2000, depth=1, kind="concat", sharpness=s).build(2, key=jax.random.key(0))
        for s in (None, 4.0)
    )
    usual, steep = (f.field.layers[0].linear for f in (plain, sharp))
    np.testing.assert_allclose(steep.weight, 4 * usual.weight, rtol=1e-6)
    assert not np.any(np.asarray(usual.bias))
    distance = np.abs(steep.bias) / np.linalg.norm(steep.weight, axis=1)  # N(0, 1) in absolute
    assert np.mean(distance) == pytest.approx((2 / np.pi) ** 0.5, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_destroys_a_fit(kind: str) -> None:
    x = columns(kind, 300)
    z = Shaping.fit(x).forward(x)
    made = learn(z, None, TINY, QUICK)
    assert np.isfinite(made.model.weights).all()
    assert made.model.weights.sum() == pytest.approx(1)
    held = made.held_out[~np.isnan(made.held_out)]
    assert len(held) > 50
    assert np.isfinite(held).all()
    assert held.mean() > normal(z)[~np.isnan(made.held_out)].mean() - 0.2


def test_held_out_is_the_density_of_the_member_that_left_the_row_out() -> None:
    z = columns("normal", 300) / 5
    made = learn(z, None, TINY, QUICK)
    logs, _ = members_log_density(made.model, z)
    w = float(made.model.tail)
    trained = np.logaddexp(np.log1p(-w) + logs[:2], np.log(w) + logs[2])
    seen = np.flatnonzero(~np.isnan(made.held_out))
    gap = np.abs(trained[:, seen] - made.held_out[seen]).min(axis=0)
    assert gap.max() < 1e-6


def test_the_tail_is_a_density_of_covariance_one_that_samples_follow() -> None:
    grid = np.linspace(-60, 60, 1201)
    z = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    p = np.exp(tail_log_density(z)) * (grid[1] - grid[0]) ** 2
    assert p.sum() == pytest.approx(1, abs=1e-6)
    assert (p @ z**2) == pytest.approx(np.ones(2), abs=1e-4)
    drawn = tail_sample(np.random.default_rng(0), (100_000, 2))
    assert np.cov(drawn.T) == pytest.approx(np.eye(2), abs=0.02)
    far = (drawn**2).sum(1) > 16
    assert far.mean() == pytest.approx(p[(z**2).sum(1) > 16].sum(), abs=4e-4)


def test_one_row_unlike_all_others_costs_little() -> None:
    random = np.random.default_rng(0)
    made = learn(random.normal(size=(300, 2)), None, TINY, QUICK)
    logs, _ = members_log_density(made.model, np.full((1, 2), 8.0))
    assert logs[:2].max() < -40
    assert combined(logs, made.model.shares)[0] > -30
    assert made.model.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("stage", ["matching", "steps"])
def test_matching_alone_and_likelihood_alone_both_learn(stage: str) -> None:
    random = np.random.default_rng(0)
    x = 0.2 * random.normal(size=(300, 2))
    x[:, 0] += np.sign(random.normal(size=300))
    z = Whitening.fit(x).forward(x)
    other = {"matching": "steps", "steps": "matching"}[stage]
    made = learn(z, None, TINY, dataclasses.replace(QUICK, **{other: 0}))
    assert np.nanmean(made.held_out) > np.mean(normal(z)[~np.isnan(made.held_out)]) + 0.1
    assert len(made.fits) == 1


def test_contexts_shift_what_is_learned() -> None:
    random = np.random.default_rng(0)
    c = random.normal(size=(300, 1))
    z = 0.9 * c + 0.3 * random.normal(size=(300, 1))
    recipe = dataclasses.replace(QUICK, members=1, matching=400, steps=0)
    made = learn(z, c, TINY, recipe)
    at = np.array([[0.9], [0.9]])
    found = log_density_of(evaluate(made.model.member(0), "to_base", at, np.array([[1.0], [-1.0]])))
    assert found[0] > found[1] + 2


def test_discrete_flows_learn_without_matching() -> None:
    x = columns("student", 400)
    z = Whitening.standardising(x).forward(x)
    made = learn(z, None, RealNVP(), dataclasses.replace(QUICK, steps=100))
    assert [f.history[0]["stage"] for f in made.fits] == ["likelihood"]
    assert np.isfinite(made.held_out[~np.isnan(made.held_out)]).all()


def test_tables_of_other_lengths_compile_nothing_new() -> None:
    seen = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **kw: seen.append(name) if "backend_compile" in name else None
    )
    z = np.random.default_rng(0).normal(size=(300, 2))
    learn(z, None, TINY, QUICK)
    before = len(seen)
    learn(z[:260], None, TINY, QUICK)
    assert len(seen) == before
