"""`tenkai export`: a run's model as a file that needs no tenkai."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .commands import app
from .folder import Run
from .models import model_of
from .options import Coverage, NoCache, RunPath

_ENDINGS = {"numpy": ".py", "c": ".h", "onnx": ".onnx", "stablehlo": ".stablehlo"}
_DTYPES = ("float32", "float64")


def sizes_of(text: str | None) -> dict[str, int]:
    """Named sizes from "rows=1,times=101"; `InputError` for anything else."""
    sizes: dict[str, int] = {}
    for part in filter(None, (text or "").split(",")):
        name, _, value = (word.strip() for word in part.partition("="))
        if not name.isidentifier() or not value.isdigit() or int(value) < 1:
            raise InputError(
                "--sizes", expected="names and whole numbers", got=repr(part.strip()),
                do='pass --sizes "rows=1,times=101"',
            )  # fmt: skip
        sizes[name] = int(value)
    return sizes


@app.command()
def export(
    run: RunPath,
    to: Annotated[str, typer.Option("--to", metavar="numpy|c|onnx|stablehlo", help="The form.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write. [default: RUN/model.<ending of the form>]")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="float32|float64",
            help="Precision. [default: float64, of onnx and stablehlo float32]",
        ),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(help='Sizes that are fixed, which c needs: "rows=1,times=101".'),
    ] = None,
    coverage: Coverage = 0.9,
    no_cache: NoCache = False,
) -> None:
    """Write a run's model as a NumPy module, a C99 header, ONNX or StableHLO."""
    if to not in _ENDINGS:
        raise InputError("--to", expected=", ".join(_ENDINGS), got=repr(to), do="pick one of these")
    if dtype is not None and dtype not in _DTYPES:
        raise InputError(
            "--dtype", expected=" or ".join(_DTYPES), got=repr(dtype), do="pick one of these"
        )
    fixed = sizes_of(sizes)
    folder = Run(run)
    model_of(folder.read()["arguments"])
    from .asking import load

    estimator = load(folder, not no_cache)
    from .. import export as forms

    path = out or run / f"model{_ENDINGS[to]}"
    number = dtype or ("float32" if to in ("onnx", "stablehlo") else "float64")
    if to == "c":
        number = {"float32": "float", "float64": "double"}[number]
    write = getattr(forms, to)
    try:
        made = write(estimator, path, dtype=number, sizes=fixed, coverage=coverage)
    except OSError as error:
        raise InputError(
            f"--out {str(path)!r}", expected="a file that can be written",
            got=error.strerror or str(error), do="choose another path",
        ) from None  # fmt: skip
    for file in made if isinstance(made, list) else [made]:
        print(f"Wrote {file}")
