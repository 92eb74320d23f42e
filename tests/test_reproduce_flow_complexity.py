"""The prices of densities: counted FLOPs have the orders that are claimed."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from tenkai.reproduce import Task
from tenkai.reproduce.flow_complexity import METHODS, ORDERS, counted, exponent, flops, run


def test_counted_work_of_known_programs() -> None:
    a, b = jax.ShapeDtypeStruct((3, 4), np.float32), jax.ShapeDtypeStruct((4, 5), np.float32)
    assert flops(jax.make_jaxpr(jax.jit(lambda a, b: a @ b))(a, b).jaxpr) == 2 * 3 * 4 * 5
    assert flops(jax.make_jaxpr(lambda a: a * 2 + 1)(a).jaxpr) == 24


@pytest.mark.parametrize("method", METHODS)
def test_the_exponents_of_the_work(method: str) -> None:
    """They come near their order from below: lower orders weigh at small dimensions."""
    dims = (1024, 2048, 4096, 8192)
    found = exponent(dims, [counted(method, d) for d in dims])
    assert (ORDERS[method] or 1.0) - 0.1 < found < (ORDERS[method] or 1.0) + 0.02


def test_the_entry_draws_and_finds_no_bias(tmp_path: Path) -> None:
    rows = run(Task(out=tmp_path), dims=(8, 16), large=(64, 128), draws=500, dim=8, repeats=1)
    assert (tmp_path / "flow-complexity.png").stat().st_size > 10_000
    assert len(rows) == 2 * len(METHODS) + 6
    assert all(abs(row.ours or 0) < 4 for row in rows if row.quantity.startswith("bias"))
