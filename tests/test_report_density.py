"""Pictures, page and animation of a learned density, and that what they show is true."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_report import EVIL, Tags, figures

import tenkai as tk
from tenkai import InputError, report
from tenkai.data import clouds
from tenkai.estimators.density_judgement import Evaluations
from tenkai.flows import checks
from tenkai.flows.held_out import Beside, HeldOutDensity
from tenkai.flows.target import Matched
from tenkai.records import Discretisation, Fit, Status
from tenkai.report.density_findings import chosen_columns, gather, limits
from tenkai.report.density_verdict import quality, repeated

MEAN, SD = 3.0, 2.0


class Scaled:
    """``x = 3 + 2 z``: what a density must offer to be drawn, in closed form."""

    def __init__(self, dim: int, continuous: bool = True):
        self.dim, self.is_continuous = dim, continuous

    def log_density(self, x: np.ndarray, context: Any = None) -> np.ndarray:
        z = (x - MEAN) / SD
        return -0.5 * (z**2).sum(1) - self.dim * np.log(SD * np.sqrt(2 * np.pi))

    def sample(self, count: int, context: Any = None, seed: int = 0) -> np.ndarray:
        z = np.random.default_rng(seed).standard_normal((count, self.dim))
        shift = 0.0 if context is None else context[:, :1]
        return MEAN + shift + SD * z

    def frames(self, x: np.ndarray, fractions: Any, context: Any = None) -> np.ndarray:
        z = (x - MEAN) / SD
        return np.stack([(1 - f) * z + f * x for f in fractions])


class Flows:
    """Two members without numbers."""

    flows = SimpleNamespace(field=lambda t, y, u: y)

    def __len__(self) -> int:
        return 2


def trained() -> Fit:
    rows = [
        {"step": 10 * k, "stage": stage, "loss": 3.0 - k, "validation": 2.5 - k,
         "nfe_forward": 12 + k, "nfe_backward": 12}
        for stage in ("matching", "likelihood") for k in range(1, 5)
    ]  # fmt: skip
    return Fit(None, Status("trained", "held-out log density -4"), rows, 2.0, 80)


BESIDE = (Beside("Gaussian", "full", -4.4, 0.4, 0.1), Beside("kernel density", "h", -4.1, 0.1, 0.2))
HELD = HeldOutDensity(-4.0, 0.05, 300, BESIDE)
NFE = Evaluations(30.0, 44.0)
CHECK = Discretisation(0.001, 0.002, 0.02, True, "an equation", 30)


@dataclass
class Density:
    """A fitted density of known rows, as `FlowDensity` looks from outside."""

    dim: int = 2
    names_: tuple[str, ...] = ()
    context_names_: tuple[str, ...] = ()
    continuous: bool = True
    held_out_: Any = HELD
    matched_: Any = None
    nfe_: Any = NFE
    stiffness_: float | None = 2.0
    discretisation_: Any = CHECK
    seed: int = 0
    seconds_: dict = field(default_factory=lambda: {"matching": 1.0, "likelihood": 1.0})

    def __post_init__(self) -> None:
        self.names_ = self.names_ or tuple(f"column {i}" for i in range(self.dim))
        self.density_ = Scaled(self.dim, self.continuous)
        self.data_ = self.density_.sample(400, seed=9)
        self.context_ = None
        if self.context_names_:
            self.context_ = np.random.default_rng(3).choice([-40.0, 40.0], (400, 1))
            self.data_ = self.density_.sample(400, self.context_, seed=9)
        self.repeats_: Any = checks.repeats(self.data_, self.names_)
        self.fit_, self.model_ = trained(), Flows()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"members": 2, "flow": None}

    def score_samples(self, X: Any) -> np.ndarray:
        return self.density_.log_density(X)

    def sample(self, n: int = 1) -> np.ndarray:
        return self.density_.sample(n)

    def frames(self, x: Any, fractions: Any) -> np.ndarray:
        return self.density_.frames(x, fractions)

    def inverse_transform(self, Z: Any) -> np.ndarray:
        return MEAN + SD * Z


def page(found: Any, tmp_path: Path) -> str:
    return report.html(found, tmp_path / "report.html").read_text(encoding="utf-8")


def points(page: str) -> np.ndarray:
    """What the animation moves: (frames, points, 2) from 0 to 1 of the frame."""
    told = json.loads(re.findall(r'type="application/json">({"points".*?})</script>', page)[0])
    whole = np.frombuffer(base64.b64decode(told["points"]), "<u2") / 65535
    return whole.reshape(len(told["counted"]), len(told["colours"]), 2)


# --- pictures ---


def test_curve_of_one_variable_is_the_density() -> None:
    (ax,) = report.plot(Density(1))
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(y, np.exp(Scaled(1).log_density(x[:, None])))
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.02)
    bars = sum(p.get_height() * p.get_width() for p in ax.patches)
    assert bars == pytest.approx(1, abs=1e-6)
    assert ax.get_xlabel() == "column 0"


def test_plane_shows_density_rows_samples_and_frames() -> None:
    axes = report.plot(Density(2))
    assert len(axes) == 7
    assert axes[0].get_ylabel() == "column 1"
    assert [ax.get_title() for ax in axes[2:]] == [f"{p}% of the way" for p in (0, 25, 50, 75, 100)]
    base, end = (np.stack(axes[i].lines[0].get_data(), 1) for i in (2, 6))
    np.testing.assert_allclose(MEAN + SD * base, end, atol=1e-9)
    assert len(report.plot(Density(2, continuous=False))) == 2


def test_pairs_show_rows_below_and_samples_above() -> None:
    found = Density(3)
    axes = report.plot(found).reshape(3, 3)
    np.testing.assert_array_equal(axes[2, 0].lines[0].get_xydata(), found.data_[:, [0, 2]])
    samples = found.density_.sample(400, seed=0)
    np.testing.assert_array_equal(axes[0, 2].lines[0].get_xydata(), samples[:, [2, 0]])
    assert axes[2, 1].get_xlabel() == "column 1"
    assert axes[1, 0].get_ylabel() == "column 1"
    two = report.plot(found, columns=["column 2", 0])
    assert len(two) == 4 and two[0].get_ylabel() == "column 2"
    with pytest.raises(InputError, match="names or numbers of column 0"):
        report.plot(found, columns=["column 7"])


def test_conditional_samples_are_drawn_at_the_contexts_of_the_rows() -> None:
    (ax,) = report.plot(Density(1, context_names_=("site",)))
    rows, samples = ax.patches[:30], ax.patches[30]
    middle = sum(p.get_height() for p in rows[10:20])
    assert middle == 0  # nothing between the two contexts, neither of rows
    heights = samples.get_xy()
    between = (heights[:, 0] > -20) & (heights[:, 0] < 20)
    assert heights[between, 1].max() == 0  # nor of samples


def test_columns_of_a_pair_plot_are_those_that_depend_on_others() -> None:
    x = np.random.default_rng(0).normal(size=(500, 8))
    x[:, 6] = x[:, 1] ** 3 + 0.1 * x[:, 6]
    x[:, 7] -= 2 * x[:, 3]
    chosen = chosen_columns(x)
    assert {1, 3, 6, 7} < set(chosen) and len(chosen) == 5
    assert list(chosen) == sorted(chosen)
    assert chosen_columns(x[:, :4]) == (0, 1, 2, 3)


def test_limits_cut_what_lies_far_out() -> None:
    x = np.random.default_rng(0).normal(size=(1000, 2))
    x[0] = 1e6
    low, high = limits(x)
    assert (high < 10).all() and (low > -10).all()
    assert (low < np.quantile(x, 0.01, axis=0)).all()


# --- words ---


def test_quality_says_more_less_or_no_clear_gain() -> None:
    held = HELD
    assert "no clear gain over" in quality(held, None).sentence
    more = replace(held, beside=(Beside("Gaussian", "full", -4.4, 0.4, 0.1),))
    assert (
        "0.4 ± 0.1 more than the best simple density (Gaussian, -4.4)"
        in quality(more, None).sentence
    )
    less = replace(held, beside=(Beside("kernel density", "h", -3.0, -1.0, 0.1),))
    assert "1 ± 0.1 less than" in quality(less, None).sentence
    assert quality(None, None).value == "not measured"
    assert quality(None, Matched(1.0, 1.1, 0.01, 0.8, 4000)).value == "80%"
    assert quality(replace(held, beside=()), None).value == "-4 ± 0.05"


def test_repeats_are_told() -> None:
    x = np.random.default_rng(0).normal(size=(200, 2))
    assert "no row or value" in repeated(checks.repeats(x, ["a", "b"])).sentence
    x[:50, 1] = 0
    x[:10] = x[20:30]
    told = repeated(checks.repeats(x, ["a", "b"]))
    assert told.value == "10 of 200"
    assert "1 column with an atom" in told.sentence
    assert "matched to a function" in repeated(None).sentence


def test_verdict_is_of_the_density() -> None:
    first, second = report.verdict(Density())
    assert first.label == "Held-out log density"
    assert second.label == "Repeated rows"


# --- the page ---


def test_page_of_two_variables(tmp_path: Path) -> None:
    text = page(Density(), tmp_path)
    said = Tags(text).text
    for words in (
        "A density of column 0 and column 1", "learned from 400 rows of 2 variables", "Samples",
        "The flow", "Held-out rows", "kernel density", "+0.400 ± 0.1", "Solving",
        "30 (at most 44)", "Training", "Settings",
    ):  # fmt: skip
        assert words in said
    drawn = figures(text)
    heat = next(f for f in drawn.values() if f["data"][0]["type"] == "heatmap")
    z, x, y = (np.array(heat["data"][0][k]) for k in "zxy")
    cell = (x[1] - x[0]) * (y[1] - y[0])
    assert z.sum() * cell == pytest.approx(1, abs=0.03)
    grid = np.stack(np.meshgrid(x, y), -1)
    np.testing.assert_allclose(z[20], np.exp(Scaled(2).log_density(grid[20])), rtol=1e-4)


def test_page_leaves_out_what_there_is_not(tmp_path: Path) -> None:
    bare = Density(
        3, continuous=False, held_out_=None, nfe_=None, stiffness_=None, discretisation_=None
    )
    said = Tags(page(bare, tmp_path)).text
    for words in ("The flow", "Held-out rows", "Solving", "What was learned"):
        assert words not in said
    assert "Rows and samples" in said


def test_page_of_repeats_and_of_many_variables(tmp_path: Path) -> None:
    found = Density(7)
    found.data_[:80, 2] = 0
    found.repeats_ = checks.repeats(found.data_, found.names_)
    said = Tags(page(found, tmp_path)).text
    assert "Repeated rows and values" in said and "atom" in said
    assert "80 (20.0%)" in said
    assert "Every variable" in said
    assert "5 variables of 7" in said


def test_page_of_a_conditional_density_and_of_a_match(tmp_path: Path) -> None:
    said = Tags(page(Density(1, context_names_=("site",)), tmp_path)).text
    assert "A conditional density of column 0" in said
    assert "given site" in said
    assert "Every variable" in said  # its rows and samples are all there is to compare
    found = Density(2, matched_=Matched(1.0, 1.1, 0.01, 0.8, 4000), held_out_=None)
    found.repeats_ = None
    said = Tags(page(found, tmp_path)).text
    assert "matched to an unnormalised log density of 2 variables" in said
    assert "effective sample size of 4,000 draws" in said.lower()


def test_evaluations_over_training_leave_matching_out(tmp_path: Path) -> None:
    drawn = figures(page(Density(), tmp_path))
    counted = next(f for f in drawn.values() if f["data"][0].get("name") == "forward")
    assert counted["data"][0]["y"] == [13, 14, 15, 16]
    assert counted["data"][0]["x"] == [10, 20, 30, 40]


def test_texts_of_the_user_are_escaped_everywhere(tmp_path: Path) -> None:
    found = Density(names_=(EVIL, "降水量"))
    for text in (
        page(found, tmp_path),
        report.animation(found, tmp_path / "a.html").read_text(encoding="utf-8"),
    ):
        assert EVIL not in text
        assert EVIL in Tags(text).text
        assert "tenkai-ja" in text and "@font-face" in text


# --- the animation ---


def test_animation_moves_the_base_to_the_density(tmp_path: Path) -> None:
    found = Density()
    file = report.animation(found, tmp_path / "flow.html")
    text = file.read_text(encoding="utf-8")
    moved = points(text)
    assert moved.shape == (31, 500, 2)
    ends = found.density_.sample(500, seed=0)
    # Positions are affine in what they show, where nothing is cut off at the frame.
    inside = ((moved[-1] > 0.01) & (moved[-1] < 0.99)).all(1)
    assert inside.mean() > 0.95
    fitted = np.polyfit(ends[inside, 0], moved[-1][inside, 0], 1)
    np.testing.assert_allclose(np.polyval(fitted, ends[inside, 0]), moved[-1][inside, 0], atol=2e-5)
    base = (ends - MEAN) / SD
    np.testing.assert_allclose(np.polyval(fitted, base[inside, 0]), moved[0][inside, 0], atol=2e-5)


def test_animation_loads_nothing(tmp_path: Path) -> None:
    text = report.animation(Density(), tmp_path / "flow.html").read_text(encoding="utf-8")
    assert "src=" not in text and "href=" not in text and "http" not in text
    assert '<input type="range"' in text and "requestAnimationFrame" in text


def test_animation_of_chosen_columns_and_what_it_refuses(tmp_path: Path) -> None:
    found = Density(3)
    text = report.animation(found, tmp_path / "a.html", columns=("column 2", 0)).read_text("utf-8")
    assert "The flow of column 2 and column 0" in Tags(text).text
    with pytest.raises(InputError, match="two variables or more"):
        report.animation(Density(1), tmp_path / "b.html")
    with pytest.raises(InputError, match="expected two; got 3"):
        report.animation(found, tmp_path / "b.html", columns=(0, 1, 2))
    assert not (tmp_path / "b.html").exists()


# --- a density that was learned ---


@pytest.fixture(scope="module")
def moons() -> tk.FlowDensity:
    flow = tk.flows.FFJORD(width=16, depth=1, solver=tk.flows.Grid(2))
    fast = {"members": 1, "matching": 100, "steps": 20, "batch": 64, "compare": False}
    return tk.FlowDensity(flow, **fast).fit(clouds.draw("moons", 200))


def test_a_learned_density_has_picture_page_and_animation(
    moons: tk.FlowDensity, tmp_path: Path
) -> None:
    found = gather(moons)
    assert found.surface is not None and found.way is not None
    x, y = found.surface.axes
    cell = (x[1] - x[0]) * (y[1] - y[0])
    assert 0.8 < found.surface.density.sum() * cell < 1.01
    np.testing.assert_allclose(found.way.points[-1], moons.sample(500, seed=0), atol=1e-4)
    assert len(report.plot(moons)) == 7
    assert "The flow" in Tags(page(moons, tmp_path)).text
    assert report.animation(moons, tmp_path / "a.html").stat().st_size < 400_000
