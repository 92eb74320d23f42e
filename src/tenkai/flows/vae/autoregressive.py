"""Inverse autoregressive flow as a posterior: masked networks with a context from the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...fields import Linear, activation
from .. import steps
from ..flow import Moved
from .posteriors import Amortised, PosteriorFamily

_GATE = 2.0  # of the gate at the start: 0.88 of a variable is kept


class MaskedNetwork(eqx.Module):
    """Outputs 2 x dim whose i-th entries see only the inputs before i, and all of the context.

    Hidden units have degrees 0 ... dim - 1 in turn (Germain et al. 2015); those of degree 0 see
    the context alone, so that the first variable too is moved according to the row.
    """

    layers: tuple[Linear, ...]
    context: Linear
    dim: int = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(self, dim: int, context: int, width: int, depth: int, act: str, *, key: Any):
        sizes = (dim, *(width,) * depth, 2 * dim)
        keys = jax.random.split(key, len(sizes))
        scales = [1.0] * depth + [0.1]
        self.layers = tuple(
            Linear(a, b, key=k, scale=s)
            for a, b, k, s in zip(sizes[:-1], sizes[1:], keys[1:], scales, strict=True)
        )
        self.context = Linear(context, width, key=keys[0])
        self.dim, self.activation = dim, act

    def masks(self) -> list[np.ndarray]:
        """One (out, in) matrix of zeros and ones per layer."""
        degrees = [np.arange(1, self.dim + 1)]
        degrees += [np.arange(layer.bias.shape[-1]) % self.dim for layer in self.layers[:-1]]
        masks = [a[:, None] >= b for a, b in zip(degrees[1:], degrees[:-1], strict=True)]
        last = np.tile(degrees[0], 2)[:, None] > degrees[-1]
        return [*masks, last]

    def __call__(self, z: Any, context: Any) -> Float[Array, " outputs"]:
        act, h = activation(self.activation), z
        for i, (layer, mask) in enumerate(zip(self.layers, self.masks(), strict=True)):
            h = (layer.weight * mask) @ (h if i == 0 else act(h)) + layer.bias
            if i == 0:
                h = h + self.context(context)
        return h


class IAFChain(Amortised):
    """Gated autoregressive steps (leading axis of `networks`), the order reversed in between."""

    networks: MaskedNetwork
    dim: int = eqx.field(static=True)
    context: int = eqx.field(static=True)

    @property
    def numbers(self) -> int:
        return self.context

    def __call__(self, z: Any, numbers: Any, key: Any = None) -> Moved:
        def body(carry: tuple, network: MaskedNetwork) -> tuple[tuple, None]:
            z, log_det = carry
            mean, gate = network(z, numbers).reshape(2, self.dim)
            y, now = steps.gated(z, mean, gate + _GATE)
            return (y[::-1], log_det + now), None

        (y, log_det), _ = jax.lax.scan(body, (z, jnp.zeros((), z.dtype)), self.networks)
        return Moved(y, log_det)


@dataclass(frozen=True, repr=False)
class IAFPosterior(PosteriorFamily):
    """Inverse autoregressive flow (Kingma et al. 2016): one pass draws, every layer sees all rows.

    The networks' weights are shared by all rows; a row speaks through `context` numbers from the
    encoder, which enter every network's first hidden layer.
    """

    layers: int = 4
    width: int = 128
    depth: int = 1
    context: int = 32
    activation: str = "elu"

    def build(self, latent: int, *, key: Any) -> IAFChain:
        def one(key: Any) -> MaskedNetwork:
            shape = (latent, self.context, self.width, self.depth)
            return MaskedNetwork(*shape, self.activation, key=key)

        networks = jax.vmap(one)(jax.random.split(key, self.layers))
        return IAFChain(networks=networks, dim=latent, context=self.context)
