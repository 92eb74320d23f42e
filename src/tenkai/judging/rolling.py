"""The loop over origins and models, and what it finds as records."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Trajectories
from ..errors import InputError
from ..records import Backtest, Forecast, Origin, Points, Status
from . import baselines
from .origins import Cut

_FAILURES = (InputError, ArithmeticError, RuntimeError, np.linalg.LinAlgError)


@dataclass(frozen=True, eq=False)
class Attempt:
    """One fit: how it ended and, where it did, the forecast of each series."""

    origin: Origin
    forecasts: list[Forecast] | None
    error: Exception | None = None


def roll(
    models: Mapping[str, Any],
    data: Trajectories,
    cuts: list[Cut],
    coverage: float,
    progress: bool | None,
) -> dict[str, Backtest]:
    """Every model at every cut; after Ctrl-C, at the cuts that all models have finished."""
    for model in models.values():
        fresh(model)
    done: list[dict[str, Attempt]] = []
    notes: tuple[str, ...] = ()
    try:
        for k, cut in enumerate(cuts):
            done.append({name: attempt(model, cut, coverage) for name, model in models.items()})
            _say(progress, k, cuts, done[-1])
    except KeyboardInterrupt:
        if not done:
            raise
        notes = (f"stopped after {len(done)} of {len(cuts)} origins",)
    points = points_of(data, cuts[: len(done)], coverage)
    made = {}
    for name, model in models.items():
        attempts = [one[name] for one in done]
        _refuse_if_none_succeeded(attempts)
        mean, lower, upper = _gathered(cuts, attempts, len(points))
        made[name] = Backtest(
            model=repr(model), points=points, mean=mean, lower=lower, upper=upper,
            nominal=coverage, origins=tuple(a.origin for a in attempts),
            notes=(*data.notes, *notes), stopped=bool(notes), data=data,
        )  # fmt: skip
    return made


def fresh(model: Any) -> Any:
    """An unfitted copy with the same arguments."""
    if isinstance(model, type) or not all(
        hasattr(model, name) for name in ("get_params", "fit", "forecast")
    ):
        raise InputError(
            "model", expected="an estimator that forecasts, such as tk.NeuralODE()",
            got=repr(model), do="pass an object, not a class",
        )  # fmt: skip
    return type(model)(**model.get_params())


def attempt(model: Any, cut: Cut, coverage: float) -> Attempt:
    """Fit a copy to what the cut shows and forecast the rest."""
    begun = time.perf_counter()
    forecasts, error = None, None
    try:
        copy = fresh(model)
        quiet = {"progress": False} if "progress" in inspect.signature(copy.fit).parameters else {}
        copy.fit(cut.seen, **quiet)
        forecasts = _ask(copy, cut, coverage)
        fit = getattr(copy, "fit_", None)
        status = getattr(fit, "status", None) or Status("finished", "fitted")
    except _FAILURES as caught:
        error = caught
        status = Status("failed", f"{type(caught).__name__}: {caught}".rstrip("."), ok=False)
    seconds = time.perf_counter() - begun
    return Attempt(Origin(cut.observations, status, seconds), forecasts, error)


def _ask(model: Any, cut: Cut, coverage: float) -> list[Forecast]:
    """One forecast per series, at the times of its rows (where there are none, at one to come)."""
    clock, times, inputs = cut.seen.clock, {}, []
    for part, one, rows in zip(cut.seen, cut.whole, cut.rows, strict=True):
        later = one.t[rows]
        known = None if one.u is None else one.u[rows]
        if not len(later):
            later = part.t[-1:] + np.median(np.diff(part.t))
            known = None if part.u is None else part.u[-1:]
        times[one.id] = clock.decode(later)
        inputs.append(known)
    first = next(iter(times.values()))
    same = all(np.array_equal(first, other) for other in times.values())
    known = {"inputs": inputs} if cut.seen.n_inputs else {}
    made = model.forecast(times=first if same else times, coverage=coverage, **known)
    return made if isinstance(made, list) else [made]


def _refuse_if_none_succeeded(attempts: list[Attempt]) -> None:
    errors = [a.error for a in attempts if a.error is not None]
    if len(errors) == len(attempts):
        raise errors[0]


def points_of(data: Trajectories, cuts: list[Cut], coverage: float) -> Points:
    """What is asked at the cuts: the observed entries, and what the baselines say of them."""
    spread = np.nanstd(np.concatenate([one.x for one in data]), axis=0)
    spread = np.where(spread > 0, spread, 1.0)  # of a constant, errors are in its own units
    blocks = []
    for k, cut in enumerate(cuts):
        for part, one, rows in zip(cut.seen, cut.whole, cut.rows, strict=True):
            if rows.stop > rows.start:
                blocks.append(_block(k, part, one.t[rows], one.x[rows], coverage))
    names = np.array(data.names, dtype=object)
    merged = {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}
    which = merged.pop("which")
    naive = {name: merged.pop(name) for name in baselines.NAMES}
    since, moment = (data.clock.decode(merged.pop(key)) for key in ("since", "time"))
    interval = (merged.pop("lower"), merged.pop("upper"))
    unit = data.units.get(data.time_name, data.clock.unit)
    return Points(
        **merged, since=since, time=moment, variable=names[which], sd=spread[which],
        naive=naive, naive_interval=interval, time_name=data.time_name, unit=unit,
    )  # fmt: skip


def _block(k: int, part: Any, at: np.ndarray, x: np.ndarray, coverage: float) -> dict:
    """The entries of one series at one origin, by row and then by variable, NaN left out."""
    dim, shape = x.shape[1], x.shape
    said = {name: np.empty(shape) for name in (*baselines.NAMES, "lower", "upper")}
    for j in range(dim):
        for name, baseline in baselines.SIMPLE.items():
            said[name][:, j] = baseline(part.t, part.x[:, j], at)
        ends = baselines.autoregression(part.t, part.x[:, j], at, coverage)
        for name, values in zip((baselines.AUTOREGRESSION, "lower", "upper"), ends, strict=True):
            said[name][:, j] = values
    last = float(part.t[-1])
    every = said | {
        "observed": x,
        "time": np.repeat(at[:, None], dim, 1),
        "ahead": np.repeat(at[:, None] - last, dim, 1),
        "since": np.full(shape, last),
        "origin": np.full(shape, k),
        "seen": np.full(shape, len(part)),
        "series": np.full(shape, part.id, dtype=object),
        "which": np.tile(np.arange(dim), (len(at), 1)),
    }
    keep = ~np.isnan(x)
    return {key: values[keep] for key, values in every.items()}


def _gathered(
    cuts: list[Cut], attempts: list[Attempt], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, lower and upper (points,) in the order of `points_of`; NaN of failed fits."""
    found: list[np.ndarray] = []
    for cut, one in zip(cuts, attempts, strict=False):
        for i, (whole, rows) in enumerate(zip(cut.whole, cut.rows, strict=True)):
            if rows.stop <= rows.start:
                continue
            keep = whole.observed[rows]
            if one.forecasts is None:
                found.append(np.full((3, int(keep.sum())), np.nan))
                continue
            said = one.forecasts[i]
            found.append(
                np.stack([np.asarray(a)[keep] for a in (said.mean, said.lower, said.upper)])
            )
    mean, lower, upper = np.concatenate(found, axis=1).reshape(3, count)
    return mean, lower, upper


def _say(progress: bool | None, k: int, cuts: list[Cut], done: Mapping[str, Attempt]) -> None:
    if progress or (progress is None and sys.stderr.isatty()):
        seen = "/".join(str(n) for n in dict.fromkeys(cuts[k].observations))
        said = ", ".join(
            ("" if len(done) == 1 else f"{name} ")
            + f"{one.origin.seconds:.1f} s"
            + ("" if one.origin.status.ok else f" ({one.origin.status.kind})")
            for name, one in done.items()
        )
        print(f"origin {k + 1}/{len(cuts)}, {seen} observations: {said}", file=sys.stderr)
