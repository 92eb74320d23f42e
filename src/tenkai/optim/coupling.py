"""Whether a rule treats arrays one by one, found out by tracing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.extend.core import Jaxpr, Literal

from .layout import Layout

Marks = frozenset[int]


def separable(rule: optax.GradientTransformation, layout: Layout, arrays: Sequence[Any]) -> bool:
    """Whether no array's update depends on another array.

    Then every array has a state of its own. It has not where arrays are coupled (a global norm, a
    line search), where the state holds random bits (equal ones would give every array the same
    noise), or where the rule needs the whole tree (a mask in the shape of the model).
    """
    shapes = [jax.ShapeDtypeStruct(jnp.shape(x), x.dtype) for x in arrays]
    rule = optax.with_extra_args_support(rule)
    try:
        for i in range(len(shapes)):
            alone = layout.tree([x if j == i else None for j, x in enumerate(shapes)])
            state = jax.eval_shape(rule.init, alone)
            if any(_random(x) for x in jax.tree.leaves(state)):
                return False
            jax.eval_shape(rule.update, alone, state, alone)
        return len(shapes) == 1 or not _coupled(rule, layout, shapes)
    except Exception:  # whatever a rule does with a part of a tree, it does not do it one by one
        return False


def _random(x: Any) -> bool:
    unsigned = jnp.issubdtype(x.dtype, jnp.unsignedinteger)
    return unsigned or jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _coupled(
    rule: optax.GradientTransformationExtraArgs, layout: Layout, shapes: Sequence[Any]
) -> bool:
    tree = layout.tree(shapes)
    own = [frozenset({i}) for i in range(len(shapes))]
    # The tree lists variables by the place of their first leaf, as `layout.variables` does.
    init, state = jax.make_jaxpr(rule.init, return_shape=True)(tree)
    step = jax.make_jaxpr(rule.update)(tree, state, tree)
    marks = _flow(init.jaxpr, own)
    for _ in range(len(marks) + 1):  # until what flows round the steps has settled
        out = _flow(step.jaxpr, [*own, *marks, *own])
        if any(len(m) > 1 for m in out):
            return True
        grown = [a | b for a, b in zip(marks, out[len(own) :], strict=True)]
        if grown == marks:
            return False
        marks = grown
    return True


def _flow(jaxpr: Jaxpr, marks: Sequence[Marks]) -> list[Marks]:
    """The inputs' marks on the outputs; a nested program is one operation."""
    seen: dict[Any, Marks] = dict(zip(jaxpr.invars, marks, strict=True))

    def of(x: Any) -> Marks:
        return frozenset() if isinstance(x, Literal) else seen.get(x, frozenset())

    for equation in jaxpr.eqns:
        inputs = frozenset().union(*(of(x) for x in equation.invars))
        seen.update(dict.fromkeys(equation.outvars, inputs))
    return [of(x) for x in jaxpr.outvars]
