"""Cost and states of a controlled system, unfolded over a fixed grid.

The running cost is one more state, ``dJ/dt = l(t, x, u)``, so that it is integrated by the method
that integrates the path. What perturbs a step, a push of its state or of its control, is an input:
derivatives with respect to the pushes are the costate and the Pontryagin residual.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..fields import together
from ..models.policies import Bounded
from ..models.trials import Expansion
from ..unfold import EULER, NoisyInterval, Tableau, euler_maruyama, runge_kutta, unfold


@dataclass(frozen=True)
class RightEuler:
    """``x[i] = x[i-1] + h f(t[i], x[i-1], u(t[i]))``, cost ``h l(t[i], x[i], u(t[i]))``.

    The form of the book: control and cost are read at the right end of each step.
    """

    name: str = "right Euler"


Method = Tableau | RightEuler


@dataclass(frozen=True, eq=False)
class Plant:
    """A controlled system for one path: every function sees one state, in raw units."""

    dynamics: Callable  # (t, x, u) -> (states,)
    running: Callable | None  # (t, x, u) -> ()
    terminal: Callable | None  # (x,) -> ()
    noise: Callable | None  # (t, x, u) -> (states,) or (states, sources)
    method: Method
    horizon: float
    feedback: bool
    held: bool  # the control is constant over each step

    @property
    def nodes(self) -> tuple[float, ...]:
        """Where in a step the control is read, as fractions of it."""
        if self.held:
            return (0.5,)
        tableau = EULER if self.noise is not None else self.method
        return tuple(dict.fromkeys(tableau.c)) if isinstance(tableau, Tableau) else (1.0,)


class Pushes(NamedTuple):
    """What disturbs a path: states at every node (N+1, states), controls in every step (N, m)."""

    state: Any
    control: Any


class Rollout(NamedTuple):
    """States (N+1, states) at the nodes, controls (N+1, m) there, running plus terminal cost."""

    states: Any
    controls: Any
    cost: Any


@dataclass(frozen=True)
class _Known:
    """An interval whose controls are known at every stage; `runge_kutta` reads it."""

    t: Any
    h: Any
    u: tuple[Any, ...]
    nodes: tuple[float, ...]

    def input(self, fraction: float) -> Any:
        if len(self.nodes) == 1:
            return self.u[0]
        return self.u[self.nodes.index(fraction)]


class _Step(NamedTuple):
    t: Any
    h: Any
    u: tuple[Any, ...]  # per node of the step, empty for feedback
    dw: Any
    push: Pushes | None


def rollout(
    plant: Plant, control: Callable, x0: Float[Array, " states"], steps: int, dw: Any = None,
    push: Pushes | None = None, frozen: bool = False,
) -> Rollout:  # fmt: skip
    """One path from `x0`; `dw` (steps, sources) are Wiener increments.

    With `frozen` a feedback policy's control does not answer to pushes of the state: derivatives
    are those of the open loop that the policy happens to apply.
    """
    h = plant.horizon / steps
    known, ends = _known(plant, control, steps)
    inner = None if push is None else Pushes(push.state[:-1], push.control)
    xs = _Step(h * jnp.arange(steps), jnp.full(steps, h), known, dw, inner)
    step = _stepper(plant, _policy(plant, control, frozen))
    (last, cost), after = unfold(step, (x0, jnp.zeros(())), xs, keep=lambda s: s[0])
    if push is not None:
        last = last + push.state[-1]
    if plant.terminal is not None:
        cost = cost + plant.terminal(last)
    states = jnp.concatenate([x0[None], after[:-1], last[None]])
    if plant.feedback:
        ends = jax.vmap(control)(h * jnp.arange(steps + 1), states)
    return Rollout(states, ends, cost)


def over_times(control: Callable, t: Float[np.ndarray, " times"]) -> Float[Array, "times inputs"]:
    """An open-loop control at known times: the basis of an expansion is then a constant."""
    inner = control.inner if isinstance(control, Bounded) else control
    return control(t) if isinstance(inner, Expansion) else jax.vmap(control)(t)


def rollouts(
    plant: Plant, control: Callable, x0: Float[Array, "paths states"], steps: int, dw: Any = None,
    push: Pushes | None = None, frozen: bool = False,
) -> Rollout:  # fmt: skip
    """Paths from several states, each with its own increments; pushes are shared."""
    if len(x0) == 1:  # a batch of one is slower than none
        one = None if dw is None else dw[0]
        out = rollout(plant, control, x0[0], steps, one, push, frozen)
        return jax.tree.map(lambda a: a[None], out)
    with together(len(x0)):
        return jax.vmap(lambda x, w: rollout(plant, control, x, steps, w, push, frozen))(x0, dw)


def increments(key: Any, paths: int, steps: int, sources: int, horizon: float) -> Array:
    """``dw ~ N(0, h)`` (paths, steps, sources)."""
    return math.sqrt(horizon / steps) * jax.random.normal(key, (paths, steps, sources))


def coarser(dw: Array) -> Array:
    """The same Wiener paths on a grid of half as many steps."""
    return dw[:, 0::2] + dw[:, 1::2]


def _known(plant: Plant, control: Callable, steps: int) -> tuple[tuple[Array, ...], Any]:
    """Open-loop controls at the nodes of every step, and at its ends; read before the scan.

    One that is held over steps is at the right end what it was before.
    """
    if plant.feedback:
        return (), None
    h = plant.horizon / steps
    t = h * np.arange(steps)
    if plant.held:
        u = over_times(control, t + 0.5 * h)
        return (u,), jnp.concatenate([u, u[-1:]])
    # One call for all nodes, and the last of all ends.
    inner = [c for c in plant.nodes if 0.0 < c < 1.0]
    asked = [h * np.arange(steps + 1), *(t + c * h for c in inner)]
    u = over_times(control, np.concatenate(asked))
    at = dict(zip(inner, jnp.split(u[steps + 1 :], max(1, len(inner))), strict=False))
    at |= {0.0: u[:steps], 1.0: u[1 : steps + 1]}
    return tuple(at[c] for c in plant.nodes), u[: steps + 1]


def _policy(plant: Plant, control: Callable, frozen: bool) -> Callable:
    if not plant.feedback:
        return lambda t, x, u: u
    if frozen:
        return lambda t, x, u: control(t, lax.stop_gradient(x))
    return lambda t, x, u: control(t, x)


def _stepper(plant: Plant, policy: Callable) -> Callable:
    """``((x, J), _Step) -> (x, J)``."""

    def step(state: tuple[Array, Array], s: _Step) -> tuple[Array, Array]:
        x, cost = state
        lift = 0.0
        if s.push is not None:
            x, lift = x + s.push.state, s.push.control

        def applied(t: Any, x: Array, u: Any) -> Array:
            return policy(t, x, u) + lift

        def running(t: Any, x: Array, u: Any) -> Any:
            return plant.running(t, x, u) if plant.running is not None else jnp.zeros(())

        def field(t: Any, y: tuple, u: Any) -> tuple:
            u = applied(t, y[0], u)
            return plant.dynamics(t, y[0], u), running(t, y[0], u)

        at = _Known(s.t, s.h, s.u or (None,), plant.nodes if s.u else (0.0,))
        if plant.noise is not None:
            noise = plant.noise
            u = applied(s.t, x, at.u[0])
            move = euler_maruyama(plant.dynamics, noise)
            return move(x, NoisyInterval(s.t, s.h, s.dw, u)), cost + s.h * running(s.t, x, u)
        if isinstance(plant.method, RightEuler):
            end = s.t + s.h
            u = applied(end, x, at.u[0])
            x = x + s.h * plant.dynamics(end, x, u)
            return x, cost + s.h * running(end, x, u)
        return runge_kutta(plant.method, field)((x, cost), at)

    return step
