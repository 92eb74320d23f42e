"""Small pieces of C: types, numbers, index arithmetic, and where the elements of an array stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .ir import Size, size_text

TYPES = {
    "float64": "double",
    "float32": "float",
    "bool": "unsigned char",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
}
_SUFFIX = {"int64": "LL", "uint32": "U", "uint64": "ULL"}


def number(value: object, dtype: np.dtype) -> str:
    """A known number as a C constant of its type."""
    name, scalar = dtype.name, dtype.type(value)
    if dtype.kind == "f":
        return _real(scalar, "f" if name == "float32" else "")
    whole = int(scalar)
    if dtype.kind == "i" and whole == np.iinfo(dtype).min:
        return f"(-{-(whole + 1)}{_SUFFIX.get(name, '')} - 1)"
    text = f"{whole}{_SUFFIX.get(name, '')}"
    return f"({text})" if whole < 0 else text


def _real(value: np.floating, suffix: str) -> str:
    if np.isnan(value):
        return "NAN"
    if np.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    text = str(value)
    if not any(c in text for c in ".e"):
        text += ".0"
    return f"({text}{suffix})" if text.startswith("-") else text + suffix


def plus(a: str, b: str) -> str:
    if a.isdigit() and b.isdigit():
        return str(int(a) + int(b))
    if a == "0":
        return b
    return a if b == "0" else f"{a} + {b}"


def times(a: str, b: str) -> str:
    if a.isdigit() and b.isdigit():
        return str(int(a) * int(b))
    if "0" in (a, b):
        return "0"
    if b == "1":
        return a
    return b if a == "1" else f"{_factor(a)} * {_factor(b)}"


def _factor(text: str) -> str:
    return text if text.replace("_", "").isalnum() else f"({text})"


def flat(index: Sequence[str], shape: Sequence[Size], names: dict[str, str]) -> str:
    """The place of an element in an array that lies row by row."""
    total, stride = "0", "1"
    for i, n in zip(reversed(index), reversed(shape), strict=True):
        total = plus(times(i, stride), total)
        stride = times(stride, size_text(n, c=True, names=names))
    return total


def unflat(place: str, shape: Sequence[Size], names: dict[str, str]) -> list[str]:
    """The index of the element at `place`."""
    index: list[str] = []
    sizes = [size_text(n, c=True, names=names) for n in shape]
    stride = "1"
    for k in range(len(sizes) - 1, -1, -1):
        if sizes[k] == "1":
            index.append("0")
            continue
        part = place if stride == "1" else f"{_factor(place)} / {_factor(stride)}"
        outermost = all(s == "1" for s in sizes[:k])
        index.append(part if outermost else f"({part}) % {_factor(sizes[k])}")
        stride = times(stride, sizes[k])
    return [i if i.isalnum() else f"({i})" for i in reversed(index)]


@dataclass(frozen=True)
class Place:
    """Where an array's elements are: `at(index)` is the text of one of them.

    `base` is set where it lies in memory, row by row from element `offset` of that array on.
    """

    at: Callable[[Sequence[str]], str]
    base: str = ""
    offset: str = "0"


def stored(base: str, shape: Sequence[Size], names: dict[str, str], offset: str = "0") -> Place:
    def at(index: Sequence[str]) -> str:
        return f"{base}[{plus(offset, flat(index, shape, names))}]"

    return Place(at, base, offset)


def scalar(text: str) -> Place:
    return Place(lambda index: text)


class Loops:
    """Nested ``for`` loops over a shape; an axis of length one has none."""

    def __init__(self, shape: Sequence[Size], names: dict[str, str], letters: str = "ijklmnpqr"):
        self.index: list[str] = []
        self.heads: list[str] = []
        free = iter(letters)
        for n in shape:
            if str(n) == "1":
                self.index.append("0")
                continue
            i = next(free)
            self.index.append(i)
            limit = size_text(n, c=True, names=names)
            self.heads.append(f"for (size_t {i} = 0; {i} < {limit}; {i}++) {{")

    def around(self, lines: Sequence[str]) -> list[str]:
        return wrapped(self.heads, lines)


def wrapped(heads: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Lines inside of blocks that `heads` open."""
    out = [("    " * d) + head for d, head in enumerate(heads)]
    out += [("    " * len(heads)) + line for line in lines]
    return out + [("    " * d) + "}" for d in range(len(heads) - 1, -1, -1)]
