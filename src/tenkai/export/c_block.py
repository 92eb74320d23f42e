"""The operations of a block as lines of C.

Elementwise operations of one shape share a loop as long as nothing else needs their results;
operations that only move elements have no loop at all, their readers read from elsewhere. Arrays in
between are local; two that are never needed at the same time share memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .c_forms import ELEMENTS, HALVES, bare
from .c_statements import STATEMENTS
from .c_text import TYPES, Loops, Place, plus, scalar, stored, times
from .c_views import VIEWS
from .ir import Block, Operation, Value, same_shape
from .names import one_line

_LOCAL = re.compile(r"t__\d+__")
_FORMS = {**ELEMENTS, **HALVES}
_LONG = 90  # characters of an expression before a part of it gets a name
_SHORT_NAMES = {"dot_general": "product", "convert_element_type": "cast", "select_n": "chosen"}


@dataclass
class Group:
    """Elementwise operations of one shape that will share a loop."""

    shape: tuple[Any, ...]
    members: list[Operation] = field(default_factory=list)

    def made(self) -> set[int]:
        return {id(o) for op in self.members for o in op.outputs}


class BlockWriter:
    """Writes one block. `shared` is what all blocks of a function have in common."""

    def __init__(self, shared: Any):
        self.shared, self.words = shared, shared.words
        self.statements: list[list[str]] = []
        self.buffers: dict[str, tuple[np.dtype, int]] = {}
        self.groups: list[Group] = []

    # -- where values are ----------------------------------------------------------------------

    def place(self, value: Value) -> Place:
        """Where the elements of a value are; its group is written first if it is still open."""
        if value.constant is not None:
            return self.shared.constant(value)
        for group in list(self.groups):
            if id(value) in group.made():
                self.close(group)
        return self.shared.places[id(value)]

    def store(self, value: Value) -> Place:
        """Memory for a value: an output of the function where it is one, or a local array."""
        if id(value) in self.shared.sinks:
            base, offset = self.shared.sinks[id(value)]
            place = stored(base, value.shape, self.words.names, offset)
        else:
            self.shared.must_be_fixed(value)
            token = self.shared.token()
            self.buffers[token] = (value.dtype, max(value.count, 1))
            place = stored(token, value.shape, self.words.names)
        self.shared.places[id(value)] = place
        return place

    def materialised(self, value: Value) -> Place:
        """The value in memory, row by row."""
        place = self.place(value)
        if place.base or not value.fixed or value.shape == ():
            return place
        kept = self.store(value)
        self.statements.append(self.copied(value, place, kept))
        return kept

    def copied(self, value: Value, source: Place, target: Place) -> list[str]:
        """Loops that copy a value from one place to another."""
        if 0 in value.shape:
            return []
        names, shape = self.words.names, value.shape
        if source.base and value.fixed:
            shape = (value.count,)
            source = stored(source.base, shape, names, source.offset)
            target = stored(target.base, shape, names, target.offset)
        loops = Loops(shape, names)
        return loops.around([f"{target.at(loops.index)} = {bare(source.at(loops.index))};"])

    def inside(self) -> BlockWriter:
        return BlockWriter(self.shared)

    # -- operations ----------------------------------------------------------------------------

    def write(self, block: Block) -> list[Place]:
        """All operations of the block; the places of its outputs."""
        for op in block.operations:
            self.operation(op)
        for group in list(self.groups):
            self.close(group)
        return [self.place(v) for v in block.outputs]

    def operation(self, op: Operation) -> None:
        if op.kind == "tanh" and op.outputs[0].fixed and op.outputs[0].count > 1:
            self._in_halves(op)
        elif op.kind in ELEMENTS:
            self._join(op)
        elif op.kind in VIEWS:
            self._look(op)
        else:
            if op.blocks:
                for group in list(self.groups):
                    self.close(group)
            lines = STATEMENTS[op.kind](self, op)
            if lines:
                self.statements.append(self.comment(op) + lines)

    def comment(self, op: Operation) -> list[str]:
        shape = "x".join(map(str, op.outputs[0].shape)) if op.outputs else ""
        source = op.source if op.source != self.shared.source else ""
        self.shared.source = op.source or self.shared.source
        text = f"{op.kind} {f'({shape})' if shape else ''} {source}"
        return [f"/* {one_line(' '.join(text.split()))} */"]

    def _look(self, op: Operation) -> None:
        places = [self.place(v) for v in op.inputs]
        out, first = op.outputs[0], op.inputs[0] if op.inputs else None
        at = VIEWS[op.kind](op, places, self.words)
        place = Place(at)
        if op.kind in ("reshape", "squeeze", "slice", "broadcast_in_dim") and places[0].base:
            begin = _begin(op, self.words)
            if begin is not None and first is not None:
                begin = plus(places[0].offset, begin)
                place = stored(places[0].base, out.shape, self.words.names, begin)
        elif first is not None and first.shape == () and op.kind == "broadcast_in_dim":
            place = scalar(places[0].at(()))
        self.shared.places[id(out)] = place

    def _in_halves(self, op: Operation) -> None:
        """Two loops that are vectorised instead of one that is not."""
        out = op.outputs[0]
        limited = Value(out.shape, out.dtype, level=out.level)
        self.shared.reads[id(limited)] = 1
        self.shared.alive.append(limited)
        self._join(Operation("tanh_limit", op.inputs, [limited], {}, (), op.source))
        self.place(limited)
        self._join(Operation("tanh_core", [limited], op.outputs, {}, (), op.source))

    def _join(self, op: Operation) -> None:
        out = op.outputs[0]
        if not out.fixed:
            places = [self.place(v) for v in op.inputs]
            self.shared.places[id(out)] = Place(
                lambda index: _FORMS[op.kind](op, self._at(op, places, index), self.words)
            )
            return
        group = next((g for g in self.groups if g.shape == out.shape), None)
        for value in op.inputs:
            own = group is not None and id(value) in group.made()
            if not value.known and not own:
                self.place(value)
        if group is None or group not in self.groups:
            group = Group(out.shape)
            self.groups.append(group)
        group.members.append(op)

    def _at(self, op: Operation, places: Sequence[Place], index: Sequence[str]) -> list[str]:
        whole = op.outputs[0].shape
        return [
            p.at(index if same_shape(v.shape, whole) else _own(index, v))
            for p, v in zip(places, op.inputs, strict=True)
        ]

    # -- loops over elements -------------------------------------------------------------------

    def close(self, group: Group) -> None:
        """Write the loop of a group."""
        if group not in self.groups:
            return
        self.groups.remove(group)
        inside = Counter(id(v) for op in group.members for v in op.inputs)
        made = group.made()
        linear = len(group.shape) < 2 or self._is_linear(group, made)
        shape = (int(np.prod(group.shape, dtype=int)),) if linear and group.shape else group.shape
        loops = Loops(shape, self.words.names)
        texts: dict[int, str] = {}
        lines: list[str] = []
        for op in group.members:
            out = op.outputs[0]
            arguments = [self._read(v, texts, group, loops.index, linear) for v in op.inputs]
            text = _FORMS[op.kind](op, arguments, self.words)
            escapes = self.shared.reads[id(out)] > inside[id(out)]
            repeated = inside[id(out)] > 1 or (inside[id(out)] and (escapes or len(text) > _LONG))
            if repeated or (escapes and group.shape == ()):
                name = self.shared.names.new(_SHORT_NAMES.get(op.kind, op.kind))
                lines.append(f"const {TYPES[out.dtype.name]} {name} = {bare(text)};")
                text = name
            texts[id(out)] = text
            if escapes and group.shape == ():
                self.shared.places[id(out)] = scalar(text)
            elif escapes:
                kept = self.store(out)
                place = stored(kept.base, shape, self.words.names, kept.offset)
                lines.append(f"{place.at(loops.index)} = {bare(text)};")
        if 0 not in group.shape:
            self.statements.append(self.comment(group.members[-1]) + loops.around(lines))

    def _is_linear(self, group: Group, made: set[int]) -> bool:
        for op in group.members:
            for value in op.inputs:
                if id(value) in made or value.shape == () or value.uniform:
                    continue
                if not (same_shape(value.shape, group.shape) and self.place(value).base):
                    return False
        return True

    def _read(
        self, value: Value, texts: dict[int, str], group: Group, index: list[str], linear: bool
    ) -> str:
        if id(value) in texts:
            return texts[id(value)]
        place = self.place(value)
        if linear and group.shape and same_shape(value.shape, group.shape) and place.base:
            return stored(place.base, (value.count,), self.words.names, place.offset).at(index)
        if linear and len(group.shape) > 1:  # one number everywhere
            return place.at(_own([], value))
        return place.at(_own(index, value))

    # -- memory --------------------------------------------------------------------------------

    def finished(self, kept: dict[str, str] | None = None) -> list[str]:
        """All lines, with declarations; `kept` are local arrays that live elsewhere."""
        homes = dict(kept or {})
        spans: dict[str, tuple[int, int]] = {}
        for i, lines in enumerate(self.statements):
            for token in set(_LOCAL.findall("\n".join(lines))):
                spans[token] = (spans.get(token, (i, i))[0], i)
        pools: list[_Pool] = []
        for token, (first, last) in sorted(spans.items(), key=lambda s: (s[1][0], s[0])):
            if token in self.buffers and token not in homes:
                homes[token] = self._pooled(pools, token, first, last).name
        lines = [f"{TYPES[p.dtype.name]} {p.name}[{p.count}];" for p in pools]
        self.shared.memory += sum(p.count * p.dtype.itemsize for p in pools)
        body = [line for statement in self.statements for line in statement]
        return lines + [_LOCAL.sub(lambda m: homes.get(m[0], m[0]), line) for line in body]

    def _pooled(self, pools: list[_Pool], token: str, first: int, last: int) -> _Pool:
        dtype, count = self.buffers[token]
        free = [p for p in pools if p.dtype == dtype and p.last < first]
        fitting = min(free, key=lambda p: (max(count - p.count, 0), p.count), default=None)
        if fitting is None:
            fitting = _Pool(self.shared.names.new("work"), dtype, count, last)
            pools.append(fitting)
        fitting.count, fitting.last = max(fitting.count, count), last
        return fitting


@dataclass
class _Pool:
    name: str
    dtype: np.dtype
    count: int
    last: int


def _own(index: Sequence[str], value: Value) -> list[str]:
    """The index of an operand that has fewer axes, or some of length one."""
    places = index[len(index) - len(value.shape) :] if value.shape else []
    places = places or ["0"] * len(value.shape)
    return ["0" if str(n) == "1" else i for i, n in zip(places, value.shape, strict=True)]


def _begin(op: Operation, words: Any) -> str | None:
    """Where a view that lies row by row in its operand begins; None for other views."""
    shape, out = op.inputs[0].shape, op.outputs[0].shape
    if op.kind == "broadcast_in_dim":
        full = [str(n) for n in out if str(n) != "1"]
        return "0" if full == [str(n) for n in shape if str(n) != "1"] else None
    if op.kind != "slice":
        return "0"
    starts, strides = op.params["start_indices"], op.params["strides"]
    if strides and any(s != 1 for s in strides):
        return None
    if not all(str(a) == str(b) for a, b in zip(shape[1:], out[1:], strict=True)):
        return None
    row = "1"
    for n in shape[1:]:
        row = times(row, words.size(n))
    return times(words.size(starts[0]), row) if starts else "0"
