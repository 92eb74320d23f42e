"""Convolutions whose derivatives stay quick inside a loop on CPU.

XLA's CPU backend turns convolutions into the layout of its fast kernel in a program's outermost
computation only. Those that JAX's own derivative of `lax.conv_general_dilated` emits have other
layouts, so inside a loop, where solvers and `fit` run, they are a hundred times slower (measured).
This primitive is the same bilinear map; its derivatives are transposed copies around the one layout
that is fast: images (N, H, W, C), kernels (H, W, in, out).
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from .fields import Linear

Pad = tuple[tuple[int, int], tuple[int, int]]
_LAYOUT = ("NHWC", "HWIO", "NHWC")
_FEW_TAPS = 4


def convolve(x: Float[Array, "n h w in"], kernel: Float[Array, "kh kw in out"], pad: Pad) -> Any:
    """``y[n, i, j] = sum_ab x[n, i + a, j + b] kernel[a, b]``, zeros around: stride 1."""
    return _convolve.bind(x, kernel, pad=pad)


def _by_xla(x: Array, kernel: Array, *, pad: Pad) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), pad, dimension_numbers=_LAYOUT)


def _shape(x: Any, kernel: Any, *, pad: Pad) -> Any:
    size = [n + sum(p) - k + 1 for n, p, k in zip(x.shape[1:3], pad, kernel.shape, strict=False)]
    return ShapedArray((x.shape[0], *size, kernel.shape[-1]), x.dtype)


def _to_x(g: Array, x: Any, kernel: Array, *, pad: Pad) -> Array:
    """The cotangent of the images: the kernel turned round, its channels exchanged."""
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    (a, b), (c, d) = pad
    h, w = kernel.shape[0] - 1, kernel.shape[1] - 1
    return convolve(g, turned, ((h - a, h - b), (w - c, w - d)))


def _to_kernel(g: Array, x: Array, kernel: Any, *, pad: Pad) -> Array:
    """The cotangent of the kernel: images and channels exchanged, so that images are summed.

    Of a small kernel one matrix product of the images with shifted copies of ``g``, which there is
    up to three times quicker (measured: 2 x 2, 256 to 64 channels, 14 x 14).
    """
    kh, kw, *_ = kernel.aval.shape
    if kh * kw <= _FEW_TAPS and max(pad[0]) < kh and max(pad[1]) < kw:
        return _by_shifts(g, x, kernel.aval.shape, pad)
    out = convolve(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), pad)
    return out.transpose(1, 2, 0, 3)


def _by_shifts(g: Array, x: Array, shape: tuple[int, ...], pad: Pad) -> Array:
    """``sum_nij x[n, i + a - top, j + b - left] g[n, i, j]``, all (a, b) in one product."""
    kh, kw, n_in, n_out = shape
    h, w = x.shape[1:3]
    (top, _), (left, _) = pad
    beyond = jnp.pad(g, ((0, 0), (kh - 1 - top, h), (kw - 1 - left, w), (0, 0)))
    shifted = [
        beyond[:, kh - 1 - a : kh - 1 - a + h, kw - 1 - b : kw - 1 - b + w]
        for a in range(kh)
        for b in range(kw)
    ]
    beside = jnp.concatenate(shifted, axis=-1).reshape(-1, kh * kw * n_out)
    product = x.reshape(-1, n_in).T @ beside
    return product.reshape(n_in, kh, kw, n_out).transpose(1, 2, 0, 3)


def _batched(arguments: tuple, axes: tuple, *, pad: Pad) -> tuple[Array, int]:
    x, kernel = arguments
    if axes[1] is None:  # one kernel: more images
        x = jnp.moveaxis(x, axes[0], 0)
        y = convolve(x.reshape(-1, *x.shape[2:]), kernel, pad)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    kernel = jnp.moveaxis(kernel, axes[1], 0)
    if axes[0] is None:  # one set of images: more channels
        count, *_, out = kernel.shape
        y = convolve(x, jnp.moveaxis(kernel, 0, 3).reshape(*kernel.shape[1:4], count * out), pad)
        return y.reshape(*y.shape[:3], count, out), 3
    x = jnp.moveaxis(x, axes[0], 0)  # members with their own kernels: one after another
    return jax.lax.map(lambda pair: convolve(pair[0], pair[1], pad), (x, kernel)), 0


_convolve = Primitive("tenkai_convolution")
_convolve.def_impl(jax.jit(_by_xla, static_argnames="pad"))
_convolve.def_abstract_eval(_shape)
ad.defbilinear(_convolve, _to_x, _to_kernel)
batching.primitive_batchers[_convolve] = _batched
mlir.register_lowering(_convolve, mlir.lower_fun(_by_xla, multiple_results=False))


class Convolution(eqx.Module):
    """A convolution of stride 1 with zeros around the image: (h, w, in) -> (h, w, out).

    Its weights are a `Linear` from a patch to a pixel, so that weight decay sees them. One image
    in; under `jax.vmap` all images share one call.
    """

    patch: Linear
    size: int = eqx.field(static=True)

    def __init__(self, n_in: int, n_out: int, *, key: Any, size: int = 3, scale: float = 1.0):
        self.patch = Linear(size**2 * n_in, n_out, key=key, scale=scale)
        self.size = size

    def __call__(self, image: Float[Array, "h w in"]) -> Float[Array, "h w out"]:
        if self.size == 1:
            return image @ self.patch.weight.T + self.patch.bias
        margin = (self.size - 1) // 2, self.size // 2
        kernel = self.patch.weight.T.reshape(self.size, self.size, image.shape[-1], -1)
        return convolve(image[None], kernel, (margin, margin))[0] + self.patch.bias


class ConcatConvolution(eqx.Module):
    """A convolution that sees the time as one more channel (Grathwohl et al. 2019, "concat").

    That channel is constant up to the border, so its share is a fixed picture times t.
    """

    convolution: Convolution
    drift: Float[Array, "patch out"]

    def __init__(self, n_in: int, n_out: int, *, key: Any, scale: float = 1.0):
        first, second = jax.random.split(key)
        self.convolution = Convolution(n_in, n_out, key=first, scale=scale)
        patch = self.convolution.size**2
        self.drift = jax.random.normal(second, (patch, n_out)) * scale / (patch * n_in) ** 0.5

    def __call__(self, t: Any, image: Float[Array, "h w in"]) -> Float[Array, "h w out"]:
        h, w, _ = image.shape
        inside = _inside(h, w, self.convolution.size)
        return self.convolution(image) + t * (jnp.asarray(inside, image.dtype) @ self.drift)


def _inside(h: int, w: int, size: int) -> Float[np.ndarray, "h w patch"]:
    """One where a pixel's neighbour lies in the image."""
    margin = size // 2
    ones = np.pad(np.ones((h, w)), margin)
    return np.stack([ones[i : i + h, j : j + w] for i in range(size) for j in range(size)], -1)
