"""`tenkai profile`: what solving a run's field costs, measured, and what to use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from .commands import app
from .folder import Run
from .models import model_of
from .options import NoCache, RunPath

TABLE, GRADIENTS, PICTURE = "profile.csv", "profile-gradients.csv", "profile.png"


@app.command()
def profile(
    run: RunPath,
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="Rows or series to solve it on.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="The error that is small enough. [default: by the noise]")
    ] = None,
    seconds: Annotated[float, typer.Option(help="For all measurements.")] = 60.0,
    out: Annotated[Path | None, typer.Option(help="Folder. [default: the run]")] = None,
    no_cache: NoCache = False,
) -> None:
    """Error, time and memory of solving the learned field, and which solver to use."""
    arguments = Run(run).read()["arguments"]
    folder = run if out is None else out
    if not folder.is_dir():
        raise InputError(
            f"--out {str(folder)!r}", expected="a folder", got="none", do="make it first"
        )
    from .asking import load, save_table

    model = load(Run(run), not no_cache)
    given = None if data is None else _read(arguments, data, model)
    from ..profile import profile as measure

    found = measure(model, given, tolerance=tolerance, seconds=seconds)
    print(found.summary())
    save_table(lambda target: found.to_frame().to_csv(target, index=False), folder / TABLE)
    if found.gradients:
        frame = found.to_frame("gradients")
        save_table(lambda target: frame.to_csv(target, index=False), folder / GRADIENTS)
    found.plot()[0].figure.savefig(folder / PICTURE, dpi=150)
    print(f"Table: {folder / TABLE}\nPicture: {folder / PICTURE}")


def _read(arguments: dict[str, Any], data: Path, model: Any) -> Any:
    if not model_of(arguments).rows:
        from .asking import read_like

        return read_like(arguments, data, model.data_)
    from ..data.tables import read_table

    return read_table(data, [str(name) for name in model.feature_names_in_]).rows
