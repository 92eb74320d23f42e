"""Autoregressive networks by masks (Germain et al. 2015)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..fields import Linear, activation


class MaskedMLP(eqx.Module):
    """``R^(dim + context) -> R^(dim * outputs)``: the outputs of variable i see those before it.

    A context is seen by all. The outputs of one variable stand together. With two outputs, a shift
    and a log scale, it is one step of a MAF or an IAF:

    >>> import jax, jax.numpy as jnp
    >>> net = MaskedMLP(3, outputs=2, width=16, depth=2, key=jax.random.key(0))
    >>> shift, log_scale = net(jnp.ones(3)).reshape(3, 2).T
    """

    layers: tuple[Linear, ...]
    dim: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self, dim: int, *, outputs: int, width: int, depth: int, context: int = 0,
        activation: str = "tanh", last_scale: float = 1.0, key: Any,
    ):  # fmt: skip
        if dim == 1 and not context:
            raise InputError(
                "dim", expected="at least two variables, or a context",
                got="one variable, which an autoregressive network has nothing to tell from",
                do="use FFJORD() or Sylvester()",
            )  # fmt: skip
        sizes = (dim + context, *(width,) * depth, dim * outputs)
        keys = jax.random.split(key, len(sizes) - 1)
        scales = [1.0] * (len(sizes) - 2) + [last_scale]
        self.layers = tuple(
            Linear(a, b, key=k, scale=s)
            for a, b, k, s in zip(sizes[:-1], sizes[1:], keys, scales, strict=True)
        )
        self.dim, self.outputs, self.activation = dim, outputs, activation

    def __call__(self, x: Float[Array, " dim_and_context"]) -> Float[Array, " dim_outputs"]:
        act = activation(self.activation)
        masks = self._masks()
        for i, (layer, mask) in enumerate(zip(self.layers, masks, strict=True)):
            x = jnp.where(mask, layer.weight, 0) @ x + layer.bias
            x = act(x) if i < len(masks) - 1 else x
        return x

    def _masks(self) -> list[np.ndarray]:
        """Who may see whom: constants of the program, nothing to store."""
        dim, context = self.dim, self.layers[0].weight.shape[-1] - self.dim
        ranks = [np.r_[np.arange(dim), np.full(context, -1)]]
        for layer in self.layers[:-1]:
            # A hidden unit of rank r sees inputs up to r; rank -1 sees the context alone.
            units = np.arange(layer.weight.shape[-2])
            ranks.append(units % dim - 1 if context else units % (dim - 1))
        hidden = [b[:, None] >= a for a, b in pairwise(ranks)]
        out = np.repeat(np.arange(dim), self.outputs)
        return [*hidden, out[:, None] > ranks[-1]]
