"""The file of a `FunctionRegressor`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..regression.evaluation import Calibration
from ..regression.network import Affine, RegressionNetwork, begin, parameters
from ..storage import save_model, unflatten
from .function_regressor import FunctionRegressor
from .function_regressor_judgement import HeldOutErrors
from .saving import fit_from, fit_words


def save(regressor: FunctionRegressor, path: Path | str) -> None:
    """Write the model file of a fitted `FunctionRegressor`."""
    made, held, calibration = regressor.fit_, regressor.held_out_, regressor.calibration_
    arrays: dict[str, Any] = {"model": regressor.model_}
    if calibration is not None and regressor.shown_ is not None:
        arrays |= {"calibration": calibration._replace(rows=np.float64(calibration.rows))}
        arrays |= {"shown": regressor.shown_}
    columns = getattr(regressor, "feature_names_in_", None)
    arguments = regressor.get_params()
    arguments["hidden"] = list(map(int, arguments["hidden"]))
    save_model(
        path, arrays, class_name="FunctionRegressor", arguments=arguments,
        names=() if columns is None else tuple(map(str, columns)),
        inputs=regressor.n_features_in_, targets=list(regressor.target_names_),
        flat=regressor.flat_, best_step=regressor.best_step_,
        held_out=None if held is None else dataclasses.asdict(held),
        fit=fit_words(made),
    )  # fmt: skip


def read(path: Path | str, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> Any:
    """The estimator that the file holds."""
    arguments = dict(meta["arguments"])
    arguments["hidden"] = tuple(arguments["hidden"])
    made = FunctionRegressor(**arguments)
    n_in, targets = meta["inputs"], tuple(meta["targets"])
    parts = {
        kind: {k.removeprefix(f"{kind}."): v for k, v in arrays.items() if k.startswith(f"{kind}.")}
        for kind in ("model", "calibration", "shown")
    }
    made.model_ = unflatten(_template(made, n_in, len(targets)), parts["model"], f"file {path}")
    made.n_features_in_, made.target_names_, made.flat_ = n_in, targets, meta["flat"]
    if meta["names"]:
        vars(made)["feature_names_in_"] = np.array(meta["names"], dtype=object)
    made.parameters_ = parameters(made.model_)
    held, fit = meta["held_out"], meta["fit"]
    made.held_out_ = made.calibration_ = made.shown_ = None
    if held is not None:
        made.held_out_ = HeldOutErrors(**{k: _tupled(v) for k, v in held.items()})
        found = Calibration(**parts["calibration"])
        made.calibration_ = found._replace(rows=float(found.rows))
        made.shown_ = parts["shown"]
    made.n_iter_, made.best_step_ = fit["steps"], meta["best_step"]
    made.fit_ = fit_from(fit, made.model_)
    return made


def _template(made: FunctionRegressor, n_in: int, n_out: int) -> RegressionNetwork:
    sizes = n_in, *made.hidden, n_out
    core = begin(sizes, made.activation, made.output_activation, made.members, 0, np.float32)
    core = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), core)
    return RegressionNetwork(core, Affine.identity(n_in), Affine.identity(n_out), made.members)


def _tupled(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _tupled(v) for k, v in value.items()}
    return tuple(value) if isinstance(value, list) else value
