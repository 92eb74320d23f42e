"""Imports run one way, and importing tenkai is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "tenkai"
ROOMS = [
    *("errors", "described", "records", "data", "fields", "unfold", "convolution", "solve"),
    *("models", "objectives", "devices", "storage", "optim", "fit", "curriculum", "diffusions"),
    *("flows", "sequences", "classifiers", "manifolds", "regression", "problems", "algorithms"),
    *("analysis", "profile", "report", "estimators", "judging", "export", "reproduce", "cli"),
    "__main__",
]
FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[tuple[str, bool]]:
    """(room, imported at module level) for every import from tenkai itself."""
    tree = ast.parse(path.read_text())
    inside = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    package = path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = tuple((node.module or "").split(".")) if node.module else ()
            full = base + module
            names = [full[0]] if full else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tenkai"):
            parts = (node.module or "").split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name.split(".")[1] for a in node.names if a.name.startswith("tenkai.")]
        found |= {(name, node not in inside) for name in names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    here = room_of(path)
    assert here in ROOMS, f"{path} stands in no room"
    for name, _ in imported_rooms(path):
        if name == here or name == "__version__":
            continue
        assert name in ROOMS, f"{path} imports unknown room {name}"
        plot = name == "report" and here in {"records", "estimators", "algorithms"}
        assert plot or ROOMS.index(name) < ROOMS.index(here), f"{here} imports {name}"


def test_import_loads_no_jax() -> None:
    code = "import sys, tenkai; sys.exit(any(m in sys.modules for m in ('jax','numpy','pandas')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_resolves() -> None:
    import tenkai

    for name in tenkai.__all__:
        assert getattr(tenkai, name) is not None
