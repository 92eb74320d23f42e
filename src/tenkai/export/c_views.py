"""Operations that only say where an element of their result stands in the operand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .c_text import TYPES, Place, flat, number, plus, times, unflat
from .ir import Operation
from .numpy_forms import gather_fill

View = Callable[[Operation, Sequence[Place], Any], Callable[[Sequence[str]], str]]
VIEWS: dict[str, View] = {}


def _view(*kinds: str) -> Callable[[View], View]:
    def add(form: View) -> View:
        VIEWS.update(dict.fromkeys(kinds, form))
        return form

    return add


@_view("broadcast_in_dim")
def _broadcast(op: Operation, places: Sequence[Place], words: Any) -> Any:
    dims, shape = op.params["broadcast_dimensions"], op.inputs[0].shape

    def at(index: Sequence[str]) -> str:
        pairs = zip(dims, shape, strict=True)
        inner = ["0" if str(n) == "1" else str(index[d]) for d, n in pairs]
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
            inner.append(place if d in gone else plus(place, str(next(offsets))))
        element = places[0].at(inner)
        if fill is None or not tests:
            return element
        return f"({' && '.join(tests)} ? {element} : {number(fill.constant, fill.dtype)})"

    return at
