"""The commands that fit many records: what is seen, what judges, and how it is counted."""

from __future__ import annotations

import csv
import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tenkai import InputError, NeuralODE
from tenkai.data.toys import sample
from tenkai.records import Backtest, Coverage, Forecast, Origin, Points, Status
from tenkai.records import Path as Solved
from tenkai.reproduce import Task, cascaded_tanks, interval_coverage, odebench, table

TINY = {"members": 2, "steps": 20, "matching_steps": 50}


def system(number: int = 1, points: int = 512) -> dict[str, Any]:
    """Logistic growth from two states, as ODEBench writes it."""
    t = np.linspace(0, 10, points)
    paths = [9.0 / (1 + (9.0 / y0 - 1) * np.exp(-t)) for y0 in (1.0, 3.0)]
    solutions = [{"t": t.tolist(), "y": [p.tolist()]} for p in paths]
    return {"id": number, "solutions": [solutions]}


class Oracle:
    """Knows the logistic path; says what it is told to say."""

    def __init__(self, half: float = 1.0, status: Status | None = None):
        self.half = half
        self.fit_ = SimpleNamespace(status=status or Status("converged", "converged"))
        self.held_out_ = None

    def fit(self, x: np.ndarray, t: np.ndarray) -> Oracle:
        return self

    def simulate(self, y0: np.ndarray, t: np.ndarray) -> np.ndarray:
        return (9.0 / (1 + (9.0 / y0[0] - 1) * np.exp(-t)))[:, None]

    def reconstruct(self, t: np.ndarray, coverage: float = 0.9) -> Solved:
        y = self.simulate(np.ones(1), t)
        return Solved(t, y, lower=y - self.half, upper=y + self.half)


# --- odebench ---


def test_unseen_points_are_none_of_the_seen_and_as_noisy() -> None:
    clean, noisy = odebench.record_of(system()), odebench.record_of(system(), 0.05, seed=1)
    assert len(clean.t) == 171 and len(clean.between) == 170
    assert not set(clean.t) & set(clean.between)
    assert len(noisy.t) == 85 and not set(noisy.t) & set(noisy.between)
    inside = [t for t in clean.t if noisy.t[0] <= t <= noisy.t[-1]]
    assert sorted([*noisy.t, *noisy.between]) == inside
    truth = Oracle().reconstruct(noisy.between).values
    assert np.std(noisy.unseen / truth - 1) == pytest.approx(0.05, rel=0.2)
    assert noisy.time[0] == noisy.t[0] and noisy.time[-1] == clean.t[-1]


def test_seeds_differ_and_repeat() -> None:
    first, second = (odebench.record_of(system(), 0.05, seed) for seed in (0, 1))
    assert not np.array_equal(first.t, second.t)
    np.testing.assert_array_equal(odebench.record_of(system(), 0.05, 0).x, first.x)


def test_one_fit_of_a_model_that_knows() -> None:
    found = odebench.one(system(7), 0.05, 2, Oracle())
    assert (found.id, found.condition, found.seed, found.failed) == (7, "noisy", 2, False)
    assert found.r2 == pytest.approx(1.0) and found.r2_second == pytest.approx(1.0)
    assert found.inside <= found.points and found.points > 60
    assert odebench.one(system(), 0.0, 0, Oracle(half=0.0)).inside == 170
    assert odebench.one(system(), 0.05, 0, Oracle(half=0.0)).inside == 0


def test_r2_of_a_path_that_blows_up_is_minus_infinity() -> None:
    truth = np.array([[0.0], [1.0], [2.0]])
    assert odebench.r2(truth + np.array([[1.0], [0.0], [0.0]]), truth) == pytest.approx(0.5)
    assert odebench.r2(np.array([[0.0], [1.0], [np.nan]]), truth) == -np.inf


def test_an_exception_is_a_failed_fit_with_its_text() -> None:
    class Broken(Oracle):
        def fit(self, x: np.ndarray, t: np.ndarray) -> Oracle:
            raise FloatingPointError("all members died")

    found = odebench.one(system(3), 0.0, 0, Broken())
    assert found.failed and found.note == "FloatingPointError: all members died"
    rows = {r.quantity: r for r in odebench.rows([found])}
    assert rows["exceptions, clean"].ours == 1 and "died" in rows["exceptions, clean"].note
    assert rows["recovered, clean"].ours == 0
    assert "silent (id/seed): 3/0" in rows["paths with R² < .5 flagged, clean"].note


def test_a_refused_second_state_is_a_miss_but_no_exception() -> None:
    class Logarithmic(Oracle):
        def simulate(self, y0: np.ndarray, t: np.ndarray) -> np.ndarray:
            if y0[0] == 3.0:
                raise InputError("state", expected="above zero", got="zero", do="start above")
            return super().simulate(y0, t)

    found = odebench.one(system(), 0.0, 0, Logarithmic())
    assert not found.failed and found.r2 > 0.99 and found.r2_second == -np.inf
    rows = {r.quantity: r for r in odebench.rows([found])}
    assert rows["generalised, clean"].ours == 0 and "1 states" in rows["generalised, clean"].note


def test_flags() -> None:
    flag = interval_coverage.flag
    assert flag(Status("diverged", "not finite", ok=False)) == "diverged"
    assert flag(Status("poor forecast", "converged, but")) == "poor forecast"
    assert (
        flag(Status("converged", "converged", notes=("the path moves: a discrete map",))) == "note"
    )
    assert flag(Status("converged", "converged", notes=("this is an ODE",))) == ""


def test_rows_count_what_the_fits_showed() -> None:
    One = odebench.One
    ones = [
        One(1, "noisy", 0, 0.99, 0.95, 18, 20, 0.2, 0.5, 9, 10, seconds=4.0, end_r2=0.9),
        One(2, "noisy", 0, 0.40, 0.10, 15, 20, 0.9, 0.5, 5, 10, "", 6.0, -1, "note"),
        One(1, "noisy", 1, 0.95, 0.50, 19, 20, 0.8, 0.5, 8, 10, seconds=5.0, end_r2=0.1),
        One(2, "noisy", 1, 0.92, 0.91, 20, 20, 0.1, 0.5, 10, 10, seconds=5.0, end_r2=0.2),
    ]  # fmt: skip
    rows = {r.quantity: r for r in odebench.rows(ones)}
    assert rows["recovered, noisy, seed 0"].ours == 1 and rows["recovered, noisy"].ours == 1.5
    assert rows["recovered, noisy"].n == 2 and rows["generalised, noisy"].ours == 50
    assert rows["coverage, noisy"].ours == 0.9 and "72 of 80" in rows["coverage, noisy"].note
    assert rows["coverage of held-out ends, noisy"].ours == 0.8
    ends = rows["ends with R² < .5 flagged, noisy"]
    assert (ends.ours, ends.unit) == (1, "of 2")
    assert ends.note.endswith("flagged: note 1; silent (id/seed): 1/1")
    assert rows["the same, stricter, noisy"].unit == "of 3"
    assert rows["time, noisy"].ours == 5 and rows["time, noisy"].note == "longest 6.0 s"
    assert "not recovered: 2 (0.40)" in table(list(rows.values()))


def test_odebench_writes_every_fit_as_it_is_done(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / odebench.FILE).write_text(json.dumps([system(1), system(2)]))
    lines = []

    class Watched(Oracle):
        def fit(self, x: np.ndarray, t: np.ndarray) -> Oracle:
            lines.append(len((tmp_path / "odebench.csv").read_text().splitlines()))
            return self

    monkeypatch.setattr(odebench, "NeuralODE", Watched)
    rows = odebench.run(Task(out=tmp_path, data=tmp_path))
    assert lines == list(range(1, 9))
    with (tmp_path / "odebench.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [(r["id"], r["condition"], r["seed"]) for r in read[3:5]] == [
        ("1", "noisy", "2"),
        ("2", "clean", "0"),
    ]
    assert {r.quantity: r.ours for r in rows}["recovered, clean"] == 2
    assert odebench.run(Task(data=tmp_path, budget=1e-12)) == []


def test_odebench_needs_its_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        odebench.run(Task(data=tmp_path))


def test_odebench_judges_a_real_fit() -> None:
    found = odebench.one(system(points=180), 0.05, 0, NeuralODE(**TINY))
    assert not found.failed and found.status == "converged" and found.seconds > 0
    assert found.r2 > 0.95 and found.end_points == 6
    assert 0.7 < found.inside / found.points <= 1


# --- cascaded tanks ---


def tanks(folder: Path, n: int = 60) -> None:
    """Two tanks under a held pump, written as the benchmark's file."""
    columns = []
    for phase in (0.0, 1.0):
        u, h, y = 2 + np.sin(0.3 * np.arange(n) + phase), np.array([2.0, 2.0]), []
        for now in u:
            y.append(h[1])
            flow = np.sqrt(np.maximum(h, 0))
            h = h + 0.4 * np.array([now - 1.4 * flow[0], 1.4 * flow[0] - 1.4 * flow[1]])
        columns += [u, np.array(y)]
    lines = ['"uEst","uVal","yEst","yVal","Ts",']
    for i in range(n):
        u, y, v, z = (float(c[i]) for c in columns)
        lines.append(f"{u},{v},{y},{z},{'4' if i == 0 else ''},")
    (folder / cascaded_tanks.FILE).write_text("\n".join(lines) + "\n")


def test_tank_records_are_read_as_written(tmp_path: Path) -> None:
    tanks(tmp_path)
    train, test = cascaded_tanks.records(tmp_path)
    assert train.t[:3].tolist() == [0, 4, 8] and len(train.y) == len(test.y) == 60
    assert train.y[0] == test.y[0] == 2 and train.u[0] == 2 and test.u[0] > 2.8
    data = test.trajectories(5)
    assert data.hold == "previous" and len(data[0]) == 5 and data.units["level"] == "V"
    with pytest.raises(InputError, match="no such file"):
        cascaded_tanks.records(tmp_path / "nowhere")


def test_free_run_sees_five_outputs_and_all_inputs(tmp_path: Path) -> None:
    tanks(tmp_path)
    _, test = cascaded_tanks.records(tmp_path)

    class Offset:
        """Simulates the record with an error of a tenth of a volt."""

        def forecast(self, *, data: Any, times: np.ndarray, inputs: np.ndarray) -> Forecast:
            np.testing.assert_array_equal(data[0].x[:, 0], test.y[:5])
            np.testing.assert_array_equal(inputs[:, 0], test.u[5:])
            y = test.y[5:, None] + 0.1
            return Forecast(times, y, y - 1, y + 1, 0.9)

    forecast = cascaded_tanks.free_run(Offset(), test)
    assert cascaded_tanks.rmse(forecast, test) == pytest.approx(0.1)


def test_cascaded_tanks_and_its_picture(tmp_path: Path, monkeypatch: Any) -> None:
    tanks(tmp_path)
    small = functools.partial(NeuralODE, **TINY, held_out=0.0)
    monkeypatch.setattr(cascaded_tanks, "NeuralODE", small)
    rows = {r.quantity: r for r in cascaded_tanks.run(Task(out=tmp_path, data=tmp_path))}
    gru = rows["free-run RMSE, samples 6…60: GRU"]
    _, test = cascaded_tanks.records(tmp_path)
    assert gru.published == 0.396 and 0 < gru.ours < test.y.std()
    assert "of 55 observations" in rows["coverage of the test record"].note
    assert (tmp_path / "cascaded-tanks.png").stat().st_size > 10_000


# --- interval coverage ---


def record(name: str, miss: float, half: float) -> Backtest:
    """Two origins, three points each: forecasts that miss by `miss` standard deviations."""
    observed, sd = np.arange(6.0), np.full(6, 2.0)
    ahead, zero = np.tile([1.0, 2.0, 3.0], 2), np.zeros(6)
    naive = {"last value": observed + 3.0, "mean": observed + 1.0}
    points = Points(
        origin=np.repeat([0, 1], 3), series=np.full(6, "0"), seen=zero, since=zero, time=ahead,
        ahead=ahead, variable=np.full(6, name), observed=observed, sd=sd, naive=naive,
        naive_interval=(observed, observed),
    )  # fmt: skip
    mean, bad = observed + miss * sd, Status("not converged", "not converged", ok=False)
    origins = (Origin((20,), Status("converged", "converged"), 1.0), Origin((23,), bad, 1.0))
    return Backtest("model", points, mean, mean - half, mean + half, 0.9, origins)


def test_interval_rows_by_system_and_pooled() -> None:
    done = {"decay": record("y", 0.3, 1.0), "oscillator": record("v", 0.4, 0.5)}
    rows = {r.quantity: r for r in interval_coverage.rows(done)}
    assert rows["coverage, decay"].ours == 1 and rows["coverage, oscillator"].ours == 0
    assert rows["coverage, all"].ours == 0.5 and "6 of 12" in rows["coverage, all"].note
    assert rows["mean width, decay"].ours == 1 and rows["mean width, all"].ours == 0.75
    assert rows["error, decay"].ours == pytest.approx(0.3)
    assert rows["error, all"].ours == pytest.approx(np.sqrt((0.3**2 + 0.4**2) / 2))
    assert rows["error, decay"].note.startswith("best naive (mean) 0.500; 1 of 2 fits")


def test_pooled_coverage_counts_points_not_series() -> None:
    parts = [Coverage(1, 1, 0.9), Coverage(80, 99, 0.9), Coverage(0, 0, 0.9)]
    row = interval_coverage.pooled("coverage", parts)
    assert row.ours == 0.81 and row.note.startswith("81 of 100 observations")
    assert interval_coverage.pooled("coverage", []).ours is None


def test_interval_coverage_asks_for_eight_points(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(interval_coverage, "ORIGINS", (32,))
    monkeypatch.setattr(interval_coverage, "SYSTEMS", {"decay": (0.05, "additive")})
    small = functools.partial(NeuralODE, **TINY, held_out=0.0)
    monkeypatch.setattr(interval_coverage, "NeuralODE", small)
    rows = {r.quantity: r for r in interval_coverage.run(Task(out=tmp_path))}
    assert " of 8 observations" in rows["coverage, all"].note
    assert 0 < rows["error, all"].ours < 1
    lines = (tmp_path / "interval-coverage-decay.csv").read_text().splitlines()
    assert len(lines) == 9
    assert interval_coverage.run(Task(budget=1e-12)) == []


def test_the_six_systems_are_toys_with_noise_from_5_to_10_per_cent() -> None:
    assert len(interval_coverage.SYSTEMS) == 6
    for name, (noise, kind) in interval_coverage.SYSTEMS.items():
        data = sample(name, n=interval_coverage.POINTS, noise=noise, kind=kind)
        assert len(data[0]) == 40 and 0.05 <= noise <= 0.1
