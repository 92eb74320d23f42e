"""Discrete flows: stacked layers, each with an inverse, through flowjax.

All layers of a flow are one compiled layer in a scan. Parameters are near the identity at first,
for data with mean 0 and variance 1.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ..errors import InputError
from ..fields import activation
from .adapters import Discrete
from .flow import Abilities, Architecture

_BOTH = Abilities("one pass", "one pass")
_NUMERICAL = Abilities("numerical inverse", "one pass")


@dataclass(frozen=True, repr=False)
class Stacked(Architecture):
    """Equal layers one after another; a subclass says what one layer is."""

    layers: int = 8

    def build(self, dim: int, *, context: int = 0, key: Any) -> Discrete:
        if self.layers < 1:
            raise InputError("layers", expected="at least 1", got=f"{self.layers}", do="raise it")
        self.check(dim, context)
        stack = _stack(self, dim, context, key)
        return Discrete(stack, numerical=self.abilities.to_base == "numerical inverse")

    def check(self, dim: int, context: int) -> None:
        """`InputError` where the layers cannot do so many variables."""

    @abstractmethod
    def layer(self, dim: int, context: int, key: Any) -> Any:
        """One layer, a flowjax bijection from base to data."""

    def around(self, stack: Any, dim: int) -> Any:
        """What stands around the layers; here nothing."""
        return stack


@eqx.filter_jit
def _stack(architecture: Stacked, dim: int, context: int, key: Any) -> Any:
    """One program for all the random numbers, whatever the depth."""
    from flowjax.bijections import Scan

    keys = jax.random.split(key, architecture.layers)
    layers = eqx.filter_vmap(lambda key: architecture.layer(dim, context, key))(keys)
    return architecture.around(Scan(layers), dim)


@dataclass(frozen=True, repr=False)
class Planar(Stacked):
    """``z + u tanh(w^T z + b)``, layer by layer (Rezende and Mohamed 2015, equation 10).

    Samples and their density cost one pass. A row's density goes through the root of one scalar
    equation per layer, found to the precision of the type, with implicit gradients; for training
    on data take ``Inverse(Planar())``.
    """

    layers: int = 32
    abilities: ClassVar[Abilities] = _NUMERICAL

    def layer(self, dim: int, context: int, key: Any) -> Any:
        from . import bijections

        return bijections.Planar(dim, context=context, key=key)


@dataclass(frozen=True, repr=False)
class Radial(Stacked):
    """``z + c (z - centre) / (a + |z - centre|)`` (Rezende and Mohamed 2015, equation 14).

    Its inverse is usually said to have no closed form; along the ray from the centre it is the
    root of a quadratic equation, so both directions are exact in one pass.
    """

    layers: int = 32
    abilities: ClassVar[Abilities] = _BOTH

    def layer(self, dim: int, context: int, key: Any) -> Any:
        from . import bijections

        return bijections.Radial(dim, context=context, key=key)


@dataclass(frozen=True, repr=False)
class Sylvester(Stacked):
    """``z + Q R1 tanh(R2 Q^T z + b)``, several planar units a layer (van den Berg et al. 2018).

    Q is a product of Householder reflections. A row's density goes through `units` scalar
    equations per layer, one after another (both R are triangular), with implicit gradients.

    Args:
        units: columns of Q; None: as many as there are variables, at most 16.
    """

    layers: int = 8
    units: int | None = None
    abilities: ClassVar[Abilities] = _NUMERICAL

    def check(self, dim: int, context: int) -> None:
        if self.units is not None and not 1 <= self.units <= dim:
            raise InputError(
                "units", expected=f"1 to {dim}, the number of variables: columns of Q are "
                "orthonormal", got=f"{self.units}", do="lower it, or leave it out",
            )  # fmt: skip

    def layer(self, dim: int, context: int, key: Any) -> Any:
        from . import bijections

        units = self.units or min(dim, 16)
        return bijections.Sylvester(dim, units=units, context=context, key=key)


@dataclass(frozen=True, repr=False)
class _Networked(Stacked):
    """Layers whose numbers come from a network of the other variables."""

    width: int = 64
    depth: int = 2
    activation: str = "tanh"

    def check(self, dim: int, context: int) -> None:
        activation(self.activation)
        if dim < 2:
            raise InputError(
                "dim", expected=f"at least two variables for {type(self).__name__}, whose layers "
                "move one by another", got=f"{dim}", do="use FFJORD() or Sylvester()",
            )  # fmt: skip

    def around(self, stack: Any, dim: int) -> Any:
        """After an odd number of reversals one more: the flow begins at the identity."""
        return _flipped(stack) if self.layers % 2 else stack

    @property
    def _net(self) -> dict[str, Any]:
        return {"width": self.width, "depth": self.depth, "activation": self.activation}


@dataclass(frozen=True, repr=False)
class NICE(_Networked):
    """Additive couplings that keep the volume, then one diagonal map (Dinh et al. 2015)."""

    abilities: ClassVar[Abilities] = _BOTH

    def layer(self, dim: int, context: int, key: Any) -> Any:
        from . import bijections

        step = bijections.coupling(dim, transformer="shift", context=context, key=key, **self._net)
        return _flipped(step)

    def around(self, stack: Any, dim: int) -> Any:
        from flowjax.bijections import Chain

        from . import bijections

        last = bijections.Diagonal(jnp.zeros(dim), jnp.zeros(dim))
        return Chain([super().around(stack, dim), last])


@dataclass(frozen=True, repr=False)
class RealNVP(_Networked):
    """Affine couplings of alternating halves (Dinh et al. 2017)."""

    abilities: ClassVar[Abilities] = _BOTH

    def layer(self, dim: int, context: int, key: Any) -> Any:
        from . import bijections

        return _flipped(bijections.coupling(dim, context=context, key=key, **self._net))


@dataclass(frozen=True, repr=False)
class Glow(_Networked):
    """Actnorm, an invertible linear map by its LU factors, affine coupling; for vectors.

    Kingma and Dhariwal 2018, table 1. The permutation of ``W = P L U`` is the reversal.
    """

    abilities: ClassVar[Abilities] = _BOTH

    def layer(self, dim: int, context: int, key: Any) -> Any:
        from . import bijections

        norm = bijections.Diagonal(jnp.zeros(dim), jnp.zeros(dim))
        step = bijections.coupling(dim, context=context, key=key, **self._net)
        return _flipped(norm, bijections.LULinear(dim), step)


@dataclass(frozen=True, repr=False)
class MAF(_Networked):
    """Masked autoregressive flow (Papamakarios et al. 2017): densities in one pass, samples in D.

    Every layer reverses the order of the variables.
    """

    layers: int = 5
    abilities: ClassVar[Abilities] = Abilities("one pass", "D passes")

    def layer(self, dim: int, context: int, key: Any) -> Any:
        from . import bijections

        return _flipped(bijections.autoregressive(dim, context=context, key=key, **self._net))

    def around(self, stack: Any, dim: int) -> Any:
        from flowjax.bijections import Invert

        return Invert(super().around(stack, dim))


@dataclass(frozen=True, repr=False)
class IAF(_Networked):
    """Inverse autoregressive flow (Kingma et al. 2016): samples in one pass, densities in D."""

    layers: int = 5
    abilities: ClassVar[Abilities] = Abilities("D passes", "one pass")

    def layer(self, dim: int, context: int, key: Any) -> Any:
        from . import bijections

        return _flipped(bijections.autoregressive(dim, context=context, key=key, **self._net))


def _flipped(*steps: Any) -> Any:
    """The steps, then the variables in reverse order."""
    from flowjax.bijections import Chain, Flip

    return Chain([*steps, Flip(steps[0].shape)])
