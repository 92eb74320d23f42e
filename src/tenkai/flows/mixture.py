"""An ensemble of flows as one density: ``p(x) = sum_k w_k p_k(x)``."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from .flow import Flow


class Mixture(eqx.Module):
    """Flows of one architecture, every array with a leading axis of members, and their weights.

    ``p = (1 - tail) sum_k w_k p_k + tail t``, with `weights` that sum to 1 and a multivariate
    Student t of covariance I for rows unlike all others, on which no flow was trained: see
    `tail_log_density`. A mixture has no single transport: `member` gives one flow, and the `best`
    is the one of the largest weight.
    """

    flows: Flow
    weights: Float[np.ndarray, " members"]
    tail: Float[np.ndarray, ""]

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def best(self) -> int:
        """The member with the largest weight."""
        return int(np.argmax(self.weights))

    @property
    def shares(self) -> Float[np.ndarray, " members+1"]:
        """Weights of the members and of the tail; their sum is 1."""
        weights, tail = np.asarray(self.weights, float), float(self.tail)
        return np.append((1 - tail) * weights / weights.sum(), tail)

    def member(self, index: int) -> Flow:
        """One flow."""
        return jax.tree.map(lambda a: a[index] if eqx.is_array(a) else a, self.flows)


FREEDOM = 10  # nearly normal in the middle, of a power far out


def tail_log_density(z: Float[Any, "rows dim"], xp: Any = np) -> Float[Any, " rows"]:
    """Multivariate Student t of mean 0 and covariance I, 10 degrees of freedom, in nats."""
    dim, v = z.shape[1], FREEDOM
    with np.errstate(over="ignore"):
        size = xp.log1p((z**2).sum(1) / (v - 2))
    norm = math.lgamma((v + dim) / 2) - math.lgamma(v / 2) - dim / 2 * math.log((v - 2) * math.pi)
    return norm - (v + dim) / 2 * size


def tail_sample(random: np.random.Generator, shape: tuple[int, int]) -> Float[np.ndarray, "n dim"]:
    """Rows of the same distribution."""
    spread = np.sqrt((FREEDOM - 2) / random.chisquare(FREEDOM, (shape[0], 1)))
    return spread * random.standard_normal(shape)


def stacked(
    unseen: Float[np.ndarray, " rows"], tail: Float[np.ndarray, " rows"], rounds: int = 200
) -> float:
    """The weight w in ``(1 - w) p_unseen + w p_tail`` that suits the held-out rows best.

    By expectation-maximisation; log densities in. The prior says that of n rows about half a one
    is unlike all others, so that the weight is never zero.

    >>> import numpy as np
    >>> bool(stacked(np.zeros(500), np.full(500, -3.0)) < 0.01)
    True
    """
    ratio = np.exp(np.clip(tail - unseen, -700, 700))
    w = 0.1
    for _ in range(rounds):
        w = (np.sum(w * ratio / (1 - w + w * ratio)) + _PRIOR_TAIL) / (len(ratio) + _PRIOR_ROWS)
    return float(w)


_PRIOR_TAIL, _PRIOR_ROWS = 0.5, 1.0  # rows' worth
