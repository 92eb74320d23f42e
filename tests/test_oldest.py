"""The oldest JAX that pyproject.toml admits, in an environment of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PINNED = ("jax", "equinox", "diffrax", "optax")


@pytest.mark.slow
def test_the_core_runs_on_the_oldest_versions(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = dict(re.match(r"([a-z]+)>=([\d.]+)", d).groups() for d in project["dependencies"]
                  if d.startswith(PINNED))  # fmt: skip
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    pins = [f"{name}=={floors[name]}" for name in PINNED]
    subprocess.run([python, "-m", "pip", "install", "-q", *pins, f"{ROOT}[test]"], check=True)
    core = [ROOT / "tests" / f"test_{room}.py" for room in ("fit", "grid", "storage", "unfold")]
    subprocess.run([python, "-m", "pytest", "-p", "no:cacheprovider", *core], check=True, cwd=ROOT)
    version = subprocess.run([python, "-c", "import jax; print(jax.__version__)"], check=True,
                             capture_output=True, text=True).stdout.strip()  # fmt: skip
    assert version == floors["jax"] + (".0" if floors["jax"].count(".") == 1 else "")
