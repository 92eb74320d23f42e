"""The Nadaraya-Watson estimate of all rows, in blocks: memory O(N block), no (N, N) array.

With latents u in units of the bandwidth, ``f_i = sum_j k(|u_i - u_j|^2) x_j / sum_j k(...)``; where
a row is left out of its own estimate, j = i does not count. The gradient of the squared misses is
written by hand and computed in the same sweep as their value: each block of the kernel is made
once, used, and forgotten.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .kernels import KERNELS, squared_distances

_BLOCK_NUMBERS = 2**18  # of one block of the kernel, about what a core's cache holds
_LEAST, _MOST = 16, 512


class Rows(NamedTuple):
    """Data around their mean; `seen` weighs entries, or rows as one column where all are seen.

    Entries that are not observed are zero in `x` and in `seen`; `total` is ``sum seen x^2``.
    """

    x: Any  # (n, dim)
    seen: Any  # (n, 1 or dim)
    total: Any  # ()


class Estimate(NamedTuple):
    """The estimate of every row, and the sum of its kernels: how much it knows."""

    f: Any  # (n, dim)
    mass: Any  # (n,)


def block_size(rows: int) -> int:
    """Rows of a block: about a quarter of a million kernels, a power of two."""
    wanted = max(_LEAST, min(_MOST, _BLOCK_NUMBERS // max(rows, 1)))
    return min(1 << (wanted.bit_length() - 1), 1 << max(rows - 1, 1).bit_length())


def smallest(dtype: Any) -> float:
    """A sum of kernels below which there is no estimate: its inverse is still finite, squared."""
    return float(np.sqrt(np.finfo(dtype).tiny))


def _blocks(rows: int, size: int) -> Array:
    """Indices in blocks of one size; those beyond the last row stand for none."""
    count = -(-rows // size)
    return jnp.arange(count * size).reshape(count, size)


class _Swept(NamedTuple):
    """What one block of rows needs of all."""

    k: Array  # (block, n)
    s: Array  # squared distances
    num: Array  # (block, dim)
    den: Array  # (block, 1 or dim)


def _sweep(kernel: str, left_out: bool, u: Array, rows: Rows, index: Array, q: Array) -> _Swept:
    s = squared_distances(q, u)
    k = KERNELS[kernel].value(s, u.shape[1])
    if left_out:
        k = jnp.where(index[:, None] == jnp.arange(len(u)), 0, k)
    both = k @ jnp.concatenate([rows.seen * rows.x, rows.seen], axis=1)
    dim = rows.x.shape[1]
    return _Swept(k, s, both[:, :dim], both[:, dim:])


def _divided(swept: _Swept) -> tuple[Array, Array]:
    """The estimate, zero (the mean of the data) where nothing is near, and one over its mass."""
    known = swept.den > smallest(swept.den.dtype)
    inverse = jnp.where(known, 1 / jnp.where(known, swept.den, 1), 0)
    return swept.num * inverse, inverse


@functools.partial(jax.jit, static_argnums=(0, 1))
def estimate(
    kernel: str, left_out: bool, u: Float[Array, "n latents"], rows: Rows,
    at: Float[Array, "m latents"], index: Array,
) -> Estimate:  # fmt: skip
    """The estimate at latents `at` from the rows at u; `index` says which row each of them is.

    An index beyond the rows belongs to none. Memory is O(n block).
    """
    size = block_size(len(u))
    blocks = _blocks(len(at), size)

    def one(_: None, block: Array) -> tuple[None, Estimate]:
        taken = jnp.minimum(block, len(at) - 1)
        swept = _sweep(kernel, left_out, u, rows, index[taken], at[taken])
        return None, Estimate(_divided(swept)[0], jnp.sum(swept.k, axis=1))

    _, found = lax.scan(one, None, blocks)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[: len(at)], found)


def error(kernel: str, left_out: bool, u: Array, rows: Rows) -> Array:
    """``sum seen (x - f)^2 / sum seen x^2``, the share of the variance that is missed."""
    return _missed(kernel, left_out, jnp.asarray(u), jax.tree.map(jnp.asarray, rows))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _missed(kernel: str, left_out: bool, u: Array, rows: Rows) -> Array:
    blocks = _blocks(len(u), block_size(len(u)))

    def one(total: Array, index: Array) -> tuple[Array, None]:
        mine, weight = _mine(u, rows, index)
        f, _ = _divided(_sweep(kernel, left_out, u, rows, index, u[mine]))
        return total + jnp.sum(weight * (f - rows.x[mine]) ** 2), None

    missed, _ = lax.scan(one, jnp.zeros((), u.dtype), blocks)
    return missed / rows.total


def _mine(u: Array, rows: Rows, index: Array) -> tuple[Array, Array]:
    """Which rows a block holds, and how much they weigh: those beyond the last nothing."""
    mine = jnp.minimum(index, len(u) - 1)
    return mine, jnp.where((index < len(u))[:, None], rows.seen[mine], 0)


def _with_slope(kernel: str, left_out: bool, u: Array, rows: Rows) -> tuple[Array, Any]:
    n = len(rows.x)
    blocks = _blocks(n, block_size(n))
    whole = jnp.concatenate([rows.seen * rows.x, -rows.seen], axis=1)
    located = jnp.concatenate([u, jnp.ones((n, 1), u.dtype)], axis=1)

    def one(carry: tuple[Array, Array], index: Array) -> tuple[tuple[Array, Array], Array]:
        mine, weight = _mine(u, rows, index)
        swept = _sweep(kernel, left_out, u, rows, index, u[mine])
        f, inverse = _divided(swept)
        r = f - rows.x[mine]
        # With e the error: de/dk_ij = g_i . (seen x)_j - (g f)_i . seen_j; g = 2 w r / mass.
        g = 2 * weight * r * inverse
        gf = jnp.sum(g * f, axis=1, keepdims=True) if rows.seen.shape[1] == 1 else g * f
        slope = KERNELS[kernel].slope(swept.s, swept.k, u.shape[1])
        if left_out and kernel == "quartic":  # whose slope is not a multiple of the masked kernel
            slope = jnp.where(index[:, None] == jnp.arange(n), 0, slope)
        a = slope * (jnp.concatenate([g, gf], axis=1) @ whole.T)
        # The error's slope by |u_i - u_j|^2 is a_ij; it moves both ends.
        to, fro = a @ located, a.T @ located[mine]
        here = 2 * (u[mine] * to[:, -1:] - to[:, :-1])
        there = carry[1] + 2 * (u * fro[:, -1:] - fro[:, :-1])
        return (carry[0] + jnp.sum(weight * r**2), there), here

    (missed, there), here = lax.scan(one, (jnp.zeros((), u.dtype), jnp.zeros_like(u)), blocks)
    slope = there + here.reshape(-1, u.shape[1])[:n]
    return missed / rows.total, (slope / rows.total, rows)


def _pull(kernel: str, left_out: bool, kept: Any, above: Array) -> tuple[Array, Rows]:
    slope, rows = kept
    return above * slope, jax.tree.map(jnp.zeros_like, rows)  # rows are data, not trained


_missed.defvjp(_with_slope, _pull)
