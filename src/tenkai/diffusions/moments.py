"""Mean and covariance of a diffusion as one more field, and the Gaussian transition they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..unfold import RK4, Interval, Tableau

_UNROLLED = 6  # dimensions up to which a factorisation written out beats a call of LAPACK per row


class Moments(NamedTuple):
    """Mean (dim,) and covariance (dim, dim) of a state."""

    mean: Float[Array, " dim"]
    covariance: Float[Array, "dim dim"]


def square(b: Array) -> Float[Array, "dim dim"]:
    """``b b^T`` of a diffusion, which is a diagonal (dim,) or a matrix (dim, noise)."""
    return jnp.diag(b**2) if b.ndim == 1 else b @ b.T


def moments(drift: Callable, diffusion: Callable) -> Callable[[Any, Moments, Any], Moments]:
    """The field ``f(t, (m, P), u)`` of the first two moments of ``dx = a dt + b dW`` (Ito).

    ``dm/dt = a + 1/2 sum_ij P_ij d_ij a`` and
    ``dP/dt = J P + P J^T + b b^T + 1/2 sum_ij P_ij d_ij (b b^T)``, everything at m, J = da/dx:
    the second-order expansion of ``E[a]`` and ``E[b b^T]``. Exact where a is affine and ``b b^T``
    quadratic: Ornstein-Uhlenbeck processes, geometric Brownian motion, square-root processes.

    Source: Jazwinski 1970, *Stochastic processes and filtering theory*, section 9.3.

    >>> import jax.numpy as jnp
    >>> brownian = moments(lambda t, x, u: 0 * x, lambda t, x, u: 2.0 + 0 * x)
    >>> brownian(0.0, Moments(jnp.ones(1), jnp.zeros((1, 1))), None).covariance.tolist()
    [[4.0]]
    """

    return joint_moments(lambda t, y, u: (drift(t, y, u), diffusion(t, y, u)))


def joint_moments(fields: Callable) -> Callable[[Any, Moments, Any], Moments]:
    """`moments` of ``f(t, y, u) -> (a, b)``, for a drift and a diffusion that share work."""

    def slope(t: Any, state: Moments, u: Any = None) -> Moments:
        mean, covariance = state

        def local(y: Array) -> tuple[Array, Array]:
            a, b = fields(t, y, u)
            return jnp.asarray(a), square(jnp.asarray(b))

        def along(axis: Array, column: Array) -> tuple[tuple, tuple]:
            """Values, derivatives along an axis, and second ones along it and a column of P."""

            def first(y: Array) -> tuple[tuple, tuple]:
                return jax.jvp(local, (y,), (axis,))

            (value, slope), (_, bend) = jax.jvp(first, (mean,), (column,))
            return value, (slope[0], *bend)

        axes = jnp.eye(len(mean), dtype=mean.dtype)
        (a, noise), (rows, *bent) = jax.vmap(along, out_axes=(None, 0))(axes, covariance)
        bent_a, bent_noise = (jnp.sum(x, axis=0) for x in bent)
        flow = rows.T @ covariance
        return Moments(a + 0.5 * bent_a, flow + flow.T + noise + 0.5 * bent_noise)

    return slope


def begin(y: Float[Array, " dim"]) -> Moments:
    """A state that is known."""
    return Moments(y, jnp.zeros((y.shape[-1],) * 2, y.dtype))


def moment_step(fields: Callable, tableau: Tableau = RK4) -> Callable[[Moments, Interval], Moments]:
    """One Runge-Kutta step of `joint_moments`; every stage starts from the one before alone.

    The stages are a loop: written out, second derivatives of four nested fields take the compiler
    minutes.
    """
    field = joint_moments(fields)
    back = (0.0, *(row[-1] for row in tableau.a[1:]))

    def step(state: Moments, x: Interval) -> Moments:
        def stage(carry: tuple[Moments, Moments], part: tuple) -> tuple[tuple, None]:
            before, total = carry
            c, a, weight = part
            now = jax.tree.map(lambda y, k: y + a * x.h * k, state, before)
            k = field(x.t + c * x.h, now, x.input(c))
            return (k, jax.tree.map(lambda s, v: s + weight * x.h * v, total, k)), None

        nothing = jax.tree.map(jnp.zeros_like, state)
        parts = tuple(jnp.asarray(v, state.mean.dtype) for v in (tableau.c, back, tableau.b))
        return lax.scan(stage, (nothing, state), parts)[0][1]

    return step


def cholesky(matrix: Float[Array, "dim dim"]) -> Float[Array, "dim dim"]:
    """The lower factor; written out for a few dimensions, where LAPACK's calls cost the most."""
    dim = matrix.shape[-1]
    if dim > _UNROLLED:
        return jnp.linalg.cholesky(matrix)
    rows: list[list[Array]] = []
    for i in range(dim):
        row: list[Array] = []
        for j in range(i):
            known = sum((row[k] * rows[j][k] for k in range(j)), start=jnp.zeros_like(matrix[i, j]))
            row.append((matrix[i, j] - known) / rows[j][j])
        rest = sum((x**2 for x in row), start=jnp.zeros_like(matrix[i, i]))
        rows.append([*row, jnp.sqrt(matrix[i, i] - rest)])
    zero = jnp.zeros_like(matrix[0, 0])
    return jnp.stack([jnp.stack(r + [zero] * (dim - len(r))) for r in rows])


def forward_substitution(lower: Float[Array, "dim dim"], right: Array) -> Array:
    """``L^-1 right`` of a right side (dim, ...)."""
    if lower.shape[-1] > _UNROLLED:
        flat = right.reshape(len(right), -1)
        out = jax.scipy.linalg.solve_triangular(lower, flat, lower=True)
        return out.reshape(right.shape)
    rows: list[Array] = []
    for i in range(len(right)):
        known = sum((lower[i, k] * rows[k] for k in range(i)), start=jnp.zeros_like(right[i]))
        rows.append((right[i] - known) / lower[i, i])
    return jnp.stack(rows)


def innovation(state: Moments, y: Float[Array, " dim"]) -> tuple[Float[Array, " dim"], Array]:
    """``e = L^-1 (y - m)`` with ``L L^T = P``, and ``log det L``."""
    lower = cholesky(state.covariance)
    return forward_substitution(lower, y - state.mean), jnp.sum(jnp.log(jnp.diag(lower)))
