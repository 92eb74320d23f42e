"""The operations of a block as lines of Python."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .ir import Block, Operation, Size, Value
from .names import Namespace, one_line
from .numpy_forms import FORMS, Words, bare, dtype_text, literal, typed

_INLINE = 64  # characters of an expression that is written where it is read
_TUPLES = ("sort", "split", "top_k", "lu")  # their forms give a tuple


class Writer:
    """Writes blocks; what is read once and short is written where it is read."""

    def __init__(self, names: Namespace, constants: Any, words: Words, texts: dict[int, str]):
        self.names, self.constants, self.words, self.texts = names, constants, words, texts
        self.source = ""

    def block(self, block: Block) -> tuple[list[str], list[str]]:
        """The lines of a block and the texts of its outputs."""
        everywhere = Counter(id(v) for v in block.reads())
        here = Counter(id(v) for op in block.operations for v in op.inputs)
        here.update(id(v) for v in block.outputs)
        once = {k for k, n in everywhere.items() if n == 1 and here[k] == 1}
        for op in block.operations:
            if op.kind == "scan":  # computed once, not in every step
                once -= {id(v) for v in op.inputs[op.params["carried"] :]}
        lines: list[str] = []
        for op in block.operations:
            if op.kind in ("scan", "while", "cond"):
                lines += getattr(self, f"_{op.kind}")(op)
            else:
                lines += self._plain(op, once)
        return lines, [self.text(v) for v in block.outputs]

    def text(self, value: Value, *, plain: bool = False) -> str:
        if value.constant is None:
            return self.texts[id(value)]
        if value.shape == ():
            return literal(value, plain)
        return self.constants.name(value)

    def _plain(self, op: Operation, once: set[int]) -> list[str]:
        texts = [self.text(v, plain=not typed(op, i)) for i, v in enumerate(op.inputs)]
        expression = FORMS[op.kind](op, texts, self.words)
        short = len(expression) <= _INLINE and op.kind not in _TUPLES
        if op.kind == "aligned" or (short and id(op.outputs[0]) in once):
            self.texts[id(op.outputs[0])] = expression
            return []
        return [self._assign(op, expression)]

    def _assign(self, op: Operation, expression: str) -> str:
        names = []
        for output in op.outputs:
            self.texts[id(output)] = self.names.new(_called(op.kind))
            names.append(self.texts[id(output)])
        if len(names) == 1 and op.kind in _TUPLES:
            names[0] += ","
        line = f"{', '.join(names)} = {bare(expression)}"
        return line + self._comment(op.outputs[0].shape, op.source)

    def _comment(self, shape: tuple[Size, ...], source: str) -> str:
        """The shape, and the user's line where it is another one than before."""
        sizes = f"({', '.join(map(self.words.size, shape))}{',' if len(shape) == 1 else ''})"
        new = source and source != self.source
        self.source = source or self.source
        return f"  # {sizes}" + (f" {one_line(source)}" if new else "")

    def _states(self, op: Operation, count: int, called: str) -> tuple[list[str], list[str]]:
        """Names of what a loop carries, and the line that starts it."""
        names = [self.names.new(called) for _ in range(count)]
        starts = [self.text(v) for v in op.inputs[:count]]
        lines = []
        if names:
            comment = self._comment(op.inputs[0].shape, op.source) if count == 1 else ""
            lines.append(f"{', '.join(names)} = {', '.join(starts)}{comment}")
        return names, lines

    def _scan(self, op: Operation) -> list[str]:
        body, carried = op.blocks[0], op.params["carried"]
        names, lines = self._states(op, carried, "state")
        length = self.words.size(op.params["length"])
        index = self.names.new("i")
        for value, name in zip(body.inputs, names, strict=False):
            self.texts[id(value)] = name
        inner, reads = [], Counter(id(v) for v in body.reads())
        for value, source in zip(body.inputs[carried:], op.inputs[carried:], strict=True):
            text = f"{self.text(source)}[{index}]"
            if reads[id(value)] > 1:
                name = self.names.new("x")
                inner.append(f"{name} = {text}")
                text = name
            self.texts[id(value)] = text
        kept = [self.names.new("path") for _ in op.outputs[carried:]]
        for name, value in zip(kept, op.outputs[carried:], strict=True):
            comment = self._comment(value.shape, op.source)
            shape = self.words.shape(value.shape)
            lines.append(f"{name} = np.empty({shape}, {dtype_text(value.dtype)}){comment}")
        backwards = f"range({length} - 1, -1, -1)"
        steps = backwards if op.params["reverse"] else f"range({length})"
        lines_of_body, results = self.block(body)
        inner += lines_of_body
        inner += [f"{n}[{index}] = {bare(r)}" for n, r in zip(kept, results[carried:], strict=True)]
        lines += [f"for {index} in {steps}:", *_deeper(inner + _update(names, results[:carried]))]
        for value, name in zip(op.outputs, [*names, *kept], strict=True):
            self.texts[id(value)] = name
        return lines

    def _while(self, op: Operation) -> list[str]:
        condition, body = op.blocks
        names, lines = self._states(op, len(op.inputs), "state")
        for block in op.blocks:
            for value, name in zip(block.inputs, names, strict=True):
                self.texts[id(value)] = name
        tests, (test,) = self.block(condition)
        inner, results = self.block(body)
        inner += _update(names, results)
        if tests:
            stop = [*tests, f"if not {test}:", "    break"]
            lines += ["while True:", *_deeper(stop + inner)]
        else:
            lines += [f"while {bare(test)}:", *_deeper(inner)]
        for value, name in zip(op.outputs, names, strict=True):
            self.texts[id(value)] = name
        return lines

    def _cond(self, op: Operation) -> list[str]:
        names = [self.names.new("chosen") for _ in op.outputs]
        index = self.text(op.inputs[0])
        lines: list[str] = []
        for i, block in enumerate(op.blocks):
            inner, results = self.block(block)
            word = "if" if i == 0 else "elif"
            last = i == len(op.blocks) - 1
            lines.append("else:" if last and i else f"{word} {index} == {i}:")
            lines += _deeper(inner + _update(names, results) or ["pass"])
        for value, name in zip(op.outputs, names, strict=True):
            self.texts[id(value)] = name
        return lines


def _update(names: list[str], results: list[str]) -> list[str]:
    changed = [(n, r) for n, r in zip(names, results, strict=True) if n != r]
    if not changed:
        return []
    left, right = zip(*changed, strict=True)
    values = bare(right[0]) if len(right) == 1 else ", ".join(right)
    return [f"{', '.join(left)} = {values}"]


def _deeper(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


_SHORT = {
    "dot_general": "product",
    "conv_general_dilated": "convolved",
    "broadcast_in_dim": "repeated",
    "convert_element_type": "cast",
    "reduce_sum": "total",
    "concatenate": "joined",
    "slice": "part",
    "add": "sum",
    "mul": "scaled",
    "select_n": "chosen",
}


def _called(kind: str) -> str:
    return _SHORT.get(kind, kind.removeprefix("reduce_"))
