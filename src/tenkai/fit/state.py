"""What a run knows between two chunks, and the decisions taken at the end of an interval."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from .. import optim
from .program import Carry, Tally

RATE_AFTER_ROLLBACK = 0.5
ROLLBACKS = 3  # in a row, before a member is given up
_JITTER = 0.1


class State(NamedTuple):
    """Everything a run needs to go on with the same bits; never changed in place.

    `good` is the (model, optimiser state) at the end of the last healthy interval, `best` the
    model with the best validation (None without one). Arrays of members have a leading axis; so
    have the counts here, with one entry where there are no members.
    """

    carry: Carry
    good: Any
    best: PyTree
    best_value: np.ndarray
    since: np.ndarray  # intervals without improvement
    rollbacks: np.ndarray  # in a row
    alive: np.ndarray
    loss: np.ndarray  # mean over the last interval with a finite step
    history: tuple[dict[str, Any], ...] = ()
    snapshots: tuple[tuple[int, PyTree], ...] = ()

    @classmethod
    def first(cls, carry: Carry, validated: bool) -> State:
        walker = carry.walker
        count = np.atleast_1d(walker.rate).shape
        return cls(
            carry,
            good=(walker.model, walker.opt),
            best=walker.model if validated else None,
            best_value=np.full(count, np.inf),
            since=np.zeros(count, np.int64),
            rollbacks=np.zeros(count, np.int64),
            alive=np.ones(count, bool),
            loss=np.full(count, np.nan),
        )

    @property
    def step(self) -> int:
        return int(self.carry.step)


def mix(mask: np.ndarray, new: PyTree, old: PyTree) -> PyTree:
    """Per member: `new` where the mask is true. References where all agree, else on the host."""
    if mask.all():
        return new
    if not mask.any():
        return old

    def leaf(a: Any, b: Any) -> np.ndarray:
        a, b = np.asarray(a), np.asarray(b)
        return np.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(leaf, new, old)


def judge(state: State, tally: Tally, count: int, events: list[str]) -> State:
    """Accept healthy members, roll back broken ones, give up hopeless ones.

    Healthy: the last step was finite and most were. Events tell of the `count` real members.
    """
    tally = Tally(*(np.atleast_1d(np.asarray(x)) for x in tally))
    healthy = (tally.ok & (tally.bad <= tally.good)) & state.alive
    broken = (tally.bad > tally.good) & state.alive
    loss = np.where(tally.good > 0, tally.loss / np.maximum(tally.good, 1), state.loss)
    # A member without any finite step since the start cannot be saved by a lower rate.
    hopeless = broken & ((state.rollbacks + 1 > ROLLBACKS) | np.isnan(loss))
    walker = state.carry.walker
    good = mix(healthy, (walker.model, walker.opt), state.good)
    state = state._replace(
        good=good,
        loss=loss,
        rollbacks=np.where(healthy, 0, state.rollbacks + broken),
        alive=state.alive & ~hopeless,
    )
    if not broken.any():
        return state
    for i in np.flatnonzero(broken[:count]):
        steps = f"{tally.bad[i]} of {tally.bad[i] + tally.good[i]} steps not finite"
        fate = "given up" if hopeless[i] else "rolled back, rate halved"
        who = f"member {i}: " if len(broken) > 1 else ""
        events.append(f"{who}{steps}: {fate}")
    model, opt = mix(broken, good, (walker.model, walker.opt))
    rate = np.asarray(walker.rate)
    rate = np.where(broken.reshape(rate.shape), rate * RATE_AFTER_ROLLBACK, rate)
    walker = walker._replace(model=model, opt=opt, rate=rate.astype(walker.rate.dtype))
    return state._replace(carry=Carry(state.carry.step, walker))


def replace_dead(state: State, value: np.ndarray, count: int, events: list[str]) -> State:
    """Every dead member becomes a perturbed copy of the best of the `count` real ones.

    The perturbation is random in direction and a tenth of the distance between the two, so that
    what all members share (scaling, say) stays shared.
    """
    able = np.where(state.alive & np.isfinite(value), value, np.inf)[:count]
    if state.alive.all() or not np.isfinite(able).any():
        return state
    donor = int(np.argmin(able))
    dead = ~state.alive
    walker = jax.tree.map(lambda x: np.array(x), state.carry.walker)
    for i in np.flatnonzero(dead):
        rng = np.random.default_rng([*walker.key[i].tolist(), state.step])
        for x in jax.tree.leaves(walker.model):
            if jnp.issubdtype(x.dtype, jnp.inexact):
                gap = np.asarray(x[i] - x[donor], np.float64)
                gap = _JITTER * rng.standard_normal(gap.shape) * np.where(np.isfinite(gap), gap, 0)
                x[i] = x[donor] + gap.astype(x.dtype)
        for x in jax.tree.leaves((walker.opt, walker.rate)):
            x[i] = x[donor]
        if i < count:
            events.append(f"member {i}: replaced by a perturbed copy of member {donor}")
    return state._replace(
        carry=Carry(state.carry.step, walker),
        good=mix(dead, (walker.model, walker.opt), state.good),
        best_value=np.where(dead, np.inf, state.best_value),
        since=np.where(dead, 0, state.since),
        rollbacks=np.where(dead, 0, state.rollbacks),
        loss=np.where(dead, state.loss[donor], state.loss),
        alive=np.ones_like(dead),
    )


def improve(state: State, value: np.ndarray) -> State:
    """Keep the best model by validation, per member."""
    better = (value < state.best_value) & state.alive
    return state._replace(
        best=mix(better, state.carry.walker.model, state.best),
        best_value=np.where(better, value, state.best_value),
        since=np.where(better, 0, state.since + 1),
    )


def learning_rate(opt: optim.State, rate: np.ndarray, alive: np.ndarray) -> float | None:
    """Of `optax.inject_hyperparams`, if used, times the factor left by rollbacks.

    Where arrays have states and rates of their own, the mean over them.
    """
    rates = []
    for i, state in enumerate(opt.states):
        named = optax.tree_utils.tree_get_all_with_path(state, "learning_rate")
        found = [x for _, x in named if eqx.is_array_like(x)]  # not a schedule's own state
        if len(found) != 1:
            return None
        own = 1.0 if opt.rates is None or opt.shared else np.asarray(opt.rates[i])
        rates.append(np.atleast_1d(np.asarray(found[0]) * own * np.asarray(rate)))
    return float(np.mean(np.mean(rates, 0)[alive])) if np.any(alive) else None
