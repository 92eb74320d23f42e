"""Stages of a training, second-order systems, members that die, covariates, and the status."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import tenkai as tk
from tenkai.curriculum import stages
from tenkai.curriculum.material import precision
from tenkai.curriculum.members import Design
from tenkai.curriculum.problem import Problem
from tenkai.curriculum.runs import Candidate, Run, run
from tenkai.curriculum.task import Plan, Recipe
from tenkai.data import Scaler
from tenkai.errors import InputError
from tenkai.estimators.judgement import status_of
from tenkai.estimators.neural_ode import NeuralODE
from tenkai.models.trajectory import SecondOrderField
from tenkai.records import Discretisation, HeldOut

QUICK: dict[str, Any] = {
    "members": 2, "steps": 20, "matching_steps": 60, "held_out": 0.0, "positive": False
}  # fmt: skip


def _data(n: int = 40) -> tk.Trajectories:
    return tk.toys.sample("van_der_pol", n=n, noise=0.03, seed=0)


def _run(recipes: tuple[Recipe, ...] = (Recipe(), Recipe())) -> Run:
    problem = Problem.of(_data())
    scaler = Scaler.fit(problem.values)
    none, known = np.zeros(len(problem.tau), bool), np.full((1, 2), np.nan)
    plan = Plan(matching_steps=60, shooting_steps=20)
    return run(problem, [Candidate(scaler, r) for r in recipes], none, known, Design(), plan)


# Stages.


def test_precision_weights_follow_the_noise_and_are_one_on_average() -> None:
    random = np.random.default_rng(0)
    noise = np.exp(0.4 * random.normal(size=(2, 50, 3)))
    points = random.uniform(size=noise.shape) < 0.7
    points[1, :, 2] = False
    weight = precision(points, noise)
    assert (weight[~points] == 0).all()
    shown = points[..., :2]
    mean = weight[..., :2].sum(1) / shown.sum(1)
    np.testing.assert_allclose(mean, 1.0, rtol=1e-12)
    for member in range(2):
        for j in range(2):
            here = points[member, :, j]
            product = weight[member, here, j] * noise[member, here, j] ** 2
            np.testing.assert_allclose(product, product[0], rtol=1e-9)


def test_noise_far_from_the_usual_weighs_no_more_than_a_bound() -> None:
    noise = np.ones((1, 10, 1))
    noise[0, 0], noise[0, 1] = 1e-9, 1e9
    weight = precision(np.ones(noise.shape, bool), noise)
    assert np.isfinite(weight).all()
    assert (weight > 0).all()


def test_windows_that_cannot_help_are_skipped_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_AT_THE_NOISE", np.inf)
    ode = NeuralODE(**QUICK).fit(_data())
    assert list(ode.seconds_) == ["gradient matching", "windows of 4", "whole series"]
    told = " ".join(ode.fit_.status.notes)
    assert "windows of 12 skipped: one solve already meets the noise" in told
    monkeypatch.setattr(stages, "_AT_THE_NOISE", 0.0)
    ode = NeuralODE(**QUICK).fit(_data())
    assert "windows of 12" in ode.seconds_
    assert "skipped" not in " ".join(ode.fit_.status.notes)


def test_a_warm_start_needs_neither_matching_nor_windows() -> None:
    ode = NeuralODE(**QUICK).fit(_data())
    ode.fit(_data(), warm_start=True)
    assert list(ode.seconds_) == ["whole series"]


def test_no_member_is_worse_than_after_an_earlier_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, real = [], stages._Stages._fit

    def spoil(self, stage: str, *arguments):
        model = real(self, stage, *arguments)
        if stage != "whole series":
            return model

        def leaf(a):  # The last stage ruins the second member.
            if not eqx.is_inexact_array(a):
                return a
            return np.concatenate([a[:1], 3.0 * np.asarray(a[1:])])

        return jax.tree.map(leaf, model)

    def heard(self, models):
        path = self.solves(models, self.out.refine)
        sets = (self.task.held_out, self.task.train)
        each = [self.solves.judged(path, precision(s, self.noise_sd)) for s in sets]
        judged.append(sum(each) / 2)
        keep(self, models)

    keep = stages._Stages._keep_best
    monkeypatch.setattr(stages._Stages, "_fit", spoil)
    monkeypatch.setattr(stages._Stages, "_keep_best", heard)
    made = _run()
    assert len(judged) >= 3
    assert judged[-1][1] > min(e[1] for e in judged[:-1])
    np.testing.assert_array_equal(made.trained.errors, np.min(judged, axis=0))
    shown = made.paths[..., :2]
    miss = np.abs(shown - made.task.values)[made.task.train]
    assert np.sqrt(np.mean(miss**2)) < 1.0, "the ruined member is not the one that was kept"


# Members that die.


def _poisoned(monkeypatch: pytest.MonkeyPatch, members: list[int]) -> None:
    """Data of these members that no step survives, in the shooting stages."""
    real = stages.segments

    def spoilt(*arguments):
        batch = real(*arguments)
        values = np.array(batch.values)
        values[members] = np.nan
        return batch._replace(values=values)

    monkeypatch.setattr(stages, "segments", spoilt)


def test_a_member_that_dies_neither_stops_nor_changes_the_others(monkeypatch) -> None:
    clean = _run((Recipe(),) * 3)
    _poisoned(monkeypatch, [1])
    dead = _run((Recipe(),) * 3)
    assert dead.trained.refine == clean.trained.refine
    for a, b in zip(
        jax.tree.leaves(clean.trained.models), jax.tree.leaves(dead.trained.models), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(a)[[0, 2]], np.asarray(b)[[0, 2]])
    np.testing.assert_array_equal(clean.paths[[0, 2]], dead.paths[[0, 2]])
    told = " ".join(h["event"] for h in dead.trained.history if h["event"])
    assert "member 1" in told
    assert "member 0:" not in told


def test_when_all_members_die_the_last_good_stage_stands(monkeypatch) -> None:
    _poisoned(monkeypatch, [0, 1])
    ode = NeuralODE(**QUICK).fit(_data())
    assert np.isfinite(np.asarray(ode.reconstruct())).all()
    told = " ".join(ode.fit_.status.notes)
    for stage in ("windows of 4", "whole series"):
        assert f"{stage}: Training diverged" in told
    matched = NeuralODE(**QUICK | {"steps": 1}).fit(_data())
    for a, b in zip(jax.tree.leaves(ode.model_), jax.tree.leaves(matched.model_), strict=True):
        np.testing.assert_array_equal(a, b)


class Blow(eqx.Module):
    """x' = a x²: from 2 it is infinite after half a unit of time."""

    a: float = 1.0

    def __call__(self, t, y, u):
        return self.a * y**2


def test_a_field_that_blows_up_ends_in_a_status() -> None:
    t = np.linspace(0, 8, 25)
    ode = NeuralODE(**QUICK, field=Blow(), y0=[2.0]).fit((2 + np.sin(t))[:, None], t=t)
    status = ode.fit_.status
    assert (status.kind, status.ok) == ("diverged", False)
    assert "blows up" in str(status)
    assert status.remedy
    assert "Training diverged" in " ".join(status.notes)


# Second order.


def _pendulum(t: np.ndarray, start: tuple[float, float]) -> np.ndarray:
    """A damped pendulum's (angle, velocity) at times t, in units that are nobody's standard."""

    def slope(_, y):
        return [y[1], -2 * np.sin(y[0]) - 0.3 * y[1]]

    path = solve_ivp(slope, (0, t[-1]), start, t_eval=t, rtol=1e-9, atol=1e-9).y.T
    return 5.0 * path + [3.0, 0.0]


TIMES = np.linspace(0, 8, 40)
SWING = {**QUICK, "order": 2, "width": 16, "steps": 80, "matching_steps": 300}


@pytest.fixture(scope="module")
def swing() -> NeuralODE:
    x = _pendulum(TIMES, (1.5, 0.4))[:, :1]
    x = x + 0.1 * np.random.default_rng(0).normal(size=x.shape)
    return NeuralODE(**SWING).fit(tk.Trajectories.from_arrays(x, TIMES, names=("angle",)))


def test_a_pendulum_seen_in_angle_alone(swing: NeuralODE) -> None:
    true = _pendulum(TIMES, (1.5, 0.4))[:, 0]
    path = np.asarray(swing.reconstruct())[:, 0]
    assert 1 - np.sum((path - true) ** 2) / np.sum((true - true.mean()) ** 2) > 0.98
    # The velocity is one: the model is asked at states that it was not started from.
    states = _pendulum(np.linspace(0, 4, 9), (1.2, 0.3))
    slope = swing.derivative(states)
    np.testing.assert_allclose(slope[:, 0], states[:, 1], rtol=1e-5, atol=1e-5)
    force = 5.0 * -2 * np.sin((states[:, 0] - 3.0) / 5.0) - 0.3 * states[:, 1]
    assert np.corrcoef(slope[:, 1], force)[0, 1] > 0.98


def test_the_position_moves_with_the_velocity_state(swing: NeuralODE) -> None:
    """dz/dtau = slope v along the path, by differences."""
    ensemble = swing.predictor_.ensemble
    assert isinstance(ensemble.fields, SecondOrderField)
    slope = np.asarray(ensemble.fields.slope)
    np.testing.assert_array_equal(slope[:, 0], slope[0, 0])
    t = np.concatenate([[0.0], 2.0 + 0.01 * np.arange(-1, 2)])
    z = ensemble.paths([t], ensemble.starts)[0]
    numeric = (z[:, 3, 0] - z[:, 1, 0]) / (0.02 / ensemble.time.scale)
    np.testing.assert_allclose(numeric, slope[:, 0] * z[:, 2, 1], rtol=2e-2)


def test_a_simulation_takes_velocities_in_raw_units(swing: NeuralODE) -> None:
    t = np.array([0.0, 0.02, 0.04])
    path = np.asarray(swing.simulate([4.0, 2.5], t))[:, 0]
    assert path[0] == pytest.approx(4.0, abs=1e-5)
    bent = swing.derivative([4.0, 2.5])[0]
    assert (path[2] - path[0]) / 0.04 == pytest.approx(2.5 + 0.02 * bent[1], rel=1e-2)
    assert (path[2] - 2 * path[1] + path[0]) / 0.02**2 == pytest.approx(bent[1], rel=0.1)
    with pytest.raises(InputError, match="positions and velocities of angle"):
        swing.simulate([4.0], t)
    with pytest.raises(InputError, match="positions and velocities of angle"):
        swing.derivative([[4.0]])


def test_given_velocities_are_honoured_also_by_a_warm_start() -> None:
    x = _pendulum(TIMES, (1.5, 0.4))[:, :1]
    ode = NeuralODE(**SWING, y0=[10.5, 2.0])
    for warm_start in (False, True):
        ode.fit(x, t=TIMES, warm_start=warm_start)
        path = np.asarray(ode.reconstruct([0.0, 0.01, 0.02]))[:, 0]
        assert path[0] == pytest.approx(10.5, abs=1e-4)
        start = (4 * path[1] - 3 * path[0] - path[2]) / 0.02
        assert start == pytest.approx(2.0, abs=0.05)


def test_new_swings_start_with_their_own_velocity(swing: NeuralODE, tmp_path) -> None:
    t = np.linspace(0, 5, 41)
    x = _pendulum(t, (-1.0, 1.2))[:, :1]
    seen = tk.Trajectories.from_arrays(x[:31], t[:31], names=("angle",))
    made = swing.forecast(times=t[31:], data=seen)
    assert np.abs(made.mean - x[31:]).max() < 0.15 * np.ptp(x)
    swing.save(tmp_path / "m.safetensors")
    again = tk.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.forecast(times=t[31:], data=seen).upper, made.upper)
    for ask in (lambda o: o.derivative([4.0, 2.5]), lambda o: o.reconstruct().values):
        np.testing.assert_array_equal(ask(again), ask(swing))


# Covariates.


def test_covariates_of_series_enter_the_field() -> None:
    t, random = np.linspace(0, 3, 12), np.random.default_rng(0)
    rates = [0.5, 1.5] * 3
    xs = [random.uniform(1, 2) * np.exp(-k * t)[:, None] for k in rates]
    xs = [x + 0.01 * random.normal(size=x.shape) for x in xs]
    data = tk.Trajectories.from_arrays(
        xs, [t] * 6, static=[[10.0 * k] for k in rates], static_names=("dose",)
    )
    ode = NeuralODE(**QUICK | {"steps": 100, "matching_steps": 300}).fit(data)
    y = np.linspace(0.5, 1.2, 5)[:, None]
    for rate in (0.5, 1.5):
        np.testing.assert_allclose(-ode.derivative(y, u=[10 * rate]) / y, rate, rtol=0.15)
        path = np.asarray(ode.simulate([1.0], [0.0, 1.0], static=[10 * rate]))
        assert -np.log(path[1, 0]) == pytest.approx(rate, rel=0.15)
    for path, rate in zip(ode.reconstruct(), rates, strict=True):
        x = np.asarray(path)[:, 0]
        assert np.log(x[0] / x[5]) / (t[5] - t[0]) == pytest.approx(rate, rel=0.15)
    middle = ode.simulate([1.0], [0.0, 1.0], static=[10.0])
    np.testing.assert_array_equal(ode.simulate([1.0], [0.0, 1.0]), middle)
    with pytest.raises(InputError, match="static: expected a finite number for each of dose"):
        ode.simulate([1.0], [0.0, 1.0], static=[1.0, 2.0])
    with pytest.raises(InputError, match="u: expected finite numbers for dose"):
        ode.derivative([1.0], u=[1.0, 2.0])


# Ends that nobody saw.


def test_a_variable_that_the_end_does_not_show_has_finite_intervals() -> None:
    x = np.array(_data()[0].x)
    x[25:, 0] = np.nan
    ode = NeuralODE(**QUICK | {"held_out": 0.2}).fit(x, t=_data()[0].t)
    made = ode.forecast(1.0)
    assert np.isfinite(made.upper).all()
    assert ode.held_out_.points == 8
    x[30:] = np.nan
    ode = NeuralODE(**QUICK | {"held_out": 0.2}).fit(x, t=_data()[0].t)
    assert ode.held_out_.points > 0
    assert np.isfinite(ode.forecast(1.0).upper).all()


def _status(error: float, naive: float, score: float = 0.95) -> Any:
    check = Discretisation(1e-5, 2e-5, 1e-2, True, "This is an ODE.", 120)
    held = HeldOut((), (), error, {"last value": naive, "mean": 2 * naive}, 9, 10, 0.9)
    judged = SimpleNamespace(held_out_=held, discretisation_=check)
    return status_of(judged, score, ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "naive", "kind"),
    [
        (0.1, 1.0, "converged"),
        (0.6, 1.0, "converged"),
        (0.9, 1.4, "poor forecast"),  # R² below one half
        (0.6, 0.3, "poor forecast"),  # naive forecasts are better
        (0.2, 0.1, "converged"),  # at the noise, where a naive forecast is hard to beat
        (np.inf, 1.0, "poor forecast"),
    ],
)
def test_a_poor_forecast_has_its_own_status(error: float, naive: float, kind: str) -> None:
    status = _status(error, naive)
    assert (status.kind, status.ok) == (kind, True)
    assert bool(status.remedy) == (kind != "converged")


def test_an_end_in_states_never_visited_is_a_poor_forecast_and_a_flat_one_is_not() -> None:
    settings = {**QUICK, "held_out": 0.2, "width": 16, "decay": 1e-5, "jacobian": 0.0}
    settings |= {"steps": 100, "matching_steps": 300}
    noise = 0.02 * np.random.default_rng(0).normal(size=(40, 2))
    t = np.linspace(0, 1, 40)
    switch = np.stack([1 / (1 + np.exp(-30 * (t - 0.85))), t], axis=1) + noise
    ode = NeuralODE(**settings).fit(switch, t=t)
    assert (ode.fit_.status.kind, ode.fit_.status.ok) == ("poor forecast", True)
    assert ode.score() > 0.8
    flat = np.exp(-12 * t[:, None] * [1.0, 0.8]) + noise
    assert NeuralODE(**settings).fit(flat, t=t).fit_.status.kind == "converged"
