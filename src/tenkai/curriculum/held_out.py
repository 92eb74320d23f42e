"""The held-out end: what a model that never saw it forecasts, beside naive forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Scaler, Trajectories
from ..records import Forecast, HeldOut
from .intervals import Calibration, calibrate, with_horizon
from .problem import Problem
from .solves import Solves
from .task import Task, Trained

_TRUST = 4.0  # members whose error exceeds this many times the best are not averaged
_CLEARLY = 2.0  # standard errors by which the raw scale must win against the log


@dataclass(eq=False)
class Run:
    """One training of all members and what it says."""

    task: Task
    trained: Trained
    solves: Solves
    paths: np.ndarray

    def trusted(self, mine: np.ndarray) -> np.ndarray:
        """Of the members `mine`, those whose judged error is close to the best one's."""
        errors = np.where(mine & np.isfinite(self.paths).all((1, 2)), self.trained.errors, np.inf)
        if not np.isfinite(errors).any():
            return np.zeros(len(errors), bool)
        return errors <= _TRUST * errors.min() + 1e-4

    def mean_path(self, mine: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread (nodes, dim) over the trusted of the members `mine`."""
        trusted = self.trusted(mine)
        shown = self.paths[trusted if trusted.any() else mine][..., :dim]
        return shown.mean(0), shown.std(0)


def choose_scale(
    run: Run, members: Sequence[int], scales: Sequence[Scaler], data: Trajectories
) -> tuple[int, list[str]]:
    """The logarithmic scale (the first) unless the raw one forecasts the end clearly better.

    Clearly is by two standard errors of the paired squared misses: a few points cannot tell, and
    the log scale never answers with negative quantities.
    """
    if len(scales) == 1:
        return 0, []
    squares = []
    for i, scaler in enumerate(scales):
        mean, _ = run.mean_path(np.array([m == i for m in members]), data.dim)
        squares.append(_misses(scaler.inverse(mean), run.task) ** 2)
    log, raw = (np.where(np.isfinite(s), s, 1e6) for s in squares)
    gain = log - raw
    choice = int(gain.mean() > _CLEARLY * gain.std() / max(len(gain), 1) ** 0.5)
    names = [n for n, p in zip(data.names, scales[0].positive, strict=True) if p]
    note = (
        f"{', '.join(names)} modelled on {('a log', 'the raw')[choice]} scale: error on the "
        f"held-out end {log.mean() ** 0.5:.2f} (log) against {raw.mean() ** 0.5:.2f} (raw) "
        "standard deviations"
    )
    return choice, [note]


def _misses(raw: np.ndarray, task: Task) -> np.ndarray:
    """Misses (points,) of all observations in the closed end, in standard deviations."""
    values = task.problem.values
    seen = task.closed[:, None] & ~np.isnan(values)
    return ((raw - values) / np.maximum(np.nanstd(values, axis=0), 1e-300))[seen]


def _error(raw: np.ndarray, task: Task) -> float:
    misses = _misses(raw, task)
    return float(np.sqrt(np.mean(misses**2))) if np.isfinite(misses).all() else float("inf")


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
    mean, spread = run.mean_path(mine, dim)
    trusted = run.trusted(mine)
    values = scaler.forward(problem.values)
    held = run.task.held_out[..., :dim] & mine[:, None, None]
    own, _ = calibrate(run.paths[..., :dim], values, held, trusted if trusted.any() else mine)
    ahead = _ahead(problem, closed)
    half = own.half_width(spread, coverage, ahead)
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
    seen = ~np.isnan(problem.values) & closed[:, None]
    inside = ((problem.values >= low) & (problem.values <= high))[seen]
    held_out = HeldOut(
        forecasts=tuple(forecasts),
        observed=tuple(observed),
        error=_error(raw, run.task),
        naive={k: _error(v, run.task) for k, v in _naive(problem, closed).items()},
        inside=int(inside.sum()),
        points=int(seen.sum()),
        nominal=coverage,
    )
    if np.isfinite(mean).all():
        unit = scaler.scale / final.scale
        miss = np.where(seen, mean - values, np.nan)[closed] * unit
        calibration = with_horizon(calibration, miss, spread[closed] * unit, ahead[closed])
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
