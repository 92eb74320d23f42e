"""The end of an interval: what happened, what is kept, whether to go on."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..records import Status
from .program import Tally
from .state import ROLLBACKS, State, improve, judge, learning_rate, replace_dead
from .trainer import Trainer


def settle(trainer: Trainer, state: State, seconds: float) -> tuple[State, Status | None]:
    """Judge the members, validate, write the history; a status where the fit is to stop."""
    count = trainer.members or 1
    tally = Tally(*(np.atleast_1d(x) for x in jax.device_get(state.carry.walker.tally)))
    events = [] if state.history else list(trainer.notes)
    before = state.carry
    rate = learning_rate(before.walker.opt, before.walker.rate, state.alive)
    state = judge(state, tally, count, events)
    score = state.loss
    if state.best is not None:
        if state.carry is not before:
            state = state._replace(carry=trainer.place_carry(state.carry))
        score = trainer.validate(state.carry)
        state = improve(state, score)
    entry = _entry(tally, None if state.best is None else score, state.alive, count)
    state = replace_dead(state, score, count, events)
    if state.carry is not before:
        state = state._replace(carry=trainer.place_carry(state.carry))
    entry |= {
        "step": state.step,
        "stage": trainer.task.stage,
        "learning_rate": rate,
        "seconds": round(seconds, 6),
        "event": "; ".join(events) or None,
    }
    state = state._replace(history=(*state.history, {name: entry[name] for name in FIELDS}))
    every = trainer.task.snapshot_every
    if every and len(state.history) % every == 0:
        shot = (state.step, state.carry.walker.model)
        state = state._replace(snapshots=(*state.snapshots, shot))
    return state, _verdict(trainer, state, count)


FIELDS = (
    "step",
    "stage",
    "loss",
    "validation",
    "nfe_forward",
    "nfe_backward",
    "learning_rate",
    "seconds",
    "event",
)


def _entry(
    tally: Tally, validation: np.ndarray | None, alive: np.ndarray, count: int
) -> dict[str, Any]:
    """Means over the finite steps of the real members as plain numbers; None without any."""
    steps = tally.good[:count].sum()

    def mean(total: np.ndarray) -> float | None:
        return float(total[:count].sum(dtype=np.float64) / steps) if steps else None

    seen = None
    if validation is not None:
        seen = validation[:count][alive[:count] & np.isfinite(validation[:count])]
    return {
        "loss": mean(tally.loss),
        "validation": float(seen.mean()) if seen is not None and seen.size else None,
        "nfe_forward": mean(tally.nfe_forward),
        "nfe_backward": mean(tally.nfe_backward),
    }


def _verdict(trainer: Trainer, state: State, count: int) -> Status | None:
    task = trainer.task
    if not state.alive[:count].any():
        started = np.isfinite(state.loss).any()
        tried = f"also after {ROLLBACKS} returns to a good state at half the rate each"
        return Status(
            "diverged",
            f"Training diverged at step {state.step}; the last good model is kept",
            cause="the loss or its gradient is not finite "
            + (f"in most steps, {tried}" if started else "in any step from the start"),
            remedy="lower the learning rate, clip gradients (optax.clip_by_global_norm)"
            if started
            else "check the data for extreme values and the model for its initial scale",
            ok=False,
        )
    if task.patience is not None and (state.since[:count] >= task.patience).all():
        return Status(
            "early",
            f"Stopped at step {state.step}: validation did not improve for "
            f"{task.patience} intervals of {task.every} steps",
        )
    return None
