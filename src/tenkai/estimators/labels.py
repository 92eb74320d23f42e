"""Labels of series as users pass them: matched to the series, then numbered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data import Trajectories
from ..errors import InputError


def matched(labels: Any, data: Trajectories, given: int | None = None) -> np.ndarray:
    """One label per series, objects (series,); None where it is unknown.

    `labels` is a sequence in the order of the series, or a mapping (or a column indexed) by the
    series' ids. `given` is how many series the user passed, where some were left out of `data`
    since: a sequence is then in the order of those, whose ids are their numbers.

    Raises `InputError` for labels that do not match the series.
    """
    if hasattr(labels, "to_dict") and hasattr(labels, "index"):  # a pandas column
        by_position = list(labels.index) == list(range(len(labels)))
        labels = labels.to_numpy() if by_position else labels.to_dict()
    if isinstance(labels, Mapping):
        named = {str(k): v for k, v in labels.items()}
        missing = [s.id for s in data if s.id not in named]
        if missing:
            raise InputError(
                "labels", expected="a label for every series", got=f"none for {missing[0]!r}",
                do="add it, None where it is unknown",
            )  # fmt: skip
        return np.array([_plain(named[s.id]) for s in data], dtype=object)
    values = list(labels) if np.ndim(labels) == 1 or isinstance(labels, list | tuple) else None
    count = len(data) if given is None else given
    if values is None or len(values) != count:
        got = f"{len(values)}" if values is not None else f"shape {np.shape(labels)}"
        raise InputError(
            "labels", expected=f"one per series ({count})", got=got,
            do="pass a label for every series, or a dictionary by their ids",
        )  # fmt: skip
    if given is not None and given != len(data):
        values = [values[int(s.id)] for s in data]
    return np.array([_plain(v) for v in values], dtype=object)


def numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes, sorted, and every series' number among them, -1 where it is unknown.

    Raises `InputError` for fewer than two classes, a class seen once, or labels of mixed types.
    """
    known = np.array([v is not None for v in labels], bool)
    try:
        classes, number, count = np.unique(
            np.array(list(labels[known])), return_inverse=True, return_counts=True
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            "labels", expected="labels of one kind", got=str(error), do="use numbers or strings"
        ) from None
    kinds = {isinstance(v, str) for v in labels[known]}
    if len(kinds) > 1 or classes.dtype.kind not in "biufUS":
        raise InputError(
            "labels", expected="labels of one kind", got="numbers and strings, or objects",
            do="use numbers or strings",
        )  # fmt: skip
    if classes.dtype.kind == "f" and (classes % 1 != 0).any():
        raise InputError(
            "labels", expected="classes", got="real numbers", do="cut them into classes first"
        )
    if len(classes) < 2:
        raise InputError(
            "labels", expected="at least two classes", got=str(len(classes)),
            do="pass series of both kinds",
        )  # fmt: skip
    if count.min() < 2:
        raise InputError(
            "labels", expected="every class at least twice",
            got=f"{classes[count.argmin()]!r} once", do="merge it with another, or leave it out",
        )  # fmt: skip
    out = np.full(len(labels), -1)
    out[known] = number
    return classes, out


def _plain(label: Any) -> Any:
    """Python's own scalar; None for a gap."""
    value = label.item() if isinstance(label, np.generic) else label
    return None if value is None or value != value else value
