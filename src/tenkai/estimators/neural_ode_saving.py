"""The file of a `NeuralODE`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..curriculum.intervals import Calibration
from ..curriculum.members import network
from ..data import Scaler, TimeScaler, Trajectories
from ..models.ensemble import Ensemble
from ..models.equation import Residual
from ..models.trajectory import RawField
from ..records import Discretisation, Forecast, HeldOut
from ..storage import save_model, unflatten
from ..unfold import TABLEAUX
from .arguments import design_of
from .neural_ode import NeuralODE
from .prediction import Predictor
from .saving import arrays_of, data_of, description, fit_from, fit_words, qualified
from .user_field import frame


def save(ode: NeuralODE, path: Path | str) -> None:
    """Write the model file of a fitted `NeuralODE`."""
    ensemble, data = ode.predictor_.ensemble, ode.data_
    arrays = {
        "fields": ensemble.fields, "starts": ensemble.starts, "trusted": ensemble.trusted,
        "series": [arrays_of(s) for s in data],
        "held_out": _held_arrays(ode.held_out_),
    }  # fmt: skip
    table = ode.parameters_
    if table is not None:
        arrays["parameters"] = table.to_numpy(float)
    arguments = ode.get_params() | {"field": None, "y0": _plain(ode.y0), "method": ode.method.name}
    save_model(
        path, arrays, class_name="NeuralODE", arguments=arguments, names=data.names,
        scaling={
            "state": ensemble.state.to_dict(), "time": ensemble.time.to_dict(),
            "inputs": None if ensemble.inputs is None else ensemble.inputs.to_dict(),
        },
        step=ensemble.step, calibration=ode.predictor_.calibration.to_dict(),
        user_field=qualified(ode.field), data=description(data),
        fit=fit_words(ode.fit_) | {"stages": ode.seconds_},
        held_out=_held_words(ode.held_out_), coverage=ode.coverage_,
        discretisation=dataclasses.asdict(ode.discretisation_),
        parameters=None if table is None else list(table.index),
        residual_share=ode.residual_share_,
    )  # fmt: skip


def read(
    path: Path | str, arrays: dict[str, np.ndarray], meta: dict[str, Any], field: Callable | None
) -> NeuralODE:
    """The estimator that `save` wrote, out of what its file holds."""
    arguments = meta["arguments"] | {"method": TABLEAUX[meta["arguments"]["method"]]}
    ode = NeuralODE(**(arguments | {"field": field}))
    data = data_of(arrays, meta)
    scaling = meta["scaling"]
    inputs = None if scaling["inputs"] is None else Scaler.from_dict(scaling["inputs"])
    state, time = Scaler.from_dict(scaling["state"]), TimeScaler.from_dict(scaling["time"])
    template = _template(ode, arrays["starts"].shape[-1], state, time, inputs)
    stored = {k.removeprefix("fields."): v for k, v in arrays.items() if k.startswith("fields.")}
    ensemble = Ensemble(
        unflatten(template, stored, f"file {path}"), arrays["starts"], arrays["trusted"],
        state, time, inputs, data.hold == "previous", meta["step"], ode.method,
    )  # fmt: skip
    ode.data_, ode.names_, ode.model_ = data, data.names, ensemble.fields
    ode.predictor_ = Predictor(ensemble, Calibration.from_dict(meta["calibration"]), data)
    ode.held_out_, ode.coverage_ = _held_out(arrays, meta, data), meta["coverage"]
    ode.discretisation_ = Discretisation(**meta["discretisation"])
    named = meta.get("parameters")
    ode.parameters_ = None if named is None else frame(named, arrays["parameters"])
    ode.residual_share_ = meta.get("residual_share")
    fit = meta["fit"]
    ode.fit_ = fit_from(fit, ode.model_)
    ode.seconds_ = fit["stages"]
    return ode


def _template(
    ode: NeuralODE, dim: int, state: Scaler, time: TimeScaler, inputs: Scaler | None
) -> Any:
    """The shapes of the members' fields, of `dim` state dimensions."""
    hidden = dim - len(state.scale)
    if ode.field is not None:
        user = jax.tree.map(lambda a: np.asarray(a) if isinstance(a, float) else a, ode.field)
        one = RawField(user, state.extended(hidden), time, inputs)
    if ode.field is None or ode.residual:
        width, positions = 0 if inputs is None else len(inputs.offset), len(state.scale)
        nothing = np.random.default_rng(0)
        net = network(design_of(ode, hidden), np.zeros(dim), positions, width, nothing)
        one = Residual(one, net) if ode.residual else net

    def lead(a: Any) -> Any:
        if not eqx.is_array_like(a):
            return a
        return jax.ShapeDtypeStruct((ode.members, *np.shape(a)), np.asarray(a).dtype)

    return jax.tree.map(lead, one)


def _held_arrays(held: HeldOut | None) -> list[dict[str, np.ndarray]]:
    if held is None:
        return []
    return [
        {"time": _number(f.time), "mean": f.mean, "lower": f.lower, "upper": f.upper, "observed": x}
        for f, x in zip(held.forecasts, held.observed, strict=True)
    ]


def _held_words(held: HeldOut | None) -> dict[str, Any] | None:
    if held is None:
        return None
    names = ("error", "naive", "inside", "points", "nominal", "note")
    return {n: getattr(held, n) for n in names} | {"series": [f.series for f in held.forecasts]}


def _held_out(arrays, meta: dict[str, Any], data: Trajectories) -> HeldOut | None:
    words = meta["held_out"]
    if words is None:
        return None
    dates = data.clock.kind == "date"
    forecasts, observed = [], []
    for i, name in enumerate(words.pop("series")):
        part = {k: arrays[f"held_out.{i}.{k}"] for k in ("time", "mean", "lower", "upper")}
        time = part["time"].astype("datetime64[ns]") if dates else part["time"]
        bands = (part["mean"], part["lower"], part["upper"])
        forecasts.append(Forecast(time, *bands, words["nominal"], data.names, name, data.time_name))
        observed.append(arrays[f"held_out.{i}.observed"])
    return HeldOut(tuple(forecasts), tuple(observed), **words)


def _number(time: np.ndarray) -> np.ndarray:
    return time.astype("int64") if time.dtype.kind == "M" else time


def _plain(value: Any) -> Any:
    return None if value is None else np.asarray(value, float).tolist()
