"""An ensemble of flows as one density: ``p(x) = sum_k w_k p_k(x)``."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from .flow import Flow


class Mixture(eqx.Module):
    """Flows of one architecture, every array with a leading axis of members, and their weights.

    The weights sum to 1. A mixture has no single transport: `member` gives one flow, and the
    `best` is the one of the largest weight. Where `start` is true the last member is where training
    began, the identity; it is never the best one.
    """

    flows: Flow
    weights: Float[np.ndarray, " members"]
    start: bool = eqx.field(static=True, default=False)

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def best(self) -> int:
        """The trained member with the largest weight."""
        trained = self.weights[:-1] if self.start and len(self) > 1 else self.weights
        return int(np.argmax(trained))

    def member(self, index: int) -> Flow:
        """One flow."""
        return jax.tree.map(lambda a: a[index] if eqx.is_array(a) else a, self.flows)


def stacked(
    unseen: Float[np.ndarray, " rows"], start: Float[np.ndarray, " rows"], rounds: int = 200
) -> float:
    """The weight w of the start in ``(1 - w) p_unseen + w p_start`` that suits the rows best.

    By expectation-maximisation under a weak prior towards a small weight; log densities in.

    >>> import numpy as np
    >>> bool(stacked(np.zeros(500), np.full(500, -3.0)) < 0.01)
    True
    """
    ratio = np.exp(np.clip(start - unseen, -700, 700))
    w = 0.1
    for _ in range(rounds):
        w = (np.sum(w * ratio / (1 - w + w * ratio)) + _PRIOR_START) / (len(ratio) + _PRIOR_ROWS)
    return float(w)


_PRIOR_START, _PRIOR_ROWS = 0.02, 2.0  # rows' worth
