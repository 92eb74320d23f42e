"""Flow-complexity: the price of log-det, exact trace and Hutchinson's estimate against D.

Grathwohl et al., FFJORD, 2019, sections 2 and 3: a change of variables costs O(D^3), the trace of
a Jacobian D evaluations of the field, O(D^2), and an unbiased estimate of it one, O(D). Beside it
the trace in closed form. FLOPs are counted on what is traced, up to dimensions too large to run;
seconds are the least of several runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..flows import Bottleneck, Dynamics, Hutchinson, HutchPP
from ..flows.divergence import forward_trace
from . import Row, Task

WIDTH = 16
ESTIMATORS = tuple(
    make(kind=kind)
    for make in (Hutchinson, Bottleneck, HutchPP)
    for kind in ("rademacher", "gaussian")
)
ORDERS = {"log-det": 3.0, "exact trace": 2.0, "Hutchinson": 1.0, "closed form": None}


def _log_det(field: Any, y: Any, noise: Any) -> Any:
    """``log |det (I + J)|`` of one residual step, D tangents and one LU decomposition."""
    value, push = jax.linearize(lambda y: field(0.3, y, None), y)
    jacobian = jax.vmap(push, out_axes=1)(jnp.eye(y.shape[-1], dtype=y.dtype))
    return value, jnp.linalg.slogdet(jnp.eye(y.shape[-1], dtype=y.dtype) + jacobian)[1]


def _exact(field: Any, y: Any, noise: Any) -> Any:
    return forward_trace(field, 0.3, y, None)


def _hutchinson(field: Any, y: Any, noise: Any) -> Any:
    return Hutchinson().of(field, 0.3, y, None, noise)


def _closed(field: Any, y: Any, noise: Any) -> Any:
    return field.with_divergence(0.3, y, None)


# With the number of rows that are timed together: enough to see more than the price of a call.
METHODS: dict[str, tuple[Callable, int]] = {
    "log-det": (_log_det, 1), "exact trace": (_exact, 1), "Hutchinson": (_hutchinson, 256),
    "closed form": (_closed, 256),
}  # fmt: skip


def field_of(dim: int, width: int | tuple[int, ...] = WIDTH, seed: int | None = 0) -> Any:
    """FFJORD's network with two hidden layers; of shapes alone where there is no seed."""
    shapes = eqx.filter_eval_shape(
        lambda key: Dynamics(dim, key=key, width=width, kind="concat"),
        jax.ShapeDtypeStruct((2,), np.uint32),
    )
    if seed is None:
        return shapes
    rng = np.random.default_rng(seed)

    def draw(leaf: Any) -> Any:
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        return (rng.normal(size=leaf.shape) / leaf.shape[-1] ** 0.5).astype(np.float32)

    return jax.tree.map(draw, shapes)


def flops(jaxpr: Any) -> float:
    """Multiplications and additions of a traced program: products, LU, and one per number else."""
    total = 0.0
    for equation in jaxpr.eqns:
        inner = [v for v in jax.tree.leaves(list(equation.params.values()), is_leaf=_has_equations)
                 if _has_equations(v)]  # fmt: skip
        out = equation.outvars[0].aval
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            depth = math.prod(equation.invars[0].aval.shape[i] for i in contracted)
            total += 2 * depth * out.size
        elif equation.primitive.name == "lu":
            total += 2 / 3 * out.shape[-1] ** 3
        elif inner:
            total += sum(flops(getattr(v, "jaxpr", v)) for v in inner)
        else:
            total += getattr(out, "size", 0)
    return total


def _has_equations(x: Any) -> bool:
    return hasattr(getattr(x, "jaxpr", x), "eqns")


def counted(method: str, dim: int) -> float:
    """FLOPs of one row."""
    arrays, rest = eqx.partition(field_of(dim, seed=None), lambda x: hasattr(x, "shape"))
    y, noise = (jax.ShapeDtypeStruct(s, np.float32) for s in ((dim,), (1, dim)))
    run = METHODS[method][0]
    traced = jax.make_jaxpr(lambda a, y, e: run(eqx.combine(a, rest), y, e))(arrays, y, noise)
    return flops(traced.jaxpr)


def program(method: str, dim: int) -> Callable[[], Any]:
    """A compiled call of the method on its rows."""
    run, rows = METHODS[method]
    rng = np.random.default_rng(1)
    y = jnp.asarray(rng.normal(size=(rows, dim)), jnp.float32)
    noise = jnp.asarray(rng.choice([-1.0, 1.0], size=(rows, 1, dim)), jnp.float32)
    arrays, rest = eqx.partition(field_of(dim), eqx.is_array)

    def on_arrays(arrays: Any, y: Any, noise: Any) -> Any:
        field = eqx.combine(arrays, rest)
        if rows == 1:  # a product with one row in front of it is a slower one
            return run(field, y[0], noise[0])
        return jax.vmap(lambda y, e: run(field, y, e))(y, noise)

    compiled = jax.jit(on_arrays)
    return lambda: jax.block_until_ready(compiled(arrays, y, noise))


def seconds(dims: Sequence[int], repeats: int) -> dict[str, list[float]]:
    """The least time of one row, by method and dimension, over rounds through all of them."""
    programs = {(m, d): program(m, d) for m in METHODS for d in dims}
    least = dict.fromkeys(programs, math.inf)
    for turn in range(repeats + 1):
        for which, call in programs.items():
            begun = time.perf_counter()
            call()
            if turn:  # the first call compiles
                least[which] = min(least[which], time.perf_counter() - begun)
    return {m: [least[m, d] / METHODS[m][1] for d in dims] for m in METHODS}


def exponent(dims: Sequence[int], prices: Sequence[float]) -> float:
    """The slope of log price against log D over the larger half of the dimensions."""
    half = min(len(dims) // 2, len(dims) - 2)
    return float(np.polyfit(np.log(dims[half:]), np.log(prices[half:]), 1)[0])


def estimates(dim: int, draws: int) -> tuple[float, dict[str, np.ndarray]]:
    """The exact divergence at one point, and each estimator's draws."""
    field = field_of(dim, (3 * dim // 4, dim // 4))
    y = jnp.asarray(np.random.default_rng(2).normal(size=dim), jnp.float32)

    def draw(estimator: Any) -> np.ndarray:
        def one(key: Any) -> Any:
            noise = estimator.noise(field, dim, y.dtype, key)
            return estimator.of(field, 0.3, y, None, noise)[1]

        many = jax.jit(lambda key: jax.lax.map(one, jax.random.split(key, draws), batch_size=500))
        return np.asarray(many(jax.random.key(0)), np.float64)

    exact = float(field.with_divergence(0.3, y, None)[1])
    return exact, {f"{type(e).__name__}, {e.kind}": draw(e) for e in ESTIMATORS}


def run(
    task: Task = Task(), *, dims: Sequence[int] = (64, 128, 256, 512, 1024),
    large: Sequence[int] = (64, 256, 1024, 2048, 4096, 8192), draws: int = 20_000,
    dim: int = 32, repeats: int = 7,
) -> list[Row]:  # fmt: skip
    """Exponents of FLOPs and of seconds; the bias of every estimator in a field of `dim`."""
    work = {m: [counted(m, d) for d in large] for m in METHODS}
    spent = seconds(dims, repeats)
    exact, noisy = estimates(dim, draws)
    if task.out is not None:
        draw(task.out / "flow-complexity.png", dims, spent, large, work, exact, noisy)
    rows = []
    for m, order in ORDERS.items():
        note = f"D up to {large[-1]}, {WIDTH} hidden units twice"
        note += ", one matrix product shared by all rows" if m == "closed form" else ""
        rows.append(Row(f"exponent of FLOPs, {m}", order, exponent(large, work[m]), note=note))
    for m, order in ORDERS.items():
        note = f"{spent[m][-1] * 1e6:.3g} µs a row at D = {dims[-1]}, least of {repeats} runs"
        rows.append(Row(f"exponent of time, {m}", order, exponent(dims, spent[m]), note=note))
    for label, found in noisy.items():
        spread = found.std(ddof=1)
        score = float((found.mean() - exact) / (spread / draws**0.5))
        note = f"mean {found.mean():.4f}, exact {exact:.4f}, sd of one draw {spread:.3g}"
        rows.append(Row(f"bias, {label}", 0.0, score, n=draws, unit="standard errors", note=note))
    return rows


def draw(
    file: Path, dims: Sequence[int], spent: dict, large: Sequence[int], work: dict, exact: float,
    noisy: dict[str, np.ndarray],
) -> None:  # fmt: skip
    """FLOPs and time against D; the mean of every estimator with two standard errors."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import INK, QUIET, colour

    with lettering():
        figure = new_figure(12.0, 3.8)
        left, middle, right = figure.subplots(1, 3)
        panels = ((left, large, work, "FLOPs of one row"), (middle, dims, spent, "Seconds a row"))
        for ax, x, prices, title in panels:
            for i, (m, y) in enumerate(prices.items()):
                label = f"{m}: D^{exponent(x, y):.2f}"
                ax.loglog(x, y, "o-", color=colour(i), markersize=4, label=label)
            dress(ax, title=title, x="D")
        for i, (label, found) in enumerate(noisy.items()):
            error = 2 * found.std() / len(found) ** 0.5
            right.errorbar(
                found.mean() - exact, -i, xerr=error, fmt="o", color=colour(0), capsize=3
            )
            look: dict[str, Any] = {"color": INK, "backgroundcolor": "white", "fontsize": "small"}
            text = f"{label}, sd {found.std():.2g}"
            right.annotate(text, (0.02, -i + 0.28), xycoords=("axes fraction", "data"), **look)
        right.axvline(0, color=QUIET, linewidth=1, zorder=0)
        right.set_yticks([])
        right.set_ylim(0.6 - len(noisy), 0.7)
        dress(right, title="Mean - exact, ± 2 standard errors", x="divergence")
        figure.savefig(file, dpi=150)
