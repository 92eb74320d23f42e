"""Operations that fill an array by loops of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .c_text import TYPES, Loops, Place, number, plus, scalar, wrapped
from .ir import Operation, Value, constant, same_shape
from .numpy_forms import scatter_sizes

Statement = Callable[[Any, Operation], list[str]]
STATEMENTS: dict[str, Statement] = {}


def register(*kinds: str) -> Callable[[Statement], Statement]:
    def add(form: Statement) -> Statement:
        STATEMENTS.update(dict.fromkeys(kinds, form))
        return form

    return add


def extreme(w: Any, name: str, dtype: np.dtype) -> str:
    """The function for "max" or "min" of that type; any other name stays."""
    whole = {"max": "greater", "min": "lesser"}
    return w.words.take(name if dtype.kind == "f" else whole.get(name, name), dtype)


def declared(w: Any, value: Value, name: str) -> Place:
    """A number of its own as ``T name``, or memory for an array."""
    if value.shape == ():
        place = Place(lambda index, text=w.shared.names.new(name): text)
        w.shared.places[id(value)] = place
        return place
    return w.store(value)


@register("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_and", "reduce_or")
def _reduce(w: Any, op: Operation) -> list[str]:
    value, out = op.inputs[0], op.outputs[0]
    place, axes = w.place(value), sorted(op.params["axes"])
    outer = Loops(out.shape, w.words.names)
    inner = Loops([value.shape[a] for a in axes], w.words.names, "stuvwxyz")
    index, o, s = [], iter(outer.index), iter(inner.index)
    for i in range(len(value.shape)):
        index.append(next(s) if i in axes else next(o))
    name = w.shared.names.new(op.kind.removeprefix("reduce_"))
    text = place.at(index)
    dtype = out.dtype
    start, line = {
        "reduce_sum": (number(0, dtype), f"{name} += {text};"),
        "reduce_prod": (number(1, dtype), f"{name} *= {text};"),
        "reduce_and": ("1", f"{name} = {name} && {text};"),
        "reduce_or": ("0", f"{name} = {name} || {text};"),
    }.get(op.kind, ("", ""))
    if op.kind in ("reduce_max", "reduce_min"):
        function = extreme(w, op.kind.removeprefix("reduce_"), dtype)
        start, line = (
            _least(dtype, op.kind == "reduce_max"),
            f"{name} = {function}({text}, {name});",
        )
    lines = [f"{TYPES[dtype.name]} {name} = {start};", *inner.around([line])]
    return _fill(w, out, outer, lines, name)


def _fill(w: Any, out: Value, loops: Loops, lines: list[str], name: str) -> list[str]:
    """A number for each element: `lines` compute it as `name`."""
    if out.shape == ():
        w.shared.places[id(out)] = scalar(name)
        return lines
    place = w.store(out)
    return loops.around([*lines, f"{place.at(loops.index)} = {name};"])


def _least(dtype: np.dtype, least: bool) -> str:
    if dtype.kind == "f":
        return number(-np.inf if least else np.inf, dtype)
    if dtype.kind == "b":
        return "0" if least else "1"
    limits = np.iinfo(dtype)
    return number(limits.min if least else limits.max, dtype)


@register("argmax", "argmin")
def _argmax(w: Any, op: Operation) -> list[str]:
    value, out, axis = op.inputs[0], op.outputs[0], op.params["axes"][0]
    place, outer = w.materialised(value), Loops(out.shape, w.words.names)
    name, kind = w.shared.names.new(op.kind), TYPES[out.dtype.name]

    def at(which: str) -> str:
        return place.at([*outer.index[:axis], which, *outer.index[axis:]])

    sign, best, new = ">" if op.kind == "argmax" else "<", at(f"(size_t){name}"), at("s")
    test = f"{new} {sign} {best}"
    if value.dtype.kind == "f":  # the first that is not a number wins
        test = f"{test} || ({new} != {new} && {best} == {best})"
    lines = [
        f"{kind} {name} = 0;",
        *wrapped(
            [f"for (size_t s = 1; s < {w.words.size(value.shape[axis])}; s++) {{"],
            [f"if ({test}) {{", f"    {name} = ({kind})s;", "}"],
        ),
    ]
    return _fill(w, out, outer, lines, name)


@register("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def _cumulative(w: Any, op: Operation) -> list[str]:
    value, out, axis = op.inputs[0], op.outputs[0], op.params["axis"]
    source, target = w.place(value), w.store(out)
    others = [n for i, n in enumerate(value.shape) if i != axis]
    loops, n = Loops(others, w.words.names), w.words.size(value.shape[axis])
    name, dtype = w.shared.names.new(op.kind), out.dtype

    def index(k: str) -> list[str]:
        return [*loops.index[:axis], k, *loops.index[axis:]]

    place = index(f"({n} - 1 - s)" if op.params["reverse"] else "s")
    text = source.at(place)
    joined = {"cumsum": f"{name} + {text}", "cumprod": f"{name} * {text}"}.get(op.kind)
    start = number(1 if op.kind == "cumprod" else 0, dtype)
    if joined is None:
        function = {"cummax": "max", "cummin": "min"}.get(op.kind, "logaddexp")
        joined = f"{extreme(w, function, dtype)}({name}, {text})"
        start = _least(dtype, op.kind != "cummin")
    head = f"for (size_t s = 0; s < {n}; s++) {{"
    inner = [f"{name} = {joined};", f"{target.at(place)} = {name};"]
    return loops.around([f"{TYPES[dtype.name]} {name} = {start};", *wrapped([head], inner)])


@register("concatenate")
def _concatenate(w: Any, op: Operation) -> list[str]:
    out, axis = op.outputs[0], op.params["dimension"]
    places = [w.place(v) for v in op.inputs]
    target, lines, begin = w.store(out), list[str](), "0"
    for value, place in zip(op.inputs, places, strict=True):
        loops = Loops(value.shape, w.words.names)
        there = [plus(begin, i) if a == axis else i for a, i in enumerate(loops.index)]
        left, right = target.at(there), place.at(loops.index)
        if 0 not in value.shape and left != right:
            already = id(value) in w.shared.sinks and place.base == target.base
            lines += [] if already else loops.around([f"{left} = {right};"])
        begin = plus(begin, w.words.size(value.shape[axis]))
    return lines


@register("split")
def _split(w: Any, op: Operation) -> list[str]:
    axis, begin = op.params["axis"], "0"
    place = w.place(op.inputs[0])
    for out, size in zip(op.outputs, op.params["sizes"], strict=True):

        def at(index: Any, first: str = begin) -> str:
            return place.at([plus(first, i) if a == axis else i for a, i in enumerate(index)])

        w.shared.places[id(out)] = Place(at)
        begin = plus(begin, w.words.size(size))
    return []


@register("dynamic_update_slice")
def _dynamic_update_slice(w: Any, op: Operation) -> list[str]:
    value, part = op.inputs[0], op.inputs[1]
    places = [w.place(v) for v in op.inputs]
    target = w.store(op.outputs[0])
    loops, index, lines = Loops(part.shape, w.words.names), list[str](), list[str]()
    for i, n, size, start in zip(loops.index, value.shape, part.shape, places[2:], strict=True):
        first = "0"
        if not same_shape((n,), (size,)):
            first = w.shared.names.new("first")
            lines.append(f"const size_t {first} = {w.words.start(start.at(()), n, size)};")
        index.append(plus(first, i))
    lines += loops.around([f"{target.at(index)} = {places[1].at(loops.index)};"])
    return [*w.copied(value, places[0], target), "{", *("    " + x for x in lines), "}"]


@register("scatter", "scatter-add", "scatter-mul", "scatter-min", "scatter-max")
def _scatter(w: Any, op: Operation) -> list[str]:
    value, _, updates = op.inputs
    n, sizes = op.params["dimension_numbers"], scatter_sizes(op)
    places = [w.place(v) for v in op.inputs]
    target = w.store(op.outputs[0])
    loops = Loops(updates.shape, w.words.names)
    batch = [i for a, i in enumerate(loops.index) if a not in n.update_window_dims]
    window = iter([loops.index[a] for a in n.update_window_dims])
    gone = {*n.inserted_window_dims, *n.operand_batching_dims}
    clip, index, tests = "CLIP" in str(op.params["mode"]).upper(), list[str](), list[str]()
    for d, size in enumerate(value.shape):
        place = "0"
        if d in n.operand_batching_dims:
            place = batch[n.scatter_indices_batching_dims[n.operand_batching_dims.index(d)]]
        if d in n.scatter_dims_to_operand_dims:
            which = n.scatter_dims_to_operand_dims.index(d)
            start = places[1].at([*batch, str(which)])
            place = w.words.start(start, size, sizes[d])
            tests += [] if clip else [w.words.inside(start, size, sizes[d])]
        index.append(place if d in gone else plus(place, next(window)))
    left, right = target.at(index), places[2].at(loops.index)
    line = _combined(w, op, left, right)
    inner = [f"if ({' && '.join(tests)}) {{", f"    {line}", "}"] if tests else [line]
    return w.copied(value, places[0], target) + loops.around(inner)


def _combined(w: Any, op: Operation, left: str, right: str) -> str:
    sign = {"scatter": "=", "scatter-add": "+=", "scatter-mul": "*="}.get(op.kind)
    if sign:
        return f"{left} {sign} {right};"
    function = extreme(w, op.kind.removeprefix("scatter-"), op.outputs[0].dtype)
    return f"{left} = {function}({left}, {right});"


def relaid(value: Value, axes: list[int], shape: tuple[int, ...]) -> Value:
    """A known array with its axes in another order, for loops that read it row by row."""
    assert value.constant is not None
    turned = np.ascontiguousarray(value.constant.transpose(axes)).reshape(shape)
    same = axes == sorted(axes)
    return constant(turned, value.hint + ("" if same or not value.hint else " columns"))
