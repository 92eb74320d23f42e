"""Models that leave Python: a fitted model as a NumPy module or a C99 header.

The way is the same for all: `program_of(model)` says which pure functions a model has (with its
scalers and its integrator inside), `trace` turns each into a short list of operations, and a table
of forms per language writes them down. What lies between is JAX's own *jaxpr*, not a template per
class of model, because then whatever a user passes can be exported: an own equation, an own step of
an algorithm, an own activation. The price is that an operation outside the tables cannot be
written; the error names it, says where it comes from and what is supported.

>>> import numpy as np
>>> from tenkai.export.program import Argument, Function, Program
>>> decay = Function("decay", lambda x, t: x * np.exp(-1.0) ** t, (Argument("x"), Argument("t")))
>>> file = numpy(Program("decay", (decay,)), getfixture("tmp_path") / "decay.py")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .program import Argument, Function, Program

__all__ = ["Argument", "Function", "Program", "c", "numpy"]


def numpy(
    model: Any,
    path: Path | str,
    *,
    dtype: str = "float64",
    sizes: Mapping[str, int] | None = None,
) -> Path:
    """Write `model` (fitted, or a `Program`) as one Python file that needs only NumPy.

    ``dtype`` is the precision of all numbers, "float64" or "float32". ``sizes`` fixes named sizes
    that are otherwise taken from the arguments. Returns the path; raises `InputError` for a model
    or an operation that has no NumPy form.
    """
    from .numpy_module import module_text

    return _write(path, ".py", module_text(_program(model), dtype=dtype, sizes=dict(sizes or {})))


def c(
    model: Any,
    path: Path | str,
    *,
    dtype: str = "double",
    sizes: Mapping[str, int] | None = None,
    prefix: str | None = None,
) -> Path:
    """Write `model` (fitted, or a `Program`) as one C99 header: no allocation, `<math.h>` only.

    ``dtype`` is "double" or "float". ``sizes`` fixes named sizes such as ``{"rows": 1}``; one that
    only counts the steps of a loop from arguments to outputs stays an argument of the C function.
    ``prefix`` begins every name in the header (default: the file's name). Returns the path; raises
    `InputError` for a size that is missing, or an operation that has no C form.
    """
    from .c_header import header_text

    path = Path(path)
    prefix = path.stem if prefix is None else prefix
    text = header_text(_program(model), prefix=prefix, dtype=dtype, sizes=dict(sizes or {}))
    return _write(path, ".h", text)


def _program(model: Any) -> Program:
    if isinstance(model, Program):
        return model
    from .programs import program_of

    return program_of(model)


def _write(path: Path | str, ending: str, text: str) -> Path:
    from tenkai.errors import InputError
    from tenkai.storage import write_atomic

    path = Path(path)
    if path.suffix != ending:
        raise InputError(
            "file to export to",
            expected=f"a name that ends in {ending}",
            got=repr(str(path)),
            do=f"write to {path.with_suffix(ending).name!r}",
        )
    write_atomic(path, text.encode("utf-8"))
    return path
