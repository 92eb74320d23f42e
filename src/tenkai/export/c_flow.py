"""Loops and branches in C."""

from __future__ import annotations

import re
from typing import Any

from .c_statements import declared, register
from .c_text import TYPES, Place, plus, scalar, stored, times, wrapped
from .ir import Block, Operation, Value


def _carried(w: Any, op: Operation, count: int) -> tuple[list[Place], list[str]]:
    """What a loop carries: a variable or an array for each, and the lines that start it."""
    places, lines = [], []
    for value, out in zip(op.inputs[:count], op.outputs[:count], strict=True):
        start = w.place(value)
        if value.shape == ():
            name = w.shared.names.new("state")
            place = scalar(name)
            lines.append(f"{TYPES[value.dtype.name]} {name} = {start.at(())};")
            w.shared.places[id(out)] = place
        else:
            place = w.store(out)
            lines += w.copied(value, start, place)
        places.append(place)
    return places, lines


def _inner(w: Any, block: Block, places: list[Place]) -> tuple[Any, list[Place]]:
    inner = w.inside()
    for value, place in zip(block.inputs, places, strict=True):
        w.shared.places[id(value)] = place
    return inner, inner.write(block)


def _updated(inner: Any, values: list[Value], new: list[Place], old: list[Place]) -> dict[str, str]:
    """Add the lines that carry over; returns local arrays that are the carried ones themselves."""
    shared, lines, later = inner.shared, list[str](), list[str]()
    kept: dict[str, str] = {}
    for value, source, target in zip(values, new, old, strict=True):
        if source.at(_zeros(value)) == target.at(_zeros(value)):
            continue
        others = [p.at(_zeros(v)) for v, p in zip(values, new, strict=True) if p is not source]
        if value.shape == ():
            name = shared.names.new("next")
            lines.append(f"const {TYPES[value.dtype.name]} {name} = {source.at(())};")
            later.append(f"{target.at(())} = {name};")
        elif _in_place(inner, source, target, others):
            kept[source.base] = target.base
        elif source.base in inner.buffers:
            later += inner.copied(value, source, target)
        else:  # it may be what another one was before
            copy = inner.shared.token()
            inner.buffers[copy] = (value.dtype, max(value.count, 1))
            place = stored(copy, value.shape, inner.words.names)
            lines += inner.copied(value, source, place)
            later += inner.copied(value, place, target)
    if lines or later:
        inner.statements.append(lines + later)
    return kept


def _zeros(value: Value) -> list[str]:
    return ["0"] * len(value.shape)


def _in_place(inner: Any, source: Place, target: Place, others: list[str]) -> bool:
    """Whether the new value can be written straight over the old one.

    The loop that makes it must be the last to read the old one, and only at the same element.
    """
    new, old = source.base, target.base
    if new not in inner.buffers or source.offset != "0" or target.offset != "0":
        return False
    if any(new in text or old in text for text in others):
        return False
    texts = ["\n".join(lines) for lines in inner.statements]
    first = next(i for i, text in enumerate(texts) if new in text)
    if any(old in text for text in texts[first + 1 :]):
        return False
    written = texts[first].index(new)
    after = texts[first].find("\n", written)  # further lines of the same loop
    if after >= 0 and old in texts[first][after:]:
        return False
    places = set(re.findall(rf"(?:{new}|{old})\[[^\]]*\]", texts[first]))
    return len({p[p.index("[") :] for p in places}) == 1 or old not in texts[first]


@register("scan")
def _scan(w: Any, op: Operation) -> list[str]:
    body, count = op.blocks[0], op.params["carried"]
    sources = [w.place(v) for v in op.inputs[count:]]
    carried, lines = _carried(w, op, count)
    kept = [w.store(v) for v in op.outputs[count:]]
    length = w.words.size(op.params["length"])
    step = w.shared.names.new("step")
    rows = [
        _row(w, source, value, inner_value, step)
        for source, value, inner_value in zip(
            sources, op.inputs[count:], body.inputs[count:], strict=True
        )
    ]
    inner, results = _inner(w, body, [*carried, *rows])
    for place, value, result in zip(kept, body.outputs[count:], results[count:], strict=True):
        begin = plus(place.offset, times(step, _count(w, value)))
        row = stored(place.base, value.shape, w.words.names, begin)
        inner.statements.append(inner.copied(value, result, row))
    taken = _updated(inner, body.outputs[:count], results[:count], carried)
    head = f"for (size_t {step} = 0; {step} < {length}; {step}++) {{"
    if op.params["reverse"]:
        head = f"for (size_t {step} = {length}; {step}-- > 0;) {{"
    return lines + wrapped([head], inner.finished(taken))


def _count(w: Any, value: Value) -> str:
    total = "1"
    for n in value.shape:
        total = times(total, w.words.size(n))
    return total


def _row(w: Any, source: Place, value: Value, row: Value, step: str) -> Place:
    """One step's part of what a loop reads."""
    if source.base:
        begin = plus(source.offset, times(step, _count(w, row)))
        return stored(source.base, row.shape, w.words.names, begin)
    return Place(lambda index: source.at([step, *index]))


@register("while")
def _while(w: Any, op: Operation) -> list[str]:
    condition, body = op.blocks
    carried, lines = _carried(w, op, len(op.inputs))
    first, (test,) = _inner(w, condition, carried)
    inner, results = _inner(w, body, carried)
    taken = _updated(inner, body.outputs, results, carried)
    first.statements.append([f"if (!{test.at(())}) {{", "    break;", "}"])
    return lines + wrapped(["for (;;) {"], [*first.finished(), *inner.finished(taken)])


@register("cond")
def _cond(w: Any, op: Operation) -> list[str]:
    index = w.place(op.inputs[0]).at(())
    places = [declared(w, out, "chosen") for out in op.outputs]
    lines = [
        f"{TYPES[out.dtype.name]} {place.at(())};"
        for out, place in zip(op.outputs, places, strict=True)
        if out.shape == ()
    ]
    for i, block in enumerate(op.blocks):
        inner, results = _inner(w, block, [])
        for value, out, source, target in zip(
            block.outputs, op.outputs, results, places, strict=True
        ):
            if value.shape == ():
                inner.statements.append([f"{target.at(())} = {source.at(())};"])
            else:
                inner.statements.append(inner.copied(out, source, target))
        last = i == len(op.blocks) - 1
        word = "if" if i == 0 else "} else if"
        lines.append("} else {" if last and i else f"{word} ({index} == {i}) {{")
        lines += ["    " + line for line in inner.finished()]
    return [*lines, "}"]
