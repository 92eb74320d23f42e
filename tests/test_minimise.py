"""Minimising: Newton's finish on hard and on hopeless losses, and what it says about them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tenkai.models.trials import RBF
from tenkai.problems.minimise import minimise


def rosenbrock(x, data):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def quartic(x, data):
    return jnp.sum((x - data) ** 4)


@pytest.mark.parametrize("hessian", [True, False])
def test_a_curved_valley(hessian) -> None:
    with jax.enable_x64(True):
        found = minimise(rosenbrock, np.array([-1.2, 1.0]), hessian=hessian)
    np.testing.assert_allclose(found.model, 1, atol=1e-5)
    assert found.kind == "minimum"
    assert found.gradient < 1e-4


def test_a_singular_hessian_at_the_minimum() -> None:
    with jax.enable_x64(True):
        found = minimise(quartic, np.zeros(3), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(found.model, [1, 2, 3], atol=1e-3)
    assert found.kind == "minimum"


def test_a_saddle_is_left_where_the_gradient_shows_no_way() -> None:
    with jax.enable_x64(True):
        found = minimise(lambda x, d: x[1] ** 2 - x[0] ** 2 + x[0] ** 4, np.zeros(2))
    assert found.kind == "minimum"
    assert found.value == pytest.approx(-0.25, abs=1e-12)
    assert found.curvature > 0


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, d: x[1] ** 2 - x[0] ** 2,
        lambda x, d: -jnp.sum(x**2),
        lambda x, d: jnp.sum(x),
        lambda x, d: -jnp.sum(jnp.exp(x)),
    ],
)
def test_what_keeps_falling_is_unbounded(loss) -> None:
    with jax.enable_x64(True):
        found = minimise(loss, np.zeros(2))
    assert found.kind == "unbounded"
    assert found.value < -1e12


def test_what_is_not_finite_says_so() -> None:
    with jax.enable_x64(True):
        assert minimise(lambda x, d: jnp.sum(jnp.log(x)), -np.ones(2)).kind == "not finite"


def test_gaussians_whose_hessian_is_rounding() -> None:
    """Least squares with a condition of 1e31: the misfit falls to what NumPy's solver reaches."""
    t = np.linspace(0, 1, 60)
    table = RBF(50, -0.5, 1.95, 20.0).values(t, (0.0, 1.0))

    def misfit(c, data):
        return jnp.sum((table @ c - jnp.sin(3 * t)) ** 2)

    with jax.enable_x64(True):
        found = minimise(misfit, np.ones(50))
    assert found.kind == "minimum"
    assert found.value < 1e-10


def test_the_rule_comes_first_and_its_history_stays() -> None:
    with jax.enable_x64(True):
        rule = optax.adam(0.1)
        alone = minimise(rosenbrock, np.zeros(2), rule=rule, steps=50, finish=0, every=25)
        both = minimise(rosenbrock, np.zeros(2), rule=rule, steps=50)
    assert [entry["step"] for entry in alone.history] == [25, 50]
    assert alone.steps == 50
    assert alone.kind != "minimum"
    assert both.value < 1e-12 < alone.value
