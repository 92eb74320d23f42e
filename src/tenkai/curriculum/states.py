"""Start states of series the ensemble was not trained on, hidden dimensions included."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..data import Scaler
from ..models.ensemble import PAD, Ensemble, cast
from ..models.grid import Size, pack, substeps
from ..models.trajectory import TrajectoryModel
from ..unfold import Tableau
from .least_squares import Normal, levenberg_marquardt
from .problem import Problem
from .smoothing import Smoother

_PRIOR = 1e-3  # weight of the first guess: it decides only what the observations leave open


def start_states(
    ensemble: Ensemble, problem: Problem, known: np.ndarray
) -> Float[np.ndarray, "members series dim"]:
    """States at each series' first node by Levenberg-Marquardt on the path's misses, per member.

    The first guess is the smoother's; `known` (series, dim), in raw units, holds what is given.
    """
    known = ensemble.standardised(known)
    scaler = Scaler(*ensemble.state)
    scaled = scaler.forward(problem.values)
    hidden = ensemble.dim - ensemble.shown
    units = ensemble.velocity_units
    velocities = 0 if units is None else ensemble.shown
    smoothed = Smoother(problem, scaled, np.zeros(len(scaled), bool), hidden, scaler, velocities)(
        ~np.isnan(scaled)
    )
    guessed = smoothed.states[:, : ensemble.given].copy()
    if units is not None:
        guessed[:, velocities:] /= units
    middle = ensemble.starts.mean(1)[:, None]
    out = np.repeat(middle, len(problem.spans), axis=1)
    length = max(s.stop - s.start for s in problem.spans)
    for i, span in enumerate(problem.spans):
        tau = problem.tau[span]
        steps = substeps([tau], ensemble.step)
        inputs = None if problem.inputs is None else [problem.inputs[span]]
        grid = pack([tau], steps, inputs, held=problem.held, pad_to=PAD, least=Size(0, length))
        values = np.full((grid.nodes, ensemble.dim), np.nan)
        values[: len(tau), : ensemble.shown] = scaled[span]
        guess = out[:, i].copy()
        guess[:, : ensemble.given] = guessed[span.start]
        guess = np.where(np.isnan(known[i]), guess, known[i])
        dtype = jax.tree.leaves(ensemble.fields)[0].dtype
        run = _start(ensemble.members, ensemble.tableau)
        arguments = cast((grid, values, guess, np.isnan(known[i])), dtype)
        out[:, i] = np.asarray(run(ensemble.fields, *arguments))
    return np.where(np.isnan(known), out, known)


@functools.cache
def _start(members: int, tableau: Tableau):
    """Compiled: every member's start state for one series."""

    def one(field, grid, values, guess, free):
        seen = ~jnp.isnan(values)

        def residuals(start):
            states = jnp.zeros_like(values).at[0].set(start)
            model = TrajectoryModel(field, states, jnp.ones_like(seen))
            path = model.arrivals(grid, grid.first, tableau=tableau, members=members)
            miss = jnp.where(seen, path - jnp.where(seen, values, 0.0), 0.0)
            r = jnp.concatenate([miss.ravel(), _PRIOR**0.5 * (start - guess)])
            return r, r

        def normal(start):
            jacobian, r = jax.jacfwd(residuals, has_aux=True)(start)
            return Normal(r @ r, jacobian.T @ r, jacobian.T @ jacobian)

        return levenberg_marquardt(normal, guess, free)[0]

    axes = (eqx.if_array(0), None, None, 0, None)
    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=axes))
