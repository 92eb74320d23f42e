"""How many bytes a gradient takes, as the compiler allotted them."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .network import Design, build


def gradient_bytes(design: Design, rows: int = 128) -> int:
    """Temporary memory of one gradient of the body's end, `rows` rows together.

    Of the body alone: stem and head cost the same at any depth. Read from the compiled program;
    nothing runs.
    """
    network = eqx.filter_eval_shape(lambda: build(design, key=jax.random.key(0)))
    x = jax.ShapeDtypeStruct((rows, *design.shape), jnp.float32)
    h = eqx.filter_eval_shape(lambda net, x: jax.vmap(net.start)(x), network, x)
    params, static = eqx.partition(network.body, lambda v: isinstance(v, jax.ShapeDtypeStruct))

    def loss(params: Any, h: Any) -> Any:
        return jnp.sum(eqx.combine(params, static).end(h).state ** 2)

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(params, h).compile()
    sizes: Any = compiled.memory_analysis()
    return int(sizes.temp_size_in_bytes)
