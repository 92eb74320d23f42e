"""Spirals, the nets of torchdiffeq's `latent_ode.py`, a trained model, and what it costs to solve.

Latent 4; field 4-20-20-4 ELU; tanh RNN of 25 backwards over 100 points; decoder 4-20-2 ReLU; 1000
spirals, all of them in every step of Adam at .01; evidence lower bound with noise .3.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tenkai.fields import MLP, Linear, NeuralField
from tenkai.fit import fit
from tenkai.objectives import Aux
from tenkai.sequences.cells import Cell, Slot
from tenkai.sequences.latent import LatentModel
from tenkai.sequences.objectives import summed
from tenkai.sequences.packing import Rows, Spell, abreast, pack
from tenkai.unfold import RK4

LATENT, HIDDEN, WIDTH, NOISE = 4, 25, 20, 0.3
SPAN = 6 * np.pi  # 500 times from 0 to the end, of which each series has 100 in a row
TIMES = (np.linspace(0, SPAN, 500)[:100]).astype(np.float32)
RULE = optax.adam(0.01)


def spirals(count: int = 1000, seed: int = 0) -> np.ndarray:
    """Noisy pieces (count, 100, 2) of a clockwise and of a counter-clockwise spiral."""
    rng = np.random.default_rng(seed)
    ts = np.linspace(0, SPAN, 500)
    z = SPAN + 1 - ts
    curves = np.stack([_curve(50 * NOISE / z, z, -5.0), _curve(NOISE * ts, ts, 5.0)])
    which, first = rng.integers(0, 2, count), rng.integers(0, 400, count)
    pieces = curves[which[:, None], first[:, None] + np.arange(100)]
    return (pieces + rng.normal(0, NOISE, pieces.shape)).astype(np.float32)


def _curve(radius: np.ndarray, angle: np.ndarray, shift: float) -> np.ndarray:
    return np.stack([radius * np.cos(angle) + shift, radius * np.sin(angle)], axis=-1)


class Tanh(Cell):
    """``h <- tanh(W [x, h] + b)``: the RNN of the example."""

    layer: Linear
    hidden: int = eqx.field(static=True)

    def __init__(self, dim: int, hidden: int, *, key: Any):
        self.layer, self.hidden = Linear(dim + hidden, hidden, key=key), hidden

    def between(self, h: Any, gap: Any) -> Any:
        return h

    def update(self, h: Any, slot: Slot, gap: Any, past: Any) -> Any:
        return jnp.tanh(self.layer(jnp.concatenate([slot.x, h])))


def model(seed: int = 0) -> LatentModel:
    """Untrained."""
    rng = np.random.default_rng(seed)
    field = NeuralField(LATENT, width=WIDTH, depth=2, activation="elu", key=rng)
    return LatentModel(
        Tanh(2, HIDDEN, key=rng),
        MLP((HIDDEN + 1, 2 * LATENT), key=rng),
        field,
        MLP((LATENT, WIDTH, 2), "relu", key=rng),
        jnp.full(2, np.log(NOISE), jnp.float32),
        RK4,
    )


def packed(x: np.ndarray, steps: int) -> Rows:
    """A row per series, solved in that many steps."""
    longest = float(TIMES[-1]) / steps
    return pack([Spell(TIMES.astype(float), one) for one in x.astype(float)], longest)


def trained(x: np.ndarray, steps: int) -> LatentModel:
    """After that many full batches: the weights on which everyone's path is judged."""
    return fit(model(), negative_elbo, packed(x, 40), rule=RULE, steps=steps).model


def beginnings(model: LatentModel, x: np.ndarray) -> np.ndarray:
    """The posterior's means (series, latent)."""
    found = jax.jit(lambda m, rows: m.posterior(rows).mean)(model, abreast(packed(x, 10)))
    return np.asarray(found[0]).T


def solved(model: LatentModel, z0: np.ndarray, steps: int) -> np.ndarray:
    """Our latent paths (series, times, latent) out of `z0`."""
    rows = abreast(packed(np.zeros((len(z0), len(TIMES), 2)), steps))
    start = z0[rows.index[0]].T[None]
    paths = np.asarray(jax.jit(lambda m, rows, z: m.path(rows, z))(model, rows, start))
    return paths.transpose(2, 0, 1)[np.argsort(rows.index[0])]


def evaluations(rows: Rows) -> int:
    """Of the field, in one solve of all rows."""
    return rows.since.shape[1]


def negative_elbo(model: LatentModel, rows: Rows, key: Any) -> tuple[Any, Aux]:
    """Per series, one draw; nats. The noise is given, not learned."""
    model = eqx.tree_at(lambda m: m.log_noise, model, jnp.full(2, np.log(NOISE), jnp.float32))
    side = abreast(rows)
    found = summed(model, side, jax.random.normal(key, (1, LATENT, len(rows.t))))
    return (found.divergence - found.log_likelihood) / len(rows.t), Aux()
