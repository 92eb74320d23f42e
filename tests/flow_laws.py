"""What tests of flows share: drawn parameters, programs that are quick to compile."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.ShapeDtypeStruct((2,), np.uint32)


def randomised(architecture: Any, dim: int, context: int = 0, seed: int = 0) -> Any:
    """The flow with every parameter drawn anew: far from the identity."""
    shapes = eqx.filter_eval_shape(
        lambda key: architecture.build(dim, context=context, key=key), KEY
    )
    return drawn(shapes, np.random.default_rng(seed))


def drawn(shapes: Any, rng: np.random.Generator) -> Any:
    """Numbers for shapes; there is nothing to compile."""

    def draw(leaf: Any) -> Any:
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        if leaf.ndim == 0:  # the end time of a continuous flow
            return np.ones((), np.float64)
        return rng.normal(size=leaf.shape) / (leaf.shape[-1] if leaf.ndim > 1 else 2) ** 0.5

    return jax.tree.map(draw, shapes)


def wide(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if eqx.is_array(x) else x, tree)


def compiled(function: Any, flow: Any) -> Any:
    """`function` for flows like this one; half of XLA's time goes into what tests do not need."""
    rest = eqx.partition(flow, eqx.is_array)[1]

    def on_arrays(arrays: Any, *args: Any) -> Any:
        return function(eqx.combine(arrays, rest), *args)

    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    program = jax.jit(on_arrays, compiler_options=options)

    def run(flow: Any, *args: Any) -> Any:
        return jax.tree.map(np.asarray, program(eqx.filter(flow, eqx.is_array), *args))

    return run
