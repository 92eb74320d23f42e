"""A user's field, tried once before an hour of training depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..data import Trajectories
from ..errors import InputError


def checked_field(field: Callable, data: Trajectories, dim: int) -> Any:
    """The field with its numbers as arrays; `InputError` unless ``f(t, y, u)`` is (dim,)."""
    field = jax.tree.map(lambda a: jnp.asarray(a) if isinstance(a, float) else a, field)
    if not any(eqx.is_inexact_array_like(leaf) for leaf in jax.tree.leaves(field)):
        raise InputError(
            "field", expected="an Equinox module with floating-point parameters to learn",
            got=type(field).__name__, do="make its unknown numbers fields of an eqx.Module",
        )  # fmt: skip
    y = np.ones(dim)
    known = np.concatenate([np.nan_to_num(s.x[:1]) for s in data])[0]
    y[: len(known)] = known
    k = data.n_inputs + len(data.static_names)
    try:
        out = field(jnp.zeros(()), jnp.asarray(y), jnp.zeros(k) if k else None)
        shape = np.shape(out)
    except Exception as error:
        raise InputError(
            "field", expected=f"f(t, y, u) that takes y of shape ({dim},)",
            got=f"{type(error).__name__}: {str(error).splitlines()[0]}", do="mend the field",
        ) from error  # fmt: skip
    if shape != (dim,):
        raise InputError(
            "field", expected=f"dy/dt of shape ({dim},)", got=f"shape {shape}", do="mend the field"
        )
    return field
