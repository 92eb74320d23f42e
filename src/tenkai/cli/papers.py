"""`tenkai reproduce`: what was published beside what we get."""

from __future__ import annotations

from pathlib import Path

from .. import reproduce
from ..errors import InputError
from .folder import write_json


def list_entries() -> None:
    """Names and titles, without importing any entry."""
    names = reproduce.names()
    width = max(map(len, names), default=0)
    for name in names:
        print(f"{name:<{width}}  {reproduce.title(name)}")


def run_entries(
    names: list[str],
    out: Path | None,
    data: Path | None,
    budget: float | None,
    figures: Path | None,
) -> None:
    """Run the named entries (all when none is named), print each table as it comes, write JSON.

    The JSON file is one object for one entry and a list of them otherwise; it is written after
    every entry, so that an hour's work does not wait for the last one.
    """
    if budget is not None and not budget > 0:
        raise InputError("--budget", expected="minutes > 0", got=str(budget), do="pass more")
    if data is not None and not data.exists():
        raise InputError(
            "--data", expected="a directory or a file", got=str(data), do="check the path"
        )
    for name in names:
        reproduce.title(name)  # an unknown name is refused before the first entry takes its time
    task = reproduce.Task(out=figures, data=data, budget=budget)
    done = []
    for name in names or reproduce.names():
        result = reproduce.reproduce(name, task)
        print(result, flush=True)
        done.append(result.to_json())
        if out is not None:
            write_json(out, done[0] if len(names) == 1 else done)
        _forget_programs()


def _forget_programs() -> None:
    """Drop what the entry compiled: all entries together would run out of memory maps."""
    import equinox
    import jax

    jax.clear_caches()
    equinox.clear_caches()
