"""`NeuralODE` as its users meet it."""

from __future__ import annotations

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import tenkai as tk
from tenkai.errors import InputError
from tenkai.estimators.judgement import r_squared

LYNX = Path(__file__).parent.parent / "examples" / "lynx_hare.csv"
QUICK = {"members": 2, "steps": 20, "matching_steps": 100}


class LotkaVolterra(eqx.Module):
    """x' = a x - b x y, y' = -c y + d x y."""

    a: float = 1.0
    b: float = 1.0
    c: float = 1.0
    d: float = 1.0

    def __call__(self, t, y, u):
        return jnp.stack(
            [self.a * y[0] - self.b * y[0] * y[1], -self.c * y[1] + self.d * y[0] * y[1]]
        )


@pytest.fixture(scope="module")
def quick() -> tk.NeuralODE:
    return tk.NeuralODE(**QUICK).fit(tk.toys.sample("van_der_pol", n=30, noise=0.02, seed=0))


@pytest.fixture(scope="module")
def lynx_hare() -> tk.NeuralODE:
    return tk.NeuralODE().fit(tk.read_trajectories(LYNX, time="Year"))


def test_lynx_hare_from_one_solve(lynx_hare: tk.NeuralODE) -> None:
    ode = lynx_hare
    path = ode.reconstruct()
    assert (r_squared([path.values], [ode.data_[0].x]) >= 0.85).all()
    assert ode.fit_.status.ok
    assert ode.discretisation_.is_ode
    assert ode.held_out_.error < ode.held_out_.best_naive[1]
    assert "log scale" in " ".join(ode.fit_.status.notes)
    # One solve: the same path as `simulate` takes from the learned start, not a smoother's.
    members = ode.predictor_.ensemble
    assert members.starts.shape == (5, 1, 2)


def test_no_interval_of_a_positive_quantity_goes_below_zero(lynx_hare: tk.NeuralODE) -> None:
    future = lynx_hare.forecast(horizon=30)
    assert (future.lower > 0).all()
    assert (future.lower < future.mean).all()
    assert (future.mean < future.upper).all()
    assert list(future.time[:3]) == [1921.0, 1922.0, 1923.0]
    table = future.to_frame()
    assert list(table.columns) == [
        "series", "Year", "variable", "mean", "lower", "upper", "coverage",
    ]  # fmt: skip


def test_a_saved_model_answers_the_same(lynx_hare: tk.NeuralODE, tmp_path: Path) -> None:
    lynx_hare.save(tmp_path / "m.safetensors")
    again = tk.load(tmp_path / "m.safetensors")
    for name in ("mean", "lower", "upper"):
        a, b = (getattr(o.forecast(horizon=5), name) for o in (lynx_hare, again))
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(again.reconstruct(), lynx_hare.reconstruct())
    assert again.get_params() == lynx_hare.get_params()
    assert again.held_out_.naive == lynx_hare.held_out_.naive
    assert str(again.fit_.status) == str(lynx_hare.fit_.status)
    assert again.summary() == lynx_hare.summary()


def test_states_on_a_log_scale_are_above_zero(lynx_hare: tk.NeuralODE) -> None:
    for ask in (lambda y: lynx_hare.simulate(y, [0, 1]), lynx_hare.derivative):
        with pytest.raises(InputError, match="state of Hare: expected values above zero"):
            ask([10.0, 0.0])


def test_files_of_the_first_format_always_load() -> None:
    file = Path(__file__).parent / "fixtures" / "neural_ode_format1.safetensors"
    ode = tk.load(file)
    made = ode.forecast(times=[15.0])
    np.testing.assert_allclose(made.mean, [[1.11840, 1.53732]], rtol=1e-3)
    np.testing.assert_allclose(made.upper, [[3.24647, 3.20013]], rtol=1e-3)
    assert ode.augment == 1
    assert ode.held_out_ is not None


def test_the_derivative_is_the_slope_of_the_path(lynx_hare: tk.NeuralODE) -> None:
    ode = tk.NeuralODE(**QUICK | {"members": 1}).fit(lynx_hare.data_)
    t = np.array([1905.0, 1905.01, 1905.02])
    path = ode.reconstruct(t).values
    slope = (path[2] - path[0]) / 0.02
    np.testing.assert_allclose(ode.derivative(path[1])[0], slope, rtol=2e-2)


def test_a_long_forecast_continues_a_short_one(quick: tk.NeuralODE) -> None:
    short, long = quick.forecast(horizon=2.0), quick.forecast(horizon=4.0)
    np.testing.assert_allclose(long.mean[: len(short) - 1], short.mean[:-1], atol=1e-4)


def test_new_series_are_continued_from_their_own_state(quick: tk.NeuralODE) -> None:
    once = quick.data_
    same = quick.forecast(horizon=1.0, data=once)
    assert np.isfinite(same.mean).all()
    assert same.time[0] > once[0].t[-1]
    # On data of the model's own making the estimated state is the state.
    t = np.linspace(0, 4, 25)
    member = tk.NeuralODE(**QUICK | {"members": 1}).fit(once)
    path = member.simulate([1.0, 0.5], t)
    later = member.simulate([1.0, 0.5], np.linspace(0, 5, 31)).values[-1]
    made = member.forecast(times=[5.0], data=tk.Trajectories.from_arrays(path.values, t))
    np.testing.assert_allclose(made.mean[0], later, atol=2e-2)


def test_same_seed_same_bits() -> None:
    data = tk.toys.sample("van_der_pol", n=30, noise=0.02, seed=0)
    a, b = (tk.NeuralODE(**QUICK).fit(data).forecast(1.0) for _ in range(2))
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.upper, b.upper)
    c = tk.NeuralODE(**QUICK, seed=1).fit(data).forecast(1.0)
    assert not np.array_equal(a.mean, c.mean)


def test_a_fit_resumes_from_its_checkpoints(tmp_path: Path) -> None:
    data = tk.toys.sample("van_der_pol", n=30, noise=0.02, seed=0)
    whole = tk.NeuralODE(**QUICK).fit(data, checkpoint=tmp_path, log=tmp_path / "history.jsonl")
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    again = tk.NeuralODE(**QUICK).fit(data, checkpoint=tmp_path, log=tmp_path / "history.jsonl")
    np.testing.assert_array_equal(again.forecast(1.0).upper, whole.forecast(1.0).upper)
    assert (tmp_path / "history.jsonl").read_text().splitlines() == lines


def test_users_field_in_raw_units_learns_its_parameters(tmp_path: Path) -> None:
    data = tk.toys.sample("lotka_volterra", n=40, noise=0.05, seed=0)
    true = tk.toys.system("lotka_volterra").parameters
    ode = tk.NeuralODE(
        field=LotkaVolterra(), members=3, held_out=0.0, steps=150, matching_steps=500
    ).fit(data)
    for name in "abcd":
        assert float(np.mean(getattr(ode.model_.field, name))) == pytest.approx(true[name], rel=0.1)
    ode.save(tmp_path / "lv.safetensors")
    with pytest.raises(InputError, match=r"field=.*LotkaVolterra"):
        tk.load(tmp_path / "lv.safetensors")
    again = tk.load(tmp_path / "lv.safetensors", field=LotkaVolterra())
    np.testing.assert_array_equal(again.forecast(1.0).mean, ode.forecast(1.0).mean)


def test_one_observed_component_of_two_from_a_given_start() -> None:
    """The book's case: 20 noisy points of sin t, state (0, 0) at t = 0, one component seen."""
    i = np.arange(1, 200, 10)
    t = np.concatenate([[0.0], 0.02 * i])
    noise = 0.1 * np.random.default_rng(0).normal(size=20)
    x = np.concatenate([[np.nan], np.sin(0.02 * i) + noise])
    ode = tk.NeuralODE(augment=1, y0=[0.0, 0.0], members=3, held_out=0.0).fit(x[:, None], t=t)
    path = ode.reconstruct(np.linspace(0, 4, 100))
    assert abs(path.values[0, 0]) < 1e-6
    assert ode.predictor_.ensemble.starts[:, 0, 1] == pytest.approx(np.zeros(3))
    assert np.sqrt(np.mean((path.values[:, 0] - np.sin(path.time)) ** 2)) < 0.1


def test_driven_masked_ragged_series_with_covariates() -> None:
    random = np.random.default_rng(0)
    xs, ts, us = [], [], []
    for n in (25, 40):
        t = np.sort(random.uniform(0, 6, n))
        u = np.sin(2 * t)[:, None]
        x = np.cumsum(np.gradient(t)[:, None] * np.concatenate([u, -u], 1), axis=0)
        x[random.uniform(size=x.shape) < 0.2] = np.nan
        xs.append(x), ts.append(t), us.append(u)
    data = tk.Trajectories.from_arrays(
        xs, ts, us, static=[[0.0], [1.0]], names=("a", "b"), ids=("one", "two")
    )
    ode = tk.NeuralODE(**QUICK, positive=False).fit(data)
    with pytest.raises(InputError, match="future values of u0"):
        ode.forecast(horizon=1.0)
    made = ode.forecast(times=[7.0, 8.0], inputs=[[0.1], [0.2]])
    assert [f.series for f in made] == ["one", "two"]
    assert all(np.isfinite(f.mean).all() for f in made)
    assert len(ode.reconstruct(series="two")) == 40
    assert ode.simulate([0.0, 0.0], [0, 1, 2], u=[[0.0], [1.0], [0.0]]).values.shape == (3, 2)
    with pytest.raises(InputError, match="Use forecast with inputs"):
        ode.reconstruct(t=[6.5], series=0)


def test_dates_and_japanese_names() -> None:
    days = pd.date_range("2020-01-01", periods=30, freq="6h")
    frame = pd.DataFrame(
        {"日時": days, "気温": np.sin(np.arange(30) / 4), "湿度": np.arange(30.0) % 7}
    )
    ode = tk.NeuralODE(**QUICK).fit(frame, "日時")
    future = ode.forecast("2D")
    assert future.time.dtype.kind == "M"
    assert str(future.time[-1])[:13] == "2020-01-10T06"
    assert future.names == ("気温", "湿度")


def test_double_precision_leaves_the_users_jax_alone() -> None:
    data = tk.toys.sample("van_der_pol", n=30, noise=0.02, seed=0)
    ode = tk.NeuralODE(**QUICK, precision="float64", time_dependent=True).fit(data)
    assert jax.tree.leaves(ode.model_)[0].dtype == np.float64
    assert jnp.ones(1).dtype == np.float32
    assert np.isfinite(ode.forecast(1.0).mean).all()


def test_a_poor_fit_says_so() -> None:
    random = np.random.default_rng(0)
    ode = tk.NeuralODE(**QUICK).fit(random.normal(size=(60, 2)), t=0.1)
    assert ode.score() < 0.5
    assert not ode.fit_.status.ok
    assert ode.fit_.status.remedy


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"members": 0}, "members: expected"),
        ({"activation": "tanhh"}, "activation"),
        ({"held_out": 1.0}, "held_out"),
        ({"precision": "float16"}, "precision"),
        ({"y0": [1.0, 2.0, 3.0]}, "y0: expected"),
        ({"positive": True}, "above zero"),
        ({"field": lambda t, y, u: y}, "parameters to learn"),
        ({"field": eqx.nn.Linear(3, 3, key=jax.random.key(0))}, "field: expected"),
    ],
)
def test_wrong_arguments_are_one_clear_error(arguments: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        tk.NeuralODE(**arguments).fit(tk.toys.sample("van_der_pol", n=20, seed=0))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda o: o.forecast(horizon=-1), "horizon: expected a positive"),
        (lambda o: o.forecast(times=[0.0]), "times after"),
        (lambda o: o.forecast(1.0, inputs=[[1.0]]), "inputs: expected none"),
        (lambda o: o.reconstruct(t=[-1.0]), "times from"),
        (lambda o: o.reconstruct(series=3), "no such series"),
        (lambda o: o.reconstruct(t=[np.nan]), "finite times"),
        (lambda o: o.forecast(1.0, coverage=90), "coverage: expected"),
        (lambda o: o.simulate([1.0], [0, 1]), "2 numbers"),
        (lambda o: o.forecast(1.0, data=np.ones((5, 3)), times=None), "columns"),
        (lambda o: o.set_params(memebrs=3), "members"),
        (lambda o: tk.NeuralODE().forecast(1.0), "Call fit first"),
    ],
)
def test_wrong_questions_are_one_clear_error(quick: tk.NeuralODE, call, match: str) -> None:
    with pytest.raises(InputError, match=match):
        call(quick)


def test_parameters_as_scikit_learn_expects() -> None:
    from sklearn.base import clone

    ode = tk.NeuralODE(members=3, seed=7)
    assert clone(ode).get_params() == ode.get_params()
    assert repr(ode) == "NeuralODE(members=3, seed=7)"
    assert ode.set_params(width=8).width == 8


def test_a_fit_compiles_few_programs() -> None:
    compiled = []

    def count(event: str, *_, **__) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    data = tk.toys.sample("van_der_pol", n=31, noise=0.02, seed=0)
    tk.NeuralODE(**QUICK).fit(data)
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        more = tk.toys.sample("van_der_pol", n=31, noise=0.02, seed=1)
        tk.NeuralODE(**QUICK, seed=3).fit(more)
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert not compiled, "data of the same shape must not compile anything again"


def test_a_refined_grid_is_an_event_told_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tenkai.curriculum.solves._STEP_TOLERANCE", 1e-9)
    data = tk.toys.sample("van_der_pol", n=20, noise=0.02, seed=0)
    settings = QUICK | {"held_out": 0.0}
    for _ in range(2):
        ode = tk.NeuralODE(**settings).fit(data, checkpoint=tmp_path, log=tmp_path / "h.jsonl")
    told = [h["event"] for h in ode.fit_.history if h["event"]]
    assert told == ["grid refined to 4 steps where there was 1"]
    assert (tmp_path / "h.jsonl").read_text().count("grid refined") == 1
    assert ode.predictor_.ensemble.step < 1 / 80 / 3


def test_a_warm_start_goes_on_with_more_data() -> None:
    whole = tk.toys.sample("van_der_pol", n=60, noise=0.03, seed=0)[0]
    ode = tk.NeuralODE(members=2, steps=150, matching_steps=600, width=16, decay=1e-5, jacobian=0.0)
    ode.fit(whole.x[:20], t=whole.t[:20])
    scaling, before = ode.predictor_.ensemble.state, ode.forecast(times=whole.t[20:])
    ode.fit(whole.x, t=whole.t, warm_start=True)
    assert ode.predictor_.ensemble.state is scaling
    assert list(ode.seconds_) == ["whole series"]
    assert ode.score() > 0.97
    missed = np.sqrt(np.mean((before.mean - whole.x[20:]) ** 2))
    now = np.asarray(ode.reconstruct(whole.t[20:]))
    assert np.sqrt(np.mean((now - whole.x[20:]) ** 2)) < missed
    assert any("warm start" in note for note in ode.fit_.status.notes)


def test_a_warm_start_needs_an_earlier_fit_of_the_same_variables() -> None:
    data = tk.toys.sample("van_der_pol", n=20, seed=0)
    with pytest.raises(Exception, match="fit"):
        tk.NeuralODE().fit(data, warm_start=True)


def test_a_level_end_is_told_without_calling_the_forecast_poor() -> None:
    data = tk.toys.sample("decay", n=30, noise=0.02, seed=0)
    one = data[0]
    level = np.where(one.t[:, None] > 2.0, 0.3, one.x) + 0.01 * np.cos(9 * one.t)[:, None]
    settings = {"members": 2, "steps": 100, "matching_steps": 400, "width": 16, "decay": 1e-5}
    ode = tk.NeuralODE(**settings, jacobian=0.0, positive=False).fit(level, t=one.t)
    assert ode.held_out_.error < 0.25
    assert ode.fit_.status.kind == "converged"
    assert any("within the held-out end R²" in note for note in ode.fit_.status.notes)
