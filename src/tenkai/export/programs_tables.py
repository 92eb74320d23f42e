"""`FunctionRegressor` and `UKR` as programs: predictions with intervals, projection, surface."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..estimators.function_regressor import FunctionRegressor
from ..estimators.sklearn_border import require_fitted
from ..estimators.ukr import UKR
from .program import Argument, Function, Program
from .programs import Wanted, build, wide


def columns(model: Any) -> tuple[Argument, ...]:
    """Rows as the estimator takes them."""
    named: Any = getattr(model, "feature_names_in_", None)
    count = model.n_features_in_
    words = "" if named is None else f": {', '.join(map(str, named))}"
    return (Argument("x", ("rows", count), f"rows of {count} columns{words}"),)


@build.register
def _(model: FunctionRegressor, wanted: Wanted) -> Program:
    require_fitted(model)
    network: Any = wide(model.model_)
    targets = ", ".join(model.target_names_)

    def shown(y: Array) -> Array:
        return y[:, 0] if model.flat_ else y

    def predict(x: Array) -> Array:
        return shown(network.rows(x).mean(axis=0))

    functions = [Function("predict", predict, columns(model), ("mean",),
                          f"{targets}: the mean of {network.members} members.")]  # fmt: skip
    calibration = model.calibration_
    if calibration is not None:
        floor = np.asarray(calibration.floor)
        factor = calibration.half_width(np.zeros((1, len(floor))), wanted.coverage)[0] / floor

        def predict_interval(x: Array) -> tuple[Array, Array, Array]:
            answers = network.rows(x)
            mean, variance = answers.mean(axis=0), floor**2
            if network.members > 1:
                spread = ((answers - mean) ** 2).sum(axis=0) / (network.members - 1)
                variance = variance + spread
            half = factor * jnp.sqrt(jnp.broadcast_to(variance, mean.shape).astype(x.dtype))
            return shown(mean), shown(mean - half), shown(mean + half)

        functions.append(
            Function("predict_interval", predict_interval, columns(model),
                     ("mean", "lower", "upper"),
                     f"{targets} with intervals that hold {wanted.coverage:.0%} of new rows.")
        )  # fmt: skip
    return Program(f"FunctionRegressor of {targets}", tuple(functions), (), network)


@build.register
def _(model: UKR, wanted: Wanted) -> Program:
    require_fitted(model)
    manifold: Any = wide(model.model_)
    count = manifold.latents

    def transform(x: Array) -> Array:
        placed = jax.tree.map(jnp.asarray, manifold)  # a latent is chosen while it runs
        return jax.vmap(placed.nearest_latent)(x)

    def inverse_transform(z: Array) -> Array:
        return jax.vmap(manifold.inverse_transform)(z)

    latents = (Argument("z", ("rows", count), "latents"),)
    functions = (
        Function("transform", transform, columns(model), ("z",),
                 "The learned latent whose point of the surface lies nearest to each row; NaN is "
                 "not observed. (In Python a refinement follows.)"),
        Function("inverse_transform", inverse_transform, latents, ("x",),
                 "Points of the surface at latents, in the units of the rows."),
    )  # fmt: skip
    notes = (
        f"{len(manifold.latent)} learned latents of {count} numbers, {manifold.kernel} kernel",
    )
    return Program("UKR", functions, notes, manifold)
