"""Every model as a C99 header: compiled without a warning, it answers as the model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from export_laws import COMPILER, Compiled
from export_models import CASES, case, ode
from test_export_programs import EXACT, SINGLE, jitted, listed, relative

from tenkai import export
from tenkai.export.program import Function, Program
from tenkai.export.programs import program_of

pytestmark = pytest.mark.skipif(
    COMPILER is None, reason="headers are tried with a C compiler, and this machine has none"
)

KINDS = {"integer": np.int32, "boolean": np.bool_}


def sizes_of(function: Function, arguments: tuple) -> dict[str, int]:
    """The named sizes that the arguments have."""
    pairs = zip(function.arguments, arguments, strict=True)
    return {
        str(size): int(count)
        for argument, value in pairs
        for size, count in zip(argument.shape, np.shape(value), strict=True)
        if isinstance(size, str)
    }


class Asked(NamedTuple):
    """What `Compiled.call` reads of a case: arrays in and of which types they come out."""

    arrays: list[np.ndarray]
    wanted: list[np.ndarray]

    def given(self, dtype: str) -> list[np.ndarray]:
        return self.arrays

    def expected(self, dtype: str) -> list[np.ndarray]:
        return [w.astype(dtype) if w.dtype.kind == "f" else w for w in self.wanted]


def check(program: Program, arguments: dict, wanted: dict, folder: Path, dtype: str) -> None:
    """Every function by itself: sizes of the same name may differ between functions."""
    c, close = ("double", EXACT) if dtype == "float64" else ("float", SINGLE)
    for function in program.functions:
        if function.name not in wanted:
            continue
        given = [
            np.asarray(v, KINDS.get(a.dtype, dtype))
            for a, v in zip(function.arguments, arguments[function.name], strict=True)
        ]
        asked = Asked(given, [np.asarray(w) for w in wanted[function.name]])
        alone = Program(program.title, (function,), program.notes, program.constants)
        sizes = sizes_of(function, arguments[function.name])
        path = folder / f"{function.name}.h"
        built = Compiled(export.c(alone, path, dtype=c, sizes=sizes, prefix="m"))
        found = built.call(f"m_{function.name}", asked, dtype)  # type: ignore[arg-type]
        for got, want in zip(found, asked.wanted, strict=True):
            assert relative(got, want) <= close, function.name


@pytest.mark.parametrize("name", CASES)
def test_c_is_the_model(name: str, tmp_path: Path) -> None:
    known = case(name)
    program: Any = program_of(known.model, **known.options)
    check(program, known.arguments, jitted(name), tmp_path, "float64")


def test_a_rollout_in_single_precision(tmp_path: Path) -> None:
    known = ode("float32")
    wanted = {name: listed(w) for name, w in known.wanted.items()}
    check(program_of(known.model), known.arguments, wanted, tmp_path, "float32")
