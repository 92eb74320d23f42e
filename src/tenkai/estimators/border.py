"""What users pass to estimators, checked once and brought into one form."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..curriculum.problem import drivers_of
from ..data import Series, Trajectories, read_trajectories
from ..errors import InputError
from ..models.ensemble import Ensemble


def as_trajectories(x: Any, t: Any = None, u: Any = None, *, learn: bool = True) -> Trajectories:
    """Trajectories as they are; a table whose `t` names the time column; else arrays."""
    if isinstance(x, Trajectories):
        return x
    if hasattr(x, "columns") and (t is None or isinstance(t, str)):
        return read_trajectories(x, time=t, learn=learn)
    return Trajectories.from_arrays(x, t, u, learn=learn)


def start_states(y0: Any, data: Trajectories, dim: int) -> np.ndarray:
    """Known start states (series, dim); NaN where they are to be learned."""
    out = np.full((len(data), dim), np.nan)
    if y0 is None:
        return out
    given = np.atleast_1d(np.asarray(y0, float))
    rows = given if given.ndim == 2 else given[None]
    if rows.shape[0] not in (1, len(data)) or rows.shape[1] not in (data.dim, dim):
        raise InputError(
            "y0", expected=f"({data.dim},) or ({dim},) numbers, or one such row for each of "
            f"{len(data)} series", got=f"shape {given.shape}", do="use NaN for what is unknown",
        )  # fmt: skip
    out[:, : rows.shape[1]] = rows
    return out


def match_columns(data: Trajectories, trained: Trajectories) -> Trajectories:
    """Other series must show the variables, inputs and covariates that were learned."""
    for what in ("names", "input_names", "static_names"):
        expected, got = getattr(trained, what), getattr(data, what)
        if expected != got and len(expected) != len(got):
            raise InputError(
                "data", expected=f"columns {', '.join(expected) or 'none'}",
                got=", ".join(got) or "none", do="pass the columns that were learned",
            )  # fmt: skip
    if data.clock.kind != trained.clock.kind:
        raise InputError(
            "data", expected=f"times as {trained.clock.kind}s", got=f"{data.clock.kind}s",
            do="use the kind of times that was learned",
        )  # fmt: skip
    return data


def check_states(y: np.ndarray, data: Trajectories, positive: np.ndarray) -> np.ndarray:
    """States (..., dim) of variables on a log scale must be above zero."""
    bad = positive & (y[..., : data.dim] <= 0).reshape(-1, data.dim).any(0)
    if bad.any():
        names = ", ".join(n for n, b in zip(data.names, bad, strict=True) if b)
        raise InputError(
            f"state of {names}", expected="values above zero: it is modelled on a log scale",
            got="zero or less", do="fit with positive=False, or start above zero",
        )  # fmt: skip
    return y


def check_width(count: int, data: Trajectories, ensemble: Ensemble) -> None:
    """A state is told by the observed variables, velocities where they belong to it, or whole."""
    if count in (ensemble.given, ensemble.dim):
        return
    names, do = ", ".join(data.names), "pass one number per variable"
    if ensemble.velocity_units is not None:
        names, do = f"positions and velocities of {names}", "pass the velocities behind"
    expected = f"{ensemble.given} numbers, {names}"
    raise InputError("state", expected=expected, got=f"{count} numbers", do=do)


def check_coverage(coverage: float) -> float:
    """A share strictly between 0 and 1."""
    if not 0 < coverage < 1:
        raise InputError(
            "coverage", expected="a share between 0 and 1", got=repr(coverage), do="pass 0.9"
        )
    return float(coverage)


def check_kind(kind: str) -> bool:
    """Whether the interval is for the path itself, "latent", not for a new observation."""
    if kind not in ("observation", "latent"):
        raise InputError(
            "kind", expected='"observation" or "latent"', got=repr(kind), do="pick one of these"
        )
    return kind == "latent"


def asked_times(t: Any, data: Trajectories) -> np.ndarray | None:
    """Float times of raw ones in any order; None where none were asked."""
    if t is None:
        return None
    at = np.asarray(data.clock.encode(t), float).reshape(-1)
    if not np.isfinite(at).all():
        raise InputError("t", expected="finite times", got="a gap", do="leave it out")
    return at


def pick(data: Trajectories, series: Any) -> list[int]:
    """Positions of the asked series: None is all, else an index or an id."""
    if series is None:
        return list(range(len(data)))
    ids = [s.id for s in data]
    if isinstance(series, str):
        return [ids.index(data[series].id)]
    if not -len(data) <= int(series) < len(data):
        raise InputError(
            f"series {series}",
            expected=f"0 to {len(data) - 1}",
            got="no such series",
            do="pick one",
        )
    return [int(series) % len(data)]


def future_times(one: Series, data: Trajectories, horizon: Any, times: Any) -> np.ndarray:
    """Float times to forecast: the given ones, or steps of the usual gap up to the horizon.

    `times` hold for every series, or are a dictionary by series id.
    """
    last = float(one.t[-1])
    if isinstance(times, dict):
        if one.id not in times:
            raise InputError(
                "times", expected=f"times of series {one.id!r}", got=", ".join(map(repr, times)),
                do="add them",
            )  # fmt: skip
        times = times[one.id]
    if times is not None:
        at = np.atleast_1d(np.asarray(data.clock.encode(times), float))
        if not len(at) or not np.isfinite(at).all() or (np.diff(at) <= 0).any() or at[0] <= last:
            end, first = (data.clock.decode(np.array([v]))[0] for v in (last, *at[:1], last)[:2])
            raise InputError(
                "times", expected=f"increasing times after {end}",
                got=f"{len(at)} times" + (f" from {first}" if len(at) else ""),
                do="use reconstruct for times inside the data",
            )  # fmt: skip
        return at
    span = float(one.t[-1] - one.t[0])
    length = 0.25 * span if horizon is None else data.clock.horizon(horizon, last)
    gap = float(np.median(np.diff(one.t))) if len(one) > 1 else length / 20
    count = int(np.clip(np.floor(length / gap + 1e-9), 1, 2000))
    at = last + length * np.arange(1, count + 1) / count
    if length / gap <= 2000 and length >= gap:
        at = last + gap * np.arange(1, count + 1)
        if length - gap * count > 1e-6 * gap:
            at = np.append(at, last + length)
    return at


def future_inputs(inputs: Any, count: int, data: Trajectories, which: int) -> np.ndarray | None:
    """Known inputs at the forecast times, (count, inputs)."""
    k = data.n_inputs
    if not k:
        if inputs is not None:
            raise InputError(
                "inputs",
                expected="none: the model was learned without",
                got="some",
                do="leave away",
            )
        return None
    names = ", ".join(data.input_names)
    if inputs is None:
        raise InputError(
            "inputs", expected=f"future values of {names} at {count} times", got="none",
            do="pass inputs=, one row per forecast time",
        )  # fmt: skip
    if isinstance(inputs, list | tuple) and len(inputs) == len(data) and np.ndim(inputs[0]) == 2:
        inputs = inputs[which]
    if hasattr(inputs, "columns"):
        inputs = _input_columns(inputs, data)
    u = np.asarray(inputs, float)
    u = u[:, None] if u.ndim == 1 and k == 1 else u
    if u.shape == (k,):
        u = np.tile(u, (count, 1))
    if u.shape != (count, k) or not np.isfinite(u).all():
        raise InputError(
            "inputs", expected=f"finite values of shape ({count}, {k}) for {names}",
            got=f"shape {u.shape}" + ("" if np.isfinite(u).all() else " with gaps"),
            do="pass one row per forecast time",
        )  # fmt: skip
    return u


def with_covariates(
    inputs: np.ndarray | None, static: Any, count: int, data: Trajectories
) -> np.ndarray | None:
    """Inputs (count, inputs) with a series' covariates beside them, by default the mean series'."""
    k = len(data.static_names)
    if not k and static is None:
        return inputs
    known = [s.static for s in data if s.static is not None]
    given = np.mean(known, axis=0) if static is None else np.asarray(static, float).reshape(-1)
    if len(given) != k or not np.isfinite(given).all():
        raise InputError(
            "static", expected=f"a finite number for each of {', '.join(data.static_names)}"
            if k else "none: the model was learned without covariates", got=repr(static),
            do="mend it",
        )  # fmt: skip
    return drivers_of(inputs, given, count)


def drive(u: Any, count: int, data: Trajectories, ensemble: Ensemble) -> np.ndarray | None:
    """Inputs and covariates (count, k) in raw units; what is not given is at its mean."""
    names = (*data.input_names, *data.static_names)
    if u is None:
        middle = None if ensemble.inputs is None else ensemble.inputs.offset
        return None if middle is None else np.broadcast_to(middle, (count, len(names)))
    given = np.asarray(u, float)
    allowed = [n for n in (data.n_inputs, len(names)) if n]
    if given.ndim not in (1, 2) or given.shape[-1] not in allowed or not np.isfinite(given).all():
        raise InputError(
            "u", expected=f"finite numbers for {', '.join(names)}"
            if names else "none: the model was learned without inputs", got=repr(u),
            do="pass one row for all states, or a row for each",
        )  # fmt: skip
    assert ensemble.inputs is not None
    out = np.tile(ensemble.inputs.offset, (count, 1))
    out[:, : given.shape[-1]] = given
    return out


def _input_columns(table: Any, data: Trajectories) -> np.ndarray:
    missing = [n for n in data.input_names if n not in table.columns]
    if missing:
        raise InputError(
            "inputs", expected=f"columns {', '.join(data.input_names)}",
            got=f"no column {missing[0]!r}", do="add it",
        )  # fmt: skip
    return table[list(data.input_names)].to_numpy()
