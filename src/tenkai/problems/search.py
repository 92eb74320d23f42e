"""The search for a control: `tenkai.fit` over fresh paths, or over fixed ones with a finish."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from ..fit import fit
from ..models.policies import Bounded
from ..models.trials import Expansion
from ..objectives import Aux, Objective
from ..records import Status
from .constraints import Constraints, Multipliers, first, updated, violation
from .minimise import DENSE, Minimum, minimise
from .unfolding import Plant, Rollout, increments, rollouts

STEPS = 500  # of the optimiser, unless told
ROUNDS = 15  # of multipliers
TIGHT = 1e-6  # a miss of a constraint, over the size of the states, that is none
_FALLING = 0.02  # share of the cost by which the last third of a noisy search may still fall
_RATE = 0.05
_HUGE = 1e6  # beyond every scale
_FLAT = 1e-6  # gradient over the value at which a search that cannot go on is at its minimum
_GAIN = 40  # numbers of a policy up to which its Hessian is cheap
_NETWORK_TOLERANCE = 1e-9  # share of the cost below which a network's decrease ends the search

Value = Callable[[Rollout, Any], Any]


class Search(NamedTuple):
    """Where it ended: the control, how, its multipliers and how far constraints are missed."""

    model: Any
    status: Status
    history: list[dict[str, Any]]
    steps: int
    multipliers: Multipliers | None = None
    violation: float = 0.0


def value_of(constraints: Constraints | None) -> Value:
    """What one path costs, with the price of missed constraints."""
    if constraints is None:
        return lambda out, data: out.cost
    return lambda out, data: out.cost + constraints.penalty(out, data)


def expected(plant: Plant, steps: int, sources: int) -> Objective:
    """The mean cost of paths with fresh noise from every initial state of the batch."""

    def objective(model: PyTree, x0: Any, key: Any) -> tuple[Any, Aux]:
        dw = increments(key, len(x0), steps, sources, plant.horizon)
        return jnp.mean(rollouts(plant, model, x0, steps, dw).cost), Aux(len(x0))

    return objective


def fixed(plant: Plant, steps: int, value: Value) -> Callable[[PyTree, Any], Any]:
    """The mean over given initial states, without noise; data are states and multipliers."""

    def loss(model: PyTree, data: tuple[Any, Any]) -> Any:
        x0, multipliers = data
        out = rollouts(plant, model, x0, steps)
        return jnp.mean(jax.vmap(value)(out, multipliers))

    return loss


def trained(loss: Callable) -> Objective:
    """`fixed` as `tenkai.fit` calls it."""

    def objective(model: PyTree, data: Any, key: Any) -> tuple[Any, Aux]:
        return loss(model, data), Aux()

    return objective


def missed(plant: Plant, steps: int, constraints: Constraints) -> Callable:
    """Per path: path constraint at the nodes, that of the end, and the cost."""

    def run(model: PyTree, x0: Any) -> tuple[Any, Any, Any]:
        out = rollouts(plant, model, x0, steps)
        return *jax.vmap(constraints.misses)(out), out.cost

    return run


def with_noise(
    objective: Objective, model: PyTree, starts: np.ndarray, paths: int, steps: int | None,
    rule: optax.GradientTransformation | None, key: Any, progress: bool | None,
) -> Search:  # fmt: skip
    """`steps` of Adam whose rate falls to zero by a cosine, or of `rule`."""
    steps = STEPS if steps is None else steps
    rule = rule or optax.adam(optax.cosine_decay_schedule(_RATE, steps))
    made = fit(
        model, objective, starts, rule=rule, steps=steps, key=key, batch=paths,
        every=max(1, steps // 20), stage="search", progress=progress,
    )  # fmt: skip
    return Search(made.model, _settled(made.status, made.history), list(made.history), made.steps)


def _settled(status: Status, history: Any) -> Status:
    """Whether the last third of the search still gained anything."""
    losses = np.array([np.nan if h["loss"] is None else h["loss"] for h in history], float)
    if not status.ok or len(losses) < 6:
        return status
    third = len(losses) // 3
    before, after = np.nanmean(losses[-2 * third : -third]), np.nanmean(losses[-third:])
    noise = np.nanstd(losses[-third:]) / np.sqrt(third)
    fall = before - after
    if np.isfinite(fall) and fall <= _FALLING * abs(after) + 3 * noise:
        return Status("converged", status.message, notes=status.notes)
    return Status(
        "not converged", f"The cost still falls: {before:.4g}, then {after:.4g}",
        "the search was too short", "take more steps, or a larger rate", ok=False,
        notes=status.notes,
    )  # fmt: skip


def without_noise(
    loss: Callable, objective: Objective, misses: Callable | None, model: PyTree,
    starts: np.ndarray, steps: int | None, rule: optax.GradientTransformation | None, finish: int,
    progress: bool | None,
) -> Search:  # fmt: skip
    """Adam, then Newton; with constraints again for every round of multipliers."""
    few = _few(model)
    if steps is None:  # Newton's method alone where the Hessian is cheap and no bound is near
        alone = rule is None and few and not isinstance(model, Bounded)
        steps = 0 if alone else STEPS
    ending: dict[str, Any] = {"finish": finish, "hessian": few}
    if not few:
        ending["tolerance"] = _NETWORK_TOLERANCE
    multipliers, missed, best = None, 0.0, np.inf
    if misses is not None:
        multipliers = first(*misses(model, starts))
    found = minimise(
        loss, model, (starts, multipliers),
        rule=rule or _adam(), steps=steps, objective=objective,
        every=max(1, steps // 20), progress=progress, **ending,
    )  # fmt: skip
    history, taken = list(found.history), found.steps
    for _ in range(ROUNDS if misses is not None and finish else 0):
        assert misses is not None and multipliers is not None
        c, e, _ = misses(found.model, starts)
        missed = violation(c, e)
        if missed <= TIGHT or found.kind == "not finite":
            break
        multipliers = updated(multipliers, c, e, missed > 0.25 * best)
        best = min(best, missed)
        found = minimise(loss, found.model, (starts, multipliers), **ending)
        taken += found.steps
    if misses is not None:
        missed = violation(*misses(found.model, starts)[:2])
    return Search(found.model, _status(found, finish), history, taken, multipliers, missed)


@functools.cache
def _adam() -> optax.GradientTransformation:
    return optax.adam(_RATE)


def _few(model: PyTree) -> bool:
    """Whether the numbers are few enough for their Hessian: an expansion's, or those of a gain."""
    inner = model.inner if isinstance(model, Bounded) else model
    count = sum(np.size(a) for a in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    return count <= (DENSE if isinstance(inner, Expansion) else _GAIN)


def _grown(found: Minimum) -> bool:
    """Whether the cost, or what makes it fall, has left every scale."""
    numbers = jax.tree.leaves(eqx.filter(found.model, eqx.is_inexact_array))
    return found.value < -_HUGE or max(float(np.abs(a).max()) for a in numbers) > _HUGE


def _status(found: Minimum, finish: int) -> Status:
    flat = found.kind == "stalled" and found.gradient <= _FLAT * max(1.0, abs(found.value))
    if found.kind == "minimum" or flat:
        curved = "" if found.curvature is None or found.curvature > -1e-9 else ", a saddle"
        return Status("converged", f"a minimum, gradient {found.gradient:.1e}{curved}")
    if found.kind == "unbounded" and _grown(found):
        return Status("unbounded", "the cost keeps falling", ok=False)
    if not finish:
        message = f"stopped after {found.steps} steps, gradient {found.gradient:.1e}"
        return Status("stopped", message, "the finish was left out", "solve with finish", ok=False)
    return Status(
        "not converged",
        f"The search ended early, the cost still falling or flat; gradient {found.gradient:.1e}",
        "a flat or rough cost, or too few steps", "take more steps, or another kind of control",
        ok=False,
    )  # fmt: skip
