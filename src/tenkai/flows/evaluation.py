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
from .mixture import Mixture, tail_log_density

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
    if isinstance(flow, ContinuousFlow):
        span = (1.0, 0.0) if way == "to_base" else (0.0, 1.0)
        return between(flow, x, *span, context, tolerance=tolerance, seed=seed)
    with arithmetic("float64"):
        return _blocks(_one_pass, (widened(flow), way), (x, context), None)


def between(
    flow: ContinuousFlow,
    x: Float[np.ndarray, "rows dim"],
    begin: Any,
    end: Any,
    context: Any = None,
    *,
    tolerance: Tolerance = STRICT,
    seed: int = 0,
) -> Evaluation:
    """Rows at fraction `begin` of the way from base to data moved to `end`; numbers or (rows,)."""
    begins, ends = (np.broadcast_to(np.asarray(f, float), (len(x),)) for f in (begin, end))
    given = (x, context, begins, ends)
    with arithmetic("float64"):
        wide = _judged(widened(flow))
        limits = np.array([tolerance.rtol, tolerance.atol])
        made = _drawn(_adaptive, (wide, limits, tolerance.max_steps), given, seed)
        lost = np.flatnonzero(~made.ok)
        if len(lost):
            kept = tuple(None if part is None else np.asarray(part)[lost] for part in given)
            again = _drawn(_fixed, (wide.with_solver(_FINE),), kept, seed)
            made.y[lost], made.log_det[lost] = again.y, again.log_det
            made.nfe[lost] += again.nfe
    return made


def _judged(flow: ContinuousFlow) -> ContinuousFlow:
    """With exact divergence where it can be had."""
    divergence = Exact() if _affordable(flow) else Hutchinson(samples=8)
    return flow.with_solver(flow.solver, divergence=divergence, costs=False)


def on_grid(
    flow: ContinuousFlow, x: Float[np.ndarray, "rows dim"], context: Any = None, *, refine: int = 1
) -> Float[np.ndarray, " rows"]:
    """Log density as it was trained: on the flow's own grid, `refine` times as fine."""
    solver = flow.solver
    if isinstance(solver, Grid):
        solver = Grid(refine * solver.steps, solver.method, solver.memory)
    with arithmetic("float64"):
        wide = _judged(widened(flow)).with_solver(solver)
        span = (np.ones(len(x)), np.zeros(len(x)))
        return log_density_of(_drawn(_fixed, (wide,), (x, context, *span), 0))


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
) -> tuple[Float[np.ndarray, "members+1 rows"], list[Evaluation]]:
    """Log density of every member and of the tail, and what each member's solve took."""
    moved = [
        evaluate(mixture.member(k), "to_base", x, context, tolerance=tolerance, seed=seed)
        for k in range(len(mixture))
    ]
    logs = [log_density_of(m) for m in moved]
    return np.stack([*logs, tail_log_density(np.asarray(x, float))]), moved


def combined(
    logs: Float[np.ndarray, "members rows"], weights: Float[np.ndarray, " members"]
) -> Float[np.ndarray, " rows"]:
    """``log sum_k w_k p_k``."""
    top = logs.max(0)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log((weights[:, None] * np.exp(logs - shift)).sum(0)) + shift


def stiffness(
    flow: ContinuousFlow, x: Float[np.ndarray, "rows dim"], context: Any = None
) -> Float[np.ndarray, " points"]:
    """Largest over smallest ``|Re lambda|`` of the field's Jacobian along the paths of data rows.

    At five times of every path; 1 in one dimension.
    """
    count, fractions = len(x), np.repeat(np.linspace(0.0, 1.0, 5), len(x))
    known = None if context is None else np.tile(context, (5, 1))
    y = between(flow, np.tile(x, (5, 1)), 1.0, fractions, known, tolerance=COUNTED).y
    with arithmetic("float64"):
        wide = widened(flow)
        jacobians = _in_blocks(_jacobians, (wide,), (y, known, fractions))[0]
    finite = np.isfinite(jacobians).all((1, 2))
    if not count or not finite.any():
        return np.full(1, np.nan)
    sizes = np.abs(np.linalg.eigvals(jacobians[finite]).real)
    return sizes.max(-1) / np.maximum(sizes.min(-1), 1e-12)


@eqx.filter_jit
def _jacobians(flow: Any, y: Any, context: Any, fractions: Any) -> tuple:
    field = flow.prepared
    axes = (0, None if context is None else 0, 0)

    def one(y: Any, c: Any, fraction: Any) -> Any:
        return jax.jacfwd(lambda y: field(fraction * flow.end, y, c))(y)

    return (jax.vmap(one, in_axes=axes)(y, context, fractions),)


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


def _drawn(program: Callable, fixed: tuple, given: tuple, seed: int) -> Evaluation:
    """All rows; noisy log-determinants are averaged over independent draws."""
    if fixed[0].divergence.exact:
        return _blocks(program, fixed, given, None)
    keys = [jax.random.key(seed * _DRAWS + k) for k in range(_DRAWS)]
    draws = [_blocks(program, fixed, given, key) for key in keys]
    logs = np.stack([d.log_det for d in draws])
    error = logs.std(0, ddof=1) / _DRAWS**0.5
    ok = np.all([d.ok for d in draws], axis=0)
    nfe = np.sum([d.nfe for d in draws], axis=0)
    return Evaluation(draws[0].y, logs.mean(0), error, nfe, ok)


def _blocks(program: Callable, fixed: tuple, given: tuple, key: Any) -> Evaluation:
    y, log_det, nfe, ok = _in_blocks(program, fixed, given, key)
    finite = np.isfinite(y).all(1) & np.isfinite(log_det)
    return Evaluation(y, log_det, np.zeros(len(y)), nfe.astype(float), ok.astype(bool) & finite)


def _in_blocks(program: Callable, fixed: tuple, given: tuple, *key: Any) -> list[np.ndarray]:
    """The program on blocks of rows of two sizes, so that tables of all lengths share programs."""
    n = len(given[0])
    size = _SMALL if n <= _SMALL else _BLOCK
    parts = []
    for i in range(0, max(n, 1), size):
        block = [
            None if a is None else _padded(np.asarray(a[i : i + size], float), size) for a in given
        ]
        keys = [None if k is None else jax.random.fold_in(k, i) for k in key]
        parts.append(jax.device_get(program(*fixed, *block, *keys)))
    return [np.concatenate(part)[:n].copy() for part in zip(*parts, strict=True)]


def _padded(x: np.ndarray, size: int) -> np.ndarray:
    """Copies of the first row behind the others, whose steps they take along."""
    if len(x) == size:
        return x
    return np.concatenate([x, np.broadcast_to(x[:1], (size - len(x), *x.shape[1:]))])


@eqx.filter_jit
def _one_pass(flow: Any, way: str, x: Any, context: Any, key: Any) -> tuple:
    return _parts(rows(getattr(flow, way), x, context, key), len(x))


@eqx.filter_jit
def _adaptive(
    flow: Any, limits: Any, max_steps: int, x: Any, context: Any, begin: Any, end: Any, key: Any
) -> tuple:
    # The tolerances are traced, so that all of them share one program.
    return _spans(flow.with_solver(Adaptive(limits[0], limits[1], max_steps)), x, context, begin,
                  end, key)  # fmt: skip


@eqx.filter_jit
def _fixed(flow: Any, x: Any, context: Any, begin: Any, end: Any, key: Any) -> tuple:
    return _spans(flow, x, context, begin, end, key)


def _spans(flow: Any, x: Any, context: Any, begin: Any, end: Any, key: Any) -> tuple:
    keys = None if key is None else jax.random.split(key, len(x))
    axes = (0, None if context is None else 0, 0, 0, None if keys is None else 0)

    def move(y: Any, c: Any, t0: Any, t1: Any, k: Any) -> Any:
        return flow.between(y, t0 * flow.end, t1 * flow.end, c, key=k)

    return _parts(jax.vmap(move, in_axes=axes)(x, context, begin, end, keys), len(x))


def _parts(moved: Any, n: int) -> tuple:
    nfe, ok = (jnp.broadcast_to(jnp.asarray(v), (n,)) for v in (moved.nfe, moved.ok))
    return moved.y, moved.log_det, nfe, ok
