"""Exported NumPy modules give what JAX gives, need only NumPy and cannot be talked into code."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from export_laws import LAWS, Case, close, program, real

from tenkai import convolution, fields
from tenkai.errors import InputError
from tenkai.export import Argument, Function, Program
from tenkai.export import numpy as export_numpy
from tenkai.export.c_header import supported
from tenkai.export.numpy_forms import FORMS
from tenkai.export.trace import trace
from tenkai.fields import MLP


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["float64", "float32"])
def laws(request: Any, tmp_path_factory: Any) -> tuple[str, ModuleType]:
    path = tmp_path_factory.mktemp(request.param) / "laws.py"
    return request.param, load(export_numpy(program(LAWS), path, dtype=request.param))


@pytest.mark.parametrize("case", LAWS, ids=lambda c: c.name)
def test_what_jax_gives(laws: tuple[str, ModuleType], case: Case) -> None:
    dtype, module = laws
    out = getattr(module, f"law_{case.name}")(*case.given(dtype))
    close(out if isinstance(out, tuple) else (out,), case, dtype)


def kinds(block: Any) -> set[str]:
    found = {op.kind for op in block.operations}
    return found.union(*(kinds(b) for op in block.operations for b in op.blocks))


def test_every_operation_has_both_forms_and_a_law() -> None:
    ours = set(FORMS) - {"aligned"}  # NumPy's own broadcasting
    assert ours == supported()
    found: set[str] = set()
    for case in LAWS:
        traced = trace(case.function(), "float64", supported=sorted(FORMS))
        found |= kinds(traced.block)
    assert not ours - found, "operations without a law"
    assert {"scan", "while", "cond"} <= found


def test_every_layer_has_a_law() -> None:
    """A new layer of these rooms must get a law; these have them."""
    layers = {
        c.__name__
        for room in (fields, convolution)
        for c in vars(room).values()
        if isinstance(c, type) and issubclass(c, eqx.Module) and c.__module__ == room.__name__
    }
    known = {"Linear", "MLP", "NeuralField", "Sum", "Convolution", "ConcatConvolution"}
    assert layers == known
    names = {case.name for case in LAWS}
    assert {f"mlp_{name}" for name in fields.ACTIVATIONS} <= names


def test_open_sizes_are_those_of_the_arguments(tmp_path: Path) -> None:
    net = MLP((3, 8, 2), "silu", key=np.random.default_rng(0))
    call = jax.vmap(net)
    function = Function("predict", call, (Argument("x", ("rows", 3), "in metres"),), ("y",))
    module = load(export_numpy(Program("net", (function,), constants=net), tmp_path / "net.py"))
    for rows in (1, 7):
        x = real(rows, 3)
        with jax.enable_x64(True):
            expected = np.asarray(jax.jit(call)(x))
        np.testing.assert_allclose(module.predict(x), expected, rtol=1e-12, atol=1e-14)
    assert module.LAYERS_0_WEIGHT.shape in {(8, 3), (3, 8)}
    assert "x (rows, 3): in metres" in module.predict.__doc__
    with pytest.raises(ValueError, match=r"x: expected shape \(None, 3\); got \(3,\)"):
        module.predict(np.zeros(3))


def test_sizes_are_checked_against_each_other(tmp_path: Path) -> None:
    arguments = (Argument("x", ("n",)), Argument("edges", ("n + 1",)), Argument("w", (2, "n")))
    function = Function("f", lambda x, e, w: w @ (x * jnp.diff(e)), arguments)
    module = load(export_numpy(Program("sizes", (function,)), tmp_path / "f.py"))
    np.testing.assert_allclose(module.f([1, 2], [0, 1, 3], np.eye(2)), [1, 4])
    with pytest.raises(ValueError, match="edges: expected shape"):
        module.f([1, 2], [0, 1], np.eye(2))
    with pytest.raises(ValueError, match="w: expected shape"):
        module.f([1, 2], [0, 1, 2], np.eye(3)[:2])


def test_a_fresh_process_needs_only_numpy(tmp_path: Path) -> None:
    case = next(c for c in LAWS if c.name == "rk4")
    path = export_numpy(program([case]), tmp_path / "alone.py", dtype="float32")
    np.savez(tmp_path / "given.npz", *case.given("float32"))
    code = (
        "import sys; sys.modules.update(jax=None, tenkai=None, scipy=None)\n"
        "import numpy, alone\n"
        "given = numpy.load('given.npz')\n"
        "numpy.savez('out.npz', *alone.law_rk4(given['arr_0'], given['arr_1']))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with np.load(tmp_path / "out.npz") as out:
        close([out[k] for k in out], case, "float32")
    tree = ast.parse(path.read_text())
    allowed = (ast.Expr, ast.Import, ast.Assign, ast.FunctionDef)
    assert all(isinstance(node, allowed) for node in tree.body)
    imported = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert imported == ["numpy"]
    assert not any(isinstance(n, ast.ImportFrom) for n in ast.walk(tree))


def test_large_arrays_keep_every_bit(tmp_path: Path) -> None:
    weight = real(80, 90).astype(np.float32)
    function = Function("f", lambda x: x @ weight, (Argument("x", (80,)),))
    text = export_numpy(Program("large", (function,)), tmp_path / "f.py", dtype="float32")
    module = load(text)
    assert "bytes.fromhex" in text.read_text()
    np.testing.assert_array_equal(module.CONSTANT, weight)
    np.testing.assert_allclose(module.f(np.eye(80)[3]), weight[3], rtol=1e-6)


HOSTILE = '"""\nimport os\nos.abort()\n"""; raise SystemExit # \\ \u2028 \x00 \ud800 */ #endif'


def test_texts_cannot_become_code(tmp_path: Path) -> None:
    function = Function(
        "f",
        lambda x, y: x * y,
        (Argument(HOSTILE, (2,), HOSTILE), Argument("lambda", (), HOSTILE + '"')),
        (HOSTILE,),
        HOSTILE + "\\",
    )
    weights = {HOSTILE: real(2).astype(np.float32)}
    more = Function("g", lambda x: x @ weights[HOSTILE], (Argument("np", (2,)),), doc='"""')
    made = Program(HOSTILE, (function, more), (HOSTILE, '"'), constants=weights)
    path = export_numpy(made, tmp_path / "f.py", dtype="float32")
    module = load(path)
    np.testing.assert_array_equal(module.f([1, 2], 3), [3, 6])
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert {type(n) for n in tree.body} == {ast.Expr, ast.Import, ast.Assign, ast.FunctionDef}
    assert isinstance(tree.body[0].value, ast.Constant)  # type: ignore[union-attr]
    assert sum(isinstance(n, ast.Import) for n in ast.walk(tree)) == 1


def test_names_of_any_script(tmp_path: Path) -> None:
    function = Function(
        "予測", lambda x: x + 1, (Argument("気温 (℃)", ("rows",), "度"),), ("翌日",)
    )
    module = load(export_numpy(Program("気温", (function,)), tmp_path / "f.py"))
    np.testing.assert_array_equal(getattr(module, "予測")(np.zeros(2)), [1, 1])  # noqa: B009
    assert "翌日" in getattr(module, "予測").__doc__  # noqa: B009


def test_an_unknown_operation_is_named() -> None:
    function = Function("f", lambda x: jnp.abs(jnp.fft.fft(x)), (Argument("x", (8,)),))
    with pytest.raises(InputError, match=r"operation 'fft' in 'f' \(test_export_numpy.py:\d+"):
        trace(function, "float64", supported=sorted(FORMS))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((Argument("x", ("2*n",)),), "size 'n' of function 'f'"),
        ((Argument("x", ("n; import os",)),), "shape of argument 'x' of f"),
    ],
)
def test_sizes_that_cannot_be(arguments: Any, what: str, tmp_path: Path) -> None:
    function = Function("f", lambda x: x * 2, arguments)
    with pytest.raises(InputError, match=what):
        export_numpy(Program("f", (function,)), tmp_path / "f.py")


def test_bad_input(tmp_path: Path) -> None:
    good = Function("f", lambda x: x, (Argument("x"),))
    with pytest.raises(InputError, match="dtype"):
        export_numpy(Program("f", (good,)), tmp_path / "f.py", dtype="float16")
    with pytest.raises(InputError, match=r"ends in \.py"):
        export_numpy(Program("f", (good,)), tmp_path / "f.txt")
    with pytest.raises(InputError, match="one of Python's own"):
        export_numpy(
            Program("f", (Function("print", good.call, good.arguments),)), tmp_path / "f.py"
        )
    with pytest.raises(InputError, match="outputs of function 'f'"):
        export_numpy(
            Program("f", (Function("f", lambda x: (x, x), good.arguments),)), tmp_path / "f.py"
        )
    with pytest.raises(InputError, match="every name once"):
        Program("f", (good, good))
    with pytest.raises(InputError, match="a Python name"):
        Function("f()", good.call)
    with pytest.raises(InputError, match="dtype of argument"):
        Argument("x", (), "", "complex")
