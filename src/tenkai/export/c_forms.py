"""How each operation is written in C99.

Three tables: `ELEMENTS` (an expression of one element of every operand), `VIEWS` (an operation that
only says where an element of its result stands in the operand) and `STATEMENTS` (loops that fill an
array). Together they are `FORMS`, with the same kinds as the table of NumPy forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .c_text import TYPES, Place, flat, number, plus, times, unflat
from .ir import Operation
from .numpy_forms import gather_fill

Element = Callable[[Operation, Sequence[str], Any], str]
View = Callable[[Operation, Sequence[Place], Any], Callable[[Sequence[str]], str]]

ELEMENTS: dict[str, Element] = {}
VIEWS: dict[str, View] = {}


def _pattern(pattern: str) -> Element:
    return lambda op, args, words: pattern.format(*args)


def _math(name: str) -> Element:
    def form(op: Operation, args: Sequence[str], words: Any) -> str:
        return f"{words.math(name, op.outputs[0].dtype)}({', '.join(map(bare, args))})"

    return form


def _support(name: str) -> Element:
    def form(op: Operation, args: Sequence[str], words: Any) -> str:
        return f"{words.take(name, op.inputs[0].dtype)}({', '.join(map(bare, args))})"

    return form


def bare(text: str) -> str:
    """An expression without parentheses around the whole."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c in "([") - (c in ")]")
        if depth == 0 and i < len(text) - 1:
            return text
    return text[1:-1] if text.startswith("(") else text


_SIGNS = [
    "add:+",
    "add_any:+",
    "sub:-",
    "mul:*",
    "eq:==",
    "ne:!=",
    "lt:<",
    "le:<=",
    "gt:>",
    "ge:>=",
]
_SAME_NAME = (
    "floor ceil exp exp2 expm1 log log1p sinh cosh sin cos tan asin acos atan asinh acosh "
    "atanh sqrt cbrt erf erfc lgamma atan2 pow nextafter"
)
ELEMENTS.update({k: _pattern(f"({{0}} {s} {{1}})") for k, s in (p.split(":") for p in _SIGNS)})
ELEMENTS.update({k: _math(k) for k in _SAME_NAME.split()})
ELEMENTS.update({k: _support(k) for k in ("logistic", "digamma", "erf_inv", "sign")})
ELEMENTS.update({"neg": _pattern("(-{0})")})


def _element(*kinds: str) -> Callable[[Element], Element]:
    def add(form: Element) -> Element:
        ELEMENTS.update(dict.fromkeys(kinds, form))
        return form

    return add


@_element("tanh")
def _tanh(op: Operation, args: Sequence[str], words: Any) -> str:
    return tanh_core(op, [tanh_limit(op, args, words)], words)


def tanh_limit(op: Operation, args: Sequence[str], words: Any) -> str:
    """The first half of `tanh`."""
    dtype = op.outputs[0].dtype
    return f"{words.take(f'tanh_limit_{TYPES[dtype.name]}', dtype)}({bare(args[0])})"


def tanh_core(op: Operation, args: Sequence[str], words: Any) -> str:
    """The second half of `tanh`, in a loop of its own where there is one."""
    dtype = op.outputs[0].dtype
    return f"{words.take(f'tanh_core_{TYPES[dtype.name]}', dtype)}({bare(args[0])})"


HALVES: dict[str, Element] = {"tanh_limit": tanh_limit, "tanh_core": tanh_core}


@_element("and", "or", "xor", "shift_left")
def _bits(op: Operation, args: Sequence[str], words: Any) -> str:
    sign = {"and": "&", "or": "|", "xor": "^", "shift_left": "<<"}[op.kind]
    return f"({args[0]} {sign} {args[1]})"


@_element("not")
def _not(op: Operation, args: Sequence[str], words: Any) -> str:
    return f"(!{args[0]})" if op.outputs[0].dtype == bool else f"(~{args[0]})"


@_element("abs")
def _abs(op: Operation, args: Sequence[str], words: Any) -> str:
    dtype = op.outputs[0].dtype
    if dtype.kind == "f":
        return f"{words.math('fabs', dtype)}({bare(args[0])})"
    return args[0] if dtype.kind == "u" else f"({args[0]} < 0 ? -{args[0]} : {args[0]})"


@_element("div", "rem")
def _div(op: Operation, args: Sequence[str], words: Any) -> str:
    dtype = op.outputs[0].dtype
    if dtype.kind == "f":
        both = ", ".join(map(bare, args))
        return (
            f"({args[0]} / {args[1]})"
            if op.kind == "div"
            else f"{words.math('fmod', dtype)}({both})"
        )
    name = words.take("divide" if op.kind == "div" else "remainder", dtype)
    return f"{name}({bare(args[0])}, {bare(args[1])})"


@_element("max", "min")
def _extreme(op: Operation, args: Sequence[str], words: Any) -> str:
    """Beside a known number one comparison is enough: whatever is not a number stays."""
    sign = "<" if op.kind == "max" else ">"
    for i, value in enumerate(op.inputs):
        other, known = args[1 - i], args[i]
        if value.uniform and value.constant is not None and not np.isnan(value.constant.flat[0]):
            if other.replace("_", "").isalnum():
                return f"({other} {sign} {known} ? {known} : {other})"
    whole = {"max": "greater", "min": "lesser"}[op.kind]
    name = op.kind if op.outputs[0].dtype.kind == "f" else whole
    return f"{words.take(name, op.outputs[0].dtype)}({bare(args[0])}, {bare(args[1])})"


@_element("lt_to", "le_to")
def _total_order(op: Operation, args: Sequence[str], words: Any) -> str:
    name = words.take("below" if op.inputs[0].dtype.kind == "f" else "lower", op.inputs[0].dtype)
    before = f"{name}({bare(args[0])}, {bare(args[1])})"
    after = f"!{name}({bare(args[1])}, {bare(args[0])})"
    return before if op.kind == "lt_to" else f"({after})"


@_element("integer_pow", "square")
def _integer_pow(op: Operation, args: Sequence[str], words: Any) -> str:
    exponent = op.params["y"] if op.kind == "integer_pow" else 2
    if exponent == 0:
        return number(1, op.outputs[0].dtype)
    return f"{words.power(exponent, op.outputs[0].dtype)}({bare(args[0])})"


@_element("rsqrt")
def _rsqrt(op: Operation, args: Sequence[str], words: Any) -> str:
    dtype = op.outputs[0].dtype
    return f"({number(1, dtype)} / {words.math('sqrt', dtype)}({bare(args[0])}))"


@_element("round")
def _round(op: Operation, args: Sequence[str], words: Any) -> str:
    even = int(op.params["rounding_method"]) == 1
    return (_support("round_even") if even else _math("round"))(op, args, words)


@_element("is_finite")
def _is_finite(op: Operation, args: Sequence[str], words: Any) -> str:
    return f"(isfinite({bare(args[0])}) != 0)"


@_element("select_n")
def _select(op: Operation, args: Sequence[str], words: Any) -> str:
    which, *cases = args
    if op.inputs[0].dtype == bool:
        return f"({which} ? {cases[1]} : {cases[0]})"
    text = cases[-1]
    for i in range(len(cases) - 2, -1, -1):
        text = f"({which} == {i} ? {cases[i]} : {text})"
    return text


@_element("clamp")
def _clamp(op: Operation, args: Sequence[str], words: Any) -> str:
    low, x, high = args
    dtype = op.outputs[0].dtype
    names = ("max", "min") if dtype.kind == "f" else ("greater", "lesser")
    most = f"{words.take(names[0], dtype)}({bare(x)}, {bare(low)})"
    return f"{words.take(names[1], dtype)}({most}, {bare(high)})"


@_element("convert_element_type")
def _convert(op: Operation, args: Sequence[str], words: Any) -> str:
    dtype = op.outputs[0].dtype
    if dtype == bool:
        return f"({args[0]} != 0)"
    return f"({TYPES[dtype.name]}){args[0]}"


def _view(*kinds: str) -> Callable[[View], View]:
    def add(form: View) -> View:
        VIEWS.update(dict.fromkeys(kinds, form))
        return form

    return add


@_view("broadcast_in_dim")
def _broadcast(op: Operation, places: Sequence[Place], words: Any) -> Any:
    dims, shape = op.params["broadcast_dimensions"], op.inputs[0].shape

    def at(index: Sequence[str]) -> str:
        inner = ["0" if str(n) == "1" else index[d] for d, n in zip(dims, shape, strict=True)]
        return places[0].at(inner)

    return at


@_view("reshape", "squeeze")
def _reshape(op: Operation, places: Sequence[Place], words: Any) -> Any:
    inner, outer = op.inputs[0].shape, op.outputs[0].shape
    kept = [i for i, n in enumerate(inner) if str(n) != "1"]
    shown = [i for i, n in enumerate(outer) if str(n) != "1"]
    same = [str(inner[i]) for i in kept] == [str(outer[i]) for i in shown]

    def at(index: Sequence[str]) -> str:
        if same:
            places_of = dict(zip(kept, shown, strict=True))
            return places[0].at(
                [index[places_of[i]] if i in places_of else "0" for i in range(len(inner))]
            )
        return places[0].at(unflat(flat(index, outer, words.names), inner, words.names))

    return at


@_view("transpose")
def _transpose(op: Operation, places: Sequence[Place], words: Any) -> Any:
    order = [int(i) for i in np.argsort(op.params["permutation"])]
    return lambda index: places[0].at([index[i] for i in order])


@_view("rev")
def _rev(op: Operation, places: Sequence[Place], words: Any) -> Any:
    shape, turned = op.inputs[0].shape, op.params["dimensions"]

    def at(index: Sequence[str]) -> str:
        ends = [f"{words.size(n)} - 1" if not isinstance(n, int) else str(n - 1) for n in shape]
        back = [
            (str(int(e) - int(i)) if e.isdigit() and i.isdigit() else f"({e} - {i})")
            for e, i in zip(ends, index, strict=True)
        ]
        return places[0].at([back[k] if k in turned else i for k, i in enumerate(index)])

    return at


@_view("slice")
def _slice(op: Operation, places: Sequence[Place], words: Any) -> Any:
    starts = op.params["start_indices"]
    steps = op.params["strides"] or (1,) * len(starts)

    def at(index: Sequence[str]) -> str:
        return places[0].at(
            [
                plus(words.size(a), times(i, str(s)))
                for i, a, s in zip(index, starts, steps, strict=True)
            ]
        )

    return at


@_view("iota")
def _iota(op: Operation, places: Sequence[Place], words: Any) -> Any:
    axis, dtype = op.params["dimension"], op.outputs[0].dtype
    return lambda index: f"({TYPES[dtype.name]})({index[axis]})"


@_view("dim_as_value")
def _size_as_value(op: Operation, places: Sequence[Place], words: Any) -> Any:
    text = words.size(op.params["dim"])
    return lambda index: f"({TYPES[op.outputs[0].dtype.name]})({text})"


@_view("pad")
def _pad(op: Operation, places: Sequence[Place], words: Any) -> Any:
    shape, margins = op.inputs[0].shape, op.params["padding_config"]

    def at(index: Sequence[str]) -> str:
        inner, tests = [], []
        for i, n, (before, after, between) in zip(index, shape, margins, strict=True):
            if not (before or after or between):
                inner.append(i)
                continue
            moved = plus(i, str(-before)) if before <= 0 else f"({i} - {before})"
            if between:
                moved = f"({moved})"
                tests.append(f"{moved} % {between + 1} == 0")
                moved = f"({moved} / {between + 1})"
            if before > 0 or after > 0:  # before the array the difference wraps round: greater
                tests.append(f"{moved} < {words.size(n)}")
            inner.append(moved)
        element = places[0].at(inner)
        return f"({' && '.join(tests)} ? {element} : {places[1].at(())})" if tests else element

    return at


@_view("dynamic_slice")
def _dynamic_slice(op: Operation, places: Sequence[Place], words: Any) -> Any:
    shape, sizes = op.inputs[0].shape, op.params["slice_sizes"]

    def at(index: Sequence[str]) -> str:
        inner = []
        for i, n, size, start in zip(index, shape, sizes, places[1:], strict=True):
            first = "0" if str(n) == str(size) else words.start(start.at(()), n, size)
            inner.append(plus(first, i))
        return places[0].at(inner)

    return at


@_view("gather")
def _gather(op: Operation, places: Sequence[Place], words: Any) -> Any:
    n, shape, sizes = op.params["dimension_numbers"], op.inputs[0].shape, op.params["slice_sizes"]
    gone = {*n.collapsed_slice_dims, *n.operand_batching_dims}
    rank = len(op.outputs[0].shape)
    batch_axes = [i for i in range(rank) if i not in n.offset_dims]
    fill = gather_fill(op)

    def at(index: Sequence[str]) -> str:
        batch = [index[i] for i in batch_axes]
        offsets = iter([index[i] for i in n.offset_dims])
        inner, tests = [], []
        for d, size in enumerate(shape):
            place = "0"
            if d in n.operand_batching_dims:
                which = n.start_indices_batching_dims[n.operand_batching_dims.index(d)]
                place = batch[which]
            if d in n.start_index_map and str(size) != str(sizes[d]):
                start = places[1].at([*batch, str(n.start_index_map.index(d))])
                place = words.start(start, size, sizes[d])
                tests.append(words.inside(start, size, sizes[d]))
            elif d in n.start_index_map and fill is not None:
                start = places[1].at([*batch, str(n.start_index_map.index(d))])
                tests.append(words.inside(start, size, sizes[d]))
            inner.append(place if d in gone else plus(place, next(offsets)))
        element = places[0].at(inner)
        if fill is None or not tests:
            return element
        return f"({' && '.join(tests)} ? {element} : {number(fill.constant, fill.dtype)})"

    return at
