"""Laws of `Unfolded`: gradients, ties, stages, resuming, programs, and its border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tenkai import InputError, Unfolded, load
from tenkai.algorithms import gradient_descent, least_squares_problems
from tenkai.algorithms.iteration import run, squared_error
from tenkai.algorithms.learning import Learner, Lesson, objective, parts
from tenkai.fit import Interrupted
from tenkai.unfold import Memory, RecomputeStep, Segments, Store

ADAM = optax.adam(1e-3)
COMPILED = "/jax/core/compile/backend_compile_duration"


def matrix(m: int = 8, n: int = 4, *, seed: int = 0, complex_: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(m, n))
    return A + 1j * rng.normal(size=(m, n)) if complex_ else A


def descend(x: Any, layer: Any) -> Any:
    return x - layer.p["eta"] * (x - layer.y)


def start(y: Any) -> Any:
    return jnp.zeros_like(y)


def targets(key: Any) -> Any:
    y = jax.random.normal(key, (3,))
    return y, y


def small(**options: Any) -> Unfolded:
    """x moves towards y by eta of the way."""
    options = {"layers": 3, "parameters": {"eta": 0.1}} | options
    return Unfolded(descend, start, **options)


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    seen: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event == COMPILED:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def value_and_grad(algorithm: Unfolded, sampler: Callable, lesson: Lesson, count: int) -> Any:
    """The loss of one batch as a function of the parameters, and its gradient."""
    arrays, static = parts(algorithm.iteration, sampler)
    made = objective(static, lesson)

    def value(parameters: Any) -> Any:
        return made(Learner(parameters, jnp.int32(count)), arrays, jax.random.key(3))[0]

    return jax.jit(value), jax.jit(jax.grad(value))


@pytest.mark.parametrize(
    ("complex_", "on", "memory"),
    [
        (False, "last", Store()),
        (True, "last", Store()),
        (True, "all", Store()),
        (False, "all", RecomputeStep()),
        (False, "last", Segments(2)),
    ],
)
def test_gradient_is_the_finite_difference(complex_: bool, on: str, memory: Memory) -> None:
    A = matrix(complex_=complex_)
    algorithm = gradient_descent(A, layers=4)
    lesson = Lesson(4, 5, squared_error, on, 2, memory)
    with jax.enable_x64(True):
        value, grad = value_and_grad(algorithm, least_squares_problems(A), lesson, count=5)
        eta = algorithm.parameters_["eta"]
        slope = np.asarray(grad({"eta": eta})["eta"])
        for k in range(4):
            h = 1e-6 * np.eye(4)[k]
            difference = (value({"eta": eta + h}) - value({"eta": eta - h})) / 2e-6
            assert slope[k] == pytest.approx(float(difference), rel=1e-5, abs=1e-8)
    assert slope[3] == 0.0 and np.all(slope[:3] != 0)  # step 5 is of the third stage


@pytest.mark.parametrize("tied", [True, 2, 3, False])
def test_equal_parameters_make_ties_equal(tied: bool | int) -> None:
    y = np.random.default_rng(0).normal(size=(5, 3))
    tied_path = small(layers=6, tied=tied).path(y)
    assert tied_path.shape == (7, 5, 3)
    np.testing.assert_array_equal(tied_path, small(layers=6).path(y))
    np.testing.assert_allclose(tied_path[6], (1 - 0.9**6) * y)


def test_layer_k_reads_number_k_mod_period_also_beyond_the_trained_ones() -> None:
    eta = np.array([0.1, 0.5, 0.9])
    algorithm = small(layers=3).with_parameters(eta=eta)
    left = np.cumprod(1 - np.tile(eta, 3))
    path = algorithm.path(np.ones((1, 3)), layers=9)
    np.testing.assert_allclose(path[1:, 0, 0], 1 - left)
    np.testing.assert_array_equal(algorithm.path(np.ones((1, 3)), layers=0), np.zeros((1, 1, 3)))


def test_incremental_training_leaves_later_layers_alone_until_their_stage() -> None:
    algorithm = small(layers=4)
    algorithm.fit(targets, steps=5, batch=8, incremental=True, rule=ADAM, every=5, snapshot_every=1)
    assert algorithm.fit_ is not None and algorithm.fit_.steps == 20
    for stage, (step, learner) in enumerate(algorithm.fit_.snapshots, start=1):
        eta = np.asarray(learner.parameters["eta"])
        assert step == 5 * stage
        assert np.all(eta[stage:] == 0.1) and np.all(eta[:stage] != 0.1)


def test_one_program_serves_all_depths_and_other_arrays(compilations: list[str]) -> None:
    A, B = matrix(seed=1), matrix(seed=2)

    def fit(A: np.ndarray, layers: int) -> None:
        algorithm = gradient_descent(A, eta=0.0, layers=layers)
        algorithm.fit(least_squares_problems(A), steps=3, batch=4, incremental=True, rule=ADAM)

    fit(A, 2)
    shallow = len(compilations)
    fit(A, 9)
    deep = len(compilations) - shallow
    assert 0 < deep <= shallow  # nine depths need no more programs than two
    fit(B, 9)
    assert len(compilations) == shallow + deep


def test_fits_are_deterministic_and_seeds_differ() -> None:
    first, again, other = (
        small(seed=seed).fit(targets, steps=20, batch=4).parameters_["eta"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_second_fit_goes_on_with_fresh_problems() -> None:
    twice = small().fit(targets, steps=10, batch=4, rule=ADAM)
    middle = twice.parameters_["eta"]
    twice.fit(targets, steps=10, batch=4, rule=ADAM)
    alone = small().with_parameters(eta=middle).fit(targets, steps=10, batch=4, rule=ADAM)
    assert not np.array_equal(twice.parameters_["eta"], alone.parameters_["eta"])


def test_an_interrupted_fit_resumes_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "steps": 5,
        "batch": 4,
        "incremental": True,
        "rule": ADAM,
        "every": 5,
    }
    whole = small(layers=4).fit(targets, **options)
    from tenkai.fit import loop

    settle, calls = loop.settle, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return settle(*arguments)

    monkeypatch.setattr(loop, "settle", interrupted)
    with pytest.raises(Interrupted):
        small(layers=4).fit(targets, checkpoint=tmp_path, **options)
    monkeypatch.undo()
    resumed = small(layers=4).fit(targets, checkpoint=tmp_path, **options)
    np.testing.assert_array_equal(resumed.parameters_["eta"], whole.parameters_["eta"])


def test_complex_signals_learn_real_steps() -> None:
    A = matrix(complex_=True)
    algorithm = gradient_descent(A, layers=6)
    problems = least_squares_problems(A)
    y, x = algorithm.draw(problems, 200)
    assert np.iscomplexobj(y) and np.iscomplexobj(x)
    np.testing.assert_allclose(x, y @ np.linalg.pinv(A).T)
    before = algorithm.error(y, x)
    after = algorithm.fit(problems, steps=300, batch=50).error(y, x)
    assert algorithm.parameters_["eta"].dtype == np.float64
    assert after[-1] < before[-1] < before[0]


def test_finite_data_are_drawn_row_by_row() -> None:
    y = np.random.default_rng(0).normal(size=(20, 3))
    algorithm = small(layers=1).fit((y, 2 * y), steps=200, batch=20, rule=optax.adam(0.03))
    np.testing.assert_allclose(algorithm(y), 2 * y, rtol=1e-3)  # eta = 2


def test_all_layers_can_be_judged() -> None:
    algorithm = small(layers=3).fit(targets, steps=400, batch=4, on="all", rule=optax.adam(0.02))
    assert algorithm.parameters_["eta"][0] == pytest.approx(1.0, abs=1e-3)
    assert algorithm.error(*algorithm.draw(targets, 10))[1] < 1e-4


def test_best_fixed_is_the_best_of_all_tried() -> None:
    A = matrix()
    algorithm = gradient_descent(A, layers=5)
    y, x = algorithm.draw(least_squares_problems(A), 30)
    values = np.linspace(0.01, 0.3, 20)  # some diverge
    found = algorithm.best_fixed(y, x, values)
    each = [algorithm.with_parameters(eta=v).error(y, x)[-1] for v in values]
    np.testing.assert_allclose(found.errors, each, rtol=1e-9)
    assert found.value == values[np.argmin(each)]
    np.testing.assert_allclose(found.error[-1], np.min(each), rtol=1e-9)


def test_rules_by_name_and_parameters_without_one() -> None:
    def step(x: Any, layer: Any) -> Any:
        return x - layer.p["eta"] * (x - layer.p["shrink"] * layer.y)

    made = Unfolded(step, start, 2, {"eta": 0.1, "shrink": 0.9})
    made.fit(targets, steps=5, batch=4, rule={"eta": optax.sgd(0.1)})
    assert np.all(made.parameters_["shrink"] == 0.9) and np.all(made.parameters_["eta"] != 0.1)
    with pytest.raises(InputError, match="expected one of eta, shrink; got 'mu'"):
        made.fit(targets, steps=5, rule={"mu": ADAM})


def test_the_default_rule_fits_the_size_of_the_parameters() -> None:
    sizes = []
    for scale in (1.0, 1e-4):  # the same problem in other units

        def step(x: Any, layer: Any, scale: float = scale) -> Any:
            return x - layer.p["eta"] / scale * (x - layer.y)

        made = Unfolded(step, start, 3, {"eta": 0.1 * scale})
        sizes.append(made.fit(targets, steps=50, batch=4).parameters_["eta"] / scale)
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=1e-6)


def test_layers_that_stay_equal_are_told() -> None:
    A = matrix()
    algorithm = gradient_descent(A, eta=0.05, layers=4)
    algorithm.fit(least_squares_problems(A), steps=20, batch=10)
    assert algorithm.fit_ is not None
    assert any("same values" in note for note in algorithm.fit_.status.notes)
    algorithm = gradient_descent(A, layers=4).fit(least_squares_problems(A), steps=20, batch=10)
    assert algorithm.fit_ is not None and not algorithm.fit_.status.notes


def test_training_that_makes_it_worse_has_a_status() -> None:
    worse = small(parameters={"eta": 0.9}).fit(targets, steps=30, rule=optax.sgd(-1.0))
    assert worse.fit_ is not None and not worse.fit_.status.ok
    assert "incremental" in worse.fit_.status.remedy


def test_single_precision_stays_single() -> None:
    algorithm = small(precision="float32").fit(targets, steps=3, batch=2)
    assert algorithm.parameters_["eta"].dtype == np.float32
    assert algorithm(np.ones((2, 3))).dtype == np.float32


def test_products_of_a_batch_are_one_matrix_product() -> None:
    A = matrix(20, 10)
    algorithm = gradient_descent(A, layers=3)
    p, y = algorithm.parameters_, np.ones((7, 20))
    with jax.enable_x64(True):
        jaxpr = str(jax.make_jaxpr(lambda p, y: run(algorithm.iteration, p, y, 3))(p, y))
    assert "f64[7,10]" in jaxpr.replace(" ", "") and jaxpr.count("dot_general") == 2


@dataclass
class Unhashable:
    rate: float

    def __call__(self, x: Any, layer: Any) -> Any:
        return x


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers: expected a positive number; got 0"),
        ({"parameters": {}}, "parameters: expected what the layers learn"),
        ({"parameters": {"eta": "x"}}, "parameter 'eta': expected numbers"),
        ({"tied": 4}, "tied: expected True, False or a period of 1 to 3 layers; got 4"),
        ({"tied": "yes"}, "tied: expected True, False or a period of 1 to 3 layers; got 'yes'"),
        ({"layers": True}, "layers: expected a positive number; got True"),
        ({"parameters": [0.1]}, r"parameters: expected what the layers learn, .*; got \[0.1\]"),
        ({"parameters": {"eta": [[1.0], [1.0, 2.0]]}}, "parameter 'eta': expected numbers"),
    ],
)
def test_what_cannot_be_unfolded(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**options)


def bad_loss(x: Any, y: Any) -> Any:
    return x - y


@pytest.mark.parametrize(
    ("step", "data", "options", "message"),
    [
        (descend, targets, {"steps": 0}, "steps: expected a positive number"),
        (descend, targets, {"on": "first"}, 'on: expected "last" or "all"'),
        (descend, 3.0, {}, r"data: expected a function sampler\(key\)"),
        (descend, (np.ones((3, 2)), np.ones((4, 2))), {}, "data: expected .* same number of rows"),
        (descend, lambda key: jnp.ones(3), {}, r"sampler: expected a pair \(inputs, target\)"),
        (lambda x, l: x[:2], targets, {}, r"step: expected .* float64\[3\]; got float64\[2\]"),
        (lambda x, l: l.p["mu"], targets, {}, "step: expected .*; got KeyError: 'mu'"),
        (descend, targets, {"loss": bad_loss}, "loss: expected one real number"),
        (descend, targets, {"loss": lambda x, y: 1.0}, "loss: expected one real number; got float"),
        (descend, targets, {"loss": lambda x, y: 1j * jnp.sum(x)}, "loss: .* got complex128"),
        (lambda x, l: [x], targets, {}, r"step: expected .*; got \[float64\[3\]\]"),
        (descend, lambda key: (jnp.ones(3), jnp.ones((3, 1))), {}, r"target: .* \(3,\); got .*1\)"),
        (lambda x, l: x + l.y[3], targets, {}, "step: expected components .* index 3 is out of"),
        (descend, ([["a"]], [["b"]]), {}, "inputs: expected numbers"),
        (descend, (np.ones((0, 3)), np.ones((0, 3))), {}, "data: expected .* rows"),
        (descend, targets, {"rule": "adam"}, "rule: expected an optax rule; got 'adam'"),
        (Unhashable(0.5), targets, {}, "step, init, read or sampler: expected .* hashable"),
    ],
)
def test_what_cannot_be_trained(
    step: Any, data: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Unfolded(step, start, 3, {"eta": 0.1}).fit(data, **options)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda a: a("a"), "inputs: expected numbers"),
        (lambda a: a(3.0), "inputs: expected a batch"),
        (lambda a: a(np.ones((2, 3)), layers=-1), "layers: expected a number, not negative"),
        (lambda a: a.error(np.ones((4, 3)), np.ones((2, 3))), "data: .* same number of rows"),
        (lambda a: a.error(np.ones((4, 3)), np.ones((4, 2))), "target: expected the shape"),
        (lambda a: a.draw("a", 3), "sampler: expected"),
        (lambda a: a.draw(targets, 3.0), "count: expected a number"),
        (lambda a: a.best_fixed(np.ones((4, 3)), np.ones((4, 3)), "a"), "values: expected a list"),
        (lambda a: a.best_fixed(np.ones((4, 3)), np.ones((4, 3)), [np.nan]), "values: expected"),
    ],
)
def test_what_cannot_be_asked(ask: Callable[[Unfolded], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ask(Unfolded(descend, start, 3, {"eta": 0.1}))


def test_layers_that_lead_away_have_not_converged() -> None:
    wild = Unfolded(descend, start, 4, {"eta": 100.0}).fit(targets, steps=2, batch=5)
    assert wild.fit_ is not None
    assert wild.fit_.status.kind == "diverged" and "at init" in wild.fit_.status.message


def test_a_state_of_several_arrays_and_lists_as_data() -> None:
    def heavy(s: Any, layer: Any) -> Any:
        v = layer.p["mu"] * s["v"] - layer.p["eta"] * (s["x"] - layer.y)
        return {"x": s["x"] + v, "v": v}

    zero = {"x": [0.0, 0.0], "v": np.zeros(2)}
    ball = Unfolded(heavy, zero, 2, {"mu": 0.5, "eta": 0.5}, read=lambda s: s["x"])
    rows = [[1.0, 2.0], [3.0, 4.0]]
    np.testing.assert_allclose(ball(rows), np.array(rows))  # .5 y, then + .25 y + .25 y
    ball.fit((rows, rows), steps=2, batch=2)
    assert ball.fit_ is not None and np.isfinite(ball.error(rows, rows)).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mu": 1.0}, "expected one of eta; got 'mu'"),
        ({"eta": np.ones(4)}, "at most 3 layers"),
        ({"eta": np.ones((2, 2))}, "one value, or one per layer"),
    ],
)
def test_what_cannot_replace_parameters(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small().with_parameters(**values)


def test_parameters_come_back_from_their_file(tmp_path: Path) -> None:
    gd = Unfolded(lambda x, layer: x - layer.p["eta"] * x, lambda y: y, 3, {"eta": 0.1})
    learned = gd.with_parameters(eta=[0.2, 0.3, 0.4])
    learned.save(tmp_path / "gd.safetensors")
    again = gd.with_saved(tmp_path / "gd.safetensors")
    np.testing.assert_array_equal(again.parameters_["eta"], [0.2, 0.3, 0.4])
    fewer = Unfolded(lambda x, layer: x, lambda y: y, 2, {"eta": 0.1})
    with pytest.raises(InputError, match="eta"):
        fewer.with_saved(tmp_path / "gd.safetensors")
    with pytest.raises(InputError, match="with_saved"):
        load(tmp_path / "gd.safetensors")


def test_pictures() -> None:
    algorithm = small(layers=6, tied=2).fit(targets, steps=10, batch=2)
    axes = algorithm.plot()
    assert [ax.get_ylabel() for ax in axes] == ["eta", "loss"]
    drawn = axes[0].get_lines()[0].get_ydata()
    np.testing.assert_array_equal(drawn, np.tile(algorithm.parameters_["eta"], 3))
