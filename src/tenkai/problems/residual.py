"""Whether a path solves its problem: Euler-Lagrange residual, ends, second variation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..models.trials import Trial
from ..records import Solution, Status
from .ensemble import Problems
from .functional import Functional
from .minimise import Minimum
from .paths import along

if TYPE_CHECKING:
    from .variational import VariationalProblem

POINTS = 201
TRUSTED = 5e-3  # share of the momentum that may be wrong on a path that is called converged
ROUGH = 1e-2  # relative residual that is mentioned
_HELD = 1e-2  # an end that a penalty holds worse than this share of the path's range is not held


def euler_lagrange(functional: Functional, y: tuple, t: Any, data: Problems | None) -> tuple:
    """``d/dt L_dy``, ``L_y``, ``L_dy`` and the smallest eigenvalue of ``L_dydy`` at one time.

    `y` are the path and its first two derivatives there, each (dim,). Of an ensemble these are the
    mean problem's: of the expectation over r of the Lagrangian.
    """

    def mean(t: Any, y: Any, dy: Any) -> Any:
        if data is None:
            return functional.density(t, y, dy)
        return jnp.sum(data.q * jax.vmap(lambda r: functional.density(t, y, dy, r))(data.r))

    y, dy, ddy = y
    momentum = jax.grad(mean, argnums=2)
    here, change = jax.jvp(momentum, (t, y, dy), (jnp.ones_like(t), dy, ddy))
    force = jax.grad(mean, argnums=1)(t, y, dy)
    inertia = jax.jacfwd(momentum, argnums=2)(t, y, dy)
    return change, force, here, jnp.linalg.eigvalsh(inertia)[0]


class _Judged(NamedTuple):
    """On the grid of a record."""

    y: Any
    dy: Any
    change: Any  # d/dt L_dy
    force: Any  # L_y
    momentum: Any  # L_dy
    inertia: Any  # the smallest eigenvalue of L_dydy
    action: Any
    loss: Any


def _times(problem: Functional | VariationalProblem) -> np.ndarray:
    return np.linspace(*problem.interval, POINTS)


@eqx.filter_jit
def _judged(functional: Functional, path: Any, data: Problems | None) -> _Judged:
    y = along(path, t := _times(functional))
    terms = jax.vmap(lambda y, t: euler_lagrange(functional, y, t, data))(y, t)
    whole = (functional.action(path, data), functional(path, data))
    return _Judged._make((*y[:2], *terms, *whole))


def solution(
    problem: VariationalProblem, found: Minimum, trial: Trial, data: Problems | None
) -> Solution:
    """The record of a minimum, with everything that tells whether to trust it."""
    judged = _Judged._make(map(np.asarray, _judged(problem.functional(trial), found.model, data)))
    t = _times(problem)
    free = np.isnan(problem.given)
    ends = judged.momentum[[0, -1]] / _largest(judged.momentum, judged.inertia)
    record = Solution(
        t, judged.y, judged.dy, float(judged.action), float(judged.loss),
        boundary_errors=np.where(free, 0.0, judged.y[[0, -1]] - np.nan_to_num(problem.given)),
        residual=_difference(judged.change, judged.force), **sizes(*judged[2:6], t),
        natural=np.where(free, ends, np.nan), legendre=float(judged.inertia.min()),
        curvature=found.curvature, status=Status("", ""), trial=repr(trial),
        steps=found.steps, scalar=problem.scalar, history=found.history,
        path=partial(_evaluated, _plain(found.model)),
    )  # fmt: skip
    return replace(record, status=_status(problem, found.kind, record))


def _difference(change: Any, force: Any) -> np.ndarray:
    """Both may be infinite, at an end where the Lagrangian is singular."""
    with np.errstate(invalid="ignore"):
        return change - force


def _span(a: np.ndarray) -> float:
    return max(float(np.abs(a).max()), 1e-300)


def _largest(momentum: np.ndarray, inertia: np.ndarray) -> float:
    """The largest momentum; slopes below 1e-9 are none."""
    return max(_span(momentum), 1e-9 * _span(inertia))


def sizes(change: Any, force: Any, momentum: Any, inertia: Any, t: Any) -> dict[str, float]:
    """How large the residual is beside its terms, and its integral beside the momentum.

    A momentum that does not change (a straight line) has no terms: then its size over the length
    of the interval stands for them.
    """
    residual = _difference(change, force)
    if not np.isfinite(residual).all():
        return {"relative_residual": np.inf, "momentum_error": np.inf}
    gathered = np.cumsum(np.diff(t)[:, None] * (residual[1:] + residual[:-1]) / 2, axis=0)
    largest = _largest(momentum, inertia)
    terms = max(_span(change), _span(force), largest / (t[-1] - t[0]))
    return {
        "relative_residual": _span(residual) / terms, "momentum_error": _span(gathered) / largest
    }  # fmt: skip


def _plain(path: Any) -> Any:
    """With NumPy arrays: an expansion is then evaluated without compiling anything."""
    return jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, path)


def _evaluated(path: Any, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with jax.enable_x64(True):
        y, dy, _ = along(path, t)
        return np.asarray(y), np.asarray(dy)


_REASONS = {
    "not finite": (
        "The action stopped being finite",
        "the Lagrangian is NaN or infinite on the way down",
        "pass guess=, or a trial that stays where the Lagrangian is defined",
    ),
    "unbounded": (
        "The action keeps falling",
        "there is no minimum (an interval beyond a conjugate point, a free end without a cost) "
        "or the quadrature is too coarse for the trial",
        "shorten the interval, hold an end, or use GaussLegendre with more nodes",
    ),
    "saddle": (
        "The path is no minimum of the action",
        "the second variation is negative in some direction",
        "use the path as a stationary one only, or shorten the interval",
    ),
    "not converged": (
        "The path does not solve the Euler-Lagrange equation",
        "the trial cannot follow the solution, the rule has not finished, or the quadrature is "
        "too coarse",
        "use more functions, finish > 0, or a finer quadrature",
    ),
}


def _status(problem: VariationalProblem, kind: str, record: Solution) -> Status:
    told = f"action {record.action:.8g}, relative Euler-Lagrange residual "
    told += f"{record.relative_residual:.1g}"
    notes = _notes(problem, record)
    natural = np.nan_to_num(np.abs(record.natural)).max()
    if not np.isfinite(record.action):
        kind = "not finite"
    elif kind in ("minimum", "stalled"):
        kind = "converged"
        if record.legendre < -1e-9:
            kind = "saddle"
        elif not max(record.momentum_error, natural) < TRUSTED:
            kind = "not converged"
    if kind == "converged":
        return Status(kind, f"Converged: {told}", notes=notes)
    message, cause, remedy = _REASONS[kind]
    return Status(kind, f"{message}: {told}", cause, remedy, ok=False, notes=notes)


def _notes(problem: VariationalProblem, record: Solution) -> tuple[str, ...]:
    notes = []
    miss, span = np.abs(record.boundary_errors).max(), max(float(np.ptp(record.values)), 1e-300)
    if miss > _HELD * span:
        notes.append(f"the penalty holds the ends only within {miss:.2g}: raise penalty")
    if np.isnan(problem.given).any():
        natural = np.nanmax(np.abs(record.natural))
        notes.append(
            f"free ends: momentum there {natural:.1g} of its largest (natural condition 0)"
        )
    if record.relative_residual > ROUGH and record.momentum_error < TRUSTED:
        notes.append(
            f"the residual is {record.relative_residual:.1g} of its terms somewhere (a corner, or "
            f"functions that cannot follow the second derivative), but it averages out: the "
            f"momentum is right within {record.momentum_error:.1g}"
        )
    return tuple(notes)
