"""What the README, the guides and the examples say is run as it is printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDES = (
    "classifiers",
    "density",
    "manifold",
    "optim",
    "problems",
    "profile",
    "regression",
    "sde",
    "series",
    "unfolding",
)


def blocks(page: str) -> list[str]:
    """The Python of a page as it is printed."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


BLOCKS = blocks("README.md")


def run(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{i}" for i in range(len(BLOCKS))])
def test_python_of_the_readme_runs(block: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    run(["-c", block], tmp_path)


@pytest.mark.parametrize("guide", GUIDES)
def test_python_of_a_guide_runs_as_one_program(guide: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    parts = blocks(f"docs/{guide}.md")
    assert parts
    run(["-c", "\n".join(parts)], tmp_path)


def test_the_example_draws_its_picture(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    assert "converged" in run(["examples/lynx_hare.py"], tmp_path)
    assert (tmp_path / "lynx_hare.png").stat().st_size > 50_000


def test_both_readmes_hold_the_same_programs() -> None:
    def code(page: str) -> list[str]:
        return [re.sub(r" *#.*", "", block) for block in blocks(page)]

    assert code("README.md") == code("README.ja.md")


def test_both_readmes_print_the_same_commands() -> None:
    english, japanese = (
        set(re.findall(r"^python3 -m venv.*$", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        for name in ("README.md", "README.ja.md")
    )
    assert english == japanese
    assert len(english) == 2
