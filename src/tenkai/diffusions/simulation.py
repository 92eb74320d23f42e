"""Paths of a learned diffusion: Gaussian steps with the moments that the likelihood used."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..models.ensemble import cast
from ..models.sde import SDE
from ..unfold import Interval
from .moments import begin, cholesky, moment_step

FINER = 4  # steps per substep of the likelihood: a path is not Gaussian over a long gap


def gaussian_step(model: SDE) -> Callable[[Array, Interval, Array], Array]:
    """``(z, interval, noise) -> z``: a Gaussian step with the transition's moments.

    `noise` (dim,) is standard normal.
    """
    move = moment_step(model)

    def step(z: Array, x: Interval, noise: Array) -> Array:
        reached = move(begin(z), x)
        return reached.mean + cholesky(reached.covariance) @ noise

    return step


@functools.cache
def _program():
    def one(model: SDE, start: Array, grid: Interval, key: Array) -> Array:
        single = gaussian_step(model)

        def substep(carry: tuple, x: Interval) -> tuple:
            z, key = carry
            key, now = jax.random.split(key)
            noise = jax.random.normal(now, z.shape, z.dtype)
            return (jax.vmap(single, in_axes=(0, None, 0))(z, x, noise), key), None

        def gap(carry: tuple, xs: Interval) -> tuple:
            carry, _ = lax.scan(substep, carry, xs)
            return carry, carry[0]

        return lax.scan(gap, (start, jax.random.wrap_key_data(key)), grid)[1]

    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=(eqx.if_array(0), 0, None, 0)))


def paths(
    model: SDE,
    start: Float[np.ndarray, "paths dim"],
    t: Float[np.ndarray, " time"],
    u: Float[np.ndarray, "time k"] | None,
    substeps: int,
    seed: int,
) -> Float[np.ndarray, "paths time dim"]:
    """Standardised paths out of states at ``t[0]``, which is the first of the given times.

    Paths are dealt over the members, so that they spread as the members do. `substeps` are per
    unit of time; inputs run straight between the times.
    """
    leaves = jax.tree.leaves(eqx.filter(model, eqx.is_array))
    members = len(leaves[0])
    count, dim = start.shape
    each = -(-count // members)
    begun = np.resize(start, (each * members, dim)).reshape(members, each, dim)
    if len(t) == 1:
        return start[:, None]
    gaps = np.diff(t)
    inner = int(np.clip(np.ceil(gaps.max() * substeps - 1e-9), 1, 10_000))
    h = np.repeat(gaps[:, None] / inner, inner, 1)
    at = t[:-1, None] + h * np.arange(inner)
    u0 = u1 = None
    if u is not None:
        share = np.arange(inner + 1)[:, None] / inner
        whole = u[:-1, None] + share * np.diff(u, axis=0)[:, None]
        u0, u1 = whole[:, :-1], whole[:, 1:]
    keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(seed), members)))
    dtype = next(a.dtype for a in leaves if np.issubdtype(a.dtype, np.floating))
    begun, grid = cast((begun, Interval(at, h, u0, u1)), dtype)
    out = np.asarray(_program()(model, begun, grid, keys), float)
    out = np.concatenate([np.asarray(begun, float)[:, :, None], out.transpose(0, 2, 1, 3)], 2)
    return out.transpose(1, 0, 2, 3).reshape(-1, len(t), dim)[:count]


@functools.cache
def _raw_program():
    def one(model: SDE, t: Any, z: Array, u: Any) -> tuple[Array, Array]:
        return jax.vmap(model.raw)(t, z, u)

    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=(eqx.if_array(0), None, None, None)))


def raw_fields(
    model: SDE, t: np.ndarray, z: np.ndarray, u: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Drift and diffusion in raw units at standardised states, every member's."""
    return tuple(np.asarray(a, float) for a in _raw_program()(model, t, z, u))  # type: ignore
