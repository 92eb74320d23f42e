"""What an image flow is worth on images: bits per dimension with their standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .pixels import bits_per_dim, read_images
from .scales import ImageFlow
from .training import in_blocks


@dataclass(frozen=True)
class Bits:
    """Bits per dimension of images, over `draws` draws of the uniform noise each.

    `mean` is the bound with its standard error over images; `weighted` the tighter bound that
    averages densities instead of their logarithms (Burda et al. 2016). `nfe` is the mean of
    evaluations per image and `solved` the share of images whose solves ended.
    """

    mean: float
    error: float
    weighted: float
    nfe: float
    solved: float
    images: int
    draws: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.error:.3f} bits/dim"


@eqx.filter_jit
def _moved(flow: ImageFlow, x: Any, key: Any, block: int) -> tuple[Any, Any, Any]:
    return in_blocks(flow, x, key, block)


def evaluate(flow: ImageFlow, x: Any, *, draws: int = 1, seed: int = 0, block: int = 100) -> Bits:
    """Bits per dimension of rows of whole grey levels, `block` images at a time.

    By the flow's own solver and divergence: ``evaluate(flow.with_tolerance(1e-5), x)`` is the
    adaptive one. Where the divergence is estimated, its noise is part of the standard error.

    >>> import jax, numpy as np
    >>> from tenkai.flows import ConvGlow
    >>> x = np.random.default_rng(0).integers(0, 16, (20, 16))
    >>> flow = ConvGlow((4, 4, 1), scales=1, steps=1, channels=4, levels=16)
    >>> evaluate(flow.build(16, key=jax.random.key(0)).started(x), x).images
    20
    """
    x = read_images(x, flow.dim, flow.logit.levels)
    noise = np.random.default_rng(seed).uniform(size=(draws, *x.shape))
    dtype = flow.logit.shift.dtype
    filled = jnp.asarray((x + noise).reshape(-1, flow.dim), dtype)
    key = jax.random.key(seed)
    logs, nfe, ok = (np.asarray(v) for v in _moved(flow, filled, key, block))
    logs = logs.reshape(draws, len(x)).astype(np.float64)
    each = bits_per_dim(logs.mean(axis=0), flow.dim)
    together = np.logaddexp.reduce(logs, axis=0) - math.log(draws)
    return Bits(
        float(each.mean()), float(each.std(ddof=1) / math.sqrt(len(x))) if len(x) > 1 else math.nan,
        float(np.mean(bits_per_dim(together, flow.dim))), float(nfe.mean()), float(ok.mean()),
        len(x), draws,
    )  # fmt: skip


def draw_images(flow: ImageFlow, count: int, *, seed: int = 0) -> np.ndarray:
    """Samples as whole grey levels, (count, h, w, c)."""
    return np.asarray(_drawn(flow, jax.random.key(seed), count)).reshape(count, *flow.shape)


@eqx.filter_jit
def _drawn(flow: ImageFlow, key: Any, count: int) -> Any:
    base, estimate = jax.random.split(key)
    z = jax.random.normal(base, (count, flow.dim), flow.logit.shift.dtype)
    keys = jax.random.split(estimate, count)
    x = jax.vmap(lambda z, k: flow.to_data(z, key=k).y)(z, keys)
    return jnp.clip(jnp.floor(x), 0, flow.logit.levels - 1).astype(jnp.int32)
