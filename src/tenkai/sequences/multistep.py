"""The solver of packed series: Adams' predictor and corrector, one evaluation of the field a step.

Every series begins with a step of length zero, which only evaluates, and its first full step is cut
into growing ones, each as long as all before it together; then all steps are equal. So a step's
weights depend on how many came before it in its series and on nothing else, series start anywhere
in a row, and the grid of a series does not depend on where it ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

from ..solve.adams import integral
from ..unfold import unfold

ORDER = 4  # slopes that are remembered
GROWING = 4  # halvings of the first step, whose own error is cubic


class Weights(NamedTuple):
    """By phase (steps since the series began), of the past slopes, and with the new one in front.

    In units of the step's length; phases beyond the last are as the last.
    """

    predict: Float[np.ndarray, "phases order"]
    correct: Float[np.ndarray, "phases order+1"]


class Knots(NamedTuple):
    """The path at the end of every step: states and slopes."""

    y: Float[Array, " steps latent *rows"]
    slope: Float[Array, " steps latent *rows"]


def nodes(count: int) -> Float[np.ndarray, " nodes"]:
    """Where a series' steps end, in full steps: 0, the growing ones, 1, 2, ..., `count`."""
    return np.concatenate([[0.0], 0.5 ** np.arange(GROWING, 0, -1), np.arange(1, count + 1)])


def steps_of(duration: np.ndarray, longest: float) -> np.ndarray:
    """Steps of each series: equal ones none longer than `longest`, and those of the beginning.

    One each where `longest` is infinite: for models that solve nothing.
    """
    if not np.isfinite(longest):
        return np.ones(np.shape(duration), int)
    full = np.maximum(1, np.ceil(np.asarray(duration) / longest - 1e-6)).astype(int)
    return full + GROWING + 1


@functools.cache
def weights() -> Weights:
    """Those of the polynomials through the known slopes (Hairer, Noersett and Wanner 1993, III.1).

    Adams-Bashforth predicts from `ORDER` past slopes, Adams-Moulton corrects with the new one too.
    """
    grid = nodes(2 * ORDER)
    last = int(np.searchsorted(grid, ORDER + 1))  # all its slopes stand at equal distances
    predict, correct = np.zeros((last + 1, ORDER)), np.zeros((last + 1, ORDER + 1))
    for i in range(1, last + 1):
        past = (grid[max(0, i - ORDER) : i][::-1] - grid[i - 1]) / (grid[i] - grid[i - 1])
        predict[i, : len(past)] = integral(past)
        correct[i, : len(past) + 1] = integral(np.append(1.0, past))
    return Weights(predict, correct)


def knots(
    field: Callable,
    begun: Float[Array, " steps latent *rows"],
    begins: Bool[Array, " steps *rows"],
    end: Float[Array, " steps *rows"],
    length: Float[Array, " steps *rows"],
    phase: Int[Array, " steps *rows"],
) -> Knots:
    """The path through all series of one row, or of rows side by side, in one scan.

    `begins` (steps,) says where a step opens a series, whose state is then `begun`. With past
    slopes ``f_j``: ``p = y + h sum_j b_j f_j``, ``f = field(end, p)``, the new slope, and
    ``y + h (c_0 f + sum_j c_j f_j)``.
    """
    predict, correct = (
        jnp.moveaxis(jnp.asarray(w, begun.dtype)[phase] * length[..., None], -1, 1)
        for w in weights()
    )

    def step(state: tuple, x: tuple) -> tuple:
        y, past = state
        b, c, end, start, opens = x
        y = jnp.where(opens, start, y)
        past = tuple(jnp.where(opens, 0.0, f) for f in past)
        return advanced(field, y, past, b, c, end)

    zero = jnp.zeros_like(begun[0])
    _, (y, slope) = unfold(
        step, (zero, (zero,) * ORDER), (predict, correct, end, begun, begins),
        keep=lambda state: (state[0], state[1][0]),
    )  # fmt: skip
    return Knots(y, slope)


def advanced(
    field: Callable, y: Array, past: tuple[Array, ...], predict: Array, correct: Array, end: Array
) -> tuple[Array, tuple[Array, ...]]:
    """One step to `end`: the state there and the past slopes with the new one in front.

    The weights are times the step's length.
    """
    # All else is linear: the backward pass needs only where the field was evaluated.
    at = checkpoint_name(_moved(y, predict, past), "field")
    slope = field(end, at)
    return _moved(y, correct, (slope, *past)), (slope, *past[:-1])


def _moved(y: Array, weights: Array, slopes: tuple[Array, ...]) -> Array:
    return y + sum(weights[j] * slope for j, slope in enumerate(slopes))


def between(
    found: Knots,
    step: Int[Array, " slots *rows"],
    length: Float[Array, " steps *rows"],
    part: Float[Array, " slots *rows"],
) -> Float[Array, " slots latent *rows"]:
    """The path a `part` into each `step`: the cubic through both ends and slopes, error O(h^4).

    Hairer, Noersett and Wanner 1993, II.6.7.
    """
    at = step[:, None]
    y0, y1, f0, f1 = (
        jnp.take_along_axis(a, at - back, axis=0) for a in found for back in (1, 0)
    )  # fmt: skip
    h, s = jnp.take_along_axis(length, step, axis=0)[:, None], part[:, None]
    return bent(y0, y1, f0, f1, h, s)


def bent(y0: Array, y1: Array, f0: Array, f1: Array, h: Array, s: Array) -> Array:
    """The cubic with both ends and slopes of a step of length `h`, a part `s` into it."""
    bend = (1 - 2 * s) * (y1 - y0) + (s - 1) * h * f0 + s * h * f1
    return (1 - s) * y0 + s * y1 + s * (s - 1) * bend
