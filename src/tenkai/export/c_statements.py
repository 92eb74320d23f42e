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
    if dtype == bool:
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
    value, starts, updates = op.inputs
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


@register("sort", "top_k")
def _sort(w: Any, op: Operation) -> list[str]:
    """Merge sort of places: stable, and what is not a number comes last (first in `top_k`)."""
    top, shape = op.kind == "top_k", op.inputs[0].shape
    axis = op.params.get("axis", len(shape) - 1) if top else op.params["dimension"]
    places = [w.materialised(v) for v in op.inputs]
    targets = [w.store(o) for o in op.outputs]
    loops = Loops([m for i, m in enumerate(shape) if i != axis], w.words.names)
    order, other = w.shared.names.new("order"), w.shared.names.new("merged")

    def at(place: Place, which: str) -> str:
        return place.at([*loops.index[:axis], which, *loops.index[axis:]])

    keys = places[: 1 if top else op.params["num_keys"]]
    before = _before(w, op, [(at(k, f"{order}[q]"), at(k, f"{order}[p]")) for k in keys], top)
    results = []
    for k, (target, out) in enumerate(zip(targets, op.outputs, strict=True)):
        value = (
            f"({TYPES[out.dtype.name]}){order}[s]"
            if top and k == 1
            else at(places[k], f"{order}[s]")
        )
        results.append(f"{at(target, 's')} = {value};")
    count = w.words.size(op.params["k"]) if top else w.words.size(shape[axis])
    return loops.around(
        [
            *_merge(order, other, w.words.size(shape[axis]), before),
            *wrapped([f"for (size_t s = 0; s < {count}; s++) {{"], results),
        ]
    )


def _before(w: Any, op: Operation, pairs: list[tuple[str, str]], top: bool) -> str:
    """Whether the element at q comes before the one at p, by the keys in turn."""
    text = ""
    for (a, b), value in zip(reversed(pairs), reversed(op.inputs[: len(pairs)]), strict=True):
        less = w.words.take("before" if value.dtype.kind == "f" else "lower", value.dtype)
        first, second = (f"{less}({b}, {a})", f"{less}({a}, {b})")[:: 1 if top else -1]
        text = f"{first} || (!{second} && ({text}))" if text else first
    return text


def _merge(order: str, other: str, n: str, before: str) -> list[str]:
    return f"""\
size_t {order}[{n}], {other}[{n}];
for (size_t s = 0; s < {n}; s++) {{
    {order}[s] = s;
}}
for (size_t width = 1; width < {n}; width *= 2) {{
    for (size_t left = 0; left < {n}; left += 2 * width) {{
        const size_t middle = left + width < {n} ? left + width : {n};
        const size_t right = middle + width < {n} ? middle + width : {n};
        size_t p = left, q = middle;
        for (size_t s = left; s < right; s++) {{
            if (q < right && (p >= middle || {before})) {{
                {other}[s] = {order}[q++];
            }} else {{
                {other}[s] = {order}[p++];
            }}
        }}
    }}
    for (size_t s = 0; s < {n}; s++) {{
        {order}[s] = {other}[s];
    }}
}}""".splitlines()


@register("cholesky")
def _cholesky(w: Any, op: Operation) -> list[str]:
    value, out = op.inputs[0], op.outputs[0]
    source, n = w.place(value), w.words.size(value.shape[-1])
    target, loops = w.store(out), Loops(value.shape[:-2], w.words.names)
    root, kind = w.words.math("sqrt", out.dtype), TYPES[out.dtype.name]

    def at(place: Place, row: str, column: str) -> str:
        return place.at([*loops.index, row, column])

    lines = f"""\
for (size_t s = 0; s < {n}; s++) {{
    for (size_t t = 0; t < {n}; t++) {{
        {kind} rest = t > s ? {number(0, out.dtype)} : {at(source, "s", "t")};
        for (size_t u = 0; u < t && t <= s; u++) {{
            rest -= {at(target, "s", "u")} * {at(target, "t", "u")};
        }}
        {at(target, "s", "t")} = t < s ? rest / {at(target, "t", "t")} : (t == s ? {root}(rest) : rest);
    }}
}}""".splitlines()
    return loops.around(lines)


@register("triangular_solve")
def _triangular_solve(w: Any, op: Operation) -> list[str]:
    p, (a, b), out = op.params, op.inputs, op.outputs[0]
    matrix, right = w.place(a), w.place(b)
    target, loops = w.store(out), Loops(b.shape[:-2], w.words.names)
    n, kind = w.words.size(a.shape[-1]), TYPES[out.dtype.name]
    columns = w.words.size(b.shape[-1] if p["left_side"] else b.shape[-2])

    def entry(row: str, column: str) -> str:
        turned = p["transpose_a"] == p["left_side"]
        return matrix.at([*loops.index, *((column, row) if turned else (row, column))])

    def at(place: Place, row: str) -> str:
        return place.at([*loops.index, *((row, "t") if p["left_side"] else ("t", row))])

    forward = (p["lower"] != p["transpose_a"]) == p["left_side"]
    row = "s" if forward else f"({n} - 1 - s)"
    column = "u" if forward else f"({n} - 1 - u)"
    divided = "rest" if p["unit_diagonal"] else f"rest / {entry(row, row)}"
    lines = f"""\
for (size_t t = 0; t < {columns}; t++) {{
    for (size_t s = 0; s < {n}; s++) {{
        {kind} rest = {at(right, row)};
        for (size_t u = 0; u < s; u++) {{
            rest -= {entry(row, column)} * {at(target, column)};
        }}
        {at(target, row)} = {divided};
    }}
}}""".splitlines()
    return loops.around(lines)


def relaid(value: Value, axes: list[int], shape: tuple[int, ...]) -> Value:
    """A known array with its axes in another order, for loops that read it row by row."""
    assert value.constant is not None
    turned = np.ascontiguousarray(value.constant.transpose(axes)).reshape(shape)
    same = axes == sorted(axes)
    return constant(turned, value.hint + ("" if same or not value.hint else " columns"))


@register("lu")
def _lu(w: Any, op: Operation) -> list[str]:
    """Elimination with the largest pivot of each column (Doolittle)."""
    value, (out, pivots, order) = op.inputs[0], op.outputs
    target = w.store(out)
    copy = w.copied(value, w.place(value), target)
    swaps, places = w.store(pivots), w.store(order)
    loops = Loops(value.shape[:-2], w.words.names)
    rows, columns = (w.words.size(n) for n in value.shape[-2:])
    kind, fabs = TYPES[out.dtype.name], w.words.math("fabs", out.dtype)

    def at(row: str, column: str) -> str:
        return target.at([*loops.index, row, column])

    def whole(place: Place, row: str) -> str:
        return place.at([*loops.index, row])

    lines = f"""\
for (size_t s = 0; s < {rows}; s++) {{
    {whole(places, "s")} = (int)s;
}}
for (size_t s = 0; s < {rows} && s < {columns}; s++) {{
    size_t p = s;
    for (size_t t = s + 1; t < {rows}; t++) {{
        if ({fabs}({at("t", "s")}) > {fabs}({at("p", "s")})) {{
            p = t;
        }}
    }}
    {whole(swaps, "s")} = (int)p;
    if (p != s) {{
        const int q = {whole(places, "p")};
        {whole(places, "p")} = {whole(places, "s")};
        {whole(places, "s")} = q;
        for (size_t u = 0; u < {columns}; u++) {{
            const {kind} x = {at("s", "u")};
            {at("s", "u")} = {at("p", "u")};
            {at("p", "u")} = x;
        }}
    }}
    for (size_t t = s + 1; t < {rows}; t++) {{
        {at("t", "s")} /= {at("s", "s")};
        for (size_t u = s + 1; u < {columns}; u++) {{
            {at("t", "u")} -= {at("t", "s")} * {at("s", "u")};
        }}
    }}
}}""".splitlines()
    return copy + loops.around(lines)
