"""`LatentODE`: what users get out, what they are told, and the laws between the answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import tenkai as tk
from tenkai.data.shards import Shards
from tenkai.estimators.latent_ode_judgement import status_of
from tenkai.records import Fit, Forecast, Path, Status
from tenkai.reproduce import Row, Task, latent_ode_spiral
from tenkai.sequences.held_out import Scores
from tenkai.sequences.learning import Learned

SMALL: dict[str, Any] = {"latent": 4, "hidden": 16, "width": 16, "depth": 1, "resolution": 8}


def waves(count: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Series of two variables on an ellipse, half of them turning the other way."""
    rng = np.random.default_rng(seed)
    ts, xs = [], []
    way = np.where(np.arange(count) % 2, 1, -1)
    for i in range(count):
        t = np.sort(rng.uniform(0, 4, rng.integers(6, 14)))
        angle = way[i] * t + rng.uniform(0, 6.28)
        x = np.stack([10 + 2 * np.cos(angle), np.sin(angle)], axis=1)
        x += 0.05 * rng.normal(size=x.shape)
        x[rng.uniform(size=x.shape) < 0.1] = np.nan
        x[0] = x[0] if np.isfinite(x[0]).any() else [10.0, 0.0]
        ts.append(t)
        xs.append(x)
    return ts, xs, np.where(way > 0, "left", "right")


TIMES, SERIES, WAYS = waves(60)


@pytest.fixture(scope="module")
def lat() -> tk.LatentODE:
    model = tk.LatentODE(**SMALL, steps=600, held_out=0.2)
    return model.fit(SERIES, TIMES, labels=[*WAYS[:-1], None])


def test_answers_have_the_shapes_names_and_units_of_the_data(lat: tk.LatentODE):
    code = lat.encode()
    assert code.mean.shape == code.sd.shape == (60, 4) and code.series[3] == "3"
    ahead = lat.forecast(horizon=1.0)
    assert isinstance(ahead, list) and len(ahead) == 60
    first = ahead[0]
    assert isinstance(first, Forecast) and first.names == ("x0", "x1")
    assert first.time[0] > TIMES[0][-1] and first.mean[:, 0].mean() > 5
    assert (first.lower < first.mean).all() and (first.mean < first.upper).all()
    path = lat.latent_path(data=SERIES[0], t=TIMES[0])
    assert isinstance(path, Path) and path.names == ("z0", "z1", "z2", "z3")
    drawn = lat.sample(7, [0.0, 1.0, 2.5])
    assert drawn.values.shape == (7, 3, 2) and drawn.names == ("x0", "x1")
    bare = lat.sample(7, [0.0, 1.0, 2.5], noise=False)
    assert 0 < np.abs(drawn.values - bare.values).max() < 3
    assert lat.held_out_.series == 12 and set(lat.held_out_.errors) == {
        "between",
        "after",
        "before",
    }


def test_a_forecast_at_observed_times_is_the_reconstruction(lat: tk.LatentODE):
    path = lat.reconstruct(data=SERIES[:3], t=TIMES[:3])
    ahead = lat.forecast(times={str(i): TIMES[i] for i in range(3)}, data=SERIES[:3], t=TIMES[:3])
    for a, b in zip(path, ahead, strict=True):
        np.testing.assert_array_equal(a.values, b.mean)
        np.testing.assert_array_equal(a.lower, b.lower)


def test_a_series_answers_the_same_in_any_company(lat: tk.LatentODE):
    t = [-1.0, 2.0, 6.0]
    together = lat.forecast(times=t, data=SERIES[:4], t=TIMES[:4])
    turned = lat.forecast(times=t, data=SERIES[3::-1], t=TIMES[3::-1])
    alone = lat.forecast(times=t, data=SERIES[2], t=TIMES[2])
    np.testing.assert_allclose(together[2].mean, alone.mean, atol=1e-4)
    np.testing.assert_allclose(together[2].upper, turned[1].upper, atol=1e-4)


def test_the_past_is_asked_for_by_a_negative_horizon_or_by_times(lat: tk.LatentODE):
    past = lat.forecast(horizon=-1.0, data=SERIES[0], t=TIMES[0])
    begun = TIMES[0][0]
    assert (past.time < begun).all() and (np.diff(past.time) > 0).all()
    assert past.time[0] == pytest.approx(begun - 1.0)
    same = lat.forecast(times=past.time, data=SERIES[0], t=TIMES[0])
    np.testing.assert_array_equal(past.mean, same.mean)
    near = lat.forecast(times=[begun - 1e-6, begun], data=SERIES[0], t=TIMES[0])
    np.testing.assert_allclose(near.mean[0], near.mean[1], atol=1e-3)


def test_far_times_are_answered_with_a_note(lat: tk.LatentODE):
    assert lat.forecast(times=[1.0], data=SERIES[0], t=TIMES[0]).notes == ()
    for far in (40.0, -40.0):
        (note,) = lat.forecast(times=[far], data=SERIES[0], t=TIMES[0]).notes[:1]
        assert "extrapolates" in note
        for path in (lat.reconstruct, lat.latent_path):
            assert path([far], data=SERIES[0], t=TIMES[0]).notes[0] == note
    assert lat.reconstruct(data=SERIES[0], t=TIMES[0]).notes == ()


def test_more_coverage_is_a_wider_interval_and_coverage_is_measured(lat: tk.LatentODE):
    wide, narrow = (
        lat.forecast(times=[2.0, 9.0], data=SERIES[0], t=TIMES[0], coverage=c) for c in (0.95, 0.5)
    )
    assert (wide.upper > narrow.upper).all() and (wide.lower < narrow.lower).all()
    np.testing.assert_array_equal(wide.mean, narrow.mean)
    after = lat.held_out_.errors["after"].coverage
    assert after.points > 40 and 0.75 < after.share <= 1.0
    assert f"{after.inside} of {after.points} observations" in lat.summary()


def test_classes_are_told_from_the_beginning_state(lat: tk.LatentODE):
    chance = lat.predict_proba()
    assert chance.shape == (60, 2)
    np.testing.assert_allclose(chance.sum(1), 1.0)
    assert list(lat.classes_) == ["left", "right"]
    assert np.mean(lat.predict() == WAYS) > 0.8
    assert lat.held_out_.accuracy is not None and "1 series have no label" in lat.summary()


def test_a_saved_model_answers_with_the_same_bits(lat: tk.LatentODE, tmp_path):
    lat.save(tmp_path / "lat.safetensors")
    again = tk.load(tmp_path / "lat.safetensors")
    assert repr(again) == repr(lat) and str(again.fit_.status) == str(lat.fit_.status)
    assert again.summary() == lat.summary()
    for times in ([-1.0, 3.0], [9.0]):
        a, b = (m.forecast(times=times, data=SERIES[:2], t=TIMES[:2]) for m in (lat, again))
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(one.mean, other.mean)
            np.testing.assert_array_equal(one.upper, other.upper)
    np.testing.assert_array_equal(lat.predict_proba(), again.predict_proba())


def test_tables_dates_given_noise_and_double_precision(tmp_path):
    stamps = pd.date_range("2024-01-01", periods=8, freq="D")
    frame = pd.concat([
        pd.DataFrame({"site": f"s{i}", "day": stamps, "y": np.sin(np.arange(8) + i)})
        for i in range(6)
    ])  # fmt: skip
    data = tk.Trajectories.from_frame(frame, time="day", series="site")
    more: dict[str, Any] = {
        "encoder": "ode-rnn",
        "decoder": 5,
        "precision": "float64",
        "noise": 0.2,
    }
    model = tk.LatentODE(**SMALL, **more, steps=3, held_out=0.0).fit(data)
    ahead = model.forecast("2D", data=data)[0]
    assert str(ahead.time[-1])[:10] == "2024-01-10"
    assert np.exp(model.model_.log_noise) * model.predictor_.units.state.scale == pytest.approx(0.2)
    assert model.held_out_ is None and "too few series" in model.summary()
    assert model.model_.decoder.layers[0].weight.dtype == np.float64
    model.save(tmp_path / "lat.safetensors")
    again = tk.load(tmp_path / "lat.safetensors")
    np.testing.assert_array_equal(model.encode().mean, again.encode().mean)


def test_series_without_observations_are_left_out_and_a_checkpoint_is_gone_on_from(tmp_path):
    empty = np.full((4, 2), np.nan)
    data = ([empty, *SERIES[:5]], [np.arange(4.0), *TIMES[:5]])
    fits = []
    for _ in range(2):
        model = tk.LatentODE(**SMALL, steps=3, held_out=0.0)
        fits.append(model.fit(*data, labels=list("ababac"), checkpoint=tmp_path))
    model = fits[0]
    assert "1 series without observations left out: '0'" in model.summary()
    assert "class 'c' is seen once" in model.summary()
    assert [s.id for s in model.data_] == ["1", "2", "3", "4", "5"]
    assert list(model.classes_) == ["a", "b", "c"]
    np.testing.assert_array_equal(model.encode().mean, fits[1].encode().mean)
    assert fits[1].seconds_ == model.seconds_  # nothing was trained again


@pytest.mark.parametrize(
    ("arguments", "call", "what"),
    [
        ({"encoder": "lstm"}, {}, "encoder"),
        ({"latent": 0}, {}, "latent"),
        ({"noise": -1.0}, {}, "noise"),
        ({"activation": "cube"}, {}, "activation"),
        ({"held_out": 1.0}, {}, "held_out"),
        ({"resolution": 0}, {}, "resolution"),
        ({}, {"labels": ["a", "b"]}, "labels"),
        ({}, {"labels": ["a"] * 60}, "labels"),
        ({}, {"labels": {"nobody": 1}}, "labels"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(arguments, call, what):
    with pytest.raises(tk.InputError, match=what):
        tk.LatentODE(**arguments).fit(SERIES, TIMES, **call)


def test_questions_that_cannot_be_answered_are_refused(lat: tk.LatentODE):
    with pytest.raises(tk.InputError, match="fitted estimator"):
        tk.LatentODE().forecast()
    with pytest.raises(tk.InputError, match="columns x0, x1"):
        lat.encode(np.ones((5, 3)))
    with pytest.raises(tk.InputError, match="finite times"):
        lat.forecast(times=[np.nan])
    with pytest.raises(tk.InputError, match="times of series"):
        lat.forecast(times={"5": [1.0]})
    with pytest.raises(tk.InputError, match="known inputs"):
        lat.encode(tk.Trajectories.from_arrays(SERIES[0], TIMES[0], np.ones(len(TIMES[0]))))


def test_the_status_names_a_model_that_forecasts_no_better_than_naively(lat: tk.LatentODE):
    worse = {
        kind: type(e)(2 * e.best_naive[1], e.naive, e.points, e.coverage)
        for kind, e in lat.held_out_.errors.items()
    }
    units, fine = lat.predictor_.units, Fit(None, Status("finished", "done"))
    learned = Learned(lat.model_, units, 0.1, fine, Scores(5, worse, {}), 1.0)
    status = status_of(learned, (), 0.5)
    assert not status.ok and status.kind == "not converged" and status.remedy
    assert any("finer solve" in n for n in status.notes)


@pytest.mark.slow
def test_intervals_of_a_linear_model_hold_their_share():
    rng = np.random.default_rng(1)
    t = [np.sort(rng.uniform(0, 1, 10)) for _ in range(120)]
    x = [rng.normal() + 2 * rng.normal() * s + 0.3 * rng.normal(size=10) for s in t]
    model = tk.LatentODE(**(SMALL | {"activation": "identity"}), steps=500, held_out=0.3)
    model.fit(x, t)
    new_t = [np.sort(rng.uniform(0, 1, 10)) for _ in range(60)]
    new = [rng.normal() + 2 * rng.normal() * s + 0.3 * rng.normal(size=10) for s in new_t]
    inside = []
    for one, s in zip(new, new_t, strict=True):
        made = model.forecast(times=s[6:], data=one[:6], t=s[:6])
        inside.append((made.lower[:, 0] <= one[6:]) & (one[6:] <= made.upper[:, 0]))
    assert 0.78 < np.mean(inside) < 0.98
    after = model.held_out_.errors["after"]
    assert after.error < after.naive["mean"]


def test_more_series_than_memory_holds_are_read_as_they_train(tmp_path):
    for k in range(3):
        some = slice(20 * k, 20 * k + 20)
        ptr = np.cumsum([0, *map(len, TIMES[some])])
        t, x = np.concatenate(TIMES[some]), np.concatenate(SERIES[some])
        np.savez(tmp_path / f"{k}.npz", ptr=ptr, t=t, x=x)
    shards = Shards(tmp_path)
    model = tk.LatentODE(**SMALL, steps=60, batch=16).fit(shards)
    first, last = model.fit_.history[0], model.held_out_
    assert np.isfinite(first["loss"]) and last.series == 20 == len(model.data_)
    assert "last shard" in model.summary()
    np.testing.assert_array_equal(model.data_[0].t, TIMES[40])
    with pytest.raises(tk.InputError, match="labels"):
        tk.LatentODE(**SMALL).fit(shards, labels=[1, 2])
    with pytest.raises(tk.InputError, match="at least two"):
        tk.LatentODE(**SMALL).fit(Shards(tmp_path / "0.npz"))


@pytest.mark.slow
def test_the_entry_prints_published_numbers_beside_ours(tmp_path):
    rows = latent_ode_spiral.run(
        Task(out=tmp_path), count=40, points=(30,), steps=20, rnn_steps=20, rnn_hidden=4, **SMALL
    )
    assert all(isinstance(r, Row) for r in rows)
    beyond = {r.quantity: r for r in rows if "steps 101 to 200" in r.quantity}
    assert [r.published for r in beyond.values()] == [0.1642, *2 * (0.3937, 0.417)]
    assert all(r.ours is not None and np.isfinite(r.ours) for r in rows)
    assert (tmp_path / "latent-ode-spiral-30.png").stat().st_size > 10_000


def test_spirals_are_those_of_the_protocol():
    made = latent_ode_spiral.spirals(30, count=50)
    assert made.curve.shape == (50, 200, 2) and made.observed.shape == (50, 30)
    assert made.observed.max() < 100 and made.clockwise.sum() == 25
    assert made.begin.min() >= 0 and made.begin.max() <= 300
    centre = np.where(made.clockwise, -5, 5)
    angle = np.unwrap(np.arctan2(made.curve[..., 1], made.curve[..., 0] - centre[:, None]))
    turned = np.diff(angle, axis=1) * np.where(made.clockwise, -1, 1)[:, None]
    np.testing.assert_allclose(turned, 6 * np.pi / 499, rtol=1e-6)
    clean = np.take_along_axis(made.curve, made.observed[..., None], 1)
    assert np.std(made.x - clean) == pytest.approx(0.3, abs=0.02)
