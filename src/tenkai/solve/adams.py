"""Adams methods: one evaluation of the field per step, out of the last few slopes.

Where the field is smooth and dear and the state small, as in flows, a linear multistep method
reaches the accuracy of Runge-Kutta's with about half the evaluations, and its step holds one copy
of the field, so it compiles in a fraction of the time. A flow's divergence gains twice, because its
integral is as good as the number of times at which it is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, PyTree

from ..errors import InputError
from ..unfold import Memory, unfold


@dataclass(frozen=True)
class Adams:
    """Adams-Bashforth predicts, the field is evaluated there, Adams-Moulton corrects (PEC).

    ``p = y + h sum_j b_j f_{n-j}``, ``f_{n+1} = f(t_{n+1}, p)`` and
    ``y + h (c_0 f_{n+1} + sum_j c_j f_{n+1-j})`` with `order` past slopes in either sum: the global
    error is of order `order` + 1 in the step (Hairer, Nørsett and Wanner 1993, III.1). The weights
    are those of the polynomial through the known slopes on the grid that there is, so it starts
    itself: some growing steps, each twice the last, with as many slopes as there are.

    >>> import tenkai as tk
    >>> tk.flows.FFJORD(solver=tk.flows.Grid(24, tk.flows.Adams()))
    FFJORD(solver=Grid(steps=24, method=Adams(order=4), memory=RecomputeField()))
    """

    order: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 6:
            raise InputError(
                "order", expected="1 to 6 past slopes", got=repr(self.order), do="4 is a good one"
            )

    def nodes(self, steps: int) -> Float[np.ndarray, " steps+1"]:
        """The grid over [0, 1]: equal steps after the growing ones.

        The first step knows one slope, its error is cubic: it is short enough to count no more
        than the others, ``h^((order + 1) / 3)``.
        """
        growing = min(round(max(self.order - 2, 0) / 3 * math.log2(steps)), steps - 1)
        lengths = np.concatenate([0.5 ** np.arange(growing, 0, -1), np.ones(steps - growing)])
        ends = np.cumsum(lengths)
        return np.concatenate([[0.0], ends / ends[-1]])

    def weights(self, nodes: Float[np.ndarray, " nodes"]) -> Weights:
        """Of the steps to every node, zero for slopes that there are not yet.

        The first step only evaluates: it moves nothing.
        """
        predict = np.zeros((len(nodes), self.order))
        correct = np.zeros((len(nodes), self.order + 1))
        for i in range(1, len(nodes)):
            length = nodes[i] - nodes[i - 1]
            past = (nodes[max(0, i - self.order) : i][::-1] - nodes[i - 1]) / length
            predict[i, : len(past)] = length * integral(past)
            correct[i, : len(past) + 1] = length * integral(np.append(1.0, past))
        return Weights(nodes, predict, correct)


class Weights(NamedTuple):
    """What a step reads: when it ends, weights of the past slopes, and those with the new one."""

    t: Any  # (nodes,)
    predict: Any  # (nodes, order)
    correct: Any  # (nodes, order + 1)


def integral(nodes: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Weights of the slopes at `nodes` for the integral of their polynomial over [0, 1]."""
    powers = np.arange(len(nodes))
    return np.linalg.solve(nodes[None] ** powers[:, None], 1.0 / (powers + 1))


def adams(
    field: Callable, y: PyTree, method: Adams, steps: int, memory: Memory
) -> tuple[PyTree, int]:
    """The end of ``dy/ds = field(s, y)`` over [0, 1] from `y`, and the evaluations it took."""
    real = jnp.result_type(*jax.tree.leaves(y))
    weights = method.weights(method.nodes(steps))

    def step(state: tuple, x: Weights) -> tuple:
        y, past = state
        # All else is linear: the backward pass needs to know only where the field was evaluated.
        at = jax.tree.map(lambda v: checkpoint_name(v, "field"), _moved(y, x.predict, past))
        slope = field(x.t, at)
        return _moved(y, x.correct, (slope, *past)), (slope, *past[:-1])

    start = (y, (jax.tree.map(jnp.zeros_like, y),) * method.order)
    xs = jax.tree.map(lambda w: jnp.asarray(w, real), weights)
    (end, _), _ = unfold(step, start, xs, keep=lambda _: None, memory=memory)
    return end, steps + 1


def _moved(y: PyTree, weights: Array, slopes: tuple[PyTree, ...]) -> PyTree:
    """``y + sum_j weights[j] slopes[j]``."""

    def leaf(y: Array, *slopes: Array) -> Array:
        return y + sum(w * slope for w, slope in zip(weights, slopes, strict=True))

    return jax.tree.map(leaf, y, *slopes)
