"""From a found control to the record: paths, costate, residual, stability, status."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np

from ..models.policies import Bounded
from ..records import ControlSolution
from .closed_loop import Loop, closed_loop
from .costate import Adjoint, projected
from .evaluation import SHOWN, Costs, Told, judged
from .search import TIGHT, Search

if TYPE_CHECKING:
    from .control import OptimalControl


def solution(problem: OptimalControl, found: Search, begun: float) -> ControlSolution:
    """Evaluates the control and tells what is to be known about it."""
    starts = problem.tested()
    key = jax.random.fold_in(jax.random.key(problem.seed), 1)
    made = jax.tree.map(np.asarray, problem.evaluate(found.model, starts, key))
    loop = None
    if problem.plant.feedback:
        loop = closed_loop(problem.plant, found.model, made.paths.states)
    slopes = jax.tree.map(np.asarray, _slopes(problem, found, starts, made))
    residual, size = _residual(problem, slopes, made)
    told = _told(problem, found, made, loop, float(np.abs(residual).max()) / max(size, 1e-300))
    single = len(starts) == 1

    def shown(a: np.ndarray) -> np.ndarray:
        return a[0] if single else a

    return ControlSolution(
        cost=told.cost,
        status=judged(told),
        time=np.linspace(0.0, problem.horizon, problem.intervals + 1),
        states=shown(made.paths.states),
        controls=shown(made.paths.controls),
        costate=shown(slopes.costate),
        residual=residual,
        residual_size=size,
        costs=made.plain,
        refined_cost=told.refined,
        standard_error=told.error,
        violation=found.violation,
        equilibrium=None if loop is None else loop.point,
        eigenvalues=None if loop is None else loop.eigenvalues,
        bounds=problem.bounds,
        feedback=problem.plant.feedback,
        model=_numbers(found.model),
        history=found.history,
        steps=found.steps,
        seconds=time.perf_counter() - begun,
        act=_act(problem, found.model),
    )


def _slopes(problem: OptimalControl, found: Search, starts: np.ndarray, made: Costs) -> Adjoint:
    data = found.multipliers
    if data is not None and problem.distributed:  # multipliers belong to the trained states
        data = jax.tree.map(lambda a: np.zeros((len(starts), *a.shape[1:])), data)
        data = data._replace(weight=np.full(len(starts), 1e-12))
    data = jax.tree.map(lambda a: a[:SHOWN], data)
    return problem.differentiate(found.model, starts[:SHOWN], made.dw, data)


def _residual(problem: OptimalControl, slopes: Adjoint, made: Costs) -> tuple[np.ndarray, float]:
    """Of the mean over paths, or without noise and with feedback the worst path's.

    A control that is held over pieces can only be judged by the mean over each.
    """
    alone = problem.plant.feedback and not problem.noisy
    each = slopes.residual if alone else slopes.residual.mean(axis=0, keepdims=True)
    u = made.paths.controls
    u = u if alone else u.mean(axis=0, keepdims=True)
    if problem.held:
        pieces = problem.trial.pieces
        per = each.reshape(len(each), pieces, -1, problem.inputs).mean(axis=2)
        each = np.repeat(per, problem.intervals // pieces, axis=1)
    if problem.bounds is not None:
        # A feedback's control at both ends of a step brackets what it applied in between.
        each = projected(each, (u[:, :-1] + u[:, 1:]) / 2 if not problem.held else u[:, :-1],
                         *problem.bounds)  # fmt: skip
    worst = np.argmax(np.abs(each), axis=0)
    return np.take_along_axis(each, worst[None], axis=0)[0], float(slopes.size.max())


def _told(
    problem: OptimalControl, found: Search, made: Costs, loop: Loop | None, residual: float
) -> Told:
    expectation = problem.noisy or problem.distributed

    def error(a: np.ndarray) -> float:
        return float(a.std(ddof=1) / np.sqrt(len(a))) if expectation and len(a) > 1 else 0.0

    return Told(
        cost=float(made.plain.mean()),
        error=error(made.plain) if expectation else None,
        refined=float(made.refined.mean()),
        difference_error=error(made.refined - made.plain),
        violation=found.violation,
        tolerance=100 * TIGHT * max(1.0, float(np.nanmax(np.abs(made.paths.states)))),
        loop=loop,
        residual=residual,
        finite=bool(np.isfinite(made.paths.states).all()),
        exact=not problem.noisy,
        open_loop=not problem.plant.feedback,
        search=found.status,
    )


def _numbers(model: Any) -> Any:
    """The control with NumPy arrays; inside bounds, what is squashed."""
    model = model.inner if isinstance(model, Bounded) else model
    return jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, model)


def _act(problem: OptimalControl, model: Any) -> Any:
    run = eqx.filter_jit(lambda model, *given: jax.vmap(model)(*given))

    def act(*given: np.ndarray) -> np.ndarray:
        with problem.arithmetic():
            return np.asarray(run(model, *given))

    return act
