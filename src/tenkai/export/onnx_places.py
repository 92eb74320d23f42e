"""Reading and writing at places that are only known when a model runs, by `GatherND`, `ScatterND`.

JAX's general forms become ONNX's, which want indexed axes first, by transposing before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .ir import Operation
from .numpy_forms import gather_fill
from .onnx_table import missing, register


@register("gather")
def gather(w: Any, op: Operation, names: list[str]) -> str:
    """Blocks that are, along every axis, whole or one element wide."""
    numbers, (x, places) = op.params["dimension_numbers"], op.inputs
    shared, own = list(numbers.operand_batching_dims), list(numbers.start_indices_batching_dims)
    columns = [k for k, i in enumerate(numbers.start_index_map) if _single(op, i)]
    indexed = [numbers.start_index_map[k] for k in columns]
    window = [i for i in range(len(x.shape)) if i not in shared and i not in indexed]
    if not indexed or not all(_whole(op, i) for i in window):
        raise missing("a gather of blocks")
    rows = turned(w, names[0], [*shared, *indexed, *window])
    last = len(places.shape) - 1
    rest = [i for i in range(last) if i not in own]
    at = w.node("Cast", [turned(w, names[1], [*own, *rest, last])], to=7)
    if len(columns) < len(numbers.start_index_map):  # a whole axis begins at its beginning
        at = w.node("Gather", [at, w.integers(columns)], axis=-1)
    most = w.shape([x.shape[i] - 1 for i in indexed])
    inside = w.node("Min", [w.node("Max", [at, w.integers([0])]), most])
    found = w.node("GatherND", [rows, inside], batch_dims=len(shared))
    fill = gather_fill(op)
    if fill is not None:
        found = _filled(w, found, at, inside, w.name(fill), last, len(window))
    return _arranged(w, op, found, [*own, *rest], window)


def _single(op: Operation, axis: int) -> bool:
    """Whether an indexed axis is read one element wide; one of size one is whole, too."""
    whole = axis not in op.params["dimension_numbers"].collapsed_slice_dims and _whole(op, axis)
    if str(op.params["slice_sizes"][axis]) != "1" and not whole:
        raise missing("a gather of blocks")
    return not whole


def _whole(op: Operation, axis: int) -> bool:
    return str(op.params["slice_sizes"][axis]) == str(op.inputs[0].shape[axis])


def _filled(w: Any, found: str, at: str, inside: str, fill: str, places: int, window: int) -> str:
    """What stands for places outside the array."""
    lost = w.node("Not", [w.node("Equal", [at, inside])])
    lost = w.node("ReduceMax", [w.node("Cast", [lost], to=6), w.integers([-1])], keepdims=0)
    lost = w.node("Cast", [lost], to=9)
    if window:
        lost = w.node("Unsqueeze", [lost, w.integers(range(places, places + window))])
    return w.node("Where", [lost, fill, found])


def _arranged(w: Any, op: Operation, found: str, places: list[int], window: list[int]) -> str:
    """Places in their order and windows between them, as JAX wants them."""
    numbers, offsets = (
        op.params["dimension_numbers"],
        list(op.params["dimension_numbers"].offset_dims),
    )
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [i for i in range(len(op.inputs[0].shape)) if i not in gone]  # axes that offsets show
    order, added, k = [], [], 0
    for out in range(len(op.outputs[0].shape)):
        if out not in offsets:
            order.append(places.index(sorted(places)[k]))
            k += 1
        elif kept[offsets.index(out)] in window:
            order.append(len(places) + window.index(kept[offsets.index(out)]))
        else:
            added.append(out)  # one element wide
    found = turned(w, found, order)
    return w.node("Unsqueeze", [found, w.integers(added)]) if added else found


def turned(w: Any, name: str, order: Sequence[int]) -> str:
    """Axes in another order; nothing to do for numbers, or where it is the same."""
    order = [int(i) for i in order]
    return name if order == sorted(order) else w.node("Transpose", [name], perm=order)


_REDUCE = {"scatter": "none", "scatter-add": "add", "scatter-mul": "mul", "scatter-min": "min",
           "scatter-max": "max"}  # fmt: skip


@register(*_REDUCE)
def scatter(w: Any, op: Operation, names: list[str]) -> str:
    """Updates that are whole along some axes and one element wide along the indexed ones."""
    numbers = op.params["dimension_numbers"]
    x, _, updates = op.inputs
    indexed = list(numbers.scatter_dims_to_operand_dims)
    if numbers.operand_batching_dims or set(numbers.inserted_window_dims) != set(indexed):
        raise missing("a scatter of blocks")
    window = [i for i in range(len(x.shape)) if i not in indexed]
    sizes = [updates.shape[i] for i in numbers.update_window_dims]
    if any(str(s) != str(x.shape[i]) for s, i in zip(sizes, window, strict=True)):
        raise missing("a scatter of blocks")
    rows = turned(w, names[0], [*indexed, *window])
    own = [i for i in range(len(updates.shape)) if i not in numbers.update_window_dims]
    new = turned(w, names[2], [*own, *numbers.update_window_dims])
    at = w.node("Cast", [names[1]], to=7)
    made = w.node("ScatterND", [rows, at, new], reduction=_REDUCE[op.kind])
    return turned(w, made, np.argsort([*indexed, *window]).tolist())
