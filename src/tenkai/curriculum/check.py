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
    all members at once; moves are those of the mean path, relative to its range.
    """
    series = list(data)[:_MOST_SERIES]
    starts = ensemble.starts[:, : len(series)]
    inputs = [drivers_of(s.u, s.static, len(s)) for s in series] if ensemble.inputs else None
    times = [s.t for s in series]
    coarse = ensemble.paths(times, starts, inputs)
    finer = ensemble.paths(times, starts, inputs, refine=2)
    moves, adaptive, nfe = [], [], 0
    for i, (a, b) in enumerate(zip(coarse, finer, strict=True)):
        moves.append(_move(ensemble, a, b))
        u = None if inputs is None else inputs[i]
        c, used = _adaptive(ensemble, times[i], starts[:, i], u)
        adaptive.append(_move(ensemble, a, c))
        nfe += used
    fine, free = max(moves), max(adaptive)
    is_ode = bool(max(fine, free) <= _TOLERANCE)
    if is_ode:
        message = "this is an ODE: the path does not depend on the solver's steps"
    else:
        message = (
            f"the path moves by {max(fine, free):.0%} of its range when solved more exactly: "
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
    ensemble: Ensemble, t: np.ndarray, starts: np.ndarray, u: np.ndarray | None
) -> tuple[Float[np.ndarray, "members time dim"], int]:
    from scipy.integrate import solve_ivp

    lost = np.full((len(starts), len(t), starts.shape[1]), np.inf)
    if not np.isfinite(starts).all():
        return lost, 0
    tau = ensemble.time.forward(t)
    scaled = None if u is None or ensemble.inputs is None else ensemble.inputs.forward(u)
    shape, used = starts.shape, 0
    dtype = jax.tree.leaves(ensemble.fields)[0].dtype

    def slope(at: float, flat: np.ndarray) -> np.ndarray:
        nonlocal used
        used += 1
        if used > _MOST_NFE:
            raise _TooStiff
        now = None if scaled is None else _input_at(tau, scaled, at, ensemble.held)
        z = cast((np.float64(at), flat.reshape(shape), now), dtype)
        return np.asarray(_member_slopes(ensemble.fields, *z)).astype(float).ravel()

    longest = np.inf if scaled is None else float(np.diff(tau).min())
    try:
        solved = solve_ivp(
            slope, (tau[0], tau[-1]), starts.ravel().astype(float), t_eval=tau,
            rtol=1e-5, atol=1e-6, max_step=longest,
        )  # fmt: skip
    except _TooStiff:
        return lost, used
    if solved.y.shape[-1] != len(t):
        return lost, used
    return solved.y.T.reshape(len(t), *shape).transpose(1, 0, 2), used


def _input_at(tau: np.ndarray, u: np.ndarray, at: float, held: bool) -> np.ndarray:
    if held:
        return u[max(0, np.searchsorted(tau, at, side="right") - 1)]
    return np.array([np.interp(at, tau, column) for column in u.T])


@eqx.filter_jit
def _member_slopes(fields, t, z, u):
    return eqx.filter_vmap(lambda f, z: f(t, z, u), in_axes=(eqx.if_array(0), 0))(fields, z)
