"""The variational autoencoder: encoder, posterior family, decoder, likelihood; row by row."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...fields import MLP, Linear, activation
from ..flow import base_log_prob
from .likelihoods import Likelihood
from .posteriors import Amortised, PosteriorFamily

_SPREAD = 8.0  # standard deviations of the posterior's base lie within e^-8 and e^8


class Belief(NamedTuple):
    """What the encoder says about a row: the normal it begins with, and the flow's numbers."""

    mean: Float[Array, " latent"]
    log_sd: Float[Array, " latent"]
    numbers: Float[Array, " numbers"]


class Drawn(NamedTuple):
    """A draw from q(z | x) with its density; `nfe` and `ok` of the posterior's flow."""

    z: Float[Array, " latent"]
    log_q: Float[Array, ""]
    nfe: Any
    ok: Any


class Terms(NamedTuple):
    """``log p(x | z)``, ``log q(z | x) - log p(z)`` at one draw, and the draw."""

    log_likelihood: Float[Array, ""]
    divergence: Float[Array, ""]
    drawn: Drawn

    @property
    def log_weight(self) -> Array:
        """``log p(x, z) - log q(z | x)``: its mean over draws is the ELBO."""
        return self.log_likelihood - self.divergence


class VAE(eqx.Module):
    """``p(x) = int p(x | z) N(z; 0, I) dz`` with an amortised posterior ``q(z | x)``.

    `offset` and `scale` bring a row to about the unit range for the encoder; they are not learned.
    """

    offset: Float[Array, " dim"]
    scale: Float[Array, " dim"]
    encoder: MLP | None
    centre: Linear
    amortise: Linear | None
    flow: Amortised
    decoder: MLP
    likelihood: Likelihood
    latent: int = eqx.field(static=True)

    def __init__(
        self, offset: Any, scale: Any, likelihood: Likelihood, family: PosteriorFamily, *,
        latent: int, width: int, depth: int, activation: str, key: Any,
    ):  # fmt: skip
        keys = jax.random.split(key, 6)
        hidden = (width,) * depth
        self.offset, self.scale = jnp.asarray(offset, float), jnp.asarray(scale, float)
        sizes = (likelihood.dim, *hidden)
        self.encoder = MLP(sizes, activation, key=keys[0]) if depth else None
        features = width if depth else likelihood.dim
        self.centre = Linear(features, 2 * latent, key=keys[1], scale=0.3)
        self.flow = family.build(latent, key=keys[2])
        self.amortise = _steering(features, self.flow, keys[3], keys[4])
        outputs = likelihood.dim * likelihood.outputs
        self.decoder = MLP((latent, *hidden, outputs), activation, key=keys[5], last_scale=0.1)
        self.likelihood = likelihood
        self.latent = latent

    def belief(self, x: Float[Array, " dim"]) -> Belief:
        """What the encoder says about one row."""
        offset, scale = jax.lax.stop_gradient((self.offset, self.scale))
        h = (x - offset) / scale
        if self.encoder is not None:
            h = activation(self.encoder.activation)(self.encoder(h))
        mean, raw = self.centre(h).reshape(2, self.latent)
        numbers = jnp.zeros(0, h.dtype) if self.amortise is None else self.amortise(h)
        return Belief(mean, _SPREAD * jnp.tanh(raw / _SPREAD), numbers)

    def draw(self, belief: Belief, noise: Float[Array, " latent"], key: Any = None) -> Drawn:
        """``z`` of base noise, and ``log q(z | x) = log N(noise) - sum log sd - log_det``."""
        z = belief.mean + jnp.exp(belief.log_sd) * noise
        moved = self.flow(z, belief.numbers, key)
        log_q = base_log_prob(noise) - jnp.sum(belief.log_sd) - moved.log_det
        return Drawn(moved.y, log_q, moved.nfe, moved.ok)

    def terms(self, x: Any, belief: Belief, noise: Any, key: Any = None) -> Terms:
        """The parts of the ELBO of one row at one draw."""
        drawn = self.draw(belief, noise, key)
        log_likelihood = self.likelihood.log_prob(x, self.decoder(drawn.z))
        return Terms(log_likelihood, drawn.log_q - base_log_prob(drawn.z), drawn)


def _steering(features: int, flow: Amortised, first: Any, second: Any) -> Linear | None:
    """The layer that gives a row the flow's numbers; it begins about where the flow wants it."""
    if not flow.numbers:
        return None
    layer = Linear(features, flow.numbers, key=first, scale=0.1)
    return eqx.tree_at(lambda layer: layer.bias, layer, flow.start(second))


def normal_divergence(belief: Belief) -> Float[Array, ""]:
    """``KL(N(mean, sd^2) || N(0, I))`` of the normal that the encoder says, in closed form."""
    variance = jnp.exp(2 * belief.log_sd)
    return 0.5 * jnp.sum(variance + belief.mean**2 - 1 - 2 * belief.log_sd)
