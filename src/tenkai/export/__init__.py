"""Models that leave Python: a NumPy module, a C99 header, ONNX, or StableHLO.

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

__all__ = [
    "Argument", "Function", "Program", "c", "load_stablehlo", "numpy", "onnx", "stablehlo",
]  # fmt: skip


def numpy(
    model: Any,
    path: Path | str,
    *,
    dtype: str = "float64",
    sizes: Mapping[str, int] | None = None,
    **options: Any,
) -> Path:
    """Write `model` (fitted, or a `Program`) as one Python file that needs only NumPy.

    ``dtype`` is the precision of all numbers, "float64" or "float32". ``sizes`` fixes named sizes
    that are otherwise taken from the arguments. `options` are those of `program_of`. Returns the
    path; raises `InputError` for a model or an operation that has no NumPy form.
    """
    from .numpy_module import module_text

    return _write(
        path, ".py", module_text(_program(model, options), dtype=dtype, sizes=dict(sizes or {}))
    )


def c(
    model: Any,
    path: Path | str,
    *,
    dtype: str = "double",
    sizes: Mapping[str, int] | None = None,
    prefix: str | None = None,
    **options: Any,
) -> Path:
    """Write `model` (fitted, or a `Program`) as one C99 header: no allocation, `<math.h>` only.

    ``dtype`` is "double" or "float". ``sizes`` fixes named sizes; one that only counts the steps of
    a loop from arguments to outputs stays an argument of the C function. A fitted model answers one
    row a call unless ``sizes`` says otherwise.
    ``prefix`` begins every name in the header (default: the file's name). `options` are those of
    `program_of`. Returns the path; raises `InputError` for a size that is missing, or an operation
    that has no C form.
    """
    from .c_header import header_text

    path = Path(path)
    prefix = path.stem if prefix is None else prefix
    fixed = dict(sizes or {}) if isinstance(model, Program) else {"rows": 1, **(sizes or {})}
    text = header_text(_program(model, options), prefix=prefix, dtype=dtype, sizes=fixed)
    return _write(path, ".h", text)


def onnx(
    model: Any,
    path: Path | str,
    *,
    dtype: str = "float32",
    sizes: Mapping[str, int] | None = None,
    **options: Any,
) -> list[Path]:
    """Write `model` (fitted, or a `Program`) as ONNX, one file per function.

    ``hares.onnx`` becomes ``hares.simulate.onnx`` and so on. ``dtype`` is "float32" or "float64",
    ``sizes`` fixes named sizes, `options` are those of `program_of`. Needs the extra ``onnx``.
    Raises `InputError` for a model or an operation that has no ONNX form.
    """
    from .to_onnx import write

    return write(_program(model, options), path, dtype=dtype, sizes=sizes)


def stablehlo(
    model: Any,
    path: Path | str,
    *,
    dtype: str = "float32",
    sizes: Mapping[str, int] | None = None,
    **options: Any,
) -> Path:
    """Write `model` (fitted, or a `Program`) as StableHLO, for `load_stablehlo` and JAX's serving.

    All functions stand in one file with a checksum. ``dtype`` is "float32" or "float64", ``sizes``
    fixes named sizes, `options` are those of `program_of`. Returns the path; raises `InputError`
    for a model that cannot be exported.
    """
    from .to_stablehlo import write

    return write(_program(model, options), path, dtype=dtype, sizes=sizes)


def load_stablehlo(path: Path | str) -> Any:
    """The functions that `stablehlo` wrote, as attributes: ``loaded.simulate(y0, times)``.

    Raises `InputError` for another kind of file, a damaged one, or one of another format.
    """
    from .to_stablehlo import load

    return load(path)


def _program(model: Any, options: Mapping[str, Any]) -> Program:
    if isinstance(model, Program):
        return model
    from .programs import program_of

    return program_of(model, **options)


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
