"""`Unfolded` algorithms as programs: the estimate of a batch of problems."""

from __future__ import annotations

import re
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ..algorithms.border import arrays
from ..algorithms.iteration import run
from ..algorithms.unfolded import Unfolded
from ..errors import InputError
from .program import Argument, Function, Program
from .programs import Wanted, build, unsupported, wide


@build.register
def _(model: Unfolded, wanted: Wanted) -> Program:
    problem = _problem(model, wanted.example)
    which = np.arange(model.layers)
    each = {name: v[which % len(v)] for name, v in model.parameters_.items()}
    iteration, parameters = wide(model.iteration), wide(each)
    leaves, tree = jax.tree.flatten(problem)
    names = _names("y", problem)
    arguments = tuple(_argument(n, a) for n, a in zip(names, leaves, strict=True))

    def solve(*inputs: Array) -> Any:
        return run(iteration, parameters, jax.tree.unflatten(tree, inputs), model.layers)

    some = [jax.ShapeDtypeStruct((1, *a.shape), a.dtype) for a in leaves]
    with model._arithmetic():
        estimate = eqx.filter_eval_shape(solve, *some)
    learned = ", ".join(f"{k} {v.shape}" for k, v in parameters.items())
    notes = (f"{model.layers} layers; {'learned' if model.fit_ else 'given'}: {learned}",)
    function = Function(
        "solve", solve, arguments, tuple(_names("estimate", estimate)),
        "Estimates of a batch of problems.",
    )  # fmt: skip
    return Program(f"Unfolded algorithm of {model.layers} layers", (function,), notes, parameters)


def _problem(model: Unfolded, example: Any) -> Any:
    """Shapes and types of one problem's inputs."""
    if example is not None:
        batch = arrays("example", example)
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a)[1:], np.asarray(a).dtype),
                            batch)  # fmt: skip
    if model.problem_ is None:
        raise InputError(
            "export of this Unfolded", expected="to know the shape of its inputs",
            got="an algorithm that was never fitted", do="pass example=, a batch of inputs",
        )  # fmt: skip
    return model.problem_


def _argument(name: str, a: Any) -> Argument:
    kind = {"f": "real", "i": "integer", "u": "integer", "b": "boolean"}.get(np.dtype(a.dtype).kind)
    if kind is None:
        raise unsupported(
            "Unfolded", "real inputs", f"{name} of {a.dtype}",
            "write complex numbers as real and imaginary parts",
        )  # fmt: skip
    return Argument(name, ("rows", *a.shape), "one problem per row", kind)


def _names(stem: str, tree: Any) -> list[str]:
    """A name for every array: its path in the tree, or the stem alone."""
    found = []
    for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]:
        word = "_".join(re.findall(r"\w+", jax.tree_util.keystr(path)))
        found.append(f"{stem}_{word}" if word else stem)
    return found
