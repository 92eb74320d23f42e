"""Tables whose rows, or whose series, belong to a class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .columns import Where, codes, column_of
from .frames import from_frame
from .readers import open_table
from .trajectories import Trajectories

if TYPE_CHECKING:
    import pandas as pd


def read_labelled(
    path: Path, labels: str, *, series: str | None, **roles: Any
) -> tuple[Trajectories, dict[str, str | None]]:
    """The trajectories of a file, as `read_trajectories`, and the class of each series by its id.

    A class stands in the column `labels` of any row of its series; None where it is in no row.

    Raises `InputError` where a series has two classes, beside what `read_trajectories` raises.
    """
    if series is None:
        raise InputError(
            "labels", expected="series to which they belong", got="no column of series",
            do="name the column that tells series apart",
        )  # fmt: skip
    text = [name for name in (series, roles.get("variable"), labels) if name is not None]
    frame, where = open_table(path, text)
    if labels not in frame.columns or labels in (series, roles.get("time")):
        got = "no such column" if labels not in frame.columns else "the same column twice"
        raise InputError(
            f"column {labels!r}", expected="a column of classes", got=got, do="check the name"
        )
    data = from_frame(frame.drop(columns=labels), series=series, where=where, **roles)
    found = classes_of(frame, labels, where, gaps=True)
    code, ids = codes(column_of(frame, series), where)
    of: dict[str, str | None] = dict.fromkeys(ids)
    for row in np.flatnonzero([label is not None for label in found]):
        name = ids[code[row]]
        if of[name] not in (None, found[row]):
            raise InputError(
                f"column {labels!r}", expected=f"one class for series {name!r}",
                got=f"{of[name]!r} and, in {where(int(row))}, {found[row]!r}", do="correct one",
            )  # fmt: skip
        of[name] = found[row]
    return data, {one.id: of[one.id] for one in data}


def classes_of(frame: pd.DataFrame, name: str, where: Where, *, gaps: bool = False) -> np.ndarray:
    """The class of every row as text (rows,); with `gaps`, None for an empty cell."""
    column = column_of(frame, name)
    empty = (column.isna() | column.astype(str).str.strip().eq("")).to_numpy()
    if empty.any() and not gaps:
        raise InputError(
            f"column {name!r}", expected="a class in every row",
            got=f"nothing in {where(int(np.flatnonzero(empty)[0]))}",
            do="remove the row or fill it in",
        )  # fmt: skip
    text = column.astype(str).str.strip().to_numpy(dtype=object, copy=True)
    text[empty] = None
    return text
