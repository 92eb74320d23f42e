"""DU-Euler: the rate of x' = a x from noisy points, by differentiating through Euler's method.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, section 6.1.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..fit import fit
from ..objectives import Aux
from ..unfold import Interval, euler, unfold
from . import Row, Task

END, STEPS, NOISE = 1.0, 100, 0.5
ETA = END / STEPS
OBSERVED = np.arange(1, STEPS, 10)  # Euler steps taken when a point is observed
ADAM = functools.cache(lambda: optax.adam(0.2))


def loss(a: Any, data: Any, key: Any) -> tuple[Any, Aux]:
    """``sum_i (x_i - d_i)^2`` with ``x_i`` the state after i steps, at ``t = i eta``."""
    grid = Interval(jnp.arange(STEPS) * ETA, jnp.full(STEPS, ETA))
    _, x = unfold(euler(lambda t, x, u: a * x), jnp.ones(()), grid)
    return jnp.sum((x[OBSERVED - 1] - data) ** 2), Aux()


def learn(data: np.ndarray) -> np.ndarray:
    """The learned rate for every row of `data` (members, 10): Adam, 100 steps from a = 1."""
    members = len(data)
    start = jnp.ones(members)
    return np.asarray(fit(start, loss, data, rule=ADAM(), steps=100, members=members).model)


def run(task: Task = Task(), *, seeds: int = 100) -> list[Row]:
    """Noise-free, and the mean over seeds with the book's noise."""
    clean = np.exp(2 * OBSERVED * ETA)
    noise = [np.random.default_rng(seed).standard_normal(len(clean)) for seed in range(seeds)]
    with jax.enable_x64(True):
        exact, *noisy = learn(np.stack([clean, *(clean + NOISE * e for e in noise)]))
    limit = (math.exp(2 * ETA) - 1) / ETA
    return [
        Row("a, noise-free", 2.0177, float(exact), note=f"Euler's own limit is {limit:.4f}"),
        Row(
            "a, noise .5", 2.06966, float(np.mean(noisy)), float(np.std(noisy, ddof=1)), seeds,
            note="published: one draw of the noise",
        ),
    ]  # fmt: skip
