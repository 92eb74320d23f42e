"""Inverse autoregressive flow as a posterior: masked networks with a context from the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import steps
from ..flow import Moved
from ..masked import MaskedMLP
from .posteriors import Amortised, PosteriorFamily

_GATE = 2.0  # of the gate at the start: 0.88 of a variable is kept


class IAFChain(Amortised):
    """Gated autoregressive steps (leading axis of `networks`), the order reversed in between."""

    networks: MaskedMLP
    dim: int = eqx.field(static=True)
    context: int = eqx.field(static=True)

    @property
    def numbers(self) -> int:
        return self.context

    def __call__(self, z: Any, numbers: Any, key: Any = None) -> Moved:
        def body(carry: tuple, network: MaskedMLP) -> tuple[tuple, None]:
            z, log_det = carry
            mean, gate = network(jnp.concatenate([z, numbers])).reshape(self.dim, 2).T
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
        def one(key: Any) -> MaskedMLP:
            return MaskedMLP(
                latent, outputs=2, width=self.width, depth=self.depth, context=self.context,
                activation=self.activation, last_scale=0.1, key=key,
            )  # fmt: skip

        networks = jax.vmap(one)(jax.random.split(key, self.layers))
        return IAFChain(networks=networks, dim=latent, context=self.context)
