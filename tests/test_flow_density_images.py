"""`FlowDensity` of images: whole grey levels in, nats per image and images out."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tenkai as tk
from tenkai.flows.images.baselines import baselines
from tenkai.flows.images.density import DRAWS

CONTINUOUS = tk.flows.MultiscaleFFJORD((4, 4, 1), scales=1, channels=6, depth=1, levels=17)
DISCRETE = tk.flows.ConvGlow((4, 4, 1), scales=1, steps=2, channels=8, levels=17)


def digits(size: int = 4, count: int = 300) -> np.ndarray:
    """Scikit-learn's digits as bytes, the middle of each."""
    from sklearn.datasets import load_digits

    edge = (8 - size) // 2
    images = load_digits(return_X_y=True)[0].reshape(-1, 8, 8)[
        :count, edge : edge + size, edge : edge + size
    ]
    return images.astype(np.uint8)


@pytest.fixture(scope="module")
def continuous() -> tk.FlowDensity:
    return tk.FlowDensity(CONTINUOUS, steps=150, batch=64).fit(digits())


@pytest.fixture(scope="module")
def discrete() -> tk.FlowDensity:
    return tk.FlowDensity(DISCRETE, steps=150, batch=64).fit(digits())


@pytest.fixture(params=["continuous", "discrete"])
def fitted(request: Any) -> tk.FlowDensity:
    return request.getfixturevalue(request.param)


def test_scores_are_nats_of_whole_images(fitted: tk.FlowDensity) -> None:
    x = digits()[:40]
    logs = fitted.score_samples(x)
    assert logs.shape == (40,) and (logs < 0).all()  # a probability of whole images
    assert fitted.score(x) == pytest.approx(logs.mean())
    assert fitted.bits_per_dim(x) == pytest.approx(-logs.mean() / 16 / math.log(2))
    assert fitted.bits_per_dim(x) < math.log2(17) - 0.2  # better than even grey
    np.testing.assert_array_equal(logs, fitted.score_samples(x))  # the draws are fixed
    one = fitted.density_.drawn(x.reshape(40, -1), draws=1).logs[0]
    assert not np.allclose(one, logs) and DRAWS > 1


def test_all_images_of_two_pixels_sum_to_no_more_than_one() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 4, (300, 1, 1, 1))
    x = np.clip(grey + rng.integers(0, 2, (300, 2, 2, 1)), 0, 3)
    flow = tk.flows.ConvGlow((2, 2, 1), scales=1, steps=2, channels=8, levels=4)
    density = tk.FlowDensity(flow, steps=200, batch=64, compare=False).fit(x)
    every = np.stack(np.meshgrid(*[np.arange(4)] * 4), -1).reshape(-1, 2, 2, 1)
    total = np.exp(density.score_samples(every)).sum()
    assert 0.3 < total < 1.05  # exp of a mean of logarithms is a lower bound


def test_samples_are_images_like_those_of_the_fit(fitted: tk.FlowDensity) -> None:
    x = digits()
    drawn = fitted.sample(300, seed=1)
    assert drawn.shape == (300, 4, 4) and drawn.dtype == np.uint8 and drawn.max() <= 16
    np.testing.assert_array_equal(drawn, fitted.sample(300, seed=1))
    assert not np.array_equal(drawn, fitted.sample(300, seed=2))
    assert np.abs(drawn.mean(0) - x.mean(0)).mean() < 2.0


def test_there_and_back_is_the_same_image(fitted: tk.FlowDensity) -> None:
    x = digits()[:50]
    z = fitted.transform(x)
    assert z.shape == (50, 16) and 0.5 < z.std() < 1.5
    back = fitted.inverse_transform(z)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, x)


def test_held_out_images_are_compared(fitted: tk.FlowDensity) -> None:
    held = fitted.held_out_
    names = {"histogram per pixel", "Gaussian", "Gaussian mixture", "kernel density"}
    assert held is not None and {b.name for b in held.beside} == names
    assert 10 < held.rows <= 40 and held.unit == "image"
    assert "bits per dimension" in fitted.summary() and "per image" in str(held)
    assert fitted.settings_["batch"] == 64 and fitted.settings_["members"] == 1


def test_files_and_pickles_give_the_same_bits(fitted: tk.FlowDensity, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.safetensors")
    x = digits()[:20]
    for again in (tk.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(again.score_samples(x), fitted.score_samples(x))
        np.testing.assert_array_equal(again.sample(3), fitted.sample(3))
        assert again.images_ == fitted.images_ and again.settings_ == fitted.settings_
        assert again.held_out_ == fitted.held_out_ and again.get_params().keys()


def test_the_solver_can_be_changed(continuous: tk.FlowDensity, discrete: tk.FlowDensity) -> None:
    x = digits()[:20]
    logs, finer = (d.score_samples(x) for d in (continuous, continuous.with_tolerance(1e-8)))
    assert 0 < np.abs(logs - finer).max() < 1e-2
    assert continuous.nfe_ is not None and continuous.nfe_.mean > 8
    assert continuous.discretisation_ is not None and continuous.discretisation_.is_ode
    assert discrete.nfe_ is None
    with pytest.raises(tk.InputError, match="not solved"):
        discrete.with_tolerance(1e-8)


def test_solves_that_give_up_are_done_on_a_grid(continuous: tk.FlowDensity) -> None:
    from dataclasses import replace

    from tenkai.flows.evaluation import Tolerance

    x = digits()[:10].reshape(10, -1)
    hopeless = replace(continuous.density_, tolerance=Tolerance(1e-5, 1e-5, 2))
    found = hopeless.drawn(x)
    assert not found.ok.any()
    assert np.abs(found.logs - continuous.density_.drawn(x).logs).max() < 0.1


def test_rows_keep_their_shape_and_copies_are_counted() -> None:
    flat = np.concatenate([digits(4, 100).reshape(100, 16).astype(float)] * 3)
    density = tk.FlowDensity(DISCRETE, steps=150, batch=64, compare=False).fit(flat)
    drawn = density.sample(3)
    assert drawn.shape == (3, 16) and drawn.dtype == float
    assert density.held_out_ is not None and density.held_out_.beside == ()
    assert density.repeats_ is not None and density.repeats_.duplicates >= 200
    assert any("repeat an earlier" in note for note in density.fit_.status.notes)


def test_colours_keep_their_shape_and_idle_levels_are_told() -> None:
    colours = np.random.default_rng(0).integers(0, 5, (60, 2, 2, 3))
    flow = tk.flows.ConvGlow((2, 2, 3), scales=1, steps=1, channels=4, levels=20)
    density = tk.FlowDensity(flow, steps=10, compare=False).fit(colours)
    assert density.sample(3).shape == (3, 2, 2, 3)
    assert any("levels=5" in note for note in density.fit_.status.notes)


def test_the_histogram_is_a_distribution() -> None:
    rng = np.random.default_rng(0)
    every = np.stack(np.meshgrid(*[np.arange(3)] * 2), -1).reshape(-1, 2)
    found = baselines(rng.integers(0, 3, (40, 2)), every, 3)
    assert np.exp(found[0].log_density).sum() == pytest.approx(1.0, abs=1e-12)


def test_baselines_of_dequantised_images_are_densities() -> None:
    rng = np.random.default_rng(0)
    train = np.clip(np.round(rng.normal(20, 3, (2000, 1))), 0, 40).astype(int)
    every = np.arange(41)[:, None]
    truth = np.exp(-(((every[:, 0] - 20) / 3) ** 2) / 2) / 3 / math.sqrt(2 * math.pi)
    for one in baselines(train, every, 41, draws=50)[1:]:
        share = np.exp(one.log_density)
        assert share.sum() == pytest.approx(1.0, abs=0.05)
        if one.name != "kernel density":  # wider, so that a level left out is found again
            assert np.abs(share - truth).max() < 0.03


@pytest.mark.parametrize(
    ("x", "flow", "options", "words"),
    [
        (digits() / 16, DISCRETE, {}, r"np.round\(255"),
        (digits() + 0.5, DISCRETE, {}, "fractions"),
        (digits() + 20, DISCRETE, {}, "levels=37"),
        (digits().astype(int) - 5, DISCRETE, {}, "from 0 to 16"),
        (digits(6), DISCRETE, {}, r"shape=\(6, 6, 1\)"),
        (digits()[:10], DISCRETE, {}, "20 different images"),
        (digits().astype(str), DISCRETE, {}, "whole numbers"),
        (digits().astype(float) * np.nan, DISCRETE, {}, "missing"),
        ([np.zeros((2, 2)), np.zeros((3, 3))], DISCRETE, {}, "one size"),
        (digits(), tk.flows.FFJORD(), {}, "MultiscaleFFJORD"),
        (digits(), DISCRETE, {"members": 4}, "members"),
        (digits(), DISCRETE, {"noise": 0.1}, "noise"),
        (digits(), DISCRETE, {"matching": 10}, "matching"),
    ],
)
def test_bad_images_are_told(x: Any, flow: Any, options: Any, words: str) -> None:
    with pytest.raises(tk.InputError, match=words):
        tk.FlowDensity(flow, **options).fit(x)


def test_what_a_density_of_images_cannot_do(discrete: tk.FlowDensity, tmp_path: Path) -> None:
    x = digits()[:5]
    with pytest.raises(tk.InputError, match="none"):
        tk.FlowDensity(DISCRETE).fit(digits(), context=np.zeros(300))
    with pytest.raises(tk.InputError, match="as in fit"):
        discrete.score_samples(digits(6)[:5])
    with pytest.raises(tk.InputError, match="transform"):
        discrete.frames(x, [0.5])
    with pytest.raises(tk.InputError, match="transform"):
        discrete.animate(tmp_path / "flow.html")
    with pytest.raises(tk.InputError, match="whole grey levels"):
        tk.FlowDensity(DISCRETE).match(lambda x: -0.5 * (x**2).sum(), dim=16)
    flow = tk.flows.RealNVP(layers=1, width=4)
    table = tk.FlowDensity(flow, members=1, steps=1, compare=False)
    with pytest.raises(tk.InputError, match="bits_per_dim"):
        table.fit(np.random.default_rng(0).normal(size=(30, 2))).bits_per_dim(np.zeros((2, 2)))


def test_without_a_flow_images_get_one_of_their_shape() -> None:
    from tenkai.estimators.density_images import prepared

    made: Any = prepared(tk.FlowDensity(), digits(8, 50), None)
    flow, form, rows = made
    assert isinstance(flow, tk.flows.MultiscaleFFJORD)
    assert flow.shape == (8, 8, 1) and flow.levels == 17
    assert form.shape == (8, 8) and rows.shape == (50, 64)


def test_the_page_and_the_picture_show_images(discrete: tk.FlowDensity, tmp_path: Path) -> None:
    from tenkai import report

    page = report.html(discrete, tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/png;base64,') == 2
    assert "A density of images, 4 × 4" in page and "histogram per pixel" in page
    assert "300 images of 17 grey levels" in page and "64" in page
    panels = discrete.plot()
    assert [ax.get_title(loc="left") for ax in panels[:2]] == ["Images", "Samples"]
    assert len(panels[2].lines) == 3 and np.isfinite(panels[2].lines[1].get_ydata()).all()
    with pytest.raises(tk.InputError, match="columns"):
        discrete.plot(columns=[0, 1])
    first, second = report.verdict(discrete)
    assert first.label == "Held-out bits per dimension" and "0 of 300" in second.value


def test_a_sheet_lays_images_side_by_side() -> None:
    from tenkai.report.density_images import sheet

    images = np.arange(3)[:, None, None, None] * np.ones((3, 2, 2, 1), int)
    drawn = sheet(images, 3, across=2)
    assert drawn.shape == (5, 5, 3)  # a pixel of white in between
    np.testing.assert_array_equal(drawn[:2, :2], 0.0)
    np.testing.assert_array_equal(drawn[:2, 3:], 0.5)
    np.testing.assert_array_equal(drawn[:, 2], 1.0)
    np.testing.assert_array_equal(drawn[3:, :2], 1.0)
