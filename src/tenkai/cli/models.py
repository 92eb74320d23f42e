"""What `--model` may name, which options belong to it, and what its runs can be asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import InputError


@dataclass(frozen=True)
class Model:
    """A model by its estimator's name; `options` of fits and `asked` of questions belong to it.

    `roles` are those of columns. `resumes` says that a stopped fit goes on where it was,
    `continues` that a fit may start from another run, `flows` that there is a flow without noise,
    which has equilibria, and `rows` that it learns rows and not trajectories.
    """

    estimator: str
    options: tuple[str, ...]
    asked: tuple[str, ...] = ()
    resumes: bool = True
    continues: bool = True
    flows: bool = True
    rows: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """What columns may be."""
        return ("columns", "context") if self.rows else _OF_SERIES


_OF_SERIES = ("time", "series", "targets", "inputs", "static", "variable", "value")
_BOTH = ("members", "width", "time_dependent", "positive", "precision", "seed")
MODELS = {
    "neural-ode": Model(
        "NeuralODE",
        (
            *_BOTH, "augment", "order", "depth", "activation", "decay", "jacobian", "steps",
            "matching_steps", "held_out",
        ),
        ("kind",),
    ),
    "neural-sde": Model(
        "NeuralSDE", (*_BOTH, "noise"), ("paths", "seed"),
        resumes=False, continues=False, flows=False,
    ),
    "density": Model(
        "FlowDensity",
        ("flow", "members", "steps", "noise", "decay", "kinetic", "jacobian", "precision", "seed"),
        ("rows", "seed"), continues=False, flows=False, rows=True,
    ),
}  # fmt: skip

FLOWS = {
    n.lower(): n for n in ("FFJORD", "PlanarCNF", "NICE", "RealNVP", "Glow", "MAF")
}  # fmt: skip
"""Flows of a density that `--flow` may name: those with exact densities of data."""


def model_named(name: str) -> Model:
    """`InputError` for a name that is none."""
    if name not in MODELS:
        known = ", ".join(MODELS)
        raise InputError("--model", expected=known, got=name, do="pick one of these")
    return MODELS[name]


def model_of(arguments: dict[str, Any]) -> Model:
    """The model of a run, by its stored arguments."""
    return model_named(arguments["model"])


def refuse_rows(name: str, what: str) -> None:
    """`InputError` where a question about time is asked of a model of rows."""
    if model_named(name).rows:
        raise InputError(
            what, expected="a model of series", got=f"{name}, which knows no time",
            do="use simulate or score",
        )  # fmt: skip


def refuse_strangers(name: str, given: dict[str, Any], allowed: Iterable[str]) -> None:
    """`InputError` for the first given option (not None) that does not belong to the model."""
    for option, value in given.items():
        if value is not None and option not in allowed:
            raise InputError(
                f"--{option.replace('_', '-')}", expected=f"none: {name} has no such option",
                got=str(value), do="leave it away",
            )  # fmt: skip
