"""DU-Euler on Lotka-Volterra: rates that hold both populations at 1.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, section 6.1.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..fit import fit
from ..objectives import Aux
from ..unfold import Interval, euler, unfold
from . import Row, Task

END, STEPS = 10.0, 1000
ETA = END / STEPS
START = (1.5, 1.0, 3.0, 1.0)
ADAM = functools.cache(lambda: optax.adam(0.1))

PUBLISHED_RATES = (1.5520903, 1.6416741, 1.9061915, 2.1134753)
PUBLISHED_LOSS = {0: 11913.28, 50: 29.2835, 100: 0.0604, 200: 5.0e-7}


def path(p: Any) -> Any:
    """States (1000, 2) of ``x' = p1 x - p2 x y, y' = -p3 y + p4 x y`` from (1, 1)."""

    def field(t: Any, s: Any, u: Any) -> Any:
        x, y = s
        return jnp.stack([p[0] * x - p[1] * x * y, -p[2] * y + p[3] * x * y])

    grid = Interval(jnp.arange(STEPS) * ETA, jnp.full(STEPS, ETA))
    return unfold(euler(field), jnp.ones(2), grid)[1]


def loss(p: Any, data: Any, key: Any) -> tuple[Any, Aux]:
    """``sum_k |(x, y)_k - (1, 1)|^2``; zero where p1 = p2 and p3 = p4."""
    return jnp.sum((path(p) - data) ** 2), Aux()


def learn(steps: int) -> tuple[np.ndarray, float]:
    """Rates and loss after so many steps of Adam, in float64: 11 orders of magnitude of loss."""
    with jax.enable_x64(True):
        target = np.ones(2)
        p = jnp.asarray(START)
        if steps:
            p = fit(p, loss, target, rule=ADAM(), steps=steps, every=50).model
        return np.asarray(p), float(loss(p, target, None)[0])


def run(task: Task = Task()) -> list[Row]:
    """The four rates after 50 steps, and the loss at the start and after 50, 100 and 200."""
    learned = {steps: learn(steps) for steps in PUBLISHED_LOSS}
    rates = zip(PUBLISHED_RATES, learned[50][0], strict=True)
    rows = [
        Row(f"p{i}, 50 steps", published, float(ours))
        for i, (published, ours) in enumerate(rates, start=1)
    ]
    return rows + [
        Row(f"loss, {steps} steps", PUBLISHED_LOSS[steps], value)
        for steps, (_, value) in learned.items()
    ]
