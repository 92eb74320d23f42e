"""`tenkai simulate`: the learned equation from any state, with noise many paths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .asking import held, load, need_inputs, parse_state, read_inputs, write_out
from .folder import Run
from .models import model_of, refuse_strangers

_POINTS = 100
_STRANGERS = {"rows": ("y0", "until", "start", "points"), "series": ("y0", "start", "inputs")}


@dataclass(frozen=True)
class Course:
    """What a simulation is asked for; `options` belong to some models only."""

    y0: str | None
    until: str | None
    start: str | None
    points: int | None
    inputs: Path | None
    options: dict[str, Any]

    def check(self, arguments: dict[str, Any]) -> None:
        """`InputError` for what is wrong whatever the model's numbers."""
        if self.points is not None and self.points < 2:
            raise InputError(
                "--points", expected="at least 2", got=str(self.points), do="pass more"
            )
        name, draws = arguments["model"], model_of(arguments).draws
        if not draws:
            raise InputError(
                "run", expected="a model that can be simulated", got=name,
                do="use forecast or predict",
            )  # fmt: skip
        refuse_strangers(name, self.options, model_of(arguments).asked)
        strangers = {
            "rows": ("y0", "until", "start", "points"),
            "series": ("y0", "start", "inputs"),
        }
        if draws in strangers:
            refuse_strangers(name, {n: getattr(self, n) for n in strangers[draws]}, ())
            return
        for name, value, example in (
            ("y0", self.y0, '--y0 "Lynx=10,Hare=20"'), ("until", self.until, "--until 10"),
        ):  # fmt: skip
            if value is None:
                raise InputError(
                    f"--{name}", expected="where the simulation starts" if name == "y0"
                    else "the time at which it ends", got="none", do=f"pass {example}",
                )  # fmt: skip
        count = self.options["paths"]
        if count is not None and count < 1:
            raise InputError("--paths", expected="at least 1", got=str(count), do="pass more")


def simulate(run: Path, course: Course, out: Path | None, *, cache: bool) -> None:
    """Solve the learned equation from a state given by the variables' names."""
    arguments = Run(run).read()["arguments"]
    course.check(arguments)
    if model_of(arguments).draws == "series":
        _draw_series(load(Run(run), cache), course, out)
        return
    if model_of(arguments).draws == "rows":
        from .densities import draw

        rows, seed = course.options["rows"], course.options["seed"]
        draw(run, rows, course.inputs, seed, out, cache=cache)
        return
    assert course.y0 is not None and course.until is not None
    estimator = load(Run(run), cache)
    data = estimator.data_
    names = data.names
    if getattr(estimator, "order", 1) == 2:
        names = (*names, *(f"velocity of {n}" for n in names))
    state = parse_state(course.y0, names)
    begin = min(s.t[0] for s in data)
    if course.start is not None:
        begin = data.clock.encode([course.start])[0]
    end = data.clock.encode([course.until])[0]
    if not end > begin:
        raise InputError(
            "--until", expected=f"a time after {data.clock.decode(begin)}", got=course.until,
            do="pass a later end, or another --start",
        )  # fmt: skip
    asked = at = np.linspace(begin, end, course.points or _POINTS)
    u = None
    if course.inputs is None:
        need_inputs(data)
    else:
        table = read_inputs(arguments, course.inputs, data)
        row = table[0]
        at = np.union1d(at, row.t[(row.t > begin) & (row.t < end)])  # nothing of them is skipped
        u = held(row, at, table)
    options = {name: value for name, value in course.options.items() if value is not None}
    path = estimator.simulate(state, data.clock.decode(at), u, **options)
    keep = np.isin(at, asked)
    write_out([replace(path, time=path.time[keep], values=path.values[..., keep, :])], out)


def _draw_series(estimator: Any, course: Course, out: Path | None) -> None:
    """New series out of the prior, over times since their beginning."""
    count = 10 if course.options["rows"] is None else course.options["rows"]
    if count < 1:
        raise InputError("--rows", expected="at least 1", got=str(count), do="pass more")
    longest = float(np.median([s.t[-1] - s.t[0] for s in estimator.data_]))
    if course.until is not None:
        longest = estimator.data_.clock.horizon(course.until)
    at = np.linspace(0, longest, course.points or _POINTS)
    write_out([estimator.sample(count, at, seed=course.options["seed"] or 0)], out)
