"""`UKR`: what users ask of it, bad input, files, pictures, the command line, entries."""

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
from tenkai import InputError, report
from tenkai.cli import main
from tenkai.reproduce import Task, ukr_oilflow, ukr_saddle


def saddle(n: int = 120, seed: int = 0) -> np.ndarray:
    z = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    return np.column_stack([z, z[:, 0] ** 2 - z[:, 1] ** 2])


@pytest.fixture(scope="module")
def fitted() -> tk.UKR:
    return tk.UKR(steps=200).fit(saddle())


# --- scikit-learn ---


@pytest.mark.slow
def test_scikit_learn_is_content() -> None:
    results = check_estimator(tk.UKR(steps=30))
    assert all(r["status"] in ("passed", "skipped") for r in results)


def test_weights_are_repeated_rows() -> None:
    x = saddle(40)
    weight = np.random.default_rng(1).integers(0, 4, 40)
    some = {"steps": 40, "bandwidth": 0.3}
    weighed = tk.UKR(**some).fit(x, sample_weight=weight)
    repeated = tk.UKR(**some).fit(np.repeat(x, weight, axis=0))
    np.testing.assert_allclose(weighed.transform(x), repeated.transform(x), atol=1e-8)


def test_copies_of_a_row_have_one_latent_and_do_not_explain_each_other() -> None:
    x = saddle(30)
    made = tk.UKR(steps=40).fit(np.concatenate([x, x]))
    np.testing.assert_array_equal(made.embedding_[:30], made.embedding_[30:])
    assert made.error_ == pytest.approx(tk.UKR(steps=40).fit(x).error_, rel=1e-6)


def test_fit_transform_is_the_projection_of_the_rows() -> None:
    x = saddle(40)
    some = tk.UKR(steps=40)
    np.testing.assert_array_equal(some.fit_transform(x), clone(some).fit(x).transform(x))


def test_projections_of_learned_rows_lie_at_their_latents(fitted: tk.UKR) -> None:
    z = fitted.transform(saddle())
    apart = np.linalg.norm(z - fitted.embedding_, axis=1)
    assert np.median(apart) < 0.5 * fitted.bandwidth_
    assert fitted.score(saddle()) > 0.99
    np.testing.assert_allclose(fitted.transform(saddle()[5:6]), z[5:6], atol=1e-9)


def test_what_is_learned(fitted: tk.UKR) -> None:
    assert fitted.fit_.status.kind == "converged"
    assert fitted.error_ < 0.02
    assert fitted.embedding_.shape == (120, 2)
    steps = [step for step, _ in fitted.history_]
    assert steps == sorted(steps)
    assert steps[-1] == 200
    np.testing.assert_allclose(fitted.history_[-1][1], fitted.embedding_, atol=1e-12)
    assert list(fitted.get_feature_names_out()) == ["ukr0", "ukr1"]
    new = saddle(50, seed=7)
    assert np.sqrt(np.mean((fitted.reconstruct(new) - new) ** 2)) < 0.1


# --- arguments ---


def test_latents_stay_in_the_box() -> None:
    made = tk.UKR(box=(0, 2), steps=60).fit(saddle(50))
    for _, z in made.history_:
        assert z.min() >= 0
        assert z.max() <= 2
    z = made.transform(saddle(20, seed=3) * 3)
    assert z.min() >= 0
    assert z.max() <= 2


def test_a_penalty_draws_latents_together() -> None:
    free, held = (
        tk.UKR(penalty=p, bandwidth=0.3, steps=60, leave_one_out=False).fit(saddle(50))
        for p in (0.0, 0.1)
    )
    assert held.embedding_.std() < 0.7 * free.embedding_.std()
    assert any("drift apart" in note for note in free.fit_.status.notes)
    assert not held.fit_.status.notes


def test_an_array_of_latents_is_where_it_begins() -> None:
    z = np.random.default_rng(0).normal(size=(30, 2))
    made = tk.UKR(init=z, bandwidth=0.5, steps=0).fit(saddle(30))
    np.testing.assert_allclose(made.embedding_, z)
    assert made.bandwidth_ == 0.5


@pytest.mark.parametrize(
    "some",
    [{"kernel": "student-t"}, {"kernel": "quartic"}, {"init": "spectral"}, {"init": "random"},
     {"n_components": 1}, {"n_components": 3}, {"precision": "float32"}],
    ids=str,
)  # fmt: skip
def test_every_choice_learns(some: dict[str, Any]) -> None:
    x = saddle(60)
    made = tk.UKR(steps=120, **some).fit(x)
    assert made.fit_.status.ok
    assert made.error_ < 0.35
    assert made.reconstruct(x[:3]).shape == (3, 3)


def test_gaps_are_not_observed() -> None:
    random = np.random.default_rng(0)
    z = random.uniform(-1, 1, (150, 2))
    x = np.column_stack([z, z @ [1.0, 1.0], z @ [1.0, -1.0], z[:, 0] ** 2, z[:, 1] ** 2])
    holes = x.copy()
    gone = random.uniform(size=x.shape) < 0.1
    holes[gone] = np.nan
    made = tk.UKR(steps=200).fit(holes)
    filled = made.reconstruct(holes)
    spread = np.std(x[gone])
    assert np.sqrt(np.mean((filled[gone] - x[gone]) ** 2)) < 0.5 * spread


def test_isolated_rows_are_named() -> None:
    x = saddle(30)
    z = x[:, :2].copy()
    z[4] = 100.0
    made = tk.UKR(kernel="quartic", init=z, bandwidth=0.3, widening=1, steps=20).fit(x)
    assert 4 in made.isolated_
    assert np.isfinite(made.embedding_).all()
    assert any("isolated" in note and "4" in note for note in made.fit_.status.notes)


def test_some_rows_stand_for_all() -> None:
    x = saddle(200)
    made = tk.UKR(inducing=80, steps=150).fit(x)
    assert made.model_.latent.shape == (80, 2)
    assert made.embedding_.shape == (200, 2)
    assert made.apart_.inducing == 80
    assert made.apart_.between < 0.2
    assert any("80 of 200 rows trained" in note for note in made.fit_.status.notes)
    assert made.score(x) > 0.9


@pytest.mark.parametrize(
    ("some", "said"),
    [
        ({"bandwidth": 0.0}, "bandwidth"),
        ({"bandwidth": -1}, "bandwidth"),
        ({"bandwidth": "wide"}, "bandwidth"),
        ({"box": (1, 1)}, "low < high"),
        ({"box": (2, -1)}, "low < high"),
        ({"box": 3}, "low < high"),
        ({"kernel": "cosine"}, "'quartic'"),
        ({"n_components": 0}, "n_components"),
        ({"penalty": -1}, "penalty"),
        ({"init": "umap"}, "'spectral'"),
        ({"init": np.zeros((3, 2))}, "shape"),
        ({"steps": -1}, "steps"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"widening": 0.5}, "widening"),
        ({"inducing": 1}, "inducing"),
        ({"precision": "float16"}, "precision"),
        ({"seed": -1}, "seed"),
        ({"leave_one_out": "yes"}, "leave_one_out"),
    ],
)
def test_bad_arguments_are_refused(some: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        tk.UKR(**some).fit(saddle(20))


def test_bad_data_are_refused(fitted: tk.UKR) -> None:
    x = saddle(20)
    with pytest.raises(InputError, match="'b'"):
        tk.UKR().fit(pd.DataFrame({"a": x[:, 0], "b": np.full(20, np.nan)}))
    with pytest.raises(InputError, match="sample_weight"):
        tk.UKR().fit(x, sample_weight=-np.ones(20))
    with pytest.raises(InputError, match="two rows"):
        tk.UKR().fit(x, sample_weight=np.eye(20)[0])
    with pytest.raises(InputError, match="rows of 2"):
        fitted.inverse_transform(np.zeros((4, 3)))
    with pytest.raises(NotFittedError):
        tk.UKR().transform(x)


# --- files ---


def test_files_hold_everything(fitted: tk.UKR, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.safetensors")
    loaded = tk.load(tmp_path / "m.safetensors")
    x = saddle(10, seed=5)
    for other in (loaded, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(other.transform(x), fitted.transform(x))
        np.testing.assert_array_equal(other.embedding_, fitted.embedding_)
        assert len(other.history_) == len(fitted.history_)
        assert str(other.fit_.status) == str(fitted.fit_.status)
    assert repr(loaded) == repr(fitted)
    data = bytearray((tmp_path / "m.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        tk.load(tmp_path / "m.safetensors")


def test_a_start_and_a_box_are_saved(tmp_path: Path) -> None:
    z = np.random.default_rng(0).uniform(-1, 1, (25, 2))
    made = tk.UKR(init=z, box=(-1, 1), steps=5).fit(saddle(25))
    made.save(tmp_path / "m.safetensors")
    loaded = tk.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.init, z)
    assert loaded.box == (-1, 1)


# --- pictures ---


@pytest.mark.parametrize("latents", [1, 2, 3])
@pytest.mark.parametrize("columns", [1, 2, 3, 5])
def test_pictures_and_pages_of_every_shape(latents: int, columns: int, tmp_path: Path) -> None:
    x = np.column_stack([saddle(40), saddle(40)[:, :2] ** 2])[:, :columns]
    names = [f"気圧{i}" for i in range(columns)]
    made = tk.UKR(latents, steps=10).fit(pd.DataFrame(x, columns=names))
    axes = made.plot(color=np.where(x[:, 0] > 0, "高い", "低い"))
    assert len(axes) == 3
    axes[0].figure.savefig(tmp_path / "m.png")
    page = report.html(made, tmp_path / "m.html").read_text("utf-8")
    assert "気圧0" in page
    assert "Latents and surface" in page
    assert [v.label for v in report.verdict(made)] == ["Leave-one-out error", "Isolated rows"]


def test_the_animation_needs_nothing_else(fitted: tk.UKR, tmp_path: Path) -> None:
    for color in (None, saddle()[:, 0], np.where(saddle()[:, 0] > 0, "<a>", "b")):
        page = fitted.animate(tmp_path / "m.html", color=color).read_text("utf-8")
        assert "<script>" in page
        assert "http" not in page.replace("http://www.w3.org", "")
        assert "<a>" not in page
    made = tk.UKR(inducing=20, steps=10).fit(saddle(50))
    assert made.animate(tmp_path / "m.html", color=saddle(50)[:, 1]).exists()
    with pytest.raises(InputError, match="two latents"):
        tk.UKR(1, steps=5).fit(saddle(20)).animate(tmp_path / "m.html")
    with pytest.raises(InputError, match="color"):
        fitted.plot(color=[1, 2])


# --- the command line and the entries ---


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.DataFrame(saddle(40), columns=["a", "b", "c"]).assign(name="x")
    table.loc[3, "b"] = np.nan
    table.to_csv(tmp_path / "d.csv", index=False)
    run = tmp_path / "run"
    options = [
        "--model",
        "ukr",
        "--columns",
        "a,b,c",
        "--steps",
        "60",
        "--latent",
        "2",
        "--devices",
        "1",
    ]
    assert main(["fit", str(tmp_path / "d.csv"), *options, "--out", str(run), "--no-cache"]) == 0
    assert "Leave-one-out error" in capsys.readouterr().out
    assert (run / "report.html").stat().st_size > 10_000
    assert main(["report", str(run), "--no-cache"]) == 0
    out = tmp_path / "z.csv"
    for data in ([], [str(tmp_path / "d.csv")]):
        assert main(["predict", str(run), *data, "--out", str(out), "--no-cache"]) == 0
        found = pd.read_csv(out)
        assert list(found) == [
            "row", "z1", "z2", "a reconstructed", "b reconstructed", "c reconstructed",
        ]  # fmt: skip
        assert len(found) == 40
        assert np.corrcoef(found["a reconstructed"], table["a"])[0, 1] > 0.9
    assert main(["forecast", str(run), "--horizon", "1"]) == 2


def test_the_saddle_is_reproduced_in_small(tmp_path: Path) -> None:
    rows = ukr_saddle.run(Task(out=tmp_path), rows=60, seeds=2, steps=80, epochs=20)
    found = {row.quantity: row.ours for row in rows[:4]}
    assert found["leave-one-out error, share of the variance"] < 10
    assert (tmp_path / "ukr-saddle.png").stat().st_size > 10_000
    assert (tmp_path / "ukr-saddle.html").exists()
    z = saddle()[:, :2]
    turned = 3 * z @ np.array([[0.6, 0.8], [0.8, -0.6]]) + 5
    assert ukr_saddle.procrustes(turned, z) == pytest.approx(0, abs=1e-12)


def test_the_oil_flow_is_reproduced_in_small(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    label = random.integers(0, 3, 60)
    x = random.normal(size=(60, 12)) * 0.1 + np.eye(12)[label]
    np.savez(tmp_path / "oilflow.npz", x=x, label=label)
    rows = ukr_oilflow.run(Task(tmp_path, tmp_path), steps=60)
    assert rows[0].published == 162
    assert rows[1].ours is not None
    assert rows[1].ours <= 3
    assert (tmp_path / "ukr-oilflow.png").stat().st_size > 10_000
    with pytest.raises(InputError, match=r"oilflow\.npz"):
        ukr_oilflow.run(Task())
