"""What makes a density of a table singular, arbitrarily high, or not what was meant; in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..errors import InputError

_SINGULAR = 1e-5  # standard deviations that a column keeps beside the others
_NEARLY = 1e-2
_SHARE = 0.02  # of the rows on one value, from which on it may be an atom
_TOWERS = 5.0  # times as many as on the values beside it
_ROUNDED = 0.5  # different values per row, below which a column is told as rounded
_CATEGORIES = 12  # different whole numbers, up to which they may be meant as categories
_NAMED = 6  # columns that a note names


@dataclass(frozen=True)
class ColumnRepeats:
    """One column: how many different values, the value on which most rows lie, and how many do.

    `atom` says that this value stands out of those beside it, `category` that the column is a few
    whole numbers, `rounded` that fewer than half of the rows have a value of their own.
    """

    name: str
    distinct: int
    value: float
    count: int
    atom: bool
    category: bool
    rounded: bool


@dataclass(frozen=True)
class Repeats:
    """Rows that repeat an earlier row, and repeated values of every column.

    On each of them a density can be made arbitrarily high, so a high score may mean nothing.
    """

    rows: int
    duplicates: int
    columns: tuple[ColumnRepeats, ...]

    @property
    def atoms(self) -> tuple[ColumnRepeats, ...]:
        """The columns with a value that stands out."""
        return tuple(c for c in self.columns if c.atom)

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence per finding, with what to do."""
        told = []
        if self.duplicates:
            told.append(
                f"{self.duplicates:,} of {self.rows:,} rows repeat an earlier row: a density can "
                "be made arbitrarily high on them, and a row on both sides of a split flatters "
                "the held-out score. Do: keep each row once, unless each was observed"
            )
        told += [
            f"column {c.name!r}: {c.count / self.rows:.0%} of the rows are exactly {c.value:g}, an "
            "atom, where a density can be made arbitrarily high. Do: model these rows apart"
            for c in self.atoms
        ]
        told += [
            f"column {c.name!r} holds {c.distinct} different whole numbers: categories or counts "
            "have no density. Do: leave it out, pass it as a context (one column per category), or "
            "add uniform noise of width 1"
            for c in self.columns
            if c.category and not c.atom
        ]
        rounded = [c for c in self.columns if c.rounded and not c.atom and not c.category]
        if rounded:
            named = ", ".join(f"{c.name!r} ({c.distinct:,})" for c in rounded[:_NAMED])
            more = f" and {len(rounded) - _NAMED} more" if len(rounded) > _NAMED else ""
            told.append(
                f"repeated values, columns with the count of different ones: {named}{more}. They "
                "are rounded: a density can be made arbitrarily high on the values that occur. Do: "
                "compare scores only between models that are as smooth"
            )
        return tuple(told)


def repeats(x: Float[np.ndarray, "rows dim"], names: Sequence[str]) -> Repeats:
    """Count duplicate rows and repeated values."""
    distinct = len(np.unique(x, axis=0))
    columns = tuple(_column(x[:, j], name) for j, name in enumerate(names))
    return Repeats(len(x), len(x) - distinct, columns)


def _column(x: np.ndarray, name: str) -> ColumnRepeats:
    values, counts = np.unique(x, return_counts=True)
    top = int(np.argmax(counts))
    beside = counts[max(top - 2, 0) : top + 3]
    others = (beside.sum() - counts[top]) / max(len(beside) - 1, 1)
    count = int(counts[top])
    whole = bool(len(values) <= min(_CATEGORIES, len(x) / 2) and (values % 1 == 0).all())
    towers = bool(count > _TOWERS * max(others, 1))
    atom = not whole and count >= max(_SHARE * len(x), 5) and towers
    return ColumnRepeats(
        name, len(values), float(values[top]), count, atom, whole, len(values) < _ROUNDED * len(x)
    )


def groups(x: Float[np.ndarray, "rows dim"]) -> np.ndarray:
    """A number for every row (rows,), the same for equal rows: what a split keeps together."""
    return np.unique(x, axis=0, return_inverse=True)[1].reshape(-1)


def folds(x: Float[np.ndarray, "rows dim"], count: int, seed: int) -> np.ndarray:
    """The fold of every row (rows,), 0 to count - 1, as equal in size as equal rows allow."""
    group = groups(x)
    order = np.random.default_rng(seed).permutation(group.max() + 1)
    return (order % count)[group]


def check_finite(x: Float[np.ndarray, "rows dim"], names: Sequence[str], what: str = "X") -> None:
    """`InputError` naming the first column that holds NaN or infinity."""
    bad = ~np.isfinite(x)
    if not bad.any():
        return
    j = int(np.flatnonzero(bad.any(0))[0])
    row = int(np.flatnonzero(bad[:, j])[0])
    said = "NaN" if np.isnan(x[row, j]) else str(x[row, j])
    count = int(bad[:, j].sum())
    raise InputError(
        f"{what}, column {names[j]!r}", expected="finite numbers",
        got=f"{said} in row {row}" + (f" and {count - 1} more" if count > 1 else ""),
        do="leave these rows out, or fill them in",
    )  # fmt: skip


def check_singular(x: Float[np.ndarray, "rows dim"], names: Sequence[str]) -> tuple[str, ...]:
    """`InputError` where the density would be singular; notes where it nearly is.

    Constant columns, columns that copy others or are linear in them, fewer rows than columns.
    """
    n, dim = x.shape
    if n < dim + 2:
        raise InputError(
            "X", expected=f"at least {dim + 2} rows for {dim} column{'s' * (dim > 1)}",
            got="one sample" if n == 1 else f"{n} rows",
            do="pass more rows or fewer columns",
        )  # fmt: skip
    scale = x.std(0)
    for j in np.flatnonzero(scale <= 1e-12 * np.abs(x).max(0)).tolist():
        same = bool((x[:, j] == x[0, j]).all())
        raise InputError(
            f"column {names[j]!r}", expected="values that vary",
            got=f"{x[0, j]:g} in every row" + " up to rounding" * (not same),
            do="leave it out: a density on a constant is singular"
            if same
            else f"leave it out, or subtract {x[0, j]!r} if its last digits are meant",
        )  # fmt: skip
    standard = (x - x.mean(0)) / scale
    correlation = standard.T @ standard / n
    _check_copies(x, correlation, names)
    return _check_dependent(x, standard, names)


def check_fixed(
    x: Float[np.ndarray, "rows dim"], context: Float[np.ndarray, "rows k"], names: Sequence[str]
) -> None:
    """`InputError` where columns are linear in the context, given which they are a point."""
    n, dim = x.shape
    if n < dim + context.shape[1] + 2:
        return
    standard = (x - x.mean(0)) / x.std(0)
    scale = context.std(0)
    varies = scale > 1e-12 * np.abs(context).max(0)
    known = (context - context.mean(0))[:, varies] / scale[varies]
    left = standard - known @ np.linalg.lstsq(known, standard, rcond=1e-9)[0]
    _, size, directions = np.linalg.svd(left, full_matrices=False)
    entries = np.abs(directions[-1])
    if size[-1] / n**0.5 / entries.max() < _SINGULAR:
        involved = np.flatnonzero(entries > 1e-3 * entries.max()).tolist()
        told = ", ".join(repr(names[j]) for j in involved)
        raise InputError(
            f"column{'s' * (len(involved) > 1)} {told}",
            expected="values that the context does not fix",
            got=f"{names[int(entries.argmax())]!r} = a linear function of the context"
            + " and the others" * (len(involved) > 1),
            do="leave the column out, or what fixes it out of the context: given that, its density "
            "is singular",
        )  # fmt: skip


def _check_copies(x: np.ndarray, correlation: np.ndarray, names: Sequence[str]) -> None:
    """Pairs of columns that are linear in each other."""
    first, second = np.triu_indices(len(correlation), 1)
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        if 1 - abs(correlation[a, b]) < 0.5 * _SINGULAR**2:
            copy = np.array_equal(x[:, a], x[:, b])
            got = "a copy of" if copy else "a multiple (plus a constant) of"
            raise InputError(
                f"column {names[b]!r}", expected="values of its own",
                got=f"{got} column {names[a]!r}",
                do="leave one of them out: the density of both is singular",
            )  # fmt: skip


def _check_dependent(x: np.ndarray, standard: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    """The direction in which the standardised rows vary least, and the columns in it."""
    _, size, directions = np.linalg.svd(standard, full_matrices=False)
    least = size[-1] / len(x) ** 0.5
    # Leaving the column with the largest entry to the others leaves about this of it.
    entries = np.abs(directions[-1])
    left = least / entries.max()
    involved = [names[j] for j in np.flatnonzero(entries > 1e-3 * entries.max()).tolist()]
    told = ", ".join(repr(name) for name in involved)
    if left < _SINGULAR:
        raise InputError(
            f"columns {told}", expected="columns of which none is a linear combination of others",
            got=f"{names[int(entries.argmax())]!r} = a linear combination of the others",
            do="leave one of them out: the density of all is singular",
        )  # fmt: skip
    if left < _NEARLY:
        return (
            f"columns {told} are nearly linearly dependent: {names[int(entries.argmax())]!r} keeps "
            f"{left:.1g} of its standard deviation beside the others, so the density is high there",
        )
    return ()
