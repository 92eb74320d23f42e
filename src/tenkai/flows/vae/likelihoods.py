"""What the decoder says about a row: ``log p(x | z)`` for bits, counts of light, labels, numbers.

A likelihood turns the decoder's outputs for one row into a density or a probability of that row;
`jax.vmap` outside. It starts where the training rows are when the decoder says nothing (zeros).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...fields import softplus

_FLOOR = 1e-3  # least standard deviation, in standard deviations of the column
_LOG_2PI = math.log(2 * math.pi)


class Likelihood(eqx.Module):
    """``p(x | z)`` of one row of `dim` independent variables; the decoder gives `outputs` each."""

    dim: eqx.AbstractVar[int]
    outputs: eqx.AbstractVar[int]

    @abstractmethod
    def log_prob(self, x: Any, out: Any) -> Float[Array, ""]:
        """``log p(x | z)`` in nats of a row (dim,) out of the decoder's (dim * outputs,)."""

    @abstractmethod
    def mean(self, out: Any) -> Float[Array, " dim"]:
        """The expected row."""

    @abstractmethod
    def sample(self, out: Any, key: Any) -> Float[Array, " dim"]:
        """A drawn row."""

    def observed(self, x: Any, key: Any) -> Array:
        """The row that a training step sees, given one of the table."""
        return x


class Bernoulli(Likelihood):
    """Bits: ``log p = sum x l - log(1 + e^l)`` with logits ``l``.

    Grey values in [0, 1] are probabilities of a bit, drawn anew whenever a row is seen
    (Salakhutdinov and Murray 2008): `observed`.
    """

    dim: int = eqx.field(static=True)
    offset: Float[Array, " dim"] = eqx.field(kw_only=True)
    outputs: int = eqx.field(static=True, default=1)

    @classmethod
    def of(cls, x: np.ndarray) -> Bernoulli:
        rate = (x.sum(0, dtype=np.float64) + 0.5) / (len(x) + 1)
        logits = jnp.asarray(np.log(rate) - np.log1p(-rate), dtype=float)
        return cls(offset=logits, dim=x.shape[1])

    def log_prob(self, x: Any, out: Any) -> Array:
        logits = self.offset + out
        return jnp.sum(x * logits - softplus(logits))

    def mean(self, out: Any) -> Array:
        return jax.nn.sigmoid(self.offset + out)

    def sample(self, out: Any, key: Any) -> Array:
        return jax.random.bernoulli(key, self.mean(out)).astype(out.dtype)

    def observed(self, x: Any, key: Any) -> Array:
        return jax.random.bernoulli(key, x).astype(x.dtype)


class Gaussian(Likelihood):
    """Real numbers: ``N(x; m(z), diag(s^2))``, one learned ``s`` per column.

    In standardised units. ``s`` is bounded from below, or a column that the latent variables
    explain wholly would have any density one likes.
    """

    dim: int = eqx.field(static=True)
    raw: Float[Array, " dim"] = eqx.field(kw_only=True)
    outputs: int = eqx.field(static=True, default=1)

    @classmethod
    def of(cls, x: np.ndarray) -> Gaussian:
        return cls(raw=jnp.full(x.shape[1], math.log(0.5)), dim=x.shape[1])

    @property
    def log_sd(self) -> Array:
        """``log s``, (dim,)."""
        return jnp.logaddexp(self.raw, math.log(_FLOOR))

    def log_prob(self, x: Any, out: Any) -> Array:
        z = (x - out) * jnp.exp(-self.log_sd)
        return -0.5 * jnp.sum(z**2) - jnp.sum(self.log_sd) - 0.5 * self.dim * _LOG_2PI

    def mean(self, out: Any) -> Array:
        return out

    def sample(self, out: Any, key: Any) -> Array:
        return out + jnp.exp(self.log_sd) * jax.random.normal(key, out.shape, out.dtype)


class DiscretisedLogistic(Likelihood):
    """Levels 0 ... levels - 1: the mass of a logistic between the edges of each level's bin.

    ``P(k) = S((k + 1/2 - m) / s) - S((k - 1/2 - m) / s)`` with the logistic function ``S``; the
    first and the last bin have no outer edge, so masses sum to one (Kingma et al. 2016; Salimans et
    al. 2017). Stable by ``S(b) - S(a) = S(b) S(-a) (1 - e^(a - b))``.
    """

    dim: int = eqx.field(static=True)
    offset: Float[Array, " dim"] = eqx.field(kw_only=True)
    scale: Float[Array, " dim"] = eqx.field(kw_only=True)
    outputs: int = eqx.field(static=True, default=2)
    levels: int = eqx.field(static=True, default=256)

    @classmethod
    def of(cls, x: np.ndarray, levels: int = 256) -> DiscretisedLogistic:
        mean, sd = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
        offset, scale = (jnp.asarray(a, dtype=float) for a in (mean, np.maximum(sd, 1.0)))
        return cls(offset=offset, scale=scale, dim=x.shape[1], levels=levels)

    def _parts(self, out: Any) -> tuple[Array, Array]:
        """Centre and the logarithm of the width."""
        offset, scale = jax.lax.stop_gradient((self.offset, self.scale))
        centre, width = out.reshape(2, self.dim)
        # A third of the column's spread at the start; never narrower than e^-3 of a level.
        return offset + scale * centre, jnp.logaddexp(jnp.log(scale / 3) + width, -3.0)

    def log_prob(self, x: Any, out: Any) -> Array:
        centre, log_width = self._parts(out)
        inverse = jnp.exp(-log_width)
        upper, lower = (x + 0.5 - centre) * inverse, (x - 0.5 - centre) * inverse
        above, below = -softplus(-upper), -softplus(lower)  # log S(upper), log S(-lower)
        inside = above + below + jnp.log(-jnp.expm1(-inverse))
        edge = jnp.where(x == self.levels - 1, below, inside)
        return jnp.sum(jnp.where(x == 0, above, edge))

    def mean(self, out: Any) -> Array:
        return jnp.clip(self._parts(out)[0], 0, self.levels - 1)

    def sample(self, out: Any, key: Any) -> Array:
        centre, log_width = self._parts(out)
        drawn = centre + jnp.exp(log_width) * jax.random.logistic(key, centre.shape, centre.dtype)
        return jnp.clip(jnp.round(drawn), 0, self.levels - 1)


class Categorical(Likelihood):
    """Labels 0 ... levels - 1 in every column, each with its own probability.

    One output per level: for 256 levels of many pixels the logistic is far smaller.
    """

    offset: Float[Array, "dim levels"]
    dim: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True)

    @classmethod
    def of(cls, x: np.ndarray, levels: int) -> Categorical:
        counts = np.stack([np.bincount(c, minlength=levels) for c in x.T.astype(np.int64)])
        share = (counts + 0.5) / (len(x) + 0.5 * levels)
        return cls(offset=jnp.asarray(np.log(share), dtype=float), dim=x.shape[1], outputs=levels)

    def _logits(self, out: Any) -> Array:
        return self.offset + out.reshape(self.dim, self.outputs)

    def log_prob(self, x: Any, out: Any) -> Array:
        logs = jax.nn.log_softmax(self._logits(out))
        return jnp.sum(jnp.take_along_axis(logs, x.astype(int)[:, None], axis=1))

    def mean(self, out: Any) -> Array:
        return jax.nn.softmax(self._logits(out)) @ jnp.arange(self.outputs, dtype=out.dtype)

    def sample(self, out: Any, key: Any) -> Array:
        return jax.random.categorical(key, self._logits(out)).astype(out.dtype)
