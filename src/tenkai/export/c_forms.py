"""How each operation is written in C99.

Three tables: `ELEMENTS` here (an expression of one element of every operand), `VIEWS` (an operation
that only says where an element of its result stands in the operand) and `STATEMENTS` (loops that
fill an array). Together they have the kinds of the table of NumPy forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .c_text import TYPES, number
from .ir import Operation

Element = Callable[[Operation, Sequence[str], Any], str]

ELEMENTS: dict[str, Element] = {}


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
    return f"(!{args[0]})" if op.outputs[0].dtype.kind == "b" else f"(~{args[0]})"


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
        number_known = value.uniform and not np.isnan(value.known_number())
        if number_known and other.replace("_", "").isalnum():
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
    if op.inputs[0].dtype.kind == "b":
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
    if dtype.kind == "b":
        return f"({args[0]} != 0)"
    return f"({TYPES[dtype.name]}){args[0]}"
