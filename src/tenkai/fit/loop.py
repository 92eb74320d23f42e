"""The host's half of training: chunks, intervals, records."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from .. import optim
from ..errors import InputError
from ..objectives import Objective
from ..records import Fit, Status
from .checkpoints import Checkpoints
from .interval import settle
from .progress import Log, Progress
from .state import State
from .trainer import Task, Trainer, default_rule

_SYNC_SECONDS = 0.25


class Interrupted(KeyboardInterrupt):
    """Ctrl-C after the state was saved; the message says how to go on."""


def fit(
    model: PyTree,
    objective: Objective,
    data: Any,
    *,
    rule: optax.GradientTransformation | optim.State | None = None,
    steps: int = 1000,
    key: jax.Array | None = None,
    members: int | None = None,
    member_axes: Any = 0,
    batch: int | None = None,
    validation: Any = None,
    validate: Objective | None = None,
    patience: int | None = None,
    every: int = 100,
    checkpoint: Path | str | None = None,
    keep: int = 3,
    log: Path | str | None = None,
    stage: str = "fit",
    progress: bool | None = None,
    live_every: int | None = None,
    snapshot_every: int | None = None,
) -> Fit:
    """Minimise ``objective(model, batch, key) -> (scalar, Aux)`` over the model's float arrays.

    ``model <- model + rate * rule(grad objective)``, `steps` times; `rule` is any optax rule
    (default: Adam, 1e-3) and `rate` is 1 until a rollback halves it. Two fits with the same
    `objective` and `rule` objects and the same shapes compile once, so pass objects you keep.
    `rule` may be a state of `tenkai.optim.setup` too: what it trains is trained, what it freezes
    rests, and its numbers and momentum are where the fit begins. Arrays that are one object in the
    model are tied and stay so.

    data: a PyTree of arrays. With ``batch=B`` every step draws B rows (the first axis) from the
        key; all rows where B is no less than there are. Or batches that arrive: a function of the
        step, a generator function, an iterable (see `batches.Stream` on which resume exactly).
    members: train N models in one program; their arrays have a leading axis N, and so have the
        data, according to `member_axes` (as ``in_axes`` of `jax.vmap`). The objective sees one.
    validation, validate: data and objective (default: `objective`) evaluated after every interval
        of `every` steps; the best model is kept, and `patience` intervals without a better one
        stop the fit. Decisions are taken at the ends of intervals only.
    checkpoint: a folder. A fit that was interrupted or killed goes on from there with the same
        bits; a finished one returns its result at once. The last `keep` are kept.
    log, stage: a file to append one JSON line per interval to, and this fit's name in it.
    progress: a bar (None: only on a terminal or in a notebook; True: lines where output is piped).
    live_every, snapshot_every: every so many intervals draw the loss in a notebook, or keep the
        model.

    On several devices members are split, else batches of at least 100 rows per device; means are
    weighted by ``Aux.weight``. A step that is not finite is skipped; a member with mostly such
    steps returns to its last good state at half the rate; one that keeps failing is replaced by a
    perturbed copy of the best. Nothing raises for numerical reasons: see `Fit.status` and the
    events in `Fit.history`. `Fit.members` holds each member's validation (else loss), NaN if dead.

    Raises `InputError` for arguments that do not fit together or a checkpoint of another fit, and
    `Interrupted` on Ctrl-C where there is a checkpoint.
    """
    begun = time.perf_counter()
    task = Task(
        model, objective, data, rule or default_rule(), steps, _typed(key), members, member_axes,
        batch, validation, validate or objective, patience, every, stage, snapshot_every,
    )  # fmt: skip
    _check(task, keep)
    trainer = Trainer(task)
    fresh = State.first(trainer.begin(), validation is not None)
    saved = Checkpoints(checkpoint, keep, task, trainer, fresh)
    state, status, length = saved.load()
    if status is not None:
        return _result(trainer, state, status)
    run = _Run(trainer, state, saved, Log(log), Progress(progress, live_every, stage, steps))
    return run.go(begun, length)


class _Run:
    """One run from a state to its end. `state` is replaced whole, so it can be saved any time."""

    def __init__(
        self, trainer: Trainer, state: State, saved: Checkpoints, log: Log, progress: Progress
    ):
        self.trainer, self.saved, self.log, self.progress = trainer, saved, log, progress
        self.state = state._replace(carry=trainer.place_carry(state.carry))

    def go(self, begun: float, log_length: int) -> Fit:
        """Train to the end, or until Ctrl-C."""
        past = self.state.history[-1]["seconds"] if self.state.history else 0.0
        self.begun = begun - past
        self.log.begin(self.state.history, log_length)
        try:
            # From here on the log belongs to this run: a kill before the first interval is over
            # must not leave its lines twice.
            self.saved.save(self.state, self.log.length)
            status = self._train()
            self.saved.save(self.state, self.log.length, status)
        except KeyboardInterrupt:
            status = self._interrupted()
        finally:
            self.progress.close()
        return _result(self.trainer, self.state, status)

    def _train(self) -> Status:
        task, chunk, status = self.trainer.task, 1, None
        while (step := self.state.step) < task.steps and status is None:
            n = min(chunk, task.every - step % task.every, task.steps - step)
            begun = time.perf_counter()
            self.state = self.state._replace(carry=self.trainer.advance(self.state.carry, step, n))
            pace = n * _SYNC_SECONDS / (time.perf_counter() - begun)
            chunk = max(1, min(int(pace), 10 * n, self.trainer.stacked or task.every))
            self.progress.at(step + n)
            if (step + n) % task.every == 0 or step + n == task.steps:
                status = self._end_interval()
        return status or _finished(self.state)

    def _end_interval(self) -> Status | None:
        self.state, status = settle(self.trainer, self.state, time.perf_counter() - self.begun)
        self.log.write(self.state.history)
        self.progress.report(self.state.history)
        if self.saved.due and status is None:
            self.saved.save(self.state, self.log.length)
        return status

    def _interrupted(self) -> Status:
        step = self.state.step
        self.log.write(self.state.history)
        self.saved.save(self.state, self.log.length)
        if self.saved.folder is not None:
            raise Interrupted(
                f"interrupted at step {step} of {self.trainer.task.steps}; saved. "
                f"Run the same again with checkpoint={str(self.saved.folder)!r} to go on."
            ) from None
        return Status(
            "interrupted",
            f"Interrupted at step {step} of {self.trainer.task.steps}",
            cause="Ctrl-C",
            remedy="fit again; with checkpoint=FOLDER an interrupted fit goes on where it was",
            ok=False,
        )


def _finished(state: State) -> Status:
    entry = state.history[-1] if state.history else {"loss": None}
    loss = "" if entry["loss"] is None else f", loss {entry['loss']:.4g}"
    return Status("finished", f"Trained {state.step} steps{loss}")


def _result(trainer: Trainer, state: State, status: Status) -> Fit:
    validated = state.best is not None and np.isfinite(state.best_value).any()
    value = state.best_value if validated else state.loss
    value = np.where(state.alive & np.isfinite(value), value, np.nan)
    return Fit(
        trainer.model(state.best if validated else state.good[0]),
        status,
        list(state.history),
        state.history[-1]["seconds"] if state.history else 0.0,
        state.step,
        [(step, trainer.model(model)) for step, model in state.snapshots],
        None if trainer.members is None else value[: trainer.members],
    )


def _typed(key: jax.Array | None) -> jax.Array:
    if key is None:
        return jax.random.key(0)
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return key if typed else jax.random.wrap_key_data(key)


def _check(task: Task, keep: int) -> None:
    for name, value, least in (
        ("steps", task.steps, 0),
        ("every", task.every, 1),
        ("members", task.members, 1),
        ("patience", task.patience, 1),
        ("snapshot_every", task.snapshot_every, 1),
        ("keep", keep, 1),
    ):
        whole = isinstance(value, int | np.integer)
        if value is not None and not (whole and value >= least):
            raise InputError(
                name, expected=f"a number, at least {least}",
                got=repr(value), do=f"pass a whole {name}" if not whole else f"raise {name}",
            )  # fmt: skip
    optax_rule = hasattr(task.rule, "init") and hasattr(task.rule, "update")
    if not (optax_rule or isinstance(task.rule, optim.State)):
        raise InputError(
            "rule", expected="an optax rule", got=repr(task.rule), do="pass optax.adam(1e-3), say"
        )
    if task.patience is not None and task.validation is None:
        raise InputError(
            "patience",
            expected="validation data to watch",
            got="none",
            do="pass validation=, or leave patience away",
        )
