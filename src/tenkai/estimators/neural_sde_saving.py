"""The file of a `NeuralSDE`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..data import Scaler, TimeScaler
from ..diffusions.checks import Innovations
from ..models.equation import Relative
from ..models.sde import SDE, Hidden, Positive, RawDiffusion, RawDrift, SmoothNetwork, Units
from ..storage import save_model, unflatten
from .neural_sde import NeuralSDE
from .saving import arrays_of, data_of, description, fit_from, fit_words, qualified
from .sde_border import users_fields
from .sde_prediction import Diffusion
from .user_field import frame

_STATISTICS = tuple(f.name for f in dataclasses.fields(Innovations) if f.name != "count")


def save(sde: NeuralSDE, path: Path | str) -> None:
    """Write the model file of a fitted `NeuralSDE`."""
    data, found, units = sde.data_, sde.innovations_, sde.diffusion_.units
    arrays = {
        "model": sde.model_,
        "series": [arrays_of(s) for s in data],
        "innovations": {name: getattr(found, name) for name in _STATISTICS},
    }
    table = sde.parameters_
    if table is not None:
        arrays["parameters"] = table.to_numpy(float)
    given = users_fields(sde)
    noise = sde.model_.diffusion
    save_model(
        path, arrays, class_name="NeuralSDE",
        arguments=sde.get_params() | dict.fromkeys(given), names=data.names,
        scaling={
            "state": units.state.to_dict(), "time": units.time.to_dict(),
            "inputs": None if units.inputs is None else units.inputs.to_dict(),
        },
        user_fields={name: qualified(field) for name, field in given.items()},
        units_drawn=0 if given["drift"] and given["diffusion"] else _width(sde.model_),
        full=isinstance(noise, Positive) and np.ndim(noise.base) == 3,
        members=_members(sde.model_), substeps=sde.diffusion_.finer, data=description(data),
        fit=fit_words(sde.fit_) | {"stages": sde.seconds_},
        log_likelihood=sde.log_likelihood_, transitions=found.count,
        parameters=None if table is None else list(table.index),
    )  # fmt: skip


def read(
    path: Path | str, arrays: dict[str, np.ndarray], meta: dict[str, Any],
    given: dict[str, Callable | None],
) -> NeuralSDE:  # fmt: skip
    """The estimator that `save` wrote, out of what its file holds."""
    sde = NeuralSDE(**(meta["arguments"] | given))
    data = data_of(arrays, meta)
    template = _template(meta, given, arrays)
    stored = {k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")}
    sde.model_ = unflatten(template, stored, f"file {path}")
    sde.data_, sde.names_ = data, data.names
    sde.diffusion_ = Diffusion(sde.model_, data, meta["substeps"])
    statistics = {name: arrays[f"innovations.{name}"] for name in _STATISTICS}
    sde.innovations_ = Innovations(**statistics, count=meta["transitions"])
    named = meta["parameters"]
    sde.parameters_ = None if named is None else frame(named, arrays["parameters"])
    sde.log_likelihood_ = meta["log_likelihood"]
    fit = meta["fit"]
    sde.seconds_ = fit["stages"]
    sde.fit_ = fit_from(fit, sde.model_)
    return sde


def _networks(model: SDE) -> list[SmoothNetwork]:
    parts = (model.drift, getattr(model.diffusion, "net", None))
    return [p for p in parts if isinstance(p, SmoothNetwork)]


def _width(model: SDE) -> int:
    return int(np.shape(_networks(model)[0].hidden.threshold)[-1])


def _members(model: SDE) -> int:
    return len(np.asarray(model.units.state.scale))


def _template(
    meta: dict[str, Any], given: dict[str, Callable | None], arrays: dict[str, np.ndarray]
) -> SDE:
    """The shapes of the members' fields."""
    scaling, members = meta["scaling"], meta["members"]
    state, time = Scaler.from_dict(scaling["state"]), TimeScaler.from_dict(scaling["time"])
    inputs = None if scaling["inputs"] is None else Scaler.from_dict(scaling["inputs"])
    units, dim = Units(state, time, inputs), len(meta["names"])
    timed = meta["arguments"]["time_dependent"]
    k = dim + (0 if inputs is None else len(inputs.offset)) + timed
    width = meta["units_drawn"]
    hidden = Hidden(np.zeros((width, k)), np.zeros(width), np.zeros(()))

    def network(out: int) -> SmoothNetwork:
        return SmoothNetwork(np.zeros((out, 1 + k + width)), hidden, timed)

    lower = dim * (dim - 1) // 2 if meta["full"] else 0
    base = np.zeros((dim,) * (2 if meta["full"] else 1))
    diffusion: Any = Positive(network(dim + lower), base)
    if given["diffusion"] is not None:
        diffusion = RawDiffusion(_relative(given["diffusion"]), units)
    drift: Any = network(dim)
    if given["drift"] is not None:
        drift = RawDrift(_relative(given["drift"]), diffusion, units)

    def lead(a: Any) -> Any:
        if not eqx.is_array_like(a):
            return a
        return jax.ShapeDtypeStruct((members, *np.shape(a)), np.asarray(a).dtype)

    return jax.tree.map(lead, SDE(drift, diffusion, units))


def _relative(field: Callable) -> Relative:
    return Relative.of(jax.tree.map(lambda a: np.asarray(a) if isinstance(a, float) else a, field))
