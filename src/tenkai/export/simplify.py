"""Fewer operations: known numbers are computed, equal operations shared, unread ones dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import numpy_forms
from .ir import Block, Operation, Value, constant, same_shape
from .rules import RULES

Avals = Sequence[tuple[tuple, np.dtype]]

# Rounded the same by NumPy and by JAX. Anything else in a narrower precision than the program's
# is computed by JAX, because the last bit of a float32 would show in float64.
_EXACT = frozenset(
    [
        "add",
        "sub",
        "mul",
        "div",
        "neg",
        "abs",
        "max",
        "min",
        "sign",
        "convert_element_type",
        "broadcast_in_dim",
        "reshape",
        "squeeze",
        "transpose",
        "slice",
        "rev",
        "concatenate",
        "iota",
        "pad",
        "select_n",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "and",
        "or",
        "not",
    ]
)
_LARGE = 4096  # elements of a known array that is written down although it could be computed


class Builder:
    """A block in the making: `emit` simplifies while it appends.

    The builder of a loop's body hands what does not depend on the loop to the one around it.
    """

    def __init__(self, real: np.dtype, around: Builder | None = None, hoists: bool = False):
        self.real, self.around, self.hoists = real, around, hoists
        self.level: int = 0 if around is None else around.level + 1
        self.operations: list[Operation] = []
        self.made: dict[Any, list[Value]] = {}
        self.makers: dict[int, Operation] = {}

    def inside(self, *, hoists: bool) -> Builder:
        return Builder(self.real, self, hoists)

    def emit(
        self,
        kind: str,
        inputs: list[Value],
        params: dict[str, Any],
        avals: Avals,
        *,
        source: str = "",
        run: Callable[..., Any] | None = None,
    ) -> list[Value]:
        """The outputs of an operation: known arrays, values that exist already, or new ones."""
        inputs = _scalars(self, kind, inputs, avals)
        if (
            kind != "dim_as_value"
            and all(v.known for v in inputs)
            and (known := self._folded(kind, inputs, params, avals, run))
        ):
            return known
        for rule in RULES.get(kind, ()):
            if (value := rule(self, inputs, params, avals, source)) is not None:
                return [value]
        home = self._home(inputs)
        key = (kind, tuple(map(_identity, inputs)), str(sorted(params.items(), key=str)))
        found = home._look_up(key)
        if found is None:
            found = home.append(kind, inputs, params, avals, (), source)
            home.made[key] = found
        return found

    def append(
        self,
        kind: str,
        inputs: list[Value],
        params: dict[str, Any],
        avals: Avals,
        blocks: tuple[Block, ...],
        source: str,
    ) -> list[Value]:
        outputs = [Value(shape, dtype, level=self.level) for shape, dtype in avals]
        op = Operation(kind, inputs, outputs, dict(params), blocks, source)
        self.operations.append(op)
        self.makers.update((id(o), op) for o in outputs)
        return outputs

    def maker(self, value: Value) -> Operation | None:
        """The operation that makes `value`, here or around here."""
        place: Builder | None = self
        while place is not None:
            if id(value) in place.makers:
                return place.makers[id(value)]
            place = place.around
        return None

    def _home(self, inputs: list[Value]) -> Builder:
        place = self
        while place.hoists and place.around and all(v.level < place.level for v in inputs):
            place = place.around
        return place

    def _look_up(self, key: Any) -> list[Value] | None:
        place: Builder | None = self
        while place is not None:
            if key in place.made:
                return place.made[key]
            place = place.around
        return None

    def _folded(
        self,
        kind: str,
        inputs: list[Value],
        params: dict[str, Any],
        avals: Avals,
        run: Callable[..., Any] | None,
    ) -> list[Value] | None:
        """The outputs as known arrays, unless they are large and short to say."""
        if not all(isinstance(n, int) for shape, _ in avals for n in shape):
            return None
        count = sum(int(np.prod(shape, dtype=int)) for shape, _ in avals)
        given = sum(v.count for v in inputs)
        if count > max(given, 1 if given <= 1 else _LARGE):
            return None
        arrays = [v.constant for v in inputs]
        narrow = any(t.kind == "f" and t != self.real for _, t in avals)
        if narrow and kind not in _EXACT and run is not None:
            results = run(*arrays)
            results = list(results) if isinstance(results, list | tuple) else [results]
        else:
            results = numpy_forms.compute(kind, inputs, params, avals)
        hints = {v.hint for v in inputs if v.hint}
        hint = hints.pop() if len(hints) == 1 else ""
        if kind == "transpose" and hint:
            hint = hint.removesuffix(".T") if hint.endswith(".T") else hint + ".T"
        return [
            constant(np.asarray(r, t).reshape(shape), hint)
            for r, (shape, t) in zip(results, avals, strict=True)
        ]


def _identity(value: Value) -> Any:
    if value.constant is None:
        return id(value)
    if value.count <= _LARGE:
        return value.dtype.str, value.shape, value.constant.tobytes()
    return id(value.constant)


def _number(builder: Builder, value: Value) -> Value:
    """A known number that is repeated, as that number."""
    if value.constant is not None and value.uniform:
        return constant(value.constant.reshape(-1)[0])
    op = None if value.known else builder.maker(value)
    if op is not None and op.kind == "broadcast_in_dim" and op.inputs[0].uniform:
        return _number(builder, op.inputs[0])
    return value


def _scalars(builder: Builder, kind: str, inputs: list[Value], avals: Avals) -> list[Value]:
    """Elementwise operands that are one number everywhere, as that number."""
    if kind not in numpy_forms.ELEMENTWISE or len(inputs) < 2:
        return inputs
    numbers = [_number(builder, v) for v in inputs]
    full = any(not v.known and same_shape(v.shape, avals[0][0]) for v in numbers)
    return numbers if full else inputs


def without_dead_code(block: Block) -> Block:
    """The block without operations that nothing reads, inside loops too."""
    needed = {id(v) for v in block.outputs}
    kept: list[Operation] = []
    for op in reversed(block.operations):
        if not any(id(o) in needed for o in op.outputs):
            continue
        op = _without_dead_outputs(op, needed)
        kept.append(op)
        needed.update(id(v) for v in op.inputs)
        needed.update(id(v) for inner in op.blocks for v in inner.reads())
    return Block(block.inputs, kept[::-1], block.outputs)


def _without_dead_outputs(op: Operation, needed: set[int]) -> Operation:
    if op.kind == "cond":
        live = [i for i, o in enumerate(op.outputs) if id(o) in needed]
        blocks = tuple(
            without_dead_code(Block([], b.operations, [b.outputs[i] for i in live]))
            for b in op.blocks
        )
        outputs = [op.outputs[i] for i in live]
        return Operation(op.kind, op.inputs, outputs, op.params, blocks, op.source)
    if op.kind == "while":
        blocks = tuple(without_dead_code(b) for b in op.blocks)
        return Operation(op.kind, op.inputs, op.outputs, op.params, blocks, op.source)
    return _scan_without_dead_outputs(op, needed) if op.kind == "scan" else op


def _scan_without_dead_outputs(op: Operation, needed: set[int]) -> Operation:
    body, carried = op.blocks[0], op.params["carried"]
    live = [id(o) in needed for o in op.outputs]
    while True:  # a carried value lives when a living output of the body reads it
        outputs = [v for v, alive in zip(body.outputs, live, strict=True) if alive]
        tried = without_dead_code(Block(body.inputs, body.operations, outputs))
        read = {id(v) for v in tried.reads()}
        grown = [
            alive or (i < carried and id(body.inputs[i]) in read) for i, alive in enumerate(live)
        ]
        if grown == live:
            break
        live = grown
    carries = live[:carried]
    inputs = [
        i
        for i in range(len(op.inputs))
        if (carries[i] if i < carried else id(body.inputs[i]) in read)
    ]
    block = Block([body.inputs[i] for i in inputs], tried.operations, outputs)
    alive = [o for o, keep in zip(op.outputs, live, strict=True) if keep]
    params = {**op.params, "carried": sum(carries)}
    return Operation("scan", [op.inputs[i] for i in inputs], alive, params, (block,), op.source)
