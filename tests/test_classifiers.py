"""Bodies of one block: what they compute, their gradients, their sizes and their memory."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenkai import InputError
from tenkai.classifiers import (
    ODE,
    Augmentation,
    BodyKind,
    Design,
    LinearStem,
    PaperStem,
    Residual,
    RungeKutta,
    Stem,
    build,
)
from tenkai.classifiers.evaluation import at_tolerance, evaluate, states
from tenkai.classifiers.layers import GroupNorm, Halving, Patches
from tenkai.classifiers.learning import Recipe, learn, split
from tenkai.classifiers.memory import gradient_bytes
from tenkai.classifiers.objectives import Labelled, cross_entropy, held_out
from tenkai.classifiers.transport import Solver, backwards
from tenkai.convolution import convolve

ROWS = np.random.default_rng(0).normal(size=(6, 3))
IMAGES = np.random.default_rng(1).integers(0, 255, (5, 6, 6, 1)).astype(np.uint8)
DIGITS = (28, 28, 1)


def of_rows(body: BodyKind, width: int = 4) -> Design:
    return Design((3,), 2, body, LinearStem(), width, "tanh", (), ())


def of_images(body: BodyKind, width: int = 8) -> Design:
    return Design((6, 6, 1), 3, body, Stem(), width, "relu", (100.0,), (50.0,))


def made(design: Design) -> Any:
    """The network in float64, for use inside that precision."""
    network = build(design, key=jax.random.key(0))
    return jax.tree.map(
        lambda a: np.asarray(a, np.float64) if eqx.is_inexact_array_like(a) else a, network
    )


# --- layers ---


@pytest.mark.parametrize("channels, groups", [(6, 6), (64, 32), (33, 11)])
def test_group_norm_is_that_of_the_definition(channels: int, groups: int) -> None:
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        x = random.normal(3.0, 2.0, size=(4, 5, channels))
        scale, shift = random.normal(size=(2, channels))
        layer = eqx.tree_at(lambda n: (n.weight, n.bias), GroupNorm(channels), (scale, shift))
        assert layer.groups == groups
        parts = x.reshape(4, 5, groups, -1)
        mean, var = (f(parts, axis=(0, 1, 3), keepdims=True) for f in (np.mean, np.var))
        expected = ((parts - mean) / np.sqrt(var + 1e-5)).reshape(x.shape) * scale + shift
        np.testing.assert_allclose(layer(jnp.asarray(x)), expected, atol=1e-10)


def strided(x: Any, kernel: Any, stride: int, pad: int) -> Any:
    return jax.lax.conv_general_dilated(
        x[None], kernel, (stride, stride), [(pad, pad)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )[0]  # fmt: skip


@pytest.mark.parametrize("side, pad", [(13, 1), (14, 0), (26, 1)])
def test_halving_is_a_strided_convolution(side: int, pad: int) -> None:
    with jax.enable_x64(True):
        layer = Halving(2, 3, pad, key=jax.random.key(0))
        x = jnp.asarray(np.random.default_rng(0).normal(size=(side, side, 2)))
        kernel = layer.patch.weight.T.reshape(4, 4, 2, 3)
        np.testing.assert_allclose(layer(x), strided(x, kernel, 2, pad), atol=1e-6)


@pytest.mark.parametrize("size, stride, pad", [(3, 1, 1), (5, 2, 2), (3, 1, 0)])
def test_patches_are_a_convolution(size: int, stride: int, pad: int) -> None:
    with jax.enable_x64(True):
        layer = Patches(2, 3, size, stride, pad, key=jax.random.key(0))
        x = jnp.asarray(np.random.default_rng(0).normal(size=(9, 8, 2)))
        kernel = layer.linear.weight.T.reshape(size, size, 2, 3)
        np.testing.assert_allclose(layer(x), strided(x, kernel, stride, pad), atol=1e-6)


def test_gradients_of_small_kernels_are_those_of_xla() -> None:
    random, pad = np.random.default_rng(0), ((1, 0), (0, 1))

    def xla(x: Any, k: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, k, (1, 1), pad, dimension_numbers=layout)

    with jax.enable_x64(True):
        x, k = random.normal(size=(3, 6, 5, 4)), random.normal(size=(2, 2, 4, 3))
        mine, theirs = (
            jax.grad(lambda x, k, c=c: jnp.sum(jnp.sin(c(x, k))), (0, 1))(x, k)
            for c in (lambda x, k: convolve(x, k, pad), xla)
        )
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-10)


# --- the published architecture ---


@pytest.mark.parametrize(
    "body, count", [(ODE(), 208_266), (RungeKutta(), 208_266), (Residual(6), 576_778)]
)
def test_sizes_of_the_published_networks(body: BodyKind, count: int) -> None:
    design = Design(DIGITS, 10, body, PaperStem(), 64, "relu", (0.0,), (1.0,))
    network = eqx.filter_eval_shape(lambda: build(design, key=jax.random.key(0)))
    sizes = [math.prod(x.shape) for x in jax.tree.leaves(network) if hasattr(x, "dtype")]
    assert sum(sizes) == count


@pytest.mark.parametrize(
    "shape, stem, side", [(DIGITS, PaperStem(), 6), (DIGITS, Stem(), 6), ((8, 8, 3), Stem(), 8),
                          ((32, 32, 3), Stem(), 7), ((100, 64, 1), Stem(), 6)],
)  # fmt: skip
def test_stems_leave_a_small_state(shape: tuple[int, int, int], stem: Any, side: int) -> None:
    design = Design(shape, 10, ODE(), stem, 16, "relu", (0.0,), (1.0,))
    state = jax.eval_shape(
        lambda x: build(design, key=jax.random.key(0)).start(x), jnp.zeros(shape)
    )
    assert min(state.shape[:2]) == side and state.shape[-1] == 16


def test_the_published_stem_needs_room() -> None:
    with pytest.raises(InputError, match="at least 12 pixels"):
        PaperStem().build((8, 8, 1), 4, key=jax.random.key(0))


# --- bodies ---


def test_a_fine_runge_kutta_network_is_the_ode() -> None:
    with jax.enable_x64(True):
        fine = made(of_rows(RungeKutta(steps=100)))
        tight = at_tolerance(made(of_rows(ODE())), 1e-10)
        a, b = evaluate(fine, ROWS), evaluate(tight, ROWS)
        np.testing.assert_allclose(a.logits, b.logits, atol=1e-8)
        assert (a.nfe == 400).all() and b.ok.all()


def test_an_adaptive_solve_of_an_image_does_not_depend_on_the_others() -> None:
    network = at_tolerance(build(of_images(ODE()), key=jax.random.key(0)), 1e-4)
    whole, alone = evaluate(network, IMAGES), evaluate(network, IMAGES[2:3])
    np.testing.assert_allclose(alone.logits[0], whole.logits[2], atol=1e-5)
    assert alone.nfe[0] == whole.nfe[2] and len(set(whole.nfe)) >= 1


@pytest.mark.parametrize("body", [ODE(), ODE(steps=3), RungeKutta(1), Residual(3), ODE(rtol=1e-6)])
def test_hidden_states_begin_at_the_stem_and_end_at_the_head(body: BodyKind) -> None:
    with jax.enable_x64(True):
        network = made(of_rows(body))
        found = states(network, ROWS, np.array([1.0, 0.0, 0.3]))
        start = jax.vmap(network.start)(jnp.asarray(ROWS))
        np.testing.assert_allclose(found[1], start, atol=1e-12)
        logits = jax.vmap(network.head)(jnp.asarray(found[0]))
        np.testing.assert_allclose(logits, evaluate(network, ROWS).logits, atol=1e-12)
        together = network(jnp.asarray(ROWS))[0]  # one step size for the whole batch
        np.testing.assert_allclose(together, logits, atol=1e-5)


def test_states_between_the_steps_lie_on_the_solution() -> None:
    with jax.enable_x64(True):
        coarse = made(of_rows(RungeKutta(steps=16)))
        depths = np.array([0.17, 0.5, 0.83])
        tight = states(at_tolerance(coarse, 1e-9), ROWS, depths)
        np.testing.assert_allclose(states(coarse, ROWS, depths), tight, atol=1e-5)


def test_residual_blocks_differ_and_are_summed() -> None:
    with jax.enable_x64(True):
        network = made(of_rows(Residual(2)))
        inner = states(network, ROWS, np.array([0.0, 0.25, 0.5]))
        np.testing.assert_allclose(inner[1], (inner[0] + inner[2]) / 2, atol=1e-12)
        weights = network.body.blocks.layers[0].weight
        assert weights.shape == (2, 4, 4) and not np.allclose(weights[0], weights[1])


def slope(network: Any, x: Any) -> Any:
    return eqx.filter_grad(lambda net: jnp.sum(jnp.sin(net(x)[0])))(network)


def apart(a: Any, b: Any) -> float:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(jnp.abs(x - y).max() / (1e-3 + jnp.abs(y).max())) for x, y in pairs)


@pytest.mark.parametrize("steps, tolerance", [(4, 2e-3), (32, 1e-6)])
def test_the_adjoint_converges_to_backpropagation(steps: int, tolerance: float) -> None:
    with jax.enable_x64(True):
        x = jnp.asarray(ROWS)
        exact = slope(made(of_rows(RungeKutta(steps=steps))), x)
        assert apart(slope(made(of_rows(ODE(steps=steps))), x), exact) < tolerance


def test_the_adaptive_adjoint_is_that_of_finite_differences() -> None:
    with jax.enable_x64(True):
        network, x = made(of_rows(ODE(rtol=1e-9))), jnp.asarray(ROWS)
        trained, rest = eqx.partition(network, eqx.is_inexact_array)
        flat, unravel = jax.flatten_util.ravel_pytree(trained)
        way = jnp.asarray(np.random.default_rng(0).normal(size=flat.shape))

        def loss(p: Any) -> Any:
            return jnp.sum(jnp.sin(eqx.combine(unravel(p), rest)(x)[0]))

        value = jax.jit(loss)
        by_steps = (value(flat + 1e-5 * way) - value(flat - 1e-5 * way)) / 2e-5
        np.testing.assert_allclose(jax.jit(jax.grad(loss))(flat) @ way, by_steps, rtol=1e-6)


def test_gradients_of_images_agree_too() -> None:
    with jax.enable_x64(True):
        x = jnp.asarray(IMAGES)
        exact = slope(made(of_images(RungeKutta(steps=24), 4)), x)
        assert apart(slope(made(of_images(ODE(steps=24), 4)), x), exact) < 1e-2


def test_the_way_back_counts_its_evaluations() -> None:
    network = build(of_rows(ODE()), key=jax.random.key(0))
    y = jnp.asarray(ROWS[0, :1] * np.ones(4), jnp.float32)
    assert int(backwards(network.body.block, y, y, Solver("rk4", 3))[2]) == 12
    assert int(backwards(network.body.block, y, y, Solver(rtol=1e-3))[2]) > 6


def test_only_the_ode_takes_memory_constant_in_depth() -> None:
    sizes = {
        body: [
            gradient_bytes(of_rows(dataclasses.replace(body, **{name: n}), 32), 64) for n in (4, 32)
        ]
        for body, name in ((ODE(), "steps"), (RungeKutta(), "steps"), (Residual(), "blocks"))
    }
    few, many = sizes[ODE()]
    assert many < 1.05 * few
    for body in (RungeKutta(), Residual()):
        few, many = sizes[body]
        assert many > 4 * few
        assert many > sizes[ODE()][1]


@pytest.mark.parametrize(
    "make", [lambda: ODE(steps=0), lambda: ODE(method="rk5"), lambda: ODE(rtol=2.0),
             lambda: Residual(blocks=True), lambda: RungeKutta(steps=1.5),
             lambda: Augmentation(shift=-1), lambda: Augmentation(scale=1.5)],
)  # fmt: skip
def test_impossible_descriptions_are_refused(make: Any) -> None:
    with pytest.raises(InputError):
        make()


def test_residual_blocks_have_no_tolerance() -> None:
    with pytest.raises(InputError, match="a body that is solved"):
        at_tolerance(build(of_rows(Residual()), key=jax.random.key(0)), 1e-3)


def test_descriptions_print_what_differs() -> None:
    assert repr(ODE()) == "ODE()" and repr(ODE(steps=4)) == "ODE(steps=4)"


# --- training ---


def test_no_augmentation_moves_nothing() -> None:
    still = Augmentation(shift=0.0)(jnp.asarray(IMAGES), jax.random.key(0))
    np.testing.assert_allclose(still, IMAGES, atol=1e-4)


def test_shifts_move_by_at_most_as_told() -> None:
    image = np.zeros((1, 11, 11, 1), np.uint8)
    image[0, 5, 5] = 100
    many = np.repeat(image, 64, axis=0)
    moved = np.asarray(Augmentation(shift=2.0)(jnp.asarray(many), jax.random.key(0)))[..., 0]
    place = np.arange(11)
    rows = (moved.sum(2) @ place) / moved.sum((1, 2))
    assert np.allclose(moved.sum((1, 2)), 100, atol=1e-3)
    assert 1.5 < np.abs(rows - 5).max() <= 2.0 + 1e-5


def test_turns_keep_the_centre() -> None:
    image = np.zeros((1, 11, 11, 1), np.float32)
    image[0, 5, 5], image[0, 5, 9] = 1.0, 1.0
    turned = Augmentation(shift=0.0, rotate=90.0)
    moved = np.asarray(turned(jnp.asarray(np.repeat(image, 16, axis=0)), jax.random.key(0)))
    np.testing.assert_allclose(moved[:, 5, 5, 0], 1.0, atol=1e-5)
    assert moved[:, 5, 9, 0].min() < 0.5


def test_flips_mirror_half_of_the_images() -> None:
    mirror = Augmentation(shift=0.0, flip=True)
    image = np.repeat(IMAGES[:1], 64, axis=0)
    moved = np.asarray(mirror(jnp.asarray(image), jax.random.key(0)))
    same = np.isclose(moved, image, atol=1e-3).all((1, 2, 3))
    flipped = np.isclose(moved, image[:, :, ::-1], atol=1e-3).all((1, 2, 3))
    assert (same ^ flipped).all() and 16 < same.sum() < 48


def test_padding_and_order_do_not_change_the_loss() -> None:
    with jax.enable_x64(True):
        network, y = made(of_rows(ODE())), np.array([0, 1, 1, 0, 1, 0])
        order = np.array([3, 1, 5, 0, 2, 4])

        def loss(rows: np.ndarray, y: np.ndarray, count: int, objective: Any) -> float:
            data = Labelled(jnp.asarray(rows), jnp.asarray(y), np.int32(count), 0.0)
            return float(objective(network, data, jax.random.key(0))[0])

        logits = evaluate(network, ROWS).logits
        logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        known = -np.mean(logs[np.arange(6), y])
        for objective in (cross_entropy(None, None), held_out()):
            assert abs(loss(ROWS, y, 6, objective) - known) < 1e-12
            assert abs(loss(ROWS[order], y[order], 6, objective) - known) < 1e-12
            longer = np.concatenate([ROWS, ROWS[:2]]), np.concatenate([y, 1 - y[:2]])
            assert abs(loss(*longer, 6, objective) - known) < 1e-12


def test_every_class_keeps_rows_that_train() -> None:
    y = np.repeat([0, 1, 2, 3], [1, 2, 30, 67])
    trained, held = split(y, 0.2, seed=0)
    assert sorted([*trained, *held]) == list(range(100))
    assert set(y[trained]) == {0, 1, 2, 3} and abs(len(held) - 20) <= 1
    assert abs(np.sum(y[held] == 3) - 13.4) < 2


def test_a_budget_that_is_spent_still_trains_a_little() -> None:
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    start = build(of_rows(ODE()), key=jax.random.key(0))
    found = learn(start, x, (x[:, 0] > 0).astype(int), Recipe(batch=32), minutes=1e-9)
    assert found.fit.steps == 8
    last = found.fit.history[-1]
    assert last["nfe_forward"] == 8 and last["nfe_backward"] == 8
