"""Laws of the solves: exact grids, gradients, inverse, counts, dense output, step errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tenkai as tk
from tenkai.fields import MLP, NeuralField
from tenkai.solve import solve, step_error, substeps_for, substeps_within
from tenkai.unfold import DOPRI5, EULER, HEUN, RK4, TABLEAUX, RecomputeStep, Tableau

TS = np.array([0.0, 0.3, 0.5, 1.1, 1.2])
TIGHT = diffrax.PIDController(rtol=1e-10, atol=1e-10)
METHODS = {
    "fixed": {"substeps": 40},
    "adaptive": {"method": diffrax.Tsit5(), "controller": TIGHT},
}


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def pendulum(t: Any, y: jax.Array, u: Any = None) -> jax.Array:
    return jnp.stack([y[1], -jnp.sin(5 * y[0])])


class Problem(eqx.Module):
    """A network driven by an input, and a loss of its path at every time."""

    field: NeuralField
    y0: jax.Array
    ts: jax.Array
    u: jax.Array

    def __init__(self) -> None:
        keys = jax.random.split(jax.random.key(0))
        self.field = NeuralField(2, key=keys[0], inputs=1, width=8, depth=1, time_dependent=True)
        self.y0 = jnp.array([1.0, -0.5])
        self.ts = jnp.asarray(TS)
        self.u = jax.random.normal(keys[1], (len(TS), 1))


WEIGHTS = np.random.default_rng(0).normal(size=(len(TS), 2))


@eqx.filter_jit
def loss(p: Problem, options: dict[str, Any]) -> jax.Array:
    return jnp.sum(WEIGHTS * solve(p.field, p.y0, p.ts, u=p.u, **options).ys)


def directional(p: Problem, way: Problem, options: dict[str, Any]) -> float:
    """Central difference of fourth order along `way`."""

    def along(s: float) -> float:
        return float(loss(jax.tree.map(lambda v, d: v + s * d, p, way), options))

    e = 1e-3
    return (8 * (along(e) - along(-e)) - (along(2 * e) - along(-2 * e))) / (12 * e)


def one_way(p: Problem, name: str, key: int) -> Problem:
    """A random direction in one of the parts of a problem, zero in the others."""
    zero = jax.tree.map(jnp.zeros_like, p)
    where: Callable = {
        "y0": lambda q: q.y0,
        "t0": lambda q: q.ts,
        "t1": lambda q: q.ts,
        "times": lambda q: q.ts,
        "field": lambda q: q.field,
        "u": lambda q: q.u,
    }[name]
    part = where(p)
    if name in ("t0", "t1"):
        way = jnp.zeros(len(TS)).at[0 if name == "t0" else -1].set(1.0)
    else:
        keys = iter(jax.random.split(jax.random.key(key), 20))
        way = jax.tree.map(lambda v: jax.random.normal(next(keys), v.shape), part)
    return eqx.tree_at(where, zero, way)


PARTS = ("y0", "t0", "t1", "times", "field", "u")


class TestGradients:
    @pytest.mark.parametrize("hold", ["linear", "previous"])
    def test_backpropagation_meets_finite_differences(self, hold: str) -> None:
        p, options = Problem(), {"hold": hold, "substeps": 3}
        gradient = eqx.filter_grad(loss)(p, options)
        self.compare(p, gradient, options, 1e-8)

    @pytest.mark.parametrize(
        ("hold", "method"), [("linear", "fixed"), ("previous", "fixed"), ("previous", "adaptive")]
    )
    def test_adjoint_meets_finite_differences(self, hold: str, method: str) -> None:
        p, options = Problem(), {"hold": hold, **METHODS[method]}
        found = tk.adjoint(p.field, p.y0, p.ts, WEIGHTS, u=p.u, **options)
        gradient = eqx.tree_at(
            lambda q: (q.field, q.y0, q.ts, q.u), p, (found.field, found.y0, found.ts, found.u)
        )
        self.compare(p, gradient, {"hold": hold, "substeps": 40}, 1e-6)
        assert float(found.t0) == float(found.ts[0])
        assert float(found.t1) == float(found.ts[-1])
        if method == "fixed":
            assert int(found.nfe) == int(found.nfe_forward) == 4 * 40 * 4
        else:
            assert 0 < int(found.nfe_forward) < 4 * 40 * 4

    def compare(self, p: Problem, gradient: Problem, options: dict, tolerance: float) -> None:
        for name in PARTS:
            way = one_way(p, name, 7)
            products = jax.tree.map(lambda g, d: float(jnp.sum(g * d)), gradient, way)
            expected = directional(p, way, options)
            assert sum(jax.tree.leaves(products)) == pytest.approx(expected, rel=tolerance), name


def test_adjoint_of_an_input_that_is_a_function() -> None:
    class Drive(eqx.Module):
        net: MLP

        def __call__(self, t: jax.Array) -> jax.Array:
            return self.net(t[None])

    field, drive = Problem().field, Drive(MLP((1, 4, 1), key=jax.random.key(1)))
    y0 = jnp.ones(2)

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(both: tuple) -> jax.Array:
        return jnp.sum(WEIGHTS * solve(both[0], y0, TS, u=both[1], substeps=40).ys)

    expected = gradient((field, drive))
    found = tk.adjoint(field, y0, TS, WEIGHTS, u=drive, substeps=40)
    for a, b in zip(
        jax.tree.leaves((found.field, found.u)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", [*TABLEAUX.values()], ids=lambda m: m.name)
def test_grid_hits_every_time_and_counts_its_work(method: Tableau) -> None:
    solved = solve(lambda t, y, u: jnp.ones(1), jnp.zeros(1), TS, method=method, substeps=3)
    np.testing.assert_allclose(solved.ys[:, 0], TS, rtol=1e-14)
    assert int(solved.work.accepted) == 12
    assert int(solved.work.nfe) == 12 * method.stages == len(solved.evaluated_at)
    expected = np.array([0.0, 0.1, 0.2])[:, None] + 0.1 * np.asarray(method.c)
    np.testing.assert_allclose(
        solved.evaluated_at[: 3 * method.stages], expected.ravel(), atol=1e-15
    )


def test_each_interval_may_have_its_own_substeps() -> None:
    counts = substeps_within(TS, 0.1)
    assert counts.tolist() == [3, 2, 6, 1]
    solved = solve(pendulum, jnp.array([1.0, 0.0]), TS, substeps=counts, method=DOPRI5)
    one = solve(pendulum, jnp.array([1.0, 0.0]), np.arange(13) / 10, method=DOPRI5)
    assert int(solved.work.accepted) == 12
    np.testing.assert_allclose(solved.ys, np.asarray(one.ys)[[0, 3, 5, 11, 12]], rtol=1e-13)


class Counter:
    """A field on the host that knows how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, t: Any, y: jax.Array, u: Any = None) -> jax.Array:
        shape = jax.ShapeDtypeStruct(y.shape, y.dtype)
        return jax.pure_callback(self.host, shape, t, y, vmap_method="sequential")

    def host(self, t: Any, y: Any) -> np.ndarray:
        self.calls += 1
        t, y = np.asarray(t), np.asarray(y)
        return np.stack([y[1], -np.sin(5 * y[0]) - t])


@pytest.mark.parametrize(
    ("method", "dense"),
    [(EULER, False), (RK4, True), (diffrax.Heun(), False), (diffrax.Tsit5(), True)],
    ids=["euler", "rk4-dense", "Heun", "Tsit5-dense"],
)
def test_nfe_is_the_number_of_calls(method: Any, dense: bool) -> None:
    field = Counter()
    with jax.enable_x64(False):  # the threads that call back know nothing of the scoped float64
        solved = solve(field, jnp.array([1.0, 0.0]), TS, method=method, dense=dense)
        jax.block_until_ready(solved.ys)
    assert field.calls == int(solved.work.nfe)
    if dense or isinstance(method, Tableau):
        times = np.asarray(solved.evaluated_at)
        unseen = 0 if isinstance(method, Tableau) else int(solved.work.rejected)
        assert np.isfinite(times).sum() <= field.calls
        assert unseen > 0 or np.isfinite(times).sum() == field.calls


@pytest.mark.parametrize("hold", ["linear", "previous"])
def test_methods_agree_and_backwards_in_time_inverts(hold: str) -> None:
    p, between, paths = Problem(), np.linspace(0, 1.2, 33), []
    for method in METHODS.values():
        options = {"hold": hold, "dense": True, **method}
        there = solve(p.field, p.y0, TS, u=p.u, **options)
        back = solve(p.field, there.ys[-1], TS[::-1], u=p.u[::-1], **options)
        np.testing.assert_allclose(back.ys[::-1], there.ys, atol=1e-8)
        np.testing.assert_allclose(back(between), there(between), atol=1e-7)
        paths.append(there)
    fixed, adaptive = paths
    np.testing.assert_allclose(adaptive.ys, fixed.ys, atol=1e-8)
    np.testing.assert_allclose(adaptive(between), fixed(between), atol=1e-7)
    assert bool(adaptive.ok)
    assert 4 < int(adaptive.work.accepted) < int(fixed.work.accepted)


def test_an_input_that_is_a_function_is_read_at_every_stage() -> None:
    y0 = jnp.zeros(())
    for options in METHODS.values():
        solved = solve(lambda t, y, u: u, y0, TS, u=jnp.cos, **options)
        np.testing.assert_allclose(solved.ys, np.sin(TS), atol=1e-9)


def test_dense_output_meets_its_order() -> None:
    # y' = -2 t y^2: y = 1 / (1 + t^2); the cubic is of fourth order whatever the method above it.
    ts = np.array([0.0, 2.0])
    between = np.linspace(0, 2, 101)

    @partial(jax.jit, static_argnums=0)
    def path(n: int) -> jax.Array:
        return solve(lambda t, y, u: -2 * t * y**2, 1.0, ts, substeps=n, dense=True)(between)

    errors = [float(jnp.max(jnp.abs(path(n) - 1 / (1 + between**2)))) for n in (32, 64, 128)]
    order = -np.polyfit(np.log([32, 64, 128]), np.log(errors), 1)[0]
    assert order == pytest.approx(4, abs=0.2)


def test_dense_output_ends_with_the_solve() -> None:
    solved = solve(pendulum, jnp.array([1.0, 0.0]), TS, dense=True)
    np.testing.assert_allclose(solved(TS), solved.ys, atol=1e-14)
    assert solved(0.4).shape == (2,)
    assert solved(np.zeros((3, 4))).shape == (3, 4, 2)
    assert np.isnan(solved([-0.1, 1.3])).all()
    with pytest.raises(ValueError, match="dense=True"):
        solve(pendulum, jnp.array([1.0, 0.0]), TS)(0.4)


def test_states_may_be_trees_and_solves_batches() -> None:
    def field(t: Any, y: dict, u: Any) -> dict:
        return {"x": y["v"], "v": -y["x"]}

    @jax.jit
    def ends(x: jax.Array) -> Any:
        return jax.vmap(lambda x: solve(field, {"x": x, "v": 0.0}, TS, substeps=20, dense=True))(x)

    solved = ends(jnp.array([1.0, 2.0]))
    assert solved.ys["x"].shape == (2, len(TS))
    assert solved.work.nfe.shape == (2,)
    np.testing.assert_allclose(solved.ys["x"][1], 2 * np.cos(TS), atol=1e-8)
    path = solve(field, {"x": 1.0, "v": 0.0}, TS, substeps=20, dense=True).to_path(names=("v", "x"))
    assert np.asarray(path).shape == (5, 2)
    assert path.work == tk.records.Work(nfe=80 * 6, accepted=80)
    np.testing.assert_allclose(path([0.4, 0.7])[:, 1], np.cos([0.4, 0.7]), atol=1e-8)
    assert path(0.4).shape == (2,)
    assert path.to_frame().columns.tolist() == ["series", "time", "variable", "value"]


def test_times_keep_their_precision_and_states_their_type() -> None:
    late = 1e6 + np.array([0.0, 0.01, 0.02])
    with jax.enable_x64(False):
        solved = solve(lambda t, y, u: jnp.ones(1), jnp.zeros(1), late)
        assert solved.ys.dtype == jnp.float32
        np.testing.assert_allclose(solved.ys[:, 0], [0, 0.01, 0.02], rtol=1e-6)


def test_a_function_is_not_frozen_and_a_module_is_compiled_once() -> None:
    rate, traces = 1.0, 0

    def decay(t: Any, y: jax.Array, u: Any) -> jax.Array:
        return -rate * y

    class Decay(eqx.Module):
        rate: jax.Array

        def __call__(self, t: Any, y: jax.Array, u: Any) -> jax.Array:
            nonlocal traces
            traces += 1
            return -self.rate * y

    for rate in (1.0, 2.0):
        end = solve(decay, 1.0, TS, substeps=20).ys[-1]
        assert float(end) == pytest.approx(np.exp(-1.2 * rate), rel=1e-6)
        first = traces
        end = solve(Decay(jnp.asarray(rate)), 1.0, TS, substeps=20).ys[-1]
        assert float(end) == pytest.approx(np.exp(-1.2 * rate), rel=1e-6)
    assert traces == first > 0


def test_giving_up_is_said_not_raised() -> None:
    solved = solve(pendulum, jnp.ones(2), TS, method=diffrax.Tsit5(), max_steps=3)
    assert not bool(solved.ok)
    with pytest.raises(RuntimeError, match="max_steps"):
        solved.to_path()


@pytest.mark.parametrize("method", [EULER, HEUN, RK4], ids=lambda m: m.name)
def test_substeps_for_a_tolerance_reach_it(method: Tableau) -> None:
    y0, ts = jnp.array([1.0, 0.0]), np.linspace(0, 2, 11)
    tolerance = 1e-3 if method is EULER else 1e-5
    begin = 8 if method is EULER else 4
    error = step_error(pendulum, y0, ts, method=method, substeps=begin)
    needed = substeps_for(float(error), tolerance, substeps=begin, method=method, limit=10_000)
    exact = solve(pendulum, y0, ts, method=DOPRI5, substeps=50).ys
    reached = solve(pendulum, y0, ts, method=method, substeps=needed).ys
    fewer = solve(pendulum, y0, ts, method=method, substeps=max(1, needed // 3)).ys
    width = jnp.ptp(exact, axis=0)
    assert float(jnp.max(jnp.abs(reached - exact) / width)) < 1.3 * tolerance
    assert float(jnp.max(jnp.abs(fewer - exact) / width)) > tolerance


def test_substeps_for_has_bounds() -> None:
    assert substeps_for(1e-9, 1e-3, substeps=2) == 2
    assert substeps_for(1e9, 1e-3, substeps=2) == 64
    assert substeps_for(float("nan"), 1e-3, substeps=2) == 4
    assert float(step_error(lambda t, y, u: 0 * y, jnp.ones(2), TS)) == 0


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"ts": [0.0, 1.0, 0.5]}, r"ts\[1\] = 1.0, then 0.5"),
        ({"ts": [0.0, float("nan")]}, "run one way"),
        ({"ts": [[0.0, 1.0]]}, "shape"),
        ({"u": np.zeros((2, 1))}, "one row for each of the 5 times"),
        ({"u": np.zeros((5, 1)), "hold": "next"}, "'linear' or 'previous'"),
        ({"substeps": 0}, "positive integer"),
        ({"substeps": 0.1}, "substeps_within"),
        ({"substeps": [1, 2]}, "one for each of the 4 intervals"),
        ({"controller": TIGHT}, "controller="),
        ({"max_steps": 10}, "diffrax solver"),
        ({"method": diffrax.Tsit5(), "substeps": 2}, "Tableau"),
        ({"method": diffrax.Tsit5(), "memory": RecomputeStep()}, "memory="),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(v),
)
def test_bad_options_say_what_to_do(options: dict[str, Any], what: str) -> None:
    with pytest.raises(tk.InputError, match=what):
        solve(pendulum, jnp.ones(2), options.pop("ts", TS), **options)
