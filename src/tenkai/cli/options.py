"""Options that several commands have, and how their texts are read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError

Data = Annotated[Path, typer.Argument(metavar="DATA", help="CSV, TSV or Parquet file.")]
Model = Annotated[
    str,
    typer.Option(
        metavar="neural-ode|neural-sde|latent-ode|ode-rnn|density|classifier|regression|ukr",
        help="An equation without or with noise; many series of one hidden equation, or of a "
        "recurrent network; the density of a table's rows, their classes, numbers, or latents.",
    ),
]
Noise = Annotated[
    str | None,
    typer.Option(
        metavar="diagonal|full|X",
        help="neural-sde: one noise a variable, or correlated; density: noise on the rows; "
        "latent-ode: standard deviation of the observations.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(help="density, classifier, regression, ukr: columns to learn from: a,b."),
]
Context = Annotated[str | None, typer.Option(help="density: columns that are known: a,b.")]
Flow = Annotated[
    str | None,
    typer.Option(
        metavar="ffjord|planarcnf|nice|realnvp|glow|maf",
        help="density: what carries the rows; the first two are differential equations.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(help="latent-ode, ode-rnn, classifier: column of classes, of series or rows."),
]
Latent = Annotated[
    int | None,
    typer.Option(help="latent-ode: dimensions of the hidden state; ukr: latents of a row."),
]
Encoder = Annotated[
    str | None, typer.Option(metavar="rnn|ode-rnn", help="latent-ode: what reads the series.")
]
Cell = Annotated[
    str | None,
    typer.Option(metavar="ode|gaps|decay|imputed", help="ode-rnn: what it does in gaps."),
]
Body = Annotated[
    str | None,
    typer.Option(metavar="ode|runge-kutta|residual", help="classifier: what carries the rows."),
]
Kinetic = Annotated[
    str | None, typer.Option(metavar="X|auto", help="density: penalty of the paths' energy.")
]
Times = Annotated[str | None, typer.Option(help="Column of times (numbers or dates).")]
SeriesColumn = Annotated[str | None, typer.Option(help="Column that tells series apart.")]
Targets = Annotated[str | None, typer.Option(help="Columns to learn: a,b,c.")]
Inputs = Annotated[str | None, typer.Option(help="Columns of known inputs: a,b.")]
Static = Annotated[str | None, typer.Option(help="Columns constant in a series: a,b.")]
Variable = Annotated[str | None, typer.Option(help="Long table: column of names.")]
Value = Annotated[str | None, typer.Option(help="Long table: column of numbers.")]
Members = Annotated[int | None, typer.Option(help="Networks in the ensemble.")]
Steps = Annotated[int | None, typer.Option(help="Optimiser steps of a stage.")]
MatchingSteps = Annotated[int | None, typer.Option(help="neural-ode: those of the first stage.")]
Devices = Annotated[int | None, typer.Option(help="CPU devices. [default: all cores]")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]
Positive = Annotated[str | None, typer.Option(metavar="auto|yes|no", help="Learn on a log scale.")]
Augment = Annotated[
    str | None, typer.Option(metavar="N|auto", help="neural-ode: hidden dimensions of the state.")
]
Width = Annotated[str | None, typer.Option(metavar="N|auto", help="Units in each hidden layer.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Directory that `tenkai fit` wrote.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep no compiled programs on disk.")]
Kind = Annotated[
    str, typer.Option(metavar="observation|latent", help="neural-ode: what intervals are for.")
]
Coverage = Annotated[float, typer.Option(help="Coverage of the intervals, between 0 and 1.")]
HOW_FAR = 'How far, in units of the time column ("10"; for dates "10D").'
Horizon = Annotated[str | None, typer.Option(help=HOW_FAR)]


def roles_of(
    time: str | None,
    series: str | None,
    targets: str | None,
    inputs: str | None,
    static: str | None,
    variable: str | None,
    value: str | None,
) -> dict[str, Any]:
    """What the columns are, as `read_trajectories` takes it."""
    return {
        "time": time, "series": series, "targets": listed(targets), "inputs": listed(inputs),
        "static": listed(static), "variable": variable, "value": value,
    }  # fmt: skip


def listed(text: str | None) -> list[str] | None:
    """Names between commas; a name with a comma stands in double quotes."""
    if text is None:
        return None
    row = next(csv.reader([text], skipinitialspace=True), [])
    return [name.strip() for name in row if name.strip()]


def counted(option: str, text: str | None, least: int) -> int | str | None:
    """A whole number of at least `least`, or "auto"."""
    if text is None or text == "auto":
        return text
    if not text.isdecimal() or int(text) < least:
        raise InputError(
            f"--{option}", expected=f'a whole number of at least {least}, or "auto"',
            got=repr(text), do="pass auto",
        )  # fmt: skip
    return int(text)


def weighed(option: str, text: str | None) -> float | str | None:
    """A number of at least zero, or "auto"."""
    if text is None or text == "auto":
        return text
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise InputError(
            f"--{option}", expected='a number of at least zero, or "auto"', got=repr(text),
            do="pass auto",
        )  # fmt: skip
    return weight
