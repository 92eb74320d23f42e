"""Laws of the fields: shapes, derivatives, forms of one product, what can be saved and pickled."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenkai.fields import (
    ACTIVATIONS,
    MLP,
    Linear,
    NeuralField,
    Sum,
    activation,
    matvec,
    softplus,
    together,
)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def test_softplus_is_the_slow_one_with_its_derivatives() -> None:
    x = jnp.array([-800.0, -30.0, -1.0, 0.0, 1e-9, 2.0, 40.0, 800.0])
    np.testing.assert_allclose(softplus(x), jax.nn.softplus(x), atol=1e-15, rtol=1e-15)
    slope = jax.vmap(jax.grad(softplus))
    np.testing.assert_allclose(slope(x), jax.nn.sigmoid(x), rtol=1e-12)
    curve = jax.vmap(jax.grad(jax.grad(softplus)))(x)
    np.testing.assert_allclose(curve, jax.nn.sigmoid(x) * jax.nn.sigmoid(-x), atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_finite_with_finite_slopes(name: str) -> None:
    x = jnp.array([-100.0, -0.5, 0.5, 100.0])
    value, slope = jax.vmap(jax.value_and_grad(activation(name)))(x)
    assert jnp.isfinite(value).all()
    assert jnp.isfinite(slope).all()


def test_unknown_activation_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"expected elu, gelu.*got 'swish'"):
        activation("swish")


@pytest.mark.parametrize("count", [1, 16, 17, 1000])
def test_both_forms_of_a_product_agree(count: int) -> None:
    """8 x 16 weights for up to 16 states at once are summed, for more they are a dot."""
    keys = jax.random.split(jax.random.key(0))
    w, x = jax.random.normal(keys[0], (8, 16)), jax.random.normal(keys[1], (16,))
    with together(count):
        program = str(jax.make_jaxpr(lambda w, x: matvec(w, x))(w, x))
        product = matvec(w, x)
    assert ("dot_general" in program) == (count > 16)
    np.testing.assert_allclose(product, np.asarray(w) @ np.asarray(x), rtol=1e-13)


def test_together_ends_with_its_block() -> None:
    w, x = jnp.ones((2, 2)), jnp.ones(2)
    with together(1), together(10_000):
        pass
    assert "dot_general" in str(jax.make_jaxpr(lambda w, x: matvec(w, x))(w, x))


def test_linear_starts_with_unit_variance() -> None:
    layer = Linear(400, 300, key=jax.random.key(0), scale=2.0)
    assert layer.weight.shape == (300, 400)
    assert float(jnp.std(layer.weight)) == pytest.approx(2 / 400**0.5, rel=0.02)
    assert not jnp.any(layer.bias)


def test_mlp_is_its_layers() -> None:
    net = MLP((3, 5, 4, 2), "elu", key=jax.random.key(0), last_scale=0.1)
    x = jnp.array([0.3, -1.0, 2.0])
    h = x
    for layer in net.layers[:-1]:
        h = jax.nn.elu(layer.weight @ h + layer.bias)
    np.testing.assert_allclose(net(x), net.layers[-1].weight @ h, rtol=1e-13)
    assert [layer.weight.shape for layer in net.layers] == [(5, 3), (4, 5), (2, 4)]


@pytest.mark.parametrize("inputs", [0, 2])
@pytest.mark.parametrize("time_dependent", [False, True])
def test_field_reads_state_inputs_and_time(inputs: int, time_dependent: bool) -> None:
    field = NeuralField(
        3, key=jax.random.key(0), inputs=inputs, width=7, depth=1, time_dependent=time_dependent
    )
    assert field.net.layers[0].weight.shape == (7, 3 + inputs + time_dependent)
    y, u = jnp.ones(3), jnp.ones(inputs) if inputs else None
    slope = field(0.0, y, u)
    assert slope.shape == (3,)
    assert bool(jnp.all(slope == field(1.0, y, u))) != time_dependent
    if inputs:
        assert not jnp.any(slope == field(0.0, y, jnp.zeros(inputs)))
    batch = jax.vmap(field, (None, 0, None))(0.0, jnp.ones((5, 3)), u)
    np.testing.assert_allclose(batch, jnp.tile(slope, (5, 1)), rtol=1e-13)


def test_sum_corrects_an_equation() -> None:
    net = NeuralField(2, key=jax.random.key(0))
    both = Sum((lambda t, y, u: -t * y, net))
    y = jnp.array([1.0, 2.0])
    np.testing.assert_allclose(both(3.0, y), -3 * y + net(3.0, y))
    assert jax.tree.leaves(eqx.filter(both, eqx.is_array)) == jax.tree.leaves(net)


def test_fields_pickle() -> None:
    field = NeuralField(2, key=jax.random.key(0), activation="softplus", time_dependent=True)
    same = pickle.loads(pickle.dumps(field))
    assert eqx.tree_equal(field, same)
    np.testing.assert_array_equal(field(0.5, jnp.ones(2)), same(0.5, jnp.ones(2)))
