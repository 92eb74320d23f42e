"""Operations that are written as others: stacking, its inverse, repetition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .ir import Value
from .simplify import Avals, Builder


def _stack(b: Builder, inputs: list[Value], p: Any, avals: Avals, source: str) -> list[Value]:
    axis, (shape, dtype) = p["axis"], avals[0]
    thin = (*shape[:axis], 1, *shape[axis + 1 :])
    sizes = {"new_sizes": thin, "dimensions": None}
    parts = [b.emit("reshape", [v], sizes, [(thin, dtype)], source=source)[0] for v in inputs]
    return b.emit("concatenate", parts, {"dimension": axis}, avals, source=source)


def _unstack(b: Builder, inputs: list[Value], p: Any, avals: Avals, source: str) -> list[Value]:
    (value,), axis = inputs, p["axis"]
    thin = (*value.shape[:axis], 1, *value.shape[axis + 1 :])
    outputs = []
    for i, (shape, dtype) in enumerate(avals):
        start = [i if a == axis else 0 for a in range(len(thin))]
        limit = [i + 1 if a == axis else n for a, n in enumerate(value.shape)]
        cut = {"start_indices": tuple(start), "limit_indices": tuple(limit), "strides": None}
        (part,) = b.emit("slice", [value], cut, [(thin, dtype)], source=source)
        sizes = {"new_sizes": shape, "dimensions": None}
        outputs += b.emit("reshape", [part], sizes, [(shape, dtype)], source=source)
    return outputs


def _tile(b: Builder, inputs: list[Value], p: Any, avals: Avals, source: str) -> list[Value]:
    value, whole = inputs[0], inputs[0].shape
    for axis, count in enumerate(p["reps"]):
        whole = (*whole[:axis], whole[axis] * count, *whole[axis + 1 :])
        if count != 1:
            (value,) = b.emit("concatenate", [value] * count, {"dimension": axis},
                              [(whole, value.dtype)], source=source)  # fmt: skip
    return [value]


PIECES: dict[str, Callable[..., list[Value]]] = {
    "stack": _stack,
    "unstack": _unstack,
    "tile": _tile,
}
