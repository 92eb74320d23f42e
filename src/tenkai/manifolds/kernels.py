"""Kernels of squared distances in units of the bandwidth, and their slopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..errors import InputError

_FREEDOM = 3  # degrees of freedom of Student's t
_SHARP = 6  # makes the quartic's standard deviation one
_FEW = 4  # latents whose distances are summed by hand


class Kernel(NamedTuple):
    """``k(s)`` of the squared distance s, and ``dk/ds``; both know the number of latents."""

    value: Callable[[Array, int], Array]
    slope: Callable[[Array, Array, int], Array]  # of s and k(s)


def _gaussian(s: Array, latents: int) -> Array:
    return jnp.exp(-0.5 * s)


def _gaussian_slope(s: Array, k: Array, latents: int) -> Array:
    return -0.5 * k


def _student(s: Array, latents: int) -> Array:
    """A whole number of halves: a root and a product are quicker than a power."""
    y, halves = 1 / (1 + s / _FREEDOM), _FREEDOM + latents
    whole = lax.integer_pow(y, halves // 2)
    return whole * jnp.sqrt(y) if halves % 2 else whole


def _student_slope(s: Array, k: Array, latents: int) -> Array:
    return -0.5 * (_FREEDOM + latents) * k / (_FREEDOM + s)


def _quartic(s: Array, latents: int) -> Array:
    return jnp.maximum(1 - s / (_SHARP + latents), 0) ** 2


def _quartic_slope(s: Array, k: Array, latents: int) -> Array:
    return -2 / (_SHARP + latents) * jnp.maximum(1 - s / (_SHARP + latents), 0)


KERNELS = {
    "gaussian": Kernel(_gaussian, _gaussian_slope),
    "student-t": Kernel(_student, _student_slope),
    "quartic": Kernel(_quartic, _quartic_slope),
}
"""Of L latents: ``exp(-s/2)``; ``(1 + s/3)^(-(3+L)/2)``; ``(1 - s/(6+L))^2``, zero beyond 6+L.

The Gaussian's and the quartic's standard deviation is one bandwidth in every direction.
"""


def kernel_named(name: str) -> Kernel:
    """`InputError` for a name that is none."""
    if not isinstance(name, str) or name not in KERNELS:
        raise InputError(
            "kernel", expected=" or ".join(map(repr, KERNELS)), got=repr(name),
            do="pick one of these",
        )  # fmt: skip
    return KERNELS[name]


def squared_distances(
    a: Float[Array, "queries latents"], b: Float[Array, "rows latents"]
) -> Float[Array, "queries rows"]:
    """``|a_i - b_j|^2``.

    Few latents by differences, which XLA fuses with the kernel and which lose no digits; many by
    one matrix product.
    """
    if a.shape[1] <= _FEW:
        return sum(
            ((a[:, i, None] - b[None, :, i]) ** 2 for i in range(a.shape[1])),
            start=jnp.zeros((), a.dtype),
        )
    far = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1) - 2 * a @ b.T
    return jax.nn.relu(far)
