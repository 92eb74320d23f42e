"""Flows of images keep the laws of every flow, and what is special to pixels."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenkai.convolution import convolve
from tenkai.errors import InputError
from tenkai.flows import (
    Architecture,
    ConvGlow,
    Exact,
    Hutchinson,
    ImageFlow,
    MultiscaleFFJORD,
    bits_per_dim,
    rows,
    squeeze,
    unsqueeze,
)
from tenkai.flows.images.dynamics import ConvDynamics
from tenkai.flows.images.evaluation import draw_images, evaluate
from tenkai.flows.images.pixels import Logit
from tenkai.flows.images.training import ImageRecipe, train, train_for

LEVELS = 16


def ffjord(shape: Any, **options: Any) -> MultiscaleFFJORD:
    given = {"scales": 2, "channels": 4, "depth": 1, "divergence": Exact(), "levels": LEVELS}
    return MultiscaleFFJORD(shape, **(given | options))


ARCHITECTURES = {
    "ffjord": ffjord,
    "ffjord, squeezed": lambda s: ffjord(s, scales=1, first_squeeze=True, blocks=2),
    "glow": lambda s: ConvGlow(s, scales=2, steps=3, channels=4, levels=LEVELS),
    "realnvp": lambda s: ConvGlow(s, scales=1, steps=2, channels=4, levels=LEVELS, rotates=False),
}


def images(shape: Any, count: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, LEVELS, (count, math.prod(shape)))


def shaken(architecture: Architecture, shape: Any) -> ImageFlow:
    """A flow that is not near the identity any more."""
    flow = architecture.build(math.prod(shape), key=jax.random.key(0))
    assert isinstance(flow, ImageFlow)
    rng = np.random.default_rng(1)

    def moved(leaf: Any) -> Any:
        return leaf + 0.05 * rng.normal(size=leaf.shape) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(moved, flow.started(images(shape)))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ffjord", (4, 4, 1)),
        ("ffjord, squeezed", (4, 4, 2)),
        ("glow", (4, 4, 1)),
        ("glow", (4, 4, 2)),
        ("realnvp", (4, 4, 1)),
    ],
)
def test_inverse_and_log_det_against_the_full_jacobian(name: str, shape: Any) -> None:
    with jax.enable_x64(True):
        flow = shaken(ARCHITECTURES[name](shape), shape)

        def there(x: Any) -> Any:
            moved = flow.to_base(x)
            return moved.y, moved

        def both_ways(x: Any) -> Any:
            jacobian, moved = jax.jacfwd(there, has_aux=True)(x)
            return jacobian, moved, flow.to_data(moved.y)

        x = jnp.asarray(np.random.default_rng(2).uniform(0, LEVELS, math.prod(shape)))
        jacobian, moved, back = jax.jit(both_ways)(x)
        whole = np.linalg.slogdet(np.asarray(jacobian))[1]
        assert jacobian.shape == (flow.dim, flow.dim)
        assert abs(float(moved.log_det) - whole) < 1e-5
        assert np.abs(np.asarray(back.y - x)).max() < 1e-5
        assert abs(float(back.log_det + moved.log_det)) < 1e-5
        assert bool(moved.ok)


def test_squeeze_keeps_every_pixel_and_its_block() -> None:
    image = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    small = np.asarray(squeeze(jnp.asarray(image)))
    assert small.shape == (2, 3, 12)
    assert set(small[0, 0]) == set(image[:2, :2].ravel())
    np.testing.assert_array_equal(unsqueeze(jnp.asarray(small)), image)


def test_bits_of_uniform_pixels_are_the_logarithm_of_the_levels() -> None:
    assert bits_per_dim(-784 * math.log(256), 784) == pytest.approx(8.0, abs=1e-12)
    assert bits_per_dim(0.0, 784, levels=256) == pytest.approx(8.0, abs=1e-12)
    assert bits_per_dim(-64 * math.log(17), 64) == pytest.approx(math.log2(17), abs=1e-12)


def test_logit_has_unit_mass_and_no_density_outside() -> None:
    with jax.enable_x64(True):
        logit = Logit(1, LEVELS, 0.05)
        y = np.linspace(-30, 30, 20001)
        x, log_det = jax.vmap(logit.to_data)(jnp.asarray(y)[:, None])
        density = np.exp(-(y**2) / 2) / math.sqrt(2 * math.pi) / np.exp(np.asarray(log_det))
        mass = np.trapezoid(density[np.abs(y) < 8], np.asarray(x)[np.abs(y) < 8, 0])
        assert mass == pytest.approx(1.0, abs=1e-6)
        beyond, log_det = logit.to_base(jnp.asarray([LEVELS * 1.2]))
        assert np.isfinite(float(beyond[0])) and float(log_det) == -np.inf


def test_started_standardises_the_pixels() -> None:
    x = images((4, 4, 1), 500)
    flow = ConvGlow((4, 4, 1), scales=1, steps=1, levels=LEVELS).build(16, key=jax.random.key(0))
    noisy = x + np.random.default_rng(0).uniform(size=x.shape)
    y = jax.vmap(flow.started(x).logit.to_base)(jnp.asarray(noisy, jnp.float32))[0]
    np.testing.assert_allclose(np.mean(y, axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.std(y, axis=0), 1, atol=1e-3)


def test_convolution_is_xlas_with_all_its_derivatives() -> None:
    rng = np.random.default_rng(0)
    pad = ((1, 1), (1, 1))

    def xla(x: Any, k: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, k, (1, 1), pad, dimension_numbers=layout)

    def through(convolution: Any) -> Any:
        def score(x: Any, k: Any, dx: Any, dk: Any) -> Any:
            value, tangent = jax.jvp(convolution, (x, k), (dx, dk))
            return jnp.sum(jnp.sin(value) * tangent)

        return jax.grad(score, (0, 1, 2, 3))

    with jax.enable_x64(True):
        x, dx = rng.normal(size=(2, 3, 5, 4, 2))
        k, dk = rng.normal(size=(2, 3, 3, 2, 3))
        mine = through(lambda x, k: convolve(x, k, pad))(x, k, dx, dk)
        for a, b in zip(mine, through(xla)(x, k, dx, dk), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-10)
        many_x, many_k = rng.normal(size=(4, 3, 5, 4, 2)), rng.normal(size=(4, 3, 3, 2, 3))
        for axes, a, b in (
            ((0, None), many_x, k),
            ((None, 0), x, many_k),
            ((0, 0), many_x, many_k),
        ):
            mine = jax.vmap(lambda x, k: convolve(x, k, pad), axes)(a, b)
            np.testing.assert_allclose(mine, jax.vmap(xla, axes)(a, b), atol=1e-10)


def test_the_time_is_a_channel_that_ends_at_the_border() -> None:
    with jax.enable_x64(True):
        layer = ConvDynamics((4, 4, 2), key=jax.random.key(0), channels=3, depth=1).layers[0]
        image, t = np.random.default_rng(0).normal(size=(4, 4, 2)), 0.7
        with_time = np.concatenate([image, np.full((4, 4, 1), t)], axis=-1)
        kernel = np.asarray(layer.convolution.patch.weight.T).reshape(3, 3, 2, 3)
        kernel = np.concatenate([kernel, np.asarray(layer.drift).reshape(3, 3, 1, 3)], axis=2)
        pad = ((1, 1), (1, 1))
        whole = convolve(jnp.asarray(with_time)[None], jnp.asarray(kernel), pad)[0]
        np.testing.assert_allclose(layer(t, jnp.asarray(image)), whole, atol=1e-6)


def test_hutchinson_of_convolutions_is_unbiased() -> None:
    with jax.enable_x64(True):
        field = ConvDynamics((4, 4, 2), key=jax.random.key(0), channels=6, depth=2, last_scale=1.0)
        y = jnp.asarray(np.random.default_rng(0).normal(size=32))
        value, exact = Exact().of(field, 0.3, y, None, None)
        estimator = Hutchinson()
        size = float(jnp.sum(jax.jacfwd(lambda y: field(0.3, y))(y) ** 2))

        def estimate(key: Any) -> Any:
            noise = estimator.noise(field, 32, y.dtype, key)
            return estimator.with_size(field, 0.3, y, None, noise)

        values, traces, sizes = jax.vmap(estimate)(jax.random.split(jax.random.key(1), 4000))
        for found, truth in ((traces, exact), (sizes, size)):
            error = float(jnp.std(found)) / math.sqrt(4000)
            assert error > 0 and abs(float(jnp.mean(found) - truth)) < 4 * error
        np.testing.assert_allclose(values[0], value)


def test_costs_join_over_all_blocks() -> None:
    flow = shaken(ffjord((4, 4, 1)), (4, 4, 1)).with_costs()
    moved = eqx.filter_jit(flow.to_base)(jnp.full(16, 7.5), key=jax.random.key(0))
    assert float(moved.kinetic) > 0 and float(moved.jacobian) > 0
    assert int(moved.nfe) == 3 * 9  # three continuous flows of eight steps


def test_training_raises_the_likelihood_of_images_with_structure() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, LEVELS, (400, 1))
    x = np.clip(grey + rng.integers(-1, 2, (400, 16)), 0, LEVELS - 1)
    flow = ffjord((4, 4, 1), scales=1, channels=8).build(16, key=jax.random.key(0))
    before = evaluate(flow.started(x[:300]), x[300:], draws=3)
    recipe = ImageRecipe(steps=80, batch=64, every=20, rate=5e-3)
    made = train(flow, x[:300], validation=x[300:350], recipe=recipe)
    after = evaluate(made.model, x[300:], draws=3)
    assert before.mean > 3.5 and after.mean < before.mean - 0.5
    assert after.weighted <= after.mean + 1e-6 and after.solved == 1.0
    assert made.history[-1]["nfe_forward"] == 9
    adaptive = evaluate(made.model.with_tolerance(1e-4), x[300:], draws=3)
    assert adaptive.mean == pytest.approx(after.mean, abs=0.05) and adaptive.nfe > 0
    drawn = draw_images(made.model, 5)
    assert drawn.shape == (5, 4, 4, 1) and drawn.min() >= 0 and drawn.max() < LEVELS


def test_a_budget_ends_in_a_second_cycle() -> None:
    flow = ConvGlow((4, 4, 1), scales=1, steps=1, channels=4, levels=LEVELS)
    made = train_for(
        flow.build(16, key=jax.random.key(0)), images((4, 4, 1), 60), 0.05,
        validation=images((4, 4, 1), 10, 1), recipe=ImageRecipe(steps=100, batch=16),
    )  # fmt: skip
    assert made.steps >= 10 and made.seconds < 60
    steps = [entry["step"] for entry in made.history]
    assert steps == sorted(steps) and np.isfinite(made.history[-1]["validation"])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ffjord((4, 4, 1)).build(17, key=jax.random.key(0)), "length of a row"),
        (lambda: ffjord((6, 6, 1), scales=3).build(36, key=jax.random.key(0)), "divisible by 4"),
        (lambda: ffjord((4, 4)).build(16, key=jax.random.key(0)), "height, width, channels"),
        (lambda: ffjord((4, 4, 1)).build(16, context=2, key=jax.random.key(0)), "no context"),
        (lambda: train(glow(), images((4, 4, 1)) / 16), "fractions"),
        (lambda: train(glow(), images((4, 4, 1)) + 9), "from 0 to 15"),
        (lambda: train(glow(), images((4, 2, 1))), "rows of 16 pixels"),
    ],
)
def test_bad_input_is_told(make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def glow() -> Any:
    return ConvGlow((4, 4, 1), scales=1, steps=1, levels=LEVELS).build(16, key=jax.random.key(0))


def test_images_are_not_whitened_but_dequantised() -> None:
    assert not MultiscaleFFJORD.whiten and MultiscaleFFJORD.dequantise
    assert not ConvGlow.whiten and ConvGlow.dequantise
    assert Architecture.whiten and not Architecture.dequantise
    x = jnp.asarray(images((4, 4, 1)) + 0.5, jnp.float32)
    assert np.isfinite(np.asarray(rows(glow().to_base, x).log_det)).all()
