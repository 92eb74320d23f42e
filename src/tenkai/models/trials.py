"""Trial functions of time: the finite families in which a path or a control is sought.

A trial is a recipe, a small frozen object; `begin` makes the function with its numbers, an Equinox
module ``t -> (dim,)`` that can be differentiated in t and in its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..fields import MLP

Interval = tuple[float, float]


class Trial(Protocol):
    """A recipe of functions on an interval."""

    def begin(self, interval: Interval, dim: int, *, key: Any = None) -> Any:
        """A function ``t -> (dim,)`` with its first numbers."""
        ...


class Expansion(eqx.Module):
    """``y(t) = sum_i g_i(t) c_i``, linear in its coefficients."""

    coefficients: Float[Array, "count dim"]
    basis: Any = eqx.field(static=True)
    interval: Interval = eqx.field(static=True)

    def __call__(self, t: Any) -> Float[Array, " dim"]:
        return self.basis.values(t, self.interval) @ self.coefficients


def _expansion(basis: Any, count: int, interval: Interval, dim: int, start: float) -> Expansion:
    return Expansion(np.full((count, dim), float(start)), basis, interval)


def _unit(t: Any, interval: Interval) -> Any:
    """The interval onto [0, 1]."""
    low, high = interval
    return (t - low) / (high - low)


@dataclass(frozen=True)
class RBF:
    """Gaussians ``exp(-width (t - c_i)^2)``, centres evenly from `low` to `high`.

    Centres reach half the interval beyond both ends unless told; neighbours then overlap so that
    the fall over one spacing is ``exp(-1)``. Coefficients begin at `start`.
    """

    count: int = 50
    low: float | None = None
    high: float | None = None
    width: float | None = None
    start: float = 0.0

    def begin(self, interval: Interval, dim: int, *, key: Any = None) -> Expansion:
        """Coefficients of every Gaussian."""
        return _expansion(self, self.count, interval, dim, self.start)

    def values(self, t: Any, interval: Interval) -> Float[Array, " count"]:
        """Every Gaussian at one time."""
        length = interval[1] - interval[0]
        low = interval[0] - length / 2 if self.low is None else self.low
        high = interval[1] + length / 2 if self.high is None else self.high
        centres = np.linspace(low, high, self.count)
        spacing = (high - low) / max(self.count - 1, 1)
        width = spacing**-2 if self.width is None else self.width
        return jnp.exp(-width * (t - centres) ** 2)


@dataclass(frozen=True)
class Polynomial:
    """Legendre polynomials of degree below `count`, on the interval: spectral for smooth paths."""

    count: int = 16
    start: float = 0.0

    def begin(self, interval: Interval, dim: int, *, key: Any = None) -> Expansion:
        """Coefficients of every polynomial."""
        return _expansion(self, self.count, interval, dim, self.start)

    def values(self, t: Any, interval: Interval) -> Float[Array, " count"]:
        """Every polynomial at one time, by the three-term recurrence."""
        x = 2 * _unit(t, interval) - 1
        values = [jnp.ones_like(x), x]
        for n in range(1, self.count - 1):
            values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
        return jnp.stack(values[: self.count])


@dataclass(frozen=True)
class Sine:
    """``sin(k pi s)``, k = 1 ... `count`, s from 0 to 1 over the interval; zero at both ends."""

    count: int = 16
    start: float = 0.0

    def begin(self, interval: Interval, dim: int, *, key: Any = None) -> Expansion:
        """Coefficients of every sine."""
        return _expansion(self, self.count, interval, dim, self.start)

    def values(self, t: Any, interval: Interval) -> Float[Array, " count"]:
        """Every sine at one time."""
        return jnp.sin(np.pi * np.arange(1, self.count + 1) * _unit(t, interval))


@dataclass(frozen=True)
class PiecewiseConstant:
    """Constant on each of `pieces` equal parts of the interval: for controls."""

    pieces: int = 50
    start: float = 0.0

    def begin(self, interval: Interval, dim: int, *, key: Any = None) -> Expansion:
        """The value on every piece."""
        return _expansion(self, self.pieces, interval, dim, self.start)

    def values(self, t: Any, interval: Interval) -> Float[Array, " pieces"]:
        """One on the piece of that time, zero elsewhere; a border belongs to the later piece."""
        # A grid point may lie an ulp before the border that it stands for.
        at = jnp.floor(_unit(t, interval) * self.pieces + 1e-9)
        at = jnp.clip(at, 0, self.pieces - 1)
        return (jnp.arange(self.pieces) == at).astype(jnp.result_type(t, float))


class NetworkOfTime(eqx.Module):
    """An MLP of the time, scaled to [-1, 1]."""

    net: MLP
    interval: Interval = eqx.field(static=True)

    def __call__(self, t: Any) -> Float[Array, " dim"]:
        return self.net(jnp.asarray(2 * _unit(t, self.interval) - 1)[None])


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron of the time."""

    width: int = 32
    depth: int = 2
    activation: str = "tanh"

    def begin(self, interval: Interval, dim: int, *, key: Any = None) -> NetworkOfTime:
        """Random weights: `key` is a NumPy generator (default: seed 0) or a JAX key."""
        key = np.random.default_rng(0) if key is None else key
        net = MLP((1,) + (self.width,) * self.depth + (dim,), self.activation, key=key)
        return NetworkOfTime(net, interval)
