"""What every flow can do, as the table of Grathwohl et al. (2019, table 1), from the classes.

``python -m tenkai.flows.abilities docs/density.md`` writes it between the page's markers.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from . import Architecture, Inverse, Planar
from . import __all__ as _public
from . import __dict__ as _names
from .flow import Abilities

BEGIN, END = "<!-- abilities -->", "<!-- /abilities -->"
_HEAD = (
    "flow", "trains from data", "one-pass sampling", "exact density", "free-form Jacobian",
    "data → base", "base → data",
)  # fmt: skip
_NOTE = (
    "A numerical inverse is exact to its tolerance. A flow whose densities go through one matches "
    "an unnormalised density; to be fitted to rows it must be inverted, which makes densities "
    "exact and samples numerical. IAF has exact densities too, one variable after another."
)


def flows() -> list[tuple[str, Abilities]]:
    """Every public architecture with its abilities, the most able last.

    Those that take their abilities from an argument are left out, except one inverted flow.
    """
    found = {"Inverse(Planar)": Inverse(Planar()).abilities}
    for name in _public:
        kind = _names[name]
        if inspect.isclass(kind) and issubclass(kind, Architecture):
            can = getattr(kind, "abilities", None)
            if isinstance(can, Abilities):
                found[name] = can
    return sorted(found.items(), key=_order)


def _order(pair: tuple[str, Abilities]) -> tuple:
    name, can = pair
    return _marks(can), can.to_base != "D passes", name.lower()


def _marks(can: Abilities) -> tuple[bool, ...]:
    return can.trains_from_data, can.one_pass_sampling, can.exact_density, can.free_form


def table() -> str:
    """The table as Markdown, and what a dash in its first column means."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|---" + "|:-:" * 4 + "|---|---|"]
    for name, can in flows():
        marks = ["✓" if mark else "–" for mark in _marks(can)]
        lines.append(f"| {' | '.join((f'`{name}`', *marks, can.to_base, can.to_data))} |")
    return "\n".join([*lines, "", _NOTE])


def written(page: str) -> str:
    """`page` with the table between its two markers; unchanged where it has none.

    >>> written("no markers")
    'no markers'
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{table()}\n{end}{after}" if begin and end else page


def _main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    _main()
