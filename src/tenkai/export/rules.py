"""Operations that are simpler than they look: each rule gives the value instead, or None."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .ir import Value, same_shape

Avals = Sequence[tuple[tuple, np.dtype]]


def _is(value: Value, number: float) -> bool:
    return value.constant is not None and value.uniform and value.constant.flat[0] == number


def _unchanged(b: Any, inputs: list[Value], p: Any, avals: Avals, s: str) -> Value | None:
    """Reshapes, casts and slices that change nothing."""
    (shape, dtype), value = avals[0], inputs[0]
    return value if value.dtype == dtype and same_shape(value.shape, shape) else None


def _plain_transpose(b: Any, inputs: list[Value], p: Any, avals: Avals, s: str) -> Value | None:
    order = tuple(p["permutation"])
    return inputs[0] if order == tuple(range(len(order))) else None


def _neutral(numbers: tuple[float | None, float | None]) -> Callable:
    """``number (op) x`` and ``x (op) number`` are ``x``."""

    def rule(b: Any, inputs: list[Value], p: Any, avals: Avals, s: str) -> Value | None:
        for i, number in enumerate(numbers):
            other = inputs[1 - i]
            if number is not None and _is(inputs[i], number):
                return other if same_shape(other.shape, avals[0][0]) else None
        return None

    return rule


def _known_choice(b: Any, inputs: list[Value], p: Any, avals: Avals, s: str) -> Value | None:
    which, *cases = inputs
    if which.constant is None or not which.uniform:
        return None
    chosen = cases[int(which.constant.flat[0])]
    return chosen if same_shape(chosen.shape, avals[0][0]) else None


def _static_gather(b: Any, inputs: list[Value], p: Any, avals: Avals, s: str) -> Value | None:
    """A gather of one known place is a slice."""
    x, starts = inputs
    numbers = p["dimension_numbers"]
    if starts.constant is None or starts.constant.ndim != 1 or numbers.operand_batching_dims:
        return None
    begin = [0] * len(x.shape)
    for axis, start in zip(numbers.start_index_map, starts.constant, strict=True):
        begin[axis] = int(start)
    sizes = p["slice_sizes"]
    for n, first, size in zip(x.shape, begin, sizes, strict=True):
        inside = first >= 0 and (not isinstance(n, int) or first + size <= n)
        if not inside:
            return None
    limit = [first + size for first, size in zip(begin, sizes, strict=True)]
    cut = {"start_indices": tuple(begin), "limit_indices": tuple(limit), "strides": None}
    part = b.emit("slice", [x], cut, [(tuple(sizes), x.dtype)], source=s)[0]
    return b.emit(
        "reshape", [part], {"new_sizes": avals[0][0], "dimensions": None}, avals, source=s
    )[0]


def _static_slice(b: Any, inputs: list[Value], p: Any, avals: Avals, s: str) -> Value | None:
    """A dynamic slice that begins at a known place, moved inside, is a slice."""
    x, *starts = inputs
    begin: list[int] = []
    for n, size, start in zip(x.shape, p["slice_sizes"], starts, strict=True):
        if start.constant is None:
            return None
        first = max(int(start.known_number()), 0)
        if isinstance(n, int) and isinstance(size, int):
            begin.append(min(first, n - size))
        elif first == 0:
            begin.append(0)
        else:
            return None
    limit = tuple(a + size for a, size in zip(begin, p["slice_sizes"], strict=True))
    cut = {"start_indices": tuple(begin), "limit_indices": limit, "strides": None}
    return b.emit("slice", [x], cut, avals, source=s)[0]


def _sum_of_products(b: Any, inputs: list[Value], p: Any, avals: Avals, s: str) -> Value | None:
    """``sum(w * x[None, :], axis=-1)`` is a matrix product."""
    op = None if inputs[0].known else b.maker(inputs[0])
    if op is None or op.kind != "mul" or inputs[0].dtype.kind != "f":
        return None
    rank = len(inputs[0].shape)
    sides = [_spread(b, v, rank) for v in op.inputs]
    first, second = sides
    if first is None or second is None:
        return None
    (left, left_axes), (right, right_axes) = first, second
    summed, a, c = set(p["axes"]), set(left_axes), set(right_axes)
    batch = sorted((a & c) - summed)
    if not summed <= (a & c) or (a == c) or (a | c) != set(range(rank)):
        return None
    places = [
        tuple(axes.index(i) for i in group)
        for group in (sorted(summed), batch)
        for axes in (left_axes, right_axes)
    ]
    order = [*batch, *sorted(a - c), *sorted(c - a)]
    sizes = tuple(inputs[0].shape[i] for i in order)
    numbers = ((places[0], places[1]), (places[2], places[3]))
    product = b.emit(
        "dot_general",
        [left, right],
        {"dimension_numbers": numbers},
        [(sizes, avals[0][1])],
        source=s,
    )
    kept = [i for i in range(rank) if i not in summed]
    back = tuple(order.index(i) for i in kept)
    return b.emit("transpose", product, {"permutation": back}, avals, source=s)[0]


def _spread(b: Any, value: Value, rank: int) -> tuple[Value, list[int]] | None:
    """An operand before it was broadcast, and the axes that it has of the product."""
    op = None if value.known else b.maker(value)
    if op is not None and op.kind == "broadcast_in_dim":
        inner, dims = op.inputs[0], list(op.params["broadcast_dimensions"])
        if all(str(n) == str(value.shape[d]) for n, d in zip(inner.shape, dims, strict=True)):
            return inner, dims
        return None
    return (value, list(range(rank))) if len(value.shape) == rank else None


RULES: dict[str, tuple[Callable, ...]] = {
    **dict.fromkeys(
        ("convert_element_type", "reshape", "squeeze", "slice", "broadcast_in_dim"),
        (_unchanged,),
    ),
    "transpose": (_plain_transpose,),
    "mul": (_neutral((1, 1)),),
    "add": (_neutral((0, 0)),),
    "sub": (_neutral((None, 0)),),
    "div": (_neutral((None, 1)),),
    "select_n": (_known_choice,),
    "gather": (_static_gather,),
    "dynamic_slice": (_static_slice,),
    "reduce_sum": (_sum_of_products,),
}
