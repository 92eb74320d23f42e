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
    `best` is the one of the largest weight.
    """

    flows: Flow
    weights: Float[np.ndarray, " members"]

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def best(self) -> int:
        """The member with the largest weight."""
        return int(np.argmax(self.weights))

    def member(self, index: int) -> Flow:
        """One flow."""
        return jax.tree.map(lambda a: a[index] if eqx.is_array_like(a) else a, self.flows)
