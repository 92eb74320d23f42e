"""The table of forms: how each operation is written with those of ONNX, ``(writer, op, names)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError
from .ir import Operation, Value

Form = Callable[[Any, Operation, list[str]], "str | list[str]"]
FORMS: dict[str, Form] = {}


def register(*kinds: str) -> Callable[[Form], Form]:
    """Adds the form of some kinds."""

    def add(form: Form) -> Form:
        FORMS.update(dict.fromkeys(kinds, form))
        return form

    return add


def plain(kind: str) -> Form:
    """One operation of ONNX with the same operands."""
    return lambda w, op, names: w.node(kind, names)


def number(w: Any, value: Value, one: float) -> str:
    """A known number of the type of `value`."""
    return w.constant(np.asarray(one, w.type(value.dtype)))


def missing(what: str) -> InputError:
    """What ONNX cannot do."""
    return InputError(
        "export to ONNX", expected="operations that ONNX has", got=what,
        do="export as NumPy, C or StableHLO",
    )  # fmt: skip
