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
from .problem import Problem, Smoother

_ITERATIONS = 25
_PRIOR = 1e-3  # weight of the first guess: it decides only what the observations leave open


def start_states(
    ensemble: Ensemble, problem: Problem, known: np.ndarray
) -> Float[np.ndarray, "members series dim"]:
    """States at each series' first node by Levenberg-Marquardt on the path's misses, per member.

    The first guess is the smoother's; `known` (series, dim), standardised, holds what is given.
    """
    scaled = Scaler(*ensemble.state).forward(problem.values)
    hidden = ensemble.dim - ensemble.shown
    smoothed = Smoother(problem, scaled, np.zeros(len(scaled), bool), hidden)(~np.isnan(scaled))
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
        guess[:, : ensemble.shown] = smoothed.states[span.start, : ensemble.shown]
        guess = np.where(np.isnan(known[i]), guess, known[i])
        dtype = jax.tree.leaves(ensemble.fields)[0].dtype
        run = _levenberg_marquardt(ensemble.members, ensemble.tableau)
        arguments = cast((grid, values, guess, np.isnan(known[i])), dtype)
        out[:, i] = np.asarray(run(ensemble.fields, *arguments))
    return np.where(np.isnan(known), out, known)


@functools.cache
def _levenberg_marquardt(members: int, tableau: Tableau):
    """Compiled: every member's start state for one series."""

    def one(field, grid, values, guess, free):
        seen = ~jnp.isnan(values)

        def residuals(start):
            states = jnp.zeros_like(values).at[0].set(start)
            model = TrajectoryModel(field, states, jnp.ones_like(seen))
            path = model.arrivals(grid, grid.first, tableau=tableau, members=members)
            miss = jnp.where(seen, path - jnp.where(seen, values, 0.0), 0.0)
            return jnp.concatenate([miss.ravel(), _PRIOR**0.5 * (start - guess)])

        def improve(_, carry):
            start, damping, cost = carry
            r, jacobian = residuals(start), jax.jacfwd(residuals)(start)
            jacobian = jnp.where(free, jacobian, 0.0)
            normal, slope = jacobian.T @ jacobian, jacobian.T @ r
            eye = jnp.eye(len(start), dtype=start.dtype)
            lift = damping * jnp.diag(jnp.diag(normal)) + 1e-6 * eye
            move = jnp.where(free, -jnp.linalg.solve(normal + lift, slope), 0.0)
            there = jnp.sum(residuals(start + move) ** 2)
            better = there < cost  # False for NaN: a path that blows up is refused
            start = jnp.where(better, start + move, start)
            damping = jnp.where(better, damping / 4, damping * 4)
            return start, damping, jnp.where(better, there, cost)

        first = jnp.sum(residuals(guess) ** 2)
        first = jnp.where(jnp.isfinite(first), first, jnp.inf)
        begun = (guess, jnp.asarray(1e-2, guess.dtype), first)
        return jax.lax.fori_loop(0, _ITERATIONS, improve, begun)[0]

    axes = (eqx.if_array(0), None, None, 0, None)
    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=axes))
