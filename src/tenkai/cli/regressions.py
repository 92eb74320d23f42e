"""`--model regression`: targets of a table's rows, and `tenkai predict` of other rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from . import rows
from .folder import Run

if TYPE_CHECKING:
    from ..data.tables import Table

_HIDDEN = 64, 2  # width and depth where only one of them is said


def read(request: Any) -> Table:
    """The rows and their targets, before JAX is imported: bad input is answered at once."""
    from ..data.tables import read_table

    targets = request.roles["targets"]
    if not targets:
        raise InputError(
            "--targets", expected="the columns to learn", got="none", do="pass --targets COLUMN"
        )
    return read_table(request.data, request.roles["columns"], targets)


def learn(request: Any, run: Run, data: Table, config: dict[str, Any], quiet: bool) -> int:
    """Fit, write model and report, say how good it is."""
    assert data.context is not None
    targets = data.context.iloc[:, 0] if data.context.shape[1] == 1 else data.context
    return rows.learn(request, run, config, quiet, (data.rows, targets), _options, verdicts=True)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    options = dict(given)
    if "width" in options or "depth" in options:
        width, depth = (options.pop(k, v) for k, v in zip(("width", "depth"), _HIDDEN, strict=True))
        options["hidden"] = (_HIDDEN[0] if width == "auto" else width,) * depth
    return options


def predict(
    run: Path, data: Path | None, coverage: float | None, out: Path | None, *, cache: bool
) -> None:
    """The targets of every row of a table as CSV, with `coverage` their intervals beside them."""
    import numpy as np
    import pandas as pd

    from ..data.tables import read_table
    from .asking import load, save_table
    from .training import check_coverage

    if data is None:
        raise InputError("DATA", expected="a table of rows", got="none", do="name a file")
    if coverage is not None:
        check_coverage(coverage)
    model = load(Run(run), cache)
    x = read_table(data, model.feature_names_in_.tolist()).rows
    found = model.predict(x, coverage=coverage)
    table = pd.DataFrame({"row": range(len(x))})
    parts = {"": found} if coverage is None else {
        "": found.mean, " lower": found.lower, " upper": found.upper
    }  # fmt: skip
    for j, name in enumerate(model.target_names_):
        for suffix, values in parts.items():
            table[name + suffix] = np.asarray(values).reshape(len(x), -1)[:, j]
    save_table(lambda target: table.to_csv(target, index=False), out)
