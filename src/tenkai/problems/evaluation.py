"""What a control costs, on paths that did not train it, and what is to be said about it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from ..records import Status
from .closed_loop import Loop
from .unfolding import Plant, Rollout, coarser, increments, rollouts

EVALUATED = 1000  # paths of an expectation
SHOWN = 100  # paths of which states are kept
_COARSE = 1e-2  # share of the cost by which half the step may move it
_POOR = 0.3  # share from which an open-loop control is not the best there is
_RESIDUAL = 1e-2  # share of its size up to which the Pontryagin residual goes without saying


class Costs(NamedTuple):
    """Cost of every path on the grid and on half its steps, and the first paths themselves."""

    plain: np.ndarray
    refined: np.ndarray
    paths: Rollout
    dw: Any


def costs(plant: Plant, steps: int, sources: int | None) -> Any:
    """``(control, starts, key) -> Costs``, to be compiled once per problem.

    With noise both grids see the same Wiener paths, and every control the same ones.
    """

    def evaluate(control: Any, x0: Any, key: Any) -> Costs:
        fine = None
        if sources is not None:
            fine = increments(key, len(x0), 2 * steps, sources, plant.horizon)
        dw = None if fine is None else coarser(fine)
        out = rollouts(plant, control, x0, steps, dw)
        refined = rollouts(plant, control, x0, 2 * steps, fine).cost
        kept = jax.tree.map(lambda a: a[:SHOWN], (out, dw))
        return Costs(out.cost, refined, *kept)

    return evaluate


class Told(NamedTuple):
    """All that a status is made of."""

    cost: float
    error: float | None
    refined: float
    difference_error: float
    violation: float
    tolerance: float
    loop: Loop | None
    residual: float  # over its size
    finite: bool  # all states
    exact: bool  # whether the best of all controls has no residual here
    open_loop: bool
    search: Status


def judged(told: Told) -> Status:
    """One status out of everything that was measured, the gravest first."""
    notes = told.search.notes + _notes(told)
    for status in (_unbounded, _not_finite, _infeasible, _unstable, _unfinished, _coarse, _poor):
        found = status(told)
        if found is not None:
            kind, message, cause, remedy = found
            return Status(kind, message, cause, remedy, ok=False, notes=notes)
    error = "" if told.error is None else f" ± {told.error:.2g}"
    return Status("converged", f"Cost {told.cost:.6g}{error}; {told.search.message}", notes=notes)


def _notes(told: Told) -> tuple[str, ...]:
    if not told.exact or not told.residual > _RESIDUAL:
        return ()
    return (
        f"the Pontryagin residual is {told.residual:.2g} of its terms: a control of another kind "
        "(more basis functions, a richer policy) could cost less",
    )


Finding = tuple[str, str, str, str] | None


def _not_finite(told: Told) -> Finding:
    if np.isfinite(told.cost) and told.finite:
        return None
    loop = _abscissa(told)
    cause = "the states leave every bound before the horizon"
    if loop is not None and loop > 0:
        cause = f"an unstable closed loop, largest real part {loop:.3g}"
    return (
        "not finite", f"The cost is {told.cost:.4g}, on states that are not finite", cause,
        "begin from a control that keeps the states finite, shorten the horizon, or bound it",
    )  # fmt: skip


def _unbounded(told: Told) -> Finding:
    if told.search.kind != "unbounded":
        return None
    return (
        "unbounded",
        f"The cost keeps falling (last {told.cost:.4g})",
        "nothing in it stops the control from growing",
        "add a cost of the control, such as u @ u, or bounds=",
    )


def _infeasible(told: Told) -> Finding:
    if told.violation <= told.tolerance:
        return None
    return (
        "infeasible",
        f"A constraint stays missed by {told.violation:.3g}",
        "no control of this kind meets it within horizon and bounds, or it was not found",
        "widen bounds, lengthen the horizon, or give the control more freedom",
    )


def _abscissa(told: Told) -> float | None:
    return None if told.loop is None else float(np.real(told.loop.eigenvalues).max())


def _unstable(told: Told) -> Finding:
    growth = _abscissa(told)
    if growth is None or growth <= 0 or told.loop is None:
        return None
    place = ", ".join(f"{v:.3g}" for v in told.loop.point)
    return (
        "unstable closed loop",
        f"Cost {told.cost:.4g}, but the closed loop is unstable: largest real part {growth:.3g}",
        f"linearised at its rest point ({place}) it grows by itself; the horizon is too short to "
        "show it, or the search was too short to mend it",
        "lengthen the horizon, take more steps, or allow the policy more freedom",
    )


def _unfinished(told: Told) -> Finding:
    if told.search.ok:
        return None
    return (told.search.kind, told.search.message, told.search.cause, told.search.remedy)


def _coarse(told: Told) -> Finding:
    moved = abs(told.refined - told.cost)
    allowed = max(_COARSE * abs(told.cost), told.error or 0.0, 1e-9)
    if moved <= allowed + 3 * told.difference_error:
        return None
    return (
        "steps too coarse",
        f"Half the step changes the cost from {told.cost:.6g} to {told.refined:.6g}",
        "the grid does not resolve what the control does",
        "raise intervals=",
    )


def _poor(told: Told) -> Finding:
    if not (told.exact and told.open_loop and told.residual > _POOR):
        return None
    return (
        "not converged",
        f"Cost {told.cost:.6g}, but the Pontryagin residual is {told.residual:.2g} of its terms",
        "the control is too coarse for the best one, or ran into its bounds too early",
        "use more basis functions or pieces, another kind of control, or more steps",
    )
