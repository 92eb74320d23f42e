"""`--model neural-sde` on the command line: runs, questions, and what does not belong to it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import EXAMPLE, Say, files, table
from test_cli import tk as tk

from tenkai import estimators
from tenkai.cli import main
from tenkai.cli.models import MODELS

FIT = ("--model", "neural-sde", "--time", "t", "--series", "site")


def write(path: Path, count: int = 150, noise: float = 0.0) -> None:
    """Two sites of a process that returns to 2."""
    random, lines = np.random.default_rng(0), ["t,site,level"]
    for site in ("北", "south"):
        x = 2.0
        for k in range(count):
            lines.append(f"{0.1 * k:.1f},{site},{x + noise * random.normal():.6f}")
            x += 0.05 * (2 - x) + 0.1 * random.normal()
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sde")
    write(folder / "d.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenkai.devices.configure", lambda **options: None)
        argv = ["fit", str(folder / "d.csv"), *FIT, "--seed", "1", "--out", str(folder / "run")]
        assert main([*argv, "--horizon", "1", "--quiet"]) == 0
    return folder / "run"


# --- what belongs to which model ---


@pytest.mark.parametrize("name", MODELS)
def test_options_are_those_of_the_estimator(name: str) -> None:
    model = MODELS[name]
    given = inspect.signature(getattr(estimators, model.estimator).__init__).parameters
    in_python_only = {"self", "y0", "field", "residual", "method", "drift", "diffusion"}
    in_python_only |= {"matching", "batch", "rate", "straight", "jitter", "compare"}
    in_python_only |= {"hidden", "decoder", "parts", "resolution", "warm_up", "learning_rate"}
    in_python_only |= {"label_weight", "sides", "substeps", "window", "hide", "density"}
    in_python_only |= {"patience", "stem", "smoothing", "augmentation"}
    in_python_only |= {"output_activation", "schedule", "standardise", "snapshot_every", "kernel"}
    in_python_only |= {"bandwidth", "leave_one_out", "penalty", "box", "init", "widening"}
    in_python_only |= {"inducing", "snapshots"}
    renamed = {"regression": {"hidden": ("width", "depth")}, "ukr": {"n_components": ("latent",)}}
    asked = given.keys() - in_python_only
    for theirs, ours in renamed.get(name, {}).items():
        asked = (asked - {theirs}) | set(ours)
    assert set(model.options) == asked


@pytest.mark.parametrize("name", MODELS)
def test_questions_are_those_of_the_estimator(name: str) -> None:
    made = getattr(estimators, MODELS[name].estimator)
    methods = {"kind": "forecast", "paths": "simulate", "rows": "sample", "seed": "simulate"}
    if MODELS[name].rows:
        methods["coverage"] = "predict"
    if MODELS[name].draws in ("rows", "series"):
        methods["seed"] = "sample"
    names = {"rows": "n"}
    belongs = {
        k for k, f in methods.items()
        if hasattr(made, f) and names.get(k, k) in inspect.signature(getattr(made, f)).parameters
    }  # fmt: skip
    assert set(MODELS[name].asked) == belongs
    fits = inspect.signature(made.fit).parameters
    assert MODELS[name].resumes == ("checkpoint" in fits)
    assert MODELS[name].continues == ("warm_start" in fits)
    assert MODELS[name].flows == hasattr(made, "equilibria")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "neural-sde", "--order", "2"], "--order: expected none: neural-sde has no"),
        (["--model", "neural-sde", "--augment", "1"], "--augment: expected none: neural-sde"),
        (["--model", "neural-sde", "--matching-steps", "9"], "--matching-steps: expected none"),
        (["--noise", "full"], "--noise: expected none: neural-ode has no such option; got full"),
        (["--model", "neural-sde", "--noise", "white"], "--noise: expected diagonal or full; got"),
    ],
    ids=str,
)
def test_options_of_another_model_are_one_line(
    tk: Say, tmp_path: Path, options: list[str], words: str
) -> None:
    for command in ("fit", "backtest"):
        if command == "backtest" and "--order" in options:
            continue
        answer = tk(command, EXAMPLE, *options)
        assert answer.code == 2
        assert words in answer.line
    assert files(tmp_path) == set()


def test_too_few_transitions_leave_nothing(tk: Say, tmp_path: Path) -> None:
    write(tmp_path / "d.csv", 8)
    answer = tk("fit", "d.csv", *FIT)
    assert answer.code == 2
    assert "at least 20 transitions" in answer.line
    assert files(tmp_path) == {"d.csv"}


# --- the run ---


def test_run_is_complete(fitted: Path) -> None:
    names = "config.json model.safetensors history.jsonl forecast.csv report.html"
    assert {p.name for p in fitted.iterdir()} == set(names.split())
    config = json.loads((fitted / "config.json").read_text())
    assert config["arguments"]["model"] == "neural-sde"
    assert "order" not in config["arguments"] and config["arguments"]["noise"] is None
    assert config["status"]["kind"] == "converged"
    rows = table((fitted / "forecast.csv").read_text(encoding="utf-8"))
    assert {row["series"] for row in rows} == {"北", "south"}
    assert len(rows) == 20
    page = (fitted / "report.html").read_text(encoding="utf-8")
    assert "A stochastic differential equation for level" in page


def test_status_that_is_not_ok_is_code_3(tk: Say, tmp_path: Path) -> None:
    write(tmp_path / "d.csv", 600, noise=0.1)
    answer = tk("fit", "d.csv", *FIT, "--quiet", "--out", "run")
    assert answer.code == 3
    assert answer.err.startswith("tenkai: Measurement noise: log-likelihood")
    assert "Do: average neighbouring values" in answer.err
    assert (tmp_path / "run" / "report.html").exists()


def test_resume_of_a_killed_fit_starts_anew(tk: Say, tmp_path: Path, fitted: Path) -> None:
    config = json.loads((fitted / "config.json").read_text())
    (tmp_path / "run").mkdir()
    del config["status"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    (tmp_path / "run" / "history.jsonl").write_text('{"step": 1}\n')
    again = ["fit", fitted.parent / "d.csv", *FIT, "--horizon", "1", "--out", "run", "--resume"]
    assert "option --seed: expected 1" in tk(*again).line
    answer = tk(*again, "--seed", "1")
    assert answer.code == 0
    assert "keeps no checkpoints: it starts anew" in answer.err
    for name in ("forecast.csv", "model.safetensors"):
        assert (tmp_path / "run" / name).stat().st_size > 100
    assert (tmp_path / "run" / "forecast.csv").read_text() == (fitted / "forecast.csv").read_text()
    assert '{"step": 1}' not in (tmp_path / "run" / "history.jsonl").read_text()
    assert "is finished: converged" in tk(*again, "--seed", "1").out


def test_nothing_goes_on_from_it(tk: Say, tmp_path: Path, fitted: Path) -> None:
    before = files(tmp_path)
    answer = tk("fit", EXAMPLE, "--from", fitted)
    assert answer.code == 2
    assert "--from: expected a run of neural-ode; got one of neural-sde" in answer.line
    assert files(tmp_path) == before


# --- questions ---


def test_forecast(tk: Say, fitted: Path) -> None:
    answer = tk("forecast", fitted, "--horizon", "0.5", "--coverage", "0.5")
    assert answer.code == 0
    rows = table(answer.out)
    assert [float(r["time"]) for r in rows[:5]] == pytest.approx([15.0, 15.1, 15.2, 15.3, 15.4])
    assert all(float(r["lower"]) < float(r["mean"]) < float(r["upper"]) for r in rows)
    assert "--kind: expected none" in tk("forecast", fitted, "--horizon", "1", "--kind",
                                         "latent").line  # fmt: skip


def test_simulate_has_a_row_per_path_time_and_variable(tk: Say, fitted: Path) -> None:
    ask = ["simulate", fitted, "--y0", "level=4", "--until", "6", "--points", "4", "--paths", "50"]
    answer = tk(*ask, "--seed", "3")
    rows = table(answer.out)
    assert answer.code == 0
    assert list(rows[0]) == ["path", "time", "variable", "value"]
    assert len(rows) == 50 * 4
    assert [float(r["time"]) for r in rows[:4]] == [0, 2, 4, 6]
    starts = [float(r["value"]) for r in rows[::4]]
    assert starts == pytest.approx([4.0] * 50)
    ends = np.array([float(r["value"]) for r in rows[3::4]])
    assert abs(ends.mean() - 2.0) < 0.3 and ends.std() > 0.05
    assert tk(*ask, "--seed", "3").out == answer.out
    assert tk(*ask, "--seed", "4").out != answer.out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["simulate", "--y0", "level=4", "--until", "3", "--paths", "0"], "--paths: expected at l"),
        (["simulate", "--y0", "level=4", "--until", "3", "--points", "1"], "at least 2"),
        (["equilibria"], "expected a flow without noise; got a run of neural-sde"),
    ],
    ids=str,
)
def test_questions_that_do_not_fit_are_one_line(
    tk: Say, fitted: Path, argv: list[Any], words: str
) -> None:
    answer = tk(argv[0], fitted, *argv[1:])
    assert answer.code == 2
    assert words in answer.line


def test_report_is_written_again(tk: Say, fitted: Path) -> None:
    page = fitted / "report.html"
    before = page.stat().st_mtime_ns
    assert tk("report", fitted).code == 0
    assert page.stat().st_mtime_ns > before


def test_backtest(tk: Say, tmp_path: Path) -> None:
    write(tmp_path / "d.csv", 60)
    answer = tk("backtest", "d.csv", *FIT, "--origins", "50-50", "--horizon", "0.5", "--quiet")
    assert answer.code in (0, 3)
    rows = table((tmp_path / "runs/d-backtest/backtest.csv").read_text(encoding="utf-8"))
    assert len(rows) == 10
    assert "NeuralSDE" in (tmp_path / "runs/d-backtest/summary.txt").read_text()
