"""`ODERNN`: densities that approach the truth, forecasts, classes, files, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tenkai as tk
from tenkai.sequences.packing import Spell
from tenkai.sequences.recurrent_evaluation import (
    area_under_curve,
    last_values,
    log_densities,
    straight_lines,
)
from tenkai.sequences.recurrent_rows import imputed, windows

MEAN = 3.0
QUICK: dict[str, Any] = dict(hidden=8, width=16, steps=60)  # noqa: C408


def ornstein_uhlenbeck(n: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """``dx = (3 - x) dt + dW`` at irregular times, and its true log density per value."""
    rng = np.random.default_rng(seed)
    xs, ts, logs = [], [], []
    for _ in range(n):
        t = np.sort(rng.uniform(0, 6, rng.integers(6, 18)))
        factor = np.exp(-np.diff(t, prepend=-np.inf))
        variance = 0.5 * (1 - factor**2)
        x = np.zeros(len(t))
        for k in range(len(t)):
            mean = factor[k] * x[max(k - 1, 0)]  # the first factor is zero
            x[k] = mean + np.sqrt(variance[k]) * rng.normal()
            logs.append(log_densities(x[k], mean, np.sqrt(variance[k])))
        xs.append(x + MEAN)
        ts.append(t)
    return xs, ts, float(np.mean(logs))


@pytest.fixture(scope="module")
def noise() -> tuple[list[np.ndarray], list[np.ndarray], float]:
    return ornstein_uhlenbeck(300, seed=1)


@pytest.fixture(scope="module")
def rnn(noise: tuple) -> tk.ODERNN:
    x, t, _ = noise
    return tk.ODERNN(hidden=12, width=24, steps=400, learning_rate=1e-2, seed=0).fit(x, t)


def test_density_approaches_the_truth(rnn: tk.ODERNN) -> None:
    """Of an Ornstein-Uhlenbeck process, a tenth of a nat per value below it or better."""
    x, t, truth = ornstein_uhlenbeck(150, seed=2)
    found = rnn.score(x, t)
    assert truth - 0.1 < found < truth + 0.01
    held = rnn.held_out_
    assert held is not None
    assert held.log_density > held.best_naive[1] + 0.1
    assert 0.85 < held.coverage < 0.95
    assert rnn.fit_.status.ok


def test_score_is_in_raw_units(rnn: tk.ODERNN, noise: tuple) -> None:
    """The mean of the log densities of the reconstruction's own normals."""
    x, t, _ = noise
    few = tk.Trajectories.from_arrays(x[:5], t[:5])
    paths = rnn.reconstruct(data=few, coverage=0.6826894921370859)
    logs = [
        log_densities(one[:, None], p.values, (p.upper - p.lower) / 2)
        for one, p in zip(x[:5], paths, strict=True)
    ]
    assert np.isclose(np.concatenate(logs).mean(), rnn.score(few), atol=1e-4)


def test_forecast_returns_to_the_mean(rnn: tk.ODERNN, noise: tuple) -> None:
    """``3 + (x - 3) exp(-t)``, and in the long run the stationary law's width."""
    x, t, _ = noise
    high = [i for i in range(len(x)) if x[i][-1] > MEAN + 0.8][:8]
    data = tk.Trajectories.from_arrays([x[i] for i in high], [t[i] for i in high])
    made = rnn.forecast(horizon=4.0, data=data, draws=400)
    for i, one in zip(high, made, strict=True):
        ahead = one.time - t[i][-1]
        assert np.all(ahead > 0)
        truth = MEAN + (x[i][-1] - MEAN) * np.exp(-ahead)
        assert np.abs(one.mean[:, 0] - truth).max() < 0.45
        width = (one.upper - one.lower)[-1, 0]
        assert np.isclose(width, 2 * 1.645 * np.sqrt(0.5), rtol=0.25)


def test_forecast_of_one_is_that_of_many(rnn: tk.ODERNN, noise: tuple) -> None:
    x, t, _ = noise
    both = rnn.forecast(times=[7.0, 8.0], data=tk.Trajectories.from_arrays(x[:2], t[:2]))
    alone = rnn.forecast(times=[7.0, 8.0], data=tk.Trajectories.from_arrays(x[1:2], t[1:2]))
    assert np.allclose(both[1].mean, alone.mean, atol=1e-5)
    assert np.allclose(both[1].upper, alone.upper, atol=1e-5)


def test_forecasts_beyond_every_learned_series_say_so(rnn: tk.ODERNN, noise: tuple) -> None:
    x, t, _ = noise
    lasts = [float(s[-1] - s[0]) for s in t]
    k = int(np.argmin(lasts))
    one, end = {"data": x[k], "t": t[k]}, t[k][0] + max(lasts)
    assert rnn.forecast(times=[end + 1.0], **one).notes[0].startswith("extrapolates")
    assert rnn.forecast(times=[end - 1e-3], **one).notes == ()


def test_what_comes_later_is_not_read(rnn: tk.ODERNN, noise: tuple) -> None:
    """A reconstruction inside the series does not change with what follows, nor with itself."""
    x, t, _ = noise
    other = x[0].copy()
    other[4:] = 99.0
    a, b = (rnn.reconstruct(data=tk.Trajectories.from_arrays([v], [t[0]])) for v in (x[0], other))
    assert np.allclose(a.values[:5], b.values[:5], atol=1e-6)
    assert not np.allclose(a.values[5], b.values[5], atol=1e-2)
    middle = 0.5 * (t[0][3] + t[0][4])
    c, d = (
        rnn.reconstruct([middle], data=tk.Trajectories.from_arrays([v], [t[0]]))
        for v in (x[0], other)
    )
    assert np.allclose(c.values, d.values, atol=1e-6)


@pytest.mark.parametrize("cell", ["ode", "gaps", "decay", "imputed"])
def test_saved_is_loaded(cell: Any, noise: tuple, tmp_path: Any) -> None:
    x, t, _ = noise
    labels = np.array(["high" if one.mean() > MEAN else "low" for one in x[:40]])
    made = tk.ODERNN(cell, **QUICK).fit(x[:40], t[:40], labels=labels)
    made.save(tmp_path / "rnn.safetensors")
    again = tk.load(tmp_path / "rnn.safetensors")
    data = tk.Trajectories.from_arrays(x[40:50], t[40:50])
    assert again.score(data) == made.score(data)
    assert np.array_equal(again.predict_proba(data), made.predict_proba(data))
    assert list(again.classes_) == ["high", "low"]
    assert np.array_equal(again.classes_[again.labels_], labels)
    a, b = (m.forecast(horizon=1.0, data=data)[3] for m in (made, again))
    assert np.array_equal(a.mean, b.mean)
    assert np.isfinite(a.mean).all()
    assert again.held_out_ == made.held_out_
    assert again.summary() == made.summary()


def test_labels_are_learned_and_keep_their_names() -> None:
    """Slow against quick oscillations; half of the labels go to series that do not train."""
    rng = np.random.default_rng(0)
    x, t, labels = [], [], []
    for i in range(120):
        at = np.sort(rng.uniform(0, 6, rng.integers(10, 20)))
        pace = (1.0, 3.0)[i % 2]
        x.append(np.sin(pace * at + rng.uniform(0, 6.28)) + 0.1 * rng.normal(size=len(at)))
        t.append(at)
        labels.append(("slow", "quick")[i % 2])
    train, test = slice(0, 90), slice(90, None)
    made = tk.ODERNN(hidden=12, width=24, steps=300, learning_rate=1e-2).fit(
        x[train], t[train], labels=labels[train]
    )
    data = tk.Trajectories.from_arrays(x[test], t[test])
    assert np.mean(made.predict(data) == np.array(labels[test])) > 0.8
    p = made.predict_proba(data)
    assert p.shape == (30, 2)
    assert np.allclose(p.sum(1), 1, atol=1e-6)
    held = made.held_out_
    assert held is not None
    assert held.labelled == 9
    assert "accuracy" in made.summary()


def test_labels_by_id_and_unknown_ones(noise: tuple) -> None:
    x, t, _ = noise
    data = tk.Trajectories.from_arrays(x[:20], t[:20], ids=[f"s{i}" for i in range(20)])
    labels = {f"s{i}": i % 2 if i < 15 else None for i in range(20)}
    made = tk.ODERNN(**QUICK).fit(data, labels=labels)
    assert list(made.classes_) == [0, 1]
    assert set(made.predict(data)) <= {0, 1}


def test_series_without_observations_are_left_out_with_their_labels() -> None:
    rng = np.random.default_rng(0)
    x = [rng.normal(size=6) + 5 * (i % 2) for i in range(12)]
    x[3] = np.full(6, np.nan)
    labels = ["even", "odd"] * 6
    made = tk.ODERNN(**{**QUICK, "steps": 200}, learning_rate=1e-2).fit(x, labels=labels)
    assert len(made.data_) == 11
    assert any("without observations" in note and "3" in note for note in made.fit_.status.notes)
    right = np.array([label for i, label in enumerate(labels) if i != 3])
    assert np.mean(made.predict() == right) > 0.8


def test_both_sides_interpolate(noise: tuple) -> None:
    """Given what is before and behind, the error is less than given what is before.

    A value does not see itself, but the later ones.
    """
    _, t, _ = noise
    rng = np.random.default_rng(3)
    smooth = [np.sin(one + rng.uniform(0, 6.28)) for one in t[:150]]
    errors = {}
    for sides in ("past", "both"):
        made = tk.ODERNN(sides=sides, hidden=12, width=24, steps=250).fit(smooth, t[:150])
        assert made.held_out_ is not None
        errors[sides] = made.held_out_.error
        assert ("straight line" in made.held_out_.naive) == (sides == "both")
    assert errors["both"] < 0.95 * errors["past"]
    mine, later = smooth[0].copy(), smooth[0].copy()
    mine[3], later[4] = 5.0, 5.0
    a, b, c = (made.reconstruct(data=[v], t=[t[0]]).values for v in (smooth[0], mine, later))
    assert np.allclose(a[3], b[3], atol=1e-6)
    assert not np.allclose(a[3], c[3], atol=1e-2)
    with pytest.raises(tk.InputError, match="forecast"):
        made.forecast(horizon=1.0)


def test_few_series_hold_out_their_ends() -> None:
    t = np.linspace(0, 20, 200)
    made = tk.ODERNN(**QUICK, window=50).fit(np.sin(t) + 0.1 * np.cos(9 * t), t)
    held = made.held_out_
    assert held is not None
    assert "ends" in held.note
    assert held.points == 40


def test_float64(noise: tuple) -> None:
    x, t, _ = noise
    made = tk.ODERNN(**{**QUICK, "steps": 5}, precision="float64").fit(x[:20], t[:20])
    assert made.model_.log_rate.dtype == np.float64
    assert np.isfinite(made.score())


def test_an_imputed_grid_reads_no_future() -> None:
    """Grid values are of observations no later; what is explained stays where it was."""
    one = Spell(np.array([0.0, 0.7, 1.0, 2.6]), np.array([[1.0], [2.0], [3.0], [4.0]]))
    made = imputed(one, 0.5)
    assert made.seen is not None
    assert made.asked is not None
    grid = made.seen[:, 0]
    assert np.allclose(made.t[grid], [0, 0.5, 1.0, 1.5, 2.0, 2.5])
    assert np.allclose(made.x[grid, 0], [1, 1, 3, 3, 3, 3])
    assert np.allclose(made.t[made.asked[:, 0]], one.t)
    assert np.allclose(made.x[made.asked[:, 0], 0], [1, 2, 3, 4])


def test_windows_hold_every_value_once() -> None:
    one = Spell(np.arange(11.0), np.arange(11.0)[:, None])
    parts = windows(one, 4)
    assert max(len(p.t) for p in parts) <= 4
    assert np.array_equal(np.concatenate([p.x for p in parts]), one.x)
    assert all(p.t[0] == 0 for p in parts)


def test_simple_forecasts() -> None:
    one = Spell(np.array([0.0, 1.0, 3.0]), np.array([[1.0, 5.0], [np.nan, 7.0], [4.0, np.nan]]))
    nan = np.nan
    assert np.array_equal(last_values(one), [[nan, nan], [1, 5], [1, 7]], equal_nan=True)
    assert np.allclose(straight_lines(one), [[4, 7], [2, 5], [1, 7]])


def test_area_under_curve() -> None:
    score, positive = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])
    assert area_under_curve(score, positive) == (0.5 + 1 + 1 + 1) / 4


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"cell": "lstm"}, "cell"), ({"sides": "future"}, "sides"), ({"hidden": 0}, "hidden"),
        ({"learning_rate": -1.0}, "learning_rate"), ({"method": "rk4"}, "method"),
        ({"hide": 1.0}, "hide"), ({"cell": "imputed", "sides": "both"}, "sides"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_work(arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(tk.InputError, match=what):
        tk.ODERNN(**arguments).fit([np.arange(5.0)] * 3)


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1], ["a"] * 6, [0.5, 1.5, 0.5, 1.5, 0.5, 1.5],
        [0, "a", 0, "a", 0, "a"], {"0": 1}, np.zeros((6, 2)), 3,
    ],
)  # fmt: skip
def test_labels_that_cannot_work(labels: Any) -> None:
    with pytest.raises(tk.InputError, match="labels"):
        tk.ODERNN(**QUICK).fit([np.arange(5.0)] * 6, labels=labels)


def test_what_it_refuses(rnn: tk.ODERNN) -> None:
    with pytest.raises(tk.InputError, match="fit"):
        tk.ODERNN().score()
    with pytest.raises(tk.InputError, match="labels"):
        rnn.predict()
    with pytest.raises(tk.InputError, match="forecast"):
        rnn.reconstruct([99.0])
    with pytest.raises(tk.InputError, match="data"):
        rnn.score(np.zeros((5, 2)))
    with pytest.raises(tk.InputError, match="observations"):
        tk.ODERNN().fit([np.full(5, np.nan)])
    with pytest.raises(tk.InputError, match="inputs"):
        tk.ODERNN().fit(tk.Trajectories.from_arrays(np.arange(5.0), u=np.arange(5.0)))
