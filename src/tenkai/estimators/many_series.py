"""What users pass to models of many series: series that show something, and their labels."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..data import Series, Trajectories
from ..errors import InputError
from .border import as_trajectories


class Marks(NamedTuple):
    """Classes of the series: their names, a code per series (-1: unknown), what to tell."""

    classes: np.ndarray
    codes: np.ndarray
    notes: tuple[str, ...]


def observed(x: Any, t: Any) -> tuple[Trajectories, tuple[str, ...]]:
    """Series with something observed, and the ids of all that were given, in their order."""
    data = as_trajectories(x, t, learn=False)
    if data.n_inputs or data.static_names:
        raise InputError(
            "data", expected="series without known inputs or covariates",
            got=", ".join((*data.input_names, *data.static_names)),
            do="make them variables, or leave them out",
        )  # fmt: skip
    listed = isinstance(x, list | tuple) and len(data) < len(x)
    given = tuple(map(str, range(len(x)))) if listed else tuple(s.id for s in data)
    kept = tuple(s for s in data if s.observed.any())
    if not kept:
        raise InputError("data", expected="observations", got="none", do="pass some")
    notes = data.notes
    if len(kept) < len(data):
        ids = {s.id for s in kept}
        lost = [s.id for s in data if s.id not in ids]
        shown = ", ".join(map(repr, lost[:5])) + ", ..." * (len(lost) > 5)
        notes = (*notes, f"{len(lost)} series without observations left out: {shown}")
    made = Trajectories(
        kept, data.names, (), (), data.units, data.time_name, data.clock, data.hold, notes
    )
    return made, given


def beyond(one: Series, at: np.ndarray, longest: float, unit: str) -> tuple[str, ...]:
    """A note where `at` lie further from a series' beginning than any that was learned lasts."""
    far = float(np.max(np.abs(at - one.t[0]), initial=0.0))
    if far <= longest * (1 + 1e-9):
        return ()
    reach = f"{far:.4g} {unit}".rstrip()
    return (
        f"extrapolates: up to {reach} from the series' beginning; the longest that was learned "
        f"lasts {longest:.4g}",
    )


def marks_of(labels: Any, data: Trajectories, given: tuple[str, ...]) -> Marks | None:
    """Classes of the series that are learned, `given` the ids of those that were passed.

    `labels` are a sequence in the order of the latter, or a dictionary (or a column) by id, None
    or NaN where unknown. Raises `InputError` for labels that do not match, or are no classes.
    """
    if labels is None:
        return None
    by_id = _by_id(labels, given)
    found = [by_id.get(s.id) for s in data]
    known = np.array([not _missing(v) for v in found])
    values = [v for v, k in zip(found, known, strict=True) if k]
    classes = _classes(values)
    codes = np.full(len(data), -1)
    codes[known] = np.searchsorted(classes, np.array(values))
    count = np.bincount(codes[known], minlength=len(classes))
    notes = [f"class {c!r} is seen once: it cannot be judged"
             for c, n in zip(classes.tolist(), count, strict=True) if n == 1]  # fmt: skip
    if not known.all():
        notes.append(f"{int((~known).sum())} series have no label: they train without")
    return Marks(classes, codes, tuple(notes))


def _classes(values: list[Any]) -> np.ndarray:
    """The different labels, sorted; `InputError` for what are no classes."""
    if len({isinstance(v, str) for v in values}) > 1:
        raise InputError(
            "labels", expected="labels of one kind", got="numbers and strings",
            do="use numbers or strings",
        )  # fmt: skip
    classes = np.unique(np.array(values)) if values else np.empty(0)
    if classes.dtype.kind == "f" and (classes % 1 != 0).any():
        raise InputError(
            "labels", expected="classes", got="real numbers", do="cut them into classes first"
        )
    if len(classes) < 2:
        raise InputError(
            "labels", expected="two classes or more", got=f"{len(classes)}",
            do="leave labels out, or pass series of another class",
        )  # fmt: skip
    return classes


def _by_id(labels: Any, given: tuple[str, ...]) -> dict[str, Any]:
    if hasattr(labels, "to_dict") and hasattr(labels, "index"):  # of pandas
        named = {str(k): v for k, v in labels.to_dict().items()}
        if set(named) & set(given):
            labels = named
        else:
            labels = np.asarray(labels)
    if isinstance(labels, Mapping):
        by_id = {str(k): v for k, v in labels.items()}
        unknown = sorted(set(by_id) - set(given))
        if unknown or not set(by_id) & set(given):
            raise InputError(
                "labels", expected=f"ids of series, such as {given[0]!r}",
                got=repr(unknown[0]) if unknown else "none", do="use the ids of the series",
            )  # fmt: skip
        return by_id
    if np.ndim(labels) != 1 or len(labels) != len(given):
        raise InputError(
            "labels", expected=f"one per series ({len(given)})",
            got=f"shape {np.shape(labels)}", do="pass one label per series, None for unknown",
        )  # fmt: skip
    return dict(zip(given, list(labels), strict=True))


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, Real) and value != value)
