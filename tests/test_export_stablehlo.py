"""StableHLO files load and answer as the model; a flipped byte is one error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from export_models import case
from test_export_programs import EXACT, jitted, listed, relative

from tenkai import export
from tenkai.errors import InputError
from tenkai.export.program import Argument, Function, Program

SCALED = Program(
    "scaled",
    (
        Function(
            "scaled", lambda x, k, m: (jnp.where(m, k * x, 0.0), x.sum(0)),
            (
                Argument("x", ("rows", 2), "rows"), Argument("k", (), "a factor", "integer"),
                Argument("m", ("rows", 2), "a mask", "boolean"),
            ),
            ("y", "total"), "Rows times a factor.",
        ),
    ),
    ("a note",),
)  # fmt: skip
GIVEN = np.arange(6.0).reshape(3, 2), 2, np.eye(3, 2) > 0


@pytest.mark.parametrize("name", ["ode", "algorithm", "classifier", "rnn"])
def test_a_loaded_file_is_the_model(name: str, tmp_path: Path) -> None:
    known, found = case(name), jitted(name)
    path = export.stablehlo(known.model, tmp_path / "m", dtype="float64", **known.options)
    loaded = export.load_stablehlo(path)
    for function, outputs in found.items():
        answers = listed(loaded.functions[function](*known.arguments[function]))
        for got, want in zip(answers, outputs, strict=True):
            assert relative(got, want) <= EXACT, function


def test_a_file_tells_what_it_holds_and_takes_any_number_of_rows(tmp_path: Path) -> None:
    loaded = export.load_stablehlo(export.stablehlo(SCALED, tmp_path / "s.stablehlo"))
    assert (loaded.title, loaded.notes, loaded.dtype) == ("scaled", ("a note",), "float32")
    assert loaded.scaled.arguments == SCALED.functions[0].arguments
    assert loaded.scaled.outputs == ("y", "total")
    for rows in (1, 3):
        y, total = loaded.scaled(GIVEN[0][:rows], 2, GIVEN[2][:rows])
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, np.where(GIVEN[2][:rows], 2 * GIVEN[0][:rows], 0))
        np.testing.assert_array_equal(total, GIVEN[0][:rows].sum(0))


def test_a_loaded_function_is_part_of_other_programs(tmp_path: Path) -> None:
    loaded = export.load_stablehlo(export.stablehlo(SCALED, tmp_path / "s"))
    x, k, m = GIVEN
    twice = jax.jit(lambda x: 2 * loaded.scaled(x, jnp.int32(k), jnp.asarray(m))[1])
    np.testing.assert_array_equal(twice(x.astype(np.float32)), 2 * x.sum(0))


def test_sizes_can_be_fixed(tmp_path: Path) -> None:
    loaded = export.load_stablehlo(export.stablehlo(SCALED, tmp_path / "s", sizes={"rows": 3}))
    assert loaded.scaled.arguments[0].shape == (3, 2)
    with pytest.raises(InputError, match=r"argument 'x' of scaled: expected shape \(3, 2\)"):
        loaded.scaled(np.ones((2, 2)), 1, np.ones((2, 2), bool))


@pytest.mark.parametrize(
    "given, words",
    [
        ((np.ones((3, 2)), 1), "expected 3: x, k, m"),
        ((np.ones((3, 3)), 1, np.ones((3, 2), bool)), r"'x' of scaled: expected shape \(rows, 2\)"),
        ((np.ones((3, 2)), 1, np.ones((2, 2), bool)), "'m' of scaled"),
        ((np.ones(3), 1, np.ones((2, 2), bool)), "'x' of scaled"),
    ],
)
def test_arguments_that_do_not_fit_are_named(given: Any, words: str, tmp_path: Path) -> None:
    loaded = export.load_stablehlo(export.stablehlo(SCALED, tmp_path / "s"))
    with pytest.raises(InputError, match=words):
        loaded.scaled(*given)
    with pytest.raises(AttributeError, match="there are scaled"):
        _ = loaded.other


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = export.stablehlo(SCALED, tmp_path / "s")
    whole = path.read_bytes()
    for place in (60, len(whole) // 2, len(whole) - 1):
        content = bytearray(whole)
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            export.load_stablehlo(path)
    path.write_bytes(whole[:-5])
    with pytest.raises(InputError, match="damaged"):
        export.load_stablehlo(path)
    path.write_bytes(b"anything else")
    with pytest.raises(InputError, match="another kind of file"):
        export.load_stablehlo(path)
    path.write_bytes(whole[:16] + b"\x09" + whole[17:])
    with pytest.raises(InputError, match="another format"):
        export.load_stablehlo(path)
    with pytest.raises(InputError, match="No such file"):
        export.load_stablehlo(tmp_path / "missing")
