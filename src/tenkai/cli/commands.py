"""The commands and their options; what they do is in the files beside this one.

Heavy modules are imported inside the commands, so that ``tenkai --help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from .options import (
    Augment,
    Body,
    Cell,
    Columns,
    Context,
    Coverage,
    Data,
    Devices,
    Encoder,
    Flow,
    Horizon,
    Inputs,
    Kind,
    Kinetic,
    Labels,
    Latent,
    MatchingSteps,
    Members,
    Model,
    NoCache,
    Noise,
    Positive,
    Quiet,
    RunPath,
    SeriesColumn,
    Static,
    Steps,
    Targets,
    Times,
    Value,
    Variable,
    Width,
    counted,
    listed,
    roles_of,
    weighed,
)

app = typer.Typer(
    name="tenkai",
    help="Learned dynamics: from measurements to a differential equation you can trust.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"tenkai {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def fit(
    data: Data,
    out: Annotated[Path | None, typer.Option(help="Run directory. [default: runs/<DATA>]")] = None,
    model: Model = "neural-ode",
    time: Times = None,
    series: SeriesColumn = None,
    targets: Targets = None,
    inputs: Inputs = None,
    static: Static = None,
    variable: Variable = None,
    value: Value = None,
    columns: Columns = None,
    context: Context = None,
    labels: Labels = None,
    flow: Flow = None,
    latent: Latent = None,
    encoder: Encoder = None,
    cell: Cell = None,
    body: Body = None,
    positive: Positive = None,
    augment: Augment = None,
    order: Annotated[
        int | None,
        typer.Option(metavar="1|2", help="neural-ode: 2 where only positions are observed."),
    ] = None,
    time_dependent: Annotated[
        bool | None, typer.Option("--time-dependent", help="Let the equation depend on the time.")
    ] = None,
    noise: Noise = None,
    members: Members = None,
    width: Width = None,
    depth: Annotated[int | None, typer.Option(help="Hidden layers.")] = None,
    activation: Annotated[
        str | None, typer.Option(help="neural-ode, latent-ode: of the hidden layers.")
    ] = None,
    decay: Annotated[str | None, typer.Option(metavar="X|auto", help="Weight decay.")] = None,
    kinetic: Kinetic = None,
    jacobian: Annotated[
        str | None,
        typer.Option(metavar="X|auto", help="neural-ode, density: penalty against steep fields."),
    ] = None,
    steps: Steps = None,
    matching_steps: MatchingSteps = None,
    held_out: Annotated[
        float | None, typer.Option(help="Share of each end, of series or of rows to test on.")
    ] = None,
    precision: Annotated[str | None, typer.Option(metavar="float32|float64")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything random. [default: 0]")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Go on from a run's model.")
    ] = None,
    horizon: Horizon = None,
    coverage: Annotated[
        float | None, typer.Option(help="Coverage of the intervals. [default: 0.9]")
    ] = None,
    devices: Devices = None,
    no_cache: NoCache = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an old run.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    quiet: Quiet = False,
) -> int:
    """Learn a model of DATA and write model, forecast and report to a run directory."""
    from .training import Request, train

    request = Request(
        data=data,
        out=out or Path("runs") / data.stem,
        model=model,
        roles=roles_of(time, series, targets, inputs, static, variable, value)
        | {"columns": listed(columns), "context": listed(context), "labels": labels},
        options={
            "flow": flow,
            "latent": latent,
            "encoder": encoder,
            "cell": cell,
            "body": body,
            "positive": positive,
            "augment": counted("augment", augment, 0),
            "order": order,
            "time_dependent": time_dependent,
            "noise": noise,
            "members": members,
            "width": counted("width", width, 1),
            "depth": depth,
            "activation": activation,
            "decay": weighed("decay", decay),
            "kinetic": weighed("kinetic", kinetic),
            "jacobian": weighed("jacobian", jacobian),
            "steps": steps,
            "matching_steps": matching_steps,
            "held_out": held_out,
            "precision": precision,
            "seed": seed if start or seed is not None else 0,
        },
        horizon=horizon,
        coverage=coverage,
        devices=devices,
        cache=not no_cache,
        start=start,
    )
    return train(request, overwrite=overwrite, resume=resume, quiet=quiet)


@app.command()
def forecast(
    run: RunPath,
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="Other series than the learned ones.")
    ] = None,
    horizon: Horizon = None,
    times: Annotated[Path | None, typer.Option(help="File of times, one per line.")] = None,
    inputs: Annotated[Path | None, typer.Option(help="Table of future known inputs.")] = None,
    kind: Kind = "observation",
    coverage: Coverage = 0.9,
    out: Annotated[Path | None, typer.Option(help="CSV file. [default: standard output]")] = None,
    no_cache: NoCache = False,
) -> None:
    """Forecast the learned series, or those of DATA, as a long table with intervals."""
    from . import asking

    question = asking.Question(horizon, times, inputs, coverage, kind)
    asking.forecast(run, data, question, out, cache=not no_cache)


@app.command()
def simulate(
    run: RunPath,
    y0: Annotated[
        str | None, typer.Option("--y0", help='State to start from: "Lynx=10,Hare=20".')
    ] = None,
    until: Annotated[str | None, typer.Option(help="Time to end at, as in the data.")] = None,
    start: Annotated[
        str | None, typer.Option(help="Time to start at. [default: where the data starts]")
    ] = None,
    points: Annotated[int | None, typer.Option(help="Number of times. [default: 100]")] = None,
    inputs: Annotated[
        Path | None, typer.Option(help="Table of known inputs, or of a density's contexts.")
    ] = None,
    paths: Annotated[
        int | None, typer.Option(help="neural-sde: number of paths. [default: 100]")
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(help="density, latent-ode: number of rows or series. [default: 1000 or 10]"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the noise, where there is any. [default: 0]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file. [default: standard output]")] = None,
    no_cache: NoCache = False,
) -> None:
    """Solve the learned equation from any state, as a long table; draw rows from a density."""
    from . import simulating

    options = {"paths": paths, "rows": rows, "seed": seed}
    asked = simulating.Course(y0, until, start, points, inputs, options)
    simulating.simulate(run, asked, out, cache=not no_cache)


@app.command()
def equilibria(
    run: RunPath,
    inputs: Annotated[
        str | None, typer.Option(help='Inputs held constant: "u=1". [default: their mean]')
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the numbers to this file.")] = None,
    no_cache: NoCache = False,
) -> None:
    """Where the learned flow stands still, of what kind, and its limit cycles."""
    from .standing import equilibria

    equilibria(run, inputs, json, cache=not no_cache)


@app.command()
def report(run: RunPath, no_cache: NoCache = False) -> None:
    """Write the report of a run again."""
    from . import asking

    asking.report(run, cache=not no_cache)


@app.command()
def reproduce(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the names.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the numbers to this file.")] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="TENKAI_DATA", help="Directory of data sets.")
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Minutes for each entry.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Draw the figures there.")] = None,
) -> None:
    """Published tables and figures beside ours; all of them when none is named."""
    from .papers import list_entries, run_entries

    if listing:
        list_entries()
    else:
        run_entries(names or [], json, data, budget, figures)
