"""Gradient methods with learned steps: any objective, least squares, ridge, a box.

Least squares means ``min |A x - y|^2 / 2`` with a matrix A (m, n), real or complex.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ..errors import InputError
from .chebyshev import first_steps
from .iteration import Layer
from .matrices import as_matrix, normal, within
from .unfolded import Unfolded

Vector = Float[Array, " n"] | Complex[Array, " n"] | np.ndarray
Matrix = Float[np.ndarray, "m n"] | Complex[np.ndarray, "m n"]
first_of = operator.itemgetter(0)


class _Descend(eqx.Module):
    objective: Callable[[Any, Any], Any]

    def __call__(self, x: Vector, layer: Layer) -> Vector:
        slope = jax.grad(self.objective)(x, layer.y)  # conj: of complex x JAX gives the conjugate
        return x - layer.p["eta"] * jnp.conj(slope)


def descent(
    objective: Callable[[Any, Any], Any], init: Any, *, eta: Any, layers: int = 20, **options: Any
) -> Unfolded:
    """Gradient descent on any objective ``f(x, y)``, one step size per layer.

    ``x[k+1] = x[k] - eta[k] grad_x f(x[k], y)``, from ``x[0] = init(y)`` (or an array), with `eta`
    at first. `options` are those of `Unfolded` (tied, memory, seed, precision).

    >>> import jax.numpy as jnp
    >>> bowl = descent(lambda x, y: jnp.sum(x**2), lambda y: y, eta=0.5, layers=1)
    >>> bowl(jnp.ones((1, 2))).tolist()  # 1/2 is Newton's step for x^2
    [[0.0, 0.0]]
    """
    return Unfolded(_Descend(objective), init, layers, {"eta": eta}, **options)


class Normal(eqx.Module):
    """``A^H A x``, by whichever product is shorter."""

    factors: tuple[Matrix, ...]

    @classmethod
    def of(cls, A: np.ndarray) -> Normal:
        m, n = A.shape
        return cls((A.conj().T @ A,) if n <= 2 * m else (A.conj().T, A))

    def __call__(self, x: Vector) -> Vector:
        for factor in reversed(self.factors):
            x = factor @ x
        return x


class Zero(eqx.Module):
    """The state ``(x, A^H y)`` with x = 0."""

    matrix: Matrix

    def __call__(self, y: Vector) -> tuple[Vector, Vector]:
        back = jnp.conj(self.matrix).T @ y
        return jnp.zeros_like(back), back


class _Gradient(eqx.Module):
    """A gradient step on least squares, perhaps with a ridge, perhaps back into a box."""

    normal: Normal
    weight: Any = None  # of the ridge, where it is fixed
    box: tuple[Any, Any] | None = None

    def __call__(self, state: tuple[Vector, Vector], layer: Layer) -> tuple[Vector, Vector]:
        x, back = state
        slope = self.normal(x) - back
        weight = jnp.abs(layer.p["weight"]) if "weight" in layer.p else self.weight
        if weight is not None:
            slope = slope + weight * x
        x = x - layer.p["eta"] * slope
        return (x if self.box is None else jnp.clip(x, *self.box)), back


def gradient_descent(A: Matrix, *, eta: Any = None, layers: int = 20, **options: Any) -> Unfolded:
    """Least squares by gradient descent from zero, one step size per layer.

    ``x[k+1] = x[k] - eta[k] A^H (A x[k] - y)``. `eta` begins as Chebyshev steps over the
    eigenvalues of ``A^H A``, unless told. The input of a problem is y (m,), the estimate x (n,).
    `options` are those of `Unfolded` (tied, memory, seed, precision).

    Source: Takabe and Wadayama 2020 (learned steps look like Chebyshev's).

    >>> import numpy as np
    >>> A = np.random.default_rng(0).normal(size=(20, 10))
    >>> problems = least_squares_problems(A)
    >>> gd = gradient_descent(A, layers=10)
    >>> test = gd.draw(problems, 100)
    >>> chebyshev, fixed = gd.error(*test)[-1], gd.best_fixed(*test, np.linspace(0.01, 0.1, 200))
    >>> learned = gd.fit(problems).error(*test)[-1]
    >>> bool(learned < chebyshev / 10 < fixed.error[-1] / 10)
    True
    """
    A = as_matrix(A)
    return _least_squares(A, _Gradient(Normal.of(A)), {}, eigenvalues(A), eta, layers, options)


def ridge(
    A: Matrix, weight: float, *, learn_weight: bool = False, eta: Any = None, layers: int = 20,
    **options: Any,
) -> Unfolded:  # fmt: skip
    """Ridge regression ``min |A x - y|^2 / 2 + weight |x|^2 / 2`` by gradient descent from zero.

    ``x[k+1] = x[k] - eta[k] (A^H (A x[k] - y) + w[k] x[k])`` with ``w[k] = weight``, or with
    `learn_weight` ``|weight[k]|``, learned from there: more freedom for the same estimate.

    >>> import numpy as np
    >>> ridge(np.eye(2), 1.0, layers=1)(np.ones((1, 2))).tolist()
    [[0.5, 0.5]]
    """
    A, weight = as_matrix(A), float(within("weight", weight, 0.0))
    step = _Gradient(Normal.of(A), None if learn_weight else np.asarray(weight))
    more = {"weight": weight} if learn_weight else {}
    return _least_squares(A, step, more, eigenvalues(A) + weight, eta, layers, options)


def projected_gradient(
    A: Matrix, low: Any = -1.0, high: Any = 1.0, *, eta: Any = None, layers: int = 20,
    **options: Any,
) -> Unfolded:  # fmt: skip
    """Least squares in a box ``low <= x <= high`` by projected gradient, from zero.

    ``x[k+1] = clip(x[k] - eta[k] A^T (A x[k] - y), low, high)``. `low` and `high` are numbers or
    (n,). `eta` begins as ``1 / l_max``.

    >>> import numpy as np
    >>> projected_gradient(np.eye(2), 0.0, 0.5, layers=1)(np.array([[2.0, -1.0]])).tolist()
    [[0.5, 0.0]]
    """
    A = as_matrix(A)
    box = _box(A, low, high)
    first = 1 / np.linalg.norm(A, 2) ** 2 if eta is None else eta
    return Unfolded(_Gradient(Normal.of(A), box=box), Zero(A), layers, {"eta": first},
                    read=first_of, **options)  # fmt: skip


def _least_squares(
    A: np.ndarray, step: _Gradient, more: dict[str, Any], spectrum: np.ndarray, eta: Any,
    layers: int, options: dict[str, Any],
) -> Unfolded:  # fmt: skip
    """Unfolded from zero, with Chebyshev steps for this spectrum unless `eta` is given."""
    first = {"eta": 0.0 if eta is None else eta} | more
    made = Unfolded(step, Zero(A), layers, first, read=first_of, **options)
    if eta is not None:
        return made
    return made.with_parameters(eta=first_steps(spectrum, layers, options.get("tied", False)))


def eigenvalues(A: np.ndarray) -> np.ndarray:
    """The eigenvalues of ``A^H A``, with its zeros."""
    squares = np.linalg.svd(A, compute_uv=False) ** 2
    return np.pad(squares, (0, max(0, A.shape[1] - len(squares))))


def _box(A: np.ndarray, low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.asarray(low, float), np.asarray(high, float)
    fits = all(b.shape in ((), (A.shape[1],)) for b in (low, high))
    if np.iscomplexobj(A) or not fits or not np.all(low < high):
        raise InputError(
            "low, high", expected=f"low < high, numbers or ({A.shape[1]},), and a real matrix",
            got=f"low {low.tolist()}, high {high.tolist()}, matrix of {A.dtype}",
            do="pass the bounds of every unknown",
        )  # fmt: skip
    return low, high


class _Solved(eqx.Module):
    """A Gaussian y and the estimate that solves its problem."""

    solve: Matrix

    def __call__(self, key: Any) -> tuple[Vector, Vector]:
        y = normal(key, self.solve.shape[1:], self.solve)
        return y, self.solve @ y


def least_squares_problems(A: Matrix, weight: float = 0.0) -> Callable[[Any], tuple[Any, Any]]:
    """A sampler: Gaussian y (m,) and the exact solution (n,), with a ridge where `weight` > 0.

    ``x = (A^H A + weight I)^+ A^H y``.
    """
    A = as_matrix(A)
    if weight == 0.0:
        return _Solved(np.linalg.pinv(A))
    gram = A.conj().T @ A + weight * np.eye(A.shape[1])
    return _Solved(np.linalg.solve(gram, A.conj().T))


class _Boxed(eqx.Module):
    """A Gaussian y and the least squares solution in a box, by accelerated projected gradient."""

    matrix: Matrix
    gram: Matrix
    box: tuple[Any, Any]
    eta: Any
    momentum: Any
    steps: int = eqx.field(static=True)

    def __call__(self, key: Any) -> tuple[Vector, Vector]:
        y = jax.random.normal(key, self.matrix.shape[:1], self.matrix.dtype)
        back = self.matrix.T @ y

        def step(_: Any, state: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
            x, ahead = state
            new = jnp.clip(ahead - self.eta * (self.gram @ ahead - back), *self.box)
            return new, new + self.momentum * (new - x)

        x = jnp.clip(jnp.zeros_like(back), *self.box)
        return y, jax.lax.fori_loop(0, self.steps, step, (x, x))[0]


def box_problems(A: Matrix, low: Any = -1.0, high: Any = 1.0) -> Callable[[Any], tuple[Any, Any]]:
    """A sampler: Gaussian y (m,) and its least squares solution in the box, to rounding.

    By Nesterov's method (2004, constant momentum), whose number of steps follows from the
    condition number; `InputError` where A has dependent columns or is too ill-conditioned.
    """
    A = as_matrix(A)
    squares = np.linalg.svd(A, compute_uv=False) ** 2
    root = math.sqrt(squares[-1] / squares[0]) if A.shape[0] >= A.shape[1] else 0.0
    if root < 1e-3:
        raise InputError(
            "matrix", expected="full column rank, condition number below 1000",
            got=f"{1 / root if root else math.inf:.3g}", do="pass (inputs, targets) of your own",
        )  # fmt: skip
    steps = math.ceil(-math.log(np.finfo(float).eps) / root) + 10
    momentum = np.asarray((1 - root) / (1 + root))
    return _Boxed(A, A.T @ A, _box(A, low, high), np.asarray(1 / squares[0]), momentum, steps)
