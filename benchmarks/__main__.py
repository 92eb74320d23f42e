"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .harness import MissingPeer, Race, hold, table

PACKAGES = (
    "tenkai",
    "jax",
    "jaxlib",
    "diffrax",
    "equinox",
    "optax",
    "torch",
    "torchdiffeq",
    "zuko",
)
HERE = Path(__file__).parent


def names() -> list[str]:
    """Every entry, without importing any."""
    found = [m for m in pkgutil.iter_modules([str(HERE)]) if not m.ispkg]
    modules = {m.name for m in found} - {"harness", "__main__"}
    return sorted(name.replace("_", "-") for name in modules)


def title(name: str) -> str:
    """The first line of an entry's docstring."""
    source = (HERE / (name.replace("-", "_") + ".py")).read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or name).splitlines()[0].rstrip(".")


def machine() -> dict[str, Any]:
    """The machine and the versions, in words."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return {
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "versions": found,
    }


def measure(name: str, quick: bool, clock: Callable[[], float]) -> list[dict[str, Any]]:
    """Run the races of one entry, print their tables, return them for ``--json``."""
    print(f"{name}: {title(name)}", flush=True)
    races = importlib.import_module("benchmarks." + name.replace("-", "_")).prepare(quick)
    return [
        run(name, race, quick, clock) for race in ([races] if isinstance(races, Race) else races)
    ]


def run(name: str, race: Race, quick: bool, clock: Callable[[], float]) -> dict[str, Any]:
    """One race."""
    if race.title:
        print(f" {race.title}", flush=True)
    results = hold(race, clock)
    print(table(race, results), flush=True)
    extras = {label: measured() for label, measured in race.extras.items()}
    for label, value in extras.items():
        print(f"  {label}: {value:.3g}")
    return {
        "name": name,
        "race": race.title,
        "unit": race.unit,
        "error": race.error_name,
        "quick": quick,
        "rounds": race.rounds,
        "contenders": [r.to_json() for r in results],
        "extras": extras,
    }


def main(arguments: list[str] | None = None) -> int:
    """0 done, 2 bad usage or a peer that is not installed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="entries to run; all of them unless named"
    )
    parser.add_argument("--list", action="store_true", help="print the entries and stop")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and steps: does it run?")
    parser.add_argument(
        "--processor-time", action="store_true",
        help="measure processor seconds: for a machine that others use, and one thread",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(names()):
        parser.error(f"no entry {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    if chosen.list:
        print("\n".join(f"{name:<20} {title(name)}" for name in names()))
        return 0
    try:
        clock = time.process_time if chosen.processor_time else time.perf_counter
        chosen_names = chosen.names or names()
        entries = [e for name in chosen_names for e in measure(name, chosen.quick, clock)]
    except MissingPeer as error:
        print(error, file=sys.stderr)
        return 2
    if chosen.json:
        text = json.dumps(machine() | {"entries": entries}, indent=1)
        chosen.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
