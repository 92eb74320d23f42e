"""How the learned paths move with their start states, by forward mode through the grid solve."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..curriculum.problem import drivers_of, inputs_at
from ..data import Series, Trajectories
from ..errors import InputError
from ..models.ensemble import PAD, Ensemble, cast
from ..models.grid import pack, substeps
from ..models.trajectory import TrajectoryModel
from ..records import Sensitivity
from ..unfold import Store, Tableau
from .equilibria import names_of

_LEAST_ERROR = 1e-2  # of a standard deviation, where the members' start states are the same


def sensitivities(
    ensemble: Ensemble, data: Trajectories, which: Sequence[int], at: np.ndarray | None = None
) -> list[Sensitivity]:
    """Of the paths of the series `which` at float times `at` (default: the observed ones).

    ``d y(t) / d y0`` of every trusted member, from the grid of Runge-Kutta steps that predicts; in
    raw units ``diag(g'(z_t)) M diag(1 / g'(z_0))`` with M in standardised ones and x = g(z).
    """
    times = [data[i].t if at is None else _checked(at, data[i], data) for i in which]
    nodes = [np.union1d(data[i].t, t) for i, t in zip(which, times, strict=True)]
    inputs = None
    if ensemble.inputs is not None:
        driven = (_inputs(data[i], n, ensemble.held) for i, n in zip(which, nodes, strict=True))
        inputs = [ensemble.inputs.forward(u) for u in driven]
    z, m = _tangents(ensemble, nodes, which, inputs)
    edges = np.cumsum([0, *(len(n) for n in nodes)])
    out = []
    for i, t, n, first in zip(which, times, nodes, edges, strict=False):
        rows = first + np.searchsorted(n, t)
        out.append(_record(ensemble, data, data[i], t, z[:, rows], z[:, first], m[:, rows]))
    return out


def _checked(at: np.ndarray, one: Series, data: Trajectories) -> np.ndarray:
    """The times in order; `InputError` unless the path and its inputs are known there."""
    last = one.t[-1] if data.n_inputs else np.inf
    bad = (at < one.t[0]) | (at > last)
    if bad.any() or not len(at):
        until = f" to {data.clock.decode(one.t[-1:])[0]}" if data.n_inputs else " on"
        raise InputError(
            "t", expected=f"times from {data.clock.decode(one.t[:1])[0]}{until}",
            got=str(data.clock.decode(at[bad])[0]) if len(at) else "none",
            do="stay where the path and its inputs are known",
        )  # fmt: skip
    return np.unique(at)


def _inputs(one: Series, at: np.ndarray, held: bool) -> np.ndarray:
    return inputs_at(at, one.t, drivers_of(one.u, one.static, len(one)), held)


def _tangents(
    ensemble: Ensemble,
    times: Sequence[np.ndarray],
    which: Sequence[int],
    inputs: Sequence[np.ndarray] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """States (members, nodes, dim) and their Jacobians by the start, of the trusted members."""
    tau = [ensemble.time.forward(t) for t in times]
    counts = substeps(tau, ensemble.step)
    grid = pack(tau, counts, inputs, held=ensemble.held, pad_to=PAD, least=ensemble.size)
    starts = np.zeros((ensemble.members, grid.nodes, ensemble.dim))
    starts[:, np.flatnonzero(grid.first)] = ensemble.starts[:, list(which)]
    fields = cast(ensemble.fields, np.float64)
    model = TrajectoryModel(fields, starts, np.ones(starts.shape, bool))
    program = _program(ensemble.members, ensemble.tableau)
    with jax.enable_x64(True), np.errstate(over="ignore", invalid="ignore"):
        z, m = program(model, cast(grid, np.float64), grid.first)
        return np.asarray(z)[ensemble.trusted], np.asarray(m)[ensemble.trusted]


@functools.cache
def _program(members: int, tableau: Tableau):
    """Compiled: arrivals at every node and their Jacobians by a shift of all start states.

    Series do not know of each other, so a shift of all starts gives each its own Jacobian.
    """

    def one(model, grid, first):
        def arrive(shift):
            moved = TrajectoryModel(
                model.field, model.states + jnp.where(first[:, None], shift, 0.0), model.free
            )
            z = moved.arrivals(grid, first, tableau=tableau, memory=Store(), members=members)
            return z, z

        jacobian, z = jax.jacfwd(arrive, has_aux=True)(jnp.zeros(model.states.shape[-1]))
        return z, jacobian

    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=(eqx.if_array(0), None, None)))


def _record(
    ensemble: Ensemble,
    data: Trajectories,
    one: Series,
    t: np.ndarray,
    z: np.ndarray,
    start: np.ndarray,
    m: np.ndarray,
) -> Sensitivity:
    """From standardised states (members, time, dim) and Jacobians (members, time, dim, dim)."""
    stretch, by = _stretch(ensemble, z), _stretch(ensemble, start)[:, None]
    raw = stretch[..., :, None] * m / by[..., None, :]
    finite = np.isfinite(m)
    largest = np.linalg.norm(np.where(finite, m, 0.0), ord=2, axis=(-2, -1))
    with np.errstate(divide="ignore"):
        log = np.where(finite.all((-2, -1)), np.log(largest), np.inf)
    span = float(t[-1] - one.t[0])
    exponents = log[:, -1] / span if span > 0 else np.full(len(log), np.nan)
    error = float(np.sqrt((start.std(0) ** 2).mean())) or _LEAST_ERROR
    growth, exponent, elapsed = log.mean(0), float(exponents.mean()), t - one.t[0]
    return Sensitivity(
        time=np.asarray(data.clock.decode(t)),
        jacobian=raw.mean(0),
        spread=raw.std(0),
        growth=np.exp(growth),
        growth_spread=log.std(0),
        exponent=exponent,
        exponent_spread=float(exponents.std()),
        start_error=error,
        horizon=_horizon(elapsed, growth + np.log(error), exponent),
        grows=exponent > exponents.std() and _rises(elapsed, growth),
        names=names_of(ensemble, data),
        series=one.id,
        time_name=data.time_name,
        time_unit=data.clock.unit,
    )


def _rises(elapsed: np.ndarray, log_growth: np.ndarray) -> bool:
    """Whether a line through its second half rises by more than twice the scatter around it."""
    late = elapsed >= elapsed[-1] / 2
    if late.sum() < 3 or not np.isfinite(log_growth).all():
        return bool(log_growth[-1] > 0)
    elapsed, log_growth = elapsed[late], log_growth[late]
    slope, level = np.polyfit(elapsed, log_growth, 1)
    scatter = (log_growth - level - slope * elapsed).std()
    return bool(slope * np.ptp(elapsed) > 2 * scatter + 1e-6)


def _stretch(ensemble: Ensemble, z: np.ndarray) -> np.ndarray:
    """``dx/dz`` (..., dim) of raw by standardised states."""
    state = ensemble.state.extended(ensemble.dim - ensemble.shown)
    return state.scale * np.where(state.positive, state.inverse(z), 1.0)


def _horizon(elapsed: np.ndarray, log_error: np.ndarray, exponent: float) -> float:
    """When the error reaches one: on the path, or as the exponent extrapolates it, or never."""
    over = np.flatnonzero(log_error >= 0)
    if len(over):
        return float(elapsed[over[0]])
    if not exponent > 0:
        return float("inf")
    return float(elapsed[-1] - log_error[-1] / exponent)
