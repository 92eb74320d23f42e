"""DU-NeuralODE: four functions from 20 noisy points each, by 200 unfolded Euler steps.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, section 6.2. A path of
``dx/dt = W2 relu(W1 x + b1) + b2`` in the plane starts at 0; only its first component is observed.
A state after i steps is compared with the observation at ``t = i eta``.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ..data import toys
from ..fields import MLP, together
from ..fit import fit
from ..objectives import Aux
from ..records import Fit
from ..unfold import Interval, Store, euler, unfold
from . import Row, Task

END, STEPS, NOISE = 4.0, 200, 0.1
ETA = END / STEPS
OBSERVED = np.arange(1, STEPS, 10)  # Euler steps taken when a point is observed
TIMES = np.arange(1, STEPS + 1) * ETA
FUNCTIONS = ("sine", "parabola", "exponential", "square_root")
# Median SSE over 20 seeds of an independent port, for both ways to begin.
PUBLISHED = {
    "LeCun normal": (0.122, 0.213, 0.151, 0.218),
    "1e-3 normal": (0.146, 6.32, 0.159, 0.204),
}
PUBLISHED_RMSE = (0.049, 0.068, 0.039, 0.064)
ADAM = functools.cache(lambda: optax.adam(1e-2))


def path(net: MLP) -> Float[Array, "steps 2"]:
    """The state after each of the 200 Euler steps from 0."""
    grid = Interval(jnp.arange(STEPS) * ETA, jnp.full(STEPS, ETA))
    step = euler(lambda t, x, u: net(x))
    return unfold(step, jnp.zeros(2), grid, memory=Store(), unroll=5)[1]


def loss(net: MLP, data: Float[Array, " points"], key: Any) -> tuple[Any, Aux]:
    """Sum of squared errors of the first component at the 20 observed points."""
    miss = path(net)[OBSERVED - 1, 0] - data
    return jnp.sum(miss**2), Aux(nfe_forward=STEPS, nfe_backward=STEPS)


def observe(function: str, seed: int) -> np.ndarray:
    """The 20 noisy points (20,)."""
    noise = np.random.default_rng(seed).standard_normal(len(OBSERVED))
    return toys.truth(function, OBSERVED * ETA)[:, 0] + NOISE * noise


def lecun(key: Any) -> MLP:
    """Weights with variance 1/inputs and zero biases, as most libraries begin."""
    return MLP((2, 16, 2), "relu", key=key)


def tiny(key: Any) -> MLP:
    """Every weight and bias from N(0, 1e-6), as the book begins."""
    net, key = lecun(key), jax.random.fold_in(key, 1)
    leaves, tree = jax.tree.flatten(net)
    keys = jax.random.split(key, len(leaves))
    drawn = [1e-3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)


BEGINNINGS = {"LeCun normal": lecun, "1e-3 normal": tiny}


def learn(begin: Any, data: np.ndarray, *, steps: int = 500) -> Fit:
    """Train one network per row of `data` (members, 20), member i from the i-th key."""
    members = len(data)
    nets = eqx.filter_vmap(begin)(jax.random.split(jax.random.key(0), members))
    with together(members):
        return fit(nets, loss, data, rule=ADAM(), steps=steps, every=500, members=members)
