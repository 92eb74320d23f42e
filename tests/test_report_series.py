"""Pages and pictures of models of many series, and that what they show is true."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs
from test_report import EVIL, Tags, figures

import tenkai as tk
from tenkai import report
from tenkai.data import Clock, Trajectories
from tenkai.records import Coverage, Fit, Forecast, Path, Status
from tenkai.report import series_verdict
from tenkai.report.classes_findings import Confusion, plane_of
from tenkai.report.findings import gather
from tenkai.report.series_findings import SHOWN, spaced
from tenkai.report.series_latent import LatentFindings, middle
from tenkai.report.series_recurrent import RecurrentFindings
from tenkai.sequences.held_out import Errors, Scores

SD = 0.25
ERRORS = Errors(0.2, {"mean": 1.0, "last value": 0.8}, 100, Coverage(88, 100, 0.9))
KINDS = {"between": ERRORS, "after": ERRORS, "before": replace(ERRORS, error=0.9)}
HELD = Scores(3, KINDS, {}, 0.9, 0.5, 0.95)


def history(steps: int = 5) -> list[dict[str, Any]]:
    return [
        {"step": 100 * k, "stage": "elbo", "loss": 2.0 - k, "validation": 1.0 / k,
         "nfe_forward": 0.0, "nfe_backward": 0.0}
        for k in range(1, steps + 1)
    ]  # fmt: skip


@dataclass
class Circles:
    """A fitted `LatentODE` of circles whose phases it knows, as it looks from outside."""

    count: int = 40
    dim: int = 2
    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ("left", "right")
    off: float = 0.0  # what it says beyond the truth, times the series' number over their count
    held_out: float = 0.5
    held_out_: Any = HELD
    clock: Any = None
    seed: int = 0
    precision: str = "float32"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        times = [np.sort(rng.uniform(0, 6, rng.integers(15, 30))) for _ in range(self.count)]
        self.ids = self.ids or tuple(f"s{i}" for i in range(self.count))
        self.number = {name: i for i, name in enumerate(self.ids)}
        values = [self.truth(i, t) for t, i in zip(times, self.ids, strict=True)]
        for x in values:
            x[rng.random(x.shape) < 0.1] = np.nan
        names = self.names or tuple(f"x{j}" for j in range(self.dim))
        data = Trajectories.from_arrays(values, times, names=names, ids=list(self.ids))
        self.data_ = data if self.clock is None else replace(data, clock=self.clock)
        self.classes_ = np.array(self.labels) if self.labels else None
        self.labels_ = np.arange(self.count) % 2 if self.labels else None
        status = Status("converged", "Trained 500 steps", notes=self.notes)
        self.fit_ = Fit(None, status, history(), 3.0, 500)
        self.model_, self.seconds_ = SimpleNamespace(field=lambda t, y: y), 3.0

    def truth(self, name: str, t: np.ndarray) -> np.ndarray:
        phase = self.number[name] + np.arange(self.dim) * np.pi / 2
        return np.cos(np.asarray(t, float)[:, None] + phase)

    def get_params(self) -> dict[str, Any]:
        return {"latent": 3, "noise": None}

    def forecast(self, horizon: Any = None, *, times: Any, data: Any, coverage: float = 0.9) -> Any:
        made = []
        for s in data:
            at = self.data_.clock.encode(times[s.id])
            mean = self.truth(s.id, at) + self.off * self.number[s.id] / self.count
            made.append(Forecast(np.asarray(times[s.id]), mean, mean - SD, mean + SD, coverage,
                                 data.names, s.id))  # fmt: skip
        return made[0] if len(made) == 1 else made

    def reconstruct(self, *args: Any, **options: Any) -> Any: ...

    def score(self, data: Any = None) -> float:
        return 1.0

    def predict_proba(self, data: Any = None) -> np.ndarray:
        right = np.array([self.number[s.id] % 2 for s in data])
        return np.eye(2)[right]

    def encode(self, data: Any = None, t: Any = None) -> Any:
        z = np.stack([self.state(s.id, np.zeros(1))[0] for s in data])
        sd = np.broadcast_to([1.0, 0.1, 1.0], z.shape)
        return SimpleNamespace(mean=z, sd=sd)

    def state(self, name: str, t: np.ndarray) -> np.ndarray:
        phase = np.asarray(t, float) + self.number[name]
        return np.stack([0 * phase, np.cos(phase), np.sin(phase)], 1)

    def latent_path(self, times: Any = None, *, data: Any = None) -> Any:
        made = [
            Path(np.asarray(times[s.id]), self.state(s.id, self.data_.clock.encode(times[s.id])))
            for s in data
        ]
        return made[0] if len(made) == 1 else made


def page(found: Any, tmp_path: FilePath, **options: Any) -> str:
    return report.html(found, tmp_path / "report.html", **options).read_text(encoding="utf-8")


# --- what is chosen, and how it is judged ---


def test_spaced_runs_from_the_best_to_the_worst() -> None:
    errors = np.random.default_rng(0).uniform(size=101)
    errors[7] = np.nan
    picked = spaced(errors)
    assert len(picked) == SHOWN
    known = np.delete(errors, 7)
    assert errors[picked[0][0]] == known.min() and errors[picked[-1][0]] == known.max()
    for i, rank in picked:
        assert rank is not None
        assert np.mean(known < errors[i]) == pytest.approx(rank, abs=0.011)
    assert spaced(errors[:4]) == [(i, None) for i in range(4)]


def test_the_middle_is_given() -> None:
    data = Circles().data_
    for s in data:
        kept = middle(s)
        if kept.all():
            continue
        seen = s.t[s.observed.any(1)]
        share = (s.t - seen[0]) / (seen[-1] - seen[0])
        assert ((share >= 0.2) & (share <= 0.7) == kept).all()
    short = replace(data[0], t=data[0].t[:3], x=data[0].x[:3])
    assert middle(short).all()  # too little would be left


def test_errors_are_of_what_was_hidden() -> None:
    found = gather(Circles(off=2.0))
    data = Circles().data_
    sd = np.nanstd(np.concatenate([s.x for s in data]), axis=0)
    for s in found.series:
        shift = 2.0 * int(s.id[1:]) / 40
        miss = np.where(np.isfinite(s.observed) & ~s.given[:, None], shift / sd, np.nan)
        assert s.error == pytest.approx(np.sqrt(np.nanmean(miss**2)))
    assert found.distances is not None
    assert (np.diff(found.distances.distance) > 0).all()
    assert found.distances.distance[0] < 0 < found.distances.distance[-1]
    assert "6 of 20 held-out series (of 40 series)" in found.how


def test_a_model_that_knows_the_truth_has_no_error_at_any_distance() -> None:
    d = gather(Circles()).distances
    assert d is not None
    np.testing.assert_allclose(d.error, 0, atol=1e-12)
    near = np.abs(d.distance).argmin()
    assert d.naive[near] < d.naive[[0, -1]].max()


def test_series_given_whole_are_continued_on_both_sides() -> None:
    found = gather(Circles(count=3, held_out=0.0, held_out_=None))
    assert found.distances is None
    for s in found.series:
        assert s.given.all() and len(s.outside) == 2
        before, after = s.outside
        assert before.time[0] < s.time[0] and after.time[-1] > s.time[-1]
        assert before.time[-1] == s.path.time[0] and after.time[0] == s.path.time[-1]


def test_hidden_plane_keeps_lengths_and_finds_unused_dimensions() -> None:
    h = gather(Circles()).hidden
    assert h.share == pytest.approx(1.0)
    radius = np.linalg.norm(h.paths - h.paths.reshape(-1, 2).mean(0), axis=-1)
    np.testing.assert_allclose(radius, radius.mean(), rtol=0.1)
    assert h.nats[0] == pytest.approx(0.0)  # the prior: mean 0, sd 1
    assert h.nats[1] > 1
    assert not h.predicted
    stub = Circles()
    del stub.labels_
    assert gather(stub).hidden.predicted


def test_plane_of_keeps_distances_of_what_is_flat() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(50, 2)) @ np.linalg.qr(rng.normal(size=(5, 5)))[0][:2]
    plane = plane_of(flat)
    assert plane.share == pytest.approx(1)
    apart = np.linalg.norm(flat[:, None] - flat, axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(plane.points[:, None] - plane.points, axis=-1), apart, atol=1e-9
    )
    assert plane_of(flat[:, :1]).points.shape == (50, 2)  # of one dimension the other is zero


# --- words ---


def test_verdict_of_a_latent_model() -> None:
    first, second = report.verdict(Circles())
    assert first.label == "Error after what was seen"
    assert first.value == "0.2 vs 0.8"
    assert "error 0.2 standard deviations at 100 hidden" in first.sentence
    assert "4.0 times better than the best naive answer (last value, 0.8)" in first.sentence
    assert second.value == "88%" and "264 of 300 hidden observations" in second.sentence
    worse = series_verdict.error_of(HELD, "before")
    assert "no better than" in worse.sentence
    nothing = report.verdict(Circles(held_out_=None))
    assert [v.value for v in nothing] == ["not measured"] * 2


def test_confusion_counts_and_names_what_is_mistaken() -> None:
    c = Confusion.of(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2]), ["a", "b", "c"])
    assert c is not None
    assert c.counts.tolist() == [[1, 2, 0], [1, 1, 0], [0, 0, 1]]
    assert c.right == 3
    np.testing.assert_allclose(c.shares.sum(1), 1)
    assert c.pairs(5) == [("a", "b", 2, 3), ("b", "a", 1, 2)]
    assert Confusion.of(np.empty(0, int), np.empty(0, int), ["a"]) is None


# --- the page of a latent model ---


def test_page_of_a_latent_model(tmp_path: FilePath) -> None:
    text = page(Circles(), tmp_path)
    said = Tags(text).text
    for words in (
        "A latent differential equation for x0 and x1", "learned from 40 series",
        "rings are observations that were hidden", "Held-out series", "88.0% (80% to 94%)",
        "Hidden states", "100% of the variance", "coloured by class", "Classes", "20 of 20 right",
        "Training", "Settings",
    ):  # fmt: skip
        assert words in said, words
    drawn = figures(text)
    courses = next(f for f in drawn.values() if len(f["layout"].get("annotations", [])) == 12)
    names = {t.get("name") for t in courses["data"]}
    assert {"given what was seen", "beyond it", "observed"} <= names
    # a path is the truth: every drawn point lies on a circle
    plane = figures(text)["figure-1"]["data"][0]
    np.testing.assert_allclose(np.hypot(plane["x"], plane["y"]), 1, atol=1e-5)


def test_page_without_labels_colours_by_time(tmp_path: FilePath) -> None:
    text = page(Circles(labels=(), held_out_=replace(HELD, accuracy=None)), tmp_path)
    assert "coloured by time" in Tags(text).text
    assert "<h2>Classes" not in text
    drawn = figures(text).values()
    assert any("colorscale" in t.get("marker", {}) for f in drawn for t in f["data"])


def test_forecasts_that_are_passed_are_shown(tmp_path: FilePath) -> None:
    stub = Circles(dim=1)
    when = np.linspace(50.0, 60.0, 7)
    value = np.full((7, 1), 3.25)
    made = Forecast(when, value, value - 1, value + 1, 0.5, ("x0",), "s4")
    found = gather(stub, made)
    assert [s.id for s in found.series] == ["s4"]
    assert found.series[0].given.all()
    text = page(stub, tmp_path, forecasts=made, coverage=0.5)
    assert "50% intervals" in Tags(text).text
    shown = [t for f in figures(text).values() for t in f["data"] if 3.25 in (t.get("y") or [])]
    assert shown and max(shown[0]["x"]) == 60


@pytest.mark.parametrize("dim", [1, 5])
def test_thousands_of_series_make_a_small_page(tmp_path: FilePath, dim: int) -> None:
    text = page(Circles(count=2000, dim=dim), tmp_path)
    assert len(text.encode()) - len(get_plotlyjs().encode()) < 1_500_000
    assert "6 of 300 held-out series (of 2,000 series)" in Tags(text).text
    assert ("The 3 of 5 variables" in Tags(text).text) == (dim == 5)


def test_names_labels_and_ids_cannot_run(tmp_path: FilePath) -> None:
    stub = Circles(
        count=8, held_out=0.0, names=(EVIL, "気温"), ids=(EVIL, *map(str, range(7))),
        labels=(EVIL, "右"), notes=(EVIL,),
    )  # fmt: skip
    text = page(stub, tmp_path, title=EVIL)
    assert EVIL not in text
    assert sum(tag == "script" for tag, _ in Tags(text).found) == 3
    assert "&lt;script&gt;" in str(figures(text))
    assert text.count("@font-face") == 1  # the letters of the Japanese names
    report.plot(stub)[0].figure.canvas.draw()  # a missing glyph is a warning, and so an error


def test_dates_stay_dates(tmp_path: FilePath) -> None:
    text = page(Circles(clock=Clock("date"), dim=1), tmp_path)
    assert re.match(r"1970-01-0\dT", figures(text)["figure-1"]["data"][0]["x"][0])
    report.plot(Circles(clock=Clock("date"), dim=1))[0].figure.canvas.draw()


def test_one_series_of_one_variable(tmp_path: FilePath) -> None:
    stub = Circles(count=1, dim=1, labels=(), held_out=0.0, held_out_=None)
    assert "learned from one series" in Tags(page(stub, tmp_path)).text
    assert len(report.plot(stub)) == 4


def test_a_path_that_ran_away_is_drawn_within_limits(tmp_path: FilePath) -> None:
    class Away(Circles):
        def forecast(self, *args: Any, **options: Any) -> Any:
            made = super().forecast(*args, **options)
            return [replace(f, lower=f.lower - 1e6, upper=f.upper + 1e6) for f in made]

        def latent_path(self, *args: Any, **options: Any) -> Any:
            made = super().latent_path(*args, **options)
            made[0].values[-1] = np.inf
            return made

    text = page(Away(), tmp_path)
    layout = figures(text)["figure-2"]["layout"]
    low, high = layout["yaxis"]["range"]
    assert -5 < low < high < 5


# --- pictures of a latent model ---


def test_picture_of_a_latent_model() -> None:
    axes = report.plot(Circles(off=1.0))
    assert len(axes) == SHOWN + 3
    line = axes[0].lines[0].get_xydata()
    assert np.ptp(np.hypot(*(line - line.mean(0)).T)) < 2
    assert [ax.get_title(loc="left") for ax in axes[-3:]] == [
        "Hidden paths", "Posteriors of the beginning", "Error (sd)",
    ]  # fmt: skip
    assert "worst" in axes[5].get_title(loc="left")


# --- recurrent models ---


@pytest.fixture(scope="module")
def rnn() -> Any:
    rng = np.random.default_rng(0)
    t = [np.sort(rng.uniform(0, 6, rng.integers(6, 20))) for _ in range(60)]
    x = [np.sin(one[:, None] + rng.uniform(0, 6)) + 0.1 * rng.normal(size=(len(one), 1))
         for one in t]  # fmt: skip
    x[3][2] = np.nan
    labels = [EVIL if i % 2 else "右" for i in range(60)]
    return tk.ODERNN(hidden=4, width=8, steps=60, seed=1).fit(x, t, labels=labels)


def test_pages_tell_estimators_apart(rnn: Any) -> None:
    assert type(gather(rnn)) is RecurrentFindings
    assert type(gather(Circles())) is LatentFindings


def test_calibration_agrees_with_the_measured_coverage(rnn: Any) -> None:
    found, held = gather(rnn), rnn.held_out_
    assert len(found.transform) == held.points
    assert ((found.transform >= 0) & (found.transform <= 1)).all()
    nominal, share = found.covered()
    at = np.flatnonzero(np.isclose(nominal, held.nominal))[0]
    assert share[at] == pytest.approx(held.inside / held.points)


def test_shown_paths_are_the_estimator_s_own(rnn: Any) -> None:
    shown = gather(rnn).series[2]
    own = rnn.reconstruct(data=replace(rnn.data_, series=(rnn.data_[shown.id],)))
    at = np.searchsorted(shown.path.time, shown.time)
    np.testing.assert_allclose(shown.path.mean[at], own.values, atol=1e-4)
    np.testing.assert_allclose(shown.path.upper[at], own.upper, atol=1e-4)
    miss = (own.values - shown.observed) / rnn.reader_.units.state.scale
    assert shown.error == pytest.approx(np.sqrt(np.nanmean(miss**2)), rel=1e-3)


def test_page_of_a_recurrent_model(rnn: Any, tmp_path: FilePath) -> None:
    text = page(rnn, tmp_path)
    said = Tags(text).text
    for words in (
        "A recurrent model of x0", "Log density", "Calibration", "Beside simple forecasts",
        "constant mean", "Classes", "Dashed: forecast by draws", "of the packed slots held data",
    ):  # fmt: skip
        assert words in said, words
    assert EVIL not in text
    bars = next(f for f in figures(text).values() if f["data"][0]["type"] == "bar")["data"][0]
    assert np.mean(bars["y"]) == pytest.approx(1)
    first, second = report.verdict(rnn)
    assert first.label == "Log density" and second.label == "Intervals"


def test_picture_of_a_recurrent_model(rnn: Any) -> None:
    axes = report.plot(rnn)
    assert len(axes) == SHOWN + 3
    area = sum(p.get_height() * p.get_width() for p in axes[-3].patches if p.get_width() < 0.9)
    assert area == pytest.approx(1)
    axes[0].figure.canvas.draw()


def test_forecasts_of_a_recurrent_model_are_shown(rnn: Any, tmp_path: FilePath) -> None:
    made = rnn.forecast(2.0, data=replace(rnn.data_, series=(rnn.data_[5],)))
    found = gather(rnn, made)
    assert [s.id for s in found.series] == ["5"]
    np.testing.assert_array_equal(found.series[0].outside[0].mean, made.mean)
    assert "All 1 series" in found.how
