"""`tenkai export`: a run becomes a file, bad input one line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_models import case

from tenkai import export
from tenkai.cli import main


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX runs already; what the command would set is another test's."""
    monkeypatch.setattr("tenkai.devices.configure", lambda **options: None)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory of a fitted model."""
    folder = tmp_path / "run"
    folder.mkdir()
    config = {"format": 1, "arguments": {"model": "neural-ode"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    case("ode").model.save(folder / "model.safetensors")
    return folder


def test_a_run_becomes_a_numpy_module(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--to", "numpy"]) == 0
    path = run / "model.py"
    assert capsys.readouterr().out == f"Wrote {path}\n"
    spec = importlib.util.spec_from_file_location("exported_run", path)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known = case("ode")
    path_of = module.simulate(*known.arguments["simulate"])
    np.testing.assert_allclose(path_of, known.wanted["simulate"], rtol=1e-11)


def test_a_run_becomes_stablehlo_in_a_chosen_precision(run: Path) -> None:
    out = run / "best.bin"
    argv = ["export", run, "--to", "stablehlo", "--out", out, "--dtype", "float64"]
    assert main([*map(str, argv), "--coverage", "0.5"]) == 0
    loaded = export.load_stablehlo(out)
    assert loaded.dtype == "float64" and "50% intervals" in loaded.forecast.doc


def test_a_run_becomes_a_c_header(run: Path) -> None:
    argv = ["export", run, "--to", "c", "--dtype", "float32", "--sizes", "times=3"]
    assert main(list(map(str, argv))) == 0
    text = (run / "model.h").read_text(encoding="utf-8")
    assert "model_simulate" in text and "double *" not in text


def test_a_run_becomes_onnx(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--to", "onnx"]) == 0
    names = {"vector_field", "simulate", "forecast"}
    assert {p.name for p in run.glob("*.onnx")} == {f"model.{n}.onnx" for n in names}
    assert capsys.readouterr().out.count("Wrote") == 3


@pytest.mark.parametrize(
    "options, words",
    [
        (["--to", "fortran"], "--to: expected numpy, c, onnx, stablehlo"),
        (["--to", "numpy", "--dtype", "half"], "--dtype: expected float32 or float64"),
        (["--to", "c", "--sizes", "rows"], "--sizes: expected names and whole numbers"),
        (["--to", "c", "--sizes", "rows=0"], "--sizes: expected names and whole numbers"),
        (["--to", "numpy", "--out", "model.txt"], "ends in .py"),
        (["--to", "numpy", "--coverage", "2"], "coverage: expected a share"),
    ],
)
def test_bad_options_are_one_line(
    options: list[str], words: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), *options]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_a_damaged_run_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = run / "model.safetensors"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    assert main(["export", str(run), "--to", "numpy"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (run / "config.json").write_text("{", encoding="utf-8")
    assert main(["export", str(run), "--to", "numpy"]) == 2
    said = capsys.readouterr().err
    assert "damaged config.json" in said and said.count("\n") == 1
    assert main(["export", str(run / "nowhere"), "--to", "numpy"]) == 2
    assert "nothing at that path" in capsys.readouterr().err
