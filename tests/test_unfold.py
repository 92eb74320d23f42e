"""Laws of the recurrence: orders, memory policies that agree and save, steps as pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenkai.fields import MLP
from tenkai.unfold import (
    EULER,
    RK4,
    TABLEAUX,
    Interval,
    Memory,
    NoisyInterval,
    RecomputeField,
    RecomputeStep,
    Segments,
    Store,
    Tableau,
    euler,
    euler_maruyama,
    rk4,
    runge_kutta,
    unfold,
)

MEMORIES: list[Memory] = [Store(), RecomputeField(), RecomputeStep(), Segments(), Segments(3)]


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def grid(n: int, end: float = 1.0) -> Interval:
    h = end / n
    return Interval(h * jnp.arange(n), jnp.full(n, h))


def slope(steps: list[int], errors: list[float]) -> float:
    """Minus the slope of log error against log steps: the order."""
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


@pytest.mark.parametrize("method", TABLEAUX.values(), ids=lambda m: m.name)
class TestTableau:
    def test_is_consistent(self, method: Tableau) -> None:
        assert sum(method.b) == pytest.approx(1, abs=1e-15)
        assert [sum(row) for row in method.a] == pytest.approx(list(method.c), abs=1e-14)
        assert [len(row) for row in method.a] == list(range(method.stages))
        assert len(method.b) == len(method.c) == method.stages

    def test_meets_its_order(self, method: Tableau) -> None:
        # y' = -2 t y^2, y(0) = 1: y = 1 / (1 + t^2). It tests both arguments of the field.
        step = runge_kutta(method, lambda t, y, u: -2 * t * y**2)
        counts = [32, 64, 128]
        ends = [unfold(step, jnp.ones(()), grid(n, 2.0))[0] for n in counts]
        order = slope(counts, [abs(float(y) - 0.2) for y in ends])
        assert method.order - 0.1 < order < method.order + 0.35

    def test_sees_linear_inputs_at_its_stages(self, method: Tableau) -> None:
        # y' = u with u linear in t: exact from order two on, the left value for Euler.
        x = Interval(jnp.asarray(0.3), jnp.asarray(0.5), jnp.asarray(1.0), jnp.asarray(3.0))
        y = runge_kutta(method, lambda t, y, u: u)(jnp.asarray(0.0), x)
        assert float(y) == pytest.approx(0.5 if method.order == 1 else 1.0, abs=1e-14)


def paths_of(diffusion: Callable, n: int, fine: jax.Array) -> jax.Array:
    """Ends of Euler-Maruyama paths with the increments (paths, N) summed to n steps."""
    dw = fine.reshape(len(fine), n, -1).sum(-1)
    step = euler_maruyama(lambda t, y, u: -y, diffusion)

    def one(dw: jax.Array) -> jax.Array:
        return unfold(step, jnp.ones(()), NoisyInterval(*grid(n)[:2], dw))[0]

    return jax.vmap(one)(dw)


@pytest.mark.parametrize(
    ("diffusion", "order"),
    [(lambda t, y, u: y, 0.5), (lambda t, y, u: jnp.asarray(0.5), 1.0)],
    ids=["multiplicative", "additive"],
)
def test_strong_order_of_euler_maruyama(diffusion: Callable, order: float) -> None:
    finest, counts = 4096, [32, 64, 128, 256]
    fine = jax.random.normal(jax.random.key(0), (500, finest)) / finest**0.5
    exact = paths_of(diffusion, finest, fine)
    if order == 0.5:  # geometric Brownian motion has a formula: exp((a - b^2/2) t + b W)
        exact = jnp.exp(-1.5 + fine.sum(-1))
    errors = [float(jnp.mean(jnp.abs(paths_of(diffusion, n, fine) - exact))) for n in counts]
    assert slope(counts, errors) == pytest.approx(order, abs=0.1)


def test_diagonal_noise_is_matrix_noise() -> None:
    y, dw = jnp.array([1.0, 2.0]), jnp.array([0.3, -0.4])
    x = NoisyInterval(jnp.asarray(0.0), jnp.asarray(0.1), dw)
    diagonal = euler_maruyama(lambda t, y, u: -y, lambda t, y, u: y)(y, x)
    matrix = euler_maruyama(lambda t, y, u: -y, lambda t, y, u: jnp.diag(y))(y, x)
    np.testing.assert_allclose(diagonal, matrix, rtol=1e-15)


@pytest.mark.parametrize("depth", [1, 7, 16])
def test_residual_network_is_euler(depth: int) -> None:
    """x + f(x) with shared weights is Euler with h = 1, bit for bit."""
    f = MLP((3, 8, 3), key=jax.random.key(0))
    x0 = jax.random.normal(jax.random.key(1), (3,))

    def residual(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda x, _: (x + f(x), None), x, length=depth)[0]

    def solved(x: jax.Array) -> jax.Array:
        return unfold(euler(lambda t, y, u: f(y)), x, grid(depth, depth))[0]

    np.testing.assert_array_equal(jax.jit(solved)(x0), jax.jit(residual)(x0))


@partial(jax.jit, static_argnums=(2, 3))
def loss(net: MLP, y0: jax.Array, n: int, memory: Memory) -> jax.Array:
    step = runge_kutta(RK4, lambda t, y, u: jax.vmap(net)(y) - t * y)
    end, path = unfold(step, y0[None], grid(n), memory=memory)
    return jnp.sum(end**2) + jnp.mean(jnp.sin(path))


value_and_gradient = jax.jit(jax.value_and_grad(loss, (0, 1)), static_argnums=(2, 3))


def test_memory_policies_give_one_gradient() -> None:
    n = 13  # three segments and a rest
    net, y0 = MLP((2, 8, 2), key=jax.random.key(0)), jnp.array([1.0, -0.5])
    value, reference = value_and_gradient(net, y0, n, Store())
    for memory in MEMORIES[1:]:
        same, gradient = value_and_gradient(net, y0, n, memory)
        assert float(same) == pytest.approx(float(value), abs=1e-14)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12),
            gradient,
            reference,
        )


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
def test_gradient_meets_finite_difference(memory: Memory) -> None:
    arguments = (MLP((2, 8, 2), key=jax.random.key(0)), jnp.array([1.0, -0.5]))
    _, gradient = value_and_gradient(*arguments, 12, memory)
    keys = iter(jax.random.split(jax.random.key(1), 9))
    way = jax.tree.map(lambda v: jax.random.normal(next(keys), v.shape), arguments)

    def along(s: float) -> float:
        return float(loss(*jax.tree.map(lambda v, d: v + s * d, arguments, way), 12, memory))

    # A fourth-order difference, so that its own error stays near 1e-12.
    e = 1e-3
    numeric = (8 * (along(e) - along(-e)) - (along(2 * e) - along(-2 * e))) / (12 * e)
    products = jax.tree.map(lambda g, d: float(jnp.sum(g * d)), gradient, way)
    assert sum(jax.tree.leaves(products)) == pytest.approx(numeric, rel=1e-9)


def bytes_of(n: int, memory: Memory) -> int:
    """What the gradient of a path's end needs while it runs: 64 states, hidden width 128."""
    net = MLP((8, 128, 8), key=jax.random.key(0))

    def end(net: MLP, y0: jax.Array) -> jax.Array:
        step = rk4(lambda t, y, u: jax.vmap(net)(y))
        last, _ = unfold(step, y0, grid(n), keep=lambda _: None, memory=memory)
        return jnp.sum(last**2)

    compiled = jax.jit(jax.grad(end)).lower(net, jnp.ones((64, 8))).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_of_the_backward_pass() -> None:
    n, state = 64, 64 * 8 * 8
    store, field, step, segments = (bytes_of(n, memory) for memory in MEMORIES[:4])
    assert field < 0.3 * store
    assert step < field
    assert segments < step
    # Growth from N to 16 N: 15 N more states when each is kept, 2 * 3 sqrt(N) more in segments.
    assert bytes_of(16 * n, RecomputeStep()) - step >= 15 * n * state
    assert bytes_of(16 * n, Segments()) - segments < 4 * 6 * n**0.5 * state


def test_state_and_input_may_be_trees() -> None:
    def field(t: jax.Array, y: dict, u: tuple) -> dict:
        return {"x": y["v"], "v": -y["x"] + u[0]}

    n = 50
    force = (jnp.zeros(n),)
    xs = grid(n, np.pi)._replace(u0=force, u1=force)
    start = {"x": jnp.asarray(1.0), "v": jnp.asarray(0.0)}
    end, path = unfold(rk4(field), start, xs)
    assert float(end["x"]) == pytest.approx(-1, abs=1e-6)
    assert path["v"].shape == (n,)
    assert float(path["x"][-1]) == float(end["x"])


def test_keep_chooses_what_is_returned() -> None:
    step = runge_kutta(EULER, lambda t, y, u: y)
    end, kept = unfold(step, jnp.ones(2), grid(10), keep=lambda y: y[0], memory=Segments())
    assert kept.shape == (10,)
    assert float(kept[-1]) == float(end[0]) == pytest.approx(1.1**10)
