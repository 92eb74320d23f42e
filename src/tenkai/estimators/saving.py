"""Fitted estimators as files; loading runs no code from the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Clock, Series, Trajectories
from ..errors import InputError
from ..records import Fit, Status
from ..storage import load_model


def load(
    path: Path | str,
    *,
    field: Callable | None = None,
    drift: Callable | None = None,
    diffusion: Callable | None = None,
    flow: Any = None,
) -> Any:
    """The estimator that `save` wrote: a `NeuralODE`, `NeuralSDE`, `FlowDensity`, `ODERNN`, ...

    A model of the user's own code needs it again: ``field=`` of a `NeuralODE`, ``drift=`` and
    ``diffusion=`` of a `NeuralSDE`, ``flow=`` of a `FlowDensity` (an architecture).

    Raises `InputError` for a damaged file, one of a newer format, or a missing field.
    """
    arrays, meta = load_model(path)
    if meta["class"] not in _NEEDED:
        raise InputError(
            f"file {path}", expected=f"one of {', '.join(_NEEDED)}", got=f"a {meta['class']}",
            do="open an Unfolded with its own with_saved"
            if meta["class"] == "Unfolded"
            else "pass another file",
        )  # fmt: skip
    fields = {"field": field, "drift": drift, "diffusion": diffusion, "flow": flow}
    given = _fields(path, meta, {k: v for k, v in fields.items() if v is not None})
    if meta["class"] == "NeuralODE":
        from .neural_ode_saving import read

        return read(path, arrays, meta, given["field"])
    if meta["class"] == "FlowDensity":
        from .flow_density_saving import read as read_density

        return read_density(path, arrays, meta, given["flow"])
    if meta["class"] == "LatentODE":
        from .latent_ode_saving import read as read_latent

        return read_latent(path, arrays, meta)
    if meta["class"] == "FlowVAE":
        from .flow_vae_saving import read as read_vae

        return read_vae(path, arrays, meta)
    if meta["class"] == "FunctionRegressor":
        from .function_regressor_saving import read as read_regressor

        return read_regressor(path, arrays, meta)
    if meta["class"] == "ODERNN":
        from .ode_rnn_saving import read as read_rnn

        return read_rnn(path, arrays, meta)
    if meta["class"] == "ODEClassifier":
        from .ode_classifier_saving import read as read_classifier

        return read_classifier(path, arrays, meta)
    if meta["class"] == "UKR":
        from .ukr_saving import read as read_ukr

        return read_ukr(path, arrays, meta)
    from .neural_sde_saving import read as read_sde

    return read_sde(path, arrays, meta, given)


_NEEDED: dict[str, tuple[str, ...]] = {
    "NeuralODE": ("field",), "NeuralSDE": ("drift", "diffusion"), "FlowVAE": (),
    "LatentODE": (),
    "ODERNN": (),
    "FlowDensity": ("flow",), "ODEClassifier": (), "UKR": (), "FunctionRegressor": (),
}  # fmt: skip


def _fields(
    path: Path | str, meta: dict[str, Any], fields: dict[str, Callable]
) -> dict[str, Callable | None]:
    """The user's fields that the file's class takes; each must be given that was there."""
    known = _NEEDED[meta["class"]]
    for name in fields:
        if name not in known:
            raise InputError(
                f"{name}=", expected=f"{_listed(known)} of a {meta['class']}",
                got=f"{name}=", do="leave it out",
            )  # fmt: skip
    stored = {"field": meta["user_field"]} if "user_field" in meta else meta.get("user_fields", {})
    for name in known:
        if stored[name] and name not in fields:
            raise InputError(
                f"file {path}", expected=f"the code of its {name}",
                got="its arrays: code is not stored",
                do=f"call tk.load(path, {name}={stored[name]}(...))",
            )  # fmt: skip
    return {name: fields.get(name) for name in known}


def _listed(names: tuple[str, ...]) -> str:
    return " or ".join(f"{name}=" for name in names) or "no field"


def fit_words(fit: Fit) -> dict[str, Any]:
    """A training as JSON, without its model."""
    return {
        "status": dataclasses.asdict(fit.status), "history": list(fit.history),
        "seconds": fit.seconds, "steps": fit.steps,
    }  # fmt: skip


def fit_from(words: dict[str, Any], model: Any) -> Fit:
    """The training that a file holds."""
    told = words["status"]
    status = Status(**(told | {"notes": tuple(told["notes"])}))
    return Fit(model, status, words["history"], words["seconds"], words["steps"])


def arrays_of(series: Series) -> dict[str, np.ndarray]:
    """What a series holds."""
    parts = {"t": series.t, "x": series.x, "u": series.u, "static": series.static}
    return {k: v for k, v in parts.items() if v is not None}


def description(data: Trajectories) -> dict[str, Any]:
    """Everything about the data but their arrays, as JSON."""
    return {
        "ids": [s.id for s in data], "input_names": data.input_names,
        "static_names": data.static_names, "units": data.units, "time_name": data.time_name,
        "clock": data.clock.kind, "hold": data.hold, "notes": data.notes,
    }  # fmt: skip


def data_of(arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> Trajectories:
    """The series that a file holds."""
    words = meta["data"]
    series = tuple(
        Series(
            name, arrays[f"series.{i}.t"], arrays[f"series.{i}.x"],
            arrays.get(f"series.{i}.u"), arrays.get(f"series.{i}.static"),
        )
        for i, name in enumerate(words["ids"])
    )  # fmt: skip
    return Trajectories(
        series, tuple(meta["names"]), tuple(words["input_names"]), tuple(words["static_names"]),
        words["units"], words["time_name"], Clock(words["clock"]), words["hold"],
        tuple(words["notes"]),
    )  # fmt: skip


def qualified(field: Callable | None) -> str | None:
    """Where the class of a user's field is to be found; None of none."""
    return None if field is None else f"{type(field).__module__}.{type(field).__qualname__}"
