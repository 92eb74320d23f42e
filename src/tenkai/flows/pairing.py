"""Which row of the base goes with which row of the data: optimal transport within a batch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_GROUP = 128  # rows that are paired with one another
_ROUNDS = 20
_BLUR = 0.02  # entropy, as a share of the mean squared distance
_SMALLEST = 1e-30


def paired(x: Float[Array, "rows dim"], z: Float[Array, "rows dim"], key: Any) -> Array:
    """For every row of `x` one row of `z`, drawn from the entropic optimal coupling of the two.

    Straight paths between pairs hardly cross, so a field that is matched to them bends little and
    is cheap to solve (Tong et al. 2024; Pooladian et al. 2023). Sinkhorn's algorithm (Cuturi 2013)
    in groups of 128 rows; each row of `z` is drawn about once.

    >>> import jax
    >>> x = jax.numpy.array([[0.0], [10.0]])
    >>> paired(x, x[::-1], jax.random.key(0))[:, 0].tolist()
    [0.0, 10.0]
    """
    count = max(1, len(x) // _GROUP)
    if len(x) % count:
        count = 1
    first, second = (a.reshape(count, -1, a.shape[-1]) for a in (x, z))
    drawn = jax.vmap(_one_group)(first, second, jax.random.split(key, count))
    return drawn.reshape(z.shape)


def _one_group(x: Array, z: Array, key: Any) -> Array:
    cost = jnp.sum((x[:, None] - z[None]) ** 2, axis=-1)
    cost = cost / (_BLUR * jnp.maximum(jnp.mean(cost), _SMALLEST))
    # Every row's nearest partner at 1, so that nothing underflows where it matters.
    kernel = jnp.exp(jnp.min(cost, axis=1, keepdims=True) - cost)

    def turn(v: Array, _: Any) -> tuple[Array, None]:
        u = 1 / jnp.maximum(kernel @ v, _SMALLEST)
        return 1 / jnp.maximum(kernel.T @ u, _SMALLEST), None

    v, _ = jax.lax.scan(turn, jnp.ones(len(z), z.dtype), length=_ROUNDS)
    shares = kernel * v
    picked = jax.random.categorical(key, jnp.log(shares + _SMALLEST))
    return z[picked]
