"""`solve`: a field over times, on a fixed grid of our own or by a diffrax solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

from ..errors import InputError
from ..unfold import RK4, Interval, Memory, RecomputeField, Tableau, runge_kutta, unfold
from . import grid
from .grid import Hold, Times
from .solved import Counts, Hermite, Solved


def solve(
    field: Callable,
    y0: PyTree,
    ts: Times,
    *,
    u: Any = None,
    hold: Hold = "linear",
    method: Any = RK4,
    substeps: int | Sequence[int] | np.ndarray = 1,
    memory: Memory = RecomputeField(),
    controller: Any = None,
    adjoint: Any = None,
    max_steps: int | None = None,
    dense: bool = False,
) -> Solved:
    """Solve ``dy/dt = field(t, y, u)`` from ``y(ts[0]) = y0`` and return the states at `ts`.

    One state in (an array or a PyTree), `jax.vmap` outside; works inside `jit` and `grad`.
    `ts` may decrease: then time runs backwards. `u` is a function of time or holds the inputs at
    `ts` (leaves (time, ...)), linear in between or, with ``hold="previous"``, held.

    `method` is a `Tableau`, which takes `substeps` equal steps (one count, or one per interval) to
    each next time, with a backward pass that keeps what `memory` says; or a diffrax solver, which
    takes diffrax's own `controller` and `adjoint` and at most `max_steps` (4096) steps. Without a
    controller its tolerances are the square root of the precision: 1.5e-8 in float64, 3.5e-4 in
    float32. It steps onto `ts` where inputs bend or jump there and interpolates elsewhere.

    `dense` keeps the solution between the times: a cubic on fixed grids (two more evaluations per
    step), diffrax's own interpolation otherwise. `evaluated_at` is exact on fixed grids. A diffrax
    solver keeps it with ``dense=True``: the stages of the accepted steps.

    NFE counts the solver's evaluations; those inside the root finder of an implicit solver, and
    a repeated first stage when the step after a jump is rejected, are not seen.

    Raises `InputError` for times that do not run one way, inputs that do not fit them, and options
    that the method does not have.
    """
    y0, ts = grid.inexact(y0), grid.read_times(ts)
    if callable(u):
        field, u = grid.Driven(field, u), None
    u = grid.read_inputs(u, hold, ts, grid.real_dtype(y0))
    if isinstance(method, Tableau):
        _refuse("a diffrax solver", controller=controller, adjoint=adjoint, max_steps=max_steps)
        counts = grid.read_substeps(substeps, len(ts) - 1)
        steps = grid.intervals(ts, counts, u, hold, grid.real_dtype(y0))
        run = _fixed
        counts = tuple(counts.tolist())
        arguments = (field, y0, jnp.asarray(ts), steps, counts, method, memory, dense)
    else:
        from .adaptive import adaptive as run

        changed = None if memory == RecomputeField() else memory
        _refuse("a Tableau", substeps=None if np.all(substeps == 1) else substeps, memory=changed)
        arguments = (field, y0, jnp.asarray(ts, grid.real_dtype(y0)), u, hold, method, controller)
        arguments += (adjoint, max_steps or 4096, dense)
    return run_compiled(run, *arguments)


def _refuse(owner: str, **options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise InputError(
                f"{name}=",
                expected=f"method= to be {owner}",
                got=f"{name}={value!r} with another method",
                do=f"leave out {name} or change the method",
            )


def run_compiled(run: Callable, field: Any, *arguments: Any) -> Any:
    """``run(field, *arguments)``, compiled once for all calls where that is safe.

    A module of arrays is immutable. A plain function may read variables that change between
    calls, so what holds one is traced every time; as is everything inside another `jit`.
    """
    leaves = jax.tree.leaves((field, arguments[:2]))
    if any(isinstance(v, Tracer) for v in leaves) or any(map(callable, leaves)):
        return run(field, *arguments)
    if run not in _COMPILED:
        _COMPILED[run] = eqx.filter_jit(run)
    return _COMPILED[run](field, *arguments)


_COMPILED: dict[Callable, Callable] = {}


def _fixed(
    field: Callable,
    y0: PyTree,
    ts: Array,
    steps: Interval,
    counts: tuple[int, ...],
    method: Tableau,
    memory: Memory,
    dense: bool,
) -> Solved:
    n = len(steps.t)
    step = runge_kutta(method, field)
    if len(counts) == 1 and not dense:
        # Only the end is wanted: keeping every state would undo what `memory` saves.
        last, _ = unfold(step, y0, steps, keep=lambda _: None, memory=memory)
        after = jax.tree.map(lambda v: v[None], last)
    else:
        _, fine = unfold(step, y0, steps, memory=memory)
        after = jax.tree.map(lambda v: _pick(v, counts), fine)
    ys = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), y0, after)
    at = steps.t[:, None] + steps.h[:, None] * jnp.asarray(method.c, steps.t.dtype)
    nfe, interpolant = n * method.stages, None
    if dense:
        interpolant = _hermite(field, y0, fine, steps, ts[-1])
        at = jnp.concatenate([at, steps.t[:, None], (steps.t + steps.h)[:, None]], axis=1)
        nfe += 2 * n
    work = Counts(*(jnp.asarray(count, jnp.int32) for count in (nfe, n, 0)))
    return Solved(ts, ys, work, jnp.asarray(True), at.ravel(), interpolant)


def _pick(fine: Array, counts: tuple[int, ...]) -> Array:
    """The states at the ends of the intervals, out of those after every substep."""
    if len(set(counts)) <= 1:
        stride = counts[0] if counts else 1
        return fine[stride - 1 :: stride]
    return fine[np.cumsum(counts) - 1]


def _hermite(field: Callable, y0: PyTree, fine: PyTree, steps: Interval, end: Array) -> Hermite:
    ys = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), y0, fine)
    starts = jax.tree.map(lambda v: v[:-1], ys)
    ends = steps.t + steps.h
    slopes = jax.vmap(field)
    ts = jnp.append(steps.t, end.astype(steps.t.dtype))
    return Hermite(ts, ys, slopes(steps.t, starts, steps.u0), slopes(ends, fine, steps.u1))
