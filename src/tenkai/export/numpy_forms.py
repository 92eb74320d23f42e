"""How each operation is written in NumPy: one expression of its operands.

A form takes the operation, the texts of its operands and the `Words` of the file it stands in, and
returns an expression; with several outputs, one of a tuple.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import numpy_support
from .ir import Operation, Size, Value, same_shape, size_text

Form = Callable[[Operation, list[str], "Words"], str]
FORMS: dict[str, Form] = {}


class Words:
    """What forms ask of the file: the text of a size, and functions to take along."""

    def __init__(self, names: dict[str, str] | None = None):
        self.names = names or {}
        self.taken: dict[str, str] = {}  # function of `numpy_support`: its source

    def size(self, size: Size) -> str:
        return size_text(size, names=self.names)

    def shape(self, shape: Sequence[Size]) -> str:
        inner = ", ".join(self.size(n) for n in shape)
        return f"({inner},)" if len(shape) == 1 else f"({inner})"

    def take(self, name: str) -> str:
        if name not in self.taken:
            source = inspect.getsource(getattr(numpy_support, name))
            for other in re.findall(r"\b_[a-z]\w*(?=\()", source):
                if other != name and hasattr(numpy_support, other):
                    self.take(other)
            self.taken[name] = source
        return name


def dtype_text(dtype: np.dtype) -> str:
    return "np.bool_" if dtype == bool else f"np.{dtype.name}"


def literal(value: Value, plain: bool) -> str:
    """A known number; `plain` where NumPy gives it the type of the array beside it."""
    assert value.constant is not None
    number = value.constant.reshape(-1)[0]
    kind = value.dtype.name
    if value.dtype == bool:
        return repr(bool(number)) if plain else f"np.bool_({bool(number)})"
    if value.dtype.kind in "iu":
        return repr(int(number)) if plain else f"np.{kind}({int(number)})"
    if np.isfinite(number):
        text = repr(float(str(number)))
    else:
        text = "np.nan" if np.isnan(number) else ("np.inf" if number > 0 else "-np.inf")
    text = f"({text})" if text.startswith("-") else text
    return text if plain else f"np.{kind}({text})"


def compute(kind: str, inputs: list[Value], params: dict[str, Any], avals: Any) -> list[Any]:
    """What the form of `kind` gives for known inputs."""
    op = Operation(kind, inputs, [Value(s, t) for s, t in avals], params)
    words = Words()
    text = FORMS[kind](op, [f"_{i}" for i in range(len(inputs))], words)
    scope = {"np": np, **vars(numpy_support), **{f"_{i}": v.constant for i, v in enumerate(inputs)}}
    with np.errstate(all="ignore"):
        result = eval(text, scope)  # of our own forms and of numbers alone
    return list(result) if len(avals) > 1 else [result[0] if isinstance(result, tuple) else result]


def bare(text: str) -> str:
    """An expression without parentheses around the whole; a tuple keeps its own."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c in "([") - (c in ")]")
        if (depth == 0 and i < len(text) - 1) or (depth == 1 and c == ","):
            return text
    return text[1:-1] if text.startswith("(") else text


def _pattern(pattern: str) -> Form:
    def form(op: Operation, args: list[str], words: Words) -> str:
        if pattern.startswith("np."):
            args = [bare(a) for a in args]
        return pattern.format(*args)

    return form


def _taken(name: str) -> Form:
    return lambda op, args, words: f"{words.take(name)}({', '.join(map(bare, args))})"


FORMS.update(
    {
        kind: _pattern(pattern)
        for kind, pattern in {
            **{k: f"({{0}} {s} {{1}})" for k, s in zip(
                ["add", "add_any", "sub", "mul", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "shift_left"],
                ["+", "+", "-", "*", "==", "!=", "<", "<=", ">", ">=", "&", "|", "^", "<<"],
                strict=True)},
            **{k: f"np.{f}({{0}})" for k, f in zip(
                ["abs", "sign", "floor", "ceil", "exp", "exp2", "expm1", "log", "log1p", "tanh", "sinh", "cosh", "sin", "cos", "tan", "asin", "acos", "atan", "asinh", "acosh", "atanh", "sqrt", "cbrt", "is_finite", "square"],
                ["abs", "sign", "floor", "ceil", "exp", "exp2", "expm1", "log", "log1p", "tanh", "sinh", "cosh", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "sqrt", "cbrt", "isfinite", "square"],
                strict=True)},
            **{k: f"np.{f}({{0}}, {{1}})" for k, f in zip(
                ["max", "min", "pow", "atan2", "rem", "nextafter"],
                ["maximum", "minimum", "power", "arctan2", "fmod", "nextafter"],
                strict=True)},
            "neg": "(-{0})",
            "not": "(~{0})",
            "rsqrt": "(1 / np.sqrt({0}))",
            "logistic": "(1 / (1 + np.exp(-{0})))",
            "clamp": "np.minimum(np.maximum({1}, {0}), {2})",
        }.items()
    }
)  # fmt: skip
for _kind in ("erf", "erfc", "erf_inv", "lgamma", "digamma"):
    FORMS[_kind] = _taken("_" + _kind)


def _register(*kinds: str) -> Callable[[Form], Form]:
    def add(form: Form) -> Form:
        FORMS.update(dict.fromkeys(kinds, form))
        return form

    return add


@_register("div")
def _div(op: Operation, args: list[str], words: Words) -> str:
    if op.outputs[0].dtype.kind == "f":
        return f"({args[0]} / {args[1]})"
    return f"{words.take('_quotient')}({args[0]}, {args[1]})"


@_register("integer_pow")
def _integer_pow(op: Operation, args: list[str], words: Words) -> str:
    power = op.params["y"]
    return f"np.square({args[0]})" if power == 2 else f"({args[0]} ** {power})"


@_register("round")
def _round(op: Operation, args: list[str], words: Words) -> str:
    even = int(op.params["rounding_method"]) == 1
    return f"np.rint({args[0]})" if even else f"{words.take('_round_away')}({args[0]})"


@_register("select_n")
def _select(op: Operation, args: list[str], words: Words) -> str:
    which, *cases = args
    if op.inputs[0].dtype == bool:
        return f"np.where({which}, {cases[1]}, {cases[0]})"
    text = cases[-1]
    for i in range(len(cases) - 2, -1, -1):
        text = f"np.where({which} == {i}, {cases[i]}, {text})"
    return text


@_register("convert_element_type")
def _convert(op: Operation, args: list[str], words: Words) -> str:
    if op.outputs[0].dtype == bool:
        return f"({args[0]} != 0)"
    return f"{args[0]}.astype(np.{op.outputs[0].dtype.name})"


@_register("lt_to", "le_to")
def _total_order(op: Operation, args: list[str], words: Words) -> str:
    name, (a, b) = words.take("_below"), args
    before, after = f"{name}({a}, {b})", f"(~{name}({b}, {a}))"
    return before if op.kind == "lt_to" else after


@_register("dim_as_value")
def _size_as_value(op: Operation, args: list[str], words: Words) -> str:
    return f"np.{op.outputs[0].dtype.name}({words.size(op.params['dim'])})"


ELEMENTWISE = frozenset(FORMS) - {"dim_as_value"}


def aligned(shape: Sequence[Size], dims: Sequence[int], rank: int) -> str:
    """The index that gives an array axes of length one, so that NumPy broadcasts it."""
    lead = rank - len(shape)
    if list(dims) == list(range(lead, rank)):
        return ""
    axes = [":" if i in dims else "None" for i in range(rank)]
    return f"[{', '.join(axes)}]"


@_register("aligned")
def _aligned(op: Operation, args: list[str], words: Words) -> str:
    return args[0] + op.params["index"]


@_register("broadcast_in_dim")
def _broadcast(op: Operation, args: list[str], words: Words) -> str:
    value, shape = op.inputs[0], op.outputs[0].shape
    if value.shape == ():
        return f"np.full({words.shape(shape)}, {args[0]})"
    dims = op.params["broadcast_dimensions"]
    text = args[0] + aligned(value.shape, dims, len(shape))
    return f"np.broadcast_to({text}, {words.shape(shape)})"


@_register("reshape", "squeeze")
def _reshape(op: Operation, args: list[str], words: Words) -> str:
    if op.outputs[0].shape == ():
        return f"np.reshape({args[0]}, ())"
    return f"np.reshape({args[0]}, {words.shape(op.outputs[0].shape)})"


@_register("transpose")
def _transpose(op: Operation, args: list[str], words: Words) -> str:
    order = tuple(op.params["permutation"])
    return f"{args[0]}.T" if order == (1, 0) else f"np.transpose({args[0]}, {order})"


@_register("rev")
def _rev(op: Operation, args: list[str], words: Words) -> str:
    return f"np.flip({args[0]}, {tuple(op.params['dimensions'])})"


@_register("slice")
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


@_register("split")
def _split(op: Operation, args: list[str], words: Words) -> str:
    axis, start, parts = op.params["axis"], 0, []
    for size in op.params["sizes"]:
        parts.append(f"{args[0]}[{':, ' * axis}{words.size(start)}:{words.size(start + size)}]")
        start = start + size
    return f"({', '.join(parts)},)"


@_register("pad")
def _pad(op: Operation, args: list[str], words: Words) -> str:
    margins = ", ".join(f"({', '.join(map(words.size, m))})" for m in op.params["padding_config"])
    return f"{words.take('_pad')}({args[0]}, {args[1]}, [{margins}])"


@_register("concatenate")
def _concatenate(op: Operation, args: list[str], words: Words) -> str:
    axis = op.params["dimension"]
    return f"np.concatenate([{', '.join(args)}]{f', axis={axis}' if axis else ''})"


@_register("iota")
def _iota(op: Operation, args: list[str], words: Words) -> str:
    out, axis = op.outputs[0], op.params["dimension"]
    text = f"np.arange({words.size(out.shape[axis])}, dtype=np.{out.dtype.name})"
    if len(out.shape) == 1:
        return text
    axes = ", ".join(":" if i == axis else "None" for i in range(len(out.shape)))
    return f"np.broadcast_to({text}[{axes}], {words.shape(out.shape)})"


@_register("dynamic_slice")
def _dynamic_slice(op: Operation, args: list[str], words: Words) -> str:
    starts = ", ".join(args[1:])
    sizes = words.shape(op.params["slice_sizes"])
    return f"{words.take('_dynamic_slice')}({args[0]}, [{starts}], {sizes})"


@_register("dynamic_update_slice")
def _dynamic_update_slice(op: Operation, args: list[str], words: Words) -> str:
    return f"{words.take('_dynamic_update_slice')}({args[0]}, {args[1]}, [{', '.join(args[2:])}])"


@_register("gather")
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
            limits = None if dtype == bool else np.iinfo(dtype)
            fill = True if limits is None else limits.min if dtype.kind == "i" else limits.max
    return Value((), dtype, np.asarray(fill, dtype))


_COMBINE = {
    "scatter": "None",
    "scatter-add": "np.add",
    "scatter-mul": "np.multiply",
    "scatter-min": "np.minimum",
    "scatter-max": "np.maximum",
}


@_register(*_COMBINE)
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


@_register(*_REDUCTIONS)
def _reduce(op: Operation, args: list[str], words: Words) -> str:
    value = op.inputs[0]
    axes = _axes(op.params["axes"], len(value.shape))
    whole = op.kind in ("reduce_sum", "reduce_prod") and value.dtype.kind in "iu"
    dtype = f", dtype=np.{value.dtype.name}" if whole else ""
    return f"np.{_REDUCTIONS[op.kind]}({args[0]}{axes}{dtype})"


@_register("argmax", "argmin")
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


@_register(*_CUMULATIVE)
def _cumulative(op: Operation, args: list[str], words: Words) -> str:
    axis, function = op.params["axis"], f"np.{_CUMULATIVE[op.kind]}.accumulate"
    if not op.params["reverse"]:
        return f"{function}({args[0]}, axis={axis})"
    return f"np.flip({function}(np.flip({args[0]}, {axis}), axis={axis}), {axis})"


@_register("dot_general")
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


@_register("conv_general_dilated")
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


@_register(*_WINDOWS)
def _reduce_window(op: Operation, args: list[str], words: Words) -> str:
    p, (function, start) = op.params, _WINDOWS[op.kind]
    text = literal(Value((), op.inputs[0].dtype, np.asarray(start)), True)
    numbers = ", ".join(
        str(tuple(map(tuple, p[k])) if k == "padding" else tuple(p[k]))
        for k in ("window_dimensions", "window_strides", "padding", "base_dilation",
                  "window_dilation")
    )  # fmt: skip
    return f"{words.take('_reduce_window')}({args[0]}, {text}, {function}, {numbers})"


@_register("sort")
def _sort(op: Operation, args: list[str], words: Words) -> str:
    axis, keys = op.params["dimension"], op.params["num_keys"]
    if len(args) == 1:
        return f"(np.sort({args[0]}, axis={axis}),)"
    return f"{words.take('_sort')}(({', '.join(args)}), {axis}, {keys})"


@_register("top_k")
def _top_k(op: Operation, args: list[str], words: Words) -> str:
    axis = op.params.get("axis", len(op.inputs[0].shape) - 1)
    return f"{words.take('_top_k')}({args[0]}, {words.size(op.params['k'])}, {axis})"


@_register("triangular_solve")
def _triangular_solve(op: Operation, args: list[str], words: Words) -> str:
    p = op.params
    flags = (p["left_side"], p["lower"], p["transpose_a"], p["unit_diagonal"])
    return f"{words.take('_triangular_solve')}({', '.join([*args, *map(str, flags)])})"


@_register("cholesky")
def _cholesky(op: Operation, args: list[str], words: Words) -> str:
    return f"np.linalg.cholesky({args[0]})"


FORMS["lu"] = _taken("_lu")


def typed(op: Operation, index: int) -> bool:
    """Whether a known number needs its type said: no array of that type stands beside it."""
    value = op.inputs[index]
    others = [v for i, v in enumerate(op.inputs) if i != index]
    beside = any(not v.known and v.dtype == value.dtype for v in others)
    return op.kind not in ELEMENTWISE or not beside or not same_shape(value.shape, ())
