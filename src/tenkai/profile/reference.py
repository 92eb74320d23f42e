"""The solution that errors are measured against, in float64, and how stiff the way there is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ..devices import arithmetic
from ..unfold import DOPRI5
from .problem import Problem
from .system import Rows, fixed, jacobians, system_of

_FIRST, _MOST = 8, 2**15  # steps of Dormand and Prince's method over the span
_ROUNDING = 1e-12
_HALVED = 2.0**DOPRI5.order - 1  # a solve's error over how far it moves when its steps are halved
_STRICT, _LESS = 1e-10, 1e-8
_MOST_CALLS, _ESCAPED = 60_000, 1e12


class Reference(NamedTuple):
    """States (points, rows, dim), the units (dim,) of errors, and how far it may be off itself.

    `steps` are those of Dormand and Prince's method that it took; None where that did not get
    there and an implicit method of SciPy's did.
    """

    ys: Float[np.ndarray, "points rows dim"]
    scale: Float[np.ndarray, " dim"]
    error: float
    steps: int | None

    def off(self, ys: Any) -> float:
        """Error of other states: root mean square over rows and variables at the worst time."""
        with np.errstate(over="ignore", invalid="ignore"):
            each = ((np.asarray(ys, float) - self.ys) / self.scale) ** 2
            worst = float(np.sqrt(each.mean((1, 2)).max()))
        return worst if np.isfinite(worst) else float("inf")


def reference(problem: Problem) -> Reference:
    """Ever finer steps until only rounding moves the states; LSODA where that takes too many."""
    enough = max(_ROUNDING, 1e-8 * problem.tolerance)
    with arithmetic("float64"):
        system, y0 = system_of(problem, np.float64)
        each = 3 * -(-_FIRST // problem.points)  # never the grid of what is measured
        ys, before = _states(system, y0, problem.points, each), np.inf
        while each * problem.points < _MOST:
            each *= 2
            finer = _states(system, y0, problem.points, each)
            made = _made(problem, finer, y0, each * problem.points)
            moved, ys = made.off(ys), finer
            made = made._replace(error=moved / _HALVED)
            if made.error < enough or (before < 1e-9 and moved > before / 4):
                return made
            before = moved
        if made.error < 1e-3 * problem.tolerance:
            return made
        return _stiffly(problem, system, y0)


def _states(system: Rows, y0: np.ndarray, points: int, each: int) -> np.ndarray:
    return np.asarray(fixed(system, y0, DOPRI5, points, np.int32(each)))


def _made(problem: Problem, ys: np.ndarray, y0: np.ndarray, steps: int | None) -> Reference:
    if problem.scale is not None:
        return Reference(ys, np.asarray(problem.scale, float), np.nan, steps)
    known = np.concatenate([y0[None], ys])
    with np.errstate(invalid="ignore"):
        width = np.ptp(known, axis=(0, 1))
        still = np.abs(known).max((0, 1))
    scale = np.where(width > 0, width, np.where(still > 0, still, 1.0))
    return Reference(ys, scale, np.nan, steps)


class _Lost(Exception):
    """The path leaves every bound, or takes more evaluations than it is worth."""


def _stiffly(problem: Problem, system: Rows, y0: np.ndarray) -> Reference:
    slope = jax.jit(lambda s, y: system(s, y.reshape(y0.shape)).ravel())
    matrix = jax.jit(jax.jacfwd(lambda y, s: system(s, y.reshape(y0.shape)).ravel()))
    bound, calls = _ESCAPED * (1 + np.abs(y0).max()), 0

    def watched(s: float, y: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls > _MOST_CALLS or not np.abs(y).max() < bound:
            raise _Lost
        return np.asarray(slope(s, y))

    def solved(rtol: float) -> np.ndarray:
        nonlocal calls
        calls = 0
        try:
            return _lsoda(watched, lambda s, y: np.asarray(matrix(y, s)), y0, problem.points, rtol)
        except _Lost:
            return np.full((problem.points, *y0.shape), np.nan)

    made = _made(problem, solved(_STRICT), y0, None)
    return made._replace(error=made.off(solved(_LESS)))


def _lsoda(
    slope: Callable, matrix: Callable, y0: np.ndarray, points: int, rtol: float
) -> Float[np.ndarray, "points rows dim"]:
    from scipy.integrate import solve_ivp

    at = np.arange(1, points + 1) / points
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of shows in the states
        made: Any = solve_ivp(
            slope, (0.0, 1.0), y0.ravel(), method="LSODA", t_eval=at, jac=matrix, rtol=rtol,
            atol=1e-3 * rtol * np.abs(y0).max() + 1e-300,
        )  # fmt: skip
    if made.y.shape[1] != points:
        return np.full((points, *y0.shape), np.nan)
    return made.y.T.reshape(points, *y0.shape)


class Rates(NamedTuple):
    """At fractions `at` (times,): ratio (times, rows), and the fastest decay times the span."""

    at: Float[np.ndarray, " times"]
    stiffness: Float[np.ndarray, "times rows"]
    decay: float


def rates(problem: Problem, known: Reference) -> Rates:
    """Largest over smallest ``|Re lambda|`` of the Jacobian along the reference path.

    What is slower than the span is as slow as the span: it does not turn while it is watched.
    """
    with arithmetic("float64"):
        system, y0 = system_of(problem, np.float64)
        ys = np.concatenate([y0[None], known.ys])
        at = np.linspace(0.0, 1.0, len(ys))
        matrices = np.asarray(jacobians(system, at, ys))
    finite = np.asarray(np.isfinite(matrices).all((2, 3)))
    real = np.linalg.eigvals(np.where(finite[..., None, None], matrices, 0.0)).real
    real = np.where(finite[..., None], real, np.nan)
    slowest = np.maximum(np.abs(real).min(-1), 1.0)
    ratio = np.maximum(np.abs(real).max(-1), slowest) / slowest
    decay = float(max(0.0, -np.nanmin(real))) if finite.any() else float("nan")
    return Rates(at, ratio, decay)
