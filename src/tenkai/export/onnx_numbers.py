"""Functions of numbers in ONNX.

ONNX lacks some, and its runtime has others in float32 only (`tan`, `sinh`, ...): they are written
out of `Exp`, `Log`, `Sqrt`, `Sin` and `Cos`, which exist in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .ir import Operation, Value
from .onnx_table import FORMS, number, plain, register

_SAME = {
    "add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "neg": "Neg",
    "max": "Max", "min": "Min", "abs": "Abs", "sign": "Sign", "floor": "Floor", "ceil": "Ceil",
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh", "logistic": "Sigmoid",
    "sin": "Sin", "cos": "Cos", "pow": "Pow", "erf": "Erf", "eq": "Equal", "lt": "Less",
    "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "stop_gradient": "Identity",
    "real": "Identity",
}  # fmt: skip
FORMS.update({kind: plain(name) for kind, name in _SAME.items()})


@register("ne")
def _ne(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Not", [w.node("Equal", names)])


@register("and", "or", "xor", "not")
def _logic(w: Any, op: Operation, names: list[str]) -> str:
    kind = op.kind.capitalize()
    return w.node(kind if op.inputs[0].dtype == bool else f"Bitwise{kind}", names)


@register("rsqrt")
def _rsqrt(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Reciprocal", [w.node("Sqrt", names)])


@register("square")
def _square(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Mul", names * 2)


@register("integer_pow")
def _integer_pow(w: Any, op: Operation, names: list[str]) -> str:
    power, value = int(op.params["y"]), names[0]
    made, rest = None, abs(power)
    while rest:  # by squaring: Pow of a runtime loses digits
        if rest % 2:
            made = value if made is None else w.node("Mul", [made, value])
        rest //= 2
        value = w.node("Mul", [value, value]) if rest else value
    made = made or number(w, op.inputs[0], 1)
    return made if power >= 0 else w.node("Reciprocal", [made])


@register("rem")
def _rem(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Mod", names, fmod=1)


@register("clamp")
def _clamp(w: Any, op: Operation, names: list[str]) -> str:
    low, value, high = names
    return w.node("Min", [w.node("Max", [value, low]), high])


@register("round")
def _round(w: Any, op: Operation, names: list[str]) -> str:
    if int(op.params["rounding_method"]) == 1:
        return w.node("Round", names)
    half = w.node("Add", [w.node("Abs", names), number(w, op.inputs[0], 0.5)])
    return w.node("Mul", [w.node("Sign", names), w.node("Floor", [half])])


@register("is_finite")
def _is_finite(w: Any, op: Operation, names: list[str]) -> str:
    size = w.node("Abs", names)
    return w.node("Less", [size, number(w, op.inputs[0], np.inf)])


@register("exp2")
def _exp2(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Exp", [w.node("Mul", [names[0], number(w, op.inputs[0], np.log(2))])])


@register("log1p")
def _log1p(w: Any, op: Operation, names: list[str]) -> str:
    return _log_of_one_more(w, op.inputs[0], names[0])


def _log_of_one_more(w: Any, value: Value, x: str) -> str:
    """``log(u) x / (u - 1)`` with ``u = 1 + x``: the rounding of u cancels (Kahan)."""
    one = number(w, value, 1)
    u = w.node("Add", [x, one])
    same = w.node("Equal", [u, one])
    below = w.node("Where", [same, one, w.node("Sub", [u, one])])
    ratio = w.node("Div", [w.node("Mul", [w.node("Log", [u]), x]), below])
    # An infinite u has no difference that tells anything.
    large = w.node("Greater", [u, number(w, value, 1e15)])
    return w.node("Where", [large, w.node("Log", [u]), w.node("Where", [same, x, ratio])])


@register("expm1")
def _expm1(w: Any, op: Operation, names: list[str]) -> str:
    """``2 tanh(x / 2) / (1 - tanh(x / 2))`` below one, else ``exp(x) - 1``."""
    value, x = op.inputs[0], names[0]
    one = number(w, value, 1)
    t = w.node("Tanh", [w.node("Mul", [x, number(w, value, 0.5)])])
    small = w.node("Div", [w.node("Add", [t, t]), w.node("Sub", [one, t])])
    large = w.node("Sub", [w.node("Exp", [x]), one])
    near = w.node("Less", [w.node("Abs", [x]), one])
    return w.node("Where", [near, small, large])


@register("sinh", "cosh")
def _hyperbolic(w: Any, op: Operation, names: list[str]) -> str:
    value, x, half = op.inputs[0], names[0], number(w, op.inputs[0], 0.5)
    up, down = w.node("Exp", [x]), w.node("Exp", [w.node("Neg", [x])])
    if op.kind == "cosh":
        return w.node("Mul", [w.node("Add", [up, down]), half])
    far = w.node("Mul", [w.node("Sub", [up, down]), half])
    t = w.node("Tanh", [x])  # near zero: t / sqrt(1 - t^2)
    root = w.node("Sqrt", [w.node("Sub", [number(w, value, 1), w.node("Mul", [t, t])])])
    near = w.node("Less", [w.node("Abs", [x]), number(w, value, 0.5)])
    return w.node("Where", [near, w.node("Div", [t, root]), far])


@register("asinh")
def _asinh(w: Any, op: Operation, names: list[str]) -> str:
    """``sign(x) log1p(a + a^2 / (1 + sqrt(1 + a^2)))`` with ``a = |x|``."""
    value = op.inputs[0]
    one, a = number(w, value, 1), w.node("Abs", names)
    square = w.node("Mul", [a, a])
    root = w.node("Add", [one, w.node("Sqrt", [w.node("Add", [one, square])])])
    inner = w.node("Add", [a, w.node("Div", [square, root])])
    return w.node("Mul", [w.node("Sign", names), _log_of_one_more(w, value, inner)])


@register("tan")
def _tan(w: Any, op: Operation, names: list[str]) -> str:
    return w.node("Div", [w.node("Sin", names), w.node("Cos", names)])


@register("cbrt")
def _cbrt(w: Any, op: Operation, names: list[str]) -> str:
    root = w.node("Pow", [w.node("Abs", names), number(w, op.inputs[0], 1 / 3)])
    return w.node("Mul", [w.node("Sign", names), root])
