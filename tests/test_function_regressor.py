"""`FunctionRegressor`: scikit-learn's checks, weights, functions, intervals, saving, bad input."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

import tenkai as tk
from tenkai import InputError
from tenkai.fields import leaky_relu
from tenkai.fit import Interrupted
from tenkai.records import Status
from tenkai.regression.evaluation import calibrate, left_out_mean
from tenkai.regression.network import Affine
from tenkai.regression.sampling import Delivery, target_of
from tenkai.regression.table import distinct, left_out

QUICK: dict[str, Any] = {"hidden": (8,), "members": 2, "steps": 60}
NOISE = 0.3


def waves(n: int = 240, seed: int = 0, noise: float = NOISE) -> tuple[np.ndarray, np.ndarray]:
    """Rows on different scales, and a smooth function of them with noise."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (n, 2))
    y = np.sin(3 * x[:, 0]) + x[:, 1] ** 2 + noise * random.normal(size=n)
    return x * [1.0, 1000.0] + 5.0, 100 * y


@pytest.fixture(scope="module")
def table() -> tk.FunctionRegressor:
    return tk.FunctionRegressor((32, 32), steps=600).fit(*waves())


# --- scikit-learn ---


@pytest.mark.slow
def test_scikit_learn_is_content() -> None:
    results = check_estimator(tk.FunctionRegressor(**QUICK))
    assert all(r["status"] in ("passed", "skipped") for r in results)


def test_one_row_answers_as_among_others(table: tk.FunctionRegressor) -> None:
    x, _ = waves()
    whole, order = table.predict(x), np.random.default_rng(0).permutation(len(x))
    np.testing.assert_allclose(table.predict(x[:1]), whole[:1], rtol=1e-12)
    np.testing.assert_allclose(table.predict(x[order]), whole[order], rtol=1e-12)


def test_parameters_clone_and_print() -> None:
    made = clone(tk.FunctionRegressor((3,), output_activation="relu"))
    assert made.get_params()["hidden"] == (3,)
    assert repr(made) == "FunctionRegressor(hidden=(3,), output_activation='relu')"


def test_weights_are_copies_to_the_last_bit() -> None:
    x, y = waves(40)
    weight = np.random.default_rng(1).integers(0, 4, 40)
    by_weight = tk.FunctionRegressor(**QUICK).fit(x, y, weight)
    order = np.random.default_rng(2).permutation(weight.sum())
    copied = np.repeat(x, weight, axis=0)[order], np.repeat(y, weight)[order]
    by_copies = tk.FunctionRegressor(**QUICK).fit(*copied)
    np.testing.assert_array_equal(by_weight.predict(x), by_copies.predict(x))
    np.testing.assert_array_equal(by_weight.predict(x, 0.8).upper, by_copies.predict(x, 0.8).upper)
    assert (by_weight.predict(x) != tk.FunctionRegressor(**QUICK).fit(x, y).predict(x)).any()


# --- tables ---


def test_learns_what_a_line_cannot(table: tk.FunctionRegressor) -> None:
    x, y = waves(400, seed=1, noise=0.0)
    held = table.held_out_
    assert table.score(x, y) > 0.97
    assert table.fit_.status.ok and held is not None and not held.fresh
    assert held.rmse[0] < 0.6 * held.baselines["a linear model"][0]
    assert held.rmse[0] == pytest.approx(100 * NOISE, rel=0.25)
    assert held.baselines["a constant"][0] == pytest.approx(held.deviation[0], rel=0.05)
    assert "a linear model" in table.summary() and "R" in repr(table)
    assert list(table.history["step"])[-1] == table.n_iter_ == 600


def test_the_network_holds_its_units(table: tk.FunctionRegressor) -> None:
    x, y = waves()
    one = np.asarray(table.model_(x[0].astype(np.float32)))
    assert one.shape == (10, 1)
    np.testing.assert_allclose(one[:, 0], table.predict_members(x[:1])[:, 0], rtol=1e-4)
    np.testing.assert_allclose(table.predict_members(x).mean(0), table.predict(x), rtol=1e-12)
    moved = tk.FunctionRegressor((32, 32), steps=600).fit(x * 8 - 16, y * 4 + 1024)
    np.testing.assert_allclose((moved.predict(x * 8 - 16) - 1024) / 4, table.predict(x), atol=2.0)


def test_targets_keep_their_shape_and_names() -> None:
    x, y = waves(60)
    flat, column = (tk.FunctionRegressor(**QUICK).fit(x, v).predict(x) for v in (y, y[:, None]))
    assert flat.shape == (60,) and column.shape == (60, 1)
    np.testing.assert_array_equal(flat, column[:, 0])
    frame = pd.DataFrame(x, columns=["a", "b"])
    both = pd.DataFrame({"u": y, "v": -y})
    made = tk.FunctionRegressor(**QUICK).fit(frame, both)
    assert made.target_names_ == ("u", "v") and made.predict(frame).shape == (60, 2)
    found = made.predict(frame[:3], coverage=0.5)
    assert list(found.to_frame()["variable"]) == ["u", "v"] * 3
    np.testing.assert_array_equal(np.asarray(found), found.mean)
    with pytest.raises(ValueError, match="feature names"):
        made.predict(frame[["b", "a"]])
    with pytest.raises(InputError, match="column 'b'"):
        made.predict(frame.assign(b=np.nan))


def test_an_activation_on_the_output_keeps_the_units() -> None:
    x, y = waves(60)
    made = tk.FunctionRegressor(output_activation="softplus", **QUICK).fit(x, np.abs(y) / 100)
    assert (made.model_.outputs.scale == 1).all() and (made.predict(x * 100) >= 0).all()
    assert np.allclose(leaky_relu(jnp.array([-2.0, 3.0])), [-0.4, 3.0])


def test_stops_early_where_nothing_is_gained() -> None:
    x = waves(60)[0]
    y = np.random.default_rng(3).normal(size=60)
    made = tk.FunctionRegressor(members=2, steps=2000, patience=3).fit(x, y)
    assert made.fit_.status.kind in ("early", "beaten") and made.n_iter_ < 2000


def test_noise_is_called_noise() -> None:
    x = waves(150)[0]
    y = np.random.default_rng(3).normal(size=150)
    made = tk.FunctionRegressor(members=5, steps=800, held_out=0.2).fit(x, y)
    assert made.held_out_ is not None and made.held_out_.r2 < 0.2
    held = left_out(40, 10, 0.1, 0)
    assert held is not None and (held.sum(0) == 1).all()


def test_snapshots_are_the_model_on_its_way() -> None:
    x, y = waves(60)
    made = tk.FunctionRegressor(snapshot_every=35, **QUICK | {"steps": 140}).fit(x, y)
    assert [step for step, _ in made.fit_.snapshots] == [35, 70, 105, 140]
    assert made.at_step(35).score(x, y) < made.at_step(140).score(x, y)
    with pytest.raises(InputError, match="35, 70, 105, 140; got 36"):
        made.at_step(36)


def test_all_members_are_kept_at_the_step_that_is_best_for_them_together() -> None:
    x, y = waves(60)
    made = tk.FunctionRegressor(snapshot_every=7, **QUICK | {"steps": 350}).fit(x, y)
    table = made.history.set_index("step")["validation"]
    assert made.best_step_ == table.idxmin()
    np.testing.assert_array_equal(made.at_step(made.best_step_).predict(x), made.predict(x))


# --- weights and folds ---


def test_distinct_rows_carry_the_weight_of_their_copies() -> None:
    x = np.array([[1.0], [0.0], [1.0], [2.0]])
    found = distinct(x, x.copy(), np.array([1.0, 2.0, 3.0, 0.0]))
    assert found.x.tolist() == [[0.0], [1.0]] and found.weight.tolist() == [2 / 3, 4 / 3]
    assert found.effective == pytest.approx(36 / 20)


@pytest.mark.parametrize(("members", "times"), [(10, 1), (20, 2), (30, 3)])
def test_every_row_is_left_out_equally_often(members: int, times: int) -> None:
    out = left_out(53, members, 0.1, 0)
    assert out is not None and (out.sum(0) == times).all()
    assert set(out.sum(1)) == {5, 6}
    if times > 1:
        assert (out[:10] != out[10:20]).any()


def test_a_row_is_judged_by_who_did_not_see_it() -> None:
    answers = np.arange(6.0).reshape(3, 2, 1)
    out = np.array([[True, False], [True, False], [False, False]])
    found = left_out_mean(answers, out)
    assert found[0] == 1.0 and np.isnan(found[1])


# --- intervals ---


def test_the_conformal_quantile_of_known_misses() -> None:
    miss = np.arange(1.0, 100.0)[:, None]  # 99 of them: of 90 % the 90th
    made = calibrate(miss, np.zeros_like(miss), np.ones(99))
    assert made.half_width(np.zeros((1, 1)), 0.9)[0, 0] == pytest.approx(90.0)
    assert made.half_width(np.zeros((1, 1)), 0.999)[0, 0] == pytest.approx(99.0)
    wider = made.half_width(made.floor[None] * np.sqrt(3), 0.9)
    assert wider[0, 0] == pytest.approx(180.0)
    many = calibrate(np.arange(20_000.0)[:, None], np.zeros((20_000, 1)), np.ones(20_000))
    assert len(many.scores) <= 2000
    assert many.half_width(np.zeros((1, 1)), 0.9)[0, 0] == pytest.approx(18_000, rel=1e-3)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_intervals_hold_what_they_promise(table: tk.FunctionRegressor, coverage: float) -> None:
    x, y = waves(3000, seed=9)
    found = table.predict(x, coverage=coverage)
    inside = np.mean((found.lower <= y) & (y <= found.upper))
    assert coverage - 0.05 < inside < coverage + 0.06
    held = table.held_out_
    assert held is not None and held.coverage.points == 240
    assert 0.84 < held.coverage.share < 0.96
    far = table.predict(x[:20] * 10, coverage=coverage)
    assert (far.upper - far.lower).min() > 2 * np.median(found.upper - found.lower)


# --- functions ---


@pytest.mark.parametrize(
    ("function", "traced"),
    [(jnp.exp, True), (np.exp, False), (lambda x: x**2 - x, True),
     (lambda x: x + np.random.default_rng().normal(size=x.shape), False),
     (lambda x: x if x[0] > 0 else -x, False)],
)  # fmt: skip
def test_what_kind_of_function_it_is(function: Any, traced: bool) -> None:
    found = target_of(function, 0, 1, np.float32)
    assert found.traced == traced and found.flat and found.outputs == 1
    x, y = found.draw(7, 0)
    assert x.shape == y.shape == (7, 1) and ((x > 0) & (x < 1)).all()


def test_functions_of_several_inputs_and_outputs() -> None:
    def both(x: Any) -> Any:
        return jnp.stack([x[:, 0] * x[:, 1], x[:, 0]], axis=1)

    found = target_of(both, [0, 2], [1, 3], np.float32)
    assert not found.flat and found.outputs == 2 and found.traced
    made = tk.FunctionRegressor((16,), members=2, steps=500).fit_function(both, [0, 2], [1, 3])
    assert made.score([[0.5, 2.5], [0.1, 2.9]], [[1.25, 0.5], [0.29, 0.1]]) > 0.95
    assert made.target_names_ == ("y0", "y1") and made.n_features_in_ == 2


def test_rows_of_a_step_hang_on_the_step_alone() -> None:
    def square(x: Any) -> Any:
        return np.square(np.asarray(x))

    target = target_of(square, [-1.0], [3.0], np.float64)
    one = Affine.identity(1)
    first, again = (Delivery(target, one, one, 3, 5, 0, np.float64) for _ in range(2))
    last = first.steps
    there = [first(step) for step in (0, 1, last)]
    back = [again(step) for step in (last, 1, 0)][::-1]
    for a, b in zip(there, back, strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        assert a.x.shape == (3, 1, 5) and (np.abs(a.x - 1) <= 2).all()
        np.testing.assert_allclose(a.y, a.x**2)
    assert (there[0].x != there[1].x).all() and (there[0].x[0] != there[0].x[1]).all()


@pytest.mark.parametrize("exp", [jnp.exp, np.exp])
def test_the_recipe_of_the_tutorial(exp: Any) -> None:
    made = tk.FunctionRegressor(
        (16, 32), activation="leaky_relu", output_activation="leaky_relu", members=1, steps=10_000,
        batch=100, learning_rate=1e-3, schedule="constant", standardise=False, held_out=0.0,
    ).fit_function(exp, 0, 1)  # fmt: skip
    x = np.linspace(0, 1, 101)[:, None]
    assert np.abs(made.predict(x) - np.exp(x[:, 0])).max() < 0.03
    assert made.held_out_ is None and "nothing left out" in made.summary()
    assert made.parameters_ == 32 + 17 * 32 + 33


def test_a_function_is_judged_on_new_rows() -> None:
    made = tk.FunctionRegressor((16, 16), members=2, steps=1500).fit_function(np.sin, 0, 6)
    held = made.held_out_
    assert held is not None and held.fresh and held.rows == 10_000
    x = np.linspace(0, 6, 500)[:, None]
    assert np.abs(made.predict(x) - np.sin(x[:, 0])).max() < 2 * held.largest[0] < 0.1
    assert held.coverage.share == pytest.approx(0.9, abs=0.02)


# --- files, resuming ---


def same(a: tk.FunctionRegressor, b: tk.FunctionRegressor, x: Any) -> None:
    np.testing.assert_array_equal(a.predict(x), b.predict(x))
    one, other = (m.predict(x, coverage=0.7) for m in (a, b))
    np.testing.assert_array_equal(one.lower, other.lower)
    assert str(a.fit_.status) == str(b.fit_.status) and a.held_out_ == b.held_out_
    assert a.summary() == b.summary()


def test_saved_and_loaded_or_pickled(table: tk.FunctionRegressor, tmp_path: Path) -> None:
    x, y = waves()
    table.save(tmp_path / "r.safetensors")
    same(table, tk.load(tmp_path / "r.safetensors"), x)
    same(table, pickle.loads(pickle.dumps(table)), x)
    frame = pd.DataFrame(x, columns=["長さ", "b"])
    bare = tk.FunctionRegressor(held_out=0.0, **QUICK).fit(frame, y)
    bare.save(tmp_path / "bare.safetensors")
    again = tk.load(tmp_path / "bare.safetensors")
    assert list(again.feature_names_in_) == ["長さ", "b"] and again.held_out_ is None
    np.testing.assert_array_equal(again.predict(frame), bare.predict(frame))


@pytest.mark.parametrize("function", [None, np.exp, jnp.exp])
def test_goes_on_with_the_same_bits(
    function: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(**options: Any) -> tk.FunctionRegressor:
        made = tk.FunctionRegressor(**QUICK | {"steps": 150})
        if function is None:
            return made.fit(*waves(50), **options)
        return made.fit_function(function, 0, 1, **options)

    x = waves(50)[0] if function is None else np.linspace(0, 1, 50)[:, None]
    whole = learn()
    loop = import_module("tenkai.fit.loop")
    real, calls = loop.settle, []

    def settle(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(loop, "settle", settle)
    with pytest.raises(Interrupted):
        learn(checkpoint=tmp_path / "c")
    same(whole, learn(checkpoint=tmp_path / "c"), x)


# --- bad input ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "swish"}, "elu, gelu, identity, leaky_relu, relu, sigmoid, silu, sin"),
        ({"output_activation": "exp"}, "leaky_relu"),
        ({"hidden": (8, 0)}, "hidden"),
        ({"hidden": 8}, "hidden"),
        ({"members": 0}, "members"),
        ({"steps": "many"}, "steps.*or \"auto\""),
        ({"patience": 0}, "patience.*or None"),
        ({"held_out": 0.7}, "held_out"),
        ({"schedule": "linear"}, "'cosine' or 'constant'"),
        ({"precision": "float16"}, "precision"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"seed": 1.5}, "seed"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tk.FunctionRegressor(**options).fit(*waves(20))


def test_tables_that_cannot_be_learned(table: tk.FunctionRegressor) -> None:
    x, y = waves(20)
    broken = x.copy()
    broken[3, 1] = np.nan
    made = tk.FunctionRegressor(**QUICK)
    for call, message in (
        (lambda: made.fit(broken, y), "X, column 'x1'.*NaN in row 3"),
        (lambda: made.fit(x, np.where(y > 0, np.inf, y)), "y, column 'y0'"),
        (lambda: made.fit(x, y[:-1]), "20 targets"),
        (lambda: made.fit(x, ["a"] * 20), "y: expected numbers"),
        (lambda: made.fit(x, y, np.zeros(20)), "[Ss]ample.weight"),
        (lambda: made.fit(x, y, np.full(20, -1.0)), "[Nn]egative|at least zero"),
        (lambda: table.predict(x[:, :1]), "features"),
        (lambda: table.predict(x, coverage=90), "coverage"),
        (lambda: tk.FunctionRegressor(held_out=0.0, **QUICK).fit(x, y).predict(x, 0.9), "held_out"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert not hasattr(made, "fit_")
    with pytest.raises(NotFittedError):
        tk.FunctionRegressor().predict(x)


@pytest.mark.parametrize(
    ("function", "low", "high", "message"),
    [
        (np.exp, 1, 1, "low below high"),
        (np.exp, [0, 0], [1, 1, 1], "one for each input"),
        (np.log, -1, 1, "finite numbers everywhere"),
        (lambda x: 1.0, 0, 1, "shape \\(\\)"),
        (lambda x: x[:, 0], 0, 1, "batch of rows \\(n,\\)"),
    ],
)  # fmt: skip
def test_functions_that_cannot_be_learned(function: Any, low: Any, high: Any, message: str) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match=message):
        tk.FunctionRegressor(**QUICK).fit_function(function, low, high)


def test_a_training_that_fails_is_told() -> None:
    from tenkai.estimators.function_regressor_judgement import status_of

    made = status_of(Status("diverged", "lost", "NaN", "lower the rate", ok=False), None, ("n",))
    assert made.kind == "diverged" and not made.ok and made.notes == ("n",)
