"""One interface for every flow: a row goes to the base or to the data, and says at what price.

The base of every flow is the standard normal. One row in, `jax.vmap` outside. A flow is built by an
`Architecture`, a frozen description that compares, prints and saves, whose `Abilities` say what it
can do; flows are Equinox modules, so that `fit` trains any of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ..described import Described

Price = Literal["one pass", "D passes", "ODE solve", "numerical inverse"]
"""What one row costs in a direction. A numerical inverse is exact to its tolerance only."""


class Moved(NamedTuple):
    """Where a flow takes one row, and what it cost.

    `log_det` is ``log |det dy/dx|`` of the move that was made. `kinetic` is the integral of
    ``|f|^2`` and `jacobian` an estimate of that of ``|df/dx|_F^2`` over a continuous flow's path
    (zero elsewhere, and where not asked for); `nfe` counts evaluations of its field; `ok` is false
    where a solve or an inverse gave up.
    """

    y: Float[Array, " dim"]
    log_det: Float[Array, ""]
    kinetic: Any = 0.0
    jacobian: Any = 0.0
    nfe: Any = 0
    ok: Bool[Array, ""] | bool = True


class Flow(eqx.Module):
    """A change of variables between a standard normal base and the data.

    ``log p(x) = log N(z; 0, I) + log |det dz/dx|`` with ``z = to_base(x)``.
    """

    dim: eqx.AbstractVar[int]
    context: eqx.AbstractVar[int]

    @abstractmethod
    def to_base(self, x: Any, context: Any = None, *, key: PRNGKeyArray | None = None) -> Moved:
        """One row (dim,) of data to the base, given a context (context,) where the flow has one.

        `key` is for flows whose log-determinant is estimated by noise.
        """

    @abstractmethod
    def to_data(self, z: Any, context: Any = None, *, key: PRNGKeyArray | None = None) -> Moved:
        """One row (dim,) of the base to the data; the inverse of `to_base`."""


_WORDS = {
    ("numerical inverse", "one pass"): "The density of given rows goes through a numerical "
    "inverse, exact to its tolerance and slower than sampling; Inverse(...) exchanges the two.",
    ("one pass", "numerical inverse"): "Samples go through a numerical inverse, exact to its "
    "tolerance and slower than densities; Inverse(...) exchanges the two.",
    ("one pass", "D passes"): "Samples take one pass per variable, densities a single one.",
    ("D passes", "one pass"): "The density of given rows takes one pass per variable, samples a "
    "single one.",
}


@dataclass(frozen=True)
class Abilities:
    """What a family of flows can do (Grathwohl et al. 2019, table 1)."""

    to_base: Price
    to_data: Price
    free_form: bool = False

    @property
    def trains_from_data(self) -> bool:
        """Whether the density of given rows is exact, so that likelihood can train it."""
        return self.to_base != "numerical inverse"

    @property
    def one_pass_sampling(self) -> bool:
        """Whether a sample costs one pass (or one solve), whatever the dimension."""
        return self.to_data in ("one pass", "ODE solve")

    @property
    def exact_density(self) -> bool:
        """Whether its samples come with their exact density: true for every flow."""
        return True

    def words(self) -> str:
        """What a user should know before asking, one sentence; empty where both ways are cheap.

        >>> Abilities("one pass", "D passes").words()
        'Samples take one pass per variable, densities a single one.'
        """
        return _WORDS.get((self.to_base, self.to_data), "")


@dataclass(frozen=True, repr=False)
class Architecture(Described, ABC):
    """A flow before it is built: hyperparameters only; compares, prints and saves by its fields.

    `whiten` says whether rows may be whitened first; `dequantise` that they are whole numbers
    (grey levels), which need uniform noise in [0, 1) added, in training and in evaluation.
    """

    abilities: ClassVar[Abilities]
    whiten: ClassVar[bool] = True
    dequantise: ClassVar[bool] = False

    @abstractmethod
    def build(self, dim: int, *, context: int = 0, key: PRNGKeyArray) -> Flow:
        """A flow of `dim` variables, near the identity, for rows of `context` known numbers."""


def base_log_prob(z: Float[Array, " dim"]) -> Float[Array, ""]:
    """``log N(z; 0, I)``."""
    return -0.5 * jnp.sum(z**2, axis=-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)


def log_prob(flow: Flow, x: Any, context: Any = None, *, key: Any = None) -> Float[Array, ""]:
    """``log p(x)`` of one row, in nats; `jax.vmap` outside."""
    moved = flow.to_base(x, context, key=key)
    return base_log_prob(moved.y) + moved.log_det


def sample(
    flow: Flow, z: Any, context: Any = None, *, key: Any = None
) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
    """The data of one row of the base and its ``log p``, in one pass where the flow has one."""
    moved = flow.to_data(z, context, key=key)
    return moved.y, base_log_prob(jnp.asarray(z)) - moved.log_det


class Inverted(Flow):
    """The same map with data and base exchanged: an IAF is an inverted MAF.

    ``Inverted(planar)`` gives exact densities of data and samples through a numerical inverse.
    """

    flow: Flow
    dim: int = eqx.field(static=True)
    context: int = eqx.field(static=True)

    def __init__(self, flow: Flow):
        self.flow, self.dim, self.context = flow, flow.dim, flow.context

    def to_base(self, x: Any, context: Any = None, *, key: Any = None) -> Moved:
        return self.flow.to_data(x, context, key=key)

    def to_data(self, z: Any, context: Any = None, *, key: Any = None) -> Moved:
        return self.flow.to_base(z, context, key=key)


def rows(move: Any, x: Any, context: Any = None, key: Any = None) -> Moved:
    """``move`` (a flow's `to_base` or `to_data`) on every row of `x`, each with its own noise."""
    keys = None if key is None else jax.random.split(key, len(x))
    axes = (0, None if context is None else 0, None if keys is None else 0)
    return jax.vmap(lambda x, c, k: move(x, c, key=k), in_axes=axes)(x, context, keys)
