"""How elementwise operations are written in NumPy, and what all forms share."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence

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
    return "np.bool_" if dtype.kind == "b" else f"np.{dtype.name}"


def literal(value: Value, plain: bool) -> str:
    """A known number; `plain` where NumPy gives it the type of the array beside it."""
    assert value.constant is not None
    number = value.constant.reshape(-1)[0]
    kind = value.dtype.name
    if value.dtype.kind == "b":
        return repr(bool(number)) if plain else f"np.bool_({bool(number)})"
    if value.dtype.kind in "iu":
        return repr(int(number)) if plain else f"np.{kind}({int(number)})"
    if np.isfinite(number):
        text = repr(float(str(number)))
    else:
        text = "np.nan" if np.isnan(number) else ("np.inf" if number > 0 else "-np.inf")
    text = f"({text})" if text.startswith("-") else text
    return text if plain else f"np.{kind}({text})"


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


def taken(name: str) -> Form:
    return lambda op, args, words: f"{words.take(name)}({', '.join(map(bare, args))})"


def _pairs(text: str) -> dict[str, str]:
    """``kind:word`` pairs; a word alone stands for both."""
    return {p.split(":")[0]: p.split(":")[-1] for p in text.split()}


_INFIX = _pairs(
    "add:+ add_any:+ sub:- mul:* eq:== ne:!= lt:< le:<= gt:> ge:>= and:& or:| xor:^ shift_left:<<"
)
_ONE = _pairs(
    "abs sign floor ceil exp exp2 expm1 log log1p tanh sinh cosh sin cos tan asin:arcsin "
    "acos:arccos atan:arctan asinh:arcsinh acosh:arccosh atanh:arctanh sqrt cbrt "
    "is_finite:isfinite square"
)
_TWO = _pairs("max:maximum min:minimum pow:power atan2:arctan2 rem:fmod nextafter")
_PATTERNS = {
    **{k: f"({{0}} {sign} {{1}})" for k, sign in _INFIX.items()},
    **{k: f"np.{name}({{0}})" for k, name in _ONE.items()},
    **{k: f"np.{name}({{0}}, {{1}})" for k, name in _TWO.items()},
    "neg": "(-{0})",
    "not": "(~{0})",
    "rsqrt": "(1 / np.sqrt({0}))",
    "logistic": "(1 / (1 + np.exp(-{0})))",
    "clamp": "np.minimum(np.maximum({1}, {0}), {2})",
}
FORMS.update({kind: _pattern(pattern) for kind, pattern in _PATTERNS.items()})
for _kind in ("erf", "erfc", "erf_inv", "lgamma", "digamma"):
    FORMS[_kind] = taken("_" + _kind)


def register(*kinds: str) -> Callable[[Form], Form]:
    def add(form: Form) -> Form:
        FORMS.update(dict.fromkeys(kinds, form))
        return form

    return add


@register("div")
def _div(op: Operation, args: list[str], words: Words) -> str:
    if op.outputs[0].dtype.kind == "f":
        return f"({args[0]} / {args[1]})"
    return f"{words.take('_quotient')}({args[0]}, {args[1]})"


@register("integer_pow")
def _integer_pow(op: Operation, args: list[str], words: Words) -> str:
    power = op.params["y"]
    return f"np.square({args[0]})" if power == 2 else f"({args[0]} ** {power})"


@register("round")
def _round(op: Operation, args: list[str], words: Words) -> str:
    even = int(op.params["rounding_method"]) == 1
    return f"np.rint({args[0]})" if even else f"{words.take('_round_away')}({args[0]})"


@register("select_n")
def _select(op: Operation, args: list[str], words: Words) -> str:
    which, *cases = args
    if op.inputs[0].dtype.kind == "b":
        return f"np.where({which}, {cases[1]}, {cases[0]})"
    text = cases[-1]
    for i in range(len(cases) - 2, -1, -1):
        text = f"np.where({which} == {i}, {cases[i]}, {text})"
    return text


@register("convert_element_type")
def _convert(op: Operation, args: list[str], words: Words) -> str:
    if op.outputs[0].dtype.kind == "b":
        return f"({args[0]} != 0)"
    return f"{args[0]}.astype(np.{op.outputs[0].dtype.name})"


@register("lt_to", "le_to")
def _total_order(op: Operation, args: list[str], words: Words) -> str:
    name, (a, b) = words.take("_below"), args
    before, after = f"{name}({a}, {b})", f"(~{name}({b}, {a}))"
    return before if op.kind == "lt_to" else after


@register("dim_as_value")
def _size_as_value(op: Operation, args: list[str], words: Words) -> str:
    return f"np.{op.outputs[0].dtype.name}({words.size(op.params['dim'])})"


ELEMENTWISE = frozenset(FORMS) - {"dim_as_value"}


def typed(op: Operation, index: int) -> bool:
    """Whether a known number needs its type said: no array of that type stands beside it."""
    value = op.inputs[index]
    others = [v for i, v in enumerate(op.inputs) if i != index]
    beside = any(not v.known and v.dtype == value.dtype for v in others)
    return op.kind not in ELEMENTWISE or not beside or not same_shape(value.shape, ())
