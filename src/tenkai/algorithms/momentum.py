"""Accelerated least squares: heavy ball, Chebyshev semi-iteration, conjugate gradients.

All minimise ``|A x - y|^2 / 2 + weight |x|^2 / 2`` with A (m, n), real or complex, from zero.
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..errors import InputError
from .gradient import Matrix, Normal, Vector, Zero, eigenvalues, first_of
from .iteration import Layer
from .matrices import as_matrix
from .unfolded import Unfolded


class _Ball(eqx.Module):
    """A gradient step with momentum; the state is x, the last move, and ``A^H y``."""

    normal: Normal
    weight: Any

    def __call__(self, state: tuple[Vector, ...], layer: Layer) -> tuple[Vector, ...]:
        x, move, back = state
        slope = self.normal(x) - back + self.weight * x
        move = layer.p["beta"] * move - layer.p["eta"] * slope
        return x + move, move, back


class _Rest(eqx.Module):
    """x = 0 at rest."""

    zero: Zero

    def __call__(self, y: Vector) -> tuple[Vector, ...]:
        x, back = self.zero(y)
        return x, jnp.zeros_like(x), back


def heavy_ball(
    A: Matrix, weight: float = 0.0, *, layers: int = 20, tied: bool | int = False, **options: Any
) -> Unfolded:
    """Least squares with momentum: a step size `eta` and a momentum `beta` per layer.

    ``x[k+1] = x[k] - eta[k] g[k] + beta[k] (x[k] - x[k-1])`` with the gradient g. Before training
    it is the Chebyshev semi-iteration, the best at every depth for what is known of the spectrum
    (Golub and Varga 1961); with `tied` it is Polyak's heavy ball (1964), its limit.

    >>> import numpy as np
    >>> A = np.random.default_rng(0).normal(size=(20, 10))
    >>> y = np.ones((1, 20))
    >>> np.allclose(heavy_ball(A, layers=99)(y), y @ np.linalg.pinv(A).T)
    True
    """
    A = as_matrix(A)
    step = _Ball(Normal.of(A), np.asarray(float(weight)))
    first = {"eta": 0.0, "beta": 0.0}
    made = Unfolded(step, _Rest(Zero(A)), layers, first, tied=tied, read=first_of, **options)
    values = eigenvalues(A) + weight
    high = float(values.max())
    low = float(values[values > len(values) * np.finfo(float).eps * high].min())
    if tied is True:
        a, b = math.sqrt(high), math.sqrt(low)
        return made.with_parameters(eta=4 / (a + b) ** 2, beta=((a - b) / (a + b)) ** 2)
    eta, beta = chebyshev_semi_iteration(low, high, layers if tied is False else int(tied))
    return made.with_parameters(eta=eta, beta=beta)


def chebyshev_semi_iteration(
    low: float, high: float, count: int
) -> tuple[Float[np.ndarray, " count"], Float[np.ndarray, " count"]]:
    """Step sizes and momenta that at every depth equal Chebyshev steps of that depth.

    With ``c = (high + low)/2``, ``r = (high - low)/2`` and ``a[0] = r/c``,
    ``a[k] = 1 / (2 c/r - a[k-1])``: ``eta = 2 a[k]/r``, ``beta = a[k] a[k-1]``, after a first
    step of 1/c.

    >>> eta, beta = chebyshev_semi_iteration(1, 3, 2)
    >>> eta.round(4).tolist(), beta.round(4).tolist()
    ([0.5, 0.5714], [0.0, 0.1429])
    """
    if not 0 < low <= high < math.inf:
        raise InputError(
            "eigenvalues", expected="0 < low <= high", got=f"low={low!r}, high={high!r}",
            do="pass the smallest and the largest eigenvalue of a positive definite matrix",
        )  # fmt: skip
    centre, radius = (high + low) / 2, (high - low) / 2
    eta, beta = np.full(count, 1 / centre), np.zeros(count)
    if radius == 0:
        return eta, beta
    last = radius / centre
    for k in range(1, count):
        now = 1 / (2 * centre / radius - last)
        eta[k], beta[k] = 2 * now / radius, now * last
        last = now
    return eta, beta


def conjugate_gradients(
    A: Matrix, y: Float[np.ndarray, "batch m"], layers: int, weight: float = 0.0
) -> Float[np.ndarray, "layers+1 batch n"]:
    """Estimates before and after every iteration: each is the best of its Krylov space.

    It knows y, which steps fixed beforehand do not; the bound for all of them.

    Source: Hestenes and Stiefel 1952 (on the normal equations).

    >>> import numpy as np
    >>> conjugate_gradients(np.diag([1.0, 2.0]), np.ones((1, 2)), 2)[-1].round(6).tolist()
    [[1.0, 0.5]]
    """
    A = as_matrix(A)
    gram = A.conj().T @ A + weight * np.eye(A.shape[1])
    rest = np.asarray(y) @ A.conj()
    x, way = np.zeros_like(rest), rest
    path, size = [x], np.sum(np.abs(rest) ** 2, axis=-1, keepdims=True)
    tiny = np.finfo(float).tiny  # a problem that is solved takes steps of zero
    for _ in range(layers):
        pushed = way @ gram.T
        bend = np.sum((way.conj() * pushed).real, axis=-1, keepdims=True)
        step = size / np.maximum(bend, tiny)
        x, rest = x + step * way, rest - step * pushed
        before, size = size, np.sum(np.abs(rest) ** 2, axis=-1, keepdims=True)
        way = rest + size / np.maximum(before, tiny) * way
        path.append(x)
    return np.stack(path)
