"""The notebooks of the articles: made by their table, of entries that exist, and they run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tenkai import reproduce

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(p.name for p in EXAMPLES.glob("*.ipynb"))


@pytest.fixture
def articles(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import articles

    return articles


def test_the_files_are_those_of_the_table(articles: ModuleType) -> None:
    made = articles.files()
    assert sorted(made) == sorted([*NOTEBOOKS, "README.md"])
    for name, text in made.items():
        assert (EXAMPLES / name).read_text(encoding="utf-8") == text, "run examples/articles.py"


def test_every_command_exists(articles: ModuleType) -> None:
    known = set(reproduce.names())
    steps = [s for a in articles.ARTICLES for s in a.steps]
    assert len(steps) > 30 and {s.entry for s in steps} <= known


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run(name: str, tmp_path: Path) -> None:
    for file in (name, "articles.py"):
        shutil.copy(EXAMPLES / file, tmp_path)
    environment = {k: v for k, v in os.environ.items() if k != "TENKAI_DATA"}
    command = [sys.executable, "-m", "jupyter", "execute", "--inplace", name]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment | {"TENKAI_QUICK": "1"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads((tmp_path / name).read_text(encoding="utf-8"))["cells"]
    printed = [c for c in cells if c["cell_type"] == "code" and c["outputs"]]
    said = [json.dumps(c["outputs"]) for c in printed]
    assert all("quantity" in text or "left out of a quick run" in text for text in said)
    assert any("quantity" in text for text in said)
