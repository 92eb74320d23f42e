"""How each operation is written in NumPy: one expression of its operands.

A form takes the operation, the texts of its operands and the `Words` of the file it stands in, and
returns an expression; with several outputs, one of a tuple.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import numpy_support
from .ir import Operation, Size, Value
from .numpy_elements import (
    ELEMENTWISE,
    FORMS,
    Words,
    bare,
    dtype_text,
    literal,
    register,
    taken,
    typed,
)

__all__ = ["ELEMENTWISE", "FORMS", "Words", "bare", "compute", "dtype_text", "literal", "typed"]


def compute(kind: str, inputs: list[Value], params: dict[str, Any], avals: Any) -> list[Any]:
    """What the form of `kind` gives for known inputs."""
    op = Operation(kind, inputs, [Value(s, t) for s, t in avals], params)
    words = Words()
    text = FORMS[kind](op, [f"_{i}" for i in range(len(inputs))], words)
    scope = {"np": np, **vars(numpy_support), **{f"_{i}": v.constant for i, v in enumerate(inputs)}}
    with np.errstate(all="ignore"):
        result = eval(text, scope)  # of our own forms and of numbers alone
    return list(result) if len(avals) > 1 else [result[0] if isinstance(result, tuple) else result]


def aligned(shape: Sequence[Size], dims: Sequence[int], rank: int) -> str:
    """The index that gives an array axes of length one, so that NumPy broadcasts it."""
    lead = rank - len(shape)
    if list(dims) == list(range(lead, rank)):
        return ""
    axes = [":" if i in dims else "None" for i in range(rank)]
    return f"[{', '.join(axes)}]"


@register("aligned")
def _aligned(op: Operation, args: list[str], words: Words) -> str:
    return args[0] + op.params["index"]


@register("broadcast_in_dim")
def _broadcast(op: Operation, args: list[str], words: Words) -> str:
    value, shape = op.inputs[0], op.outputs[0].shape
    if value.shape == ():
        return f"np.full({words.shape(shape)}, {args[0]})"
    dims = op.params["broadcast_dimensions"]
    text = args[0] + aligned(value.shape, dims, len(shape))
    return f"np.broadcast_to({text}, {words.shape(shape)})"


@register("reshape", "squeeze")
def _reshape(op: Operation, args: list[str], words: Words) -> str:
    if op.outputs[0].shape == ():
        return f"np.reshape({args[0]}, ())"
    return f"np.reshape({args[0]}, {words.shape(op.outputs[0].shape)})"


@register("transpose")
def _transpose(op: Operation, args: list[str], words: Words) -> str:
    order = tuple(op.params["permutation"])
    return f"{args[0]}.T" if order == (1, 0) else f"np.transpose({args[0]}, {order})"


@register("rev")
def _rev(op: Operation, args: list[str], words: Words) -> str:
    return f"np.flip({args[0]}, {tuple(op.params['dimensions'])})"


@register("slice")
def _slice(op: Operation, args: list[str], words: Words) -> str:
    p, shape = op.params, op.inputs[0].shape
    strides = p["strides"] or (1,) * len(shape)
    cuts = []
    for n, a, b, s in zip(shape, p["start_indices"], p["limit_indices"], strides, strict=True):
        first = "" if str(a) == "0" else words.size(a)
        last = "" if str(b) == str(n) else words.size(b)
        cuts.append(f"{first}:{last}" + (f":{s}" if s != 1 else ""))
    while len(cuts) > 1 and cuts[-1] == ":":
        cuts.pop()
    return f"{args[0]}[{', '.join(cuts)}]"


@register("split")
def _split(op: Operation, args: list[str], words: Words) -> str:
    axis, start, parts = op.params["axis"], 0, []
    for size in op.params["sizes"]:
        parts.append(f"{args[0]}[{':, ' * axis}{words.size(start)}:{words.size(start + size)}]")
        start = start + size
    return f"({', '.join(parts)},)"


@register("pad")
def _pad(op: Operation, args: list[str], words: Words) -> str:
    margins = ", ".join(f"({', '.join(map(words.size, m))})" for m in op.params["padding_config"])
    return f"{words.take('_pad')}({args[0]}, {args[1]}, [{margins}])"


@register("concatenate")
def _concatenate(op: Operation, args: list[str], words: Words) -> str:
    axis = op.params["dimension"]
    return f"np.concatenate([{', '.join(args)}]{f', axis={axis}' if axis else ''})"


@register("iota")
def _iota(op: Operation, args: list[str], words: Words) -> str:
    out, axis = op.outputs[0], op.params["dimension"]
    text = f"np.arange({words.size(out.shape[axis])}, dtype=np.{out.dtype.name})"
    if len(out.shape) == 1:
        return text
    axes = ", ".join(":" if i == axis else "None" for i in range(len(out.shape)))
    return f"np.broadcast_to({text}[{axes}], {words.shape(out.shape)})"


@register("dynamic_slice")
def _dynamic_slice(op: Operation, args: list[str], words: Words) -> str:
    starts = ", ".join(args[1:])
    sizes = words.shape(op.params["slice_sizes"])
    return f"{words.take('_dynamic_slice')}({args[0]}, [{starts}], {sizes})"


@register("dynamic_update_slice")
def _dynamic_update_slice(op: Operation, args: list[str], words: Words) -> str:
    return f"{words.take('_dynamic_update_slice')}({args[0]}, {args[1]}, [{', '.join(args[2:])}])"


@register("gather")
def _gather(op: Operation, args: list[str], words: Words) -> str:
    p, n = op.params, op.params["dimension_numbers"]
    dims = (
        tuple(n.offset_dims),
        tuple(n.collapsed_slice_dims),
        tuple(n.operand_batching_dims),
        tuple(n.start_indices_batching_dims),
        tuple(n.start_index_map),
    )
    sizes, shape = words.shape(p["slice_sizes"]), words.shape(op.outputs[0].shape)
    fill = gather_fill(op)
    fill_text = "None" if fill is None else literal(fill, True)
    return f"{words.take('_gather')}({args[0]}, {args[1]}, {dims}, {sizes}, {shape}, {fill_text})"


def gather_fill(op: Operation) -> Value | None:
    """What stands for blocks outside the array; None where they are moved inside."""
    if "FILL" not in str(op.params["mode"]).upper():
        return None
    dtype, fill = op.outputs[0].dtype, op.params["fill_value"]
    if fill is None:  # JAX's own: NaN, the least signed and the greatest unsigned number, True
        if dtype.kind == "f":
            fill = np.nan
        else:
            limits = None if dtype.kind == "b" else np.iinfo(dtype)
            fill = True if limits is None else limits.min if dtype.kind == "i" else limits.max
    return Value((), dtype, np.asarray(fill, dtype))


_COMBINE = {
    "scatter": "None",
    "scatter-add": "np.add",
    "scatter-mul": "np.multiply",
    "scatter-min": "np.minimum",
    "scatter-max": "np.maximum",
}


@register(*_COMBINE)
def _scatter(op: Operation, args: list[str], words: Words) -> str:
    n = op.params["dimension_numbers"]
    dims = (
        tuple(n.update_window_dims),
        tuple(n.inserted_window_dims),
        tuple(n.operand_batching_dims),
        tuple(n.scatter_indices_batching_dims),
        tuple(n.scatter_dims_to_operand_dims),
    )
    sizes = words.shape(scatter_sizes(op))
    clip = "CLIP" in str(op.params["mode"]).upper()
    return (
        f"{words.take('_scatter')}({', '.join(args)}, {dims}, {sizes}, {clip}, {_COMBINE[op.kind]})"
    )


def scatter_sizes(op: Operation) -> list[Size]:
    """The size of a block of updates along every axis of the array that it goes into."""
    n, updates = op.params["dimension_numbers"], op.inputs[2].shape
    window = [updates[i] for i in n.update_window_dims]
    gone = {*n.inserted_window_dims, *n.operand_batching_dims}
    return [1 if i in gone else window.pop(0) for i in range(len(op.inputs[0].shape))]


def _axes(axes: Sequence[int], rank: int) -> str:
    if len(axes) == rank:
        return ""
    return f", axis={axes[0] if len(axes) == 1 else tuple(axes)}"


_REDUCTIONS = {
    "reduce_sum": "sum",
    "reduce_prod": "prod",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_and": "all",
    "reduce_or": "any",
}


@register(*_REDUCTIONS)
def _reduce(op: Operation, args: list[str], words: Words) -> str:
    value = op.inputs[0]
    axes = _axes(op.params["axes"], len(value.shape))
    whole = op.kind in ("reduce_sum", "reduce_prod") and value.dtype.kind in "iu"
    dtype = f", dtype=np.{value.dtype.name}" if whole else ""
    return f"np.{_REDUCTIONS[op.kind]}({args[0]}{axes}{dtype})"


@register("argmax", "argmin")
def _argmax(op: Operation, args: list[str], words: Words) -> str:
    axis = op.params["axes"][0]
    return f"np.{op.kind}({args[0]}, axis={axis}).astype(np.{op.outputs[0].dtype.name})"


_CUMULATIVE = {
    "cumsum": "add",
    "cumprod": "multiply",
    "cummax": "maximum",
    "cummin": "minimum",
    "cumlogsumexp": "logaddexp",
}


@register(*_CUMULATIVE)
def _cumulative(op: Operation, args: list[str], words: Words) -> str:
    axis, function = op.params["axis"], f"np.{_CUMULATIVE[op.kind]}.accumulate"
    if not op.params["reverse"]:
        return f"{function}({args[0]}, axis={axis})"
    return f"np.flip({function}(np.flip({args[0]}, {axis}), axis={axis}), {axis})"


@register("dot_general")
def _dot(op: Operation, args: list[str], words: Words) -> str:
    (contracted, batch), (a, b) = op.params["dimension_numbers"], op.inputs
    ranks, text = (len(a.shape), len(b.shape)), None
    one = len(contracted[0]) == 1 and not batch[0] and max(ranks) <= 2
    if one:
        left = args[0] if contracted[0][0] == ranks[0] - 1 else f"{args[0]}.T"
        right = args[1] if contracted[1][0] == 0 else f"{args[1]}.T"
        text = f"({left} @ {right})"
    elif not batch[0]:
        axes = (list(map(int, contracted[0])), list(map(int, contracted[1])))
        text = f"np.tensordot({args[0]}, {args[1]}, axes={axes})"
    else:
        groups = [tuple(tuple(map(int, side)) for side in pair) for pair in (contracted, batch)]
        text = f"{words.take('_dot')}({args[0]}, {args[1]}, {groups[0]}, {groups[1]})"
    same = a.dtype == b.dtype == op.outputs[0].dtype
    return text if same else f"{text}.astype(np.{op.outputs[0].dtype.name})"


@register("conv_general_dilated")
def _convolution(op: Operation, args: list[str], words: Words) -> str:
    p = op.params
    layouts = tuple(tuple(map(int, spec)) for spec in p["dimension_numbers"])
    numbers = (
        tuple(p["window_strides"]),
        tuple(map(tuple, p["padding"])),
        tuple(p["lhs_dilation"]),
        tuple(p["rhs_dilation"]),
        p["feature_group_count"],
        p["batch_group_count"],
        layouts,
    )
    words.take("_convolve")
    return f"_convolve({args[0]}, {args[1]}, {', '.join(map(str, numbers))})"


_WINDOWS = {
    "reduce_window_sum": ("np.sum", 0),
    "reduce_window_max": ("np.max", -np.inf),
    "reduce_window_min": ("np.min", np.inf),
}


@register(*_WINDOWS)
def _reduce_window(op: Operation, args: list[str], words: Words) -> str:
    p, (function, start) = op.params, _WINDOWS[op.kind]
    text = literal(Value((), op.inputs[0].dtype, np.asarray(start)), True)
    numbers = ", ".join(
        str(tuple(map(tuple, p[k])) if k == "padding" else tuple(p[k]))
        for k in ("window_dimensions", "window_strides", "padding", "base_dilation",
                  "window_dilation")
    )  # fmt: skip
    return f"{words.take('_reduce_window')}({args[0]}, {text}, {function}, {numbers})"


@register("sort")
def _sort(op: Operation, args: list[str], words: Words) -> str:
    axis, keys = op.params["dimension"], op.params["num_keys"]
    if len(args) == 1:
        return f"(np.sort({args[0]}, axis={axis}),)"
    return f"{words.take('_sort')}(({', '.join(args)}), {axis}, {keys})"


@register("top_k")
def _top_k(op: Operation, args: list[str], words: Words) -> str:
    axis = op.params.get("axis", len(op.inputs[0].shape) - 1)
    return f"{words.take('_top_k')}({args[0]}, {words.size(op.params['k'])}, {axis})"


@register("triangular_solve")
def _triangular_solve(op: Operation, args: list[str], words: Words) -> str:
    p = op.params
    flags = (p["left_side"], p["lower"], p["transpose_a"], p["unit_diagonal"])
    return f"{words.take('_triangular_solve')}({', '.join([*args, *map(str, flags)])})"


@register("cholesky")
def _cholesky(op: Operation, args: list[str], words: Words) -> str:
    return f"np.linalg.cholesky({args[0]})"


FORMS["lu"] = taken("_lu")
