"""Fields that are partly known: a user's equation in trained units, or beside a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..data import Scaler
from .trajectory import RawField, ScaledField, SecondOrderField

MOST_NUMBERS = 64  # of an equation; what has more is a network


class Relative(eqx.Module):
    """A field whose numbers are stored in units of their first guesses.

    An optimiser then moves a rate of 1e-4 as it moves one of 100. `units` are the guesses' sizes,
    one array per parameter array in the order of `jax.tree.leaves`; they are not learned.
    """

    field: Callable
    units: tuple[Any, ...]

    @classmethod
    def of(cls, field: Callable) -> Relative:
        """`field` seen from its own numbers; a zero gets the size of its array, or one."""
        units = tuple(map(_size, jax.tree.leaves(eqx.filter(field, eqx.is_inexact_array))))
        return cls(_times(field, tuple(1 / s for s in units)), units)

    def plain(self) -> Callable:
        """The field in its own units; also of stacked members."""
        return _times(self.field, self.units)

    def __call__(self, t: Any, y: Float[Array, " dim"], u: Any = None) -> Array:
        return _times(self.field, jax.lax.stop_gradient(self.units))(t, y, u)


def few(field: Callable, members: int = 1) -> bool:
    """Whether the numbers of a field, perhaps of stacked members, are an equation's."""
    numbers = jax.tree.leaves(eqx.filter(field, eqx.is_inexact_array))
    return sum(np.size(a) for a in numbers) <= MOST_NUMBERS * members


def _size(a: Any) -> np.ndarray:
    a = np.abs(np.asarray(a, float))
    whole = np.sqrt(np.mean(a**2)) if a.size else 1.0
    return np.where(a > 0, a, whole if whole > 0 else 1.0)


def _times(field: Callable, factors: tuple) -> Callable:
    numbers, rest = eqx.partition(field, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(numbers)
    scaled = [a * s for a, s in zip(leaves, factors, strict=True)]
    return eqx.combine(jax.tree.unflatten(tree, scaled), rest)


class Residual(eqx.Module):
    """``dz/dtau = known(tau, z, u) + slope * net(tau, z, u)``: an equation plus a network.

    The network's last layer starts at zero, so training starts at the equation. Both parts are in
    standardised units (`RawField` and `ScaledField`).
    """

    known: RawField
    network: ScaledField | SecondOrderField

    def __call__(self, t: Any, z: Float[Array, " dim"], u: Any = None) -> Float[Array, " dim"]:
        return self.known(t, z, u) + self.network(t, z, u)


def equation(field: Any) -> RawField | None:
    """The user's part of a model's field; None of a network alone."""
    field = field.known if isinstance(field, Residual) else field
    return field if isinstance(field, RawField) else None


def users(field: Any) -> Any:
    """The user's own field inside a model's."""
    return field.known.field if isinstance(field, Residual) else field.field


def scaling(field: Any) -> Scaler:
    """How the state of a model with a user's field is scaled."""
    return field.known.state if isinstance(field, Residual) else field.state


def relative(fields: PyTree, members: int) -> PyTree:
    """The fields of stacked models with the user's few numbers in units of themselves."""
    raw = equation(fields)
    if raw is None or not few(raw.field, members):
        return fields
    return eqx.tree_at(users, fields, Relative.of(raw.field))


def plain(fields: PyTree) -> PyTree:
    """The fields of stacked models with the user's numbers in their own units."""
    raw = equation(fields)
    if raw is None or not isinstance(raw.field, Relative):
        return fields
    return eqx.tree_at(users, fields, raw.field.plain())


@eqx.filter_jit
def shares(
    fields: PyTree, t: Float[Array, " n"], z: Float[Array, "members n dim"], u: Any, weight: Any
) -> Float[Array, "members dim"]:
    """``|network| / (|known| + |network|)``, means of absolute values weighed over the points."""

    def one(field: Residual, z: Array) -> Array:
        parts = [jax.vmap(part)(t, z, u) for part in (field.known, field.network)]
        known, network = (weight @ jnp.abs(part) for part in parts)
        return network / jnp.maximum(known + network, jnp.finfo(network.dtype).tiny)

    return eqx.filter_vmap(one, in_axes=(eqx.if_array(0), 0))(fields, z)
