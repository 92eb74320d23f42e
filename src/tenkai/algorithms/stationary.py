"""Linear systems and fixed points by relaxation, with a learned factor for every iteration.

A fixed point ``x = f(x, y)`` by ``x[k+1] = x[k] + omega[k] (f(x[k], y) - x[k])``: learned factors,
repeated in turn, are called periodical successive over-relaxation (PSOR).
"""

from __future__ import annotations

import math
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
from .matrices import as_matrix, normal
from .unfolded import Unfolded

Vector = Float[Array, " n"] | Complex[Array, " n"] | np.ndarray
Matrix = Float[np.ndarray, "n n"] | Complex[np.ndarray, "n n"]


class _Relax(eqx.Module):
    """``x + omega (f(x, y) - x)``."""

    map: Callable[[Any, Any], Any]

    def __call__(self, x: Any, layer: Layer) -> Any:
        new = self.map(x, layer.y)
        return jax.tree.map(lambda a, b: a + layer.p["omega"] * (b - a), x, new)


def relaxation(
    map: Callable[[Any, Any], Any], init: Any, *, omega: Any = 1.0, layers: int = 20,
    **options: Any,
) -> Unfolded:  # fmt: skip
    """Any fixed-point iteration ``x = f(x, y)``, linear or not, with learned relaxation factors.

    ``x[k+1] = x[k] + omega[k] (f(x[k], y) - x[k])``; `omega` = 1 is the plain iteration, with which
    it begins. `init` is an array or a function of y. Large maps: hold their arrays in an Equinox
    module. `options` are those of `Unfolded` (tied, memory, seed, precision).

    Source: Wadayama and Takabe 2020, Chebyshev inertial iteration (arXiv:2001.03280).

    >>> import jax.numpy as jnp
    >>> root = relaxation(lambda x, y: y / x, 1.0, omega=0.5, layers=6)  # Heron's square root
    >>> root(jnp.array([2.0])).round(6).tolist()
    [1.414214]
    """
    return Unfolded(_Relax(map), init, layers, {"omega": omega}, **options)


class _Jacobi(eqx.Module):
    """``D^-1 (q - (A - D) x)``, the iteration that makes each row hold on its own."""

    matrix: Matrix
    diagonal: Vector

    def __call__(self, x: Vector, q: Vector) -> Vector:
        return x + (q - self.matrix @ x) / self.diagonal


def jacobi(A: Matrix, *, omega: Any = None, layers: int = 20, **options: Any) -> Unfolded:
    """Jacobi's method for ``A x = q`` with a learned relaxation factor per iteration.

    ``x[k+1] = x[k] + omega[k] D^-1 (q - A x[k])``, D the diagonal of A, from zero. `omega` begins
    as Chebyshev steps over the eigenvalues of ``D^-1 A`` where these are real and positive (A
    symmetric positive definite), else as 1. The input of a problem is q (n,).

    >>> import numpy as np
    >>> A = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> np.allclose(jacobi(A, layers=12)(np.ones((1, 2))) @ A, 1)
    True
    """
    A = _square(A)
    diagonal = np.diag(A)
    made = relaxation(
        _Jacobi(A, diagonal), _Zeros(A), omega=1.0 if omega is None else omega, layers=layers,
        **options,
    )  # fmt: skip
    values = np.linalg.eigvals(A / diagonal[:, None])
    real = np.all(np.abs(values.imag) <= 1e-8 * np.abs(values))
    if omega is not None or not real or np.min(values.real) <= 0:
        return made
    return made.with_parameters(omega=first_steps(values.real, layers, options.get("tied", False)))


class _Sweep(eqx.Module):
    """``x + (D / omega + L)^-1 (q - A x)``: a Gauss-Seidel sweep, over-relaxed."""

    matrix: Matrix
    diagonal: Matrix  # (n, n)
    lower: Matrix

    def __call__(self, x: Vector, layer: Layer) -> Vector:
        left = self.diagonal / layer.p["omega"] + self.lower
        rest = layer.y - self.matrix @ x
        return x + jax.scipy.linalg.solve_triangular(left, rest, lower=True)


def sor(A: Matrix, *, omega: Any = None, layers: int = 20, **options: Any) -> Unfolded:
    """Successive over-relaxation for ``A x = q`` with a learned factor per sweep.

    ``x[k+1] = x[k] + (D / omega[k] + L)^-1 (q - A x[k])``, L the part of A below its diagonal D,
    from zero. `omega` begins as Young's ``2 / (1 + sqrt(1 - rho^2))`` with rho the spectral radius
    of Jacobi's iteration, the best one for consistently ordered matrices (1 where rho >= 1).

    Source: Young 1954, eq. 1.10.

    >>> import numpy as np
    >>> A = np.diag([2.0] * 9) - np.diag([1.0] * 8, 1) - np.diag([1.0] * 8, -1)
    >>> np.allclose(sor(A, layers=60)(np.ones((1, 9))) @ A, 1)
    True
    """
    A = _square(A)
    first = optimal_relaxation(A) if omega is None else omega
    step = _Sweep(A, np.diag(np.diag(A)), np.tril(A, -1))
    return Unfolded(step, _Zeros(A), layers, {"omega": first}, **options)


def optimal_relaxation(A: Matrix) -> float:
    """Young's factor of successive over-relaxation, ``2 / (1 + sqrt(1 - rho^2))``; 1 if rho >= 1.

    rho is the spectral radius of ``I - D^-1 A``.

    >>> import numpy as np
    >>> round(optimal_relaxation(np.array([[2.0, 1.0], [1.0, 2.0]])), 4)
    1.0718
    """
    A = _square(A)
    rho = float(np.max(np.abs(np.linalg.eigvals(np.eye(len(A)) - A / np.diag(A)[:, None]))))
    return 2 / (1 + math.sqrt(1 - rho**2)) if rho < 1 else 1.0


class _Zeros(eqx.Module):
    """x = 0, of the type of the system."""

    matrix: Matrix

    def __call__(self, q: Vector) -> Vector:
        return jnp.zeros(self.matrix.shape[1], jnp.result_type(self.matrix, q))


class _Solved(eqx.Module):
    """A Gaussian right-hand side and the solution."""

    inverse: Matrix

    def __call__(self, key: Any) -> tuple[Vector, Vector]:
        q = normal(key, self.inverse.shape[:1], self.inverse)
        return q, self.inverse @ q


def linear_systems(A: Matrix) -> Callable[[Any], tuple[Any, Any]]:
    """A sampler for `jacobi` and `sor`: Gaussian q (n,) and the solution of ``A x = q``."""
    return _Solved(np.linalg.inv(_square(A)))


def _square(A: Any) -> np.ndarray:
    A = as_matrix(A)
    if A.shape[0] != A.shape[1] or not np.all(np.diag(A)):
        raise InputError(
            "matrix", expected="a square one without zeros on its diagonal",
            got=f"shape {A.shape}, diagonal {np.diag(A).tolist()[:5]}",
            do="order rows and columns so that no diagonal entry is zero",
        )  # fmt: skip
    return A
