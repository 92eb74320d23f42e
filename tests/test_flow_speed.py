"""What a continuous flow costs: evaluations, programs, operations, bytes; never seconds."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tenkai import InputError
from tenkai import flows as fl
from tenkai.fit import fit
from tenkai.flows.divergence import forward_trace
from tenkai.flows.dynamics import Dynamics
from tenkai.flows.objectives import Rows, Weights, likelihood
from tenkai.solve.adams import adams
from tenkai.unfold import RK4, RecomputeField, RecomputeStep, Segments, Store

X = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)


def flow(solver: fl.Grid | fl.Adaptive, *, depth: int = 2, width: int = 16) -> fl.ContinuousFlow:
    """A flow whose field is far from zero."""
    built = fl.FFJORD(width=width, depth=depth, solver=solver).build(2, key=jax.random.key(1))
    return jax.tree.map(lambda w: 1.5 * w, built)


def log_prob(model: fl.ContinuousFlow, x: np.ndarray) -> jax.Array:
    """Of all rows."""
    return jax.vmap(lambda row: fl.log_prob(model, row))(x)


def loss(model: fl.ContinuousFlow, x: np.ndarray) -> jax.Array:
    """What likelihood training minimises."""
    return -jnp.mean(log_prob(model, x))


def bytes_of(model: fl.ContinuousFlow, x: np.ndarray = X) -> int:
    """Temporary memory of one gradient."""
    trained, static = eqx.partition(model, eqx.is_inexact_array)
    run = jax.jit(jax.grad(lambda p: loss(eqx.combine(p, static), x)))
    return run.lower(trained).compile().memory_analysis().temp_size_in_bytes


def decay(_: object, y: jax.Array) -> jax.Array:
    """``y' = -y^2 + s`` has no simple solution, but a smooth one."""
    return -(y**2) + _


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_adams_converges_with_its_order(order: int) -> None:
    with jax.enable_x64(True):
        start = jnp.array([0.3, 1.0])
        exact, _ = adams(decay, start, fl.Adams(5), 800, Store())
        misses = [
            float(jnp.max(jnp.abs(adams(decay, start, fl.Adams(order), n, Store())[0] - exact)))
            for n in (24, 96)
        ]
    assert np.log2(misses[0] / misses[1]) / 2 > order + 0.5


@pytest.mark.parametrize("order", [1, 4, 6])
@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_adams_weights_integrate_polynomials_on_their_grid(order: int, steps: int) -> None:
    method = fl.Adams(order)
    nodes = method.nodes(steps)
    weights = method.weights(nodes)
    assert nodes[0] == 0 and nodes[-1] == 1 and len(nodes) == steps + 1
    assert not weights.correct[0].any()
    for i in range(1, steps + 1):
        count = min(i, order)
        known = nodes[i - count : i][::-1]
        for degree in range(count):
            area = (nodes[i] ** (degree + 1) - nodes[i - 1] ** (degree + 1)) / (degree + 1)
            assert weights.predict[i, :count] @ known**degree == pytest.approx(area, abs=1e-12)
            both = np.append(nodes[i], known) ** degree
            assert weights.correct[i, : count + 1] @ both == pytest.approx(area, abs=1e-12)


def test_adams_refuses_orders_that_it_does_not_have() -> None:
    with pytest.raises(InputError, match="1 to 6"):
        fl.Adams(0)


def test_adams_is_the_better_with_as_many_evaluations() -> None:
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda w: w.astype(jnp.float64), flow(fl.Grid(), depth=3))
        x = X.astype(np.float64)
        exact = log_prob(wide.with_tolerance(1e-10), x)

        def miss(solver: fl.Grid) -> float:
            return float(jnp.max(jnp.abs(log_prob(wide.with_solver(solver), x) - exact)))

        assert miss(fl.Grid(23, fl.Adams())) < 0.5 * miss(fl.Grid(6, RK4))


def test_evaluations_are_counted() -> None:
    for solver, nfe in ((fl.Grid(12, fl.Adams()), 13), (fl.Grid(3, RK4), 12)):
        moved = flow(solver).to_base(X[0])
        assert int(moved.nfe) == nfe and bool(moved.ok)


def test_the_program_of_adams_holds_one_copy_of_the_field() -> None:
    def tanhs(solver: fl.Grid) -> int:
        text = str(jax.make_jaxpr(lambda m, x: m.to_base(x).y)(flow(solver), X[0]))
        return text.count("= tanh")

    assert tanhs(fl.Grid(30, fl.Adams())) == 2  # hidden layers
    assert tanhs(fl.Grid(8, RK4)) == 8


@pytest.mark.parametrize("widths", [(7,), (7, 5), (7, 5, 6), (4, 7, 5, 6), (4, 7, 5, 6, 3)])
@pytest.mark.parametrize("kind", ["concat", "concatsquash", "hyper"])
def test_closed_divergence_is_the_trace(widths: tuple[int, ...], kind: str) -> None:
    field = Dynamics(3, key=jax.random.key(0), width=widths, kind=kind)  # type: ignore[arg-type]
    y = jnp.array([0.1, -0.4, 0.7])
    closed, forward = field.with_divergence(0.3, y), forward_trace(field, 0.3, y, None)
    np.testing.assert_allclose(closed[0], forward[0], rtol=1e-5)
    np.testing.assert_allclose(closed[1], forward[1], rtol=1e-4, atol=1e-6)


def test_two_hidden_layers_cost_one_more_layer_in_any_dimension() -> None:
    def operations(dim: int, exact: bool) -> float:
        field = Dynamics(dim, key=jax.random.key(0), width=64, depth=2)
        y = jnp.zeros((512, dim))
        run = field.with_divergence if exact else field
        compiled = jax.jit(lambda f, y: jax.vmap(lambda y: run(0.5, y))(y)).lower(field, y)
        return compiled.compile().cost_analysis()["flops"]

    for dim in (2, 16):
        assert operations(dim, True) < 2.2 * operations(dim, False)


@pytest.mark.parametrize("method", [RK4, fl.Adams()], ids=lambda m: type(m).__name__)
def test_bytes_of_the_backward_pass(method: Any) -> None:
    def per_step(memory: Any) -> float:
        few, many = (bytes_of(flow(fl.Grid(n, method, memory))) for n in (16, 256))
        return (many - few) / 240

    stored, field, step, segments = map(
        per_step, (Store(), RecomputeField(), RecomputeStep(), Segments())
    )
    state = X.nbytes
    assert stored > 50 * state
    assert field < 6 * state and step < 6 * state
    assert segments < state  # it grows as the square root
    if method == fl.Adams():
        assert field == pytest.approx(state, rel=0.1)  # where the field was evaluated, no more


def test_the_adjoint_forgets_the_path() -> None:
    import diffrax

    adjoint = diffrax.BacksolveAdjoint()
    few, many = (
        bytes_of(flow(fl.Adaptive(max_steps=n, adjoint=adjoint)), X[:16]) for n in (64, 4096)
    )
    assert many == few


@pytest.mark.parametrize("memory", [Store(), RecomputeStep(), Segments()], ids=repr)
def test_memory_does_not_change_the_gradient(memory: Any) -> None:
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda w: w.astype(jnp.float64), flow(fl.Grid(), width=5))
        x = X[:4].astype(np.float64)
        slopes = [
            eqx.filter_grad(loss)(wide.with_solver(fl.Grid(7, fl.Adams(), m)), x).field
            for m in (RecomputeField(), memory)  # type: ignore[arg-type]
        ]
        for a, b in zip(*map(jax.tree.leaves, slopes), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_training_again_compiles_nothing() -> None:
    from tenkai.fit.program import advance

    data = Rows(X, None, np.arange(len(X)), np.int32(len(X)), Weights())
    rule, model = optax.adam(1e-3), flow(fl.Grid(8, fl.Adams()))
    fit(model, likelihood(32), data, rule=rule, steps=3)
    known = advance._cache_size()  # type: ignore[attr-defined]
    fit(model, likelihood(32), data._replace(x=2 * X), rule=rule, steps=5)
    assert advance._cache_size() == known  # type: ignore[attr-defined]


@pytest.mark.parametrize("rtol", [1e-5, 1e-8])
def test_tolerances_below_the_rounding_of_float32_do_not_hang(rtol: float) -> None:
    model = flow(fl.Grid()).with_tolerance(rtol, max_steps=200)
    moved = jax.vmap(model.to_base)(X[:32])
    assert int(jnp.max(moved.nfe)) <= 6 * 200 + 1
    done = np.asarray(moved.ok)
    assert done.all() or rtol < 1e-6
    assert np.isfinite(np.asarray(moved.y))[done].all()


def test_a_row_that_exceeds_the_cap_says_so() -> None:
    moved = flow(fl.Grid()).with_tolerance(1e-6, max_steps=2).to_base(X[0])
    assert not bool(moved.ok)
