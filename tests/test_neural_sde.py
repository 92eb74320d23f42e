"""`NeuralSDE`: what it learns, what it answers, what it refuses, what it says."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import tenkai as tk
from tenkai.diffusions.known import (
    double_well,
    exact_geometric_brownian,
    exact_ornstein_uhlenbeck,
    exact_plane,
    geometric_brownian,
    ornstein_uhlenbeck,
    plane,
)
from tenkai.diffusions.start import start
from tenkai.reproduce.sde_recovery import Growth, Level, Linear, Lower, Plane, Proportional, run

OU, GBM, WELL, PLANE = ornstein_uhlenbeck(), geometric_brownian(), double_well(), plane()
SEED = 77


def record(known, seed: int = SEED, length: int | None = None) -> np.ndarray:
    return known.draw([seed], length or known.length, known.step)[0]


@pytest.fixture(scope="module")
def ou() -> tk.NeuralSDE:
    return tk.NeuralSDE(drift=Linear(), diffusion=Level()).fit(record(OU), OU.step)


@pytest.fixture(scope="module")
def network() -> tk.NeuralSDE:
    return tk.NeuralSDE().fit(record(WELL), WELL.step)


def test_equation_reaches_the_exact_maximum_of_the_likelihood(ou: tk.NeuralSDE) -> None:
    assert ou.parameters_ is not None
    exact = exact_ornstein_uhlenbeck(record(OU), OU.step)
    np.testing.assert_allclose(ou.parameters_["value"], exact, atol=1e-4)
    assert list(ou.parameters_.index) == ["drift.theta", "drift.mu", "diffusion.sigma"]
    # The information of an Ornstein-Uhlenbeck process over T = 400 (Tang and Chen 2009).
    rough = [np.sqrt(2 * 1.1 / 400), 0.5 / 400**0.5, 0.5 / np.sqrt(2 * 2000)]
    np.testing.assert_allclose(ou.parameters_["standard_error"], rough, rtol=0.25)
    assert ou.fit_.status.kind == "converged"


def test_long_gaps_do_not_bias_the_drift() -> None:
    x = ornstein_uhlenbeck().draw([SEED], 4000, 0.5)[0]
    fitted = tk.NeuralSDE(drift=Linear(), diffusion=Level()).fit(x, 0.5)
    assert fitted.parameters_ is not None
    theta, error = fitted.parameters_.loc["drift.theta", ["value", "standard_error"]]
    assert abs(theta - 1.0) < 3 * error < 0.15
    one_step = -np.polyfit(x[:-1], np.diff(x) / 0.5, 1)[0]
    assert abs(one_step - (1 - np.exp(-0.5)) / 0.5) < 0.07  # Euler: 21 % too small


def test_geometric_brownian_motion_is_learned_in_logarithms() -> None:
    x = record(GBM)
    fitted = tk.NeuralSDE(drift=Growth(), diffusion=Proportional()).fit(x, GBM.step)
    assert fitted.parameters_ is not None
    exact = exact_geometric_brownian(x, GBM.step)
    np.testing.assert_allclose(fitted.parameters_["value"], exact, rtol=1e-4)
    free = tk.NeuralSDE().fit(x, GBM.step)
    at = np.array([1.0, 1e3, 1e9])
    np.testing.assert_allclose(free.drift(at)[:, 0] / at, exact[0], rtol=0.1)
    np.testing.assert_allclose(free.diffusion(at)[:, 0] / at, exact[1], rtol=0.05)
    law = free.stationary()
    assert not law.status.ok and np.isnan(law.mean).all()


def test_correlated_noise() -> None:
    x = record(PLANE)
    exact = exact_plane(x, PLANE.step)
    guess = Plane(np.eye(2)), Lower(np.array([1.0, 0.1, 1.0]))
    fitted = tk.NeuralSDE(drift=guess[0], diffusion=guess[1]).fit(x, PLANE.step)
    assert fitted.parameters_ is not None
    np.testing.assert_allclose(fitted.parameters_["value"], exact, atol=2e-3)
    free = tk.NeuralSDE(noise="full").fit(x, PLANE.step)
    noise = free.diffusion([[0.0, 0.0]])[0]
    np.testing.assert_allclose(noise[np.tril_indices(2)], exact[4:], rtol=0.02)
    assert noise[0, 1] == 0 and (np.diag(noise) > 0).all()
    assert PLANE.covariance is not None
    np.testing.assert_allclose(free.stationary().covariance, PLANE.covariance, rtol=0.25)
    alone = tk.NeuralSDE().fit(x, PLANE.step)
    assert alone.diffusion([[0.0, 0.0]]).shape == (1, 2)
    assert free.score() > alone.score() + 0.05


def test_network_learns_a_double_well(network: tk.NeuralSDE) -> None:
    assert WELL.states is not None and WELL.covariance is not None
    drift, diffusion = WELL.fields(WELL.states)
    assert np.sqrt(np.mean((network.drift(WELL.states) - drift) ** 2) / np.mean(drift**2)) < 0.25
    assert np.abs(network.diffusion(WELL.states) / diffusion - 1).max() < 0.1
    law = network.stationary()
    assert law.status.ok and abs(law.covariance[0, 0] / WELL.covariance[0, 0] - 1) < 0.15
    assert law.density is not None and law.grid is not None
    assert abs(np.trapezoid(law.density, law.grid) - 1) < 1e-3


def test_score_is_the_log_likelihood_in_raw_units(ou: tk.NeuralSDE) -> None:
    assert ou.parameters_ is not None
    theta, mu, sigma = ou.parameters_["value"]
    x, keep = record(OU, 5), np.exp(-theta * OU.step)
    variance = sigma**2 * (1 - keep**2) / (2 * theta)
    miss = x[1:] - mu - keep * (x[:-1] - mu)
    right = np.mean(-0.5 * miss**2 / variance - 0.5 * np.log(2 * np.pi * variance))
    assert abs(ou.score(x, OU.step) - right) < 1e-5


def test_scores_compare_across_scales() -> None:
    x = record(GBM, length=300)
    log, raw = (tk.NeuralSDE(positive=p).fit(x, GBM.step) for p in (True, False))
    assert log.score() > raw.score() + 0.05
    told = tk.NeuralSDE().fit(x, GBM.step)
    assert told.score() == log.score()
    assert any("log scale" in note for note in told.fit_.status.notes)


def test_simulation_has_the_moments_of_the_equation(ou: tk.NeuralSDE) -> None:
    assert ou.parameters_ is not None
    theta, mu, sigma = ou.parameters_["value"]
    t = np.array([3.0, 3.5, 5.0])
    paths = ou.simulate([2.0], t, paths=4000, seed=1)
    values = np.asarray(paths)
    assert values.shape == (4000, 3, 1) and (values[:, 0] == pytest.approx(2.0))
    for k in (1, 2):
        keep = np.exp(-theta * (t[k] - 3.0))
        spread = sigma**2 * (1 - keep**2) / (2 * theta)
        assert abs(values[:, k].mean() - (mu + keep * (2 - mu))) < 5 * np.sqrt(spread / 4000)
        assert abs(values[:, k].var() / spread - 1) < 5 * (2 / 4000) ** 0.5
    np.testing.assert_array_equal(values, np.asarray(ou.simulate([2.0], t, paths=4000, seed=1)))
    assert len(paths.to_frame()) == values.size
    many = ou.simulate([[0.0], [1.0]], t, paths=2)
    np.testing.assert_allclose(np.asarray(many)[:, 0, 0], [0.0, 1.0], atol=1e-12)


def test_forecast_quantiles_are_those_of_the_law_ahead(ou: tk.NeuralSDE) -> None:
    assert ou.parameters_ is not None
    theta, mu, sigma = ou.parameters_["value"]
    ahead: Any = ou.forecast(2.0, coverage=0.8, paths=4000)
    keep = np.exp(-theta * 2.0)
    mean = mu + keep * (record(OU)[-1] - mu)
    half = 1.2816 * sigma * np.sqrt((1 - keep**2) / (2 * theta))
    got = [ahead.mean[-1, 0], ahead.lower[-1, 0], ahead.upper[-1, 0]]
    np.testing.assert_allclose(got, [mean, mean - half, mean + half], atol=0.04)
    assert ahead.time[-1] == pytest.approx(402.0) and ahead.coverage == 0.8


def test_stationary_law_of_a_line_is_exact(ou: tk.NeuralSDE) -> None:
    assert ou.parameters_ is not None
    theta, mu, sigma = ou.parameters_["value"]
    law = ou.stationary()
    np.testing.assert_allclose(law.mean, mu, atol=1e-4)
    np.testing.assert_allclose(law.covariance, sigma**2 / (2 * theta), rtol=1e-3)
    assert list(law.to_frame().columns) == ["mean", "sd", "covariance x0"]


def test_missing_rows_are_longer_gaps() -> None:
    x = record(OU, length=3000)
    holes = np.where(np.random.default_rng(0).uniform(size=len(x)) < 0.4, np.nan, x)
    fitted = tk.NeuralSDE(drift=Linear(), diffusion=Level()).fit(holes, OU.step)
    assert fitted.parameters_ is not None
    miss = (fitted.parameters_["value"] - OU.truth) / fitted.parameters_["standard_error"]
    assert np.abs(miss).max() < 3
    assert fitted.innovations_.count == np.isfinite(holes).sum() - 1


def test_several_series_with_dates_and_inputs() -> None:
    random, step = np.random.default_rng(3), 0.1
    frames = []
    for name, n in (("東", 700), ("西", 900)):
        u = np.repeat(random.uniform(-1, 1, n // 20 + 1), 20)[:n]
        x = np.zeros(n)
        for k in range(n - 1):  # the input is held over a step
            x[k + 1] = x[k] + step * (2 * u[k] - x[k]) + 0.3 * step**0.5 * random.standard_normal()
        day = pd.Timestamp("2024-01-01") + pd.to_timedelta(step * np.arange(n), "D")
        frames.append(pd.DataFrame({"site": name, "day": day, "水位": x, "rain": u}))
    data = tk.read_trajectories(
        pd.concat(frames), time="day", series="site", inputs=["rain"], hold="previous"
    )
    fitted = tk.NeuralSDE().fit(data)
    gain = fitted.drift([[0.0], [0.0]], u=[[0.0], [1.0]])
    assert abs(np.diff(gain[:, 0])[0] - 2) < 0.25
    ahead = fitted.forecast("1D", inputs=np.ones((10, 1)), paths=200)
    assert isinstance(ahead, list) and len(ahead) == 2
    assert ahead[0].time.dtype.kind == "M" and ahead[0].mean[-1, 0] > ahead[0].mean[0, 0] - 0.5
    assert fitted.stationary(u=[1.0]).mean[0] == pytest.approx(2.0, abs=0.4)
    days = ["2024-05-01", "2024-05-02"]
    assert fitted.simulate([0.0], days, u=np.ones((2, 1)), paths=3).values.shape == (3, 2, 1)


def test_user_drift_beside_a_network_for_the_noise() -> None:
    fitted = tk.NeuralSDE(drift=Linear()).fit(record(OU), OU.step)
    assert fitted.parameters_ is not None
    exact = exact_ornstein_uhlenbeck(record(OU), OU.step)
    np.testing.assert_allclose(fitted.parameters_["value"], exact[:2], atol=2e-3)
    np.testing.assert_allclose(fitted.diffusion([0.0, 1.0]), exact[2], rtol=0.01)


def test_members_agree_and_fit_in_single_precision() -> None:
    x = record(WELL, length=1500)
    several = tk.NeuralSDE(members=2, precision="float32").fit(x, WELL.step)
    assert len(np.asarray(several.model_.units.state.scale)) == 2
    alone = tk.NeuralSDE().fit(x, WELL.step)
    assert abs(several.score() - alone.score()) < 0.01
    assert several.simulate([0.0], [0.0, 1.0], paths=5).values.shape == (5, 2, 1)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda x, r: x + 0.2 * r.standard_normal(len(x)), "measurement noise"),
        (lambda x, r: x + np.cumsum(2 * (r.uniform(size=len(x)) < 0.01)), "jumps"),
        (lambda x, r: r.permutation(x), "no memory"),
    ],
)
def test_status_says_what_the_model_cannot_be(spoil, kind: str) -> None:
    x = spoil(record(OU), np.random.default_rng(0))
    status = tk.NeuralSDE().fit(x, OU.step).fit_.status
    assert status.kind == kind and not status.ok and status.remedy


class Flat(eqx.Module):
    size: float = 0.1

    def __call__(self, t, y, u):
        return self.size + 0 * y


def test_status_sees_a_drift_without_its_term() -> None:
    status = tk.NeuralSDE(drift=Flat(), diffusion=Level()).fit(record(OU), OU.step).fit_.status
    assert status.kind == "missed structure" and "drift" in status.cause and not status.ok


def jumpy(length: int, rate: float = 0.02) -> list[np.ndarray]:
    """Two series that return to 2, with jumps of 3."""
    random, out = np.random.default_rng(0), np.full((2, length), 2.0)
    for x in out:
        for k in range(length - 1):
            jump = 3 * (random.random() < rate)
            x[k + 1] = x[k] + 0.2 * (2 - x[k]) + 0.1 * random.standard_normal() + jump
    return list(out)


@pytest.mark.parametrize("positive", [True, False])
def test_a_few_jumps_end_in_a_finite_fit(positive: bool) -> None:
    made = tk.NeuralSDE(positive=positive).fit(jumpy(150), 0.1)
    assert made.fit_.status.kind == "jumps"
    at = made.diffusion([1.5, 2.0, 2.5, 3.0])[:, 0]
    assert np.isfinite(made.score()) and at.max() < 5 * at.min()  # no structure out of six jumps


def test_start_that_blows_up_gives_way_to_a_plain_one(monkeypatch) -> None:
    from tenkai.diffusions import learning

    def wild(columns, width, random):
        made = start(columns, width, random)
        return made._replace(drift=made.drift._replace(centre=made.drift.centre + 1e200))

    monkeypatch.setattr(learning, "start", wild)
    made = tk.NeuralSDE(noise="full").fit(record(PLANE, length=300), PLANE.step)
    assert made.fit_.status.ok and any("affine drift" in n for n in made.fit_.status.notes)
    level = made.diffusion([[0.0, 0.0], [3.0, 3.0]])
    np.testing.assert_allclose(level[0], level[1])


class Wrong(eqx.Module):
    a: float = 1.0

    def __call__(self, t, y, u):
        return self.a * jnp.ones(3)


class Vanishing(eqx.Module):
    a: float = 1.0

    def __call__(self, t, y, u):
        return self.a * jnp.maximum(y, 0.0)


GOOD = record(OU, length=100)


@pytest.mark.parametrize(
    ("options", "x", "t", "said"),
    [
        ({}, GOOD[:10], 0.2, "transitions"),
        ({}, np.stack([GOOD, np.ones(101)], 1), 0.2, "constant"),
        ({}, np.where(np.eye(101, 2) > 0, np.nan, GOOD[:, None]), 0.2, "all variables or none"),
        ({}, GOOD, np.repeat(np.arange(51.0), 2)[:101], "one value at one time"),
        ({"drift": Wrong()}, GOOD, 0.2, "shape"),
        ({"diffusion": Wrong()}, GOOD, 0.2, "shape"),
        ({"diffusion": Vanishing()}, GOOD, 0.2, "noise in every direction"),
        ({"drift": lambda t, y, u: -y}, GOOD, 0.2, "parameters to learn"),
        ({"positive": True}, GOOD, 0.2, "above zero"),
        ({"noise": "white"}, GOOD, 0.2, "full"),
        ({"members": 0}, GOOD, 0.2, "at least 1"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(options, x, t, said: str) -> None:
    with pytest.raises(tk.InputError, match=said):
        tk.NeuralSDE(**options).fit(x, t)


def test_questions_that_cannot_be_answered(ou: tk.NeuralSDE) -> None:
    for ask, said in (
        (lambda: ou.drift([[1.0, 2.0]]), "finite numbers per state"),
        (lambda: ou.simulate([0.0], [1.0, 0.0]), "increasing"),
        (lambda: ou.simulate([0.0], [0.0, 1.0], paths=0), "at least 1"),
        (lambda: ou.simulate([[0.0], [1.0]], [0.0, 1.0], paths=3), "one state"),
        (lambda: ou.drift([1.0], u=[1.0]), "without inputs"),
        (lambda: ou.forecast(1.0, coverage=2), "between 0 and 1"),
        (lambda: tk.NeuralSDE().drift([1.0]), "fitted"),
    ):
        with pytest.raises(tk.InputError, match=said):
            ask()


def test_file_brings_the_estimator_back(ou: tk.NeuralSDE, network: tk.NeuralSDE, tmp_path) -> None:
    file = tmp_path / "sde.safetensors"
    network.save(file)
    again = tk.load(file)
    np.testing.assert_array_equal(again.drift([0.3, 1.0]), network.drift([0.3, 1.0]))
    assert again.fit_.status == network.fit_.status and again.parameters_ is None
    np.testing.assert_array_equal(again.forecast(1.0).mean, network.forecast(1.0).mean)
    ou.save(file)
    with pytest.raises(tk.InputError, match="drift"):
        tk.load(file)
    with pytest.raises(tk.InputError, match="Leave it out"):
        tk.load(file, field=Linear())
    again = tk.load(file, drift=Linear(), diffusion=Level())
    assert again.parameters_ is not None and ou.parameters_ is not None
    np.testing.assert_array_equal(again.parameters_, ou.parameters_)
    assert again.score() == ou.score() == pytest.approx(again.score(record(OU), OU.step))


def test_arguments_are_kept_beside_methods_of_the_same_name() -> None:
    drift = Linear()
    sde = tk.NeuralSDE(drift=drift, members=2)
    assert sde.get_params()["drift"] is drift and callable(sde.drift)
    assert sde.set_params(drift=None).get_params()["drift"] is None
    assert repr(tk.NeuralSDE(noise="full")) == "NeuralSDE(noise='full')"


def test_pictures(ou: tk.NeuralSDE, network: tk.NeuralSDE) -> None:
    assert len(network.plot()) == 3
    paths = ou.simulate([0.0], np.arange(5.0), paths=7)
    assert paths.plot().get_xlabel() == "time"
    assert ou.stationary().plot().get_title(loc="left") == "Stationary law"


def test_a_second_fit_of_the_same_size_compiles_nothing() -> None:
    for options in ({}, {"drift": Linear(), "diffusion": Level()}):
        tk.NeuralSDE(**options).fit(record(OU, 1, 500), OU.step)
        compiled = []

        def listen(event: str, *_: Any, seen=compiled, **__: Any) -> None:
            if event.endswith("backend_compile_duration"):
                seen.append(event)

        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            tk.NeuralSDE(**options).fit(record(OU, 2, 500), OU.step)
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)
        assert not compiled


def test_recovery_has_a_row_for_everything_asked() -> None:
    rows = run(records=2, length=400, only=("OU",))
    assert [r.quantity.partition(", ")[2] for r in rows] == [
        "theta: error by that of exact ML", "mu: error by that of exact ML",
        "sigma: error by that of exact ML", "diffusion's error, equation",
        "drift's error, network", "diffusion's error, network",
        "stationary variance's error, network",
    ]  # fmt: skip
    assert all(r.ours is not None and r.n == 2 for r in rows)
    assert all(abs(r.ours - 1) < 0.05 for r in rows[:3] if r.ours is not None)
