"""Shapes of arguments: numbers, and named sizes that JAX traces as symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from tenkai.errors import InputError

from .program import Argument

_DTYPES = {"integer": np.dtype(np.int32), "boolean": np.dtype(bool)}


def named(size: int | str) -> list[str]:
    """The names in a size such as "2*rows + 1"."""
    return [] if isinstance(size, int) else re.findall(r"[^\W\d]\w*", size)


def with_sizes(argument: Argument, sizes: Mapping[str, int], where: str) -> Argument:
    shape = tuple(_with_size(d, sizes, argument, where) for d in argument.shape)
    return Argument(argument.name, shape, argument.doc, argument.dtype)


def _with_size(
    size: int | str, sizes: Mapping[str, int], argument: Argument, where: str
) -> int | str:
    if isinstance(size, int):
        return size
    text = re.sub(r"[^\W\d]\w*", lambda m: str(sizes.get(m[0], m[0])), size)
    if named(text):
        return text
    if not re.fullmatch(r"[\d\s+*()/-]+", text):
        raise _bad_size(size, argument, where)
    try:
        return int(eval(text, {"__builtins__": {}}))
    except (SyntaxError, TypeError, ZeroDivisionError) as error:
        raise _bad_size(size, argument, where) from error


def _bad_size(size: object, argument: Argument, where: str) -> InputError:
    return InputError(
        f"shape of argument {argument.name!r} of {where}",
        expected="numbers, names of sizes and sums and products of them",
        got=repr(size),
        do='write "rows" or "2*rows + 1"',
    )


def shapes_of(arguments: tuple[Argument, ...], real: np.dtype, where: str) -> list[Any]:
    scope = jax.export.SymbolicScope()
    specs = []
    for argument in arguments:
        text = ", ".join(str(d) for d in argument.shape)
        try:
            shape = jax.export.symbolic_shape(f"({text},)" if text else "()", scope=scope)
        except Exception as error:  # JAX raises several kinds
            raise _bad_size(argument.shape, argument, where) from error
        shape = tuple(int(d) if isinstance(d, int | np.integer) else d for d in shape)
        specs.append(jax.ShapeDtypeStruct(shape, _DTYPES.get(argument.dtype, real)))
    return specs
