"""`tenkai backtest`: how good a model forecasts, from rolling origins."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .commands import app
from .folder import cannot_make, refuse_to_replace
from .models import refuse_rows
from .options import (
    HOW_FAR,
    Augment,
    Coverage,
    Data,
    Devices,
    Inputs,
    MatchingSteps,
    Members,
    Model,
    NoCache,
    Noise,
    Positive,
    Quiet,
    SeriesColumn,
    Static,
    Steps,
    Targets,
    Times,
    Value,
    Variable,
    Width,
    counted,
    roles_of,
)

if TYPE_CHECKING:
    from ..records import Backtest


@app.command()
def backtest(
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="Directory. [default: runs/<DATA>-backtest]")
    ] = None,
    model: Model = "neural-ode",
    time: Times = None,
    series: SeriesColumn = None,
    targets: Targets = None,
    inputs: Inputs = None,
    static: Static = None,
    variable: Variable = None,
    value: Value = None,
    origins: Annotated[
        str, typer.Option(help='How many, or numbers of observations: "12,14,16" or "12-19".')
    ] = "8",
    horizon: Annotated[
        str | None, typer.Option(help=f"{HOW_FAR} [default: a fifth of the span]")
    ] = None,
    coverage: Coverage = 0.9,
    positive: Positive = None,
    augment: Augment = None,
    members: Members = None,
    width: Width = None,
    noise: Noise = None,
    steps: Steps = None,
    matching_steps: MatchingSteps = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    devices: Devices = None,
    no_cache: NoCache = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an old backtest.")
    ] = False,
    quiet: Quiet = False,
) -> int:
    """Fit a model to beginnings of DATA and compare its forecasts with what came after."""
    from .training import Request

    request = Request(
        data=data,
        out=out or Path("runs") / f"{data.stem}-backtest",
        model=model,
        roles=roles_of(time, series, targets, inputs, static, variable, value),
        options={
            "positive": positive, "augment": counted("augment", augment, 0), "members": members,
            "width": counted("width", width, 1), "steps": steps, "matching_steps": matching_steps,
            "noise": noise, "seed": seed,
        },
        horizon=horizon, coverage=coverage, devices=devices, cache=not no_cache,
    )  # fmt: skip
    return judge(request, parse_origins(origins), overwrite=overwrite, quiet=quiet)


def parse_origins(text: str) -> int | list[int]:
    """A count "8", numbers of observations "12,14,16", or a range of these "12-19"."""
    try:
        if "," in text:
            return [int(part) for part in text.split(",") if part.strip()]
        if "-" in text.strip("-"):
            first, last = map(int, text.split("-"))
            if first <= last:
                return list(range(first, last + 1))
        elif int(text) > 0:
            return int(text)
    except ValueError:
        pass
    raise InputError(
        "--origins", expected="a count, or numbers of observations", got=repr(text),
        do='pass 8, "12,14,16" or "12-19"',
    )  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """What a backtest writes."""

    path: Path

    @property
    def table(self) -> Path:
        """Every forecast beside what was observed; marks the folder as a backtest's."""
        return self.path / "backtest.csv"

    @property
    def errors(self) -> Path:
        """Errors by horizon."""
        return self.path / "errors.csv"

    @property
    def summary(self) -> Path:
        """The printed lines."""
        return self.path / "summary.txt"

    @property
    def picture(self) -> Path:
        """Errors by horizon and the forecasts."""
        return self.path / "backtest.png"

    def make(self, *, overwrite: bool) -> bool:
        """The directory, there and free or one to be overwritten; whether it was made now."""
        there = self.path.exists()
        refuse_to_replace(self.path, self.table, "a backtest", overwrite=overwrite)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_make(self.path, error) from None
        return not there

    def write(self, found: Backtest) -> None:
        """All files; years in them stay years."""
        frame = found.to_frame()
        for name in ("since", found.points.time_name):
            values = frame[name].to_numpy()
            if values.dtype.kind == "f" and (values % 1 == 0).all():
                frame[name] = values.astype("int64")
        self.summary.write_text(f"{found}\n", encoding="utf-8")
        found.errors().to_csv(self.errors)
        found.plot().flat[0].figure.savefig(self.picture, dpi=150)
        frame.to_csv(self.table, index=False)


def judge(request: Any, origins: int | list[int], *, overwrite: bool, quiet: bool) -> int:
    """Run the command; the exit code is 0, 3 (a fit is flagged) or 130 (stopped, saved)."""
    from ..data import read_trajectories

    refuse_rows(request.model, "--model")
    request.check()
    data = read_trajectories(request.data, **request.roles)
    if request.horizon is not None:
        data.clock.horizon(request.horizon)
    folder = Folder(request.out)
    made = folder.make(overwrite=overwrite)
    try:
        found = _run(request, data, origins, quiet)
        folder.write(found)
    finally:
        if made and not any(folder.path.iterdir()):
            folder.path.rmdir()
    if not quiet:
        print(found, f"Table, errors and picture: {folder.path}", sep="\n", flush=True)
    if found.stopped:
        print("tenkai: stopped; what was finished is saved", file=sys.stderr)
        return 130
    if found.failed:
        count, of = len(found.failed), len(found.origins)
        print(f"tenkai: {count} of {of} fits flagged", file=sys.stderr)
    return 3 if found.failed else 0


def _run(request: Any, data: Any, origins: int | list[int], quiet: bool) -> Backtest:
    """After the input has been found good: JAX, the fits."""
    from ..devices import configure
    from .training import cores

    configure(devices=request.devices or cores(), cache=request.cache)
    from .. import estimators
    from ..judging import backtest as run

    model = getattr(estimators, request.known.estimator)(**request.estimator_options)
    return run(
        model, data, origins=origins, horizon=request.horizon, coverage=request.covered,
        progress=not quiet,
    )  # fmt: skip
