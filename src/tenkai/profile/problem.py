"""What `profile` measures: a field, rows to start from and how far to go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, PyTree

from ..errors import InputError
from ..solve.grid import Driven, Sampled, read_times

EXACT_ENOUGH = 1e-3
POINTS = 8  # of every span, where errors are measured


@dataclass(frozen=True, eq=False)
class Problem:
    """A field as it is solved, and what its errors mean.

    Args:
        field: ``f(t, y, args) -> dy/dt`` of one row (dim,); parameters are the floating-point
            arrays of an Equinox module.
        y0: (rows, dim), where every row starts.
        span: (2,) for all rows or (rows, 2): first and last time, which may decrease.
        args: a PyTree with a leading axis of rows on every leaf, handed to the field; None where
            the field needs nothing.
        points: at how many equally spaced times of the span errors are measured; 1 is the end.
        scale: (dim,) what an error of one is; None takes the range of the path.
        unit: the same in words.
        tolerance, because: the error that is small enough, and why.
        precision: "float32" or "float64", in which the model is solved.
        current: (method, steps over the span), as the model is solved now.
        subject: what it is, in words.
        notes: what the user should know about this choice of problem.

    Later models join by ``@profilable.register``:

    >>> from tenkai.profile import Problem, profilable
    >>> class Pendulum:
    ...     start = [1.0, 0.0]
    >>> @profilable.register(Pendulum)
    ... def _(model, data=None):
    ...     swing = lambda t, y, args: y[::-1] * np.array([1.0, -1.0])
    ...     return Problem(swing, np.array([model.start]), np.array([0.0, 6.0]))
    >>> profilable(Pendulum()).y0.shape
    (1, 2)
    """

    field: Callable
    y0: Float[np.ndarray, "rows dim"]
    span: Float[np.ndarray, "*rows 2"]
    args: PyTree = None
    points: int = POINTS
    scale: Float[np.ndarray, " dim"] | None = None
    unit: str = "the range of the path"
    tolerance: float = EXACT_ENOUGH
    because: str = "a thousandth"
    precision: str = "float32"
    current: tuple[Any, int] | None = None
    subject: str = "Field"
    notes: tuple[str, ...] = ()


@singledispatch
def profilable(model: Any, data: Any = None) -> Problem:
    """The `Problem` that solving `model` on `data` is; register one for every kind of model.

    A callable ``f(t, y, u)`` takes ``data = (y0, t)`` or ``(y0, t, u)``. Raises `InputError` for
    anything that has no field.
    """
    if not callable(model):
        raise InputError(
            "model", expected="a fitted estimator with a continuous field, or f(t, y, u)",
            got=f"a {type(model).__name__}",
            do="pass a NeuralODE, a FlowDensity with a continuous flow, or the field itself",
        )  # fmt: skip
    return _bare(model, data)


def _bare(field: Callable, data: Any) -> Problem:
    """A field alone: the error at the times between, what drives it as `solve` takes it."""
    if not (isinstance(data, tuple) and len(data) in (2, 3)):
        raise InputError(
            "data", expected="(y0, t), or (y0, t, u) for a field with inputs",
            got=f"{type(data).__name__}", do="say where to start and the times",
        )  # fmt: skip
    y0, t, u = (*data, None)[:3]
    states = np.atleast_2d(np.asarray(y0))
    rows, ts = states.astype(float), np.asarray(read_times(t), float)
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise InputError(
            "y0", expected="finite states (dim,) or (rows, dim)", got=f"shape {states.shape}",
            do="pass one state, or one in each row",
        )  # fmt: skip
    if len(ts) < 2 or ts[0] == ts[-1]:
        raise InputError(
            "t", expected="two times or more, not all the same", got=str(ts[:3]),
            do="pass the first and the last time",
        )  # fmt: skip
    name = getattr(field, "__name__", type(field).__name__)
    kept: Any = field if isinstance(field, eqx.Module) else _Fresh(field)
    return Problem(
        kept if u is None else _driven(kept, ts, u), rows, ts[[0, -1]],
        precision="float32" if states.dtype == np.float32 else "float64",
        subject=f"{name}: {count(len(rows), 'row')} of {count(rows.shape[1], 'variable')}",
    )  # fmt: skip


def _driven(field: Callable, ts: Any, u: Any) -> Callable:
    """The field with its inputs, a function of time or their values at `ts`, straight between."""
    if callable(u):
        return Driven(field, lambda t: u(t))
    known = np.asarray(u, float)
    if known.shape[:1] != (len(ts),):
        raise InputError(
            "u", expected=f"one row for each of the {len(ts)} times, or a function of t",
            got=f"shape {known.shape}", do="give the inputs at t",
        )  # fmt: skip
    return Driven(field, Sampled(ts, known, "linear"))


class _Fresh:
    """A plain function, which may read what has changed since it was last compiled."""

    def __init__(self, field: Callable):
        self.field = field

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        return self.field(t, y, args)


def count(n: int, noun: str) -> str:
    """``2 rows``, ``1 row``."""
    return f"{n} {noun}" + ("" if n == 1 else "s")
