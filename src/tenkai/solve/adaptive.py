"""Solves by diffrax: the only file that imports it, and only when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .grid import Driven, Hold, Sampled
from .solved import Counts, Solved


class _VectorField(eqx.Module):
    """diffrax's form of a field. A module, so that its adjoints find the arrays inside."""

    field: Callable

    def __call__(self, t: Any, y: PyTree, args: Any) -> PyTree:
        return self.field(t, y, None)


def adaptive(
    field: Callable,
    y0: PyTree,
    ts: Array,
    u: PyTree,
    hold: Hold,
    solver: Any,
    controller: Any,
    adjoint: Any,
    max_steps: int,
    dense: bool,
) -> Solved:
    """`solve` by a diffrax solver; it does not raise where diffrax would, see `Solved.ok`."""
    import diffrax

    controller, jumps = _controller(controller, ts, None if u is None else hold)
    if u is not None:
        field = Driven(field, Sampled(ts, u, hold))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_VectorField(field)), solver, ts[0], ts[-1], None, y0,
        saveat=diffrax.SaveAt(ts=ts, dense=dense), stepsize_controller=controller,
        adjoint=adjoint or diffrax.RecursiveCheckpointAdjoint(), max_steps=max_steps, throw=False,
    )  # fmt: skip
    accepted = solution.stats["num_accepted_steps"]
    rejected = solution.stats["num_rejected_steps"]
    nfe = _nfe(solver, accepted + rejected, jumps)
    return Solved(
        ts,
        solution.ys,
        Counts(*(jnp.asarray(n, jnp.int32) for n in (nfe, accepted, rejected))),
        solution.result == diffrax.RESULTS.successful,
        _stage_times(solver, solution.interpolation) if dense else None,
        solution.interpolation,
    )


def _controller(controller: Any, ts: Array, hold: Hold | None) -> tuple[Any, int]:
    """Steps onto `ts` where inputs, which `hold` tells of, bend or jump; and how many jump."""
    import diffrax

    if controller is None:
        tolerance = float(jnp.finfo(ts.dtype).eps) ** 0.5
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    if hold is None or not isinstance(controller, diffrax.AbstractAdaptiveStepSizeController):
        return controller, 0
    inner = ts[1:-1]
    if hold == "linear":
        return diffrax.ClipStepSizeController(controller, step_ts=inner), 0
    return diffrax.ClipStepSizeController(controller, jump_ts=inner), len(inner)


def _nfe(solver: Any, steps: Array, jumps: int) -> Array:
    tableau = getattr(solver, "tableau", None)
    if tableau is None:
        return steps
    if tableau.fsal:  # the last stage of a step is the first of the next, except after a jump
        return steps * (tableau.num_stages - 1) + 1 + jumps
    return steps * tableau.num_stages


def _stage_times(solver: Any, interpolation: Any) -> Array:
    tableau = getattr(solver, "tableau", None)
    c = jnp.zeros(1)
    if tableau is not None:
        c = jnp.concatenate([c, jnp.asarray(tableau.c)])[: -1 if tableau.fsal else None]
    # diffrax keeps -t for a solve that runs backwards and pads with infinities.
    ends = interpolation.ts * interpolation.direction
    begins, ends = ends[:-1], ends[1:]
    known = jnp.isfinite(begins) & jnp.isfinite(ends)
    length = jnp.where(known, ends - begins, jnp.nan)
    times = (begins[:, None] + length[:, None] * c.astype(ends.dtype)).ravel()
    if tableau is None or not tableau.fsal:
        return times
    return jnp.concatenate([times, interpolation.t1[None]])
