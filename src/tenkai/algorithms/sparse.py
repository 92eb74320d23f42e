"""Sparse signals out of few measurements: ISTA, LISTA, TISTA, and FISTA to compare with.

Everywhere ``y = A x + noise`` with a matrix A (m, n), real or complex, and x mostly zero.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from .iteration import Layer
from .matrices import as_matrix, normal, safe_step, within
from .unfolded import Unfolded

Signal = Float[Array, " n"] | Complex[Array, " n"]
Matrix = Float[np.ndarray, "m n"] | Complex[np.ndarray, "m n"]


def soft(x: Any, threshold: Any) -> Any:
    """Soft threshold: ``x max(0, 1 - threshold / |x|)``, elementwise; complex x keep their phase.

    The proximal operator ``argmin_z |z - x|^2 / 2 + threshold |z|``.
    """
    if not jnp.iscomplexobj(x):
        return jnp.sign(x) * jnp.maximum(jnp.abs(x) - threshold, 0)
    size = jnp.abs(x)
    return x * (jnp.maximum(size - threshold, 0) / jnp.where(size > 0, size, 1))


def mmse_shrinkage(r: Any, noise: Any, density: Any, variance: Any = 1.0) -> Any:
    """The conditional mean of a sparse x given ``r = x + N(0, noise)``, elementwise.

    ``E[x|r] = r variance/(variance + noise) P(x != 0 | r)``, where x is 0 with probability
    ``1 - density`` and else Gaussian with this variance. `noise` is a variance; complex r mean
    circular complex Gaussians. It equals ``r + noise d/dr log p(r)`` for real r.

    Source: Ito, Takabe and Wadayama 2019, eqs. 15-16.

    >>> [round(float(mmse_shrinkage(r, 0.01, 0.05)), 3) for r in (0.1, 2.0)]
    [0.001, 1.98]
    """
    half = 1.0 if jnp.iscomplexobj(r) else 0.5  # a complex number is two real ones
    total = variance + noise
    # log of density N(r; 0, total) over (1 - density) N(r; 0, noise)
    odds = (
        jnp.log(density) - jnp.log1p(-density) + half * jnp.log(noise / total)
        + half * jnp.abs(r) ** 2 * (1 / noise - 1 / total)
    )  # fmt: skip
    return r * (variance / total) * jax.nn.sigmoid(odds)


class _Zeros(eqx.Module):
    """x = 0, of the type of the measurements (and of the matrix)."""

    matrix: Matrix

    def __call__(self, y: Any) -> Any:
        return jnp.zeros(self.matrix.shape[1], jnp.result_type(self.matrix, y))


def _descend(A: Any, x: Any, y: Any, step: Any) -> Any:
    """``x + step A^H (y - A x)``."""
    return x + step * (A.conj().T @ (y - A @ x))


class _Ista(eqx.Module):
    matrix: Matrix
    weight: Any = None  # of the 1-norm; None: thresholds are parameters of their own

    def __call__(self, x: Signal, layer: Layer) -> Signal:
        step = layer.p["step"]
        threshold = layer.p["threshold"] if self.weight is None else self.weight * step
        return soft(_descend(self.matrix, x, layer.y, step), threshold)


def ista(
    matrix: Any, weight: float = 1.0, layers: int = 20, *, thresholds: bool = True, **options: Any
) -> Unfolded:
    """The iterative shrinkage-thresholding algorithm with learned steps and thresholds.

    ``x[k+1] = soft(x[k] + step_k A^H (y - A x[k]), threshold_k)`` from x = 0. It begins as the
    classical ISTA for ``min |y - A x|^2 / 2 + weight |x|_1``: step 1/lambda_max(A^H A), threshold
    weight times step. Inputs y (m,), estimates x (n,), real or complex.

    With ``thresholds=False`` the threshold remains ``weight step_k``, so that only the steps are
    parameters and every depth still minimises the same objective. `options` go to `Unfolded`.
    Raises `InputError` for a matrix or a weight that cannot be.

    Source: Daubechies, Defrise and De Mol 2004; learned steps: Ito, Takabe and Wadayama 2019.

    >>> import numpy as np, optax, tenkai as tk
    >>> A = np.random.default_rng(0).normal(size=(12, 24))
    >>> problems = tk.algorithms.sparse_problems(A, density=0.05, noise=0.1)
    >>> model = tk.algorithms.ista(A, layers=10)
    >>> y, x = model.draw(problems, 200)
    >>> before = model.error(y, x)[-1]
    >>> _ = model.fit(problems, steps=20, incremental=True, rule=optax.adam(3e-3))
    >>> bool(model.error(y, x)[-1] < before / 2)
    True
    """
    A, w = as_matrix(matrix), within("weight", weight, 0)
    step = safe_step(A)
    first = {"step": step} | ({"threshold": step * float(w)} if thresholds else {})
    return Unfolded(_Ista(A, None if thresholds else w), _Zeros(A), layers, first, **options)


class _Fista(eqx.Module):
    matrix: Matrix
    weight: Any

    def __call__(self, state: tuple[Signal, Signal, Any], layer: Layer) -> Any:
        x, z, t = state
        step = layer.p["step"]
        new = soft(_descend(self.matrix, z, layer.y, step), self.weight * step)
        later = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        return new, new + (t - 1) / later * (new - x), later


class _Twice(eqx.Module):
    zeros: _Zeros

    def __call__(self, y: Any) -> Any:
        x = self.zeros(y)
        return x, x, jnp.ones((), x.real.dtype)


def _first(state: Any) -> Any:
    return state[0]


def fista(matrix: Any, weight: float = 1.0, layers: int = 20, **options: Any) -> Unfolded:
    """FISTA: ISTA with Nesterov's momentum, the classical algorithm to compare with.

    ``x[k] = soft(z[k] + step A^H (y - A z[k]), weight step)``,
    ``z[k+1] = x[k] + (t[k] - 1)/t[k+1] (x[k] - x[k-1])``, ``t[k+1] = (1 + sqrt(1 + 4 t[k]^2))/2``,
    step 1/lambda_max. The objective falls as 1/k^2, that of ISTA as 1/k. Its one parameter, the
    step, is shared by all layers unless ``tied=False`` is passed.

    Source: Beck and Teboulle 2009, eqs. 4.1-4.3.

    >>> import numpy as np, tenkai as tk
    >>> fast = tk.algorithms.fista(np.eye(2), weight=0.5, layers=3)
    >>> fast(np.array([[2.0, 0.3]])).tolist()
    [[1.5, 0.0]]
    """
    A, w = as_matrix(matrix), within("weight", weight, 0)
    options = {"tied": True, "read": _first} | options
    return Unfolded(_Fista(A, w), _Twice(_Zeros(A)), layers, {"step": safe_step(A)}, **options)


def _lista(x: Signal, layer: Layer) -> Signal:
    p = layer.p
    return soft(p["analysis"] @ layer.y + p["mixing"] @ x, p["threshold"])


def lista(matrix: Any, weight: float = 1.0, layers: int = 20, **options: Any) -> Unfolded:
    """Learned ISTA: both matrices and a threshold for each entry are learned.

    ``x[k+1] = soft(analysis_k y + mixing_k x[k], threshold_k)`` with the first values
    ``A^H / L``, ``I - A^H A / L`` and ``weight / L``, L = lambda_max(A^H A): untrained it is ISTA.
    Layers have matrices of their own; ``tied=True`` shares them, as the original did. It learns
    ``layers n (n + m + 1)`` numbers, so give it many problems and small steps of Adam (1e-4).

    Source: Gregor and LeCun 2010, algorithm 3.

    >>> import numpy as np, tenkai as tk
    >>> A = np.random.default_rng(0).normal(size=(4, 6))
    >>> y = np.ones((1, 4))
    >>> classical, learned = tk.algorithms.ista(A), tk.algorithms.lista(A)
    >>> bool(np.allclose(classical(y), learned(y)))
    True
    """
    A, w = as_matrix(matrix), within("weight", weight, 0)
    step, n = safe_step(A), A.shape[1]
    first = {
        "analysis": step * A.conj().T,
        "mixing": np.eye(n) - step * A.conj().T @ A,
        "threshold": np.full(n, step * float(w)),
    }
    return Unfolded(_lista, _Zeros(A), layers, first, **options)


class _Tista(eqx.Module):
    matrix: Matrix
    inverse: Matrix  # A^H (A A^H)^-1
    density: Any
    noise: Any  # a variance, like the next
    variance: Any

    def __call__(self, x: Signal, layer: Layer) -> Signal:
        A, W, step = self.matrix, self.inverse, layer.p["step"]
        m, n = A.shape
        residual = layer.y - A @ x
        excess = jnp.sum(jnp.abs(residual) ** 2) - m * self.noise
        # Variance of an entry of x - target, then of an entry of r - target.
        v = jnp.maximum(excess / jnp.sum(jnp.abs(A) ** 2), 1e-9 * self.variance)
        tau = v * (n + (step**2 - 2 * step) * m) + step**2 * self.noise * jnp.sum(jnp.abs(W) ** 2)
        r = x + step * (W @ residual)
        return mmse_shrinkage(r, tau / n, self.density, self.variance)


def tista(
    matrix: Any, density: float, noise: float, layers: int = 20, *, variance: float = 1.0,
    **options: Any,
) -> Unfolded:  # fmt: skip
    """Trainable ISTA: learned steps, and the shrinkage that is best for sparse Gaussian signals.

    ``r = x[k] + step_k W (y - A x[k])``, ``x[k+1] = E[x | r; tau^2]`` with the pseudoinverse W, by
    `mmse_shrinkage`, where ``tau^2`` is the variance of ``r - x`` that the residual tells. One
    number per layer is learned, first 1. It needs to know the `density` (fraction of nonzero
    entries), their `variance`, and the standard deviation of the noise. Needs m <= n.

    Source: Ito, Takabe and Wadayama 2019, eqs. 6-12; complex signals: Takabe, Wadayama, Eldar 2019.

    >>> import numpy as np, tenkai as tk
    >>> A = np.random.default_rng(0).normal(size=(32, 64))
    >>> problems = tk.algorithms.sparse_problems(A, density=0.05, noise=0.1)
    >>> model = tk.algorithms.tista(A, density=0.05, noise=0.1, layers=8)
    >>> y, x = model.draw(problems, 200)
    >>> bool(model.error(y, x)[-1] < tk.algorithms.ista(A, layers=8).error(y, x)[-1] / 2)
    True
    """
    A = as_matrix(matrix)
    step = _Tista(
        A, np.linalg.pinv(A), within("density", density, 0, 1), within("noise", noise, 0) ** 2,
        within("variance", variance, 0),
    )  # fmt: skip
    return Unfolded(step, _Zeros(A), layers, {"step": 1.0}, **options)


class SparseProblems(eqx.Module):
    """A sampler of `sparse_problems`."""

    matrix: Matrix
    density: Any
    noise: Any
    deviation: Any

    def __call__(self, key: Any) -> tuple[Any, Any]:
        A = self.matrix
        where, values, errors = jax.random.split(key, 3)
        m, n = A.shape
        nonzero = jax.random.bernoulli(where, self.density, (n,))
        x = self.deviation * jnp.where(nonzero, normal(values, (n,), A), 0)
        return A @ x + self.noise * normal(errors, (m,), A), x


def sparse_problems(
    matrix: Any, density: float = 0.05, noise: float = 0.1, *, variance: float = 1.0
) -> SparseProblems:
    """A sampler of ``(y, x)``: Bernoulli-Gaussian x (n,), ``y = A x + noise`` (m,).

    An entry of x is nonzero with probability `density`, then N(0, variance); `noise` is a standard
    deviation, ``E|w|^2 = noise^2`` per measurement, of complex ones as well. For `Unfolded.fit`
    and `Unfolded.draw`.

    >>> import jax, numpy as np, tenkai as tk
    >>> y, x = tk.algorithms.sparse_problems(np.ones((3, 5)))(jax.random.key(0))
    >>> y.shape, x.shape
    ((3,), (5,))
    """
    return SparseProblems(
        as_matrix(matrix), within("density", density, 0, 1),
        within("noise", noise, -np.finfo(float).tiny), np.sqrt(within("variance", variance, 0)),
    )  # fmt: skip
