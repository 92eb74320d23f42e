"""The mathematics of discrete flows as functions of one row, ``(z, parameters) -> (y, log_det)``.

Parameters are raw numbers, with nothing to keep: what a step needs to be invertible (Rezende and
Mohamed 2015, appendix A; van den Berg et al. 2018, theorem 2) is imposed inside. So they may be
parameters of a layer, or what an encoder says about one row. Zeros give the identity, except where
said. Each ``*_inverse`` returns ``(z, log_det of the inverse, ok)``.

>>> import jax.numpy as jnp
>>> y, log_det = planar(jnp.array([1.0, 2.0]), jnp.zeros(2), jnp.ones(2), 0.0)
>>> y.tolist(), float(log_det)
([1.0, 2.0], 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ..fields import softplus

Row = Float[Array, " dim"]
Scalar = Float[Array, ""]

_UNIT = math.log(math.e - 1)  # softplus of it is 1
_ROUNDS = 100


def affine(z: Row, shift: Row, log_scale: Row) -> tuple[Row, Scalar]:
    """``z exp(log_scale) + shift``: one coupling or autoregressive step, given its numbers."""
    return z * jnp.exp(log_scale) + shift, jnp.sum(log_scale)


def affine_inverse(y: Row, shift: Row, log_scale: Row) -> tuple[Row, Scalar]:
    """``(y - shift) exp(-log_scale)``."""
    return (y - shift) * jnp.exp(-log_scale), -jnp.sum(log_scale)


def gated(z: Row, mean: Row, gate: Row) -> tuple[Row, Scalar]:
    """``sigmoid(gate) z + (1 - sigmoid(gate)) mean`` (Kingma et al. 2016, equation 14).

    The identity is at a large gate; they begin at 1 or 2.
    """
    keep = jax.nn.sigmoid(gate)
    return keep * z + (1 - keep) * mean, -jnp.sum(softplus(-gate))


def planar(z: Row, u: Row, w: Row, b: Any) -> tuple[Row, Scalar]:
    """``z + u' tanh(w^T z + b)``, ``log |1 + u'^T w tanh'|`` (Rezende and Mohamed 2015, 10-12)."""
    out, product = _outward(u, w)
    value = jnp.tanh(w @ z + b)
    return z + out * value, jnp.log1p(product * (1 - value**2))


def planar_inverse(y: Row, u: Row, w: Row, b: Any) -> tuple[Row, Scalar, Array]:
    """By the root of ``a + w^T u' tanh(a) = w^T y + b``, where ``a = w^T z + b``."""
    out, product = _outward(u, w)
    a, ok = increasing_root(product, jnp.ones_like(product), jnp.zeros_like(product), w @ y + b)
    value = jnp.tanh(a)
    return y - out * value, -jnp.log1p(product * (1 - value**2)), ok > 0


def _outward(u: Row, w: Row) -> tuple[Row, Scalar]:
    """u with its part along w changed so that ``w^T u' > -1``, and that product; u = 0 stays."""
    before = w @ u
    after = softplus(before + _UNIT) - 1
    # Never quite -1: there the step would fold the space in single precision.
    after = jnp.maximum(after, -0.999)
    tiny = jnp.finfo(w.dtype).tiny ** 0.5
    return u + (after - before) * w / (w @ w + tiny), after


def radial(z: Row, centre: Row, log_radius: Any, strength: Any) -> tuple[Row, Scalar]:
    """``z + c (z - centre) / (a + r)`` with ``r = |z - centre|`` (Rezende and Mohamed 2015, 14).

    ``a = exp(log_radius)``, and ``c > -a`` grows with `strength`, from 0 at 0.
    """
    a, c = _pull(log_radius, strength)
    offset = z - centre
    r = _length(offset)
    return z + c * offset / (a + r), _radial_log_det(a, c, r, z.shape[-1])


def radial_inverse(y: Row, centre: Row, log_radius: Any, strength: Any) -> tuple[Row, Scalar]:
    """In closed form: ``r^2 + (a + c - R) r - a R = 0`` with ``R = |y - centre|``."""
    a, c = _pull(log_radius, strength)
    offset = y - centre
    size = _length(offset)
    half = 0.5 * (size - a - c)
    root = jnp.sqrt(half**2 + a * size)
    # The larger root, without the difference of nearly equal numbers.
    r = jnp.where(half > 0, half + root, a * size / (root - jnp.minimum(half, 0)))
    z = centre + offset * (a + r) / (a + c + r)
    return z, -_radial_log_det(a, c, r, y.shape[-1])


def _pull(log_radius: Any, strength: Any) -> tuple[Scalar, Scalar]:
    a = jnp.exp(log_radius)
    return a, a * jnp.maximum(softplus(strength + _UNIT) - 1, -0.999)


def _length(x: Row) -> Scalar:
    return jnp.sqrt(jnp.sum(x**2) + jnp.finfo(x.dtype).tiny)


def _radial_log_det(a: Scalar, c: Scalar, r: Scalar, dim: int) -> Scalar:
    return (dim - 1) * jnp.log1p(c / (a + r)) + jnp.log1p(a * c / (a + r) ** 2)


def sylvester(
    z: Row, q: Float[Array, "dim m"], r1: Float[Array, "m m"], r2: Float[Array, "m m"],
    b: Float[Array, " m"],
) -> tuple[Row, Scalar]:  # fmt: skip
    """``z + Q R1 tanh(R2 Q^T z + b)``, m planar units at once (van den Berg et al. 2018, eq. 13).

    Q has orthonormal columns: see `householder` and `orthonormal`. Of `r1` and `r2` the upper
    triangles count, their diagonals through tanh. The identity is at ``r1 = 0``.
    """
    r1, r2 = _triangle(r1), _triangle(r2)
    value = jnp.tanh(r2 @ (q.T @ z) + b)
    return z + q @ (r1 @ value), _sylvester_log_det(r1, r2, value)


def sylvester_inverse(
    y: Row, q: Float[Array, "dim m"], r1: Float[Array, "m m"], r2: Float[Array, "m m"],
    b: Float[Array, " m"],
) -> tuple[Row, Scalar, Array]:  # fmt: skip
    """In the m reduced dimensions, ``v + R1 tanh(R2 v + b) = Q^T y``, by back substitution.

    Both matrices are upper triangular, so from the last component up each one is the root of an
    increasing scalar function; gradients are implicit, by one triangular system.
    """
    r1, r2 = _triangle(r1), _triangle(r2)
    target = q.T @ y

    def residual(v: Array) -> Array:
        return v + r1 @ jnp.tanh(r2 @ v + b) - target

    def substitute(residual: Callable, start: Array) -> tuple[Array, Array]:
        def one(carry: tuple, row: tuple) -> tuple[tuple, None]:
            (v, value, ok), (i, out, into, shift, c) = carry, row
            h = shift + into @ v  # later components only: v is zero elsewhere
            root, reached = increasing_root(out[i], into[i], h, c - out @ value)
            value = value.at[i].set(jnp.tanh(into[i] * root + h))
            return (v.at[i].set(root), value, ok * reached), None

        first = (jnp.zeros_like(start), jnp.zeros_like(start), jnp.ones_like(start[0]))
        rows = (jnp.arange(len(start)), r1, r2, jnp.asarray(b), target)
        (v, _, ok), _ = jax.lax.scan(one, first, rows, reverse=True)
        return v, ok

    def tangents(linear: Callable, right: Array) -> Array:
        matrix = jax.vmap(linear, out_axes=1)(jnp.eye(len(right), dtype=right.dtype))
        return solve_triangular(matrix, right)

    v, ok = jax.lax.custom_root(residual, target, substitute, tangents, has_aux=True)
    value = jnp.tanh(r2 @ v + b)
    return y - q @ (r1 @ value), -_sylvester_log_det(r1, r2, value), ok > 0


def _triangle(r: Float[Array, "m m"]) -> Float[Array, "m m"]:
    diagonal = 0.999 * jnp.tanh(jnp.diagonal(r))
    return jnp.triu(r, 1) + jnp.diag(diagonal)


def _sylvester_log_det(r1: Array, r2: Array, value: Array) -> Scalar:
    return jnp.sum(jnp.log1p(jnp.diagonal(r1) * jnp.diagonal(r2) * (1 - value**2)))


def householder(v: Float[Array, "reflections dim"], columns: int) -> Float[Array, "dim columns"]:
    """The first columns of a product of reflections ``I - 2 v v^T / |v|^2``: orthonormal."""

    def reflect(q: Array, v: Array) -> tuple[Array, None]:
        return q - jnp.outer(2 * v / (v @ v), v @ q), None

    start = jnp.eye(v.shape[-1], columns, dtype=v.dtype)
    return jax.lax.scan(reflect, start, v, reverse=True)[0]


def orthonormal(matrix: Float[Array, "dim m"]) -> Float[Array, "dim m"]:
    """Orthonormal columns that span those of `matrix` (full rank, m <= dim)."""
    return jnp.linalg.qr(matrix)[0]


def increasing_root(s: Scalar, r: Scalar, h: Scalar, c: Scalar) -> tuple[Scalar, Array]:
    """The a with ``a + s tanh(r a + h) = c`` where ``s r > -1``, and 1 if it was reached, else 0.

    Newton's method within the bracket ``c -+ |s|``, halved where Newton would leave it or does
    not shrink the residual by half; to the precision of the type. Gradients are implicit.
    """
    tolerance = 8 * jnp.finfo(c.dtype).eps

    def residual(a: Array) -> Array:
        return a + s * jnp.tanh(r * a + h) - c

    def search(residual: Callable, start: Array) -> tuple[Array, Array]:
        small = tolerance * (1 + jnp.abs(c) + jnp.abs(s))

        def step(state: tuple) -> tuple:
            low, high, a, value, count = state
            low, high = jnp.where(value < 0, a, low), jnp.where(value < 0, high, a)
            slope = 1 + s * r * (1 - jnp.tanh(r * a + h) ** 2)
            newton, middle = a - value / slope, 0.5 * (low + high)
            inside = (newton > low) & (newton < high)
            a = jnp.where(inside, newton, middle)
            # A Newton step that gains little: halve instead of creeping.
            slow = jnp.abs(residual(a)) > 0.5 * jnp.abs(value)
            a = jnp.where(slow, middle, a)
            return low, high, a, residual(a), count + 1

        def busy(state: tuple) -> Array:
            return (jnp.abs(state[3]) > small) & (state[4] < _ROUNDS)

        start = jnp.asarray(c - 0.5 * s)
        first = (c - jnp.abs(s), c + jnp.abs(s), start, residual(start), 0)
        *_, a, value, _ = jax.lax.while_loop(busy, step, first)
        # A number, because `custom_root` wants to differentiate what it passes on.
        return a, jnp.where(jnp.abs(value) <= small, 1.0, 0.0).astype(c.dtype)

    return jax.lax.custom_root(
        residual, c, search, lambda linear, y: y / linear(jnp.ones_like(y)), has_aux=True
    )
