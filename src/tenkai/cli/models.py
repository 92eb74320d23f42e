"""What `--model` may name, which options belong to it, and what its runs can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .options import weighed


@dataclass(frozen=True)
class Model:
    """A model by its estimator's name; `options` of fits and `asked` of questions belong to it.

    `roles` are those of columns. `resumes` says that a stopped fit goes on where it was,
    `continues` that a fit may start from another run, `flows` that there is a flow without noise,
    which has equilibria, `rows` that it learns rows and not trajectories, `embeds` that it gives
    them latents, `draws` what simulations
    draw ("paths" out of a state, "rows", "series", or "" for nothing), and `readings` how the texts
    of some options are read for it.
    """

    estimator: str
    options: tuple[str, ...]
    asked: tuple[str, ...] = ()
    roles: tuple[str, ...] = ("time", "series", "targets", "inputs", "static", "variable", "value")
    resumes: bool = True
    continues: bool = True
    flows: bool = True
    rows: bool = False
    embeds: bool = False
    draws: str = "paths"
    readings: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    @property
    def classes(self) -> bool:
        """Whether it may learn labels."""
        return "labels" in self.roles

    @property
    def regresses(self) -> bool:
        """Whether it learns targets of rows."""
        return self.rows and "targets" in self.roles

    def read(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The estimator's keywords of the options that were given; `InputError` for bad ones."""
        given = {name: value for name, value in options.items() if value is not None}
        return {n: self.readings[n](v) if n in self.readings else v for n, v in given.items()}


def one_of(option: str, known: Mapping[Any, Any]) -> Callable[[Any], Any]:
    """Reads an option that has few values."""

    def read(value: Any) -> Any:
        if value not in known:
            raise InputError(
                f"--{option}", expected=(" or " if len(known) < 3 else ", ").join(map(str, known)),
                got=str(value), do="pick one of these",
            )  # fmt: skip
        return known[value]

    return read


def _names(option: str, *names: Any) -> Callable[[Any], Any]:
    return one_of(option, {name: name for name in names})


def _weight(option: str) -> Callable[[Any], Any]:
    return lambda text: weighed(option, text) if isinstance(text, str) else text


def _architecture(name: str) -> str:
    """The class of the flow that a density's `--flow` names."""
    return one_of("flow", FLOWS)(name.lower())


FLOWS = {
    n.lower(): n for n in ("FFJORD", "PlanarCNF", "NICE", "RealNVP", "Glow", "MAF")
}  # fmt: skip
"""Flows of a density that `--flow` may name: those with exact densities of data."""

BODIES = {"ode": "ODE", "runge-kutta": "RungeKutta", "residual": "Residual"}
"""What `--body` may name."""

_LOG = {"positive": one_of("positive", {"auto": "auto", "yes": True, "no": False})}
_BOTH = ("members", "width", "time_dependent", "positive", "precision", "seed")
_OF_MANY = ("time", "series", "targets", "variable", "value", "labels")
_NETWORK = ("width", "depth", "decay", "steps", "held_out", "precision", "seed")
MODELS = {
    "neural-ode": Model(
        "NeuralODE",
        (
            *_BOTH, "augment", "order", "depth", "activation", "decay", "jacobian", "steps",
            "matching_steps", "held_out",
        ),
        ("kind",), readings=_LOG | {"order": _names("order", 1, 2)},
    ),
    "neural-sde": Model(
        "NeuralSDE", (*_BOTH, "noise"), ("paths", "seed"),
        resumes=False, continues=False, flows=False,
        readings=_LOG | {"noise": _names("noise", "diagonal", "full")},
    ),
    "latent-ode": Model(
        "LatentODE", (*_NETWORK, "latent", "encoder", "activation", "noise"), ("rows", "seed"),
        roles=_OF_MANY, continues=False, flows=False, draws="series",
        readings={
            "encoder": _names("encoder", "rnn", "ode-rnn"), "noise": _weight("noise"),
            "decay": _weight("decay"),
        },
    ),
    "ode-rnn": Model(
        "ODERNN", (*_NETWORK, "cell"), roles=_OF_MANY, resumes=False, continues=False,
        flows=False, draws="",
        readings={
            "cell": _names("cell", "ode", "gaps", "decay", "imputed"), "decay": _weight("decay"),
        },
    ),
    "classifier": Model(
        "ODEClassifier",
        ("body", "width", "activation", "decay", "steps", "held_out", "precision", "seed"),
        roles=("columns", "labels"), continues=False, flows=False, rows=True, draws="",
        readings={"body": one_of("body", BODIES), "decay": _weight("decay")},
    ),
    "regression": Model(
        "FunctionRegressor", (*_NETWORK, "members", "activation"), ("coverage",),
        roles=("columns", "targets"), continues=False, flows=False, rows=True, draws="",
        readings={"decay": _weight("decay")},
    ),
    "ukr": Model(
        "UKR", ("latent", "steps", "precision", "seed"), roles=("columns",), continues=False,
        flows=False, rows=True, embeds=True, draws="",
    ),
    "density": Model(
        "FlowDensity",
        ("flow", "members", "steps", "noise", "decay", "kinetic", "jacobian", "precision", "seed"),
        ("rows", "seed"), ("columns", "context"), continues=False, flows=False, rows=True,
        draws="rows",
        readings={"flow": _architecture, "noise": _weight("noise")},
    ),
}  # fmt: skip


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
    known = model_named(name)
    if known.rows:
        predicts = known.classes or known.regresses or known.embeds
        raise InputError(
            what, expected="a model of series", got=f"{name}, which knows no time",
            do="use predict" if predicts else "use simulate or score",
        )  # fmt: skip


def refuse_strangers(name: str, given: dict[str, Any], allowed: Iterable[str]) -> None:
    """`InputError` for the first given option (not None) that does not belong to the model."""
    for option, value in given.items():
        if value is not None and option not in allowed:
            raise InputError(
                f"--{option.replace('_', '-')}", expected=f"none: {name} has no such option",
                got=str(value), do="leave it away",
            )  # fmt: skip
