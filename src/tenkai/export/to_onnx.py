"""Programs as ONNX: one file per function, from the same trace as NumPy and C.

Loops stay loops (`Scan` and `Loop`), named sizes stay open, and what no standard operation of ONNX
computes is written with those that there are.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .names import constant_names
from .onnx_forms import FORMS
from .onnx_writer import Writer
from .program import Function, Program
from .trace import Traced, trace

OPSET, IR = 18, 9  # widely understood; 18 is the first whose reductions all take axes as inputs


def needed() -> Any:
    """The `onnx` package; `InputError` says how to get it."""
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise InputError(
            "export to ONNX",
            expected="the package onnx",
            got="none",
            do="run: pip install tenkai[onnx]",
        ) from error


def write(
    program: Program, path: Path | str, *, dtype: str, sizes: Mapping[str, int] | None = None
) -> list[Path]:
    """``hares.onnx`` becomes ``hares.simulate.onnx`` and so on, one file per function."""
    from ..storage import write_atomic

    needed()
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(
            "file to export to", expected="a name that ends in .onnx", got=repr(str(path)),
            do=f"write to {path.with_suffix('.onnx').name!r}",
        )  # fmt: skip
    models = models_of(program, dtype=dtype, sizes=sizes)
    files = [path.with_name(f"{path.stem}.{name}.onnx") for name in models]
    for file, model in zip(files, models.values(), strict=True):
        write_atomic(file, model.SerializeToString())
    return files


def models_of(
    program: Program, *, dtype: str = "float32", sizes: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """An ONNX model of every function, by its name."""
    if dtype not in ("float32", "float64"):
        raise InputError(
            "dtype", expected="'float32' or 'float64'", got=repr(dtype), do="pass one of these"
        )
    names = constant_names(program.constants, dtype)
    known = (*FORMS, "scan", "while", "cond")
    made = {}
    for function in program.functions:
        traced = trace(function, dtype, supported=known, sizes=dict(sizes or {}), names=names)
        made[function.name] = _model(program, function, traced, dtype)
    return made


def _model(program: Program, function: Function, traced: Traced, dtype: str) -> Any:
    onnx = needed()
    writer = Writer(onnx, traced, dtype)
    graph = writer.main(traced, function)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR,
        producer_name="tenkai", doc_string="\n".join((program.title, *program.notes)),
    )  # fmt: skip
    onnx.checker.check_model(model)
    return model
