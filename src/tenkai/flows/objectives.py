"""What trains a flow: likelihood, density matching, flow matching; and what regularises it.

Objectives are cached by their options, so that fits with the same options share programs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ..objectives import Aux, Objective, weight_decay
from .continuous import ContinuousFlow, Grid
from .flow import Moved, base_log_prob, rows
from .pairing import paired


class Rows(NamedTuple):
    """What a flow learns from, in standardised units; of `x` the first `count` rows are real.

    Padded to shared sizes, so that tables of other lengths run the same program. Numbers of
    `Weights` may differ between members.
    """

    x: Any  # (rows, dim)
    context: Any  # (rows, context) or None
    order: Any  # (rows,) indices; a batch draws from the first `count` of them
    count: Any  # ()
    weights: Any  # Weights


class Weights(NamedTuple):
    """Strengths of the regularisers, scalars that may differ between members."""

    noise: Any = 0.0  # standard deviation of what is added to the rows of a batch
    decay: Any = 0.0  # of the squared weights
    kinetic: Any = 0.0  # of the path's energy (RNODE)
    jacobian: Any = 0.0  # of the Jacobian's squared Frobenius norm along the path (RNODE)
    jitter: Any = 0.0  # the end time is drawn from T (1 +- jitter) (STEER)
    straight: Any = 0.0  # of the paths' squared distance from straight lines at constant speed


def draw(data: Rows, batch: int, key: Any) -> tuple[Any, Any]:
    """A batch of real rows with noise added, and their contexts."""
    which, noise = jax.random.split(key)
    i = data.order[jax.random.randint(which, (batch,), 0, data.count)]
    x = data.x[i]
    x = x + data.weights.noise * jax.random.normal(noise, x.shape, x.dtype)
    return x, None if data.context is None else data.context[i]


@functools.cache
def likelihood(batch: int, *, costs: bool = False, straight: bool = False) -> Objective:
    """``-mean log p(x)`` over a batch, plus the weighted regularisers; nats, standardised units.

    `costs` asks continuous flows for the integrals that `kinetic` and `jacobian` weigh (Finlay et
    al. 2020), `straight` for `bend`; `jitter` draws one end time per step (Ghosh et al. 2020).
    """

    def objective(flow: Any, data: Rows, key: Any) -> tuple[Any, Aux]:
        drawn, noise, end, times = jax.random.split(key, 4)
        x, context = draw(data, batch, drawn)
        w = data.weights
        if isinstance(flow, ContinuousFlow):
            flow = flow.with_costs(costs)
            factor = 1 + w.jitter * jax.random.uniform(end, (), minval=-1.0, maxval=1.0)
            flow = eqx.tree_at(lambda f: f.root_end, flow, flow.root_end * jnp.sqrt(factor))
        moved = rows(flow.to_base, x, context, noise)
        loss = -jnp.mean(base_log_prob(moved.y) + moved.log_det)
        if straight:
            loss = loss + w.straight * bend(flow, moved.y, x, context, times)
        return _regularised(loss, flow, moved, w, costs)

    return objective


def _regularised(
    loss: Any, flow: Any, moved: Moved, weights: Weights, costs: bool
) -> tuple[Any, Aux]:
    """A loss of moved rows with the weighted costs of their paths and of the weights."""
    if costs:
        loss = loss + weights.kinetic * jnp.mean(moved.kinetic)
        loss = loss + weights.jacobian * jnp.mean(moved.jacobian)
    nfe = jnp.mean(jnp.asarray(moved.nfe, moved.y.dtype))
    return loss + weights.decay * weight_decay(flow), Aux(nfe_forward=nfe, nfe_backward=nfe)


def bend(flow: ContinuousFlow, z: Any, x: Any, context: Any, key: Any) -> Any:
    """``E |T f(s T, (1 - s) z + s x) - (x - z)|^2`` at one random ``s`` in [0, 1] for every row.

    Between rows of the base and of the data that flow matching pairs it is the loss to learn by;
    between the ends of the flow's own paths it is zero where all of them are straight and of
    constant speed (Liu et al. 2023), and an adaptive solver has little to do.
    """
    s = jax.random.uniform(key, (len(x),), x.dtype)
    end = jax.lax.stop_gradient(flow.end)
    y = (1 - s[:, None]) * z + s[:, None] * x
    axes = (0, 0, None if context is None else 0)
    value = jax.vmap(flow.prepared, in_axes=axes)(end * s, y, context)
    return jnp.mean(jnp.sum((end * value - (x - z)) ** 2, axis=-1))


@functools.cache
def held_out(*, refine: int = 1) -> Objective:
    """``-mean log p`` of the real rows, for validation: no noise, no penalty.

    On a grid `refine` times as fine as in training, because training can learn to gain from the
    errors of its own grid: such a gain must not look like one.
    """

    def objective(flow: Any, data: Rows, key: Any) -> tuple[Any, Aux]:
        size = data.order.shape[0]
        x = data.x[data.order]
        context = None if data.context is None else data.context[data.order]
        if isinstance(flow, ContinuousFlow) and isinstance(flow.solver, Grid):
            finer = dataclasses.replace(flow.solver, steps=refine * flow.solver.steps)
            flow = flow.with_solver(finer)
        moved = rows(flow.to_base, x, context, key)
        real = jnp.arange(size) < data.count
        logs = jnp.where(real, base_log_prob(moved.y) + moved.log_det, 0.0)
        return -jnp.sum(logs) / data.count, Aux(weight=data.count)

    return objective


@functools.cache
def density_matching(log_density: Callable, batch: int, *, costs: bool = False) -> Objective:
    """``E_q[log q(x) - log p~(x)]`` over samples of the flow: reverse KL up to a constant.

    `log_density` (dim,) -> () need not be normalised (Rezende and Mohamed 2015). The data are
    `Weights`.
    """

    def objective(flow: Any, w: Weights, key: Any) -> tuple[Any, Aux]:
        drawn, noise = jax.random.split(key)
        if isinstance(flow, ContinuousFlow):
            flow = flow.with_costs(costs)
        z = jax.random.normal(drawn, (batch, flow.dim))
        moved = rows(flow.to_data, z, None, noise)
        log_q = base_log_prob(z) - moved.log_det
        loss = jnp.mean(log_q - jax.vmap(log_density)(moved.y))
        return _regularised(loss, flow, moved, w, costs)

    return objective


@functools.cache
def flow_matching(batch: int, *, pairs: bool = True) -> Objective:
    """``E |f(t, y_t) - (x - z)/T|^2`` with ``y_t = (1 - t/T) z + (t/T) x``: no solve at all.

    Its minimum carries the base to the data (Lipman et al. 2023, with the straight paths of Liu et
    al. 2023); likelihood goes on from there. With `pairs` every x gets a z nearby, see `paired`;
    rows with contexts are never paired, since the base must not know the context.
    """

    def objective(flow: ContinuousFlow, data: Rows, key: Any) -> tuple[Any, Aux]:
        drawn, base, times, coupling = jax.random.split(key, 4)
        x, context = draw(data, batch, drawn)
        z = jax.random.normal(base, x.shape, x.dtype)
        if pairs and context is None:
            z = jax.lax.stop_gradient(paired(x, z, coupling))
        loss = bend(flow, z, x, context, times)
        return loss + data.weights.decay * weight_decay(flow), Aux(nfe_forward=1, nfe_backward=1)

    return objective
