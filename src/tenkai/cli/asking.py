"""`tenkai forecast`, `simulate` and `report`: questions to a learned model."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .folder import Run
from .training import check_coverage, usual_forecasts, write_table


@dataclass(frozen=True)
class Question:
    """What a forecast is asked for."""

    horizon: str | None
    times: Path | None
    inputs: Path | None
    coverage: float
    kind: str

    def check(self) -> None:
        """`InputError` for what is wrong whatever the run; inputs alone bring their times."""
        check_coverage(self.coverage)
        if self.kind not in ("observation", "latent"):
            raise InputError(
                "--kind", expected="observation or latent", got=self.kind, do="pick one of these"
            )
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
    estimator = load(Run(run), cache)
    shown = estimator.data_ if data is None else _read_like(arguments, data)
    clock, horizon = estimator.data_.clock, question.horizon
    at = None if question.times is None else read_times(question.times, clock)
    known: dict[str, Any] = {} if data is None else {"data": shown}
    last = max(s.t[-1] for s in shown)
    end = None if horizon is None else last + clock.horizon(horizon, last)
    if question.inputs is None:
        need_inputs(estimator.data_)
    else:
        table = _read_inputs(arguments, question.inputs, estimator.data_)
        at, known["inputs"] = inputs_ahead(table, shown, at, last, end)
    if at is not None:
        horizon, known["times"] = None, clock.decode(at)
    made = estimator.forecast(horizon, coverage=question.coverage, kind=question.kind, **known)
    _write(made if isinstance(made, list) else [made], out)


def need_inputs(data: Any) -> None:
    """`InputError` where the model has inputs whose values nobody gave."""
    if data.n_inputs:
        raise InputError(
            "--inputs", expected=f"a table of future values of {', '.join(data.input_names)}",
            got="none", do="pass --inputs FILE",
        )  # fmt: skip


def simulate(
    run: Path,
    y0: str,
    until: str,
    start: str | None,
    points: int,
    inputs: Path | None,
    out: Path | None,
    *,
    cache: bool,
) -> None:
    """Solve the learned equation from a state given by the variables' names."""
    if points < 2:
        raise InputError("--points", expected="at least 2", got=str(points), do="pass more")
    arguments = Run(run).read()["arguments"]
    estimator = load(Run(run), cache)
    data = estimator.data_
    names = data.names
    if getattr(estimator, "order", 1) == 2:
        names = (*names, *(f"velocity of {n}" for n in names))
    state = parse_state(y0, names)
    begin = min(s.t[0] for s in data) if start is None else data.clock.encode([start])[0]
    end = data.clock.encode([until])[0]
    if not end > begin:
        raise InputError(
            "--until", expected=f"a time after {data.clock.decode(begin)}", got=until,
            do="pass a later end, or another --start",
        )  # fmt: skip
    at, u = np.linspace(begin, end, points), None
    if inputs is None:
        need_inputs(data)
    else:
        table = _read_inputs(arguments, inputs, data)
        u = _held(table[0], at, table)
    path = estimator.simulate(state, data.clock.decode(at), u)
    _write([path], out)


def report(run: Path, *, cache: bool) -> None:
    """Write `report.html` of a run again."""
    folder = Run(run)
    arguments = folder.read()["arguments"]
    estimator = load(folder, cache)
    from ..report import html

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


def _read_like(arguments: dict[str, Any], path: Path) -> Any:
    """Other series, read with the columns that the run was read with."""
    from ..data import read_trajectories

    names = ("time", "series", "targets", "inputs", "static", "variable", "value")
    return read_trajectories(path, **{name: arguments[name] for name in names}, learn=False)


def _read_inputs(arguments: dict[str, Any], path: Path, data: Any) -> Any:
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
    table: Any, shown: Any, at: np.ndarray | None, last: float, end: float | None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Forecast times and the inputs there, (times, inputs) for each series.

    Without times of their own, the forecast is at the table's times after `last` up to `end`.
    A table with one series holds for all.
    """
    one = table[0]
    inside = (one.t > last) & (one.t <= (np.inf if end is None else end))
    moments = one.t[inside] if at is None else at
    if not len(moments):
        raise InputError(
            "--inputs", expected="times after the data and within the horizon",
            got=f"{table.clock.decode(one.t[0])} to {table.clock.decode(one.t[-1])}",
            do="add future rows, or pass a longer --horizon",
        )  # fmt: skip
    rows = [one if len(table) == 1 else table[s.id] for s in shown]
    return moments, [_held(row, moments, table) for row in rows]


def _held(row: Any, at: np.ndarray, table: Any) -> np.ndarray:
    """Inputs of one series at the times, on the straight line between its rows."""
    if at[0] < row.t[0] or at[-1] > row.t[-1] or np.isnan(row.x).any():
        raise InputError(
            "--inputs", expected="values at every asked time",
            got=f"gaps, or only {table.clock.decode(row.t[0])} to {table.clock.decode(row.t[-1])}",
            do="add rows",
        )  # fmt: skip
    return np.stack([np.interp(at, row.t, column) for column in row.x.T], axis=1)


def load(run: Run, cache: bool) -> Any:
    """The learned model, after the configuration has been found readable."""
    from ..devices import configure

    configure(cache=cache)
    from .. import estimators

    return estimators.load(run.model)


def _write(records: list[Any], out: Path | None) -> None:
    if out is None:
        return write_table(records, sys.stdout)
    try:
        write_table(records, out)
    except OSError as error:
        raise InputError(
            f"--out {str(out)!r}", expected="a file that can be written", got=_reason(error),
            do="choose another path",
        ) from None  # fmt: skip


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
