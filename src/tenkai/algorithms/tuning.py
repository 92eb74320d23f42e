"""The baseline of a learned algorithm: one value for all layers, the best of a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..errors import InputError
from .iteration import Iteration, run


class FixedStep(NamedTuple):
    """The best single value, its mean loss before and after every layer, and all others."""

    value: float
    error: np.ndarray  # (layers + 1,)
    values: np.ndarray
    errors: np.ndarray  # after the last layer, per value


def best_fixed(
    iteration: Iteration, parameters: dict[str, np.ndarray], inputs: PyTree, targets: PyTree,
    values: Any, name: str | None, layers: int, loss: Callable[[Any, Any], Any],
) -> FixedStep:  # fmt: skip
    """Tries `values` of one parameter, one after another in one program."""
    if name is None and len(parameters) == 1:
        name = next(iter(parameters))
    if name not in parameters:
        raise InputError(
            "name", expected=f"one of {', '.join(parameters)}", got=repr(name),
            do="say which parameter the values are of",
        )  # fmt: skip
    values = np.asarray(values)
    good = values.dtype.kind in "fciu" and values.ndim == 1 and len(values)
    if not good or not np.isfinite(values).all():
        raise InputError(
            "values", expected="a list of finite numbers to try",
            got=f"{values.dtype} of shape {values.shape}",
            do="pass np.geomspace(low, high, 200)",
        )  # fmt: skip
    values = values.astype(parameters[name].dtype)
    first = {k: v[:1] for k, v in parameters.items()}
    errors = np.asarray(_search(iteration, first, name, values, inputs, targets, layers, loss))
    finite = np.where(np.isfinite(errors[:, -1]), errors[:, -1], np.inf)
    best = int(np.argmin(finite))
    return FixedStep(float(values[best]), errors[best], values, errors[:, -1])


@eqx.filter_jit
def _search(
    iteration: Iteration, first: PyTree, name: str, values: Any, inputs: PyTree, targets: PyTree,
    layers: int, loss: Callable[[Any, Any], Any],
) -> Any:  # fmt: skip
    def one(value: Any) -> Any:
        same = first | {name: jnp.full_like(first[name], value)}
        out = run(iteration, same, inputs, layers, keep=True)
        return jax.lax.map(lambda o: jnp.mean(jax.vmap(loss)(o, targets)), out)

    return jax.lax.map(one, values)
