"""Flows around other flows: any flowjax bijection, and a flow with base and data exchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..errors import InputError
from .flow import Abilities, Architecture, Flow, Inverted, Moved

_ONE_PASS = Abilities("one pass", "one pass")


class Discrete(Flow):
    """A flow around any flowjax bijection of vectors: base to data is its `transform`.

    Args:
        bijection: of shape (dim,), conditional on nothing or on a vector.
        numerical: whether its inverse is iterative. Then what `to_base` found is checked by going
            back, and `Moved.ok` says whether that leads to x within the square root of the
            precision.

    Raises `InputError` for another shape.

    >>> import jax.numpy as jnp
    >>> from flowjax.bijections import Affine
    >>> Discrete(Affine(jnp.zeros(2), 2 * jnp.ones(2))).to_data(jnp.ones(2)).y.tolist()
    [2.0, 2.0]
    """

    bijection: Any
    dim: int = eqx.field(static=True)
    context: int = eqx.field(static=True)
    numerical: bool = eqx.field(static=True)

    def __init__(self, bijection: Any, *, numerical: bool = False):
        shape, condition = bijection.shape, bijection.cond_shape
        if len(shape) != 1 or (condition is not None and len(condition) != 1):
            raise InputError(
                "bijection", expected="shape (dim,), and no condition or a vector",
                got=f"shape {shape}, condition {condition}",
                do="ravel it with flowjax.bijections.Reshape",
            )  # fmt: skip
        self.bijection, self.numerical = bijection, numerical
        self.dim, self.context = shape[0], 0 if condition is None else condition[0]

    def to_data(self, z: Any, context: Any = None, *, key: Any = None) -> Moved:
        return Moved(*self.bijection.transform_and_log_det(*self._row(z, context)))

    def to_base(self, x: Any, context: Any = None, *, key: Any = None) -> Moved:
        x, context = self._row(x, context)
        z, log_det = self.bijection.inverse_and_log_det(x, context)
        if not self.numerical:
            return Moved(z, log_det)
        fixed = jax.lax.stop_gradient
        arrays, rest = eqx.partition(self.bijection, eqx.is_array)
        back, _ = eqx.combine(fixed(arrays), rest).transform_and_log_det(fixed(z), context)
        small = jnp.finfo(x.dtype).eps ** 0.5 * (1 + jnp.max(jnp.abs(x)))
        return Moved(z, log_det, ok=jnp.max(jnp.abs(back - fixed(x))) <= small)

    def _row(self, x: Any, context: Any) -> tuple[Array, Any]:
        """In the precision of the parameters, if that is higher: a scan wants one type."""
        leaves = jax.tree.leaves(eqx.filter(self.bijection, eqx.is_inexact_array))
        return jnp.asarray(x, jnp.result_type(x, *leaves)), context if self.context else None


@dataclass(frozen=True, repr=False)
class Inverse(Architecture):
    """Another architecture with base and data exchanged, and its abilities with them.

    ``Inverse(Planar())`` has exact densities of data in one pass, so that likelihood trains it as
    Chen et al. (2018, section 4.2) did; its samples go through the numerical inverse.
    """

    architecture: Architecture

    @property
    def abilities(self) -> Abilities:  # type: ignore[override]
        can = self.architecture.abilities
        return Abilities(can.to_data, can.to_base, can.free_form)

    def build(self, dim: int, *, context: int = 0, key: Any) -> Inverted:
        return Inverted(self.architecture.build(dim, context=context, key=key))


@dataclass(frozen=True, repr=False)
class Flowjax(Architecture):
    """Any bijection or flow of flowjax, made by ``make(key, dim, context)``.

    Base to data is the bijection's `transform`, as in flowjax; `can` says what each way costs (for
    the notes, and so that a numerical inverse is checked). A flow of flowjax's is taken for its
    bijection.

    >>> import jax
    >>> from flowjax.flows import coupling_flow
    >>> from flowjax.distributions import Normal
    >>> def make(key, dim, context):
    ...     base = Normal(jax.numpy.zeros(dim))
    ...     return coupling_flow(key, base_dist=base, cond_dim=context or None, flow_layers=2)
    >>> flow = Flowjax(make).build(3, key=jax.random.key(0))
    """

    make: Callable[[Any, int, int], Any]
    can: Abilities = _ONE_PASS

    @property
    def abilities(self) -> Abilities:  # type: ignore[override]
        return self.can

    def build(self, dim: int, *, context: int = 0, key: Any) -> Discrete:
        made = self.make(key, dim, context)
        flow = Discrete(
            getattr(made, "bijection", made) if hasattr(made, "base_dist") else made,
            numerical=self.can.to_base == "numerical inverse",
        )
        if (flow.dim, flow.context) != (dim, context):
            raise InputError(
                "make", expected=f"{dim} variables and a context of {context}",
                got=f"{flow.dim} and {flow.context}", do="use its arguments dim and context",
            )  # fmt: skip
        return flow
