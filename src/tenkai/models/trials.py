"""Trial functions of time: the finite families in which a path or a control is sought.

A trial is a recipe, a small frozen object; `begin` makes the function with its numbers, an Equinox
module ``t -> (dim,)`` that can be differentiated in t and in its numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..fields import MLP

Interval = tuple[float, float]
_OVERLAP = 0.2  # the exponent of a Gaussian at its neighbour's centre

Table = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Functions, first and second derivatives at times, (times, count) each."""


class Trial(Protocol):
    """A recipe of functions on an interval."""

    def begin(self, interval: Interval, dim: int, *, key: Any = None) -> Any:
        """A function ``t -> (dim,)`` with its first numbers."""
        ...


class Expansion(eqx.Module):
    """``y(t) = sum_i g_i(t) c_i``, linear in its coefficients."""

    coefficients: Float[Array | np.ndarray, "count dim"]
    basis: Any = eqx.field(static=True)
    interval: Interval = eqx.field(static=True)

    def __call__(self, t: Any) -> Float[Array, " dim"]:
        return self.basis.values(t, self.interval) @ self.coefficients


class Linear(ABC):
    """A trial whose functions are linear in their numbers, all of which begin at `start`."""

    start: float
    _counted: ClassVar[str] = "count"

    def __post_init__(self) -> None:
        name = self._counted
        count = getattr(self, name)
        if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
            raise InputError(
                f"{name} of a {type(self).__name__}", expected="a positive whole number",
                got=repr(count), do=f"pass {name}=16",
            )  # fmt: skip

    @abstractmethod
    def values(self, t: Any, interval: Interval) -> Any:
        """Every function at one time, or at many: (*times, count)."""

    def begin(self, interval: Interval, dim: int, *, key: Any = None) -> Expansion:
        """A coefficient of every function."""
        count = np.shape(self.values(interval[0], interval))[-1]
        return Expansion(np.full((count, dim), float(self.start)), self, interval)


def _array_module(t: Any) -> Any:
    """NumPy where nothing is traced: a record's values must not cost a compilation."""
    return np if isinstance(t, np.ndarray | np.generic | float | int) else jnp


def _unit(t: Any, interval: Interval) -> Any:
    """The interval onto [0, 1]."""
    low, high = interval
    return (t - low) / (high - low)


@dataclass(frozen=True)
class RBF(Linear):
    """Gaussians ``exp(-width (t - c_i)^2)``, centres evenly from `low` to `high`.

    Unless told, centres reach half the interval beyond both ends, and the width is
    ``0.2 / spacing^2``: sums of narrow ones ripple by a share of ``2 exp(-pi^2 / (width
    spacing^2))`` however many there are (saturation, 1e-4 for a width of ``1 / spacing^2``;
    Maz'ya and Schmidt 1996), and wide ones are hard to tell apart. Coefficients begin at `start`.
    """

    count: int = 50
    low: float | None = None
    high: float | None = None
    width: float | None = None
    start: float = 0.0

    def values(self, t: Any, interval: Interval) -> Float[Array, "*times count"]:
        """Every Gaussian at one time, or at many."""
        centres, width = self._shape(interval)
        xp = _array_module(t)
        return xp.exp(-width * (xp.asarray(t)[..., None] - centres) ** 2)

    def _shape(self, interval: Interval) -> tuple[np.ndarray, float]:
        length = interval[1] - interval[0]
        low = interval[0] - length / 2 if self.low is None else self.low
        high = interval[1] + length / 2 if self.high is None else self.high
        spacing = (high - low) / max(self.count - 1, 1)
        width = _OVERLAP / spacing**2 if self.width is None else self.width
        return np.linspace(low, high, self.count), width

    def table(self, t: np.ndarray, interval: Interval) -> Table:
        """Values, first and second derivatives at times (n,)."""
        centres, width = self._shape(interval)
        away = t[:, None] - centres
        g = np.exp(-width * away**2)
        return g, -2 * width * away * g, (4 * width**2 * away**2 - 2 * width) * g


@dataclass(frozen=True)
class Polynomial(Linear):
    """Legendre polynomials of degree below `count`, on the interval: spectral for smooth paths."""

    count: int = 16
    start: float = 0.0

    def values(self, t: Any, interval: Interval) -> Float[Array, "*times count"]:
        """Every polynomial at one time, or at many, by the three-term recurrence."""
        xp = _array_module(t)
        x = xp.asarray(2 * _unit(t, interval) - 1)
        values = [xp.ones_like(x), x]
        for n in range(1, self.count - 1):
            values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
        return xp.stack(values[: self.count], axis=-1)

    def table(self, t: np.ndarray, interval: Interval) -> Table:
        """Values, first and second derivatives at times (n,): P'(n+1) = P'(n-1) + (2n+1) P(n)."""
        value = np.asarray(self.values(t, interval))
        parts, factor = [value], 2 / (interval[1] - interval[0])
        for _ in range(2):
            slope = np.zeros_like(value)
            for n in range(self.count - 1):
                before = slope[:, n - 1] if n else 0.0
                slope[:, n + 1] = before + (2 * n + 1) * factor * parts[-1][:, n]
            parts.append(slope)
        return parts[0], parts[1], parts[2]


@dataclass(frozen=True)
class Sine(Linear):
    """``sin(k pi s)``, k = 1 ... `count`, s from 0 to 1 over the interval; zero at both ends.

    In a variational problem the ends come from a straight line beside it.
    """

    count: int = 16
    start: float = 0.0

    def values(self, t: Any, interval: Interval) -> Float[Array, "*times count"]:
        """Every sine at one time, or at many."""
        xp = _array_module(t)
        s = xp.asarray(_unit(t, interval))[..., None]
        return xp.sin(np.pi * np.arange(1, self.count + 1) * s)

    def table(self, t: np.ndarray, interval: Interval) -> Table:
        """Values, first and second derivatives at times (n,)."""
        rate = np.pi * np.arange(1, self.count + 1) / (interval[1] - interval[0])
        phase = rate * (t[:, None] - interval[0])
        return np.sin(phase), rate * np.cos(phase), -(rate**2) * np.sin(phase)


@dataclass(frozen=True)
class PiecewiseConstant(Linear):
    """Constant on each of `pieces` equal parts of the interval: for controls."""

    pieces: int = 50
    start: float = 0.0
    _counted: ClassVar[str] = "pieces"

    def values(self, t: Any, interval: Interval) -> Float[Array, "*times pieces"]:
        """One on the piece of that time, zero elsewhere; a border belongs to the later piece."""
        xp = _array_module(t)
        # A grid point may lie an ulp before the border that it stands for.
        at = xp.clip(xp.floor(_unit(t, interval) * self.pieces + 1e-9), 0, self.pieces - 1)
        return (xp.arange(self.pieces) == xp.asarray(at)[..., None]) * 1.0


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
