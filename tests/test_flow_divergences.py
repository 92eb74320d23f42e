"""Estimators of the divergence and its closed forms; the fields of continuous flows."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flow_laws import KEY, drawn, wide

import tenkai.flows as fl
from tenkai.errors import InputError
from tenkai.fields import Linear
from tenkai.flows.divergence import forward_trace


def field(width: Any = 8, depth: int = 2, kind: Any = "concatsquash", **options: Any) -> Any:
    shapes = eqx.filter_eval_shape(
        lambda key: fl.Dynamics(6, key=key, width=width, depth=depth, kind=kind, **options), KEY
    )
    return drawn(shapes, np.random.default_rng(3))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("kind", ["concat", "concatsquash", "hyper", "planar"])
def test_divergences_in_closed_form_are_the_trace(kind: str, depth: int) -> None:
    with jax.enable_x64(True):
        if kind == "planar":
            shapes = eqx.filter_eval_shape(lambda key: fl.PlanarDynamics(6, key=key, units=4), KEY)
            f = wide(drawn(shapes, np.random.default_rng(depth)))
        else:
            f = wide(field(8, depth, kind))
        y = jnp.asarray(np.random.default_rng(4).normal(size=6))
        both = jax.jit(lambda y: (f.with_divergence(0.3, y, None), forward_trace(f, 0.3, y, None)))
        closed, full = jax.tree.map(np.asarray, both(y))
    np.testing.assert_allclose(closed[0], full[0], atol=1e-12)
    np.testing.assert_allclose(closed[1], full[1], atol=1e-12)
    assert abs(full[1]) > 0.01


NOISY = [
    fl.Hutchinson(), fl.Hutchinson("gaussian", 2), fl.Bottleneck(), fl.Bottleneck("gaussian"),
    fl.HutchPP(), fl.HutchPP(1, "gaussian"),
]  # fmt: skip


def estimates(estimator: Any, f: Any, y: Any, draws: int) -> np.ndarray:
    """The divergence by as many independent draws of the noise, float32."""
    noise = jax.vmap(lambda key: estimator.noise(f, y.shape[-1], jnp.float32, key))
    one = jax.vmap(lambda e: estimator.of(f, 0.3, y, None, e)[1])
    draw = jax.jit(lambda key: one(noise(jax.random.split(key, draws))))
    return np.asarray(draw(jax.random.key(0)), np.float64)


@pytest.mark.parametrize("estimator", NOISY, ids=repr)
def test_estimators_of_the_divergence_are_unbiased(estimator: Any) -> None:
    f = jax.tree.map(lambda x: x.astype(np.float32), field((8, 3)))
    y = jnp.asarray(np.random.default_rng(4).normal(size=6), jnp.float32)
    exact = float(fl.Exact().of(f, 0.3, y, None, None)[1])
    found = estimates(estimator, f, y, 4000)
    assert abs(found.mean() - exact) < 4 * found.std() / 4000**0.5
    assert found.std() > 0.01


def test_hutchpp_pays_where_the_spectrum_decays() -> None:
    """At the same number of products with the Jacobian, six."""
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.normal(size=(12, 12)))[0]

    def spread(estimator: Any, eigenvalues: np.ndarray) -> float:
        matrix = jnp.asarray((basis * eigenvalues) @ basis.T, jnp.float32)
        return estimates(estimator, lambda t, y, u: matrix @ y, jnp.zeros(12), 1000).std()

    decaying = 4.0 ** -np.arange(12)
    plain = spread(fl.Hutchinson("gaussian", 6), decaying)
    assert spread(fl.HutchPP(2, "gaussian"), decaying) < 0.5 * plain


def test_noise_needs_a_key() -> None:
    flow = fl.FFJORD(width=4, depth=1, divergence=fl.Hutchinson()).build(2, key=jax.random.key(0))
    with pytest.raises(InputError, match="Pass key="):
        flow.to_base(jnp.zeros(2))


@pytest.mark.parametrize("bound", [0.5, 1.5])
def test_the_spectral_bound_holds(bound: float) -> None:
    with jax.enable_x64(True):
        f = field(16, spectral=bound)
        layers = jax.tree.leaves(f.prepared(), is_leaf=lambda node: isinstance(node, Linear))
    sizes = [np.linalg.norm(n.weight, 2) for n in layers if isinstance(n, Linear)]
    before = [np.linalg.norm(layer.linear.weight, 2) for layer in f.layers]
    assert len(sizes) == 6 and max(sizes) < bound * 1.02
    assert max(before) > 1.2 * bound
