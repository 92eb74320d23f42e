"""Pages, pictures, the command line and the reproductions of regressors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_cli import Say
from test_cli import tk as tk
from test_report import EVIL, Tags, figures

from tenkai import InputError, report
from tenkai.cli import main
from tenkai.estimators.function_regressor import FunctionRegressor
from tenkai.report.findings import gather
from tenkai.report.regression_findings import RegressionFindings
from tenkai.report.verdict import verdict
from tenkai.reproduce import Task, function_exp, regression_uci

QUICK: dict[str, Any] = {"hidden": (8,), "members": 2, "steps": 120, "held_out": 0.3}


def frame(n: int = 120) -> pd.DataFrame:
    random = np.random.default_rng(0)
    heat = random.uniform(10, 30, n)
    strength = 0.1 * (heat - 20) ** 2 + random.normal(0, 0.3, n)
    return pd.DataFrame({
        "温度": heat, "pH": random.uniform(6, 8, n), "強度": strength, "cost": 2 * heat,
        "site": ["north", "south"] * (n // 2),
    })  # fmt: skip


@pytest.fixture(scope="module")
def several() -> FunctionRegressor:
    table = frame()
    return FunctionRegressor(**QUICK).fit(table[["温度", "pH"]], table[["強度", "cost"]])


@pytest.fixture(scope="module")
def single() -> FunctionRegressor:
    return FunctionRegressor(**QUICK).fit_function(np.exp, 0, 1)


def page(found: Any, tmp_path: Path, **options: Any) -> str:
    return report.html(found, tmp_path / "report.html", **options).read_text(encoding="utf-8")


# --- pages and pictures ---


def test_findings_are_what_the_regressor_says(several: FunctionRegressor) -> None:
    f = gather(several)
    assert isinstance(f, RegressionFindings) and f.rows is not None and f.curve is None
    assert f.columns == ("温度", "pH") and f.names == ("強度", "cost") and f.members == 2
    held = several.held_out_
    assert held is not None
    np.testing.assert_allclose(np.sqrt(np.mean(f.rows.residuals**2, axis=0)), held.rmse)
    effects = {e.name: e for e in f.effects}
    assert f.effects[0].name == "温度" and effects["pH"].mean.shape == (25, 2)
    rows = pd.DataFrame(f.rows.x, columns=several.feature_names_in_)
    rows = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, 100).round().astype(int))]
    at = several.predict(rows.assign(pH=effects["pH"].x[3])).mean(0)
    np.testing.assert_allclose(effects["pH"].mean[3], at, rtol=1e-9)


def test_the_page_of_a_table(several: FunctionRegressor, tmp_path: Path) -> None:
    text = page(several, tmp_path)
    shown = Tags(text).text
    for words in ("Fit", "Error beside simple models", "a linear model", "a constant", "Residuals",
                  "Coverage", "Effect of each column", "Training", "Network", "強度",
                  "95% binomial interval"):  # fmt: skip
        assert words in shown
    titles = [f["layout"]["xaxis"]["title"]["text"] for f in figures(text).values()]
    assert len(titles) == 2 + 2 + 2 + 1 and {"温度", "pH", "cost, predicted"} <= set(titles)


def test_the_page_of_a_function(single: FunctionRegressor, tmp_path: Path) -> None:
    text = page(single, tmp_path, coverage=0.5)
    shown = Tags(text).text
    assert "Largest error" in shown and "new rows of the function" in shown
    assert "50% intervals" in shown and "Effect" not in shown
    line = gather(single).curve
    np.testing.assert_allclose(line.mean[:, 0], single.predict(line.x[:, None]))
    names = [t.get("name") for f in figures(text).values() for t in f["data"]]
    assert {"learned", "linear model", "did not train"} <= set(names)


def test_the_page_without_rows_that_did_not_train(tmp_path: Path) -> None:
    table = frame(40)
    made = FunctionRegressor(**QUICK | {"held_out": 0.0}).fit(table[["pH"]], table["強度"])
    shown = Tags(page(made, tmp_path)).text
    assert "not measured" in shown and "Residuals" not in shown
    assert len(made.plot()) == 1


def test_names_cannot_run(tmp_path: Path) -> None:
    table = frame(60)[["温度", "pH", "強度"]].rename(columns={"温度": EVIL, "強度": EVIL + "y"})
    made = FunctionRegressor(**QUICK).fit(table[[EVIL, "pH"]], table[EVIL + "y"])
    assert EVIL not in page(made, tmp_path)


def test_verdicts(several: FunctionRegressor, single: FunctionRegressor) -> None:
    error, intervals = verdict(single)
    assert "new rows of the function" in error.sentence and "a linear model (" in error.sentence
    assert "90% interval" in intervals.sentence
    assert "standard deviations" in verdict(several)[0].sentence


@pytest.mark.parametrize(("which", "panels"), [("several", 4), ("single", 3)])
def test_panels(which: str, panels: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    axes = request.getfixturevalue(which).plot()
    assert len(axes) == panels
    assert [t for t in (ax.get_title(loc="left") for ax in axes) if not t] == []
    axes[0].figure.savefig(tmp_path / "plot.png")


def test_the_diagram_counts_what_was_learned(several: FunctionRegressor) -> None:
    text = report.diagram(several).svg
    assert several.parameters_ == 3 * 8 + 9 * 2
    assert f"{several.parameters_} parameters × 2 members" in text
    assert "W 8 × 2" in text and "b 8" in text and "silu" in text


# --- the command line ---

FIT = ("--model", "regression", "--targets", "強度", "--columns", "温度,pH", "--members", "2",
       "--width", "8", "--depth", "1", "--steps", "60", "--seed", "1")  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regression")
    frame().to_csv(folder / "d.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenkai.devices.configure", lambda **options: None)
        assert main(["fit", str(folder / "d.csv"), *FIT, "--out", str(folder / "run")]) in (0, 3)
    return folder / "run"


def test_a_run_holds_everything(fitted: Path) -> None:
    names = {p.name for p in fitted.iterdir()}
    assert {"config.json", "model.safetensors", "history.jsonl", "report.html"} <= names
    assert "forecast.csv" not in names
    arguments = json.loads((fitted / "config.json").read_text())["arguments"]
    assert arguments["model"] == "regression" and arguments["targets"] == ["強度"]


def test_predictions_of_other_rows(tk: Say, fitted: Path, tmp_path: Path) -> None:
    rows = str(fitted.parent / "d.csv")
    assert tk("predict", str(fitted), rows, "--out", str(tmp_path / "p.csv")).code == 0
    assert list(pd.read_csv(tmp_path / "p.csv").columns) == ["row", "強度"]
    said = tk("predict", str(fitted), rows, "--coverage", "0.8", "--out", str(tmp_path / "q.csv"))
    found = pd.read_csv(tmp_path / "q.csv")
    assert said.code == 0 and (found["強度 lower"] < found["強度 upper"]).all()
    np.testing.assert_allclose(found["強度"], pd.read_csv(tmp_path / "p.csv")["強度"])
    (fitted / "report.html").unlink()
    assert tk("report", str(fitted)).code == 0 and (fitted / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "DATA", "--model", "regression"), "--targets"),
        (("fit", "DATA", "--model", "regression", "--targets", "site"), "site"),
        (("fit", "DATA", "--model", "regression", "--targets", "no"), "one of 温度"),
        (("fit", "DATA", "--model", "regression", "--targets", "pH", "--labels", "site"),
         "--labels"),
        (("predict", "RUN"), "DATA"),
        (("predict", "RUN", "DATA", "--coverage", "90"), "--coverage"),
        (("forecast", "RUN", "--horizon", "3"), "knows no time"),
    ],
)  # fmt: skip
def test_what_does_not_belong_is_one_clear_line(
    tk: Say, fitted: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    places = {"DATA": str(fitted.parent / "d.csv"), "RUN": str(fitted)}
    out = ("--out", str(tmp_path / "new")) if arguments[0] == "fit" else ()
    said = tk(*(places.get(word, word) for word in arguments), *out)
    assert said.code == 2 and message in said.err and len(said.err.strip().splitlines()) == 1


# --- reproductions ---


def test_function_exp(tmp_path: Path) -> None:
    rows = function_exp.run(Task(out=tmp_path), seeds=2, steps=300, default_steps=200)
    found = {row.quantity: row for row in rows}
    assert found["layers by hand in NumPy"].ours < 1e-12  # type: ignore[operator]
    assert found["|f(0.2) - e^0.2|, the recipe"].published == pytest.approx(1.59e-3, abs=1e-5)
    assert len(rows) == 11 and all(row.ours is not None for row in rows)
    deep = "largest error on [0, 1], double depth, as many parameters"
    assert "601 parameters" in found[deep].note
    pictures = {"function-exp.png", "function-exp-weights.png", "function-exp-network.svg"}
    assert pictures == {p.name for p in tmp_path.iterdir()}


def test_regression_uci(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {}
    for name in regression_uci.PUBLISHED:
        x = random.normal(size=(60, 2))
        arrays |= {f"{name}__X": x, f"{name}__y": x[:, 0] ** 2}
        arrays[f"{name}__test"] = np.stack([random.permutation(60)[:6] for _ in range(3)])
    with pytest.raises(InputError, match=r"uci_regression\.npz"):
        regression_uci.run(Task(data=tmp_path))
    np.savez(tmp_path / regression_uci.FILE, **arrays)
    task = Task(out=tmp_path, data=tmp_path)
    found = {row.quantity: row for row in regression_uci.run(task, splits=2, **QUICK)}
    assert found["yacht, test RMSE"].published == 0.67 and found["yacht, test RMSE"].n == 2
    assert found["energy, inside 90 % intervals"].n == 12
    assert (tmp_path / "regression-uci.png").stat().st_size > 10_000
    del arrays["yacht__test"]
    np.savez(tmp_path / regression_uci.FILE, **arrays)
    with pytest.raises(InputError, match="yacht__test"):
        regression_uci.run(task)
