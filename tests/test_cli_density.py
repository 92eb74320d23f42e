"""`--model density` on the command line: runs, samples, scores, and what does not belong to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cli import Say
from test_cli import tk as tk

from tenkai import estimators
from tenkai.cli import main
from tenkai.data.tables import read_table
from tenkai.errors import InputError

FIT = ("--model", "density", "--members", "2", "--steps", "10", "--seed", "1")


def frame(n: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(0)
    heat = random.normal(20, 5, n)
    return pd.DataFrame({
        "温度": heat, "pH": 7 + 0.01 * (heat - 20) ** 2 + 0.1 * random.normal(size=n),
        "site": ["north", "south"] * (n // 2),
    })  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("density")
    table = frame()
    pd.concat([table, table[:20]]).to_csv(folder / "d.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenkai.devices.configure", lambda **options: None)
        argv = ["fit", str(folder / "d.csv"), *FIT, "--out", str(folder / "run")]
        assert main(argv) == 0
    return folder / "run"


def test_a_run_holds_everything(fitted: Path) -> None:
    names = {p.name for p in fitted.iterdir()}
    needed = {"config.json", "model.safetensors", "history.jsonl", "samples.csv", "report.html"}
    assert needed <= names and "forecast.csv" not in names
    config = json.loads((fitted / "config.json").read_text())
    assert config["arguments"]["model"] == "density" and config["status"]["ok"]
    samples = pd.read_csv(fitted / "samples.csv")
    assert list(samples.columns) == ["温度", "pH"] and len(samples) == 1000
    assert abs(samples["温度"].mean() - 20) < 1.5
    lines = (fitted / "history.jsonl").read_text().splitlines()
    stages = {json.loads(line)["stage"] for line in lines}
    assert stages == {"matching", "likelihood"}


def test_the_end_is_told(tk: Say, tmp_path: Path, fitted: Path) -> None:
    said = tk("fit", str(fitted.parent / "d.csv"), *FIT, "--out", str(tmp_path / "again"))
    assert said.code == 0
    for words in ("Log density of", "this flow", "Gaussian ", "Gaussian mixture",
                  "kernel density", "20 of 220 rows repeat an earlier row", "Samples: ",
                  "Report: "):  # fmt: skip
        assert words in said.out
    assert "'site'" in said.err
    first, second = (estimators.load(p / "model.safetensors") for p in (fitted, tmp_path / "again"))
    np.testing.assert_array_equal(first.sample(5), second.sample(5))


def test_a_finished_run_is_told(tk: Say, fitted: Path) -> None:
    said = tk("fit", str(fitted.parent / "d.csv"), *FIT, "--out", str(fitted), "--resume")
    assert said.code == 0 and "is finished" in said.out


def test_simulate_draws_rows(tk: Say, fitted: Path, tmp_path: Path) -> None:
    out = tmp_path / "drawn.csv"
    assert tk("simulate", str(fitted), "--rows", "7", "--seed", "3", "--out", str(out)).code == 0
    drawn = pd.read_csv(out)
    truth = estimators.load(fitted / "model.safetensors").sample(7, seed=3)
    np.testing.assert_allclose(drawn.to_numpy(), truth)


def test_score_writes_log_densities(tk: Say, fitted: Path, tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "d.parquet")
    said = tk("score", str(fitted), str(tmp_path / "d.parquet"))
    assert said.code == 0 and said.err.startswith("Mean log density of 200 rows: ")
    lines = said.out.splitlines()
    assert lines[0] == "row,log_density" and len(lines) == 201
    density = estimators.load(fitted / "model.safetensors")
    first = density.score_samples(frame()[["温度", "pH"]])[0]
    assert float(lines[1].split(",")[1]) == pytest.approx(first)


def test_the_report_is_written_again(tk: Say, fitted: Path) -> None:
    (fitted / "report.html").unlink()
    assert tk("report", str(fitted)).code == 0
    assert "温度" in (fitted / "report.html").read_text(encoding="utf-8")


def test_conditional_densities(tk: Say, tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "d.csv", index=False)
    run = tmp_path / "run"
    said = tk("fit", str(tmp_path / "d.csv"), *FIT, "--columns", "pH", "--context", "温度",
              "--out", str(run))  # fmt: skip
    assert said.code in (0, 3)
    assert list(pd.read_csv(run / "samples.csv").columns) == ["温度", "pH"]
    assert tk("simulate", str(run)).line.startswith("tenkai: --inputs: expected a table of 温度")
    said = tk("simulate", str(run), "--inputs", str(tmp_path / "d.csv"))
    assert said.code == 0 and len(said.out.splitlines()) == 201
    said = tk("score", str(run), str(tmp_path / "d.csv"))
    assert said.code == 0 and len(said.out.splitlines()) == 201


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["forecast", "RUN", "--horizon", "3"], "expected a model of series; got density"),
        (["equilibria", "RUN"], "expected a model of series; got density"),
        (["simulate", "RUN", "--y0", "a=1"], "--y0: expected none: density has no such option"),
        (["simulate", "RUN", "--paths", "3"], "--paths: expected none: density has no such"),
        (["simulate", "RUN", "--rows", "0"], "--rows: expected at least 1; got 0"),
        (["score", "RUN", "DATA", "--rows", "2"], "No such option: --rows"),
        (["fit", "DATA", "--model", "density", "--time", "温度"], "--time: expected none"),
        (["fit", "DATA", "--model", "density", "--noise", "full"], "--noise: expected a number"),
        (["fit", "DATA", "--model", "density", "--order", "2"], "--order: expected none"),
        (["fit", "DATA", "--model", "density", "--horizon", "2"], "--horizon: expected none"),
        (["fit", "DATA", "--model", "density", "--coverage", ".8"], "--coverage: expected none"),
        (["simulate", "RUN", "--points", "5"], "--points: expected none"),
        (["fit", "DATA", "--model", "density", "--flow", "x"], "--flow: expected ffjord, planar"),
        (["fit", "DATA", "--model", "density", "--columns", "x"], "column 'x': expected one of"),
        (["fit", "DATA", "--model", "density", "--columns", "site"], "column 'site': expected num"),
        (["fit", "DATA", "--model", "density", "--columns", "pH,pH"], "got named twice"),
        (["fit", "DATA", "--model", "density", "--columns", ","], "columns: expected at least one"),
        (["simulate", "RUN", "--seed", "-1"], "seed: expected a whole number from 0"),
        (["fit", "DATA", "--columns", "pH"], "--columns: expected none: neural-ode has no such"),
        (["backtest", "DATA", "--model", "density"], "--model: expected a model of series"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_does_not_fit_is_one_line(
    tk: Say, fitted: Path, tmp_path: Path, argv: list[str], words: str
) -> None:
    known = {"RUN": str(fitted), "DATA": str(fitted.parent / "d.csv")}
    out = [] if argv[0] not in ("fit", "backtest") else ["--out", str(tmp_path / "new")]
    said = tk(*(known.get(a, a) for a in argv), *out)
    assert said.code == 2 and words in said.line
    assert not (tmp_path / "new").exists()


def test_a_singular_table_writes_nothing(tk: Say, tmp_path: Path) -> None:
    frame().assign(same=1.0).to_csv(tmp_path / "d.csv", index=False)
    said = tk("fit", str(tmp_path / "d.csv"), *FIT, "--out", str(tmp_path / "run"), "--quiet")
    assert said.code == 2 and "column 'same': expected values that vary" in said.err
    assert not (tmp_path / "run").exists()


def test_tables_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("a,b\n1,2\n3,\n4,5\n")
    with pytest.raises(InputError, match=r"column 'b': .* got nothing \(NaN\) in line 3"):
        read_table(path)
    path.write_text("a,b\n1,2\n3,x\n4,5\n")
    with pytest.raises(InputError, match="column 'b': expected numbers; got 'x' in line 3"):
        read_table(path)
    with pytest.raises(InputError, match="column 'a': expected one role"):
        read_table(path, ["a"], ["a"])
    path.write_text("a\nx\ny\n")
    with pytest.raises(InputError, match="expected a column of numbers; got none"):
        read_table(path)
