"""Checkpoints of a run: written now and then, found again, and refused where they do not belong."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from .. import storage
from ..errors import InputError
from ..records import Status
from .state import State
from .trainer import Task, Trainer

_FORM = 2  # of the state in a file; the optimiser's was another before
_SECONDS = 2.0  # at least between two checkpoints,
_SHARE = 20  # and this many times what writing one takes


class Checkpoints:
    """The checkpoints of one fit in one folder; without a folder it does nothing."""

    def __init__(
        self, folder: Path | str | None, keep: int, task: Task, trainer: Trainer, fresh: State
    ):
        self.folder = None if folder is None else Path(folder)
        self.keep = keep
        self._fresh = fresh
        self._next = 0.0
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._fingerprint = fingerprint(task, trainer, fresh)

    def load(self) -> tuple[State, Status | None, int]:
        """The newest readable checkpoint as (state, status if finished, length of the log).

        Without any, the fresh state. Raises `InputError` where the checkpoints are of another fit.
        """
        damage = None
        for path in self._paths()[::-1]:
            try:
                arrays, meta = storage.load(path)
            except InputError as error:  # an older one is as good: the steps are taken again
                damage = damage or error
                continue
            self._compare_form(meta.get("form", 1))
            self._compare(meta["fingerprint"])
            status = meta["status"]
            state = _unpack(self._fresh, arrays, meta, str(path))
            return (
                state,
                status and Status(**status | {"notes": tuple(status["notes"])}),
                meta["log"],
            )
        if damage is not None:
            raise damage
        return self._fresh, None, -1

    def save(self, state: State, log: int, status: Status | None = None) -> None:
        """Write the state; `status` marks the run as finished."""
        if self.folder is None:
            return
        begun = time.monotonic()
        arrays, meta = _pack(state)
        meta |= {
            "kind": "checkpoint",
            "form": _FORM,
            "fingerprint": self._fingerprint,
            "status": status and vars(status),
            "log": log,
        }
        storage.save(self.folder / f"step-{int(state.carry.step):09d}.safetensors", arrays, meta)
        for path in self._paths()[: -self.keep]:
            path.unlink(missing_ok=True)
        now = time.monotonic()
        self._next = now + max(_SECONDS, _SHARE * (now - begun))

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return self.folder is not None and time.monotonic() >= self._next

    def _paths(self) -> list[Path]:
        return [] if self.folder is None else sorted(self.folder.glob("step-*.safetensors"))

    def _compare_form(self, stored: int) -> None:
        if stored != _FORM:
            raise InputError(
                f"checkpoints in {self.folder}",
                expected=f"checkpoints of form {_FORM}",
                got=f"form {stored}, written by another version of tenkai",
                do="begin anew in another folder, or resume with the version that wrote them",
            )

    def _compare(self, stored: dict[str, Any]) -> None:
        for name, now in self._fingerprint.items():
            if stored.get(name) != now:
                raise InputError(
                    f"checkpoints in {self.folder}",
                    expected=f"{name} as when they were written: {stored.get(name)}",
                    got=str(now),
                    do="pass the same arguments to resume, or another folder to begin anew",
                )


def fingerprint(task: Task, trainer: Trainer, fresh: State) -> dict[str, Any]:
    """What must agree for a resumed run to have the bits of an uninterrupted one."""
    leaves = jax.tree.leaves(trainer.arrays)
    opt = fresh.carry.walker.opt
    return {
        "stage": task.stage,
        "steps": task.steps,
        "every": task.every,
        "patience": task.patience,
        "snapshot_every": task.snapshot_every,
        "members": task.members,
        "batch": task.batch,
        "model": _unaddressed(str(jax.tree.structure(task.model))),
        "shapes": [f"{x.dtype}{list(x.shape)}" for x in leaves],
        "initial values": digest(trainer.arrays),
        "data": "batches" if trainer.stream else digest(trainer.leaves),
        "validation": digest(task.validation),
        "key": np.asarray(trainer.key).ravel().tolist(),
        "rule": _unaddressed(f"{trainer.plan.rule} {jax.tree.structure(opt.states)}"),
        "optimiser": None if trainer.start is None else digest(trainer.start),
        "objective": getattr(task.objective, "__qualname__", type(task.objective).__name__),
        "devices": jax.device_count(),  # changes the last bits of the same program
    }


def _unaddressed(text: str) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def digest(tree: PyTree) -> str:
    """SHA-256 of the arrays of a tree with their shapes and types, first 16 digits."""
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.asarray(leaf)
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]


def _pack(state: State) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and the rest; what is usually the same as the carry is not stored twice."""
    walker = state.carry.walker
    current = state.good[0] is walker.model and state.good[1] is walker.opt
    meta = {
        "good_is_current": current,
        "best": state.best is not None,
        "history": list(state.history),
        "snapshots": [step for step, _ in state.snapshots],
    }
    stored = state._replace(
        good=None if current else state.good,
        history=(),
        snapshots=tuple(model for _, model in state.snapshots),
    )
    return storage.flatten(stored), meta


def _unpack(fresh: State, arrays: dict[str, np.ndarray], meta: dict, what: str) -> State:
    model = fresh.carry.walker.model
    template = fresh._replace(
        good=None if meta["good_is_current"] else fresh.good,
        best=model if meta["best"] else None,
        snapshots=(model,) * len(meta["snapshots"]),
    )
    state: State = storage.unflatten(template, arrays, what)
    walker = state.carry.walker
    return state._replace(
        good=(walker.model, walker.opt) if meta["good_is_current"] else state.good,
        history=tuple(meta["history"]),
        snapshots=tuple(zip(meta["snapshots"], state.snapshots, strict=True)),
    )
