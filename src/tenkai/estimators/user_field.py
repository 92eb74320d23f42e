"""A user's field: tried once before an hour of training depends on it, then its numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..curriculum.parameters import Estimates
from ..data import Trajectories
from ..errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("value", "standard_error", "lower", "upper")


def checked_field(field: Callable, data: Trajectories, dim: int) -> Any:
    """The field with its numbers as arrays; `InputError` unless ``f(t, y, u)`` is (dim,)."""
    field = jax.tree.map(lambda a: np.asarray(a) if isinstance(a, float) else a, field)
    if not any(eqx.is_inexact_array_like(leaf) for leaf in jax.tree.leaves(field)):
        raise InputError(
            "field", expected="an Equinox module with floating-point parameters to learn",
            got=type(field).__name__, do="make its unknown numbers fields of an eqx.Module",
        )  # fmt: skip
    k = data.n_inputs + len(data.static_names)
    state, inputs = (np.zeros(n, np.float32) for n in (dim, k))
    try:  # traced as in training: nothing is computed, nothing compiled
        out = eqx.filter_eval_shape(
            lambda f, t, y, u: jnp.asarray(f(t, y, u)),
            field, np.float32(0), state, inputs if k else None,
        )  # fmt: skip
        shape = out.shape
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise InputError(
            "field", expected=f"f(t, y, u) that takes y of shape ({dim},)",
            got=f"{type(error).__name__}: {said}", do="mend the field",
        ) from error  # fmt: skip
    if shape != (dim,):
        raise InputError(
            "field", expected=f"dy/dt of shape ({dim},)", got=f"shape {shape}", do="mend the field"
        )
    return field


def check_residual(residual: Any, field: Callable | None) -> None:
    """`InputError` unless there is a field that a network can stand beside, and a weight."""
    if not isinstance(residual, int | float) or not 0 <= residual < np.inf:
        raise InputError(
            "residual", expected="True, False or the weight of the network's squared size",
            got=repr(residual), do="pass True",
        )  # fmt: skip
    if residual and field is None:
        raise InputError(
            "residual", expected="a field that the network stands beside", got="field=None",
            do="pass field=, or leave residual out",
        )  # fmt: skip


def table(estimates: Estimates | None) -> pd.DataFrame | None:
    """The numbers of an equation as a table: value, standard error, interval."""
    if estimates is None:
        return None
    return frame(estimates.names, np.stack([getattr(estimates, c) for c in _COLUMNS], 1))


def frame(names: Sequence[str], numbers: np.ndarray) -> pd.DataFrame:
    """Rows (n, 4) with their names."""
    import pandas as pd

    return pd.DataFrame(numbers, pd.Index(names, name="parameter"), list(_COLUMNS))


def share_table(estimates: Estimates | None, data: Trajectories) -> dict[str, float] | None:
    """The network's share of the field per variable; None where no network stands beside one."""
    if estimates is None or estimates.network is None:
        return None
    return {n: float(s) for n, s in zip(data.names, estimates.network, strict=True)}


def about(estimates: Estimates | None, data: Trajectories) -> tuple[str, ...]:
    """What the status says about an equation's numbers and the network beside it."""
    if estimates is None:
        return ()
    share = share_table(estimates, data)
    if share is None:
        return estimates.notes
    told = ", ".join(f"{s:.1%} of {n}" for n, s in share.items())
    return (*estimates.notes, f"share of the network in the field along the data: {told}")
