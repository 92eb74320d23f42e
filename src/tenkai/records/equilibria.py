"""Equilibria and limit cycles of a learned flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A state (dim,) where nothing moves, in raw units, hidden dimensions last in model units.

    `spread` is the standard deviation of its place over the `members` that have it too. The
    `eigenvalues` (dim,) of the Jacobian there are per unit of the time column: real parts are rates
    of growth, ``2 pi / |imaginary part|`` the period of the turning. `eigenvalue_spread` is
    complex: the spread of the real parts plus i times that of the imaginary parts.

    `kind` is a stable or unstable node (real eigenvalues) or focus (complex ones), a saddle (both
    signs), a centre (complex with a real part of zero), an undecided focus (complex, and the
    members do not agree on the sign of the real part), undecided (the same of a real eigenvalue) or
    degenerate (an eigenvalue that is zero). `stable` is None where the members cannot tell.

    `inside` says that it lies in the range of the data; elsewhere it is extrapolated. `distance` is
    that to the nearest state of a learned path, in standard deviations: an equilibrium amid a cycle
    lies in the range of the data and may yet be far from all of them.
    """

    point: np.ndarray
    spread: np.ndarray
    eigenvalues: np.ndarray
    eigenvalue_spread: np.ndarray
    kind: str
    stable: bool | None
    members: int
    inside: bool
    distance: float


@dataclass(frozen=True, eq=False)
class Cycle:
    """A closed orbit (points, dim) in raw units that no other closed orbit is next to.

    `period` is in units of the time column, `period_spread` its standard deviation over the
    `members` that have the cycle too. `multipliers` (dim - 1,), those of Floquet without the
    trivial one, say by what factor a small distance from the orbit changes in one turn; `stable`
    is None where the members cannot tell. `inside` says that the orbit lies in the range of the
    data, or not more than a tenth of it outside.
    """

    period: float
    period_spread: float
    orbit: np.ndarray
    multipliers: np.ndarray
    stable: bool | None
    members: int
    inside: bool
    names: tuple[str, ...] = ()
    time_name: str = "time"

    def to_frame(self) -> pd.DataFrame:
        """One row per point of the orbit: time since its first point, then the variables."""
        import pandas as pd

        time = np.linspace(0.0, self.period, len(self.orbit))
        return pd.DataFrame(
            {self.time_name: time, **dict(zip(self.names, self.orbit.T, strict=True))}
        )


@dataclass(frozen=True, eq=False)
class Equilibria:
    """What was found in a flow, those inside the range of the data first.

    ``len``, indexing and iteration are over the equilibria; `cycles` are the limit cycles. Both are
    of the mean of the `trusted` members' fields, with `inputs` (raw units) held constant. `notes`
    say what was looked for and not found. `paths` are the learned paths of the training series.
    """

    points: tuple[Equilibrium, ...]
    cycles: tuple[Cycle, ...]
    names: tuple[str, ...]
    trusted: int
    notes: tuple[str, ...] = ()
    inputs: dict[str, float] = field(default_factory=dict)
    time_name: str = "time"
    time_unit: str = ""
    paths: tuple[np.ndarray, ...] = field(default=(), repr=False)
    observed: int = 0
    derivative: Callable[[np.ndarray], np.ndarray] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, which: int) -> Equilibrium:
        return self.points[which]

    def __iter__(self) -> Iterator[Equilibrium]:
        return iter(self.points)

    @property
    def rate_unit(self) -> str:
        """What eigenvalues are measured in."""
        unit = self.time_unit.removesuffix("s") or f"unit of {self.time_name}"
        return f"per {unit}"

    def __str__(self) -> str:
        held = ", ".join(f"{name} = {value:.4g}" for name, value in self.inputs.items())
        lines = [f"{_counted(len(self), 'equilibrium', 'equilibria')}, "
                 f"{_counted(len(self.cycles), 'limit cycle', 'limit cycles')}"
                 + (f" at {held}" if held else "")]  # fmt: skip
        if self.points:
            lines += _aligned([self.heads(), *self.rows()])
        lines += [sentence(cycle, self) for cycle in self.cycles]
        return "\n".join([*lines, *self.notes])

    def heads(self) -> tuple[str, ...]:
        """The heads of the table."""
        rates = f"eigenvalues ({self.rate_unit})"
        return ("kind", *self.names, rates, "members", "data range", "nearest data (sd)")

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text: kind, place, eigenvalues, members that have it, where it lies."""
        return [
            (
                e.kind,
                *(with_spread(v, s) for v, s in zip(e.point, e.spread, strict=True)),
                eigenvalue_text(e),
                f"{e.members} of {self.trusted}",
                "inside" if e.inside else "outside",
                f"{e.distance:.2f}",
            )
            for e in self.points
        ]

    def to_frame(self) -> pd.DataFrame:
        """One row per equilibrium: kind, place with spread, eigenvalues, members, inside."""
        import pandas as pd

        rows = []
        for e in self.points:
            row: dict[str, Any] = {"kind": e.kind, "stable": e.stable}
            for name, value, spread in zip(self.names, e.point, e.spread, strict=True):
                row |= {name: value, f"{name} spread": spread}
            for k, value in enumerate(e.eigenvalues):
                row |= {f"growth {k + 1}": value.real, f"frequency {k + 1}": value.imag}
            rows.append(row | {"members": e.members, "inside": e.inside, "distance": e.distance})
        return pd.DataFrame(rows)

    def plot(self, **options: Any) -> Any:
        """Matplotlib axes: the phase portrait of a pair of variables; ``pair=(0, 1)``, `ax=`."""
        from .. import report

        return report.plot(self, **options)


def sentence(cycle: Cycle, found: Equilibria) -> str:
    """A limit cycle in words."""
    how = {True: "stable", False: "unstable", None: "undecided"}[cycle.stable]
    period = f"period {with_spread(cycle.period, cycle.period_spread)} {found.time_unit}".rstrip()
    factor = f"{np.abs(cycle.multipliers).max():.2g}" if len(cycle.multipliers) else "-"
    where = "" if cycle.inside else ", partly outside the range of the data"
    return (
        f"limit cycle ({how}): {period}, distances from it change by a factor of {factor} a turn, "
        f"{cycle.members} of {found.trusted} members{where}"
    )


def with_spread(value: float, spread: float, zero: float = 1e-9) -> str:
    """A number to the digits that its spread leaves: 2.013 ± 0.021; four digits without one.

    What is not larger than `zero` is rounding.
    """
    value = 0.0 if abs(value) < zero else value
    if not spread > max(1e-6 * abs(value), zero):
        return f"{value:.4g}"
    digits = int(1 - np.floor(np.log10(spread)))
    if not 0 <= digits < 7:
        return f"{value:.4g} ± {spread:.2g}"
    return f"{value:.{digits}f} ± {spread:.{digits}f}"


def eigenvalue_text(e: Equilibrium) -> str:
    """Eigenvalues with their spreads; a complex pair is written once."""
    parts, zero = [], 1e-6 * float(np.abs(e.eigenvalues).max())
    for value, spread in zip(e.eigenvalues, e.eigenvalue_spread, strict=True):
        real = with_spread(value.real, spread.real, zero)
        turn = with_spread(value.imag, spread.imag, zero)
        if value.imag > 0:
            real, turn = (f"({v})" if "±" in v else v for v in (real, turn))
            parts.append(f"{real} ± {turn}i")
        elif value.imag == 0:
            parts.append(real)
    return ", ".join(parts)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count or 'no'} {one if count == 1 else many}"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(c + " " * (w - _width(c)) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _width(text: str) -> int:
    """Columns that a text takes: Chinese and Japanese characters take two."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)
