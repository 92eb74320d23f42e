"""Trial functions of time: the same in NumPy and JAX, with their derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenkai.models.trials import RBF, Network, PiecewiseConstant, Polynomial, Sine

INTERVAL = (-0.5, 2.0)
LINEAR = [Polynomial(1), Polynomial(9), Sine(7), RBF(12), RBF(50, -0.5, 1.95, 20.0)]
EVERY = [*LINEAR, PiecewiseConstant(5), Network(8)]
TIMES = np.linspace(*INTERVAL, 23)


@pytest.mark.parametrize("trial", EVERY, ids=repr)
def test_a_recipe_is_a_value_and_begins_in_the_asked_dimension(trial) -> None:
    again = type(trial)(**vars(trial))
    assert again == trial
    assert hash(again) == hash(trial)
    function = trial.begin(INTERVAL, 3)
    assert np.shape(function(0.3)) == (3,)
    assert all(isinstance(a, np.ndarray) for a in jax.tree.leaves(function))


@pytest.mark.parametrize("trial", [*LINEAR, PiecewiseConstant(5)], ids=repr)
def test_numpy_and_jax_agree(trial) -> None:
    with jax.enable_x64(True):
        many = jax.vmap(lambda t: trial.values(t, INTERVAL))(jnp.asarray(TIMES))
        np.testing.assert_allclose(trial.values(TIMES, INTERVAL), many, atol=1e-14)


@pytest.mark.parametrize("trial", LINEAR, ids=repr)
def test_tables_hold_the_derivatives(trial) -> None:
    value, first, second = trial.table(TIMES, INTERVAL)

    def values(t):
        return trial.values(t, INTERVAL)

    with jax.enable_x64(True):
        slope = jax.jacfwd(values)
        t = jnp.asarray(TIMES)
        np.testing.assert_allclose(value, jax.vmap(values)(t), atol=1e-13)
        np.testing.assert_allclose(first, jax.vmap(slope)(t), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(second, jax.vmap(jax.jacfwd(slope))(t), rtol=1e-9, atol=1e-8)


def test_polynomials_are_orthogonal_and_sines_vanish_at_both_ends() -> None:
    x, w = np.polynomial.legendre.leggauss(20)
    low, high = INTERVAL
    values = Polynomial(6).values(low + (high - low) * (x + 1) / 2, INTERVAL)
    gram = values.T @ (w[:, None] * values)
    np.testing.assert_allclose(gram, np.diag(2 / (2 * np.arange(6) + 1)), atol=1e-13)
    np.testing.assert_allclose(Sine(5).values(np.array(INTERVAL), INTERVAL), 0, atol=1e-14)


def test_the_books_gaussians() -> None:
    t = 0.35
    centres = 0.05 * np.arange(50) - 0.5
    expected = np.exp(-20 * (t - centres) ** 2)
    np.testing.assert_allclose(RBF(50, -0.5, 1.95, 20.0).values(t, (0.0, 1.0)), expected)
    begun = RBF(50, -0.5, 1.95, 20.0, start=1.0).begin((0.0, 1.0), 1)
    np.testing.assert_allclose(begun(t), [expected.sum()])


def test_pieces_are_one_on_their_own_and_borders_belong_to_the_later() -> None:
    values = PiecewiseConstant(4).values(np.array([0.0, 0.24, 0.25, 0.9, 1.0]), (0.0, 1.0))
    assert values.argmax(axis=1).tolist() == [0, 0, 1, 3, 3]
    np.testing.assert_array_equal(values.sum(axis=1), 1)
