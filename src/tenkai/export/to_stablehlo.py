"""Programs as StableHLO: JAX's own serving format with a head, a checksum and named functions.

A file is ``TENKAI-STABLEHLO`` and a version, the SHA-256 of all that follows, the length of the
head, the head (JSON: title, notes, type, functions with their arguments), and the functions as
`jax.export` serialises them. Without the checksum a flipped byte may load, run and answer wrongly.
Nothing in a file is code of Python.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from ..devices import arithmetic
from ..errors import InputError
from .program import Argument, Program
from .shapes import named, shapes_of, with_sizes

_MAGIC, _FORMAT = b"TENKAI-STABLEHLO", 1
_PLATFORMS = ("cpu", "cuda", "tpu")
_KINDS = {"integer": np.dtype(np.int32), "boolean": np.dtype(bool)}


def write(
    program: Program, path: Path | str, *, dtype: str, sizes: Mapping[str, int] | None = None
) -> Path:
    """One file with all functions."""
    from ..storage import write_atomic

    if dtype not in ("float32", "float64"):
        raise InputError(
            "dtype", expected="'float32' or 'float64'", got=repr(dtype), do="pass one of these"
        )
    told, parts = [], []
    for function in program.functions:
        arguments = tuple(
            with_sizes(a, dict(sizes or {}), function.name) for a in function.arguments
        )
        with jax.enable_x64(dtype == "float64"):
            shapes = shapes_of(arguments, np.dtype(dtype), function.name)
            call = jax.jit(_flat(function.call))
            parts.append(jax.export.export(call, platforms=_PLATFORMS)(*shapes).serialize())
        told.append({
            "name": function.name, "doc": function.doc, "outputs": list(function.outputs),
            "arguments": [dataclasses.asdict(a) for a in arguments], "bytes": len(parts[-1]),
        })  # fmt: skip
    head = json.dumps(
        {"title": program.title, "notes": program.notes, "dtype": dtype, "functions": told}
    ).encode()
    rest = len(head).to_bytes(8, "little") + head + b"".join(map(bytes, parts))
    content = _MAGIC + _FORMAT.to_bytes(2, "little") + hashlib.sha256(rest).digest() + rest
    write_atomic(Path(path), content)
    return Path(path)


def _flat(call: Callable) -> Callable:
    return lambda *arrays: tuple(jax.tree.leaves(call(*arrays)))


@dataclass(frozen=True)
class LoadedFunction:
    """A function of a StableHLO file: NumPy arrays in and out, or JAX's inside another program.

    `exported` is JAX's own object. Raises `InputError` for arguments of another shape.
    """

    name: str
    doc: str
    arguments: tuple[Argument, ...]
    outputs: tuple[str, ...]
    dtype: str
    exported: Any
    _run: Callable

    def __call__(self, *arrays: Any) -> Any:
        if len(arrays) != len(self.arguments):
            names = ", ".join(a.name for a in self.arguments)
            raise InputError(
                f"arguments of {self.name}", expected=f"{len(self.arguments)}: {names}",
                got=str(len(arrays)), do="pass one array for each",
            )  # fmt: skip
        with arithmetic(self.dtype):
            traced = any(isinstance(a, Tracer) for a in arrays)
            known: dict[str, int] = {}
            given = [self._read(a, v, known) for a, v in zip(self.arguments, arrays, strict=True)]
            made = self._run(*given)
            made = made if traced else [np.asarray(v) for v in made]
        return made[0] if len(self.outputs) == 1 else tuple(made)

    def _read(self, argument: Argument, value: Any, known: dict[str, int]) -> Any:
        """The array in its type; `InputError` unless its shape fits."""
        kind = _KINDS.get(argument.dtype, np.dtype(self.dtype))
        array = value.astype(kind) if hasattr(value, "aval") else np.asarray(value, kind)
        sizes = [
            known.setdefault(n, m) if isinstance(n, str) and named(n) == [n] else n
            for n, m in zip(argument.shape, array.shape, strict=False)
        ]
        fits = len(array.shape) == len(argument.shape) and all(
            n == m for n, m in zip(sizes, array.shape, strict=True) if isinstance(n, int)
        )
        if not fits:
            raise InputError(
                f"argument {argument.name!r} of {self.name}",
                expected=f"shape ({', '.join(map(str, argument.shape))})",
                got=f"{array.shape}", do="mend it",
            )  # fmt: skip
        return array


@dataclass(frozen=True)
class LoadedProgram:
    """What a StableHLO file holds; its functions are attributes."""

    title: str
    notes: tuple[str, ...]
    dtype: str
    functions: Mapping[str, LoadedFunction]

    def __getattr__(self, name: str) -> LoadedFunction:
        if name.startswith("_") or name not in self.functions:
            raise AttributeError(f"{name!r}; there are {', '.join(self.functions)}")
        return self.functions[name]


def load(path: Path | str) -> LoadedProgram:
    """What `write` wrote; `InputError` for other files, damaged and newer ones."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise _refuse(path, error.strerror or str(error), "check the path") from None
    begin = len(_MAGIC) + 2
    if content[: len(_MAGIC)] != _MAGIC:
        raise _refuse(path, "another kind of file", "export it with tk.export.stablehlo")
    if int.from_bytes(content[len(_MAGIC) : begin], "little") != _FORMAT:
        raise _refuse(path, "one of another format", "upgrade tenkai, or export it again")
    digest, rest = content[begin : begin + 32], content[begin + 32 :]
    if hashlib.sha256(rest).digest() != digest:
        raise _refuse(path, "a damaged one: its checksum does not fit", "export it again")
    length = int.from_bytes(rest[:8], "little")
    head, at = json.loads(rest[8 : 8 + length]), 8 + length
    functions = {}
    for told in head["functions"]:
        part = rest[at : at + told["bytes"]]
        at += told["bytes"]
        functions[told["name"]] = _function(told, part, head["dtype"])
    return LoadedProgram(head["title"], tuple(head["notes"]), head["dtype"], functions)


def _function(told: dict[str, Any], part: bytes, dtype: str) -> LoadedFunction:
    exported = jax.export.deserialize(bytearray(part))
    arguments = tuple(Argument(**(a | {"shape": tuple(a["shape"])})) for a in told["arguments"])
    return LoadedFunction(
        told["name"], told["doc"], arguments, tuple(told["outputs"]), dtype, exported,
        jax.jit(exported.call),
    )  # fmt: skip


def _refuse(path: Path | str, got: str, do: str) -> InputError:
    return InputError(f"file {str(path)!r}", expected="a StableHLO export", got=got, do=do)
