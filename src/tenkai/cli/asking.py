"""`tenkai forecast` and `report`: questions to a learned model."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .folder import Run
from .models import model_of, refuse_rows, refuse_strangers
from .training import check_coverage, usual_forecasts, write_table

_NOTES = 3  # printed, where many series have some


@dataclass(frozen=True)
class Question:
    """What a forecast is asked for."""

    horizon: str | None
    times: Path | None
    inputs: Path | None
    coverage: float
    kind: str

    def check(self) -> None:
        """`InputError` for what is wrong whatever the run."""
        check_coverage(self.coverage)
        if self.kind not in ("observation", "latent"):
            raise InputError(
                "--kind", expected="observation or latent", got=self.kind, do="pick one of these"
            )

    def check_times(self) -> None:
        """`InputError` unless one option says when; inputs alone bring their times."""
        given = [x for x in (self.horizon, self.times) if x is not None]
        if len(given) == 2 or not (given or self.inputs):
            got = "both" if given else "neither"
            raise InputError(
                "forecast", expected="--horizon or --times (or --inputs, for their times)",
                got=got, do="pass one",
            )  # fmt: skip


def forecast(
    run: Path, data: Path | None, question: Question, out: Path | None, *, cache: bool
) -> None:
    """Forecast the learned series, or those of other data whose states are estimated first."""
    question.check()
    arguments = Run(run).read()["arguments"]
    refuse_rows(arguments["model"], f"run {str(run)!r}")
    question.check_times()
    asked = {} if question.kind == "observation" else {"kind": question.kind}
    refuse_strangers(arguments["model"], asked, model_of(arguments).asked)
    estimator = load(Run(run), cache)
    shown = estimator.data_ if data is None else read_like(arguments, data, estimator.data_)
    clock, horizon = estimator.data_.clock, question.horizon
    if horizon is not None:
        clock.horizon(horizon)
    at = None if question.times is None else read_times(question.times, clock)
    known: dict[str, Any] = {} if data is None else {"data": shown}
    if at is not None:
        known["times"] = clock.decode(at)
    if question.inputs is None:
        need_inputs(estimator.data_)
    else:
        table = read_inputs(arguments, question.inputs, estimator.data_)
        known["times"], known["inputs"] = inputs_ahead(table, shown, at, horizon)
        horizon = None
    made = estimator.forecast(horizon, coverage=question.coverage, **asked, **known)
    made = made if isinstance(made, list) else [made]
    write_out(made if at is None else [_only(record, clock, at) for record in made], out)


def _only(record: Any, clock: Any, at: np.ndarray) -> Any:
    """A forecast at the asked times; it was solved over those of its inputs as well."""
    keep = np.isin(clock.encode(record.time), at)
    parts = {name: getattr(record, name)[keep] for name in ("time", "mean", "lower", "upper")}
    return replace(record, **parts)


def need_inputs(data: Any) -> None:
    """`InputError` where the model has inputs whose values nobody gave."""
    if data.n_inputs:
        raise InputError(
            "--inputs", expected=f"a table of future values of {', '.join(data.input_names)}",
            got="none", do="pass --inputs FILE",
        )  # fmt: skip


def report(run: Path, *, cache: bool) -> None:
    """Write `report.html` of a run again."""
    folder = Run(run)
    arguments = folder.read()["arguments"]
    estimator = load(folder, cache)
    from ..report import html

    if model_of(arguments).rows:
        html(estimator, folder.report)
        print(f"Report: {folder.report}")
        return
    coverage = arguments["coverage"]
    forecasts = usual_forecasts(estimator, arguments["horizon"], coverage)
    html(estimator, folder.report, forecasts=forecasts, coverage=coverage)
    print(f"Report: {folder.report}")


def parse_state(text: str, names: tuple[str, ...], what: str = "--y0") -> np.ndarray:
    """A state from "Lynx=10,Hare=20"; `InputError` unless every variable has one number."""
    example = ",".join(f"{name}=1" for name in names)
    given: dict[str, float] = {}
    for field in next(csv.reader([text], skipinitialspace=True), []):
        name, _, value = field.rpartition("=")
        name = name.strip()
        if name not in names or name in given:
            raise InputError(
                what, expected=f"one number for each of {', '.join(names)}", got=repr(field),
                do=f'write "{example}"',
            )  # fmt: skip
        try:
            given[name] = float(value)
        except ValueError:
            raise InputError(
                what, expected=f"a number for {name}", got=repr(value), do=f'write "{example}"'
            ) from None
    missing = [name for name in names if not np.isfinite(given.get(name, np.nan))]
    if missing:
        raise InputError(
            what, expected=f"a number for each of {', '.join(names)}",
            got=f"none for {missing[0]}", do=f'write "{example}"',
        )  # fmt: skip
    return np.array([given[name] for name in names])


def read_times(path: Path, clock: Any) -> np.ndarray:
    """Float64 times of a file with one per line; a first line that is no time is a header."""
    what = f"file {str(path)!r}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            what, expected="a text file of times", got=_reason(error), do="check the path"
        ) from None
    rows = [line.split(",")[0].strip().strip('"') for line in text.splitlines()]
    rows = [row for row in rows if row and not row.startswith("#")]
    if rows and not _is_time(rows[0], clock):
        rows = rows[1:]
    if not rows:
        raise InputError(what, expected="one time per line", got="none", do="add some")
    found = clock.encode(rows)
    if not np.isfinite(found).all() or not (np.diff(found) > 0).all():
        raise InputError(what, expected="increasing times", got="others", do="sort them")
    return found


def _is_time(text: str, clock: Any) -> bool:
    try:
        return bool(np.isfinite(clock.encode([text])).all())
    except InputError:
        return False


def read_like(arguments: dict[str, Any], path: Path, learned: Any) -> Any:
    """Other series, read with the columns that the run's own, `learned`, were read with."""
    from ..data import read_trajectories

    names = ("time", "series", "targets", "inputs", "static", "variable", "value")
    roles = {name: arguments[name] for name in names}
    if arguments.get("labels") is not None:  # a column that may be there and is not observed
        roles["targets"] = list(learned.names)
    return read_trajectories(path, **roles, learn=False)


def read_inputs(arguments: dict[str, Any], path: Path, data: Any) -> Any:
    """Known inputs as trajectories, in the run's columns."""
    from ..data import read_trajectories

    if not data.n_inputs:
        raise InputError(
            "--inputs", expected="none: the model was learned without", got=str(path),
            do="leave it away",
        )  # fmt: skip
    columns = {name: arguments[name] for name in ("time", "series", "variable", "value")}
    return read_trajectories(path, **columns, targets=list(data.input_names), learn=False)


def inputs_ahead(
    table: Any, shown: Any, at: np.ndarray | None, horizon: str | None
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Raw times by the series' ids, and the inputs there: all that the table has after the series.

    They end with the asked times `at`, which are among them, or with the horizon.
    """
    times, inputs = {}, []
    for s in shown:
        row, last = _row_of(table, s, shown), s.t[-1]
        end = last + table.clock.horizon(horizon, last) if horizon else np.inf
        moments = row.t[(row.t > last) & (row.t <= (end if at is None else at[-1]))]
        if at is not None:
            moments = np.union1d(moments, at)
        if not len(moments):
            raise InputError(
                "--inputs", expected=f"times after {_moment(table, last)} and within the horizon",
                got=f"{_moment(table, row.t[0])} to {_moment(table, row.t[-1])}",
                do="add future rows, or pass a longer --horizon",
            )  # fmt: skip
        times[s.id] = table.clock.decode(moments)
        inputs.append(held(row, moments, table))
    return times, inputs


def _row_of(table: Any, one: Any, shown: Any) -> Any:
    """The inputs of a series; a table of one series that bears no known name holds for all."""
    stranger = table[0].id not in {s.id for s in shown}
    return table[0] if len(table) == 1 and (stranger or len(shown) == 1) else table[one.id]


def held(row: Any, at: np.ndarray, table: Any) -> np.ndarray:
    """Inputs of one series at the times, on the straight line between its rows."""
    if at[0] < row.t[0] or at[-1] > row.t[-1] or np.isnan(row.x).any():
        raise InputError(
            "--inputs", expected="values at every asked time",
            got=f"gaps, or only {_moment(table, row.t[0])} to {_moment(table, row.t[-1])}",
            do="add rows",
        )  # fmt: skip
    return np.stack([np.interp(at, row.t, column) for column in row.x.T], axis=1)


def _moment(table: Any, t: float) -> str:
    """A time as in the data; midnight is a date."""
    raw = table.clock.decode(np.array([t]))[0]
    if table.clock.kind != "date":
        return f"{raw:g}"
    return str(np.datetime_as_string(raw, unit="s")).removesuffix("T00:00:00")


def load(run: Run, cache: bool) -> Any:
    """The learned model, after the configuration has been found readable."""
    from ..devices import configure

    configure(cache=cache)
    from .. import estimators

    return estimators.load(run.model)


def write_out(records: list[Any], out: Path | None) -> None:
    """The records as one table, their notes (of many series the first) to standard error."""
    named = len(records) > 1
    told = [
        f"series {record.series!r}: {note}" if named else str(note)
        for record in records for note in getattr(record, "notes", ())
    ]  # fmt: skip
    for note in told[:_NOTES]:
        print(f"Note: {note}", file=sys.stderr)
    if len(told) > _NOTES:
        print(f"Note: and {len(told) - _NOTES} more such notes", file=sys.stderr)
    save_table(lambda target: write_table(records, target), out)


def save_table(write: Callable[[Any], None], out: Path | None) -> None:
    """A table to a file, or to standard output."""
    if out is None:
        return write(sys.stdout)
    try:
        write(out)
    except OSError as error:
        raise InputError(
            f"--out {str(out)!r}", expected="a file that can be written", got=_reason(error),
            do="choose another path",
        ) from None  # fmt: skip


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
