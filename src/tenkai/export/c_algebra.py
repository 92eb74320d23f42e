"""Sorting and linear algebra in C."""

from __future__ import annotations

from typing import Any

from .c_statements import register
from .c_text import TYPES, Loops, Place, number, wrapped
from .ir import Operation


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
        if (t < s) {{
            rest /= {at(target, "t", "t")};
        }}
        {at(target, "s", "t")} = t == s ? {root}(rest) : rest;
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
