"""What estimators answer, as pure functions of arrays in raw units: what every export is made of.

A builder stands in the file of its kind of model and is imported when such a model comes, so that
exporting a `NeuralODE` does not pay for scikit-learn.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from ..errors import InputError
from .program import Program

_ROOMS = {
    "NeuralODE": "programs_ode",
    "NeuralSDE": "programs_sde",
    "LatentODE": "programs_latent",
    "ODERNN": "programs_rnn",
    "FlowDensity": "programs_density",
    "ODEClassifier": "programs_classifier",
    "FunctionRegressor": "programs_tables",
    "UKR": "programs_tables",
    "Unfolded": "programs_unfolded",
    "ControlSolution": "programs_solutions",
    "Solution": "programs_solutions",
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """How a program shall be: the `coverage` of its intervals, an `example` of its inputs."""

    coverage: float = 0.9
    example: Any = None


def program_of(model: Any, *, coverage: float = 0.9, example: Any = None) -> Program:
    """The functions that a fitted estimator or a solution is exported as.

    `coverage` is that of its intervals; `example` a batch of inputs of an `Unfolded` that was never
    fitted, which says their shapes.

    Raises `InputError` for what is not fitted, cannot be exported, or has no such option.

    >>> import numpy as np, tenkai as tk
    >>> from tenkai.export.programs import program_of
    >>> gd = tk.algorithms.gradient_descent(np.eye(2), layers=2)
    >>> [f.name for f in program_of(gd, example=np.ones((1, 2))).functions]
    ['solve']
    """
    for kind in type(model).__mro__:
        if kind.__module__.startswith("tenkai."):
            room = _ROOMS.get(kind.__name__)
            if room is not None:
                importlib.import_module(f".{room}", __package__)
                break
    if not 0 < coverage < 1:
        raise InputError(
            "coverage", expected="a share between 0 and 1", got=repr(coverage), do="pass 0.9"
        )
    return build(model, Wanted(float(coverage), example))


@functools.singledispatch
def build(model: Any, wanted: Wanted) -> Program:
    """The program of a model; builders register here."""
    raise unsupported(
        "model", "a " + ", ".join(sorted(_ROOMS)[:-1]) + f" or {sorted(_ROOMS)[-1]}",
        f"a {type(model).__name__}", "export one of these",
    )  # fmt: skip


def unsupported(what: str, expected: str, got: str, do: str) -> InputError:
    """What cannot be exported, and what can."""
    return InputError(f"export of this {what}", expected=expected, got=got, do=do)


def wide(tree: PyTree) -> PyTree:
    """NumPy arrays, real numbers in float64: tracing narrows them to the precision in force."""

    def leaf(a: Any) -> Any:
        if not eqx.is_array_like(a) or isinstance(a, bool | int | float):
            return a
        a = np.asarray(a)
        return a.astype(np.float64) if a.dtype.kind == "f" else a

    return jax.tree.map(leaf, tree)


def over_members(fields: PyTree, which: np.ndarray) -> tuple[Callable[[Callable], Callable], int]:
    """How to ask members (a leading axis on every array) at once, and how many there are.

    ``over(ask)(*rows)`` calls ``ask(field, *row)``: of several members with a leading axis of
    members on every row and on the answer, of a single one without, so that its program reads as
    what it is.
    """
    arrays, rest = eqx.partition(wide(fields), eqx.is_array)
    some = jax.tree.map(lambda a: a[which], arrays)
    if len(which) == 1:
        alone = eqx.combine(jax.tree.map(lambda a: a[0], some), rest)
        return lambda ask: functools.partial(ask, alone), 1

    def over(ask: Callable) -> Callable:
        def every(*rows: Any) -> Any:
            def one(arrays: Any, *row: Any) -> Any:
                return ask(eqx.combine(arrays, rest), *row)

            return jax.vmap(one)(some, *rows)

        return every

    return over, len(which)


def shown(fields: PyTree, which: np.ndarray) -> PyTree:
    """The arrays of those members as their program holds them, whose paths name its constants."""
    arrays = eqx.filter(wide(fields), eqx.is_array)
    some = jax.tree.map(lambda a: a[which], arrays)
    return jax.tree.map(lambda a: a[0], some) if len(which) == 1 else some


def chosen(fields: PyTree, member: Any) -> PyTree:
    """One of several members, by a number that is only known when the program runs."""
    arrays, rest = eqx.partition(wide(fields), eqx.is_array)
    return eqx.combine(jax.tree.map(lambda a: jax.numpy.asarray(a)[member], arrays), rest)
