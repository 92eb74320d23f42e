"""Kernel regression: the blocked estimate against the plain one, starts, projections."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenkai.devices import arithmetic
from tenkai.manifolds import Manifold, evaluation
from tenkai.manifolds.estimate import Rows, block_size, error, estimate
from tenkai.manifolds.kernels import KERNELS, squared_distances
from tenkai.manifolds.learning import Recipe, choose_bandwidth, learn
from tenkai.manifolds.starts import fit_box, prepare, start


def rows_of(n: int, dim: int, *, gaps: bool, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    x, seen = random.normal(size=(n, dim)), random.uniform(0.5, 2, (n, 1))
    if gaps:
        seen = seen * (random.uniform(size=(n, dim)) > 0.2)
        x = np.where(seen > 0, x, 0.0)
    return Rows(x, seen, (seen * x**2).sum())


def plain(kernel: str, left_out: bool, u: jax.Array, rows: Rows) -> jax.Array:
    """The definition, with every array in full."""
    k = KERNELS[kernel].value(jnp.sum((u[:, None] - u[None]) ** 2, axis=-1), u.shape[1])
    k = k * (1 - jnp.eye(len(u))) if left_out else k
    mass = k @ rows.seen
    f = jnp.where(mass > 0, k @ (rows.seen * rows.x) / jnp.where(mass > 0, mass, 1), 0)
    return jnp.sum(rows.seen * (f - rows.x) ** 2) / rows.total


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("left_out", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("latents", [1, 2, 6])  # by differences and by a product
def test_error_and_gradient_are_those_of_the_definition(
    latents: int, kernel: str, left_out: bool, gaps: bool
) -> None:
    with arithmetic("float64"):
        rows = rows_of(33, 4, gaps=gaps)
        u = jnp.asarray(np.random.default_rng(1).normal(size=(33, latents)))
        wanted, slope = jax.value_and_grad(lambda v: plain(kernel, left_out, v, rows))(u)
        found, hand = jax.value_and_grad(lambda v: error(kernel, left_out, v, rows))(u)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        np.testing.assert_allclose(hand, slope, atol=1e-13)
        np.testing.assert_allclose(error(kernel, left_out, u, rows), wanted, rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_slope_of_a_kernel_is_its_derivative(kernel: str) -> None:
    with arithmetic("float64"):
        s = jnp.linspace(0.1, 7.0, 9)
        made = KERNELS[kernel]
        for latents in (1, 2, 3):
            slope = jax.vmap(jax.grad(lambda v, d=latents: made.value(v, d)))(s)
            found = made.slope(s, made.value(s, latents), latents)
            np.testing.assert_allclose(found, slope, rtol=1e-12)


@pytest.mark.parametrize("kernel", ["gaussian", "quartic"])
@pytest.mark.parametrize("latents", [1, 2])
def test_standard_deviation_of_a_kernel_is_one_bandwidth(kernel: str, latents: int) -> None:
    way = np.linspace(-8, 8, 321)
    grid = np.stack(np.meshgrid(*[way] * latents), axis=-1).reshape(-1, latents)
    k = np.asarray(KERNELS[kernel].value(jnp.asarray((grid**2).sum(1)), latents))
    assert (k @ grid[:, 0] ** 2 / k.sum()) == pytest.approx(1.0, abs=2e-3)


def test_many_blocks_give_what_one_gives() -> None:
    n = 700
    assert block_size(n) < n
    with arithmetic("float64"):
        rows = rows_of(n, 3, gaps=False)
        u = jnp.asarray(np.random.default_rng(2).normal(size=(n, 2)))
        found = estimate("gaussian", True, u, rows, u, jnp.arange(n))
        k = jnp.exp(-0.5 * squared_distances(u, u)) * (1 - jnp.eye(n))
        f = k @ (rows.seen * rows.x) / (k @ rows.seen)
        np.testing.assert_allclose(found.f, f, rtol=1e-9)
        np.testing.assert_allclose(found.mass, k.sum(1), rtol=1e-12)


def test_memory_of_the_gradient_grows_with_the_rows_not_with_their_square() -> None:
    def temporary(n: int) -> float:
        rows = Rows(*(jax.ShapeDtypeStruct(s, np.float32) for s in ((n, 3), (n, 1), ())))
        program = jax.jit(jax.grad(lambda u, r: error("gaussian", True, u, r)))
        u = jax.ShapeDtypeStruct((n, 2), np.float32)
        return program.lower(u, rows).compile().memory_analysis().temp_size_in_bytes

    assert temporary(16_000) < 20e6 < 4 * 16_000**2
    assert temporary(16_000) < 8 * temporary(4_000)


def test_a_row_that_nothing_is_near_to_keeps_everything_finite() -> None:
    with arithmetic("float64"):
        rows = rows_of(20, 2, gaps=False)
        u = np.random.default_rng(0).normal(size=(20, 2))
        u[3] = 1e6
        for kernel in KERNELS:
            value, slope = jax.value_and_grad(lambda v, k=kernel: error(k, True, v, rows))(u)
            assert np.isfinite(value)
            assert np.isfinite(slope).all()


def test_rows_that_are_the_same_stand_for_one() -> None:
    x = np.array([[1.0, 2.0], [3.0, np.nan], [1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])
    ready = prepare(x, np.array([1.0, 1.0, 2.0, 0.0, 1.0]))
    assert len(ready.weight) == 3
    assert ready.where[0] == ready.where[2]
    assert ready.where[3] == -1  # it weighs nothing
    np.testing.assert_allclose(ready.weight[ready.where[[0, 1, 4]]] / ready.weight.sum(),
                               [0.6, 0.2, 0.2])  # fmt: skip
    assert ready.rows.seen.shape == (3, 2)


@pytest.mark.parametrize("kind", ["pca", "spectral", "random"])
def test_starts_have_unit_width_or_fill_the_box(kind: str) -> None:
    rows = prepare(np.random.default_rng(0).normal(size=(60, 5)), np.ones(60)).rows
    z, _ = start(kind, rows, 2, seed=0, box=None)
    assert z.std(0).max() == pytest.approx(1.0)
    boxed, _ = start(kind, rows, 2, seed=0, box=(2.0, 4.0))
    assert 2.0 < boxed.min() < 2.2
    assert 3.8 < boxed.max() < 4.0
    again, _ = start(kind, rows, 2, seed=0, box=None)
    np.testing.assert_array_equal(z, again)


def test_more_latents_than_columns_get_thin_noise() -> None:
    rows = prepare(np.arange(8.0)[:, None], np.ones(8)).rows
    z, _ = start("pca", rows, 3, seed=0, box=None)
    assert (z.std(0)[1:] < 1e-2).all()
    assert (z.std(0)[1:] > 0).all()
    assert fit_box(z, (0.0, 1.0)).min() >= 0


def test_the_chosen_bandwidth_has_the_least_left_out_error() -> None:
    x = np.linspace(-1, 1, 80)[:, None] * [1.0, 2.0]
    x = x + 0.05 * np.random.default_rng(0).normal(size=x.shape)
    with arithmetic("float64"):
        rows = prepare(x, np.ones(80)).rows
        z, _ = start("pca", rows, 1, seed=0, box=None)
        width, missed = choose_bandwidth("gaussian", [z], rows, seed=0)
        for other in (0.5 * width, 2 * width):
            f = estimate("gaussian", True, z / other, rows, z / other, jnp.arange(80)).f
            assert float(((f - rows.x) ** 2).sum() / rows.total) >= missed


def line(n: int = 60) -> np.ndarray:
    t = np.linspace(-1, 1, n)
    return np.column_stack([t, t**2, np.sin(2 * t)])


@pytest.fixture(scope="module")
def curve() -> Manifold:
    with arithmetic("float64"):
        recipe = Recipe(latents=1, steps=150)
        return learn(line(), np.ones(60), recipe).manifold


def test_projection_is_a_minimum_and_a_pure_function(curve: Manifold) -> None:
    x = line(17) + 0.01
    with arithmetic("float64"):
        z = np.asarray(jax.jit(jax.vmap(curve.transform))(x))

        def value(z: np.ndarray) -> np.ndarray:
            f = (evaluation.inverse_transform(curve, z) - x) / curve.spread
            rare = np.log(evaluation.mass(curve, z))
            return 0.5 * (f**2).sum(1) / curve.noise - rare

        here = value(z)
        for step in (-1e-3, 1e-3):
            moved = value(z + step * curve.bandwidth)
            assert (moved >= here - 1e-9)[1:-1].all()  # beyond the ends it creeps
    np.testing.assert_allclose(evaluation.transform(curve, x), z, atol=1e-9)
    f = evaluation.inverse_transform(curve, z)
    assert np.sqrt(np.mean((f - x) ** 2)) < 0.03


def test_nearest_latent_begins_the_projection(curve: Manifold) -> None:
    with arithmetic("float64"):
        found = jax.vmap(curve.nearest_latent)(line())
        surface = curve.surface * curve.spread + curve.centre
        far = ((line()[:, None] - surface[None]) ** 2).sum(-1)
        np.testing.assert_array_equal(found, curve.latent[far.argmin(1)])


def test_far_from_all_latents_the_surface_is_the_nearest_row(curve: Manifold) -> None:
    far = np.array([[1e6], [-1e6]])
    ends = np.asarray(curve.latent).ravel()
    values = curve.values / curve.seen * curve.spread + curve.centre
    found = evaluation.inverse_transform(curve, far)
    np.testing.assert_allclose(found, values[[ends.argmax(), ends.argmin()]])


def test_unobserved_entries_do_not_move_a_projection(curve: Manifold) -> None:
    x = line(9) + 0.005
    whole = evaluation.transform(curve, x)
    x[:, 2] = np.nan
    np.testing.assert_allclose(evaluation.transform(curve, x), whole, atol=0.15)
    assert np.isfinite(evaluation.transform(curve, np.full((1, 3), np.nan))).all()
