"""The host's half of training: chunks, intervals, decisions, records."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from ..objectives import Objective
from ..records import Fit, Status
from .state import State, improve, judge, learning_rate, replace_dead
from .trainer import Trainer, default_rule

_SYNC_SECONDS = 0.25


class Interrupted(KeyboardInterrupt):
    """Ctrl-C after the state was saved; the message says how to go on."""


def fit(
    model: PyTree,
    objective: Objective,
    data: Any,
    *,
    rule: optax.GradientTransformation | None = None,
    steps: int = 1000,
    key: jax.Array | None = None,
    members: int | None = None,
    member_axes: Any = 0,
    batch: int | None = None,
    validation: Any = None,
    validate: Objective | None = None,
    patience: int | None = None,
    every: int = 100,
    checkpoint: Path | None = None,
    keep: int = 3,
    log: Path | None = None,
    stage: str = "fit",
    progress: bool | None = None,
    live_every: int | None = None,
    snapshot_every: int | None = None,
) -> Fit:
    """Minimise ``objective(model, batch, key) -> (scalar, Aux)`` over the model's float arrays."""
    trainer = Trainer(
        model,
        objective,
        data,
        rule or default_rule(),
        jax.random.key(0) if key is None else key,
        members=members,
        member_axes=member_axes,
        batch=batch,
        validation=validation,
        validate=validate,
        every=every,
    )
    start = time.perf_counter()
    state = State.first(trainer.compile())
    history: list[dict[str, Any]] = []
    snapshots = []
    status = None
    step, chunk = 0, 1
    while step < steps and status is None:
        n = min(chunk, every - step % every, steps - step)
        begun = time.perf_counter()
        state = state._replace(carry=trainer.advance(state.carry, step, n))
        elapsed = time.perf_counter() - begun
        chunk = max(1, min(10 * n, int(n * _SYNC_SECONDS / elapsed), trainer.stacked or every))
        step += n
        if step % every == 0 or step == steps:
            state, entry, status = _interval(trainer, state, step, stage, patience)
            entry["seconds"] = time.perf_counter() - start
            history.append(entry)
            if snapshot_every and step % (every * snapshot_every) == 0:
                snapshots.append((step, trainer.model(state.carry.walker.model)))
    if status is None:
        status = Status("finished", f"finished {step} steps")
    arrays = state.best if validation is not None else state.good[0]
    value = state.best_value if validation is not None else state.loss
    value = np.where(state.alive & np.isfinite(value), value, np.nan)
    return Fit(
        trainer.model(arrays),
        status,
        history,
        time.perf_counter() - start,
        step,
        snapshots,
        None if members is None else value[:members],
    )


def _interval(trainer, state, step, stage, patience):
    tally = jax.device_get(state.carry.walker.tally)
    rate, opt = state.carry.walker.rate, state.carry.walker.opt
    events: list[str] = []
    state, changed = judge(state, tally, events)
    validation = None
    if trainer.check is not None:
        if changed:
            state = state._replace(carry=trainer.place_carry(state.carry))
        value = np.atleast_1d(trainer.validate(state.carry))
        state = improve(state, state.carry.walker.model, value)
        validation = value
    count = trainer.members or 1
    score = state.loss if validation is None else validation
    if not state.alive.all():
        state = replace_dead(state, score, count, events)
        changed = True
    if changed:
        state = state._replace(carry=trainer.place_carry(state.carry))
    tally = [np.atleast_1d(x)[:count] for x in tally]
    good = tally[1].sum()
    alive = state.alive[:count]
    entry = {
        "step": step,
        "stage": stage,
        "loss": float(tally[0].sum() / good) if good else None,
        "validation": None if validation is None else float(np.mean(validation[:count][alive])),
        "nfe_forward": float(tally[4].sum() / max(good, 1)),
        "nfe_backward": float(tally[5].sum() / max(good, 1)),
        "learning_rate": learning_rate(opt, rate, state.alive),
        "seconds": 0.0,
        "event": "; ".join(events) or None,
    }
    status = None
    if not alive.any():
        status = Status("diverged", "diverged", ok=False)
    elif (
        patience is not None and validation is not None and (state.since[:count] >= patience).all()
    ):
        status = Status("early", f"stopped early at step {step}")
    return state, entry, status
