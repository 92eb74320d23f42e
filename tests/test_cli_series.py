"""The command line of many series and of classes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tenkai.cli import main


def table(path: Path, n: int = 24, *, label: str = "転帰") -> Path:
    """Circles that turn either way, irregular, in Japanese."""
    rng = np.random.default_rng(0)
    lines = [f"患者,日,x,y,{label}"]
    for k in range(n):
        way = 1 if k % 2 else -1
        for t in np.sort(rng.uniform(0, 4, rng.integers(6, 15))):
            x, y = np.cos(way * t), np.sin(way * t)
            lines.append(f"p{k},{t:.3f},{x:.3f},{y:.3f},{'左' if k % 2 else '右'}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX runs already; what the command would set is another test's."""
    monkeypatch.setattr("tenkai.devices.configure", lambda **options: None)


ROLES = ["--time", "日", "--series", "患者", "--labels", "転帰"]


@pytest.mark.parametrize("model", ["latent-ode", "ode-rnn"])
def test_series_are_learned_forecast_and_classified(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = table(tmp_path / "a.csv"), tmp_path / "run"
    argv = ["fit", data, "--model", model, *ROLES, "--steps", "30", "--out", run, "--quiet"]
    assert main(list(map(str, argv))) in (0, 3)
    assert {p.name for p in run.iterdir()} >= {"model.safetensors", "forecast.csv", "report.html"}
    capsys.readouterr()
    assert main(["predict", str(run), str(data)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [r["series"] for r in rows] == [f"p{k}" for k in range(24)]
    for row in rows:
        assert float(row["p(右)"]) + float(row["p(左)"]) == pytest.approx(1, abs=1e-4)
    assert main(["forecast", str(run), str(data), "--horizon", "1"]) == 0
    answer = capsys.readouterr()
    assert answer.err.count("Note: ") <= 4  # not one for each series
    said = list(csv.DictReader(answer.out.splitlines()))
    assert {r["variable"] for r in said} == {"x", "y"}
    assert all(float(r["lower"]) <= float(r["upper"]) for r in said)


def test_series_are_drawn_from_the_prior(tmp_path: Path, capsys) -> None:
    data, run = table(tmp_path / "a.csv"), tmp_path / "run"
    argv = ["fit", data, "--model", "latent-ode", *ROLES[:4], "--targets", "x,y", "--steps", "10"]
    assert main([*map(str, argv), "--out", str(run), "--quiet"]) in (0, 3)
    capsys.readouterr()
    asked = ["simulate", str(run), "--rows", "3", "--until", "2", "--points", "5"]
    assert main(asked) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 3 * 5 * 2
    assert main(["predict", str(run)]) == 2
    assert "expected a model that learned labels" in capsys.readouterr().err


def test_rows_are_classified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    lines = ["幅,高さ,種"] + [
        f"{a:.4f},{b:.4f},{'内' if a * a + b * b < 1 else '外'}" for a, b in x
    ]
    data, run = tmp_path / "rows.csv", tmp_path / "run"
    data.write_text("\n".join(lines), encoding="utf-8")
    argv = ["fit", data, "--model", "classifier", "--labels", "種", "--steps", "60", "--out", run]
    assert main([*map(str, argv), "--quiet"]) in (0, 3)
    capsys.readouterr()
    assert main(["predict", str(run), str(data)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 120
    assert {r["class"] for r in rows} <= {"内", "外"}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--model", "classifier"], "--labels: expected the column of classes"),
        (["--model", "latent-ode", *ROLES[:2], "--labels", "転帰"], "no column of series"),
        (["--model", "latent-ode", *ROLES[:4], "--labels", "x?"], "no such column"),
        (["--model", "latent-ode", *ROLES[:4], "--labels", "x"], "one class for series 'p0'"),
        (["--model", "latent-ode", "--encoder", "lstm"], "expected rnn or ode-rnn; got lstm"),
        (["--model", "ode-rnn", "--cell", "lstm"], "expected ode, gaps, decay, imputed"),
        (["--model", "classifier", "--labels", "転帰", "--body", "lstm"], "runge-kutta"),
        (["--model", "neural-ode", "--labels", "転帰"], "--labels: expected none"),
    ],
    ids=str,
)
def test_mistakes_are_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    run = tmp_path / "run"
    assert main(["fit", str(table(tmp_path / "a.csv")), *argv, "--out", str(run)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not run.exists()
