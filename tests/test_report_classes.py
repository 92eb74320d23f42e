"""Pages of classifiers by depth, and that what they show is true."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from plotly.offline import get_plotlyjs
from test_report import EVIL, Tags, figures

import tenkai as tk
from tenkai import InputError, report
from tenkai.estimators.ode_classifier_judgement import HeldOutAccuracy
from tenkai.records import Fit, Status
from tenkai.report.classes_figures import drawable
from tenkai.report.classes_findings import DEPTHS, MISTAKES, ClassFindings, shade
from tenkai.report.classes_verdict import accuracy_of, depth_of
from tenkai.report.findings import gather

HELD = HeldOutAccuracy(
    200, 0.9, 0.3, {"most frequent class": 0.5, "logistic regression": 0.7}, 0.01, 31.0
)


def history() -> list[dict[str, Any]]:
    return [
        {"step": 10 * k, "stage": "cross-entropy", "loss": 2.0 / 3**k, "validation": 2.2 / 3**k,
         "nfe_forward": 8.0 + k, "nfe_backward": 8.0}
        for k in range(1, 8)
    ]  # fmt: skip


@dataclass
class Brightness:
    """A fitted `ODEClassifier` that says class `k` where the mean is `k`, from outside."""

    classes: int = 3
    shape_: tuple[int, ...] = (6, 5, 1)
    names: tuple[str, ...] = ()
    wrong: int = 5
    rows: int = 60
    held_out_: Any = HELD
    data: np.dtype = field(default_factory=lambda: np.dtype(np.uint8))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        self.classes_ = np.array(self.names or [f"c{k}" for k in range(self.classes)])
        said = np.arange(self.rows) % self.classes
        self.shown_ = np.clip(rng.normal(20, 4, (self.rows, *self.shape_)), 0, 40)
        self.shown_ = (self.shown_ + 60 * said.reshape(-1, *[1] * len(self.shape_))).astype(
            self.data
        )
        self.shown_classes_ = said.copy()
        self.shown_classes_[: self.wrong] = (said[: self.wrong] + 1) % self.classes
        status = Status("finished", "Trained 70 steps, accuracy 90%")
        self.fit_ = Fit(None, status, history(), 2.0, 70)
        self.model_ = SimpleNamespace(body=None)
        self.parameters_, self.seed = 1234, 0

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"width": "auto"}

    def predict_proba(self, X: Any) -> np.ndarray:
        bright = np.asarray(X, float).reshape(len(X), -1).mean(1)
        far = np.abs(bright[:, None] - 20 - 60 * np.arange(self.classes))
        power = np.exp(-far / 10)
        return power / power.sum(1, keepdims=True)

    def hidden(self, X: Any, depths: Any = 1.0) -> np.ndarray:
        flat = np.asarray(X, float)
        if len(self.shape_) == 3:
            flat = np.concatenate([flat, -flat], -1)
        return np.stack([flat * (1 + d) for d in depths])

    def nfe(self, X: Any) -> np.ndarray:
        return 20.0 + np.arange(len(X)) % 7

    def with_tolerance(self, rtol: float) -> Any:
        return self

    def accuracy_by_tolerance(self, X: Any, y: Any, rtols: Any = (1e-1, 1e-3)) -> list[dict]:
        share = float(np.mean(self.classes_[self.predict_proba(X).argmax(1)] == y))
        return [
            {"rtol": r, "accuracy": share, "nfe": -5 * np.log10(r), "seconds": 0.1, "error": r}
            for r in rtols
        ]


@pytest.fixture(autouse=True)
def _solved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stub's body counts as solved; real ones are asked."""
    from tenkai.classifiers import evaluation

    real = evaluation.is_solved
    monkeypatch.setattr(
        evaluation, "is_solved", lambda m: isinstance(m, SimpleNamespace) or real(m)
    )


def page(found: Any, tmp_path: Path, **options: Any) -> str:
    return report.html(found, tmp_path / "report.html", **options).read_text(encoding="utf-8")


# --- what is found ---


def test_mistakes_are_the_surest_first() -> None:
    stub = Brightness(wrong=12)
    found = gather(stub)
    chance = stub.predict_proba(stub.shown_)
    wrong = np.flatnonzero(chance.argmax(1) != stub.shown_classes_)
    assert len(found.mistakes) == len(wrong) == 12
    sure = [m.sure for m in found.mistakes]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] == pytest.approx(chance[wrong].max())
    for m in found.mistakes:
        assert m.true != m.said and m.left < m.sure
        assert 0 <= m.image.min() <= m.image.max() <= 1
    assert len(gather(Brightness(wrong=50)).mistakes) == MISTAKES
    assert gather(Brightness(wrong=0)).mistakes == ()
    assert gather(Brightness(shape_=(4,), data=np.dtype(float))).mistakes == ()  # no images


def test_confusion_is_of_the_kept_rows() -> None:
    stub = Brightness(wrong=7)
    c = gather(stub).confusion
    assert c is not None
    assert c.right == stub.rows - 7
    assert c.counts.sum() == stub.rows
    assert (c.counts.sum(1) == np.bincount(stub.shown_classes_)).all()


def test_rows_that_are_passed_are_judged_instead() -> None:
    stub = Brightness(wrong=0)
    x, y = stub.shown_[:10], stub.classes_[stub.shown_classes_[:10]]
    y = y.copy()
    y[0] = "c2"
    found = gather(stub, (x, y))
    assert found.judged == (9, 10)
    assert found.rows == "the rows that were passed"
    with pytest.raises(InputError, match="'other'"):
        gather(stub, (x, ["other"] * 10))
    with pytest.raises(InputError, match="10 rows, 3 classes"):
        gather(stub, (x, y[:3]))


def test_hidden_states_of_images_are_means_over_pixels() -> None:
    stub = Brightness()
    h = gather(stub).hidden
    assert h is not None
    assert h.points.shape == (len(DEPTHS), stub.rows, 2)
    assert h.share == pytest.approx(1)  # the second channel is minus the first
    bright = stub.shown_.reshape(stub.rows, -1).mean(1)
    for depth, points in zip(h.depths, h.points, strict=True):
        apart = np.abs(points[:, 0] - points[0, 0])
        np.testing.assert_allclose(apart, np.sqrt(2) * (1 + depth) * np.abs(bright - bright[0]))


def test_twelve_classes_have_colours_of_their_own() -> None:
    assert len({shade(k) for k in range(12)}) == 12


def test_drawable_is_grey_or_coloured() -> None:
    assert drawable(np.zeros((4, 5, 1))).shape == (4, 5)
    assert drawable(np.zeros((4, 5, 3))).shape == (4, 5, 3)
    assert drawable(np.full((4, 5, 2), 2.0)).max() == 1  # bounded


# --- words ---


def test_verdict_of_a_classifier() -> None:
    first, second = report.verdict(Brightness())
    assert first.value == "90.0%"
    assert "20.0 points above logistic regression (70.0%)" in first.sentence
    assert second.value == "an ODE" and "31 evaluations" in second.sentence
    assert "not clearly different" in accuracy_of(replace(HELD, accuracy=0.71)).sentence
    assert "30.0 points below" in accuracy_of(replace(HELD, accuracy=0.4)).sentence
    changed = depth_of(replace(HELD, changed=0.2))
    assert changed is not None and changed.value == "depends on its grid"
    assert report.verdict(Brightness(held_out_=None))[0].value == "not measured"
    layers = report.verdict(Brightness(held_out_=replace(HELD, changed=None)))[1]
    assert layers.value == "a stack of layers"


# --- the page ---


def test_page_of_images(tmp_path: Path) -> None:
    text = page(Brightness(), tmp_path)
    said = Tags(text).text
    for words in (
        "A classifier of images into 3 classes", "1,234 learned numbers", "Held-out accuracy",
        "logistic regression", "Confusion", "55 of 60 right", "Worst mistakes", "The surest of 5",
        "Hidden states by depth", "Accuracy against tolerance", "from 20 to 26 evaluations",
        "Training", "Settings",
    ):  # fmt: skip
        assert words in said, words
    images = [attrs["src"] for tag, attrs in Tags(text).found if tag == "img"]
    assert len(images) == 5
    for source in images:
        assert source is not None and source.startswith("data:image/png;base64,")
        drawn = imread(io.BytesIO(base64.b64decode(source.split(",")[1])), format="png")
        assert drawn.shape[:2] == (6, 5)
    matrix = next(f for f in figures(text).values() if f["data"][0]["type"] == "heatmap")
    np.testing.assert_allclose(np.sum(matrix["data"][0]["z"], axis=1), 1, atol=1e-6)
    assert sum(int(n["text"]) for n in matrix["layout"]["annotations"]) == 60


def test_page_of_a_table_of_many_classes(tmp_path: Path) -> None:
    stub = Brightness(classes=40, shape_=(4,), rows=400, wrong=90, data=np.dtype(float))
    text = page(stub, tmp_path)
    said = Tags(text).text
    assert "rows of 4 variables" in said
    assert "taken for" in said  # a table, as no matrix of forty could be read
    assert "Worst mistakes" not in said
    assert not any(f["data"][0]["type"] == "heatmap" for f in figures(text).values())


def test_page_leaves_out_what_there_is_not(tmp_path: Path) -> None:
    text = page(Brightness(held_out_=None, wrong=0), tmp_path)
    said = Tags(text).text
    assert "Worst mistakes" not in said and "Held-out accuracy" not in said
    assert "of rows that trained" in said


def test_labels_cannot_run(tmp_path: Path) -> None:
    stub = Brightness(names=(EVIL, "外側", "\"'><img src=x onerror=alert(2)>"))
    text = page(stub, tmp_path)
    assert EVIL not in text
    tags = Tags(text).found
    assert sum(tag == "script" for tag, _ in tags) == 3
    assert not any(name.startswith("on") for _, attrs in tags for name in attrs)
    assert all((a["src"] or "").startswith("data:image/png") for tag, a in tags if tag == "img")
    assert text.count("@font-face") == 1


def test_large_images_make_a_small_page(tmp_path: Path) -> None:
    stub = Brightness(shape_=(64, 64, 3), rows=300, wrong=100)
    text = page(stub, tmp_path)
    assert len(text.encode()) - len(get_plotlyjs().encode()) < 2_000_000


# --- a real one ---


@pytest.fixture(scope="module")
def classifier() -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    return tk.ODEClassifier(steps=30, width=8, held_out=0.3).fit(x, np.hypot(*x.T) < 1)


def test_page_of_a_trained_classifier(classifier: Any, tmp_path: Path) -> None:
    found = gather(classifier)
    assert type(found) is ClassFindings
    assert found.confusion is not None
    rows = classifier.held_out_.rows
    assert found.confusion.right == round(classifier.held_out_.accuracy * rows)
    assert len(found.tolerances) == 4
    said = Tags(page(classifier, tmp_path)).text
    assert "False" in str(found.classes) and "Accuracy against tolerance" in said


def test_picture_of_a_trained_classifier(classifier: Any) -> None:
    axes = classifier.plot()
    assert len(axes) > 2
    axes[0].figure.canvas.draw()
