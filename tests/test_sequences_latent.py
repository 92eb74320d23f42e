"""Laws of the latent model of packed series: who sees what, paths, bounds, parts."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tenkai.objectives import Aux
from tenkai.sequences.evaluation import (
    Beliefs,
    class_logits,
    draws_at,
    moments,
    normals,
    posteriors,
    rounded,
)
from tenkai.sequences.held_out import area, conformal
from tenkai.sequences.latent import LatentModel, Posterior
from tenkai.sequences.multistep import knots
from tenkai.sequences.objectives import (
    Judged,
    Material,
    Warming,
    missed,
    negative_elbo,
    terms,
    warmed,
)
from tenkai.sequences.packing import Spell, pack
from tenkai.sequences.parts import hidden_end, parts, seen_before_end

DIM, LATENT = 2, 3


def model_of(encoder: str = "rnn", **options) -> LatentModel:
    settings = {"latent": LATENT, "hidden": 6, "width": 8, "depth": 1, "encoder": encoder}
    return LatentModel.build(DIM, key=np.random.default_rng(0), **(settings | options))


def wild(model: LatentModel) -> LatentModel:
    """With weights thrice as large, so that paths bend."""
    return eqx.tree_at(lambda m: m.field.net.layers, model, tuple(
        eqx.tree_at(lambda x: x.weight, layer, 3 * layer.weight)
        for layer in model.field.net.layers
    ))  # fmt: skip


def spell_of(count: int, seed: int) -> Spell:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, 1, count))
    x = rng.normal(size=(count, DIM))
    x[rng.uniform(size=x.shape) < 0.2] = np.nan
    x[0] = 0.3
    return Spell(t - t[0], x)


SPELLS = [spell_of(n, n) for n in (4, 9, 6, 12, 5)]


@pytest.mark.parametrize("encoder", ["rnn", "ode-rnn"])
def test_a_series_answers_the_same_alone_and_packed_in_any_order(encoder: str):
    model = model_of(encoder)
    together = posteriors(model, SPELLS, 0.1)
    alone = [posteriors(model, [s], 0.1) for s in SPELLS]
    turned = posteriors(model, SPELLS[::-1], 0.1)
    np.testing.assert_allclose(together.mean, [a.mean[0] for a in alone], atol=1e-6)
    np.testing.assert_allclose(together.sd, turned.sd[::-1], atol=1e-6)
    assert np.ptp(together.mean, axis=0).min() > 1e-3


def test_paths_hang_neither_on_company_nor_on_what_else_is_asked():
    model = wild(model_of())
    z0 = np.random.default_rng(1).normal(size=(2, 3, LATENT))
    times = [np.array([0.0, 0.33, 1.2]), np.array([-0.4, 0.7]), np.array([2.0, 0.1])]
    together = draws_at(model, z0, times, 0.1)
    for i, t in enumerate(times):
        np.testing.assert_allclose(together[i], draws_at(model, z0[:, [i]], [t], 0.1)[0], atol=1e-5)
        more = draws_at(model, z0[:, [i]], [np.append(t, 3.7)], 0.1)[0]
        np.testing.assert_allclose(together[i], more[:, :-1], atol=1e-5)


def test_a_path_begins_where_it_is_told_to():
    z0 = np.random.default_rng(2).normal(size=(1, 2, LATENT))
    found = draws_at(model_of(), z0, [np.zeros(1)] * 2, 0.1, latent=True)
    np.testing.assert_allclose([f[0, 0] for f in found], z0[0], atol=1e-6)


def test_backwards_and_then_forwards_returns():
    model = wild(model_of())
    z0 = np.random.default_rng(3).normal(size=(1, 1, LATENT))
    with jax.enable_x64(True):
        past = draws_at(model, z0, [np.array([-0.8])], 0.02, latent=True)[0]
        again = draws_at(model, past, [np.array([0.8])], 0.02, latent=True)[0]
    np.testing.assert_allclose(again, z0, atol=1e-7)
    assert np.abs(past - z0).max() > 0.05


def test_the_path_between_steps_converges_with_the_fourth_order():
    model, at = wild(model_of()), np.array([0.213, 0.55, 0.9871])
    z0 = np.random.default_rng(4).normal(size=(1, 1, LATENT))
    with jax.enable_x64(True):
        exact = draws_at(model, z0, [at], 0.005, latent=True)[0]
        coarse, fine = (
            np.abs(draws_at(model, z0, [at], h, latent=True)[0] - exact).max() for h in (0.2, 0.1)
        )
    assert 11 < coarse / fine < 24


def test_at_the_ends_of_steps_the_path_is_the_solver_s():
    model = wild(model_of())
    with jax.enable_x64(True):
        one = Spell(np.arange(5) / 4, np.zeros((5, DIM)))
        row = jax.tree.map(lambda a: a[0], pack([one], 0.25))
        z0 = jnp.asarray(np.random.default_rng(1).normal(size=(row.begin.shape[0], LATENT)))
        ends = row.since + row.length
        begun = z0[np.maximum(row.start, 0)]
        found = knots(model.field, begun, row.start >= 0, ends, row.length, row.phase)
        path = model.path(row, z0)
    for slot, t in enumerate(row.t[:5]):
        np.testing.assert_allclose(path[slot], found.y[np.flatnonzero(ends == t)[0]], atol=1e-12)


def test_hidden_values_tell_the_posterior_nothing_and_later_questions_neither():
    model, one = model_of(), spell_of(8, 3)
    seen = np.ones(one.x.shape, bool)
    seen[5:], seen[2, 0] = False, False
    changed = np.where(seen, one.x, one.x + 7)
    found = [posteriors(model, [Spell(one.t, x, seen=seen)], 0.1) for x in (one.x, changed)]
    np.testing.assert_array_equal(found[0].mean, found[1].mean)
    short = posteriors(model, [Spell(one.t[:5], one.x[:5], seen=seen[:5])], 0.1)
    np.testing.assert_allclose(found[0].mean, short.mean, atol=1e-6)
    whole = posteriors(model, [one], 0.1)
    assert np.abs(whole.mean - short.mean).max() > 1e-4


def test_only_what_is_asked_counts_in_the_likelihood():
    model, one = model_of(), spell_of(8, 5)
    asked = np.zeros(one.x.shape, bool)
    asked[3] = True
    values = []
    for shift in (0.0, 5.0):
        x = np.where(asked, one.x, one.x + shift)
        row = jax.tree.map(
            lambda a: a[0], pack([Spell(one.t, x, np.zeros_like(asked), asked)], 0.1)
        )
        found = terms(model, row, jnp.zeros((row.begin.shape[0], LATENT)))
        values.append(float(found.log_likelihood[0]))
        assert found.points[0] == np.sum(asked & ~np.isnan(one.x))
    assert values[0] == pytest.approx(values[1])


def test_the_divergence_is_that_of_the_definition():
    rng = np.random.default_rng(5)
    mean, sd = rng.normal(size=LATENT), np.array([0.3, 1.0, 1.7])
    z = mean + sd * rng.standard_normal((200_000, LATENT))
    log_q = -0.5 * ((z - mean) / sd) ** 2 - np.log(sd)
    gaps = (log_q + 0.5 * z**2).sum(1)
    closed = Posterior(jnp.asarray(mean[None]), jnp.asarray(sd[None])).divergence()[0]
    assert abs(gaps.mean() - closed) < 4 * gaps.std() / np.sqrt(len(z))


def test_the_gradient_of_the_bound_is_that_of_finite_differences():
    with jax.enable_x64(True):
        rows = jax.tree.map(
            lambda a: a.astype(float) if a.dtype == np.float32 else a, pack(SPELLS, 0.3)
        )
        model = jax.tree.map(lambda a: a.astype(float), model_of("ode-rnn"))
        data = Material(rows, np.int32(len(rows.owner)), 0.7, 1e-3)
        arrays, static = eqx.partition(model, eqx.is_array)
        flat, back = ravel_pytree(jax.tree.map(jnp.asarray, arrays))
        key = jax.random.key(0)

        @jax.jit
        def value(p):
            return negative_elbo(4)(eqx.combine(back(p), static), data, key)[0]

        way = jnp.asarray(np.random.default_rng(6).normal(size=flat.shape))
        slope = jax.grad(value)(flat) @ way
        h = 1e-5
        differences = (value(flat + h * way) - value(flat - h * way)) / (2 * h)
        np.testing.assert_allclose(slope, differences, rtol=1e-6)


def test_the_divergence_warms_up_and_given_noise_stays():
    rows = jax.tree.map(jnp.asarray, pack(SPELLS, 0.3))
    with_all = Material(rows, np.int32(len(rows.owner)), 1.0, 0.0, 4.0)
    model, key = model_of(), jax.random.key(1)

    @jax.jit
    def at(step):
        return warmed(4, False)(Warming(model, step), with_all, key)

    values = [float(at(jnp.int32(k))[0]) for k in (0, 1, 3, 9)]
    assert values[0] < values[1] < values[2]
    assert values[2] == pytest.approx(values[3])
    made: Aux = at(jnp.int32(2))[1]
    assert int(made.state.step) == 3
    slope = eqx.filter_grad(lambda m: warmed(4, False)(Warming(m, jnp.int32(0)), with_all, key)[0])
    assert np.all(np.asarray(slope(jax.tree.map(jnp.asarray, model)).log_noise) == 0)


def test_held_out_labels_are_judged_by_their_squared_misses():
    model, labels = model_of(classes=3), np.array([2, 0, -1, 1, 1], np.int32)
    rows, state = pack(SPELLS, 0.1), Warming(model, jnp.zeros((), jnp.int32))
    plain = missed()(state, Judged(rows), None)[0]
    both = missed()(state, Judged(rows, labels), None)[0]
    logits = class_logits(model, posteriors(model, SPELLS, 0.1).mean)
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    known = labels >= 0
    brier = ((chance[known] - np.eye(3)[labels[known]]) ** 2).sum(1).mean()
    assert both - plain == pytest.approx(brier, rel=1e-4)


def test_the_mean_of_a_linear_model_s_draws_is_the_path_of_the_mean():
    model = model_of(activation="identity")
    belief = Beliefs(np.ones((1, LATENT)), np.full((1, LATENT), 0.4))
    times = [np.array([-0.5, 0.0, 0.8])]
    found = moments(model, belief, times, 0.05, draws=8)
    path = draws_at(model, belief.mean[None], times, 0.05)[0][0]
    np.testing.assert_allclose(found.mean[0], path, atol=1e-5)
    assert (found.sd[0] > 0.01).all()


def test_parts_begin_at_an_observation_and_hide_their_end():
    rng = np.random.default_rng(7)
    spells = [*SPELLS, Spell(np.arange(3.0), np.ones((3, DIM)))]
    made = [p for _ in range(20) for p in parts(spells, rng)]
    assert len(made) == 20 * len(SPELLS)  # three observed times are too few to part
    for p in made:
        assert p.t[0] == 0.0 and p.seen is not None
        shown = np.atleast_1d(p.seen.any(axis=1))
        assert shown[0] and (p.asked is None)
        assert (~np.isnan(p.x[p.seen])).sum() > 0
    assert any(not np.all(p.seen) for p in made) and any(len(p.t) < 4 for p in made)


def test_the_end_of_a_held_out_series_is_hidden():
    rng = np.random.default_rng(8)
    for one in SPELLS:
        made = hidden_end(one, rng)
        late = one.t > one.t[0] + 0.6 * (one.t[-1] - one.t[0])
        assert made.seen is not None and made.asked is not None
        assert not made.seen[late].any() and made.seen[0].all()
        assert (made.seen ^ made.asked).all()
    assert seen_before_end(np.zeros(1), np.ones((1, 1)), rng).all()


def test_quantiles_ranks_and_sizes():
    scores = np.arange(1.0, 100.0)
    assert conformal(scores, 0.9) == 90.0
    assert conformal(scores[:5], 0.9) == pytest.approx(1.6449, abs=1e-4)  # a normal's
    assert area(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])) == 0.75
    assert [rounded(n) for n in (1, 33, 64, 65)] == [32, 64, 64, 128]
    pairs = normals(6, 2)
    np.testing.assert_array_equal(pairs[:3], -pairs[3:])
