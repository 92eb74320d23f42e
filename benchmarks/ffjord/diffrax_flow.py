"""The flow over diffrax, written as in its example of a continuous normalising flow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tenkai.flows import ContinuousFlow

from ..harness import peer

dfx = peer("diffrax")


def _exact(t: Any, state: Any, args: Any) -> Any:
    _, field = args
    value, pull = jax.vjp(lambda y: field(t, y, None), state[0])
    (jacobian,) = jax.vmap(pull)(jnp.eye(len(state[0])))
    return value, jnp.trace(jacobian)


def _approximate(t: Any, state: Any, args: Any) -> Any:
    e, field = args
    value, pull = jax.vjp(lambda y: field(t, y, None), state[0])
    return value, jnp.sum(pull(e)[0] * e)


class DiffraxFlow:
    """One row at a time under `jax.vmap`, Tsit5, first step .05; by default at 1e-5.

    ``tolerance=None`` keeps the example's ten constant steps per half unit of time.
    """

    def __init__(self, flow: ContinuousFlow, exact: bool, tolerance: float | None = 1e-5):
        self.field, self.end, self.exact = flow.field, float(flow.end), exact
        self.controller = (
            dfx.ConstantStepSize()
            if tolerance is None
            else dfx.PIDController(rtol=tolerance, atol=tolerance)
        )
        self.rows = eqx.filter_jit(eqx.filter_vmap(self.log_prob, in_axes=(None, 0, 0)))

    def log_prob(self, field: Any, y: Any, e: Any) -> Any:
        """Of one row (2,)."""
        solution = dfx.diffeqsolve(
            dfx.ODETerm(_exact if self.exact else _approximate), dfx.Tsit5(), self.end, 0.0, -0.05,
            (y, 0.0), (e, field), stepsize_controller=self.controller,
        )  # fmt: skip
        (z,), (log_det,) = solution.ys
        return log_det - 0.5 * (z.size * math.log(2 * math.pi) + jnp.sum(z**2))

    def train(self, x: np.ndarray, batch: int, rate: float = 1e-3) -> Callable[[int], Any]:
        """Steps of Adam on ``-mean log p`` of rows drawn from `x`, one compiled step per call."""
        data, rule = jnp.asarray(x), optax.adam(rate)
        state = rule.init(eqx.filter(self.field, eqx.is_inexact_array))

        @eqx.filter_value_and_grad
        def loss(field: Any, x: Any, e: Any) -> Any:
            return -jnp.mean(jax.vmap(self.log_prob, in_axes=(None, 0, 0))(field, x, e))

        @eqx.filter_jit
        def step(field: Any, state: Any, key: Any) -> Any:
            drawn, noise, key = jax.random.split(key, 3)
            rows = data[jax.random.randint(drawn, (batch,), 0, len(data))]
            _, slope = loss(field, rows, jax.random.normal(noise, rows.shape))
            updates, state = rule.update(slope, state)
            return eqx.apply_updates(field, updates), state, key

        now = [self.field, state, jax.random.key(0)]

        def run(steps: int) -> None:
            for _ in range(steps):
                now[:] = step(*now)
            self.field = jax.block_until_ready(now[0])

        return run

    def log_densities(self, x: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
        """``log p`` of every row, as in training."""
        return np.asarray(self.rows(self.field, x, noise), np.float64)
