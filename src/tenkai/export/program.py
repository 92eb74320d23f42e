"""What an export writes: named pure functions of arrays, in the user's units.

    Argument    a named array, its shape (numbers and named sizes), what it means
    Function    a pure JAX function of such arrays, its outputs named
    Program     the functions of one model: one file

A function is traced when it is exported. Named sizes such as "rows" are only known when the
exported function is called (or given to the export as ``sizes={"rows": 1}``).
"""

from __future__ import annotations

import keyword
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tenkai.errors import InputError

KINDS = ("real", "integer", "boolean")


@dataclass(frozen=True)
class Argument:
    """A named array: `shape` of numbers and named sizes ("rows", or "times - 1"), `doc` with units.

    `dtype` is "real" (the precision that the export is asked for), "integer" or "boolean".

    >>> Argument("times", ("times",), "when, in years")
    Argument(name='times', shape=('times',), doc='when, in years', dtype='real')
    """

    name: str
    shape: tuple[int | str, ...] = ()
    doc: str = ""
    dtype: str = "real"

    def __post_init__(self) -> None:
        if self.dtype not in KINDS:
            raise InputError(
                f"dtype of argument {self.name!r}",
                expected=" or ".join(map(repr, KINDS)),
                got=repr(self.dtype),
                do="pass one of these",
            )


@dataclass(frozen=True)
class Function:
    """A pure JAX function: ``call(*arrays)`` gives one array or a tuple, one for each of `outputs`.

    ``call`` works in raw units and casts its own constants to what it is given (as ``x @ weight``
    does), so that the same function can be written in float32 and float64.
    """

    name: str
    call: Callable[..., Any] = field(repr=False)
    arguments: tuple[Argument, ...] = ()
    outputs: tuple[str, ...] = ("out",)
    doc: str = ""

    def __post_init__(self) -> None:
        _needs_a_name(self.name)
        for names, what in (
            ([a.name for a in self.arguments], "arguments"),
            (list(self.outputs), "outputs"),
        ):
            if len(set(names)) != len(names):
                raise InputError(
                    f"{what} of function {self.name!r}",
                    expected="every name once",
                    got=", ".join(names),
                    do="rename the second one",
                )


@dataclass(frozen=True)
class Program:
    """The functions of one model, which become one file.

    `notes` are lines for the head of the file (where the model comes from, units, limits).
    `constants` is any PyTree, such as the model: where a constant of the functions equals one of
    its arrays, it is called by that array's path in the tree (``net.layers[0].weight``).
    """

    title: str
    functions: tuple[Function, ...]
    notes: tuple[str, ...] = ()
    constants: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        names = [f.name for f in self.functions]
        if not names or len(set(names)) != len(names):
            raise InputError(
                f"functions of program {self.title!r}",
                expected="at least one, every name once",
                got=", ".join(names) or "none",
                do="rename the second one" if names else "add a function",
            )


def _needs_a_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise InputError(
            "name of a function",
            expected="a Python name",
            got=repr(name),
            do="use letters, digits and underscores",
        )
