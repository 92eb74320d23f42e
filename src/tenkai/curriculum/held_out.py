"""The held-out end: what a model that never saw it forecasts, beside naive forecasts."""

from __future__ import annotations

import numpy as np

from ..data import Scaler, Trajectories
from ..records import Forecast, HeldOut
from .intervals import Calibration, calibrate, with_horizon
from .problem import Problem
from .runs import Run
from .task import Task


def misses(raw: np.ndarray, task: Task) -> np.ndarray:
    """Misses (points,) of all observations in the closed end, in standard deviations."""
    values = task.problem.values
    seen = task.closed[:, None] & ~np.isnan(values)
    return ((raw - values) / np.maximum(np.nanstd(values, axis=0), 1e-300))[seen]


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
    problem, closed, dim = run.task.problem, run.task.closed, data.dim
    mean, spread = run.mean_path(mine)
    trusted = run.trusted(mine)
    values = scaler.forward(problem.values)
    held = run.task.held_out[..., :dim] & mine[:, None, None]
    seen = run.task.train[..., :dim]
    assert run.trained.shaped is not None
    own, _ = calibrate(
        run.paths[..., :dim], values, held, seen, trusted if trusted.any() else mine,
        scaler, run.trained.shaped[int(np.argmax(mine))],
    )  # fmt: skip
    shape = own.shape(mean, scaler)
    ahead = _ahead(problem, closed)
    half = own.half_width(spread, coverage, ahead, shape=shape)
    raw, low, high = (scaler.inverse(z) for z in (mean, mean - half, mean + half))
    forecasts, observed = [], []
    for one, span in zip(data, problem.spans, strict=True):
        end = closed[span]
        if end.any():
            mean_, low_, high_ = (a[span][end] for a in (raw, low, high))
            time = data.clock.decode(one.t[end])
            names = (data.names, one.id, data.time_name)
            forecasts.append(Forecast(time, mean_, low_, high_, coverage, *names))
            observed.append(one.x[end])
    there = ~np.isnan(problem.values) & closed[:, None]
    inside = ((problem.values >= low) & (problem.values <= high))[there]
    held_out = HeldOut(
        forecasts=tuple(forecasts),
        observed=tuple(observed),
        error=_error(raw, run.task),
        naive={k: _error(v, run.task) for k, v in _naive(problem, closed).items()},
        inside=int(inside.sum()),
        points=int(there.sum()),
        nominal=coverage,
    )
    if np.isfinite(mean).all():
        unit = scaler.scale / final.scale
        miss = np.where(there, mean - values, np.nan)[closed] * unit
        calibration = with_horizon(
            calibration, miss, spread[closed] * unit, ahead[closed], shape[closed]
        )
    return calibration, held_out


def _ahead(problem: Problem, closed: np.ndarray) -> np.ndarray:
    """Scaled time since the last open node of the series; zero at open nodes."""
    out = np.zeros(len(closed))
    for span in problem.spans:
        tau, end = problem.tau[span], closed[span]
        out[span] = np.where(end, tau - tau[~end].max(initial=tau[0]), 0.0)
    return out


def _naive(problem: Problem, closed: np.ndarray) -> dict[str, np.ndarray]:
    """Last value, mean and straight line of every variable, from what comes before the end."""
    out = {name: np.full(problem.values.shape, np.nan) for name in ("last value", "mean", "linear")}
    for span in problem.spans:
        tau, x, open_ = problem.tau[span], problem.values[span], ~closed[span]
        for j in range(x.shape[1]):
            use = open_ & ~np.isnan(x[:, j])
            if not use.any():
                continue
            out["last value"][span, j] = x[use, j][-1]
            out["mean"][span, j] = x[use, j].mean()
            out["linear"][span, j] = _line(tau[use], x[use, j], tau)
    return out


def _line(t: np.ndarray, x: np.ndarray, at: np.ndarray) -> np.ndarray:
    centred = t - t.mean()
    slope = (centred @ x) / max(centred @ centred, 1e-300)
    return x.mean() + slope * (at - t.mean())
