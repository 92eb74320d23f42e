"""The likelihood of all transitions, and its maximum: networks by L-BFGS, equations by scoring."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from ..fit import fit
from ..models.equation import Relative
from ..models.sde import SDE, Hidden, Positive, RawDiffusion, RawDrift, SmoothNetwork, Units
from ..objectives import Aux, Objective
from ..records import Fit
from .start import Head
from .transitions import Transitions, log_density

FEW_STEPS = 60  # where scoring follows
MANY_STEPS = 400
_NEWTON_STEPS = 12


class Frame(eqx.Module):
    """What one member's fields are made of beside what is learned; None where a user's stands."""

    drift: Head | None
    diffusion: Head | None
    hidden: Hidden
    base: Any
    units: Units


class Unknowns(eqx.Module):
    """What is learned: a user's field in units of its own numbers, or a network's shift.

    A shift (out, k) is in units in which the loss has about unit curvature: the coefficients are
    ``centre + sqrt(n) root shift``.
    """

    drift: Any
    diffusion: Any


class Weighed(eqx.Module):
    """All that an objective reads: the frame, the transitions, and how many of them there are."""

    frame: Frame
    data: Transitions
    count: Any


def unknowns(frame: Frame, drift: Callable | None, diffusion: Callable | None) -> Unknowns:
    """Where training starts."""

    def one(head: Head | None, field: Callable | None) -> Any:
        if head is None:
            return Relative.of(field)  # type: ignore[arg-type]
        return np.zeros_like(head.centre)

    return Unknowns(one(frame.drift, drift), one(frame.diffusion, diffusion))


def coefficients(head: Head, shift: Any, count: Any) -> Any:
    """A network's coefficients (out, k)."""
    head = jax.lax.stop_gradient(head)
    return head.centre + jnp.sqrt(count) * jnp.einsum("oij,oj->oi", head.root, shift)


def sde(at: Unknowns, frame: Frame, count: Any, timed: bool) -> SDE:
    """The drift and the diffusion in standardised units."""

    def network(head: Head, shift: Array) -> SmoothNetwork:
        return SmoothNetwork(coefficients(head, shift, count), frame.hidden, timed)

    if frame.diffusion is None:
        diffusion: Callable = RawDiffusion(at.diffusion, frame.units)
    else:
        diffusion = Positive(network(frame.diffusion, at.diffusion), frame.base)
    if frame.drift is None:
        drift: Callable = RawDrift(at.drift, diffusion, frame.units)
    else:
        drift = network(frame.drift, at.drift)
    return SDE(drift, diffusion, frame.units)


def penalty(at: Unknowns, frame: Frame, count: Any) -> Array:
    """Minus the log prior of the networks' coefficients."""
    total = jnp.zeros(())
    for head, shift in ((frame.drift, at.drift), (frame.diffusion, at.diffusion)):
        if head is not None:
            total = total + 0.5 * jnp.sum(head.precision * coefficients(head, shift, count) ** 2)
    return total


@functools.cache
def likelihood(timed: bool) -> Objective:
    """Minus the mean log density of a transition and minus the log prior, in nats."""

    def objective(at: Unknowns, batch: Weighed, key: Any) -> tuple[Array, Aux]:
        model = sde(at, batch.frame, batch.count, timed)
        logs = log_density(model, batch.data)
        loss = (penalty(at, batch.frame, batch.count) - jnp.sum(logs)) / batch.count
        return loss, Aux(batch.count)

    return objective


@functools.cache
def _newton() -> optax.GradientTransformation:
    # The loss has about unit curvature, so full steps need no line search.
    return optax.lbfgs(1.0, memory_size=8, scale_init_precond=False, linesearch=None)


@functools.cache
def _adam(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(0.05, steps))


def train(
    start: Unknowns, frames: PyTree, data: Transitions, members: int, timed: bool,
    near: bool, steps: int, **options: Any,
) -> Fit:  # fmt: skip
    """Maximise the likelihood by `fit`, all members side by side on the same transitions.

    What is `near` its maximum, in units in which that is round, takes a few steps of L-BFGS; else
    `steps` of Adam.
    """
    count = np.float64(len(data.z0))
    axes = Weighed(0, None, None)  # type: ignore[arg-type]
    rule, steps = (_newton(), _NEWTON_STEPS) if near else (_adam(steps), steps)
    return fit(
        start, likelihood(timed), Weighed(frames, data, count), rule=rule, steps=steps,
        members=members, member_axes=axes, every=min(steps, 50), stage="likelihood", **options,
    )  # fmt: skip
