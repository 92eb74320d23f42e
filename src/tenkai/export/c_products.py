"""Matrix products, convolutions and windows in C.

The inner loop of a product runs over outputs that lie side by side, because compilers vectorise
that one; known matrices are laid out for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tenkai.errors import InputError

from .c_statements import register, relaid
from .c_text import TYPES, Loops, Place, number, plus, scalar, times, unflat, wrapped
from .ir import Operation, Value

_STEP = 4  # terms of a sum that are added at once
_FEW = 4  # outputs side by side that are numbers of their own instead of an array


@register("dot_general")
def _dot(w: Any, op: Operation) -> list[str]:
    contracted, batch = (
        tuple(tuple(map(int, side)) for side in pair) for pair in op.params["dimension_numbers"]
    )
    sides = [_Side(v, contracted[i], batch[i]) for i, v in enumerate(op.inputs)]
    out = op.outputs[0]
    across = 0 if sides[1].width == 1 and sides[0].width > 1 else 1  # whose outputs lie together
    wide, narrow = sides[across], sides[1 - across]
    places = [_laid(w, wide), w.materialised(narrow.value)]
    target = w.store(out) if out.shape else None
    outer = Loops([*wide.batch_sizes, *narrow.free_sizes], w.words.names)
    b, free = outer.index[: len(wide.batch)], outer.index[len(wide.batch) :]

    def terms(k: str, v: str) -> tuple[str, str]:
        inner = unflat(k, narrow.inner_sizes, w.words.names)
        factor = places[1].at(narrow.index(b, free, inner))
        return factor, places[0].at([*b, k, v])

    def result(v: str) -> str:
        own = unflat(v, wide.free_sizes, w.words.names)
        pair = (own, free) if across == 0 else (free, own)
        assert target is not None
        return target.at([*b, *pair[0], *pair[1]])

    dtype = out.dtype
    if wide.width <= _FEW:
        names = [w.shared.names.new("product") for _ in range(wide.width)]
        lines = _few(w, names, wide.depth, terms, dtype)
        if target is None:
            w.shared.places[id(out)] = scalar(names[0])
            return lines
        lines += [f"{result(str(v))} = {name};" for v, name in enumerate(names)]
    else:
        lines = _many(w, wide, terms, result, dtype)
    return outer.around(lines)


class _Side:
    """An operand of a product: its batch, free and contracted axes."""

    def __init__(self, value: Value, contracted: tuple[int, ...], batch: tuple[int, ...]):
        self.value, self.contracted, self.batch = value, contracted, batch
        rank = range(len(value.shape))
        self.free = [i for i in rank if i not in contracted and i not in batch]
        self.batch_sizes = [value.shape[i] for i in batch]
        self.free_sizes = [value.shape[i] for i in self.free]
        self.inner_sizes = [value.shape[i] for i in contracted]
        fixed = all(isinstance(n, int) for n in self.free_sizes + self.inner_sizes)
        self.width = int(np.prod(self.free_sizes, dtype=int)) if fixed else 0
        self.depth = int(np.prod(self.inner_sizes, dtype=int)) if fixed else 0

    def index(self, batch: list[str], free: list[str], inner: list[str]) -> list[str]:
        place = dict(zip([*self.batch, *self.free, *self.contracted], [*batch, *free, *inner],
                         strict=True))  # fmt: skip
        return [place[i] for i in range(len(self.value.shape))]


def _laid(w: Any, side: _Side) -> Place:
    """The wide operand as (batch..., contracted, outputs side by side)."""
    w.shared.must_be_fixed(side.value)
    shape = (*side.batch_sizes, side.depth, side.width)
    if side.value.known and not side.value.uniform:
        axes = [*side.batch, *side.contracted, *side.free]
        return w.place(relaid(side.value, axes, shape))
    place, names = w.materialised(side.value), w.words.names

    def at(index: Any) -> str:
        *b, k, v = index
        own = unflat(v, side.free_sizes, names)
        return place.at(side.index(b, own, unflat(k, side.inner_sizes, names)))

    return Place(at)


def _sum(pairs: list[tuple[str, str]]) -> str:
    """Products added in pairs, which waits for fewer additions than one after another."""
    parts = [f"{a} * {b}" for a, b in pairs]
    while len(parts) > 1:
        parts = [
            f"({parts[i]} + {parts[i + 1]})" if i + 1 < len(parts) else parts[i]
            for i in range(0, len(parts), 2)
        ]
    return parts[0][1:-1] if parts[0].startswith("(") else parts[0]


def _few(w: Any, names: list[str], depth: int, terms: Any, dtype: np.dtype) -> list[str]:
    kind, whole = TYPES[dtype.name], depth - depth % _STEP
    lines = [f"{kind} {name} = {number(0, dtype)};" for name in names]
    added = lambda k0, count: [  # noqa: E731
        f"{name} += {_sum([terms(plus(k0, str(d)), str(v)) for d in range(count)])};"
        for v, name in enumerate(names)
    ]
    if whole > _STEP:
        lines += wrapped([f"for (size_t s = 0; s < {whole}; s += {_STEP}) {{"], added("s", _STEP))
    elif whole:
        lines += added("0", _STEP)
    return lines + (added(str(whole), depth % _STEP) if depth % _STEP else [])


def _many(w: Any, wide: _Side, terms: Any, result: Any, dtype: np.dtype) -> list[str]:
    kind, head = TYPES[dtype.name], f"for (size_t v = 0; v < {wide.width}; v++) {{"
    whole = wide.depth - wide.depth % _STEP

    def added(k0: str, count: int, sign: str) -> list[str]:
        pairs = [terms(plus(k0, str(d)), "v") for d in range(count)]
        names = [f"x{d}" for d in range(count)]
        known = ", ".join(f"{n} = {factor}" for n, (factor, _) in zip(names, pairs, strict=True))
        products = _sum([(n, other) for n, (_, other) in zip(names, pairs, strict=True)])
        return [f"const {kind} {known};", *wrapped([head], [f"{result('v')} {sign} {products};"])]

    rest = wide.depth % _STEP
    begin, first = (_STEP, whole and _STEP) if not rest else (rest, rest)
    if not first:  # nothing to add up
        return wrapped([head], [f"{result('v')} = {number(0, dtype)};"])
    lines = ["{", *("    " + x for x in added("0", first, "=")), "}"]
    if begin < wide.depth:
        loop = f"for (size_t s = {begin}; s < {wide.depth}; s += {_STEP}) {{"
        lines += wrapped([loop], added("s", _STEP, "+="))
    return lines


@register("conv_general_dilated")
def _convolution(w: Any, op: Operation) -> list[str]:
    p, (x, kernel), out = op.params, op.inputs, op.outputs[0]
    if p["batch_group_count"] != 1:
        raise InputError(
            f"a convolution in groups of the batch ({op.source})",
            expected="groups of channels",
            got=f"batch_group_count={p['batch_group_count']}",
            do="export it as a NumPy module",
        )
    left, right, last = (list(map(int, spec)) for spec in p["dimension_numbers"])
    groups, names = p["feature_group_count"], w.words.names
    window = [kernel.shape[i] for i in right[2:]]
    n_out, n_in = kernel.shape[right[0]] // groups, kernel.shape[right[1]]
    axes = [*right[2:], right[1], right[0]]
    shape = (*window, n_in, kernel.shape[right[0]])
    if kernel.known and not kernel.uniform:
        weights = w.place(relaid(kernel, axes, shape))
    else:
        given = w.materialised(kernel)
        weights = Place(lambda index: given.at([index[axes.index(i)] for i in range(len(axes))]))
    source, target = w.materialised(x), w.store(out)
    place = [out.shape[i] for i in last[2:]]
    outer = Loops([out.shape[last[0]], groups, *place], names)
    inner = Loops(window, names, "stuwyz")
    n, g, *spatial = outer.index
    lines, tests, at = _reach(w, p, x, left, spatial, inner.index)
    channel = Loops([n_in], names, "c")

    def pick(spec: list[int], values: list[str]) -> list[str]:
        return [v for _, v in sorted(zip(spec, values, strict=True), key=lambda pair: pair[0])]

    o = plus(times(g, str(n_out)), "o")
    read = source.at(pick(left, [n, plus(times(g, str(n_in)), channel.index[0]), *at]))
    goal = target.at(pick(last, [n, o, *spatial]))
    head = f"for (size_t o = 0; o < {n_out}; o++) {{"
    body = channel.around(
        [
            f"const {TYPES[out.dtype.name]} seen = {read};",
            *wrapped(
                [head], [f"{goal} += seen * {weights.at([*inner.index, channel.index[0], o])};"]
            ),
        ]
    )
    body = lines + (wrapped([f"if ({' && '.join(tests)}) {{"], body) if tests else body)
    zero = wrapped([head], [f"{goal} = {number(0, out.dtype)};"])
    return outer.around([*zero, *inner.around(body)])


def _reach(
    w: Any, p: Any, x: Value, spec: list[int], place: list[str], window: list[str]
) -> tuple[list[str], list[str], list[str]]:
    """Where a window's element lies in the images: declarations, tests that it is inside, index."""
    lines, tests, index = [], [], []
    numbers = zip(p["window_strides"], p["rhs_dilation"], p["lhs_dilation"], p["padding"],
                  strict=True)  # fmt: skip
    for d, (stride, dilation, spread, (before, _)) in enumerate(numbers):
        where = plus(times(place[d], str(stride)), times(window[d], str(dilation)))
        name, n = f"at{d}", x.shape[spec[2 + d]]
        moved = f"{where} - {before}" if before > 0 else plus(where, str(-before))
        lines.append(f"const size_t {name} = {moved};")  # wraps round before the first
        if spread > 1:
            tests.append(f"{name} % {spread} == 0")
            name = f"{name} / {spread}"
        tests.append(f"{name} < {n}")
        index.append(name)
    return lines, tests, index


@register("reduce_window_sum", "reduce_window_max", "reduce_window_min")
def _reduce_window(w: Any, op: Operation) -> list[str]:
    p, value, out = op.params, op.inputs[0], op.outputs[0]
    source, target = w.materialised(value), w.store(out)
    outer = Loops(out.shape, w.words.names)
    inner = Loops(p["window_dimensions"], w.words.names, "stuvwxyz")
    plain = {
        "window_strides": p["window_strides"],
        "rhs_dilation": p["window_dilation"],
        "lhs_dilation": p["base_dilation"],
        "padding": p["padding"],
    }
    spec = list(range(-2, len(value.shape)))
    lines, tests, at = _reach(w, plain, value, spec, outer.index, inner.index)
    dtype, kind = out.dtype, op.kind.removeprefix("reduce_window_")
    name = w.shared.names.new(kind)
    line, start = f"{name} += {source.at(at)};", number(0, dtype)
    if kind != "sum":
        line = f"{name} = {w.words.take(kind, dtype)}({source.at(at)}, {name});"
        start = number(-np.inf if kind == "max" else np.inf, dtype)
    body = [*lines, *wrapped([f"if ({' && '.join(tests)}) {{"], [line])]
    first = f"{TYPES[dtype.name]} {name} = {start};"
    return outer.around([first, *inner.around(body), f"{target.at(outer.index)} = {name};"])
