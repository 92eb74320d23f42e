"""Whether a path solves its problem: Euler-Lagrange residual, ends, second variation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.trials import Trial
from ..records import Solution, Status
from .ensemble import Problems
from .minimise import Minimum
from .paths import along

if TYPE_CHECKING:
    from .variational import VariationalProblem

POINTS = 201
TRUSTED = 1e-3  # relative Euler-Lagrange residual of a path that is called converged
_HELD = 1e-2  # an end that a penalty holds worse than this share of the path's range is not held


def euler_lagrange(problem: VariationalProblem, y: tuple, t: Any, data: Problems | None) -> tuple:
    """``d/dt L_dy``, ``L_y``, ``L_dy`` and the smallest eigenvalue of ``L_dydy`` at one time.

    `y` are the path and its first two derivatives there, each (dim,). Of an ensemble these are the
    mean problem's: of the expectation over r of the Lagrangian.
    """

    def mean(t: Any, y: Any, dy: Any) -> Any:
        if data is None:
            return problem.density(t, y, dy)
        return jnp.sum(data.q * jax.vmap(lambda r: problem.density(t, y, dy, r))(data.r))

    y, dy, ddy = y
    momentum = jax.grad(mean, argnums=2)
    here, change = jax.jvp(momentum, (t, y, dy), (jnp.ones_like(t), dy, ddy))
    force = jax.grad(mean, argnums=1)(t, y, dy)
    inertia = jax.jacfwd(momentum, argnums=2)(t, y, dy)
    return change, force, here, jnp.linalg.eigvalsh(inertia)[0]


@eqx.filter_jit
def _judged(problem: Any, path: Any, data: Problems | None) -> tuple:
    """Path, slopes and Euler-Lagrange terms on the grid of a record, and the action."""
    t = np.linspace(problem.interval[0], problem.interval[1], POINTS)
    y = along(path, t)
    terms = jax.vmap(lambda y, t: euler_lagrange(problem, y, t, data))(y, t)
    return y[0], y[1], *terms, problem.action(path, data)


def solution(
    problem: VariationalProblem, found: Minimum, trial: Trial, data: Problems | None
) -> Solution:
    """The record of a minimum, with everything that tells whether to trust it."""
    judged = _judged(problem, found.model, data)
    y, dy, change, force, momentum, inertia, action = map(np.asarray, judged)
    residual = change - force
    size = max(np.abs(change).max(), np.abs(force).max(), 1e-300)
    largest = max(np.abs(momentum).max(), 1e-300)
    free = np.isnan(problem.given)
    natural = np.where(free, momentum[[0, -1]] / largest, np.nan)
    errors = np.where(free, 0.0, y[[0, -1]] - np.nan_to_num(problem.given))
    relative = float(np.abs(residual).max() / size) if np.isfinite(residual).all() else np.inf
    parts = {
        "relative_residual": relative, "natural": natural, "legendre": float(inertia.min()),
        "boundary_errors": errors,
    }  # fmt: skip
    t = np.linspace(problem.interval[0], problem.interval[1], POINTS)
    return Solution(
        t, y, dy, float(action), residual=residual, curvature=found.curvature,
        status=_status(problem, found, y, float(action), parts), trial=repr(trial),
        steps=found.steps, scalar=problem.scalar, history=found.history,
        path=partial(_evaluated, found.model), **parts,
    )  # fmt: skip


def _evaluated(path: Any, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with jax.enable_x64(True):
        y, dy, _ = along(path, t)
        return np.asarray(y), np.asarray(dy)


def _status(
    problem: VariationalProblem, found: Minimum, y: np.ndarray, action: float, parts: dict
) -> Status:
    told = f"action {action:.8g}, relative Euler-Lagrange residual {parts['relative_residual']:.1g}"
    notes = _notes(problem, y, parts)
    if found.kind == "not finite" or not np.isfinite(action):
        return Status(
            "not finite", f"The action stopped being finite: {told}",
            cause="the Lagrangian is NaN or infinite on the way down",
            remedy="pass guess=, or a trial that stays where the Lagrangian is defined", ok=False,
        )  # fmt: skip
    if found.kind == "unbounded":
        return Status(
            "unbounded", f"The action keeps falling: {told}",
            cause="there is no minimum (an interval beyond a conjugate point, a free end without "
            "a cost) or the quadrature is too coarse for the trial",
            remedy="shorten the interval, hold an end, or use GaussLegendre with more nodes",
            ok=False, notes=notes,
        )  # fmt: skip
    if found.kind == "saddle" or parts["legendre"] < -1e-9:
        return Status(
            "saddle", f"The path is no minimum of the action: {told}",
            cause="the second variation is negative in some direction",
            remedy="use the path as a stationary one only, or shorten the interval", ok=False,
            notes=notes,
        )  # fmt: skip
    natural = np.nan_to_num(np.abs(parts["natural"])).max()
    if parts["relative_residual"] > TRUSTED or natural > TRUSTED:
        return Status(
            "not converged", f"The path does not solve the Euler-Lagrange equation: {told}",
            cause="the trial cannot follow the solution, the rule has not finished, or the "
            "solution has corners",
            remedy="use more functions, finish > 0, or a finer quadrature", ok=False, notes=notes,
        )  # fmt: skip
    return Status("converged", f"Converged: {told}", notes=notes)


def _notes(problem: VariationalProblem, y: np.ndarray, parts: dict) -> tuple[str, ...]:
    notes = []
    miss, span = np.abs(parts["boundary_errors"]).max(), max(float(np.ptp(y)), 1e-300)
    if miss > _HELD * span:
        notes.append(f"the penalty holds the ends only within {miss:.2g}: raise penalty")
    if np.isnan(problem.given).any():
        natural = np.nanmax(np.abs(parts["natural"]))
        notes.append(
            f"free ends: momentum there {natural:.1g} of its largest (natural condition 0)"
        )
    return tuple(notes)
