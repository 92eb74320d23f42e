"""`tenkai profile` of a run: words, tables, a picture; refusals before anything is measured."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import Say
from test_cli import tk as tk

from tenkai.cli import main


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profile")
    t = np.linspace(0, 3, 25)
    rows = [f"{a:.6g},{np.exp(-a):.6g}" for a in t]
    (folder / "d.csv").write_text("\n".join(["t,水位", *rows]) + "\n", encoding="utf-8")
    argv = ["fit", str(folder / "d.csv"), "--time", "t", "--members", "1", "--steps", "50"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenkai.devices.configure", lambda **options: None)
        assert main([*argv, "--out", str(folder / "run"), "--quiet"]) in (0, 3)
    return folder / "run"


def test_a_run_is_profiled(tk: Say, fitted: Path) -> None:
    said = tk("profile", fitted, "--seconds", "3", "--tolerance", "1e-3")
    assert said.code == 0 and "evaluations" in said.out
    with (fitted / "profile.csv").open() as stream:
        solves = list(csv.DictReader(stream))
    used = [one for one in solves if f"{one['method']}, {one['steps']} steps: " in said.out]
    assert used and any(float(one["error"]) <= 1e-3 for one in used)
    assert (fitted / "profile.png").read_bytes()[:4] == b"\x89PNG"


def test_bad_requests_are_refused_at_once(
    tk: Say, fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: Any, **options: Any) -> None:
        raise AssertionError("measured all the same")

    monkeypatch.setattr("tenkai.estimators.load", never)
    said = tk("profile", fitted, "--out", fitted / "nowhere")
    assert said.code == 2 and "expected a folder" in said.err
    assert tk("profile", fitted.parent / "none").code == 2
