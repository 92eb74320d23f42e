"""An iterative algorithm over a batch of problems: the recurrence with numbers for each layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from ..errors import InputError
from ..unfold import Memory, Store, unfold


class Layer(NamedTuple):
    """What one iteration reads: ``x[k] = (p[k], y, k)``."""

    p: PyTree  # the parameters of this layer
    y: PyTree  # the inputs of the problem, one item
    k: Any  # () which layer this is, from 0


class Iteration(eqx.Module):
    """``s[0] = init(y)``, ``s[k+1] = step(s[k], Layer)``, estimate ``read(s)``; one item each.

    Arrays in the three (they may be Equinox modules) are fixed: layers' parameters are learned.
    """

    step: Callable[[Any, Layer], Any]
    init: Callable[[Any], Any]
    read: Callable[[Any], Any]


def run(
    iteration: Iteration,
    parameters: PyTree,
    inputs: PyTree,
    layers: int,
    *,
    active: Any = None,
    keep: bool = False,
    memory: Memory = Store(),
) -> Any:
    """Estimates of a batch after `layers` iterations; with `keep` before and after every one.

    `parameters` have a leading axis of their period; layer k reads number ``k mod period``. Layers
    from `active` on (traced) leave the state alone and cost nothing: one program trains all depths.
    """

    def one(s: PyTree, layer: tuple[PyTree, Any]) -> PyTree:
        p, k = layer

        def move(s: PyTree) -> PyTree:
            return jax.vmap(lambda s, y: iteration.step(s, Layer(p, y, k)))(s, inputs)

        return move(s) if active is None else lax.cond(k < active, move, lambda s: s, s)

    k = jnp.arange(layers)
    each = lambda v: v if v.shape[0] == layers else v[k % v.shape[0]]  # noqa: E731
    xs = (jax.tree.map(each, parameters), k)
    read = jax.vmap(iteration.read)
    start = jax.vmap(iteration.init)(inputs)
    end, kept = unfold(one, start, xs, keep=read if keep else lambda s: None, memory=memory)
    if not keep:
        return read(end)
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), read(start), kept)


def squared_error(estimate: Any, target: Any) -> Any:
    """``|estimate - target|^2`` of one item, summed over its entries (complex ones too)."""
    if jnp.shape(estimate) != jnp.shape(target):  # broadcasting would learn something else
        raise InputError(
            "target", expected=f"the shape of the estimate, {jnp.shape(estimate)}",
            got=f"shape {jnp.shape(target)}", do="return a target like it, or pass loss= and read=",
        )  # fmt: skip
    return jnp.sum(jnp.abs(estimate - target) ** 2)
