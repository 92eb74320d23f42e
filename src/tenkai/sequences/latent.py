"""Latent ODEs: a posterior over the state at which a series begins, its path, what is seen of it.

``z0 ~ q(z0 | x) = N(m, s^2)``, ``dz/dt = f(z)``, ``x_i ~ N(g(z(t_i)), noise^2)``
(Chen et al. 2018, section 5; Rubanova et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..fields import MLP, Key, NeuralField, split
from ..unfold import RK4, Tableau
from .cells import Cell, Gaps, ODECell, over
from .multistep import between, knots
from .packing import Rows

_NOISE = 0.5  # standard deviations, before training
_QUIET = 0.3  # of the last layer of field and head, before training


class Posterior(NamedTuple):
    """A normal per series of a row."""

    mean: Float[Array, " places latent *rows"]
    sd: Float[Array, " places latent *rows"]

    def draw(self, noise: Float[Array, "places latent"]) -> Float[Array, "places latent"]:
        """``mean + sd noise``."""
        return self.mean + self.sd * noise

    def divergence(self) -> Float[Array, " places"]:
        """``KL(q || N(0, I))`` per series, nats."""
        return 0.5 * jnp.sum(self.mean**2 + self.sd**2 - 1 - 2 * jnp.log(self.sd), axis=1)


class Backwards(eqx.Module):
    """A field with the time turned round: ``s = -t``, ``dz/ds = -f(-s, z)``."""

    field: Callable

    def __call__(self, t: Any, y: Array, u: Any = None) -> Array:
        return -self.field(-t, y)


class LatentModel(eqx.Module):
    """Encoder, latent field, decoder and noise; one row of packed series at a time.

    Or rows side by side, as `packing.abreast` lays them: every array has a last axis more.

    The encoder reads every series backwards in time, from its end to its beginning; `head` takes
    its memory, and how long before the first observation the series begins, to mean and log sd.
    """

    cell: Cell
    head: MLP
    field: Callable
    decoder: MLP
    log_noise: Float[Array, " dim"]
    tableau: Tableau = eqx.field(static=True)
    classes: MLP | None = None

    @classmethod
    def build(
        cls, dim: int, *, latent: int, encoder: str = "rnn", hidden: int = 32, width: int = 32,
        depth: int = 2, activation: str = "softplus", decoder: int = 0, classes: int = 0,
        noise: Any = None, tableau: Tableau = RK4, key: Key,
    ) -> LatentModel:  # fmt: skip
        """Before training: `decoder` hidden units (0: linear), `noise` as standardised sd (dim,).

        The field begins small, so that paths begin by staying where they are.
        """
        keys = split(key, 5)
        gru = {"rnn": Gaps, "ode-rnn": ODECell}[encoder]
        more = {} if encoder == "rnn" else {"width": width, "depth": depth, "tableau": tableau}
        sizes = (latent, *((decoder,) if decoder else ()), dim)
        field = NeuralField(
            latent, width=width, depth=depth, activation=activation, key=keys[2],
            last_scale=_QUIET,
        )  # fmt: skip
        begun: Any = np.full(dim, _NOISE) if noise is None else np.asarray(noise)
        return cls(
            gru(dim, hidden, key=keys[0], **more),
            MLP((hidden + 1, 2 * hidden, 2 * latent), key=keys[1], last_scale=_QUIET), field,
            MLP(sizes, key=keys[3]), np.log(begun).astype(np.float32), tableau,
            MLP((latent, hidden, classes), key=keys[4]) if classes else None,
        )  # fmt: skip

    @property
    def backwards(self) -> LatentModel:
        """The same model, whose paths run into the past."""
        return eqx.tree_at(lambda m: m.field, self, Backwards(self.field))

    @property
    def latent(self) -> int:
        """Dimensions of the latent state."""
        return self.decoder.layers[0].weight.shape[-1]

    def posterior(self, row: Rows) -> Posterior:
        """Of the state at the beginning of every series of the row."""
        memory = over(self.cell, _from_last_seen(row), backwards=True)
        h = jnp.take_along_axis(memory.h, row.begin[:, None], axis=0)
        since, begun = (jnp.take_along_axis(t, row.begin, axis=0) for t in (memory.t, row.t))
        numbers = jax.vmap(self.head)(jnp.concatenate([h, jnp.abs(since - begun)[:, None]], axis=1))
        mean, log_sd = jnp.split(numbers, 2, axis=1)
        return Posterior(mean, jnp.exp(log_sd))

    def path(self, row: Rows, z0: Float[Array, "places latent"]) -> Float[Array, "slots latent"]:
        """The latent state at every slot, out of the states at which the series begin.

        One scan over the row's steps; inside a step the path is the cubic through its ends.
        """
        begins = row.start >= 0
        begun = jnp.take_along_axis(z0, jnp.maximum(row.start, 0)[:, None], axis=0)
        found = knots(self.field, begun, begins, row.since + row.length, row.length, row.phase)
        return between(found, row.step, row.length, row.part)

    def seen(self, z: Float[Array, "slots latent"]) -> Float[Array, "slots dim"]:
        """The mean of what is observed."""
        return jax.vmap(self.decoder)(z)


def _from_last_seen(row: Rows) -> Rows:
    """No slot later than the last one seen of its series: what is asked later tells nothing."""
    late = jnp.where(jnp.any(row.seen, axis=1) & (row.owner >= 0), row.t, 0.0)

    def last(owner: Array, late: Array) -> Array:
        return jnp.zeros(row.begin.shape[0], late.dtype).at[owner].max(
            late, mode="drop", wrap_negative_indices=False
        )  # fmt: skip

    for _ in row.t.shape[1:]:  # rows side by side
        last = jax.vmap(last, in_axes=-1, out_axes=-1)
    ends = jnp.take_along_axis(last(row.owner, late), jnp.maximum(row.owner, 0), axis=0)
    return row._replace(t=jnp.minimum(row.t, ends))
