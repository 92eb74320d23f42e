"""What the forms of C ask of the header they stand in: names, functions, known arrays, memory."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np

from tenkai.errors import InputError

from .c_support import SUPPORT, power_source
from .c_text import TYPES, Place, number, scalar, stored
from .ir import Size, UnknownSize, Value, size_text
from .names import Namespace, one_line
from .numpy_forms import gather_fill

__all__ = ["Constants", "Shared", "Words", "gather_fill", "reserved"]

_WORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while bool true false class delete explicit export friend mutable namespace new operator
private protected public template this throw try catch using virtual typename and or not xor near
far NAN INFINITY HUGE_VAL NULL EOF errno assert main linux unix size_t ptrdiff_t offsetof
middle merged order rest width left right seen
"""
_MATH = """
acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim
floor fma fmax fmin fmod frexp hypot ilogb ldexp lgamma llrint llround log log10 log1p log2 logb
lrint lround modf nan nearbyint nextafter nexttoward pow remainder remquo rint round scalbln scalbn
sin sinh sqrt tan tanh tgamma trunc
"""


def reserved() -> set[str]:
    """Names that no variable may have: C's and C++'s words, `<math.h>`, those of our own loops."""
    math = {m + s for m in _MATH.split() for s in ("", "f", "l")}
    macros = {"isfinite", "isinf", "isnan", "isnormal", "signbit", "fpclassify", "isgreater"}
    loops = {
        *"abcdefghijklmnopqrstuvwxyzI",
        *(f"x{i}" for i in range(9)),
        *(f"at{i}" for i in range(9)),
    }
    return {*_WORDS.split(), *math, *macros, *loops}


class Words:
    """Texts of sizes, and C functions to take along."""

    def __init__(self, prefix: str, real: np.dtype, top: Namespace):
        self.prefix, self.real, self.top = prefix, real, top
        self.names: dict[str, str] = {}
        self.taken: dict[str, str] = {}  # function: its source
        self._called: dict[tuple[str, str], str] = {}

    def size(self, size: Size) -> str:
        try:
            return size_text(size, c=True, names=self.names)
        except UnknownSize as error:
            raise InputError(
                f"size {size}",
                expected="sums and products of named sizes",
                got=str(error),
                do="fix the size: pass sizes={...}",
            ) from error

    def math(self, name: str, dtype: np.dtype) -> str:
        """A function of `<math.h>` for that type."""
        return f"{name}f" if dtype.name == "float32" else name

    def take(self, name: str, dtype: np.dtype) -> str:
        return self._take(name, SUPPORT[name], name.split("_double")[0].split("_float")[0], dtype)

    def power(self, exponent: int, dtype: np.dtype) -> str:
        name = f"power_{'minus_' if exponent < 0 else ''}{abs(exponent)}"
        return self._take(name, power_source(exponent).replace("@NAME", f"@{name}"), name, dtype)

    def _take(self, key: str, source: str, name: str, dtype: np.dtype) -> str:
        kind, single = TYPES[dtype.name], "f" if dtype.name == "float32" else ""
        if (key, kind) not in self._called:
            own = "" if dtype == self.real else "_" + kind.replace(" ", "_")
            called = self.top.new(f"{self.prefix}_{name}{own}")
            text = re.sub(r"\bT\b", kind, source.replace(f"@{name}", called))
            self._called[key, kind] = called
            self.taken[called] = text.replace("~", single).replace("#", single)
        return self._called[key, kind]

    def start(self, text: str, size: Size, block: Size) -> str:
        """Where a block of an axis begins, moved inside."""
        return f"{self.take('start', self.real)}({text}, {self._last(size, block)})"

    def inside(self, text: str, size: Size, block: Size) -> str:
        return f"{self.take('inside', self.real)}({text}, {self._last(size, block)})"

    def _last(self, size: Size, block: Size) -> str:
        if isinstance(size, int) and isinstance(block, int):
            return str(size - block)
        return f"{self.size(size)} - {self.size(block)}"


class Constants:
    """Known arrays as definitions, each once."""

    def __init__(self, names: Namespace, prefix: str):
        self.names, self.prefix = names, prefix
        self.known: dict[Any, str] = {}
        self.lines: list[str] = []

    def place(self, value: Value) -> Place:
        array = value.constant
        assert array is not None
        if array.size == 0:
            return scalar(number(0, array.dtype))
        if value.uniform:
            return scalar(number(array.flat[0], array.dtype))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.known:
            self.known[key] = self.names.new(f"{self.prefix}_{value.hint or 'constant'}")
            self.lines.append(_definition(self.known[key], array, value.hint))
        return stored(self.known[key], value.shape, {})


def _definition(name: str, array: np.ndarray, hint: str) -> str:
    numbers = [number(x, array.dtype).strip("()") for x in array.reshape(-1)]
    lines, line = list[str](), "   "
    for text in numbers:
        if len(line) + len(text) > 98:
            lines.append(line)
            line = "   "
        line += f" {text},"
    shape = " x ".join(map(str, array.shape))
    comment = f"/* {shape}{f': {one_line(hint)}' if hint else ''} */"
    body = "\n".join([*lines, line]).rstrip(",")
    return (
        f"{comment}\nstatic const {TYPES[array.dtype.name]} {name}[{array.size}] = {{\n{body}\n}};"
    )


class Shared:
    """What all blocks of one function have in common."""

    def __init__(
        self, words: Words, constants: Constants, names: Namespace, reads: Counter[int], where: str
    ):
        self.words, self.constants, self.names, self.reads = words, constants, names, reads
        self.where = where
        self.places: dict[int, Place] = {}
        self.sinks: dict[int, tuple[str, str]] = {}
        self.alive: list[Value] = []  # made here; their ids must stay theirs
        self.source, self.memory, self._tokens = "", 0, 0

    def constant(self, value: Value) -> Place:
        return self.constants.place(value)

    def token(self) -> str:
        """A local array that has no name yet."""
        self._tokens += 1
        return f"t__{self._tokens}__"

    def must_be_fixed(self, value: Value) -> None:
        if value.fixed:
            return
        names = sorted(set(re.findall(r"[^\W\d]\w*", " ".join(map(str, value.shape)))))
        names = [n for n in names if n in self.words.names] or names
        raise InputError(
            f"sizes of function {self.where!r}",
            expected=f"numbers for {', '.join(names)}, because C keeps arrays of fixed size",
            got=f"an array of shape ({', '.join(map(str, value.shape))}) in between",
            do=f"pass sizes={{{', '.join(f'{n!r}: 1' for n in names)}}} with the numbers wanted",
        )
