"""The file of a `UKR`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ..manifolds.learning import Apart, Recipe
from ..manifolds.manifold import Manifold
from ..storage import save_model
from .saving import fit_from, fit_words
from .ukr import UKR

_ARRAYS = ("embedding", "data", "isolated", "trained")


def save(ukr: UKR, path: Path | str) -> None:
    """Write the model file of a fitted `UKR`."""
    made, arguments = ukr.fit_, ukr.get_params()
    arrays: dict[str, Any] = {name: getattr(ukr, f"{name}_") for name in _ARRAYS}
    arrays |= {"model": ukr.model_, "history": {str(s): z for s, z in ukr.history_}}
    if not isinstance(ukr.init, str):
        arrays["init"] = np.asarray(ukr.init, float)
        arguments["init"] = None  # the array itself is beside it
    columns = getattr(ukr, "feature_names_in_", None)
    save_model(
        path, arrays, class_name="UKR", arguments=_plain(arguments),
        names=() if columns is None else tuple(map(str, columns)),
        kernel=ukr.model_.kernel, error=ukr.error_,
        recipe=_plain(dataclasses.asdict(ukr.recipe_) | {"rule": None}),
        apart=None if ukr.apart_ is None else list(ukr.apart_),
        fit=fit_words(made),
    )  # fmt: skip


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """NumPy's numbers as Python's."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in arguments.items()}


def read(path: Path | str, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> UKR:
    """The estimator that the file holds."""
    arguments = meta["arguments"]
    box = arguments["box"]
    arguments |= {"box": None if box is None else tuple(box)}
    if "init" in arrays:
        arguments["init"] = arrays["init"]
    made = UKR(**arguments)
    parts = {f.name: arrays.get(f"model.{f.name}") for f in dataclasses.fields(Manifold)}
    made.model_ = Manifold(**(parts | {"kernel": meta["kernel"]}))  # type: ignore[arg-type]
    for name in _ARRAYS:
        setattr(made, f"{name}_", arrays[name])
    steps = sorted(int(k.removeprefix("history.")) for k in arrays if k.startswith("history."))
    made.history_ = tuple((step, arrays[f"history.{step}"]) for step in steps)
    recipe = meta["recipe"]
    made.recipe_ = Recipe(**(recipe | {"box": None if box is None else tuple(recipe["box"])}))
    made.apart_ = None if meta["apart"] is None else Apart(*meta["apart"])
    made.error_, made.bandwidth_ = meta["error"], float(made.model_.bandwidth)
    vars(made)["n_features_in_"] = made.data_.shape[1]
    if meta["names"]:
        vars(made)["feature_names_in_"] = np.array(meta["names"], dtype=object)
    fit = meta["fit"]
    made.n_iter_ = fit["steps"]
    made.fit_ = fit_from(fit, made.model_)
    return made
