"""The last stage of a user's equation: Fisher scoring to the maximum, and how well it is known."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..curriculum.least_squares import Normal, levenberg_marquardt
from ..models.equation import Relative
from .moments import Moments, cholesky, forward_substitution
from .training import Unknowns, Weighed, penalty, sde
from .transitions import arrivals

MOST_UNKNOWNS = 128  # derivatives go forward, one pass each
_SINGULAR = 1e-10


class Scored(NamedTuple):
    """The maximum (k,), the scores (n, k) of the transitions there, and the information (k, k)."""

    at: Float[np.ndarray, " k"]
    scores: Float[np.ndarray, "n k"]
    information: Float[np.ndarray, "k k"]


def score_to_end(
    at: Unknowns, batch: Weighed, timed: bool, offset: float
) -> tuple[Unknowns, Scored]:
    """Move to the maximum of the likelihood; `offset` is about its negative value there."""
    # As a plain float the offset would be static, and every fit would compile anew.
    best, *found = _program(timed)(at, batch, np.asarray(offset))
    best = jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, best)
    return best, Scored(*map(np.asarray, found))


def size(at: Unknowns) -> int:
    """How many numbers are learned."""
    return sum(np.size(a) for a in jax.tree.leaves(_learned(at)[0]))


def _learned(at: Unknowns) -> tuple[PyTree, PyTree]:
    """What moves, and the rest: the sizes that a user's numbers are stored in stay."""
    moving, rest = eqx.partition(at, eqx.is_inexact_array)

    def one(part: Any) -> Any:
        if not isinstance(part, Relative):
            return part
        return Relative(part.field, jax.tree.map(lambda a: None, part.units))

    return Unknowns(one(moving.drift), one(moving.diffusion)), rest


@functools.cache
def _program(timed: bool) -> Callable:
    def run(at: Unknowns, batch: Weighed, offset: Any) -> tuple[Unknowns, Array, Array, Array]:
        learned, _ = _learned(at)
        flat, unflat = ravel_pytree(learned)

        def unknown(x: Array) -> Unknowns:
            return eqx.combine(unflat(x), at)

        def prior(x: Array) -> Array:
            return penalty(unknown(x), batch.frame, batch.count)

        def ends(x: Array) -> tuple[Moments, Moments]:
            out = arrivals(sde(unknown(x), batch.frame, batch.count, timed), batch.data)
            return out, out

        def normal(x: Array) -> Normal:
            slope, state = jax.jacfwd(ends, has_aux=True)(x)
            cost, gradient, matrix = jax.vmap(_information)(state, slope, batch.data.z1)
            cost = jnp.sum(cost) + prior(x) - offset + batch.count
            down = jnp.sum(gradient, 0) + jax.grad(prior)(x)
            matrix = jnp.sum(matrix, 0) + jax.hessian(prior)(x)
            return Normal(cost, down, matrix, -gradient)

        best, found = levenberg_marquardt(normal, flat, jnp.ones(len(flat), bool))
        return unknown(best), best, found.more, found.matrix

    return eqx.filter_jit(run)


def _information(state: Moments, slope: Moments, y: Array) -> tuple[Array, Array, Array]:
    """Minus the log density of one transition, its gradient (k,) and Fisher's information (k, k).

    ``I = dm' P^-1 dm + 1/2 tr(P^-1 dP P^-1 dP)``, in coordinates in which P is the identity.
    """
    lower, dim = cholesky(state.covariance), len(y)
    inverse = forward_substitution(lower, jnp.eye(dim, dtype=y.dtype))
    e = inverse @ (y - state.mean)
    cost = 0.5 * jnp.sum(e**2) + jnp.sum(jnp.log(jnp.diag(lower))) + 0.5 * dim * jnp.log(2 * jnp.pi)
    first = inverse @ slope.mean
    second = jnp.einsum("ia,abk,jb->ijk", inverse, slope.covariance, inverse)
    rows = jnp.concatenate([first, second.reshape(dim * dim, -1) / 2**0.5])
    miss = jnp.concatenate([e, (jnp.outer(e, e) - jnp.eye(dim, dtype=y.dtype)).ravel() / 2**0.5])
    return cost, -rows.T @ miss, rows.T @ rows


def sandwich(found: Scored) -> tuple[Float[np.ndarray, "k k"], np.ndarray]:
    """Covariance ``H^-1 (sum s s^T) H^-1`` of the maximum, and which numbers nothing determines.

    H is the information of the Gaussian, which holds for any density with its mean and variance;
    the scores s bring what that density's third and fourth moments add (White 1982).
    """
    unit = np.maximum(np.abs(np.diag(found.information)), 1e-300) ** -0.5
    values, vectors = np.linalg.eigh(unit[:, None] * found.information * unit)
    able = values > _SINGULAR * max(values[-1], 1e-300)
    within = vectors[:, able] / values[able]
    inverse = unit[:, None] * (within @ vectors[:, able].T) * unit
    covariance = inverse @ (found.scores.T @ found.scores) @ inverse
    return covariance, (vectors[:, ~able] ** 2).sum(1) > 1e-6
