"""Arrays in ONNX: shapes, sums, products, convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import onnx_numbers as onnx_numbers  # registers its forms
from . import onnx_places as onnx_places  # registers its forms
from .ir import Operation
from .onnx_table import FORMS as FORMS
from .onnx_table import missing, number, register


@register("select_n")
def _select(w: Any, op: Operation, names: list[str]) -> str:
    which, *cases = names
    if op.inputs[0].dtype == bool:
        return w.node("Where", [which, cases[1], cases[0]])
    made = cases[-1]
    for i in range(len(cases) - 2, -1, -1):
        test = w.node("Equal", [which, number(w, op.inputs[0], i)])
        made = w.node("Where", [test, cases[i], made])
    return made


@register("convert_element_type")
def _convert(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Cast", names, to=w.kind(op.outputs[0].dtype))


@register("dim_as_value")
def _size_as_value(w: Any, op: Operation, names: list[str]) -> str:
    size = w.node("Reshape", [w.size(op.params["dim"]), w.integers([])])
    return w.node("Cast", [size], to=w.kind(op.outputs[0].dtype))


@register("broadcast_in_dim")
def _broadcast(w: Any, op: Operation, names: list[str]) -> str:
    value, shape = op.inputs[0], op.outputs[0].shape
    dims = op.params["broadcast_dimensions"]
    new = [i for i in range(len(shape)) if i not in dims]
    text = names[0]
    if new and value.shape:
        text = w.node("Unsqueeze", [text, w.integers(new)])
    return w.node("Expand", [text, w.shape(shape)])


@register("reshape", "squeeze")
def _reshape(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Reshape", [names[0], w.shape(op.outputs[0].shape)])


@register("expand_dims")
def _expand_dims(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Unsqueeze", [names[0], w.integers(op.params["dimensions"])])


@register("transpose")
def _transpose(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Transpose", names, perm=[int(i) for i in op.params["permutation"]])


@register("rev")
def _rev(w: Any, op: Operation, names: list[str]) -> str:
    axes = [int(i) for i in op.params["dimensions"]]
    ends = w.integers([np.iinfo(np.int64).min] * len(axes))
    back = w.integers([-1] * len(axes))
    return w.node("Slice", [names[0], back, ends, w.integers(axes), back])


@register("slice")
def _slice(w: Any, op: Operation, names: list[str]) -> str:
    p, rank = op.params, len(op.inputs[0].shape)
    strides = [int(s) for s in p["strides"] or (1,) * rank]
    return w.node("Slice", [
        names[0], w.shape(p["start_indices"]), w.shape(p["limit_indices"]),
        w.integers(range(rank)), w.integers(strides),
    ])  # fmt: skip


@register("split")
def _split(w: Any, op: Operation, names: list[str]) -> list[str]:
    axis, start, parts = w.integers([op.params["axis"]]), 0, []
    for size in op.params["sizes"]:
        parts.append(w.node("Slice", [names[0], w.size(start), w.size(start + size), axis]))
        start = start + size
    return parts


@register("pad")
def _pad(w: Any, op: Operation, names: list[str]) -> str:
    margins = op.params["padding_config"]
    if any(int(inner) for _, _, inner in margins):
        raise missing("padding between elements")
    pads = w.shape([low for low, _, _ in margins] + [high for _, high, _ in margins])
    return w.node("Pad", [names[0], pads, names[1]])


@register("concatenate")
def _concatenate(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Concat", names, axis=int(op.params["dimension"]))


@register("iota")
def _iota(w: Any, op: Operation, names: list[str]) -> str:
    out, axis = op.outputs[0], op.params["dimension"]
    count = w.node("Reshape", [w.size(out.shape[axis]), w.integers([])])
    line = w.node("Range", [w.constant(np.int64(0)), count, w.constant(np.int64(1))])
    line = w.node("Cast", [line], to=w.kind(out.dtype))
    if len(out.shape) == 1:
        return line
    sizes = [1] * len(out.shape)
    sizes[axis] = -1
    return w.node("Expand", [w.node("Reshape", [line, w.integers(sizes)]), w.shape(out.shape)])


@register("dynamic_slice")
def _dynamic_slice(w: Any, op: Operation, names: list[str]) -> str:
    shape, sizes = op.inputs[0].shape, op.params["slice_sizes"]
    begin = _starts(w, names[1:], shape, sizes)
    end = w.node("Add", [begin, w.shape(sizes)])
    return w.node("Slice", [names[0], begin, end, w.integers(range(len(shape)))])


def _starts(w: Any, names: Sequence[str], shape: Any, sizes: Any) -> str:
    """Where a block begins, moved inside."""
    parts = [w.node("Reshape", [w.node("Cast", [n], to=7), w.integers([1])]) for n in names]
    begin = w.node("Concat", parts, axis=0)
    most = w.shape([n - s for n, s in zip(shape, sizes, strict=True)])
    return w.node("Min", [w.node("Max", [begin, w.integers([0])]), most])


@register("dynamic_update_slice")
def _dynamic_update_slice(w: Any, op: Operation, names: list[str]) -> str:
    """Along one axis: what comes before, the block, what comes behind."""
    shape, sizes = op.inputs[0].shape, op.inputs[1].shape
    axes = [i for i, (n, s) in enumerate(zip(shape, sizes, strict=True)) if str(n) != str(s)]
    if not axes:
        return w.node("Identity", [names[1]])
    if len(axes) > 1:
        raise missing("a block that is smaller along several axes")
    axis = axes[0]
    begin = _starts(w, [names[2 + axis]], shape[axis : axis + 1], sizes[axis : axis + 1])
    end, along = w.node("Add", [begin, w.size(sizes[axis])]), w.integers([axis])
    before = w.node("Slice", [names[0], w.integers([0]), begin, along])
    behind = w.node("Slice", [names[0], end, w.size(shape[axis]), along])
    return w.node("Concat", [before, names[1], behind], axis=axis)


_REDUCTIONS = {
    "reduce_sum": "ReduceSum", "reduce_prod": "ReduceProd", "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
}  # fmt: skip


@register(*_REDUCTIONS)
def _reduce(w: Any, op: Operation, names: list[str]) -> str:
    if not op.params["axes"]:  # which ONNX takes for all
        return names[0]
    axes = w.integers([int(i) for i in op.params["axes"]])
    return w.node(_REDUCTIONS[op.kind], [names[0], axes], keepdims=0)


@register("reduce_and", "reduce_or")
def _reduce_logic(w: Any, op: Operation, names: list[str]) -> str:
    if not op.params["axes"]:
        return names[0]
    numbers = w.node("Cast", names, to=6)
    axes = w.integers([int(i) for i in op.params["axes"]])
    kind = "ReduceMin" if op.kind == "reduce_and" else "ReduceMax"
    return w.node("Cast", [w.node(kind, [numbers, axes], keepdims=0)], to=9)


@register("argmax", "argmin")
def _argmax(w: Any, op: Operation, names: list[str]) -> str:
    kind = {"argmax": "ArgMax", "argmin": "ArgMin"}[op.kind]
    found = w.node(kind, names, axis=int(op.params["axes"][0]), keepdims=0)
    return w.node("Cast", [found], to=w.kind(op.outputs[0].dtype))


@register("cumsum")
def _cumsum(w: Any, op: Operation, names: list[str]) -> str:
    axis = w.constant(np.int64(op.params["axis"]))
    return w.node("CumSum", [names[0], axis], reverse=int(op.params["reverse"]))


@register("dot_general")
def _dot(w: Any, op: Operation, names: list[str]) -> str:
    (contracted, batch), (a, b) = op.params["dimension_numbers"], op.inputs
    ranks = len(a.shape), len(b.shape)
    plain = not batch[0] and len(contracted[0]) == 1 and max(ranks) <= 2
    if plain and contracted[0][0] == ranks[0] - 1 and contracted[1][0] == 0:
        return w.node("MatMul", names)
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left, right = [""] * ranks[0], [""] * ranks[1]
    for i, j in (*zip(*batch, strict=True), *zip(*contracted, strict=True)):
        left[i] = right[j] = next(letters)
    left, right = ([c or next(letters) for c in side] for side in (left, right))
    gone = {left[i] for i in contracted[0]}
    shared = [left[i] for i in batch[0]]
    rest = [c for side in (left, right) for c in side if c not in gone and c not in shared]
    equation = f"{''.join(left)},{''.join(right)}->{''.join([*shared, *rest])}"
    return w.node("Einsum", names, equation=equation)


@register("conv_general_dilated")
def _convolution(w: Any, op: Operation, names: list[str]) -> str:
    p = op.params
    if any(d != 1 for d in p["lhs_dilation"]) or p["batch_group_count"] != 1:
        raise missing("a transposed convolution")
    image, kernel, out = (list(map(int, spec)) for spec in p["dimension_numbers"])
    x = w.node("Transpose", [names[0]], perm=image)
    k = w.node("Transpose", [names[1]], perm=kernel)
    pads = [int(a) for a, _ in p["padding"]] + [int(b) for _, b in p["padding"]]
    y = w.node(
        "Conv", [x, k], strides=list(map(int, p["window_strides"])), pads=pads,
        dilations=list(map(int, p["rhs_dilation"])), group=int(p["feature_group_count"]),
    )  # fmt: skip
    return w.node("Transpose", [y], perm=[out.index(i) for i in range(len(out))])


@register("sort")
def _sort(w: Any, op: Operation, names: list[str]) -> list[str]:
    if len(names) > 1:
        raise missing("sorting several arrays together")
    axis = int(op.params["dimension"])
    count = w.size(op.inputs[0].shape[axis])
    values, _ = w.node("TopK", [names[0], count], count=2, axis=axis, largest=0)
    return [values]


@register("top_k")
def _top_k(w: Any, op: Operation, names: list[str]) -> list[str]:
    count = w.size(op.params["k"])
    values, places = w.node("TopK", [names[0], count], count=2, axis=-1, largest=1)
    return [values, w.node("Cast", [places], to=w.kind(op.outputs[1].dtype))]
