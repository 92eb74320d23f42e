"""Published tables and figures beside ours: one file per entry, each a command.

An entry is a module of this package. Its name with hyphens is the command's, the first line of its
docstring is its title, and ``run(task) -> list[Row]`` does the work. A published number that ours
does not reach is printed beside it.
"""

from __future__ import annotations

import ast
import importlib
import math
import pkgutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..errors import InputError

_LARGE = 1e12  # beyond, decimals say nothing


@dataclass(frozen=True)
class Row:
    """One published quantity beside ours, which is over `n` seeds with standard deviation `sd`."""

    quantity: str
    published: float | None
    ours: float | None
    sd: float | None = None
    n: int = 1
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Task:
    """Where an entry puts its pictures, finds its data, and how many minutes it may take.

    Without `out` nothing is drawn; without `budget` the entry takes what the publication took.
    """

    out: Path | None = None
    data: Path | None = None
    budget: float | None = None


@dataclass(frozen=True)
class Reproduction:
    """The rows of one entry and the seconds they took; `to_json` is one entry of ``--json``."""

    name: str
    rows: Sequence[Row]
    seconds: float
    budget: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not a finite number is null."""

        def plain(x: Any) -> Any:
            return None if isinstance(x, float) and not math.isfinite(x) else x

        rows = [{k: plain(v) for k, v in asdict(row).items()} for row in self.rows]
        return {"name": self.name, "rows": rows, "seconds": self.seconds, "budget": self.budget}

    def __str__(self) -> str:
        return f"{self.name}: {title(self.name)} [{self.seconds:.1f} s]\n{table(self.rows)}"


def names() -> list[str]:
    """Every entry's name, without importing any."""
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__))


def title(name: str) -> str:
    """The first line of the entry's docstring, without importing it."""
    source = Path(__path__[0], _module(name) + ".py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or name).splitlines()[0].rstrip(".")


def reproduce(name: str, task: Task = Task()) -> Reproduction:
    """Run one entry; `InputError` lists the known ones."""
    module = importlib.import_module(f"{__name__}.{_module(name)}")
    if task.out is not None:
        task.out.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    rows = module.run(task)
    return Reproduction(name, tuple(rows), time.perf_counter() - begun, task.budget)


def _module(name: str) -> str:
    if name not in names():
        known = ", ".join(names())
        raise InputError("reproduce", expected=f"one of {known}", got=name, do="pick one of these")
    return name.replace("-", "_")


def table(rows: Sequence[Row]) -> str:
    """Rows as aligned text: quantity, published, ours ± sd (n), note."""
    cells = [("quantity", "published", "ours", "note")]
    cells += [(_quantity(r), _published(r), _ours(r), r.note) for r in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(3)]
    lines = []
    for what, published, ours, note in cells:
        numbers = f"{published:>{widths[1]}}  {ours:>{widths[2]}}"
        lines.append(f"  {what:<{widths[0]}}  {numbers}  {note}".rstrip())
    return "\n".join(lines)


def _quantity(row: Row) -> str:
    return f"{row.quantity} [{row.unit}]" if row.unit else row.quantity


def _published(row: Row) -> str:
    return "–" if row.published is None else f"{row.published:.12g}"


def _ours(row: Row) -> str:
    """One decimal more than was published."""
    if row.ours is None:
        return "–"
    if row.published is None or not abs(row.ours) < _LARGE:  # NaN, too
        value = f"{row.ours:.4g}"
    else:
        exponent = Decimal(str(row.published)).as_tuple().exponent
        value = f"{Decimal(repr(float(row.ours))).quantize(Decimal(1).scaleb(int(exponent) - 1)):g}"
    spread = "" if row.sd is None else f" ± {row.sd:.2g}"
    return value + spread + (f" (n={row.n})" if row.n > 1 else "")
