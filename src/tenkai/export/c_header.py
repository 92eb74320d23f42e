"""A program as the text of one C99 header: static functions, no allocation, `<math.h>` only."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np

from tenkai.errors import InputError

from . import c_algebra, c_flow, c_products  # noqa: F401  (they register their forms)
from .c_block import BlockWriter
from .c_forms import ELEMENTS, bare
from .c_statements import STATEMENTS
from .c_text import TYPES, Loops, Place, scalar, stored
from .c_views import VIEWS
from .c_words import Constants, Shared, Words, reserved
from .ir import Block, Operation, Value
from .names import Namespace, constant_names, one_line
from .program import Argument, Program
from .trace import Traced, named, trace

_REAL = {"double": "float64", "float": "float32"}
_FLOW = {"scan", "while", "cond"}


def supported() -> set[str]:
    """The kinds of operations that have a C form, loops and branches aside."""
    return ({*ELEMENTS, *VIEWS, *STATEMENTS}) - _FLOW


def header_text(program: Program, *, prefix: str, dtype: str, sizes: dict[str, int]) -> str:
    """The header: constants, functions taken along, then the program's functions."""
    if dtype not in _REAL:
        raise InputError("dtype", expected="'double' or 'float'", got=repr(dtype), do="pass one")
    prefix = Namespace(ascii_only=True).new(prefix)
    real = np.dtype(_REAL[dtype])
    top = Namespace(ascii_only=True)
    public = {f.name: top.new(f"{prefix}_{f.name}") for f in program.functions}
    words, constants = Words(prefix, real, top), Constants(top, prefix)
    names = constant_names(program.constants, real.name)
    functions = []
    for function in program.functions:
        traced = trace(function, real.name, supported=sorted(supported()), sizes=sizes, names=names)
        functions.append(_CFunction(traced, public[function.name], words, constants).text())
    guard = f"{prefix.upper()}_H"
    parts = [
        _head(program, public, dtype),
        f"#ifndef {guard}\n#define {guard}\n\n#include <math.h>\n#include <stddef.h>",
        *constants.lines,
        *(source.rstrip() for source in words.taken.values()),
        *functions,
        "#endif",
    ]
    return "\n\n".join(parts) + "\n"


def _head(program: Program, public: dict[str, str], dtype: str) -> str:
    from tenkai import __version__

    lines = [program.title, *program.notes]
    lines = [one_line(part) for line in lines for part in line.split("\n")]
    lines += [
        f"Functions: {', '.join(public.values())}. Numbers in {dtype}; arrays row by row.",
        "C99, static functions, no allocation; outputs must not overlap arguments.",
        f"Written by tenkai {__version__}.",
    ]
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])


class _CFunction:
    """One function of the program as a C function."""

    def __init__(self, traced: Traced, name: str, words: Words, constants: Constants):
        self.traced, self.name, self.words = traced, name, words
        names = Namespace({*reserved(), *words.taken, *constants.names.used}, ascii_only=True)
        words.names = {n: names.new(f"n_{n}") for n in traced.sizes}
        block = traced.block
        reads = Counter(id(v) for v in block.reads())
        self.shared = Shared(words, constants, names, reads, traced.function.name)
        self.arguments = [names.new(a.name) for a in traced.arguments]
        self.outputs = [names.new(o) for o in traced.function.outputs]
        for value, argument, called in zip(
            block.inputs, traced.arguments, self.arguments, strict=True
        ):
            self._check_open(value, argument)
            place = (
                scalar(called) if value.shape == () else stored(called, value.shape, words.names)
            )
            self.shared.places[id(value)] = place

    def _check_open(self, value: Value, argument: Argument) -> None:
        """Only the leading size of an argument may be left open."""
        if not all(isinstance(n, int) for n in value.shape[1:]):
            self.shared.must_be_fixed(value)
        if value.shape and not isinstance(value.shape[0], int):
            wanted = set(named(argument.shape[0]))
            assert wanted <= set(self.words.names)

    def text(self) -> str:
        block = self.traced.block
        makers = {id(o): op for op in block.operations for o in op.outputs}
        for value, name in zip(block.outputs, self.outputs, strict=True):
            if not value.fixed:
                _sink(value, name, "0", makers, self.shared)
        writer = BlockWriter(self.shared)
        places = writer.write(block)
        kept = self._outputs(writer, places)
        body = writer.finished(kept)
        used = "\n".join(body)
        every = [*self.words.names.values(), *self.arguments]
        unused = [n for n in every if not re.search(rf"\b{re.escape(n)}\b", used)]
        body = [f"(void){n};" for n in unused] + body
        lines = [
            *self._comment(),
            f"static inline void {self.name}({', '.join(self._parameters())})",
        ]
        return "\n".join([*lines, "{", *(("    " + line).rstrip() for line in body), "}"])

    def _outputs(self, writer: BlockWriter, places: list[Place]) -> dict[str, str]:
        """Write the outputs; returns local arrays that are outputs themselves."""
        kept: dict[str, str] = {}
        changed: list[str] = []
        todo = []
        for value, place, name in zip(self.traced.block.outputs, places, self.outputs, strict=True):
            own = place.base in writer.buffers and place.base not in kept and place.offset == "0"
            if own and value.count == writer.buffers[place.base][1]:
                kept[place.base] = name
            elif place.base != name:
                todo.append((value, place, name))
        sunk = {base for base, _ in self.shared.sinks.values()}
        for value, place, name in sorted(todo, key=lambda t: t[2] in sunk):
            if value.shape == ():
                lines = [f"*{name} = {bare(place.at(()))};"]
            else:
                loops = Loops(value.shape, self.words.names)
                target = stored(name, value.shape, self.words.names)
                lines = [f"{target.at(loops.index)} = {bare(place.at(loops.index))};"]
                lines = [] if 0 in value.shape else loops.around(lines)
            if any(re.search(rf"\b{other}\b", "\n".join(lines)) for other in changed):
                self.shared.must_be_fixed(value)
            changed += [name] if name in sunk else []
            writer.statements.append(lines)
        return kept

    def _parameters(self) -> list[str]:
        texts = [f"size_t {n}" for n in self.words.names.values()]
        for value, name in zip(self.traced.block.inputs, self.arguments, strict=True):
            kind = TYPES[value.dtype.name]
            texts.append(f"{kind} {name}" if value.shape == () else f"const {kind} *{name}")
        for value, name in zip(self.traced.block.outputs, self.outputs, strict=True):
            texts.append(f"{TYPES[value.dtype.name]} *{name}")
        return texts or ["void"]

    def _comment(self) -> list[str]:
        function = self.traced.function
        lines = [one_line(part) for part in (function.doc or function.name).strip().split("\n")]
        for size, name in self.words.names.items():
            lines.append(f"{name}: the size {one_line(size)}")
        for value, argument, name in zip(
            self.traced.block.inputs, self.traced.arguments, self.arguments, strict=True
        ):
            lines.append(_described(name, argument.name, value, argument.doc))
        for value, original, name in zip(
            self.traced.block.outputs, function.outputs, self.outputs, strict=True
        ):
            lines.append(_described(name, original, value, "") + " (output)")
        lines.append(f"Local arrays: {self.shared.memory} bytes.")
        return ["/*", *(f" * {line}".rstrip() for line in lines), " */"]


def _described(name: str, original: str, value: Value, doc: str) -> str:
    shape = " x ".join(map(str, value.shape)) or "a number"
    parts = [p for p in (original if original != name else "", doc) if p]
    return one_line(f"{name} ({shape}){': ' if parts else ''}{', '.join(parts)}")


def _sink(
    value: Value, base: str, offset: str, makers: dict[int, Operation], shared: Shared
) -> bool:
    """Let what must be in memory for an output of open size be written into that output."""
    op = makers.get(id(value))
    if op is None or id(value) in shared.sinks:
        return False
    if op.kind == "scan" and op.outputs.index(value) >= op.params["carried"]:
        shared.sinks[id(value)] = (base, offset)
        return True
    if op.kind == "concatenate" and op.params["dimension"] == 0:
        shared.sinks[id(value)] = (base, offset)
        place = stored(base, value.shape, shared.words.names, offset)
        begin: Any = 0
        for part in op.inputs:
            if not part.fixed:
                first = [shared.words.size(begin), *["0"] * (len(value.shape) - 1)]
                _sink(part, base, place.at(first).split("[", 1)[1][:-1], makers, shared)
            begin = begin + part.shape[0]
        return True
    if op.kind in ELEMENTS:
        same = [v for v in op.inputs if v.dtype == value.dtype and str(v.shape) == str(value.shape)]
        return any(_sink(v, base, offset, makers, shared) for v in same)
    return False


__all__ = ["Block", "header_text", "supported"]
