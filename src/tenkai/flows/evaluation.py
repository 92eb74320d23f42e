"""A trained flow, evaluated: adaptively, row by row, in blocks, in float64.

Every row takes its own steps, so its numbers do not depend on the rows beside it. A row whose
adaptive solve gives up is solved on a fine grid instead, and told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ..devices import arithmetic
from .continuous import Adaptive, ContinuousFlow, Grid
from .divergence import Exact, Hutchinson
from .flow import Flow, rows
from .mixture import Mixture

Way = Literal["to_base", "to_data"]

_EXACT_UP_TO = 64  # dimensions, where the field has no divergence in closed form
_DRAWS = 4  # independent estimates beyond, for their standard error
_SMALL, _BLOCK = 32, 512  # rows in a call of a compiled program
_FINE = Grid(steps=400)


class Tolerance(NamedTuple):
    """How exactly a continuous flow is solved; nothing to a discrete one."""

    rtol: float = 1e-6
    atol: float = 1e-6
    max_steps: int = 1000


STRICT = Tolerance()
COUNTED = Tolerance(1e-5, 1e-5)
"""At which evaluations of the field are counted, as they are in the literature."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Rows moved through a flow, NumPy float64.

    `y` (rows, dim) is where they end, `log_det` (rows,) ``log |det dy/dx|`` and `error` its
    standard error (zero where the divergence is exact). `nfe` counts evaluations of the field;
    `ok` is false where the adaptive solve gave up and a fixed grid stood in.
    """

    y: Float[np.ndarray, "rows dim"]
    log_det: Float[np.ndarray, " rows"]
    error: Float[np.ndarray, " rows"]
    nfe: Float[np.ndarray, " rows"]
    ok: Bool[np.ndarray, " rows"]


def evaluate(
    flow: Flow,
    way: Way,
    x: Float[np.ndarray, "rows dim"],
    context: Float[np.ndarray, "rows context"] | None = None,
    *,
    tolerance: Tolerance = STRICT,
    seed: int = 0,
) -> Evaluation:
    """Move rows to the base or to the data."""
    with arithmetic("float64"):
        wide = widened(flow)
        if not isinstance(wide, ContinuousFlow):
            return _moved(wide, way, x, context, seed)
        divergence = Exact() if _affordable(wide) else Hutchinson(samples=8)
        adaptive = wide.with_solver(Adaptive(*tolerance), divergence=divergence, costs=False)
        made = _moved(adaptive, way, x, context, seed)
        lost = np.flatnonzero(~made.ok)
        if len(lost):
            grid = wide.with_solver(_FINE, divergence=divergence, costs=False)
            kept = None if context is None else context[lost]
            again = _moved(grid, way, x[lost], kept, seed)
            made.y[lost], made.log_det[lost] = again.y, again.log_det
            made.nfe[lost] += again.nfe
    return made


def on_grid(
    flow: Flow, x: Float[np.ndarray, "rows dim"], context: Any = None, *, refine: int = 1
) -> Float[np.ndarray, " rows"]:
    """Log density as it was trained: on the flow's own grid, `refine` times as fine."""
    with arithmetic("float64"):
        wide = widened(flow)
        if isinstance(wide, ContinuousFlow) and isinstance(wide.solver, Grid):
            grid = Grid(refine * wide.solver.steps, wide.solver.method, wide.solver.memory)
            divergence = Exact() if _affordable(wide) else wide.divergence
            wide = wide.with_solver(grid, divergence=divergence, costs=False)
        return log_density_of(_moved(wide, "to_base", x, context, 0))


def log_density_of(moved: Evaluation) -> Float[np.ndarray, " rows"]:
    """``log N(z; 0, I) + log |det dz/dx|`` of rows moved to the base; -inf where z is lost."""
    logs = normal(moved.y) + moved.log_det
    return np.where(np.isfinite(logs), logs, -np.inf)


def normal(z: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " rows"]:
    """``log N(z; 0, I)``."""
    return -0.5 * (z**2).sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)


def members_log_density(
    mixture: Mixture,
    x: Float[np.ndarray, "rows dim"],
    context: Any = None,
    *,
    tolerance: Tolerance = STRICT,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "members rows"], list[Evaluation]]:
    """Log density of every member, and what each solve took."""
    moved = [
        evaluate(mixture.member(k), "to_base", x, context, tolerance=tolerance, seed=seed)
        for k in range(len(mixture))
    ]
    return np.stack([log_density_of(m) for m in moved]), moved


def combined(
    logs: Float[np.ndarray, "members rows"], weights: Float[np.ndarray, " members"]
) -> Float[np.ndarray, " rows"]:
    """``log sum_k w_k p_k``."""
    top = logs.max(0)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log((weights[:, None] * np.exp(logs - shift)).sum(0)) + shift


def between(
    flow: ContinuousFlow,
    x: Float[np.ndarray, "rows dim"],
    begin: float,
    end: float,
    context: Any = None,
    *,
    tolerance: Tolerance = STRICT,
) -> Evaluation:
    """Rows that stand at fraction `begin` of the way from base to data, moved to `end`."""
    with arithmetic("float64"):
        wide = widened(flow)
        divergence = Exact() if _affordable(wide) else Hutchinson(samples=8)
        wide = wide.with_solver(Adaptive(*tolerance), divergence=divergence, costs=False)
        return _moved(wide, "between", x, context, 0, (begin, end))


def stiffness(
    flow: ContinuousFlow, x: Float[np.ndarray, "rows dim"], context: Any = None
) -> Float[np.ndarray, " points"]:
    """Largest over smallest ``|Re lambda|`` of the field's Jacobian along the paths of data rows.

    At five times of every path; 1 in one dimension.
    """
    fractions = np.linspace(0.0, 1.0, 5)
    states = [between(flow, x, 1.0, f, context, tolerance=COUNTED).y for f in fractions]
    with arithmetic("float64"):
        wide = widened(flow)
        field = wide.field.prepared() if hasattr(wide.field, "prepared") else wide.field
        times = fractions * float(wide.end)
        found = [
            np.asarray(_jacobians(field, np.float64(t), _padded(y, _shape(len(y))), _pad(context)))
            for t, y in zip(times, states, strict=True)
        ]
    sizes = np.abs(np.linalg.eigvals(np.concatenate([j[: len(x)] for j in found])).real)
    return sizes.max(-1) / np.maximum(sizes.min(-1), 1e-12)


@eqx.filter_jit
def _jacobians(field: Any, t: Any, y: Any, context: Any) -> Any:
    axes = (0, None if context is None else 0)
    return jax.vmap(lambda y, c: jax.jacfwd(lambda y: field(t, y, c))(y), in_axes=axes)(y, context)


def widened(flow: Any) -> Any:
    """The flow in float64, for use inside `arithmetic("float64")`."""

    def wide(leaf: Any) -> Any:
        array = eqx.is_array(leaf) or isinstance(leaf, np.ndarray | np.generic)
        return np.asarray(leaf, float) if array and np.asarray(leaf).dtype.kind == "f" else leaf

    return jax.tree.map(wide, flow)


def is_exact(flow: Flow) -> bool:
    """Whether the log density of a row is computed without noise."""
    return not isinstance(flow, ContinuousFlow) or _affordable(flow)


def _affordable(flow: ContinuousFlow) -> bool:
    """Whether the exact divergence is in closed form, or the dimension small enough."""
    layers = getattr(flow.field, "layers", None)
    closed = hasattr(flow.field, "with_divergence") and (layers is None or len(layers) <= 3)
    return closed or flow.dim <= _EXACT_UP_TO


def _moved(
    flow: Flow, way: str, x: Any, context: Any, seed: int,
    span: tuple[float, float] = (0.0, 1.0),
) -> Evaluation:  # fmt: skip
    """All rows, block by block; noisy log-determinants are averaged over independent draws."""
    noisy = isinstance(flow, ContinuousFlow) and not flow.divergence.exact
    if not noisy:
        return _blocks(flow, way, x, context, None, span)
    draws = [
        _blocks(flow, way, x, context, jax.random.key(seed * _DRAWS + k), span)
        for k in range(_DRAWS)
    ]
    logs = np.stack([d.log_det for d in draws])
    error = logs.std(0, ddof=1) / _DRAWS**0.5
    ok = np.all([d.ok for d in draws], axis=0)
    nfe = np.sum([d.nfe for d in draws], axis=0)
    return Evaluation(draws[0].y, logs.mean(0), error, nfe, ok)


def _blocks(
    flow: Flow, way: str, x: Any, context: Any, key: Any, span: tuple[float, float]
) -> Evaluation:
    x = np.asarray(x, np.float64)
    n = len(x)
    size = _shape(n)
    parts = []
    for i in range(0, n, size):
        block = _padded(x[i : i + size], size)
        known = None if context is None else _padded(np.asarray(context[i : i + size], float), size)
        one = None if key is None else jax.random.fold_in(key, i)
        parts.append(jax.device_get(_move(flow, way, block, known, one, np.array(span))))
    y, log_det, nfe, ok = (np.concatenate(part)[:n] for part in zip(*parts, strict=True))
    finite = np.isfinite(y).all(1) & np.isfinite(log_det)
    return Evaluation(y, log_det, np.zeros(n), nfe.astype(float), ok.astype(bool) & finite)


@eqx.filter_jit
def _move(flow: Any, way: str, x: Any, context: Any, key: Any, span: Any) -> tuple:
    move: Callable = (
        (lambda y, c, key: flow.between(y, span[0] * flow.end, span[1] * flow.end, c, key=key))
        if way == "between"
        else getattr(flow, way)
    )
    moved = rows(move, x, context, key)
    nfe, ok = (jnp.broadcast_to(jnp.asarray(v), (len(x),)) for v in (moved.nfe, moved.ok))
    return moved.y, moved.log_det, nfe, ok


def _shape(n: int) -> int:
    """Rows of a block: two sizes, so that tables of all lengths share two programs."""
    return _SMALL if n <= _SMALL else _BLOCK


def _padded(x: np.ndarray, size: int) -> np.ndarray:
    """Copies of the first row behind the others, whose steps it takes along."""
    if len(x) == size:
        return x
    return np.concatenate([x, np.broadcast_to(x[:1], (size - len(x), *x.shape[1:]))])


def _pad(context: Any) -> Any:
    return None if context is None else _padded(np.asarray(context, float), _shape(len(context)))
