"""Pixels: squeeze, the logit of grey levels, bits per dimension.

Images are rows of whole numbers ``0 ... levels - 1``, flattened in the order height, width,
channel. A density of whole numbers needs noise: ``x + u`` with ``u`` uniform in [0, 1) fills the
range [0, levels), and ``-E log2 p(x + u)`` bounds the code length of x (Theis et al. 2016, eq. 3).
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...errors import InputError


def bits_per_dim(log_prob: Any, dim: int, levels: int = 1) -> Any:
    """``-(log p / dim - log levels) / log 2``: a log density in nats as bits per pixel.

    `levels` is how many grey levels fill a unit of the pixels' scale: 1 for whole numbers
    0, 1, 2, ..., 256 for pixels that were scaled to [0, 1].

    >>> float(bits_per_dim(0.0, dim=784, levels=256))  # uniform on [0, 1]
    8.0
    """
    return (math.log(levels) - log_prob / dim) / math.log(2)


def dequantise(x: Any, key: Any) -> Array:
    """Whole numbers plus uniform noise in [0, 1)."""
    return x + jax.random.uniform(key, jnp.shape(x), jnp.result_type(x, float))


def squeeze(image: Float[Array, "h w c"]) -> Float[Array, "h/2 w/2 4*c"]:
    """Every block of 2 x 2 pixels becomes one pixel with four times the channels (Dinh 2017)."""
    h, w, c = image.shape
    blocks = image.reshape(h // 2, 2, w // 2, 2, c).transpose(0, 2, 4, 1, 3)
    return blocks.reshape(h // 2, w // 2, 4 * c)


def unsqueeze(image: Float[Array, "h w 4*c"]) -> Float[Array, "2*h 2*w c"]:
    """The inverse of `squeeze`."""
    h, w, c = image.shape
    blocks = image.reshape(h, w, c // 4, 2, 2).transpose(0, 3, 1, 4, 2)
    return blocks.reshape(2 * h, 2 * w, c // 4)


class Logit(eqx.Module):
    """``y = logit(alpha + (1 - 2 alpha) x / levels)``, then shift and scale of every pixel.

    Shift and scale are parameters that begin with the data's own (`started`): most corners of an
    image are always the same grey, which a network would need long to find out. Outside of the
    range of the logit the density is zero.
    """

    shift: Float[Array, " dim"]
    log_scale: Float[Array, " dim"]
    levels: int = eqx.field(static=True)
    alpha: float = eqx.field(static=True)

    def __init__(self, dim: int, levels: int, alpha: float):
        self.shift, self.log_scale = jnp.zeros(dim), jnp.zeros(dim)
        self.levels, self.alpha = levels, alpha

    def started(self, x: Float[np.ndarray, "rows dim"]) -> Logit:
        """With the mean and the spread of the pixels in dequantised rows."""
        s = np.clip(self.alpha + (1 - 2 * self.alpha) * x / self.levels, 1e-7, 1 - 1e-7)
        y = np.log(s) - np.log1p(-s)
        dtype = self.shift.dtype
        # A handful of rows may agree in a pixel: no pixel is narrower than a tenth of the others.
        spread = np.maximum(y.std(axis=0), 0.1 * y.std())
        start = jnp.asarray(y.mean(axis=0), dtype), jnp.asarray(np.log(spread), dtype)
        return eqx.tree_at(lambda m: (m.shift, m.log_scale), self, start)

    def to_base(self, x: Float[Array, " dim"]) -> tuple[Array, Array]:
        """The standardised logits and the log-determinant."""
        span = 1 - 2 * self.alpha
        s = self.alpha + span * x / self.levels
        inside = (s > 0) & (s < 1)
        s = jnp.where(inside, s, 0.5)
        up, down = jnp.log(s), jnp.log1p(-s)
        slope = math.log(span / self.levels) - up - down - self.log_scale
        log_det = jnp.where(jnp.all(inside), jnp.sum(slope), -jnp.inf)
        return (up - down - self.shift) * jnp.exp(-self.log_scale), log_det

    def to_data(self, y: Float[Array, " dim"]) -> tuple[Array, Array]:
        """The pixels and the log-determinant."""
        y = self.shift + jnp.exp(self.log_scale) * y
        up, down = -jax.nn.softplus(-y), -jax.nn.softplus(y)
        span = 1 - 2 * self.alpha
        x = (jnp.exp(up) - self.alpha) * self.levels / span
        return x, jnp.sum(math.log(self.levels / span) + up + down + self.log_scale)


def read_images(x: Any, dim: int, levels: int) -> Float[np.ndarray, "rows dim"]:
    """Rows of whole numbers ``0 ... levels - 1``, checked.

    Raises `InputError` for another number of pixels, missing values, fractions and grey levels
    outside of the range.
    """
    x = np.asarray(x)
    x = x.reshape(len(x), -1) if x.ndim > 2 else x
    if x.ndim != 2 or x.shape[1] != dim:
        raise InputError(
            "images", expected=f"rows of {dim} pixels", got=f"shape {x.shape}",
            do="flatten every image, or give the architecture their shape",
        )  # fmt: skip
    if not np.all(np.isfinite(x)):
        raise InputError(
            "images", expected="grey levels", got="missing or infinite values", do="mend them"
        )
    whole, low, high = np.all(x == np.round(x)), x.min(initial=0), x.max(initial=0)
    if not whole or low < 0 or high > levels - 1:
        raise InputError(
            "images", expected=f"whole numbers from 0 to {levels - 1}",
            got=f"{'values' if whole else 'fractions'} between {low:g} and {high:g}",
            do="pass levels= as many as there are grey levels, and pixels as whole numbers",
        )  # fmt: skip
    return x
