"""Classes: `--model classifier` of a table's rows, and `tenkai predict` of any model's answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from . import rows
from .commands import app
from .folder import Run
from .models import model_of, refuse_strangers
from .options import NoCache, RunPath

if TYPE_CHECKING:
    import numpy as np

    from ..data.tables import Table


def read(request: Any) -> Table:
    """The rows and their classes, before JAX is imported: bad input is answered at once."""
    from ..data.tables import read_table

    labels = request.roles["labels"]
    if labels is None:
        raise InputError(
            "--labels", expected="the column of classes", got="none", do="pass --labels COLUMN"
        )
    return read_table(request.data, request.roles["columns"], labels=labels)


def learn(request: Any, run: Run, data: Table, config: dict[str, Any], quiet: bool) -> int:
    """Fit, write model and report, say how good it is."""
    return rows.learn(request, run, config, quiet, (data.rows, data.labels), _options)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    from .. import classifiers

    made = {"body": getattr(classifiers, given["body"])()} if "body" in given else {}
    return given | made


@app.command()
def predict(
    run: RunPath,
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="Other rows or series.")
    ] = None,
    coverage: Annotated[
        float | None, typer.Option(help="regression: intervals that hold such a share.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file. [default: standard output]")] = None,
    no_cache: NoCache = False,
) -> None:
    """The class of every row or series with probabilities; or targets, or latents, of rows."""
    arguments = Run(run).read()["arguments"]
    known = model_of(arguments)
    refuse_strangers(arguments["model"], {"coverage": coverage}, known.asked)
    if known.regresses:
        from . import regressions

        regressions.predict(run, data, coverage, out, cache=not no_cache)
        return
    if known.embeds:
        from . import manifolds

        manifolds.predict(run, data, out, cache=not no_cache)
        return
    if arguments.get("labels") is None:
        raise InputError(
            f"run {str(run)!r}", expected="a model that learned labels",
            got=f"{arguments['model']} without", do="fit with --labels COLUMN",
        )  # fmt: skip
    if known.rows and data is None:
        raise InputError(
            "DATA", expected="a table of rows", got="none: a classifier keeps no rows",
            do="name a file",
        )  # fmt: skip
    from .asking import load, read_like, save_table

    if known.rows:
        from ..data.tables import read_table

        model = load(Run(run), not no_cache)
        x = read_table(data, model.feature_names_in_.tolist()).rows  # type: ignore[arg-type]
        names, chances = ("row", range(len(x))), model.predict_proba(x)
    else:
        model = load(Run(run), not no_cache)
        series = None if data is None else read_like(arguments, data, model.data_)
        ids = [one.id for one in (model.data_ if series is None else series)]
        names, chances = ("series", ids), model.predict_proba(series)
    save_table(lambda target: _write(names, model.classes_, chances, target), out)


def _write(names: tuple[str, Any], classes: Any, chances: np.ndarray, out: Any) -> None:
    import pandas as pd

    likeliest = [classes[i] for i in chances.argmax(1)]
    table = pd.DataFrame({names[0]: list(names[1]), "class": likeliest})
    for one, column in zip(classes, chances.T, strict=True):
        table[f"p({one})"] = column
    table.to_csv(out, index=False)
