"""Rows, a trained flow, its log densities by a solve at 1e-9, and the coarsest grid as good."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tenkai.data import clouds
from tenkai.fit import fit
from tenkai.flows import FFJORD, Adams, Adaptive, ContinuousFlow, Exact, Grid, log_prob
from tenkai.flows.divergence import Divergence
from tenkai.flows.objectives import Rows, Weights, flow_matching, likelihood

ROWS = 20_000
RULE = optax.adam(1e-3)


@dataclass(frozen=True)
class Net:
    """Hidden layers of 64 tanh units with gates ("concatsquash") and the end time T."""

    name: str
    depth: int
    end: float

    @property
    def architecture(self) -> FFJORD:
        """Ours; training begins with the default grid."""
        return FFJORD(depth=self.depth, end=self.end)


TOY = Net("64-64-64, T = .5 (FFJORD's toys)", 3, 0.5)
DEFAULT = Net("64-64, T = 1 (our default)", 2, 1.0)


@functools.cache
def rows(name: str, seed: int = 0, count: int = ROWS) -> np.ndarray:
    """Standardised rows (count, 2), float32."""
    x = clouds.draw(name, count, seed)
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def packed(x: np.ndarray) -> Rows:
    """What our objectives read."""
    return Rows(x, None, np.arange(len(x)), np.int32(len(x)), Weights())


@functools.cache
def trained(net: Net, name: str, quick: bool = False) -> ContinuousFlow:
    """Flow matching, then likelihood: the weights that everyone's log density is judged on."""
    flow, data = net.architecture.build(2, key=jax.random.key(0)), packed(rows(name))
    flow = fit(flow, flow_matching(512), data, rule=RULE, steps=200 if quick else 3000).model
    return fit(flow, likelihood(256), data, rule=RULE, steps=5 if quick else 300).model


@dataclass(frozen=True, eq=False)
class Given:
    """Hutchinson's estimate with the noise (2,) that is given, the same in either precision."""

    e: Any
    exact = False

    def noise(self, field: Any, dim: int, dtype: Any, key: Any) -> Any:
        return jnp.asarray(self.e, dtype)

    def of(self, field: Any, t: Any, y: Any, u: Any, noise: Any) -> Any:
        value, image = jax.jvp(lambda y: field(t, y, u), (y,), (noise,))
        return value, jnp.sum(noise * image)


def log_densities(flow: ContinuousFlow, x: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """``log p`` of every row by the flow's own solver; exact unless there is `noise` (rows, 2)."""
    return np.asarray(_log_densities(flow, x, noise))


@eqx.filter_jit
def _log_densities(flow: ContinuousFlow, x: Any, noise: Any) -> Any:
    def one(x: Any, e: Any) -> Any:
        divergence = Exact() if e is None else Given(e)
        return log_prob(flow.with_solver(flow.solver, divergence=divergence), x)

    return jax.vmap(one, in_axes=(0, None if noise is None else 0))(x, noise)


def reference(flow: ContinuousFlow, x: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """The same by a solve in float64 at 1e-9."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), eqx.filter(flow, eqx.is_array))
        wide = eqx.combine(wide, flow).with_solver(Adaptive(1e-9, 1e-9, 10_000))
        return log_densities(wide, x.astype(np.float64), noise)


def error(found: np.ndarray, exact: np.ndarray) -> float:
    """Root mean square over the rows, nats."""
    return float(np.sqrt(np.mean((found - exact) ** 2)))


def coarsest(
    flow: ContinuousFlow, x: np.ndarray, noise: np.ndarray | None, exact: np.ndarray, allowed: float
) -> int:
    """The fewest steps of `Adams` whose error is at most `allowed`, by bisection."""

    def good(steps: int) -> bool:
        return error(log_densities(on_grid(flow, steps), x, noise), exact) <= allowed

    low, high = 4, 16
    while not good(high) and high < 512:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high


def on_grid(
    flow: ContinuousFlow, steps: int, divergence: Divergence | None = None
) -> ContinuousFlow:
    """The same flow with that many steps, exact divergence unless told: how ours trains."""
    return flow.with_solver(Grid(steps, Adams()), divergence=divergence or Exact())
