"""Feedback policies ``u = pi(t, x)``: recipes that say what is learned, and the modules they begin.

A recipe holds no JAX arrays; ``recipe.begin(interval, scale, inputs, key=)`` makes the Equinox
module whose numbers are learned, for states of typical sizes `scale`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..fields import NeuralField, matvec

Module = Callable[[Any, Float[Array, " states"]], Float[Array, " inputs"]]


class Policy(abc.ABC):
    """What a feedback policy is: a recipe that begins a module ``(t, x) -> u``."""

    @property
    def inputs(self) -> int | None:
        """How many controls it gives, where the recipe knows."""
        return None

    @abc.abstractmethod
    def begin(
        self, interval: tuple[float, float], scale: np.ndarray, inputs: int, *, key: Any
    ) -> Module:
        """The module at its first numbers; `InputError` where shapes do not fit."""


@dataclass(frozen=True, eq=False)
class LinearGain(Policy):
    """``u = K x``, K (inputs, states) learned from `K0` (default: zero).

    >>> import numpy as np
    >>> LinearGain(np.zeros((1, 2))).inputs
    1
    """

    K0: Any = None

    @property
    def inputs(self) -> int | None:
        """The rows of `K0`."""
        return None if self.K0 is None else _matrix("K0", self.K0).shape[0]

    def begin(
        self, interval: tuple[float, float], scale: np.ndarray, inputs: int, *, key: Any
    ) -> Gain:
        """`Gain` at `K0`."""
        K = np.zeros((inputs, len(scale))) if self.K0 is None else _matrix("K0", self.K0)
        return Gain(_shaped("K0", K, (inputs, len(scale))))


@dataclass(frozen=True, eq=False)
class OutputFeedback(Policy):
    """``u = K C x``: only the outputs ``y = C x`` are measured; K (inputs, outputs) is learned.

    `C` (outputs, states) is fixed.
    """

    K0: Any
    C: Any

    @property
    def inputs(self) -> int | None:
        """The rows of `K0`."""
        return _matrix("K0", self.K0).shape[0]

    def begin(
        self, interval: tuple[float, float], scale: np.ndarray, inputs: int, *, key: Any
    ) -> OutputGain:
        """`OutputGain` at `K0`."""
        C = _matrix("C", self.C)
        _shaped("C", C, (len(C), len(scale)))
        K = _shaped("K0", _matrix("K0", self.K0), (inputs, len(C)))
        return OutputGain(K, tuple(map(tuple, C.tolist())))


@dataclass(frozen=True)
class NetworkPolicy(Policy):
    """A multilayer perceptron in ``(t, x)``, or in x alone; it begins near ``u = 0``.

    Inputs of the network are the states over their typical size and the time over the horizon.
    """

    width: int = 32
    depth: int = 2
    activation: str = "tanh"
    time_dependent: bool = True

    def begin(
        self, interval: tuple[float, float], scale: np.ndarray, inputs: int, *, key: Any
    ) -> NetworkOfState:
        """`NetworkOfState` with fresh weights."""
        net = NeuralField(
            len(scale), key=key, out=inputs, width=self.width, depth=self.depth,
            activation=self.activation, time_dependent=self.time_dependent, last_scale=0.01,
        )  # fmt: skip
        return NetworkOfState(net, interval, tuple(np.asarray(scale, float).tolist()))


@dataclass(frozen=True, eq=False)
class Feedback(Policy):
    """Any Equinox module ``(t, x) -> u`` (inputs,) of the user; its float arrays are learned."""

    module: Module

    def begin(
        self, interval: tuple[float, float], scale: np.ndarray, inputs: int, *, key: Any
    ) -> Module:
        """The module itself."""
        return self.module


class Gain(eqx.Module):
    """``K x``."""

    K: Float[Array | np.ndarray, "inputs states"]

    def __call__(self, t: Any, x: Float[Array, " states"]) -> Float[Array, " inputs"]:
        return matvec(self.K, x)  # type: ignore[arg-type]


class OutputGain(eqx.Module):
    """``K C x``."""

    K: Float[Array | np.ndarray, "inputs outputs"]
    C: tuple[tuple[float, ...], ...] = eqx.field(static=True)

    def __call__(self, t: Any, x: Float[Array, " states"]) -> Float[Array, " inputs"]:
        return matvec(self.K, matvec(jnp.asarray(self.C, x.dtype), x))  # type: ignore[arg-type]


class NetworkOfState(eqx.Module):
    """``net([x / scale, (t - begin) / length])``."""

    net: NeuralField
    interval: tuple[float, float] = eqx.field(static=True)
    scale: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, t: Any, x: Float[Array, " states"]) -> Float[Array, " inputs"]:
        begin, end = self.interval
        return self.net((t - begin) / (end - begin), x / jnp.asarray(self.scale, x.dtype))


class Bounded(eqx.Module):
    """A control squashed into ``low <= u <= high``, componentwise; infinite bounds do not bind.

    ``low + (high - low) sigmoid(v)`` between two bounds, ``low + softplus(v)`` above one.
    """

    inner: Callable
    low: tuple[float, ...] = eqx.field(static=True)
    high: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, *arguments: Any) -> Float[Array, " inputs"]:
        v = self.inner(*arguments)
        low, high = (np.asarray(b, v.dtype) for b in (self.low, self.high))
        below, above = np.isfinite(low), np.isfinite(high)
        a, b = np.where(below, low, 0.0), np.where(above, high, 0.0)
        middle = (a + b) / 2 + (b - a) / 2 * jnp.tanh(v)
        one_sided = jnp.where(below, a + jax.nn.softplus(v), b - jax.nn.softplus(-v))
        return jnp.where(below & above, middle, jnp.where(below | above, one_sided, v))


def _matrix(name: str, value: Any) -> np.ndarray:
    a = np.asarray(value, float)
    if a.ndim != 2 or not np.isfinite(a).all():
        raise InputError(
            name, expected="a matrix of finite numbers", got=f"shape {a.shape}", do="mend it"
        )
    return a


def _shaped(name: str, a: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if a.shape != shape:
        raise InputError(
            name, expected=f"shape {shape}", got=f"{a.shape}",
            do="u = K x has one row of K per control and one column per state (per output, K C x)",
        )  # fmt: skip
    return a
