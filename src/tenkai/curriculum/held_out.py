"""The held-out end: what a model that never saw it forecasts, beside naive forecasts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data import Scaler, Trajectories
from ..records import Forecast, HeldOut
from .intervals import Calibration, calibrate, with_horizon
from .naive import SIMPLE
from .problem import Problem
from .runs import Run
from .task import Task


def deviations(raw: np.ndarray, task: Task) -> np.ndarray:
    """What raw paths (..., nodes, dim) miss of the observations, in standard deviations."""
    values = task.problem.values
    return (raw - values) / np.maximum(np.nanstd(values, axis=0), 1e-300)


def misses(raw: np.ndarray, task: Task) -> np.ndarray:
    """Misses (points,) of all observations in the closed end, in standard deviations."""
    seen = task.closed[:, None] & ~np.isnan(task.problem.values)
    return deviations(raw, task)[seen]


def _error(raw: np.ndarray, task: Task) -> float:
    missed = misses(raw, task)
    return float(np.sqrt(np.mean(missed**2))) if np.isfinite(missed).all() else float("inf")


def judge_end(
    run: Run,
    mine: np.ndarray,
    final: Scaler,
    calibration: Calibration,
    data: Trajectories,
    coverage: float,
) -> tuple[Calibration, HeldOut]:
    """The held-out end: calibrated without it, judged on it, and then used for the horizon.

    The members `mine` have the scale of the data before the end; what the end says about the
    horizon goes into `calibration`, whose units are those of the `final` scale.
    """
    scaler = run.task.scalers[int(np.argmax(mine))]
    problem, closed = run.task.problem, run.task.closed
    mean, spread = run.mean_path(mine)
    own = _before(run, mine, scaler)
    shape = own.shape(mean, scaler)
    ahead = _ahead(problem, closed)
    half = own.half_width(spread, coverage, ahead, shape=shape)
    raw, low, high = bands = [scaler.inverse(z) for z in (mean, mean - half, mean + half)]
    forecasts, observed = _records(data, run.task, bands, coverage)
    there = ~np.isnan(problem.values) & closed[:, None]
    inside = ((problem.values >= low) & (problem.values <= high))[there]
    held_out = HeldOut(
        forecasts=forecasts,
        observed=observed,
        error=_error(raw, run.task),
        naive={k: _error(v, run.task) for k, v in _naive(problem, closed).items()},
        inside=int(inside.sum()),
        points=int(there.sum()),
        nominal=coverage,
    )
    if np.isfinite(mean).all():
        unit = scaler.scale / final.scale
        miss = np.where(there, mean - scaler.forward(problem.values), np.nan)[closed] * unit
        calibration = with_horizon(
            calibration, miss, spread[closed] * unit, ahead[closed], shape[closed]
        )
    return calibration, held_out


def _before(run: Run, mine: np.ndarray, scaler: Scaler) -> Calibration:
    """The calibration of the members `mine`, from what comes before the end."""
    task, shown, trusted = run.task, run.task.shown, run.trusted(mine)
    assert run.trained.shaped is not None
    return calibrate(
        run.paths[..., :shown], scaler.forward(task.problem.values),
        task.held_out[..., :shown] & mine[:, None, None], task.train[..., :shown],
        trusted if trusted.any() else mine, scaler, run.trained.shaped[int(np.argmax(mine))],
    )[0]  # fmt: skip


def _records(
    data: Trajectories, task: Task, bands: Sequence[np.ndarray], coverage: float
) -> tuple[tuple[Forecast, ...], tuple[np.ndarray, ...]]:
    """Forecasts of every closed end by raw mean, low and high (nodes, dim), and what came."""
    forecasts, observed = [], []
    for one, span in zip(data, task.problem.spans, strict=True):
        end = task.closed[span]
        if end.any():
            mean, low, high = (a[span][end] for a in bands)
            names = (data.names, one.id, data.time_name)
            time = data.clock.decode(one.t[end])
            forecasts.append(Forecast(time, mean, low, high, coverage, *names))
            observed.append(one.x[end])
    return tuple(forecasts), tuple(observed)


def _ahead(problem: Problem, closed: np.ndarray) -> np.ndarray:
    """Scaled time since the last open node of the series; zero at open nodes."""
    out = np.zeros(len(closed))
    for span in problem.spans:
        tau, end = problem.tau[span], closed[span]
        out[span] = np.where(end, tau - tau[~end].max(initial=tau[0]), 0.0)
    return out


def _naive(problem: Problem, closed: np.ndarray) -> dict[str, np.ndarray]:
    """Naive forecasts of every variable at all nodes, from what comes before the end."""
    out = {name: np.full(problem.values.shape, np.nan) for name in SIMPLE}
    known = np.where(closed[:, None], np.nan, problem.values)
    for span in problem.spans:
        tau = problem.tau[span]
        for j in range(known.shape[1]):
            for name, forecast in SIMPLE.items():
                out[name][span, j] = forecast(tau, known[span, j], tau)
    return out
