"""Is the learned thing an ODE, or a discrete map that needs its training grid?"""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..data import Trajectories
from ..models.ensemble import Ensemble, cast
from ..records import Discretisation
from .problem import drivers_of

_TOLERANCE = 0.02
_MOST_SERIES = 3
_MOST_NFE = 20_000


def discretisation(ensemble: Ensemble, data: Trajectories) -> Discretisation:
    """Solve the paths again, twice as fine and adaptively, and say how far they move.

    The adaptive solver is SciPy's Runge-Kutta 4(5) at rtol 1e-5 (Dormand and Prince 1980), on
    all members at once; moves are those of the mean path, relative to its range. Known inputs have
    a kink at every observation, where an adaptive solver starts anew: four times as fine stands in
    for it there, and where it gives up.
    """
    series = list(data)[:_MOST_SERIES]
    starts = ensemble.starts[:, : len(series)]
    inputs = [drivers_of(s.u, s.static, len(s)) for s in series] if ensemble.inputs else None
    times = [s.t for s in series]
    coarse = ensemble.paths(times, starts, inputs)
    finer = ensemble.paths(times, starts, inputs, refine=2)
    moves, adaptive, nfe = [], [], 0
    finest: list[np.ndarray] | None = None
    for i, (a, b) in enumerate(zip(coarse, finer, strict=True)):
        moves.append(_move(ensemble, a, b))
        c = None
        if ensemble.inputs is None:
            c, used = _adaptive(ensemble, times[i], starts[:, i])
            nfe += used
        if c is None:
            finest = finest or ensemble.paths(times, starts, inputs, refine=4)
            c = finest[i]
        adaptive.append(_move(ensemble, a, c))
    fine, free = max(moves), max(adaptive)
    is_ode = bool(max(fine, free) <= _TOLERANCE)
    if is_ode:
        message = "this is an ODE: the path does not depend on the solver's steps"
    else:
        move = f"by {max(fine, free):.0%} of its range" if np.isfinite(max(fine, free)) else "away"
        message = (
            f"the path moves {move} when solved more exactly: "
            "a discrete map, or a chaotic flow. Do: refine the grid (more steps per interval)"
        )
    return Discretisation(fine, free, _TOLERANCE, is_ode, message, nfe)


def _move(ensemble: Ensemble, a: np.ndarray, b: np.ndarray) -> float:
    mean_a, mean_b = (p[ensemble.trusted][..., : ensemble.shown].mean(0) for p in (a, b))
    extent = np.maximum(np.ptp(mean_a, axis=0), 1e-9)
    move = np.abs(mean_a - mean_b).max(0) / extent
    return float(move.max()) if np.isfinite(move).all() else float("inf")


class _TooStiff(Exception):
    """The adaptive solver spends more than it is worth."""


def _adaptive(
    ensemble: Ensemble, t: np.ndarray, starts: np.ndarray
) -> tuple[Float[np.ndarray, "members time dim"] | None, int]:
    """All members' paths, or None where the solver gives up; and evaluations of the field."""
    from scipy.integrate import solve_ivp

    if not np.isfinite(starts).all():
        return None, 0
    tau = ensemble.time.forward(t)
    shape, used = starts.shape, 0
    dtype = jax.tree.leaves(ensemble.fields)[0].dtype

    def slope(at: float, flat: np.ndarray) -> np.ndarray:
        nonlocal used
        used += 1
        if used > _MOST_NFE:
            raise _TooStiff
        z = cast((np.float64(at), flat.reshape(shape)), dtype)
        return np.asarray(_member_slopes(ensemble.fields, *z)).astype(float).ravel()

    try:
        solved = solve_ivp(
            slope, (tau[0], tau[-1]), starts.ravel().astype(float), t_eval=tau,
            rtol=1e-5, atol=1e-6,
        )  # fmt: skip
    except _TooStiff:
        return None, used
    if solved.y.shape[-1] != len(t):
        return None, used
    return solved.y.T.reshape(len(t), *shape).transpose(1, 0, 2), used


@eqx.filter_jit
def _member_slopes(fields, t, z):
    return eqx.filter_vmap(lambda f, z: f(t, z, None), in_axes=(eqx.if_array(0), 0))(fields, z)
