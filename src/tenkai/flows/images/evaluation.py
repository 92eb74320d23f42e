"""What an image flow is worth on images: bits per dimension with their standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from ..continuous import Adaptive
from ..evaluation import Evaluation, Tolerance, Way, log_density_of
from .pixels import bits_per_dim, read_images
from .scales import ImageFlow

_TOGETHER = 100  # images that move at once


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


@dataclass(frozen=True, eq=False)
class Draws:
    """``log p(x + u)`` in nats of images, for every draw of the noise u; what the solves took."""

    logs: Float[np.ndarray, "draws images"]
    nfe: Float[np.ndarray, "draws images"]
    ok: Bool[np.ndarray, "draws images"]


def log_densities(
    flow: ImageFlow, x: Float[Any, "images dim"], *, draws: int = 1, seed: int = 0,
    block: int = _TOGETHER, tolerance: Tolerance | None = None,
) -> Draws:  # fmt: skip
    """The log density of images of whole grey levels under `draws` draws of the uniform noise."""
    filled = dequantised(x, draws, seed)
    found = carried(flow, "to_base", filled, seed=seed, block=block, tolerance=tolerance)
    parts = (log_density_of(found), found.nfe, found.ok)
    return Draws(*(part.reshape(draws, len(x)) for part in parts))


def dequantised(x: Float[Any, "images dim"], draws: int, seed: int) -> np.ndarray:
    """Whole grey levels plus uniform noise, (draws * images, dim), one draw behind the other."""
    noise = np.random.default_rng(seed).uniform(size=(draws, *np.shape(x)))
    return (np.asarray(x) + noise).reshape(-1, noise.shape[-1])


def carried(
    flow: ImageFlow, way: Way, x: Float[np.ndarray, "rows dim"], *, seed: int = 0,
    block: int = _TOGETHER, tolerance: Tolerance | None = None,
) -> Evaluation:  # fmt: skip
    """Rows of pixels to the base, or back; by the flow's own solver unless within a `tolerance`.

    They go through the program `block` at a time, the last ones filled up with copies, so that any
    number of rows shares it.
    """
    x, parts = np.asarray(x, flow.logit.shift.dtype), []
    limits, most = (None, 0) if tolerance is None else (np.array(tolerance[:2]), tolerance[2])
    for i in range(0, len(x), block):
        few = x[i : i + block]
        few = np.concatenate([few, np.broadcast_to(few[:1], (block - len(few), flow.dim))])
        counters = np.uint32(seed), np.uint32(i)
        parts.append(jax.device_get(_moved(flow, way, limits, most, few, *counters)))
    y, log_det, nfe, ok = (np.concatenate(p)[: len(x)] for p in zip(*parts, strict=True))
    finite = np.isfinite(y).all(1) & np.isfinite(log_det)
    y, log_det = y.astype(float), log_det.astype(float)
    return Evaluation(y, log_det, np.zeros(len(x)), nfe.astype(float), ok & finite)


@eqx.filter_jit
def _moved(
    flow: ImageFlow, way: Way, limits: Any, max_steps: Any, x: Any, seed: Any, first: Any
) -> tuple[Any, Any, Any, Any]:
    # The tolerances are traced, so that all of them share one program.
    if limits is not None:
        flow = flow.with_solver(Adaptive(limits[0], limits[1], max_steps))
    key, n = jax.random.key(seed), len(x)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(n, dtype="uint32"))
    moved = jax.vmap(lambda x, k: getattr(flow, way)(x, key=k))(x, keys)
    nfe, ok = (jnp.broadcast_to(jnp.asarray(v), (n,)) for v in (moved.nfe, moved.ok))
    return moved.y, moved.log_det, nfe, ok


def evaluate(
    flow: ImageFlow, x: Any, *, draws: int = 1, seed: int = 0, block: int = _TOGETHER
) -> Bits:
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
    found = log_densities(flow, x, draws=draws, seed=seed, block=min(block, draws * len(x)))
    each = bits_per_dim(found.logs.mean(axis=0), flow.dim)
    together = np.logaddexp.reduce(found.logs, axis=0) - math.log(draws)
    return Bits(
        float(each.mean()), float(each.std(ddof=1) / math.sqrt(len(x))) if len(x) > 1 else math.nan,
        float(np.mean(bits_per_dim(together, flow.dim))), float(found.nfe.mean()),
        float(found.ok.mean()), len(x), draws,
    )  # fmt: skip


def draw_images(flow: ImageFlow, count: int, *, seed: int = 0) -> np.ndarray:
    """Samples as whole grey levels, (count, h, w, c), by the flow's own solver."""
    z = np.random.default_rng(seed).standard_normal((count, flow.dim))
    x = carried(flow, "to_data", z, seed=seed, block=min(count, _TOGETHER)).y
    return whole(x, flow.logit.levels).reshape(count, *flow.shape)


def whole(x: Float[np.ndarray, "rows dim"], levels: int) -> Int[np.ndarray, "rows dim"]:
    """The grey level in whose unit of width each pixel lies."""
    return np.clip(np.floor(x), 0, levels - 1).astype(int)
