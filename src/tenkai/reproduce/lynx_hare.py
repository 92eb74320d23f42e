"""Lynx and hare, Hudson Bay 1900-1920: one solve through 21 points, and a held-out end.

Counts of furs (Elton and Nicholson 1942), as tabulated by Howard 2009; the file ships in
``examples/lynx_hare.csv`` of the repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..data import read_trajectories
from ..errors import InputError
from ..estimators import NeuralODE
from ..estimators.judgement import r_squared
from . import Row, Task

FILE = "lynx_hare.csv"


def run(task: Task = Task()) -> list[Row]:
    """R² per species, the held-out error beside the naive forecasts, and the intervals."""
    data = read_trajectories(data_file(task.data), time="Year")
    ode = NeuralODE().fit(data)
    score = r_squared([np.asarray(ode.reconstruct())], [data[0].x])
    held = ode.held_out_
    assert held is not None  # 21 points always hold an end out
    rows = [Row(f"R² of {n}", None, float(r)) for n, r in zip(data.names, score, strict=True)]
    rows.append(Row("error on the held-out end", None, held.error, unit="sd"))
    rows += [Row(f"naive: {k}", None, v, unit="sd") for k, v in held.naive.items()]
    inside = f"{held.inside} of {held.points} points; nominal {held.nominal:.0%}"
    rows.append(Row("coverage of the held-out end", None, held.coverage, note=inside))
    if task.out is not None:
        ode.plot().flat[0].figure.savefig(task.out / "lynx-hare.png", dpi=110)
    return rows


def data_file(data: Path | None) -> Path:
    """The table in `data`, its folder lynx_hare, or ./examples; `InputError` where it is not."""
    here = [Path("examples")] if data is None else [data, data / "lynx_hare"]
    for folder in here:
        if (folder / FILE).is_file():
            return folder / FILE
    raise InputError(
        f"file {FILE}", expected="it in ./examples or in --data DIR", got="no such file",
        do="run in a checkout of the repository, or pass --data examples",
    )  # fmt: skip
