"""The file of a `FlowDensity`: the architecture as JSON, arrays as they are."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .. import flows
from ..errors import InputError
from ..flows.checks import ColumnRepeats, Repeats
from ..flows.density import Density
from ..flows.evaluation import Tolerance
from ..flows.flow import Architecture
from ..flows.held_out import Beside, HeldOutDensity
from ..flows.images.density import ImageDensity
from ..flows.mixture import Mixture
from ..flows.target import Matched
from ..flows.whitening import Shaping, Whitening
from ..records import Discretisation
from ..storage import save_model, unflatten
from .density_images import ImageForm
from .density_judgement import Evaluations
from .flow_density import FlowDensity
from .saving import fit_from, fit_words

_ROOMS = ("unfold", "solve.adams")


def save(estimator: FlowDensity, path: Path | str) -> None:
    """Write the model file of a fitted `FlowDensity`."""
    density, form = estimator.density_, estimator.images_
    arrays = {"data": estimator.data_, "context": estimator.context_} | _arrays(density)
    built = estimator.architecture_
    words = described(built)
    fit = estimator.fit_
    save_model(
        path, arrays, class_name="FlowDensity",
        arguments=estimator.get_params(deep=False) | {"flow": described(estimator.flow)},
        names=estimator.names_, context_names=list(estimator.context_names_),
        feature_names=hasattr(estimator, "feature_names_in_"),
        architecture=words, user_fields={"flow": None if words else _named(built)},
        own_flow=estimator.flow is not None,
        members=None if form else len(density.mixture), tolerance=list(density.tolerance),
        images=_dictionary(form), settings=estimator.settings_,
        repeats=_dictionary(estimator.repeats_),
        held_out=_dictionary(estimator.held_out_), matched=_dictionary(estimator.matched_),
        nfe=estimator.nfe_, stiffness=estimator.stiffness_,
        discretisation=_dictionary(estimator.discretisation_),
        fit=fit_words(fit) | {"stages": estimator.seconds_},
    )  # fmt: skip


def read(
    path: Path | str, arrays: dict[str, np.ndarray], meta: dict[str, Any], flow: Any
) -> FlowDensity:
    """What `save` wrote; `flow` is the architecture where it is the user's own code."""
    if flow is not None and not isinstance(flow, Architecture):
        raise InputError(
            "flow", expected="an architecture such as tk.flows.FFJORD()",
            got=type(flow).__name__, do="pass an instance of the class it was fitted with",
        )  # fmt: skip
    built: Architecture = flow or restored(meta["architecture"])
    estimator = FlowDensity(**(meta["arguments"] | {"flow": built if meta["own_flow"] else None}))
    names, context_names = tuple(meta["names"]), tuple(meta["context_names"])

    tolerance, known = Tolerance(*meta["tolerance"]), len(context_names)
    if meta.get("images") is None:
        density: Any = _table(path, arrays, built, len(names), known, meta["members"], tolerance)
        estimator.images_ = None
    else:
        form = meta["images"]
        estimator.images_ = ImageForm(**(form | {"shape": tuple(form["shape"])}))
        template = eqx.filter_eval_shape(built.build, len(names), key=jax.random.key(0))
        trained: Any = unflatten(template, _part(arrays, "flow"), f"file {path}")
        density = ImageDensity(trained, tolerance)
    estimator.architecture_ = built
    estimator.names_, estimator.context_names_ = names, context_names
    estimator.n_features_in_ = len(names)
    if meta["feature_names"]:
        setattr(estimator, "feature_names_in_", np.array(names, dtype=object))  # noqa: B010
    estimator.density_, estimator.model_ = density, density.model
    estimator._n_features_out = len(names)
    estimator.data_, estimator.context_ = arrays["data"], arrays.get("context")
    _findings(estimator, meta)
    fit = meta["fit"]
    estimator.seconds_ = fit["stages"]
    estimator.settings_ = meta.get("settings", {})  # older files do not tell them
    estimator.fit_ = fit_from(fit, density.model)
    return estimator


def _arrays(density: Density | ImageDensity) -> dict[str, Any]:
    """What the density is made of."""
    if isinstance(density, ImageDensity):
        return {"flow": density.flow}
    return {
        "flows": density.mixture.flows, "weights": density.mixture.weights,
        "tail": density.mixture.tail,
        "scale": density.scale._asdict() | {"whitening": density.scale.whitening._asdict()},
        "context_scale": None if density.context is None else density.context._asdict(),
    }  # fmt: skip


def _part(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays below a name."""
    start = f"{name}."
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def _table(
    path: Path | str, arrays: dict[str, np.ndarray], built: Architecture, dim: int, known: int,
    members: int, tolerance: Tolerance,
) -> Density:  # fmt: skip
    """The density of a table."""
    template = _template(built, dim, known, members)
    trained = unflatten(template, _part(arrays, "flows"), f"file {path}")
    scale, given = _part(arrays, "scale"), _part(arrays, "context_scale")
    shaping = Shaping(scale["curves"], Whitening(*_whitening(_part(arrays, "scale.whitening"))))
    return Density(
        Mixture(trained, arrays["weights"], arrays["tail"]), shaping,
        Whitening(*_whitening(given)) if given else None, tolerance,
    )  # fmt: skip


def _findings(estimator: FlowDensity, meta: dict[str, Any]) -> None:
    """What was found about the data and the solves."""
    repeats, held, matched = meta["repeats"], meta["held_out"], meta["matched"]
    estimator.repeats_ = repeats and Repeats(
        **(repeats | {"columns": tuple(ColumnRepeats(**c) for c in repeats["columns"])})
    )
    estimator.held_out_ = held and HeldOutDensity(
        **(held | {"beside": tuple(Beside(**b) for b in held["beside"])})
    )
    estimator.matched_ = matched and Matched(**matched)
    estimator.nfe_ = None if meta["nfe"] is None else Evaluations(*meta["nfe"])
    estimator.stiffness_ = meta["stiffness"]
    found = meta["discretisation"]
    estimator.discretisation_ = found and Discretisation(**found)


def _named(architecture: Architecture) -> str:
    """Where the class of a user's architecture is to be found."""
    kind = type(architecture)
    return f"{kind.__module__}.{kind.__qualname__}"


def _whitening(parts: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [parts[name] for name in Whitening._fields]


def _dictionary(record: Any) -> dict[str, Any] | None:
    return None if record is None else dataclasses.asdict(record)


def _template(architecture: Architecture, dim: int, context: int, members: int) -> Any:
    """The shapes of all members."""

    def build(keys: Any) -> Any:
        return eqx.filter_vmap(lambda k: architecture.build(dim, context=context, key=k))(keys)

    return eqx.filter_eval_shape(build, jax.random.split(jax.random.key(0), members))


def described(value: Any) -> Any:
    """An architecture as JSON: our classes by name with their fields; None for other code."""
    try:
        return _described(value)
    except TypeError:
        return None


def _described(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return {"tuple": [_described(v) for v in value]}
    if dataclasses.is_dataclass(value) and _class(type(value).__name__) is type(value):
        fields = {f.name: _described(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"class": type(value).__name__, "fields": fields}
    raise TypeError(type(value))


def restored(words: Any) -> Any:
    """What `described` described; `InputError` for a class that this version does not know."""
    if not isinstance(words, dict):
        return words
    if "tuple" in words:
        return tuple(restored(v) for v in words["tuple"])
    known = _class(words["class"])
    if known is None:
        raise InputError(
            f"architecture {words['class']}", expected="one of tenkai.flows", got="an unknown one",
            do="upgrade tenkai",
        )  # fmt: skip
    return known(**{name: restored(v) for name, v in words["fields"].items()})


def _class(name: str) -> type | None:
    """A dataclass of flows, their solvers or the recurrence, by its name."""
    # Imported by name: the package has a function called `unfold`, which hides the room.
    rooms = (importlib.import_module(f"..{room}", __package__) for room in _ROOMS)
    for room in (flows, *rooms):
        found = getattr(room, name, None)
        if isinstance(found, type) and dataclasses.is_dataclass(found):
            return found
    return None
