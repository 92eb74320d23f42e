"""Losses and regularisers: ``(model, batch, key) -> (scalar, Aux)``.

They know nothing of fitting. A batch is a NamedTuple of arrays; what differs between the stages
of a training (which nodes reset, which points count) is data, so one compiled program serves all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .fields import Linear, together
from .models.equation import Residual
from .models.trajectory import TrajectoryModel
from .unfold import RK4, Tableau

Objective = Callable[[PyTree, PyTree, Any], tuple[Float[Array, ""], "Aux"]]


class Aux(NamedTuple):
    """What an objective reports beside its value.

    `weight` is how much the value counts when the batch is split over devices (the number of
    observed points, say); `state` is non-trained state that `fit` merges into the model; the
    counts are evaluations of the field.
    """

    weight: Any = 1.0
    state: PyTree = None
    nfe_forward: Any = 0
    nfe_backward: Any = 0


class Probe(NamedTuple):
    """States where the regularisers look, in standardised units: on the data, and beyond."""

    t: Any  # (points,)
    z: Any  # (points, dim)
    u: Any  # (points, inputs) or None
    on_data: Any  # (points,) one on the data's own path, zero elsewhere


class Penalties(NamedTuple):
    """Weights of the regularisers, scalars that may differ between members."""

    decay: Any  # of the squared weights of the networks
    jacobian: Any  # of the field's squared Jacobian
    residual: Any  # of the network's squared share beside a known equation
    probe: Any  # Probe


class Slopes(NamedTuple):
    """States and slopes along a smoother, in standardised units; `weight` is zero where unknown.

    Fields are arrays, or in the axes of a `vmap` over members 0 and None.
    """

    t: Any  # (points,)
    z: Any  # (points, dim)
    slope: Any  # (points, dim)
    scale: Any  # (dim,)
    weight: Any  # (points, dim)
    u: Any  # (points, inputs) or None
    penalties: Any  # Penalties


class Segments(NamedTuple):
    """Observations at the nodes of a grid, and where the path starts anew.

    `weight` counts the points that train; `continuity` weighs the jumps between shooting windows.
    Fields are arrays, or in the axes of a `vmap` over members 0 and None.
    """

    grid: Any  # Grid
    reset: Any  # (nodes,) bool
    values: Any  # (nodes, dim)
    weight: Any  # (nodes, dim)
    continuity: Any  # ()
    penalties: Any  # Penalties


def weight_decay(model: PyTree) -> Float[Array, ""]:
    """The sum of squared weights (not biases) of every linear layer in the model."""
    layers = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, Linear))
    return sum(
        (jnp.sum(layer.weight**2) for layer in layers if isinstance(layer, Linear)),
        start=jnp.zeros(()),
    )


def jacobian_size(field: Callable, probe: Probe) -> Float[Array, ""]:
    """``mean |df/dz|^2 / dim`` over the probes: a field that is steep beyond the data blows up."""

    def size(t: Array, z: Array, u: Any) -> Array:
        return jnp.mean(jnp.sum(jax.jacfwd(lambda y: field(t, y, u))(z) ** 2, axis=0))

    return jnp.mean(jax.vmap(size)(probe.t, probe.z, probe.u))


def network_size(field: Residual, probe: Probe) -> Float[Array, ""]:
    """``mean |network / slope|^2`` on the data: it explains only what the equation cannot."""
    size = jnp.mean(jax.vmap(field.network.net)(probe.t, probe.z, probe.u) ** 2, axis=-1)
    return jnp.sum(probe.on_data * size) / jnp.sum(probe.on_data)


def penalty(field: Callable, p: Penalties) -> Float[Array, ""]:
    """The regularisers of a field, each times its weight."""
    total = p.decay * weight_decay(field) + p.jacobian * jacobian_size(field, p.probe)
    if isinstance(field, Residual):
        total = total + p.residual * network_size(field, p.probe)
    return total


@functools.cache
def gradient_matching(members: int) -> Objective:
    """``sum w (f(t, z, u) - dz/dt)^2 / sum w``, no solve (Varah 1982): the cheapest first stage."""

    def objective(field: Callable, batch: Slopes, key: Any) -> tuple[Array, Aux]:
        with together(len(batch.t) * members):
            slope = jax.vmap(field)(batch.t, batch.z, batch.u)
        miss = batch.weight * ((slope - batch.slope) / batch.scale) ** 2
        total = jnp.sum(batch.weight)
        loss = jnp.sum(miss) / total + penalty(field, batch.penalties)
        return loss, Aux(total, nfe_forward=len(batch.t), nfe_backward=len(batch.t))

    return objective


@functools.cache
def shooting(members: int, tableau: Tableau = RK4) -> Objective:
    """Multiple shooting over windows with learned start states (Bock 1983).

    Misses of the observations along the path and at the start states, plus `continuity` times the
    jumps at the resets. With no resets this is the error of one solve of every series.
    """

    def objective(model: TrajectoryModel, batch: Segments, key: Any) -> tuple[Array, Aux]:
        path = model.arrivals(batch.grid, batch.reset, tableau=tableau, members=members)
        start = model.starts()
        inner = (batch.reset & ~batch.grid.first)[:, None]
        observed = batch.weight > 0  # Values that are not observed may be anything, also NaN.
        values = jnp.where(observed, batch.values, 0.0)
        miss = (jnp.where(observed, path, 0.0) - values) ** 2
        start_miss = jnp.where(inner & observed, start - values, 0.0) ** 2
        total = jnp.sum(batch.weight)
        loss = jnp.sum(batch.weight * (miss + start_miss)) / total
        jumps = jnp.sum(jnp.where(inner, path - start, 0.0) ** 2) / path.size
        smooth = penalty(model.field, batch.penalties)
        nfe = batch.grid.begins.size * tableau.stages
        aux = Aux(total, nfe_forward=nfe, nfe_backward=nfe)
        return loss + batch.continuity * jumps + smooth, aux

    return objective
