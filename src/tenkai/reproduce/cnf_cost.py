"""Cost of a continuous planar flow against its units: the time of one update is O(M).

Chen et al. 2018, section 4: the trace of a sum is the sum of the traces, so M units cost O(M),
where as wide a layer of a discrete flow would need a determinant, O(M^3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..flows import PlanarCNF
from ..flows.objectives import Rows, Weights, likelihood
from . import Row, Task

UNITS = (1, 4, 16, 64, 256, 1024)
BATCH, REPEATS = 64, 5  # a batch whose numbers stay in the cache
_LARGE = 64  # units from which on the slope is taken
_LEAST_SECONDS = 0.2


def run(
    task: Task = Task(), *, units: Sequence[int] = UNITS, large: int = _LARGE
) -> list[Row]:  # fmt: skip
    """Milliseconds of a gradient for every M, and the slope on logarithmic axes."""
    seconds = [gradient_seconds(m) for m in units]
    if task.out is not None:
        draw(units, seconds, large, task.out / "cnf-cost.png")
    note = f"gradient of the likelihood, batch {BATCH}, 8 Runge-Kutta steps; least of {REPEATS}"
    rows = [
        Row(f"time of one update, M = {m}", None, 1e3 * s, unit="ms", note=note)
        for m, s in zip(units, seconds, strict=True)
    ]
    counts = [operations(m) for m in units]
    note = "published: O(M)"
    return [
        *rows,
        Row(
            f"slope of log time against log M, M ≥ {large}", 1.0, slope(units, seconds, large),
            note=note,
        ),
        Row(
            "the same of the operations of field and divergence, as compiled", 1.0,
            slope(units, counts, large), note=note,
        ),
    ]  # fmt: skip


def slope(units: Sequence[int], seconds: Sequence[float], large: int) -> float:
    """By least squares, over the large ones."""
    chosen = [(np.log(m), np.log(s)) for m, s in zip(units, seconds, strict=True) if m >= large]
    x, y = np.transpose(chosen)
    return float(np.polyfit(x, y, 1)[0])


def operations(units: int) -> float:
    """Floating-point operations of one field and its divergence, a batch of rows."""
    field = PlanarCNF(units=units).build(2, key=jax.random.key(0)).field
    over = eqx.filter_jit(lambda f, y: jax.vmap(lambda y: f.with_divergence(0.5, y))(y))
    compiled = over.lower(field, np.zeros((BATCH, 2), np.float32)).compile()
    found = compiled.compiled.cost_analysis()
    return float((found[0] if isinstance(found, list) else found)["flops"])


def gradient_seconds(units: int) -> float:
    """The least time of a gradient of `units`, compiled before."""
    flow = PlanarCNF(units=units).build(2, key=jax.random.key(0))
    x = np.random.default_rng(0).standard_normal((BATCH, 2)).astype(np.float32)
    weights = Weights(*(np.float32(0),) * len(Weights._fields))
    data = Rows(x, None, np.arange(BATCH), np.int32(BATCH), weights)
    loss = likelihood(BATCH)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda f, d, key: loss(f, d, key)[0]))
    return least(lambda: gradient(flow, data, jax.random.key(1)))


def least(call: Callable[[], Any]) -> float:
    """Seconds of the fastest of some blocks of calls, after one that compiles."""
    jax.block_until_ready(call())
    begun = time.perf_counter()
    jax.block_until_ready(call())
    count = max(1, int(_LEAST_SECONDS / (time.perf_counter() - begun)))
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        for _ in range(count):
            jax.block_until_ready(call())
        found.append((time.perf_counter() - begun) / count)
    return min(found)


def draw(units: Sequence[int], seconds: Sequence[float], large: int, file: Path) -> None:
    """Time against units on logarithmic axes, and a line of slope 1."""
    from ..report.axes import axes_or_new, dress
    from ..report.fonts import lettering
    from ..report.palette import LEARNED, QUIET

    with lettering():
        ax = axes_or_new(None)
        times = 1e3 * np.asarray(seconds)
        ax.loglog(units, times, "o-", color=LEARNED, label="one update")
        wide = np.array([m for m in units if m >= large], float)
        ax.loglog(wide, times[-1] * wide / wide[-1], "--", color=QUIET, label="slope 1")
        dress(ax, title="Continuous planar flow", x="units M", y="milliseconds")
        figure: Any = ax.figure
        figure.savefig(file, dpi=150)
