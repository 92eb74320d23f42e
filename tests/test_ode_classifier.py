"""`ODEClassifier`: scikit-learn's checks, images, tolerances, saving, bad input."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

import tenkai as tk
from tenkai import InputError
from tenkai.classifiers import ODE, Augmentation, LinearStem, PaperStem, Residual, RungeKutta
from tenkai.estimators.ode_classifier_judgement import HeldOutAccuracy, status_of
from tenkai.records import Status
from tenkai.reproduce import Task, odenet_figures, odenet_mnist

QUICK: dict[str, Any] = {"width": 8, "steps": 60}


def rings(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows on different scales; inside a circle or out of it."""
    x = np.random.default_rng(seed).normal(size=(n, 2))
    return x * [1.0, 1000.0] + 5.0, np.where(np.hypot(*x.T) < 1.1, "inside", "outside")


def bars(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images with a bright line that lies or stands."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 60, (n, 8, 8)).astype(np.uint8)
    y = random.integers(0, 2, n)
    for image, stands, place in zip(x, y, random.integers(1, 7, n), strict=True):
        image[:, place] += np.uint8(150 * stands)
        image[place] += np.uint8(150 * (1 - stands))
    return x, y


@pytest.fixture(scope="module")
def table() -> tk.ODEClassifier:
    return tk.ODEClassifier(steps=200).fit(*rings())


@pytest.fixture(scope="module")
def pictures() -> tk.ODEClassifier:
    return tk.ODEClassifier(ODE(steps=1), width=8, steps=40, batch=32).fit(*bars())


# --- scikit-learn ---


@pytest.mark.slow
def test_scikit_learn_is_content() -> None:
    results = check_estimator(tk.ODEClassifier(**QUICK))
    assert all(r["status"] in ("passed", "skipped") for r in results)


def test_one_row_answers_as_among_others(table: tk.ODEClassifier) -> None:
    x, _ = rings()
    whole, order = table.predict_proba(x), np.random.default_rng(0).permutation(200)
    np.testing.assert_allclose(table.predict_proba(x[:1]), whole[:1], atol=1e-12)
    np.testing.assert_allclose(table.predict_proba(x[order]), whole[order], atol=1e-12)


def test_parameters_clone_and_print() -> None:
    made = clone(tk.ODEClassifier(RungeKutta(steps=3), smoothing=0.1))
    assert made.get_params()["body"] == RungeKutta(steps=3)
    assert repr(made) == "ODEClassifier(body=RungeKutta(steps=3), smoothing=0.1)"


# --- tables ---


def test_learns_what_a_line_cannot(table: tk.ODEClassifier) -> None:
    x, y = rings(400, seed=1)
    assert table.score(x, y) > 0.9
    assert set(table.predict(x)) == {"inside", "outside"}
    probabilities = table.predict_proba(x)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    assert (table.classes_[probabilities.argmax(1)] == table.predict(x)).all()
    assert ((table.decision_function(x) > 0) == (table.predict(x) == "outside")).all()
    held = table.held_out_
    assert held is not None and held.accuracy > held.baselines["logistic regression"]
    assert {"most frequent class", "logistic regression"} == set(held.baselines)
    assert table.fit_.status.ok and "held-out rows" in str(table.fit_.status)
    assert "log loss" in table.summary() and table.precision_ == "float64"


def test_history_tells_evaluations_both_ways(table: tk.ODEClassifier) -> None:
    assert all(h["nfe_forward"] == h["nfe_backward"] == 8 for h in table.fit_.history)


def test_another_solver_after_training(table: tk.ODEClassifier) -> None:
    x, y = rings()
    tight = table.with_tolerance(1e-8)
    assert tight.score(x, y) == pytest.approx(table.score(x, y), abs=0.03)
    assert table.rtol_ is None and tight.rtol_ == 1e-8
    assert (tight.nfe(x) > table.nfe(x, rtol=1e-2)).all()
    rows = table.accuracy_by_tolerance(x, y, [1e-2, 1e-4, 1e-6])
    assert [r["rtol"] for r in rows] == [1e-2, 1e-4, 1e-6]
    assert rows[0]["nfe"] < rows[1]["nfe"] < rows[2]["nfe"]
    assert rows[0]["error"] > rows[1]["error"] > rows[2]["error"]
    assert all(r["seconds"] > 0 for r in rows)


def test_the_hidden_state_at_any_depth(table: tk.ODEClassifier) -> None:
    x, _ = rings(7)
    found = table.hidden(x, [0.0, 0.4, 1.0])
    assert found.shape == (3, 7, 32)
    head = table.model_.head
    logits = found[2] @ np.asarray(head.weight, float).T + np.asarray(head.bias, float)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], table.decision_function(x), atol=1e-9)
    np.testing.assert_allclose(table.hidden(x)[0], found[2], atol=1e-12)


def test_a_data_frame_keeps_its_names() -> None:
    x, y = rings(60)
    frame = pd.DataFrame(x, columns=["a", "b"])
    made = tk.ODEClassifier(Residual(2), **QUICK).fit(frame, y)
    assert list(made.feature_names_in_) == ["a", "b"]
    assert (made.nfe(frame) == 2).all()
    with pytest.raises(ValueError, match="feature names"):
        made.predict(frame[["b", "a"]])
    with pytest.raises(InputError, match="column 'b'"):
        made.predict(frame.assign(b=np.nan))


# --- images ---


def test_images_are_recognised(pictures: tk.ODEClassifier) -> None:
    x, y = bars(64, seed=1)
    assert pictures.score(x, y) > 0.9
    assert pictures.shape_ == (8, 8, 1) and pictures.precision_ == "float32"
    assert (pictures.predict(x[..., None]) == pictures.predict(x)).all()
    assert pictures.hidden(x[:3], [0, 1]).shape == (2, 3, 8, 8, 8)
    assert (pictures.nfe(x[:3]) >= 13).all()


def test_images_take_augmentation_and_real_numbers() -> None:
    x, y = bars(40)
    made = tk.ODEClassifier(
        RungeKutta(steps=1), width=4, steps=3, batch=16, held_out=0.0,
        augmentation=Augmentation(shift=1.0),
    ).fit(x / 255.0, y)  # fmt: skip
    assert made.held_out_ is None and "no rows were held out" in made.summary()
    with pytest.raises(InputError, match="real numbers, as in fit"):
        made.predict(x)


# --- pictures ---


def test_the_picture_names_classes_and_baselines(
    table: tk.ODEClassifier, pictures: tk.ODEClassifier, tmp_path: Path
) -> None:
    for model in (table, pictures):
        axes = model.plot()
        assert len(axes) == 5 and "held-out rows" in axes[4].get_title(loc="left")
        assert len(axes[0].figure.legends[0].get_texts()) == 2
        axes[0].figure.savefig(tmp_path / "a.png")


# --- files ---


@pytest.mark.parametrize("rtol", [None, 1e-4])
def test_a_saved_classifier_gives_the_same_bits(
    table: tk.ODEClassifier, tmp_path: Path, rtol: float | None
) -> None:
    x, _ = rings(50, seed=2)
    model = table if rtol is None else table.with_tolerance(rtol)
    model.save(tmp_path / "a.safetensors")
    again = tk.load(tmp_path / "a.safetensors")
    assert (again.predict_proba(x) == model.predict_proba(x)).all()
    assert (again.predict(x) == model.predict(x)).all() and again.rtol_ == rtol
    assert again.held_out_ == table.held_out_ and again.fit_.status == table.fit_.status
    assert repr(again) == repr(table)
    copied = pickle.loads(pickle.dumps(model))
    assert (copied.predict_proba(x) == model.predict_proba(x)).all()


def test_a_saved_classifier_of_images(pictures: tk.ODEClassifier, tmp_path: Path) -> None:
    x, _ = bars(10, seed=2)
    pictures.save(tmp_path / "a.safetensors")
    again = tk.load(tmp_path / "a.safetensors")
    assert (again.predict_proba(x) == pictures.predict_proba(x)).all()
    assert again.body == ODE(steps=1) and again.classes_.dtype == pictures.classes_.dtype


# --- bad input, before any work ---


X, Y = rings(30)
PIXELS, SIGNS = bars(12)


@pytest.mark.parametrize(
    "x, y, words",
    [
        (X, Y[:-1], "y: expected 30 labels"),
        (X, np.full(30, "one"), "at least two classes"),
        (np.where(np.arange(60).reshape(30, 2) == 9, np.nan, X), Y, "column 'x1'.*NaN in row 4"),
        (np.zeros((3, 4, 4, 1, 1)), [0, 1, 0], "images .n, h, w."),
        (PIXELS.astype(int), SIGNS, "unsigned bytes"),
        (PIXELS.astype(bool), SIGNS, "unsigned bytes"),
        (np.full(PIXELS.shape, np.nan), SIGNS, "image 0"),
        (PIXELS, SIGNS[:-1], "12 labels"),
        (PIXELS[:0], SIGNS[:0], "images"),
    ],
)
def test_bad_rows_are_one_clear_error(x: Any, y: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        tk.ODEClassifier().fit(x, y)


@pytest.mark.parametrize(
    "arguments",
    [
        {"body": "ode"}, {"stem": "paper"}, {"augmentation": 3}, {"width": 0}, {"steps": "many"},
        {"batch": True}, {"learning_rate": -1.0}, {"decay": np.nan}, {"smoothing": 1.0},
        {"held_out": 0.95}, {"patience": 0}, {"seed": -1}, {"precision": "float16"},
        {"activation": "swoosh"}, {"stem": PaperStem()}, {"augmentation": Augmentation()},
    ],
)  # fmt: skip
def test_bad_arguments_are_one_clear_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        tk.ODEClassifier(**arguments).fit(X, Y)


def test_arguments_for_the_other_kind_of_data() -> None:
    with pytest.raises(InputError, match="a stem of images"):
        tk.ODEClassifier(stem=LinearStem()).fit(PIXELS, SIGNS)
    with pytest.raises(InputError, match="minutes"):
        tk.ODEClassifier().fit(X, Y, minutes=0.0)
    with pytest.raises(InputError, match="steps= instead"):
        tk.ODEClassifier().fit(X, Y, minutes=1.0, checkpoint="somewhere")


def test_other_rows_than_those_of_the_fit(
    table: tk.ODEClassifier, pictures: tk.ODEClassifier
) -> None:
    for model, x, words in (
        (table, PIXELS, "a table of 2 columns"),
        (pictures, X, "images"),
        (pictures, PIXELS[:, :4], "images"),
    ):
        with pytest.raises(InputError, match=words):
            model.predict(x)
    with pytest.raises(ValueError, match="3 features"):
        table.predict(np.zeros((2, 3)))
    with pytest.raises(InputError, match="depths"):
        table.hidden(X, [0.5, 1.5])
    with pytest.raises(InputError, match="rtol"):
        table.with_tolerance(0.0)
    with pytest.raises(InputError, match="30 labels"):
        table.accuracy_by_tolerance(X, Y[:3])


def test_nothing_before_the_fit() -> None:
    with pytest.raises(NotFittedError):
        tk.ODEClassifier().predict(X)


def test_a_failed_fit_leaves_the_old_one(table: tk.ODEClassifier) -> None:
    before = table.predict_proba(X)
    with pytest.raises(InputError):
        table.fit(X, np.zeros(30))
    assert (table.predict_proba(X) == before).all()


def test_a_class_seen_once_is_said() -> None:
    y = np.array(["a", "b", "rare"])[np.r_[2, np.arange(39) % 2]]
    made = tk.ODEClassifier(**QUICK).fit(rings(40)[0], y)
    assert any("seen once (rare)" in note for note in made.fit_.status.notes)
    assert list(made.classes_) == ["a", "b", "rare"]


def test_the_status_says_when_a_simple_classifier_is_better() -> None:
    held = HeldOutAccuracy(400, 0.6, 1.0, {"most frequent class": 0.8}, 0.5, 20.0)
    beaten = status_of(Status("finished", "Trained 10 steps"), held, ())
    assert beaten.kind == "beaten" and not beaten.ok and beaten.remedy
    good = HeldOutAccuracy(400, 0.9, 1.0, {"most frequent class": 0.8}, 0.5, 20.0)
    told = status_of(Status("finished", "Trained 10 steps"), good, ())
    assert told.ok and any("change class" in note for note in told.notes)


# --- papers ---


def test_reproduction_of_the_table(tmp_path: Path) -> None:
    rows = odenet_mnist.run(
        Task(out=tmp_path), steps=4, width=8, count=120, depths=(2, 4),
        only=(odenet_mnist.PERCEPTRON, odenet_mnist.ODENET),
    )  # fmt: skip
    named = {row.quantity: row for row in rows}
    assert named["ODE-Net with the published stem, parameters"].ours == 208_266
    assert named["ResNet with the published stem, parameters"].ours == 576_778
    assert 0 <= (named["digits, ODE-Net, test error"].ours or -1) <= 100
    assert (named["ODE-Net, bytes of a gradient, depth 4 / depth 2"].ours or 9) < 1.1
    assert "4 steps" in named["digits, 1-layer MLP, test error"].note
    assert (tmp_path / "odenet-mnist-digits.png").stat().st_size > 10_000


def test_reproduction_without_its_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such files"):
        odenet_mnist.run(Task(data=tmp_path))


def test_reproduction_of_the_figures(tmp_path: Path) -> None:
    rows = odenet_figures.run(
        Task(out=tmp_path), width=8, steps=6, batch=16, looks=2, rtols=(1e-1, 1e-3), count=120
    )
    assert all(np.isfinite(row.ours) for row in rows if row.ours is not None)
    assert rows[0].ours is not None and rows[0].ours > 0
    error = next(row for row in rows if "error forth" in row.quantity)
    assert error.ours is not None and error.ours < 0.01
    assert (tmp_path / "odenet-figures.png").stat().st_size > 10_000
