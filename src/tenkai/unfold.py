"""The recurrence ``s[k+1] = step(s[k], x[k])``, its steps and what its backward pass remembers.

Everything tenkai learns is this loop with another ``step``. A step takes one state (any PyTree)
and one input ``x[k]``; time stamps, known inputs and noise increments are all part of ``x``.
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
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, PyTree

State = PyTree
Step = Callable[[State, Any], State]


class Interval(NamedTuple):
    """What a step of a differential equation reads: where it starts, how long it is, the inputs.

    ``u0`` and ``u1`` are the known inputs at both ends; a stage in between sees their linear
    interpolation, so ``u0 == u1`` is an input held over the step and ``None`` is no input.
    """

    t: Any  # ()
    h: Any  # ()
    u0: PyTree = None
    u1: PyTree = None

    def input(self, fraction: float) -> PyTree:
        """The known input at ``t + fraction * h``."""
        return jax.tree.map(lambda a, b: a + fraction * (b - a), self.u0, self.u1)


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method as data (Butcher 1964).

    ``k[i] = f(t + c[i] h, y + h sum_j a[i][j] k[j])`` and ``y + h sum_i b[i] k[i]``.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]

    @property
    def stages(self) -> int:
        """Evaluations of the field in one step."""
        return len(self.b)


EULER = Tableau("euler", 1, ((),), (1.0,), (0.0,))
MIDPOINT = Tableau("midpoint", 2, ((), (0.5,)), (0.0, 1.0), (0.0, 0.5))
HEUN = Tableau("heun", 2, ((), (1.0,)), (0.5, 0.5), (0.0, 1.0))
RK4 = Tableau(
    "rk4",
    4,
    ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    (0.0, 0.5, 0.5, 1.0),
)
# Dormand and Prince 1980, the fifth-order weights; the seventh stage only feeds the error estimate.
DOPRI5 = Tableau(
    "dopri5",
    5,
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0),
)
TABLEAUX = {m.name: m for m in (EULER, MIDPOINT, HEUN, RK4, DOPRI5)}


def runge_kutta(tableau: Tableau, field: Callable) -> Step:
    """One explicit Runge-Kutta step of ``dy/dt = field(t, y, u)`` over an `Interval`."""

    def step(y: State, x: Interval) -> State:
        ks: list[State] = []
        for row, c in zip(tableau.a, tableau.c, strict=True):
            k = field(x.t + c * x.h, _advance(y, x.h, row, ks), x.input(c))
            ks.append(jax.tree.map(lambda v: checkpoint_name(v, "field"), k))
        return _advance(y, x.h, tableau.b, ks)

    return step


def _advance(y: State, h: Array, weights: tuple[float, ...], ks: list[State]) -> State:
    used = [(w, k) for w, k in zip(weights, ks, strict=True) if w != 0.0]
    if not used:
        return y

    def leaf(y, *ks):
        slope = sum(k if w == 1.0 else w * k for (w, _), k in zip(used, ks, strict=True))
        return y + h * slope

    return jax.tree.map(leaf, y, *(k for _, k in used))


def euler(field: Callable) -> Step:
    """``y + h f(t, y, u)``."""
    return runge_kutta(EULER, field)


def rk4(field: Callable) -> Step:
    """The classical fourth-order step (Kutta 1901)."""
    return runge_kutta(RK4, field)


class NoisyInterval(NamedTuple):
    """An `Interval` with the Wiener increment over it, ``dw ~ N(0, h)`` per noise dimension."""

    t: Float[Array | np.ndarray, ""]
    h: Float[Array | np.ndarray, ""]
    dw: PyTree
    u0: PyTree = None


def euler_maruyama(drift: Callable, diffusion: Callable) -> Step:
    """``y + h a(t, y, u) + b(t, y, u) dw`` (Maruyama 1955), in the sense of Ito.

    ``diffusion`` returns the diagonal ``(dim,)`` or a matrix ``(dim, noise)``. The increment is
    part of the input, so the step is a pure function and a path can be run again.
    """

    def step(y: Array, x: NoisyInterval) -> Array:
        a = checkpoint_name(drift(x.t, y, x.u0), "field")
        b = checkpoint_name(diffusion(x.t, y, x.u0), "field")
        return y + x.h * a + (b @ x.dw if b.ndim == y.ndim + 1 else b * x.dw)

    return step


@dataclass(frozen=True)
class Store:
    """Keep everything the backward pass needs: most memory, no recomputation."""


@dataclass(frozen=True)
class RecomputeField:
    """Keep the states and the field's values; recompute the inside of the field."""


@dataclass(frozen=True)
class RecomputeStep:
    """Keep one state per step; recompute the step."""


@dataclass(frozen=True)
class Segments:
    """Keep one state per segment (sqrt(N) of them unless told) and recompute each segment.

    Inside the segment being recomputed one state per step is kept (Chen et al. 2016).
    """

    count: int | None = None


Memory = Store | RecomputeField | RecomputeStep | Segments
_FIELD_ONLY = jax.checkpoint_policies.save_only_these_names("field")


def unfold(
    step: Step,
    state: State,
    xs: PyTree,
    *,
    keep: Callable[[State], Any] = lambda s: s,
    memory: Memory = RecomputeField(),
    unroll: int = 1,
) -> tuple[State, Any]:
    """Run ``s[k+1] = step(s[k], x[k])`` and return the last state and ``keep`` of every new one.

    ``xs`` has a leading axis of length N on every leaf. ``memory`` says what the backward pass
    keeps: bytes N·(inside of step), N·(stages), N·(state) or 2 sqrt(N)·(state). `keep` adds its
    own N values; ``keep=lambda s: None`` wants only the end.
    """
    if isinstance(memory, Segments):
        return _unfold_segments(step, state, xs, keep, memory, unroll)

    def once(s, x):  # a step may be a module, which is not hashable, as `jax.checkpoint` wants
        return step(s, x)

    if isinstance(memory, RecomputeField):
        once = jax.checkpoint(once, policy=_FIELD_ONLY, prevent_cse=False)
    elif isinstance(memory, RecomputeStep):
        once = jax.checkpoint(once, prevent_cse=False)

    def body(s, x):
        s = once(s, x)
        return s, keep(s)

    return lax.scan(body, state, xs, unroll=unroll)


def _unfold_segments(
    step: Step,
    state: State,
    xs: PyTree,
    keep: Callable[[State], Any],
    memory: Segments,
    unroll: int,
) -> tuple[State, Any]:
    n = jax.tree.leaves(xs)[0].shape[0]
    count = max(1, min(n, memory.count or math.isqrt(n)))
    length = n // count

    def run(s: State, x: PyTree) -> tuple[State, Any]:
        return unfold(step, s, x, keep=keep, memory=RecomputeStep(), unroll=unroll)

    run = jax.checkpoint(run, prevent_cse=False)
    head = jax.tree.map(lambda x: x[: count * length].reshape(count, length, *x.shape[1:]), xs)
    state, kept = lax.scan(run, state, head)
    kept = jax.tree.map(lambda k: k.reshape(count * length, *k.shape[2:]), kept)
    if count * length == n:
        return state, kept
    state, rest = run(state, jax.tree.map(lambda x: x[count * length :], xs))
    return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), kept, rest)
