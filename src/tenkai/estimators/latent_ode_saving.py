"""The file of a `LatentODE`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from ..data import Scaler, Series, Trajectories
from ..devices import arithmetic
from ..records import Coverage
from ..sequences.held_out import Errors, Scores
from ..sequences.learning import build
from ..sequences.units import Units
from ..storage import save_model, unflatten
from . import latent_ode_border as own
from .latent_ode import LatentODE
from .latent_ode_prediction import Predictor
from .saving import data_of, description, fit_from, fit_words


def save(model: LatentODE, path: Path | str) -> None:
    """Write the model file of a fitted `LatentODE`."""
    made, known, held = model.fit_, model.predictor_, model.held_out_
    lengths = np.cumsum([0, *(len(s) for s in model.data_)])
    arrays: dict[str, Any] = {
        "model": model.model_,
        "data": {"ptr": lengths, "t": np.concatenate([s.t for s in model.data_]),
                 "x": np.concatenate([s.x for s in model.data_])},
        "scaled": {} if held is None else held.scaled,
    }  # fmt: skip
    if model.labels_ is not None:
        arrays["labels"] = model.labels_
    classes = None if model.classes_ is None else model.classes_.tolist()
    noise = model.noise
    save_model(
        path, arrays, class_name="LatentODE",
        arguments=model.get_params()
        | {"noise": None if noise is None else np.asarray(noise, float).tolist()},
        scaling=known.units.state.to_dict(), names=model.data_.names,
        data=description(model.data_), span=known.units.span, longest=known.longest,
        reach=known.reach, classes=classes, held_out=_in_words(held),
        fit=fit_words(made),
    )  # fmt: skip


def read(path: Path | str, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> LatentODE:
    """The estimator that the file holds."""
    made = LatentODE(**meta["arguments"])
    made.data_ = data = _series(arrays, meta)
    units = Units(Scaler.from_dict(meta["scaling"]), meta["span"])
    classes = meta["classes"]
    made.classes_ = None if classes is None else np.array(classes)
    made.labels_ = arrays.get("labels")
    noise = own.noise_of(made.noise, data.dim)
    design = own.design_of(made, noise, 0 if classes is None else len(classes))
    with arithmetic(made.precision):
        template = eqx.filter_eval_shape(lambda: build(design, units))
        named = _under("model", arrays)
        made.model_ = unflatten(template, named, f"file {path}")
    made.held_out_ = held = _held(meta["held_out"], _under("scaled", arrays))
    made.predictor_ = Predictor(
        made.model_, units, meta["longest"], meta["reach"], held, data, made.seed
    )
    fit = meta["fit"]
    made.seconds_ = fit["seconds"]
    made.fit_ = fit_from(fit, made.model_)
    return made


def _under(name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k.removeprefix(f"{name}."): v for k, v in arrays.items() if k.startswith(f"{name}.")}


def _series(arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> Trajectories:
    """Series out of one array: files of many thousand series have few arrays."""
    found, ids = _under("data", arrays), meta["data"]["ids"]
    cuts = [slice(a, b) for a, b in zip(found["ptr"][:-1], found["ptr"][1:], strict=True)]
    none = data_of({}, meta | {"data": meta["data"] | {"ids": []}})
    series = tuple(
        Series(name, found["t"][c], found["x"][c]) for name, c in zip(ids, cuts, strict=True)
    )
    return dataclasses.replace(none, series=series)


def _in_words(held: Scores | None) -> dict[str, Any] | None:
    if held is None:
        return None
    words = dataclasses.asdict(held)
    del words["scaled"]
    return words


def _held(words: dict[str, Any] | None, scaled: dict[str, np.ndarray]) -> Scores | None:
    if words is None:
        return None
    errors = {
        kind: Errors(**(e | {"coverage": Coverage(**e["coverage"])}))
        for kind, e in words["errors"].items()
    }
    return Scores(**(words | {"errors": errors, "scaled": scaled}))
