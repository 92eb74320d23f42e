"""Reading and writing at places that are only known when a model runs, by `GatherND`, `ScatterND`.

JAX's general forms become ONNX's, which want indexed axes first, by transposing before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .ir import Operation
from .numpy_forms import gather_fill


def gather(w: Any, op: Operation, names: list[str]) -> str:
    """Blocks that are whole along some axes and one element wide along the indexed ones."""
    p, numbers = op.params, op.params["dimension_numbers"]
    x, places = op.inputs
    shared, indexed = list(numbers.operand_batching_dims), list(numbers.start_index_map)
    window = [i for i in range(len(x.shape)) if i not in shared and i not in indexed]
    whole = all(str(p["slice_sizes"][i]) == str(x.shape[i]) for i in window)
    if not whole or set(numbers.collapsed_slice_dims) != set(indexed):
        raise _missing("a gather of blocks")
    rows = turned(w, names[0], [*shared, *indexed, *window])
    own = list(numbers.start_indices_batching_dims)
    rest = [i for i in range(len(places.shape) - 1) if i not in own]
    at = turned(w, names[1], [*own, *rest, len(places.shape) - 1])
    at = w.node("Cast", [at], to=7)
    most = w.shape([x.shape[i] - 1 for i in indexed])
    inside = w.node("Min", [w.node("Max", [at, w.integers([0])]), most])
    found = w.node("GatherND", [rows, inside], batch_dims=len(shared))
    fill = gather_fill(op)
    if fill is not None:
        lost = w.node("Not", [w.node("Equal", [at, inside])])
        lost = w.node("ReduceMax", [w.node("Cast", [lost], to=6), w.integers([-1])], keepdims=0)
        lost = w.node("Cast", [lost], to=9)
        if window:
            count = len(own) + len(rest)
            lost = w.node("Unsqueeze", [lost, w.integers(range(count, count + len(window)))])
        found = w.node("Where", [lost, w.name(fill), found])
    # Axes are now: shared, other places, window; JAX wants places in their order, windows between.
    before: list[tuple[str, int]] = [("place", i) for i in (*own, *rest)]
    before += [("window", i) for i in range(len(window))]
    offset, wanted, k = list(numbers.offset_dims), [], 0
    for i in range(len(op.outputs[0].shape)):
        if i in offset:
            wanted.append(("window", offset.index(i)))
        else:
            wanted.append(("place", k))
            k += 1
    order = [before.index(axis) for axis in wanted]
    return turned(w, found, order)


def turned(w: Any, name: str, order: Sequence[int]) -> str:
    """Axes in another order; nothing to do for numbers, or where it is the same."""
    order = [int(i) for i in order]
    return name if order == sorted(order) else w.node("Transpose", [name], perm=order)


_REDUCE = {"scatter": "none", "scatter-add": "add", "scatter-mul": "mul", "scatter-min": "min",
           "scatter-max": "max"}  # fmt: skip


def scatter(w: Any, op: Operation, names: list[str]) -> str:
    """Updates that are whole along some axes and one element wide along the indexed ones."""
    numbers = op.params["dimension_numbers"]
    x, _, updates = op.inputs
    indexed = list(numbers.scatter_dims_to_operand_dims)
    if numbers.operand_batching_dims or set(numbers.inserted_window_dims) != set(indexed):
        raise _missing("a scatter of blocks")
    window = [i for i in range(len(x.shape)) if i not in indexed]
    sizes = [updates.shape[i] for i in numbers.update_window_dims]
    if any(str(s) != str(x.shape[i]) for s, i in zip(sizes, window, strict=True)):
        raise _missing("a scatter of blocks")
    rows = turned(w, names[0], [*indexed, *window])
    own = [i for i in range(len(updates.shape)) if i not in numbers.update_window_dims]
    new = turned(w, names[2], [*own, *numbers.update_window_dims])
    at = w.node("Cast", [names[1]], to=7)
    made = w.node("ScatterND", [rows, at, new], reduction=_REDUCE[op.kind])
    return turned(w, made, np.argsort([*indexed, *window]))


def _missing(what: str) -> InputError:
    return InputError(
        "export to ONNX", expected="operations that ONNX has", got=what,
        do="export as NumPy, C or StableHLO",
    )  # fmt: skip
