"""The page of a learned diffusion: what it shows, and that what it shows is true."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import pytest
from test_report import EVIL, Tags, figures

import tenkai as tk
from tenkai import report
from tenkai.data import Clock
from tenkai.records import Status
from tenkai.report.diffusion_findings import DiffusionFindings
from tenkai.report.diffusion_verdict import naive_laws, next_value
from tenkai.report.findings import gather

STEP, COUNT = 0.1, 1500


def ornstein_uhlenbeck(seed: int, count: int = COUNT, step: float = STEP) -> np.ndarray:
    """``dx = -x dt + .5 dW``, exactly."""
    keep, random = np.exp(-step), np.random.default_rng(seed)
    noise = 0.5 * np.sqrt((1 - keep**2) / 2) * random.normal(size=count)
    x = np.zeros(count)
    for k in range(1, count):
        x[k] = keep * x[k - 1] + noise[k]
    return x


class Constant(eqx.Module):
    """Of the wrong form on purpose."""

    c: float = 0.1

    def __call__(self, t: Any, y: Any, u: Any) -> Any:
        return self.c + 0 * y


@pytest.fixture(scope="module")
def sde() -> tk.NeuralSDE:
    return tk.NeuralSDE().fit(ornstein_uhlenbeck(0), STEP)


@pytest.fixture(scope="module")
def found(sde: tk.NeuralSDE) -> DiffusionFindings:
    return gather(sde)


@pytest.fixture(scope="module")
def page(sde: tk.NeuralSDE, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = report.html(sde, tmp_path_factory.mktemp("sde") / "report.html")
    return path.read_text(encoding="utf-8")


def renamed(sde: tk.NeuralSDE, **changes: Any) -> tk.NeuralSDE:
    """The same model of data with other words."""
    other = copy.copy(sde)
    other.data_ = replace(sde.data_, **changes)
    other.names_ = other.data_.names
    other.diffusion_ = replace(sde.diffusion_, data=other.data_)
    return other


@pytest.mark.parametrize(
    "words",
    [
        "A stochastic differential equation for x0",
        "Converged: log-likelihood",
        "more than the best naive law",
        "inside the 90% interval",
        "Data and forecast",
        "Drift and diffusion",
        "Drift per unit of time",
        "Stationary law",
        "standardised innovations",
        "Settings",
    ],
)
def test_page_says(page: str, words: str) -> None:
    assert words in Tags(page).text


def test_paths_are_some_of_those_that_the_forecast_is_made_of(
    sde: tk.NeuralSDE, found: DiffusionFindings
) -> None:
    one = found.series[0]
    assert one.forecast is not None and one.paths is not None
    ahead: Any = sde.forecast()
    np.testing.assert_array_equal(one.forecast.mean, ahead.mean)
    np.testing.assert_allclose(one.paths[:, 0], sde.data_[0].x[[-1]] * np.ones((3, 1)), atol=1e-12)
    inside = (one.paths[:, 1:] > ahead.lower) & (one.paths[:, 1:] < ahead.upper)
    assert 0.8 < inside.mean() < 0.98


def test_what_the_data_ask_for_scatters_about_the_right_curve(found: DiffusionFindings) -> None:
    for curve in (found.drifts[0], found.sizes[0]):
        asked = curve.asked
        off = (asked.value - np.interp(asked.at, curve.at, curve.mean)) / asked.error
        assert len(asked.at) == 12
        assert np.abs(off).max() < 4
        assert 0.3 < np.sqrt(np.mean(off**2)) < 1.7


def test_what_the_data_ask_for_leaves_a_wrong_curve() -> None:
    x = ornstein_uhlenbeck(1)
    wrong = tk.NeuralSDE(drift=Constant(), diffusion=Constant(0.5)).fit(x, STEP)
    assert wrong.fit_.status.kind == "missed structure"
    asked = gather(wrong).drifts[0].asked
    slope = np.polyfit(asked.at, asked.value, 1, w=1 / asked.error)[0]
    assert abs(slope + 1) < 0.35  # the truth is -x, the curve is flat; three standard errors
    text = Tags(report.page.render(gather(wrong))).text
    assert "The equation" in text and "diffusion.c" in text


def test_naive_laws_have_their_densities() -> None:
    from scipy import stats

    lognorm, norm = stats.lognorm.logpdf, stats.norm.logpdf

    x = np.exp(ornstein_uhlenbeck(2, 200))
    raw = tk.NeuralSDE(positive=False).fit(x, STEP)
    log = tk.NeuralSDE(positive=True).fit(x, STEP)
    step = np.diff(x)
    walk = norm(step, 0, np.sqrt(np.mean(step**2))).mean()
    assert naive_laws(raw)["random walk"] == pytest.approx(walk)
    z = np.log(x)
    spread = np.sqrt(np.mean(np.diff(z) ** 2))
    walk = lognorm(x[1:], spread, scale=np.exp(z[:-1])).mean()
    assert naive_laws(log)["random walk"] == pytest.approx(walk)
    alone = lognorm(x[1:], z[1:].std(), scale=np.exp(z[1:].mean())).mean()
    assert naive_laws(log)["independent values"] == pytest.approx(alone)


def test_verdict_says_when_nothing_is_gained() -> None:
    told = next_value(0.5, {"random walk": 0.499, "independent values": -1.0}, 100)
    assert "no better than the best naive law (random walk, 0.499)." in told.sentence
    told = next_value(0.5, {"random walk": 0.3}, 100)
    assert "0.2 more than" in told.sentence and "20 in all 100" in told.sentence


def test_correlations_stay_within_series() -> None:
    x = ornstein_uhlenbeck(3, 300)
    two = tk.NeuralSDE().fit([x[:100], x[100:]], t=[np.arange(100) * STEP, np.arange(200) * STEP])
    values = two.innovations_.values[:, 0]
    centred = values - values.mean()
    first, second = centred[:99], centred[99:]
    pairs = np.concatenate([first[1:] * first[:-1], second[1:] * second[:-1]])
    made = gather(two)
    assert made.correlations[0, 0] == pytest.approx(pairs.mean() / centred.var())
    assert made.correlations[0, 0] == pytest.approx(two.innovations_.correlation[0], rel=0.05)
    assert made.series[0].paths is None and made.series[1].forecast is not None


def test_a_plane_shows_flow_noise_and_law(tmp_path: Path) -> None:
    x = np.stack([ornstein_uhlenbeck(4, 400), 3 + ornstein_uhlenbeck(5, 400)], axis=1)
    x[:, 1] += 0.5 * x[:, 0]
    plane = tk.NeuralSDE(noise="full", positive=False).fit(x, STEP)
    found = gather(plane)
    (field,) = found.fields
    noise = plane.diffusion(field.places)
    np.testing.assert_allclose(field.noise, noise @ noise.swapaxes(1, 2))
    at = np.array([[field.drift.x[3], field.drift.y[7]]])
    np.testing.assert_allclose(plane.drift(at)[0], [field.drift.dx[7, 3], field.drift.dy[7, 3]])
    text = report.html(plane, tmp_path / "p.html").read_text(encoding="utf-8")
    names = {t.get("name") for f in figures(text).values() for t in f["data"]}
    assert names >= {"drift", "noise of one usual gap", "2 standard deviations", "x1"}


def test_inputs_are_held_and_no_forecast_is_made(tmp_path: Path) -> None:
    u = np.sin(np.arange(400) * STEP)
    x = ornstein_uhlenbeck(6, 400) + u
    driven = tk.NeuralSDE().fit(x, t=STEP, u=u)
    text = Tags(report.html(driven, tmp_path / "u.html").read_text(encoding="utf-8")).text
    assert "No forecast: it needs future values of u0" in text
    assert "u0 at their means" in text


def test_status_that_is_not_ok_shows_cause_and_remedy(sde: tk.NeuralSDE, tmp_path: Path) -> None:
    bad = copy.copy(sde)
    status = Status("jumps", "heavy tails", "jumps", "remove outliers", ok=False)
    bad.fit_ = replace(sde.fit_, status=status)
    text = report.html(bad, tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'class="status bad"' in text
    assert "What to do: remove outliers." in text


def test_a_diverged_fit_has_its_page(sde: tk.NeuralSDE, tmp_path: Path) -> None:
    bad = copy.copy(sde)
    values = np.full_like(sde.innovations_.values, np.nan)
    values[:5] = 0.5
    nothing = np.full(1, np.nan)
    bad.innovations_ = replace(
        sde.innovations_, values=values, correlation=nothing, kurtosis=nothing
    )
    bad.log_likelihood_ = float("nan")
    text = Tags(report.html(bad, tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "The likelihood is not finite (naive law: random walk" in text


def test_names_cannot_run_and_have_their_letters(sde: tk.NeuralSDE, tmp_path: Path) -> None:
    evil = renamed(sde, names=(EVIL + "気温",), time_name="</script><b>", clock=Clock("date"))
    text = report.html(evil, tmp_path / "evil.html").read_text(encoding="utf-8")
    assert EVIL not in text
    tags = Tags(text).found
    assert sum(tag == "script" for tag, _ in tags) == 3
    assert not any(tag in ("img", "b") for tag, _ in tags)
    assert "<script" not in json.dumps(figures(text))
    assert text.count("@font-face") == 1
    assert "Drift per day" in Tags(text).text


def test_what_has_no_page_says_so(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no report for int"):
        report.html(3, tmp_path / "r.html")
