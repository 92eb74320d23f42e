"""Variational autoencoders: what their densities, bounds and posteriors must satisfy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from tenkai import FlowVAE, InputError, fit, load
from tenkai.fields import Linear
from tenkai.flows import Grid, Hutchinson
from tenkai.flows.dynamics import Dynamics
from tenkai.flows.vae import (
    VAE,
    Belief,
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    FFJORDPosterior,
    Gaussian,
    IAFPosterior,
    Likelihood,
    NoFlow,
    PlanarPosterior,
    PosteriorFamily,
    SylvesterPosterior,
    normal_divergence,
)
from tenkai.flows.vae.evaluation import bounds
from tenkai.flows.vae.objective import Table, Warming, negative_elbo, warmth
from tenkai.flows.vae.table import Columns, independent
from tenkai.flows.vae.telling import status_of
from tenkai.records import Status

FAMILIES = [
    NoFlow(),
    PlanarPosterior(layers=3),
    SylvesterPosterior(layers=2, units=2),
    IAFPosterior(layers=2, width=8, context=3),
    FFJORDPosterior(rank=2, width=6, depth=1),
    FFJORDPosterior(rank=2, width=6, depth=2, blocks=2, activation="tanh"),
]


def ids(family: PosteriorFamily) -> str:
    return repr(family)


# --- likelihoods ---


@pytest.mark.parametrize("kind", [Bernoulli, DiscretisedLogistic, Categorical])
def test_probabilities_of_all_values_sum_to_one(kind: Any) -> None:
    random = np.random.default_rng(0)
    levels = 2 if kind is Bernoulli else 7
    x = random.integers(0, levels, (20, 1))
    with jax.enable_x64(True):
        made = kind.of(x) if kind is Bernoulli else kind.of(x, levels)
        for size in (0.0, 1.0, 5.0):
            out = jnp.asarray(size * random.standard_normal(made.outputs))
            values = jnp.arange(levels, dtype=float)[:, None]
            p = np.exp(jax.vmap(lambda v, out=out: made.log_prob(v, out))(values))
            assert p.sum() == pytest.approx(1.0, abs=1e-12)
            if kind is not DiscretisedLogistic:
                assert float(made.mean(out)[0]) == pytest.approx(p @ np.arange(levels), abs=1e-12)


def test_the_logistic_stays_finite_far_from_its_centre() -> None:
    made = DiscretisedLogistic.of(np.full((3, 1), 100))
    x = jnp.arange(256.0)[:, None]
    out = jnp.array([0.0, -30.0])  # as narrow as it may be
    logs = jax.vmap(lambda v: made.log_prob(v, out))(x)
    assert np.isfinite(logs).all() and int(jnp.argmax(logs)) == 100
    slope = jax.grad(lambda out: made.log_prob(x[255], out))(out)
    assert np.isfinite(slope).all()


def test_a_gaussian_is_the_normal_density_and_bounded() -> None:
    with jax.enable_x64(True):
        made = Gaussian.of(np.zeros((2, 3)))
        x, out = jnp.array([0.3, -1.0, 2.0]), jnp.array([0.0, 0.5, 1.0])
        law = multivariate_normal(out, np.diag(np.exp(2 * np.asarray(made.log_sd))))
        assert float(made.log_prob(x, out)) == pytest.approx(law.logpdf(x))
        narrow = eqx.tree_at(lambda m: m.raw, made, jnp.full(3, -50.0))
        np.testing.assert_allclose(np.exp(narrow.log_sd), 1e-3)


def test_samples_follow_the_likelihood() -> None:
    made = DiscretisedLogistic.of(np.full((3, 1), 4), 9)
    out = jnp.array([0.5, 0.2])
    drawn = jax.vmap(lambda k: made.sample(out, k))(jax.random.split(jax.random.key(0), 20_000))
    share = np.bincount(np.asarray(drawn[:, 0], int), minlength=9) / 20_000
    p = np.exp(jax.vmap(lambda v: made.log_prob(v, out))(jnp.arange(9.0)[:, None]))
    np.testing.assert_allclose(share, p, atol=0.015)


# --- posteriors ---


def steered(family: PosteriorFamily, latent: int = 3) -> tuple[Any, Any]:
    """A flow, and numbers far from where it begins."""
    flow = family.build(latent, key=jax.random.key(0))
    start = flow.start(jax.random.key(1)) if flow.numbers else jnp.zeros(0)
    return flow, start + 0.7 * jax.random.normal(jax.random.key(2), start.shape)


@pytest.mark.parametrize("family", FAMILIES, ids=ids)
def test_density_of_a_draw_is_that_of_the_map_from_noise(family: PosteriorFamily) -> None:
    with jax.enable_x64(True):
        model = model_of(family)
        flow, numbers = steered(family)
        model = eqx.tree_at(lambda m: m.flow, model, flow)
        belief = Belief(jnp.array([0.5, -1.0, 0.2]), jnp.array([-0.5, 0.3, 0.0]), numbers)
        noise = jnp.array([0.4, -0.8, 1.1])
        drawn = model.draw(belief, noise)
        jacobian = jax.jacfwd(lambda e: model.draw(belief, e).z)(noise)
        base = multivariate_normal(np.zeros(3)).logpdf(noise)
        expected = base - np.linalg.slogdet(np.asarray(jacobian))[1]
        # A continuous flow's log-determinant is that of the differential equation.
        exact = not isinstance(family, FFJORDPosterior)
        assert float(drawn.log_q) == pytest.approx(expected, abs=1e-9 if exact else 2e-3)
        assert exact or abs(float(drawn.nfe)) > 0


def test_the_error_of_a_continuous_posterior_is_that_of_its_grid() -> None:
    with jax.enable_x64(True):
        errors = []
        for steps in (4, 8):
            family = FFJORDPosterior(rank=2, width=6, depth=2, solver=Grid(steps))
            flow, numbers = steered(family)
            z = jnp.array([0.4, -0.8, 1.1])
            jacobian = np.asarray(jax.jacfwd(lambda z: flow(z, numbers).y)(z))  # noqa: B023
            errors.append(abs(float(flow(z, numbers).log_det) - np.linalg.slogdet(jacobian)[1]))
        assert errors[1] < errors[0] / 6


@pytest.mark.parametrize("family", FAMILIES, ids=ids)
def test_posteriors_begin_about_at_the_encoders_normal(family: PosteriorFamily) -> None:
    flow = family.build(3, key=jax.random.key(0))
    numbers = flow.start(jax.random.key(1)) if flow.numbers else jnp.zeros(0)
    z = jnp.array([0.4, -0.8, 1.1])
    moved = flow(z, numbers)
    flipped = z[::-1] if isinstance(family, IAFPosterior) and family.layers % 2 else z
    assert float(jnp.abs(moved.y - flipped).max()) < 0.5
    assert abs(float(moved.log_det)) < 1.0


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_closed_divergence_of_changed_weights(depth: int) -> None:
    with jax.enable_x64(True):
        flow, numbers = steered(FFJORDPosterior(rank=2, width=5, depth=depth))
        layers = jax.tree.map(lambda a: a[0], flow.layers)
        field = flow.flow(layers, numbers).field.prepared()
        y = jnp.array([0.4, -0.8, 1.1])
        value, divergence = field.with_divergence(0.3, y)
        jacobian = jax.jacfwd(lambda y: field(0.3, y))(y)
        np.testing.assert_allclose(value, field(0.3, y))
        assert float(divergence) == pytest.approx(float(jnp.trace(jacobian)), abs=1e-12)


def test_changed_weights_are_the_weights_plus_the_product_of_the_factors() -> None:
    with jax.enable_x64(True):
        flow, numbers = steered(FFJORDPosterior(rank=2, width=5, depth=2, activation="tanh"))
        layers = jax.tree.map(lambda a: a[0], flow.layers)
        whole = Dynamics(3, key=jax.random.key(0), width=5, depth=2, kind="concat")
        for i, own in enumerate(flow.factors(numbers)):
            linear = Linear(1, 1, key=jax.random.key(0))
            weight = layers[i].linear.weight + own.u @ own.v.T
            parts = (weight, layers[i].linear.bias + own.bias)
            linear = eqx.tree_at(lambda m: (m.weight, m.bias), linear, parts)
            layer = eqx.tree_at(lambda m: (m.linear, m.drift), layers[i], (linear, layers[i].drift))
            whole = eqx.tree_at(lambda m, i=i: m.layers[i], whole, layer)
        y = jnp.array([0.4, -0.8, 1.1])
        field = flow.flow(layers, numbers).field
        np.testing.assert_allclose(field(0.3, y), whole(0.3, y), atol=1e-14)


def test_rank_zero_leaves_the_weights_alone() -> None:
    with jax.enable_x64(True):
        none = FFJORDPosterior(rank=0, width=5).build(3, key=jax.random.key(0))
        some = FFJORDPosterior(rank=2, width=5).build(3, key=jax.random.key(0))
        assert none.numbers == 5 + 3  # biases alone
        z = jnp.array([0.4, -0.8, 1.1])
        start = some.start(jax.random.key(1))  # U = 0
        a, b = none(z, jnp.zeros(none.numbers)), some(z, start)
        np.testing.assert_array_equal(a.y, b.y)
        assert float(a.log_det) == pytest.approx(float(b.log_det), abs=1e-14)


def test_noise_estimates_the_divergence_without_bias() -> None:
    with jax.enable_x64(True):
        exact, numbers = steered(FFJORDPosterior(rank=2, width=6, depth=2))
        noisy = dataclasses.replace(exact, divergence=Hutchinson())
        z = jnp.array([0.4, -0.8, 1.1])
        keys = jax.random.split(jax.random.key(0), 4000)
        logs = np.asarray(jax.vmap(lambda k: noisy(z, numbers, k).log_det)(keys))
        error = logs.mean() - float(exact(z, numbers).log_det)
        assert abs(error) < 4 * logs.std() / np.sqrt(len(logs)) and logs.std() > 0


# --- bounds ---


def model_of(family: PosteriorFamily = NoFlow(), depth: int = 1, dim: int = 4) -> VAE:
    x = np.random.default_rng(0).standard_normal((10, dim))
    return VAE(
        np.zeros(dim), np.ones(dim), Gaussian.of(x), family, latent=3, width=8, depth=depth,
        activation="tanh", key=jax.random.key(0),
    )  # fmt: skip


def linear_gaussian(exact: bool) -> tuple[VAE, np.ndarray, np.ndarray]:
    """x = W z + b + s e with orthogonal columns of W, so the true posterior is diagonal."""
    random = np.random.default_rng(1)
    q = np.linalg.qr(random.standard_normal((5, 3)))[0] * [2.0, 1.0, 0.5]
    b, s = random.standard_normal(5), 0.6
    model = VAE(
        np.zeros(5), np.ones(5), Gaussian.of(np.zeros((2, 5))), NoFlow(), latent=3, width=1,
        depth=0, activation="tanh", key=jax.random.key(0),
    )  # fmt: skip
    raw = np.log(s - 1e-3)  # the floor is added
    decoder = (jnp.asarray(q), jnp.asarray(b))
    model = eqx.tree_at(
        lambda m: (m.decoder.layers[0].weight, m.decoder.layers[0].bias, m.likelihood.raw),
        model, (*decoder, jnp.full(5, raw)),
    )  # fmt: skip
    precision = (q**2).sum(0) / s**2 + 1
    mean = (q / s**2 / precision).T
    log_sd = -0.5 * np.log(precision) + (0.0 if exact else 0.4)
    # The encoder bounds log sd smoothly: 8 tanh(raw / 8).
    raw_sd = 8 * np.arctanh(log_sd / 8)
    weight = np.concatenate([mean, np.zeros((3, 5))])
    bias = np.concatenate([-mean @ b, raw_sd])
    model = eqx.tree_at(
        lambda m: (m.centre.weight, m.centre.bias), model, (jnp.asarray(weight), jnp.asarray(bias))
    )
    x = random.standard_normal((300, 3)) @ q.T + b + s * random.standard_normal((300, 5))
    truth = multivariate_normal(b, q @ q.T + s**2 * np.eye(5)).logpdf(x)
    return model, x, truth


def test_with_the_true_posterior_every_draw_gives_the_likelihood() -> None:
    with jax.enable_x64(True):
        model, x, truth = linear_gaussian(exact=True)
        found = bounds(model, x, draws=2)
        np.testing.assert_allclose(found.elbo, truth, atol=1e-9)
        np.testing.assert_allclose(found.log_p, truth, atol=1e-9)


def test_importance_weights_rise_from_the_elbo_to_the_likelihood() -> None:
    with jax.enable_x64(True):
        model, x, truth = linear_gaussian(exact=False)
        means = [bounds(model, x, draws=k).log_p.mean() for k in (1, 8, 64)]
        assert means == sorted(means)
        elbo = bounds(model, x, draws=64).elbo
        belief = jax.vmap(model.belief)(jnp.asarray(x))
        kl_to_truth = 3 * (0.5 * np.exp(0.8) - 0.5 - 0.4)  # KL of a normal that is e^.4 too wide
        assert elbo.mean() == pytest.approx(truth.mean() - kl_to_truth, abs=0.03)
        assert means[-1] == pytest.approx(truth.mean(), abs=0.005)
        assert (elbo < truth + 0.5).all() and np.isfinite(belief.mean).all()


def test_closed_divergence_of_the_normal_is_the_mean_over_draws() -> None:
    with jax.enable_x64(True):
        model = model_of()
        belief = Belief(jnp.array([0.5, -1.0, 0.2]), jnp.array([-0.5, 0.3, 0.0]), jnp.zeros(0))
        noise = jax.random.normal(jax.random.key(0), (200_000, 3))
        x = jnp.zeros(4)
        drawn = np.asarray(jax.vmap(lambda e: model.terms(x, belief, e).divergence)(noise))
        error = drawn.mean() - float(normal_divergence(belief))
        assert abs(error) < 4 * drawn.std() / np.sqrt(len(drawn))


def test_the_divergence_warms_up() -> None:
    assert [float(warmth(k, 4.0)) for k in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert float(warmth(0, 0.0)) == 1.0
    model = model_of(PlanarPosterior(layers=2))
    x = np.random.default_rng(0).standard_normal((6, 4))
    table = Table(x.astype(np.float32), np.int32(6), np.float32(10), np.float32(0))
    at = [
        negative_elbo(6)(Warming(model, jnp.int32(k)), table, jax.random.key(0)) for k in (0, 5, 20)
    ]
    values = [float(v) for v, _ in at]
    assert values[1] - values[0] == pytest.approx((values[2] - values[0]) / 2, abs=1e-5)
    assert int(at[1][1].state.step) == 6 and at[1][1].state.vae.centre.weight is None


class Quadratic(eqx.Module):
    """The decoder whose posterior is a banana: only z_1 + z_0^2 is seen."""

    def __call__(self, z: Any) -> Any:
        return (z[1] + z[0] ** 2)[None]


class Known(Likelihood):
    """A normal with a standard deviation that nothing trains."""

    dim: int = eqx.field(static=True, default=1)
    outputs: int = eqx.field(static=True, default=1)

    def log_prob(self, x: Any, out: Any) -> Any:
        return -0.5 * jnp.sum(((x - out) / 0.3) ** 2) - np.log(0.3) - 0.5 * np.log(2 * np.pi)

    def mean(self, out: Any) -> Any:
        return out

    def sample(self, out: Any, key: Any) -> Any:
        return out


def test_flows_are_better_where_the_posterior_is_no_normal() -> None:
    random = np.random.default_rng(0)
    z = random.standard_normal((512, 2))
    x = (z[:, 1] + z[:, 0] ** 2 + 0.3 * random.standard_normal(512))[:, None].astype(np.float32)
    table = Table(x, np.int32(512), np.float32(50), np.float32(0))
    grid = np.linspace(-5, 5, 401)
    a, b = np.meshgrid(grid, grid)
    prior = -0.5 * (a**2 + b**2) - np.log(2 * np.pi)
    truth = np.array([
        np.log(np.exp(prior - 0.5 * ((v - b - a**2) / 0.3) ** 2).sum() * 0.025**2)
        - np.log(0.3) - 0.5 * np.log(2 * np.pi)
        for v in x[:64, 0]
    ])  # fmt: skip
    elbo = {}
    for family in (NoFlow(), FFJORDPosterior(rank=4, width=32), IAFPosterior(width=32, context=8)):
        model = VAE(
            np.zeros(1), np.ones(1), Known(), family, latent=2, width=32, depth=1,
            activation="tanh", key=jax.random.key(1),
        )  # fmt: skip
        model = eqx.tree_at(lambda m: m.decoder, model, Quadratic())
        made = fit(
            Warming(model, jnp.zeros((), jnp.int32)), negative_elbo(128), table, steps=600,
            key=jax.random.key(0), progress=False,
        )  # fmt: skip
        found = bounds(made.model.vae, x[:64], draws=256)
        assert found.elbo.mean() < truth.mean() + 0.02
        elbo[type(family)] = found.elbo.mean()
    assert elbo[FFJORDPosterior] > elbo[NoFlow] + 0.1
    assert elbo[IAFPosterior] > elbo[NoFlow] - 0.02


# --- the estimator ---


def circle(n: int = 240) -> np.ndarray:
    random = np.random.default_rng(0)
    angle = random.uniform(0, 2 * np.pi, n)
    x = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle)], axis=1)
    return 3 + 2 * x + 0.1 * random.standard_normal((n, 3))


def trained(X: Any, flow: Any = None, **options: Any) -> FlowVAE:
    settings = {
        "latent": 2,
        "width": 32,
        "depth": 1,
        "warm_up": 50,
        "steps": 400,
        "learning_rate": 5e-3,
    } | options
    return FlowVAE(flow, **settings).fit(X, progress=False)


@pytest.fixture(scope="module")
def table() -> FlowVAE:
    return trained(pd.DataFrame(circle(), columns=["x", "高さ", "z"]), IAFPosterior(2, 16))


@pytest.fixture(scope="module")
def images() -> FlowVAE:
    return trained(blobs(), steps=300)


def blobs(n: int = 200) -> np.ndarray:
    """Bright spots on a dark ground, 6 x 5 bytes."""
    random = np.random.default_rng(0)
    at = random.uniform(1, 4, (n, 2))
    rows, columns = np.mgrid[:6, :5]
    far = (rows - at[:, :1, None]) ** 2 + (columns - at[:, 1:, None]) ** 2
    light = 220 * np.exp(-far / 2) + 6 * random.standard_normal((n, 6, 5)) + 20
    return np.clip(np.round(light), 0, 255).astype(np.uint8)


def test_a_table_is_learned_in_its_own_units(table: FlowVAE) -> None:
    x = circle()
    assert table.fit_.status.ok and table.held_out_.elbo > table.held_out_.independent
    assert table.encode(x).mean.shape == (240, 2) and table.transform(x).shape == (240, 2)
    assert table.encode(x[:3], samples=5).shape == (3, 5, 2)
    assert (table.encode(x).sd > 0).all()
    again = table.reconstruct(x)
    assert ((again - x) ** 2).sum() < 0.3 * ((x - x.mean(0)) ** 2).sum()
    drawn = table.sample(500)
    assert drawn.dtype == float and np.abs(drawn.mean(0) - x.mean(0)).max() < 0.5
    scores = table.score_samples(x)
    assert scores.mean() >= table.elbo(x).mean() and table.score(x) == scores.mean()


def test_densities_change_with_the_units(table: FlowVAE) -> None:
    x = circle()
    scaled = trained(1000 * x, IAFPosterior(2, 16))
    gap = table.score_samples(x) - scaled.score_samples(1000 * x)
    np.testing.assert_allclose(gap, 3 * np.log(1000), atol=0.05)
    with pytest.raises(InputError, match="real numbers"):
        table.bits_per_dim(x)


def test_images_keep_their_shape_and_type(images: FlowVAE) -> None:
    x = blobs()
    assert images.columns_.kind == "logistic" and images.fit_.status.ok
    assert images.sample(3).shape == (3, 6, 5) and images.sample(3).dtype == np.uint8
    assert images.sample(3, noise=False).dtype == float
    assert images.reconstruct(x[:7]).shape == (7, 6, 5) and images.decode([[0.0, 1.0]]).shape == (
        1,
        6,
        5,
    )
    bits = images.bits_per_dim(x)
    assert bits == pytest.approx(-images.elbo(x).mean() / 30 / np.log(2))
    assert images.bits_per_dim(x, importance=32) < bits < 8
    flat = images.elbo(x.reshape(200, 30))
    np.testing.assert_array_equal(flat, images.elbo(x))


def test_a_file_gives_the_same_bits(images: FlowVAE, tmp_path: Path) -> None:
    images.save(tmp_path / "vae.safetensors")
    again = load(tmp_path / "vae.safetensors")
    x = blobs()
    np.testing.assert_array_equal(again.score_samples(x), images.score_samples(x))
    np.testing.assert_array_equal(again.sample(4), images.sample(4))
    assert again.held_out_ == images.held_out_ and again.get_params() == images.get_params()
    assert again.fit_.status == images.fit_.status
    again.save(tmp_path / "second.safetensors")
    with pytest.raises(InputError, match="field="):
        load(tmp_path / "vae.safetensors", field=abs)


@pytest.mark.parametrize("family", [*FAMILIES, FFJORDPosterior(divergence=Hutchinson(samples=2))])
def test_posteriors_are_stored_as_words(family: PosteriorFamily) -> None:
    from tenkai.estimators.flow_vae_saving import from_words, in_words

    assert from_words(in_words(family), "file") == family


@pytest.mark.parametrize(
    "family",
    [
        PlanarPosterior(2),
        SylvesterPosterior(2),
        pytest.param(FFJORDPosterior(2, 8), marks=pytest.mark.slow),
    ],
)
def test_every_posterior_trains_and_scores(family: PosteriorFamily, tmp_path: Path) -> None:
    x = circle(100)
    vae = trained(x, family, steps=100, width=8)
    assert np.isfinite(vae.score_samples(x, importance=8)).all()
    assert vae.held_out_.elbo <= vae.held_out_.log_likelihood + 0.05
    vae.save(tmp_path / "vae.safetensors")
    again = load(tmp_path / "vae.safetensors")
    np.testing.assert_array_equal(again.elbo(x), vae.elbo(x))
    if isinstance(family, FFJORDPosterior):
        assert (vae.nfe(x, rtol=1e-6).mean() >= vae.nfe(x, rtol=1e-2).mean()) and vae.nfe(
            x
        ).min() > 0
    else:
        with pytest.raises(InputError, match="continuous"):
            vae.nfe(x)


def test_bits_and_grey_values() -> None:
    random = np.random.default_rng(0)
    bits = (random.uniform(size=(80, 6)) < 0.3 + 0.4 * (np.arange(80) % 2)[:, None]).astype(int)
    vae = trained(bits, steps=100, width=8)
    assert vae.columns_.kind == "bernoulli" and set(np.unique(vae.sample(50))) == {0, 1}
    # The probabilities of all 64 rows sum to one, but for the noise of the weights.
    every = (np.arange(64)[:, None] >> np.arange(6)) & 1
    total = np.exp(vae.score_samples(every, importance=512)).sum()
    assert total == pytest.approx(1.0, abs=0.02)
    grey = trained(random.uniform(size=(60, 3, 2)), steps=20, width=8)
    assert grey.columns_.kind == "bernoulli" and grey.sample(2).shape == (2, 3, 2)


def test_labels() -> None:
    random = np.random.default_rng(0)
    first = random.integers(0, 4, 100)
    x = np.stack([first, (first + 1) % 4, random.integers(0, 3, 100)], axis=1)
    vae = trained(x, likelihood="categorical", steps=150)
    assert vae.sample(30).max() <= 3 and vae.sample(30).dtype == np.uint8
    assert vae.held_out_.bits_per_dim is not None and vae.bits_per_dim(x) < 2.2


def test_pictures(table: FlowVAE, images: FlowVAE) -> None:
    panels = table.plot()
    assert len(panels) == 4 and panels[0].get_ylabel() == "高さ"
    assert len(images.plot()) == 3 and images.plot()[0].images


def test_status_tells_a_collapse_and_a_model_without_use(table: FlowVAE) -> None:
    fine = Status("finished", "all steps")
    held = table.held_out_
    assert status_of(held, fine).ok
    idle = status_of(dataclasses.replace(held, active=0), fine)
    assert idle.kind == "posterior collapse" and "warm_up" in idle.remedy and not idle.ok
    useless = status_of(dataclasses.replace(held, independent=held.log_likelihood + 1), fine)
    assert useless.kind == "not converged" and not useless.ok
    lost = status_of(dataclasses.replace(held, elbo=float("nan")), fine)
    assert lost.kind == "diverged" and not lost.ok


def test_training_never_returns_nan() -> None:
    wild = trained(circle(), learning_rate=0.99, steps=200)
    assert isinstance(wild.fit_.status, Status)
    assert all(
        np.isfinite(leaf).all()
        for leaf in jax.tree.leaves(eqx.filter(wild.model_, eqx.is_inexact_array))
    )


def test_the_same_seed_gives_the_same_bits() -> None:
    x = circle(60)
    a, b = (trained(x, steps=20, width=8) for _ in range(2))
    np.testing.assert_array_equal(a.elbo(x), b.elbo(x))
    other = trained(x, steps=20, width=8, seed=1)
    assert (other.elbo(x) != a.elbo(x)).all()


def test_double_precision_is_told_by_the_argument() -> None:
    vae = trained(circle(60), steps=20, width=8, precision="float64")
    assert vae.model_.centre.weight.dtype == np.float64
    assert jnp.zeros(1).dtype == np.float32


def test_independent_columns() -> None:
    x = np.random.default_rng(0).integers(0, 2, (1000, 2))
    columns, rows = Columns.of(x)
    rate = (rows.sum(0) + 0.5) / 1001
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)).sum()
    assert independent(rows, rows, columns) == pytest.approx(-entropy, abs=1e-3)


@pytest.mark.parametrize(
    ("X", "options", "words"),
    [
        (np.r_[circle(20), [[np.nan, 0, 0]]], {}, "column 0.*nan"),
        (pd.DataFrame(circle(20), columns=list("abc")).assign(c=1.0), {}, "column 'c'.*vary"),
        (circle(5), {}, "rows"),
        (circle(20)[:, 0], {}, "two axes"),
        (np.full((20, 2), "a"), {}, "numbers"),
        (circle(20), {"likelihood": "bernoulli"}, "from 0 to 1"),
        (circle(20), {"likelihood": "logistic"}, "whole numbers"),
        (circle(20), {"likelihood": "poisson"}, "likelihood"),
        (circle(20), {"flow": "planar"}, "PlanarPosterior|families|family"),
        (circle(20), {"latent": 0}, "latent"),
        (circle(20), {"learning_rate": float("nan")}, "learning_rate"),
    ],
)
def test_bad_input_is_one_line(X: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        FlowVAE(**({"steps": 1} | options)).fit(X)


def test_rows_of_another_shape_are_refused(images: FlowVAE) -> None:
    with pytest.raises(InputError, match="shape"):
        images.score_samples(np.zeros((3, 7, 5), np.uint8))
    with pytest.raises(InputError, match="latent"):
        images.decode(np.zeros((2, 3)))
    with pytest.raises(InputError, match="fit"):
        FlowVAE().sample()
