"""Models as ONNX answer in onnxruntime as they do here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime as runtime
import pytest
from export_models import CASES, case, ode
from jax import lax
from test_export_programs import EXACT, SINGLE, jitted, listed, relative

from tenkai import export
from tenkai.devices import arithmetic
from tenkai.errors import InputError
from tenkai.export.program import Argument, Function, Program
from tenkai.export.programs import program_of


def answers(program: Program, path: Path, arguments: dict[str, tuple], dtype: str) -> Any:
    """What onnxruntime says, by function."""
    made = {}
    files = export.onnx(program, path, dtype=dtype)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    for function, file in zip(program.functions, files, strict=True):
        assert file.name == f"{path.stem}.{function.name}.onnx"
        if function.name not in arguments:
            continue
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        kinds = {"real": dtype, "integer": "int32", "boolean": "bool"}
        given = {
            a.name: np.asarray(v, kinds[a.dtype])
            for a, v in zip(function.arguments, arguments[function.name], strict=True)
        }
        made[function.name] = session.run(None, given)
    return made


@pytest.mark.parametrize("name", CASES)
def test_onnx_is_the_model(name: str, tmp_path: Path) -> None:
    known, found = case(name), jitted(name)
    program = program_of(known.model, **known.options)
    made = answers(program, tmp_path / "m.onnx", known.arguments, "float64")
    for function, outputs in found.items():
        for got, want in zip(made[function], outputs, strict=True):
            assert relative(got, want) <= EXACT, function


def test_a_rollout_in_single_precision(tmp_path: Path) -> None:
    known = ode("float32")
    made = answers(program_of(known.model), tmp_path / "m.onnx", known.arguments, "float32")
    for function, wanted in known.wanted.items():
        for got, want in zip(made[function], listed(wanted), strict=True):
            assert got.dtype == np.float32
            assert relative(got, want) <= SINGLE, function


def _flow(x: Any, t: Any, k: Any) -> Any:
    def step(c: Any, s: Any) -> Any:
        count = jnp.ceil(s).astype(jnp.int32)
        c = lax.fori_loop(0, count, lambda i, c: c * 0.9 + jnp.sin(c), c)
        return c, (c.sum(), c[::-1])

    last, (sums, turned) = lax.scan(step, x[0], t, reverse=True)
    counted, _ = lax.scan(lambda c, _: (c + 0.5 * jnp.cos(c), None), last, None, length=3)
    chosen = lax.switch(k, [lambda v: v + 1, lambda v: 2 * v, lambda v: v**3], counted)
    return sums, turned, chosen


def _places(x: Any, t: Any, k: Any) -> Any:
    best = jnp.argmax(x, axis=1)
    return (
        x[jnp.minimum(k, 1)], jnp.take_along_axis(x, best[:, None], 1), x[:, best],
        x.at[0, 1].set(7.0), lax.dynamic_slice_in_dim(x, k, 2, axis=1), jnp.sort(t)[::-1],
        jnp.pad(x, ((1, 2), (0, 0)), constant_values=3.0), lax.top_k(x, 2)[0],
    )  # fmt: skip


def _numbers(x: Any, t: Any, k: Any) -> Any:
    small = 1e-6 * x
    return (
        jnp.sinh(small), jnp.sinh(x), jnp.cosh(x), jnp.arcsinh(x), jnp.log1p(small), jnp.expm1(x),
        jnp.expm1(small), jnp.tan(x), jnp.round(3 * x), jnp.cbrt(x), x**-3, x % 0.7,
        jnp.where(x > 0, x, jnp.nan_to_num(jnp.log(x))), jnp.isfinite(1 / t).any(),
        jnp.cumsum(x, 1),
        jax.nn.softmax(x), jnp.einsum("ij,kj->ik", x, x), jnp.linalg.norm(x, axis=0),
        (x > 0).all(1) | (k > 0), jnp.logaddexp(x, 2 * x),
    )  # fmt: skip


@pytest.mark.parametrize("call", [_flow, _places, _numbers])
def test_operations(call: Any, tmp_path: Path) -> None:
    arguments = (
        Argument("x", ("rows", 3)), Argument("t", ("times",)), Argument("k", (), "", "integer")
    )  # fmt: skip
    x = np.random.default_rng(1).normal(size=(5, 3))
    given = (x, np.array([0.5, 1.5, 2.5, 3.5]), np.int32(1))
    with arithmetic("float64"):
        wanted = [np.asarray(v) for v in jax.jit(call)(*given)]
    names = tuple(f"out{i}" for i in range(len(wanted)))
    program = Program("operations", (Function("f", call, arguments, names),))
    made = answers(program, tmp_path / "m.onnx", {"f": given}, "float64")["f"]
    for i, (got, want) in enumerate(zip(made, wanted, strict=True)):
        assert got.dtype == want.dtype
        assert relative(got, want) <= EXACT, i


def test_an_operation_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    function = Function("f", jnp.linalg.cholesky, (Argument("a", (8, 8)),))
    with pytest.raises(InputError, match="cholesky"):
        export.onnx(Program("p", (function,)), tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        export.onnx(Program("p", (function,)), tmp_path / "m.txt")
