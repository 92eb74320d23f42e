"""`tenkai fit`: read, check, learn, write, say how good it is."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError
from .folder import FORMAT, Run, sha256, versions
from .models import MODELS, Model, model_named, refuse_strangers
from .page import headline, page

if TYPE_CHECKING:
    from ..data import Trajectories

_COVERAGE = 0.9
_FREE = ("steps", "seed")  # what may differ from the run that a fit goes on from
_MOST_DEVICES = 8  # members and batches of common size do not fill more


@dataclass(frozen=True)
class Request:
    """What the user asked for. `roles` name columns; `options` go to the estimator.

    With a `start`, the run that a fit goes on from, both are that run's where not given.
    """

    data: Path
    out: Path
    model: str
    roles: dict[str, Any]
    options: dict[str, Any]
    horizon: str | None
    coverage: float | None
    devices: int | None
    cache: bool
    start: Path | None = None

    def check(self) -> None:
        """`InputError` for options that are wrong whatever the data."""
        refuse_strangers(self.model, self.options, self.known.options)
        refuse_strangers(self.model, self.roles, self.known.roles)
        self.known.read(self.options)
        if self.known.rows:
            given = {"horizon": self.horizon, "coverage": self.coverage}
            refuse_strangers(self.model, given, ())
        check_coverage(self.covered)

    @property
    def covered(self) -> float:
        """The coverage of the intervals."""
        return _COVERAGE if self.coverage is None else self.coverage

    @property
    def known(self) -> Model:
        """The model; `InputError` for a name that is none."""
        return model_named(self.model)

    def filled(self) -> Request:
        """What is open, taken from the run to go on from; `InputError` for what cannot change."""
        if self.start is None:
            return self
        if self.start.resolve() == self.out.resolve():
            raise InputError(
                "--out", expected="another directory than that of --from", got=str(self.out),
                do="choose another --out",
            )  # fmt: skip
        for name, value in self.options.items():
            if value is not None and name not in _FREE:
                raise InputError(
                    f"--{name.replace('_', '-')}", expected="none: --from keeps the run's choices",
                    got=str(value), do="leave it away, or fit without --from",
                )  # fmt: skip
        source = Run(self.start)
        arguments = source.read()["arguments"]
        for name in (self.model, arguments["model"]):
            if not model_named(name).continues:
                going = ", ".join(name for name, model in MODELS.items() if model.continues)
                raise InputError(
                    "--from", expected=f"a run of {going}", got=f"one of {name}",
                    do="fit anew on all data, without --from",
                )  # fmt: skip
        if not source.model.exists():
            raise InputError(
                "--from", expected="a finished run", got=f"{str(self.start)!r}, without a model",
                do="finish it with --resume",
            )  # fmt: skip
        roles, options = (
            {name: arguments.get(name) if value is None else value for name, value in part.items()}
            for part in (self.roles, self.options)
        )
        return replace(self, roles=roles, options=options)

    @property
    def estimator_options(self) -> dict[str, Any]:
        """Keywords of the estimator: what was not said is left to its defaults."""
        return self.known.read(self.options)

    def config(self, devices: int) -> dict[str, Any]:
        """What `config.json` records before the fit."""
        mine = {name: self.options.get(name) for name in self.known.options}
        arguments = {"model": self.model, **self.roles, **mine}
        arguments |= {"horizon": self.horizon, "coverage": self.covered, "devices": devices}
        begun = self.start and {
            "path": str(self.start.resolve()), "sha256": sha256(Run(self.start).model),
        }  # fmt: skip
        return {
            "format": FORMAT,
            "command": "fit",
            "arguments": arguments,
            "seed": self.options["seed"],
            "versions": versions(),
            "data": {"path": str(self.data.resolve()), "sha256": sha256(self.data)},
            "from": begun,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def check_coverage(coverage: float) -> None:
    """`InputError` unless between 0 and 1."""
    if not 0 < coverage < 1:
        raise InputError(
            "--coverage", expected="a share between 0 and 1", got=str(coverage), do="pass 0.9"
        )


def train(request: Request, *, overwrite: bool, resume: bool, quiet: bool) -> int:
    """Run the command; the exit code is 0, 3 (not ok) or 130 (stopped, saved)."""
    request.check()
    request = request.filled()
    run = Run(request.out)
    if resume and overwrite:
        raise InputError("options", expected="--overwrite or --resume", got="both", do="pass one")
    if not resume:
        run.refuse_to_replace(overwrite=overwrite)
    data = _read(request)
    config = request.config(request.devices or cores())
    if resume:
        run.check_same(config)
        ended = run.read().get("status")
        if ended is not None:
            say(quiet, f"{run.path} is finished: {ended['message']}")
            return 0 if ended["ok"] else 3
        if not request.known.resumes:
            run.history.unlink(missing_ok=True)
            told = f"Note: a fit of {request.model} keeps no checkpoints: it starts anew"
            say(quiet, told, file=sys.stderr)
    say(quiet, *(f"Note: {note}" for note in data.notes), file=sys.stderr)
    with contextlib.nullcontext() if resume else run.begun(config):
        try:
            if not request.known.rows:
                return _learn(request, run, data, config, quiet)
            return _of_rows(request.known).learn(request, run, data, config, quiet)
        except KeyboardInterrupt:
            return _stopped(run)


def _of_rows(known: Model) -> Any:
    """The module that reads and learns tables of rows for the model."""
    from . import classes, densities, manifolds, regressions

    if known.embeds:
        return manifolds
    return classes if known.classes else regressions if known.regresses else densities


def _read(request: Request) -> Any:
    """The data, before JAX is imported: bad input is answered at once."""
    if request.known.rows:
        return _of_rows(request.known).read(request)
    from ..data import read_trajectories

    roles = {name: request.roles[name] for name in request.known.roles}
    labels = roles.pop("labels", None)
    if labels is not None:
        from ..data.labelled import read_labelled

        data, of = read_labelled(request.data, labels, **roles)
    else:
        data, of = read_trajectories(request.data, **roles), None
    if request.horizon is not None:
        data.clock.horizon(request.horizon)
    return _Read(data, of, data.notes)


class _Read(NamedTuple):
    """Trajectories, the class of each by its id where they have any, and notes on reading."""

    data: Trajectories
    labels: dict[str, str | None] | None
    notes: tuple[str, ...]


def _learn(request: Request, run: Run, read: _Read, config: dict[str, Any], quiet: bool) -> int:
    from ..devices import configure

    configure(devices=config["arguments"]["devices"], cache=request.cache)
    from .. import estimators, report

    options: dict[str, Any] = {"log": run.history, "progress": not quiet}
    if request.known.resumes:
        options["checkpoint"] = run.checkpoints
    if read.labels is not None:
        options["labels"] = read.labels
    if request.start is None:
        estimator = getattr(estimators, request.known.estimator)(**request.estimator_options)
    else:
        estimator = estimators.load(Run(request.start).model)
        given = request.estimator_options
        estimator.set_params(**{name: given[name] for name in _FREE if name in given})
        options["warm_start"] = True
    estimator.fit(read.data, **options)
    estimator.save(run.model)
    coverage = request.covered
    forecasts = usual_forecasts(estimator, request.horizon, coverage)
    write_table(forecasts, run.forecast)
    report.html(estimator, run.report, forecasts=forecasts, coverage=coverage)
    return ended(estimator, run, config, page(estimator, run), quiet)


def ended(estimator: Any, run: Run, config: dict[str, Any], lines: list[str], quiet: bool) -> int:
    """Write how a fit ended, say it in `lines`; the exit code."""
    status = estimator.fit_.status
    told = {"kind": status.kind, "ok": status.ok, "message": str(status)}
    run.write(config | {"status": told, "seconds": _by_part(estimator)})
    if not status.ok:
        print(f"tenkai: {headline(status)}", file=sys.stderr, flush=True)
    say(quiet, *lines)
    return 0 if status.ok else 3


def _by_part(estimator: Any) -> dict[str, float]:
    """Seconds by stage, where the estimator has stages."""
    told = getattr(estimator, "seconds_", estimator.fit_.seconds)
    return dict(told) if isinstance(told, Mapping) else {"fit": float(told)}


def usual_forecasts(estimator: Any, horizon: str | None, coverage: float) -> list[Any]:
    """Forecasts of all series; none where future inputs would have to be known."""
    if estimator.data_.n_inputs:
        return []
    made = estimator.forecast(horizon, coverage=coverage)
    return made if isinstance(made, list) else [made]


def write_table(records: list[Any], out: Any) -> None:
    """Forecasts or paths as one long CSV table whose time column is called `time`."""
    import pandas as pd

    columns = ["series", "time", "variable", "mean", "lower", "upper", "coverage"]
    frames = [r.to_frame().rename(columns={r.time_name: "time"}) for r in records]
    table = pd.concat(frames) if frames else pd.DataFrame(columns=columns)
    times = table["time"].to_numpy()
    if times.dtype.kind == "f" and (times % 1 == 0).all():
        table["time"] = times.astype("int64")  # years stay years
    table.to_csv(out, index=False)


def cores() -> int:
    """Cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return min(len(usable(0)) if usable else os.cpu_count() or 1, _MOST_DEVICES)


def _stopped(run: Run) -> int:
    if run.holds_something:
        message = f"stopped; saved in {run.path}. Go on with the same command and --resume"
    else:
        message = "stopped before there was anything to save"
    print(f"\ntenkai: {message}", file=sys.stderr)
    return 130


def say(quiet: bool, *lines: str, file: Any = None) -> None:
    """Print lines, unless the user wants quiet."""
    if not quiet:
        for line in lines:
            print(line, file=file, flush=True)
