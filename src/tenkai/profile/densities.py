"""Densities by continuous flows as problems: rows to the base with their log-determinant."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from .problem import Problem, count, profilable

_ROWS = 256


@runtime_checkable
class FlowOfRows(Protocol):
    """A fitted density, by what it can do. It also has `density_`, `data_` and `precision`."""

    def frame_density(self, x: Any, fraction: float) -> Any: ...
    def score_samples(self, X: Any) -> Any: ...


class Transport(eqx.Module):
    """``d(y, log det)/dt``: the flow's field, and its divergence where that is exact."""

    field: Any
    divergence: Any = eqx.field(static=True)

    def __call__(self, t: Any, state: Float[Array, " dim"], context: Any = None) -> Array:
        if self.divergence is None:
            return self.field(t, state, context)
        value, trace = self.divergence.of(self.field, t, state[:-1], context, None)
        return jnp.append(value, trace)


@profilable.register(FlowOfRows)
def _(model: Any, data: Any = None) -> Problem:
    """Rows of the best member's flow, from the data to the base."""
    from ..flows import Grid
    from ..flows.divergence import Exact
    from ..flows.evaluation import is_exact

    if not hasattr(model, "density_") or not model.density_.is_continuous:
        kind = "no fit" if not hasattr(model, "density_") else "a discrete one"
        raise InputError(
            type(model).__name__, expected="a fitted density by a continuous flow", got=kind,
            do="fit one with flow=tk.flows.FFJORD()",
        )  # fmt: skip
    density = model.density_
    flow, exact = density.best, is_exact(density.best)
    rows, context = _rows(model, data)
    z = density.scale.forward(rows)
    start = np.concatenate([z, np.zeros((len(z), 1))], 1) if exact else z
    end = float(np.asarray(flow.root_end)) ** 2
    grid = flow.solver if isinstance(flow.solver, Grid) else None
    notes = ["Solved is the member of the largest weight"] if len(density.mixture) > 1 else []
    if not exact:
        notes.append("the log-determinant, which is estimated here, was not solved for")
    return Problem(
        field=Transport(flow.prepared, Exact() if exact else None),
        y0=start,
        span=np.array([end, 0.0]),
        args=density.scaled(context),
        points=1,
        scale=np.ones(start.shape[1]),
        unit="the base's standard deviation, and nats",
        precision=model.precision,
        current=None if grid is None else (grid.method, grid.steps),
        subject=f"{type(model).__name__}: {count(len(z), 'row')} of "
        f"{count(z.shape[1], 'variable')}" + (" and their log-determinant" if exact else ""),
        notes=tuple(notes),
    )


def _rows(model: Any, data: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Up to 256 rows of data, or ``(rows, context)``; default those the model was fitted to."""
    if data is None:
        rows, context = model.data_, model.context_
    else:
        rows, context = data if isinstance(data, tuple) else (data, None)
    rows = np.atleast_2d(np.asarray(rows, float))
    wanted = model.density_.dim
    if rows.shape[1] != wanted or not np.isfinite(rows).all() or not len(rows):
        raise InputError(
            "data", expected=f"finite rows of {wanted} numbers", got=f"shape {rows.shape}",
            do="pass rows like those of fit",
        )  # fmt: skip
    if (context is None) != (model.density_.context is None):
        need = "with" if context is None else "without"
        raise InputError(
            "data", expected=f"rows {need} their context", got="something else",
            do="pass (rows, context) of a conditional density, rows of any other",
        )  # fmt: skip
    known = None if context is None else np.atleast_2d(np.asarray(context, float))[:_ROWS]
    return rows[:_ROWS], known
