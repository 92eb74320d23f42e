"""Pictures and pages: what they show, in any script, and that no name in the data can run."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from oscillator import Oscillator, turn

from tenkai import report
from tenkai.data import Clock
from tenkai.fields import MLP, NeuralField, Sum
from tenkai.records import Status
from tenkai.report.diagram import outline
from tenkai.report.findings import Dynamics, gather
from tenkai.report.flow import Plane
from tenkai.report.fonts import beyond_latin, font_face
from tenkai.report.verdict import Measured


class Tags(HTMLParser):
    """Start tags of a page with their attributes, and its visible text."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = report.html(Oscillator(), tmp_path_factory.mktemp("report") / "report.html")
    return path.read_text(encoding="utf-8")


def figures(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


# --- records as axes ---


def test_every_record_has_axes() -> None:
    ode = Oscillator()
    path, forecast = ode.reconstruct(), ode.forecast()[0]
    assert [line.get_label() for line in path.plot().lines] == ["x", "y"]
    assert len(forecast.plot().collections) == 2  # one band per variable
    assert ode.fit_.plot().get_yscale() == "log"
    assert "last value 1.3" in report.plot(ode.held_out_).get_title(loc="left")


def test_loss_runs_over_all_stages_and_marks_events() -> None:
    ax = Oscillator().fit_.plot()
    first, second = (line for line in ax.lines if line.get_label() in ("shooting", "series"))
    assert first.get_xdata()[-1] == second.get_xdata()[0] == 100
    assert [text.get_text() for text in ax.texts] == ["rollback"]


def test_axes_given_are_used() -> None:
    ax = Oscillator().fit_.plot()
    assert Oscillator().forecast()[0].plot(ax=ax) is ax


def test_what_has_no_picture_says_so() -> None:
    with pytest.raises(TypeError, match="no picture for int"):
        report.plot(3)


def test_plots_leave_global_state_alone() -> None:
    before = dict(matplotlib.rcParams)
    report.plot(Oscillator(names=("兎", "山猫")))
    assert dict(matplotlib.rcParams) == before


def test_an_estimator_is_recognised_by_what_it_can_do() -> None:
    assert isinstance(Oscillator(), Dynamics)
    axes = report.plot(Oscillator())
    assert [ax.get_ylabel() for ax in axes] == ["x (kg)", "y", "y"]


def test_japanese_labels_are_drawn_without_missing_glyphs() -> None:
    axes = report.plot(Oscillator(names=("野うさぎ", "山猫")))
    axes[0].figure.canvas.draw()  # a missing glyph is a warning, and a warning is an error


# --- the flow ---


def test_streamlets_follow_the_field() -> None:
    x, y = np.linspace(-2, 2, 9), np.linspace(-10, 10, 9)
    grid_x, grid_y = np.meshgrid(x, y)
    lines = Plane(("x", "y"), x, y, np.ones_like(grid_x), np.zeros_like(grid_y)).streamlets(0.5)
    assert len(lines) == 81
    shaft = lines[0][:9]
    np.testing.assert_allclose(shaft[:, 1], y[0])
    np.testing.assert_allclose(shaft[-1, 0] - shaft[0, 0], 0.5 * (x[1] - x[0]))


def test_streamlets_turn_with_a_rotation() -> None:
    axis = np.linspace(-1, 1, 21)
    x, y = np.meshgrid(axis, axis)
    for line in Plane(("x", "y"), axis, axis, y, -x).streamlets():
        shaft = line[:9]
        radius = np.linalg.norm(shaft, axis=1)
        if radius.min() > 0.3 and radius.max() < 0.9:
            cross = shaft[0, 0] * shaft[-1, 1] - shaft[0, 1] * shaft[-1, 0]
            assert cross < 0  # clockwise
            assert np.ptp(radius) < 0.01


def test_streamlets_skip_points_without_a_slope() -> None:
    axis = np.linspace(0, 1, 5)
    slope = np.ones((5, 5))
    slope[0, 0] = np.nan
    lines = Plane(("x", "y"), axis, axis, slope, slope).streamlets()
    assert 0 < len(lines) < 25
    assert np.isfinite(np.concatenate(lines)).all()


# --- findings ---


def test_residuals_are_observed_minus_learned() -> None:
    ode = Oscillator()
    shown = gather(ode).series[0]
    expected = ode.data_[0].x - turn(ode.start, ode.data_[0].t)
    np.testing.assert_allclose(shown.residuals, expected)
    assert np.isnan(shown.residuals[3, 0])


@pytest.mark.parametrize(
    ("inside", "points", "low", "high"), [(18, 20, 0.683, 0.988), (20, 20, 0.832, 1.0)]
)
def test_binomial_interval(inside: int, points: int, low: float, high: float) -> None:
    """The exact interval, as by R's binom.test."""
    got = Measured(inside, points, 0.9, "").interval()
    assert got == pytest.approx((low, high), abs=1e-3)


def test_verdict_compares_with_the_best_naive_forecast() -> None:
    forecast, intervals = report.verdict(Oscillator())
    assert "error 0.2 " in forecast.sentence
    assert "4.5 times better than the best naive forecast (mean, 0.9)" in forecast.sentence
    assert "17 of 20 left-out points (85%) inside the 90% interval" in intervals.sentence


def test_verdict_without_a_held_out_end_says_so() -> None:
    forecast, intervals = report.verdict(Oscillator(hold_out=False))
    assert "not measured" in forecast.sentence
    assert "not measured" in intervals.sentence


# --- diagrams ---


def test_diagram_counts_parameters_per_member() -> None:
    key = jax.random.key(0)
    one = NeuralField(2, key=key, width=8)
    text = report.diagram(one).svg
    numbers = 2 * 8 + 8 + 8 * 8 + 8 + 8 * 2 + 2
    assert f"{numbers} parameters" in text
    many = Oscillator().model_
    assert f"{numbers} parameters × 3 members" in report.diagram(many, members=3).svg


def test_diagram_of_a_sum_with_a_user_equation() -> None:
    class Growth(eqx.Module):
        rate: jax.Array
        table: jax.Array

        def __call__(self, t: Any, y: Any, u: Any = None) -> Any:
            return self.rate * y

    field = Sum(
        (Growth(jnp.asarray(0.25), jnp.ones((3, 2))), MLP((1, 4, 1), key=jax.random.key(1)))
    )
    box = outline(field, 1)
    assert box.joint == "+"
    assert [part.title for part in box.parts] == ["Growth", "MLP"]
    assert box.parts[0].lines == ("rate = 0.25", "table (3 × 2)")
    assert [part.title for part in box.parts[1].parts] == ["1 → 4", "4 → 1"]


def test_diagram_of_a_plain_function_is_its_name(tmp_path: Path) -> None:
    def decay(t: Any, y: Any, u: Any = None) -> Any:
        return -y

    picture = report.diagram(Sum((decay,)))
    assert picture.box.parts[0].title == "decay"
    picture.save(tmp_path / "net.svg")
    assert (tmp_path / "net.svg").read_text().startswith("<svg")


# --- the page ---


def test_page_is_one_file_that_asks_for_nothing(page: str) -> None:
    outside = [
        (tag, attrs)
        for tag, attrs in Tags(page).found
        if tag in ("link", "img", "iframe") or "src" in attrs or "href" in attrs
    ]
    assert outside == []
    assert page.count("plotly.js v") == 1
    assert "@font-face{font-family" not in page.split("</style>")[0]


@pytest.mark.parametrize(
    "words",
    [
        "A differential equation for x and y",
        "Converged after 300 steps.",
        "4.5 times better",
        "17 of 20",
        "This is an ODE.",
        "Phase portrait",
        "Residuals",
        "Coverage of the intervals",
        "95% binomial interval",
        "Training",
        "Network",
        "Settings",
        "smoother",
    ],
)
def test_page_says(page: str, words: str) -> None:
    assert words in Tags(page).text


def test_figures_hold_data_fit_and_forecast(page: str) -> None:
    first = figures(page)["figure-1"]
    by_name = {trace["name"]: trace for trace in first["data"] if "name" in trace}
    assert set(by_name) >= {"learned", "forecast", "observed"}
    assert by_name["observed"]["y"][3] is None
    assert len(by_name["observed"]["x"]) == 40


def test_status_that_is_not_ok_shows_cause_and_remedy(tmp_path: Path) -> None:
    status = Status(
        "stalled", "The loss stopped falling.", "rate too high", "use more steps", ok=False
    )
    text = report.html(Oscillator(status=status), tmp_path / "r.html").read_text()
    assert 'class="status bad"' in text
    assert "Cause: rate too high." in text
    assert "What to do: use more steps." in text


EVIL = "<script>alert(1)</script>"


def test_names_cannot_run(tmp_path: Path, page: str) -> None:
    ode = Oscillator(
        names=(EVIL, "\"'><img src=x onerror=alert(2)>"), ids=(EVIL, "</script><b>"), notes=(EVIL,)
    )
    text = report.html(ode, tmp_path / "evil.html", title=EVIL).read_text(encoding="utf-8")
    assert EVIL not in text
    count = lambda page: sum(tag == "script" for tag, _ in Tags(page).found)  # noqa: E731
    assert count(text) == count(page) == 3
    tags = Tags(text).found
    assert not any(name.startswith("on") for _, attrs in tags for name in attrs)
    assert not any(tag in ("img", "b") for tag, _ in tags)
    labels = json.dumps(figures(text))
    assert "<script" not in labels  # plotly reads a subset of HTML in labels: they are escaped too
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in labels


def test_japanese_page_carries_its_letters(tmp_path: Path) -> None:
    text = report.html(Oscillator(names=("野うさぎ", "山猫")), tmp_path / "ja.html").read_text(
        encoding="utf-8"
    )
    assert text.count("@font-face") == 1
    assert "野うさぎ" in Tags(text).text


def test_only_the_letters_in_use_are_embedded() -> None:
    assert font_face("Hare α ± → 90 %") == ""
    assert beyond_latin("野うさぎ ab 野") == "うぎさ野"
    assert len(font_face("野うさぎ")) < 12_000


def test_dates_stay_dates(tmp_path: Path) -> None:
    text = report.html(Oscillator(clock=Clock("date")), tmp_path / "d.html").read_text()
    assert "1970-01-01 to 1970-01-13" in Tags(text).text
    assert figures(text)["figure-1"]["data"][1]["x"][0] == "1970-01-01T00:00:00"


def test_many_series_show_the_first_few(tmp_path: Path) -> None:
    ode = Oscillator(ids=tuple(f"s{i}" for i in range(9)))
    text = report.html(ode, tmp_path / "many.html").read_text()
    assert "The first 6 of 9 series are shown." in text
    assert "learned from 9 series" in text


def test_page_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    report.html(Oscillator(), path)
    assert path.read_text().startswith("<!doctype html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
