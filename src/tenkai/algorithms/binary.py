"""Binary signals out of noisy linear measurements: the soft-projected gradient, MIMO detection.

``y = A x + noise`` with x of entries -1 and 1; where A is complex, of entries ±1±i (QPSK).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from ..errors import InputError
from .iteration import Layer
from .matrices import as_matrix, normal, safe_step, within
from .sparse import Matrix, Signal
from .unfolded import Unfolded

Channel = Float[np.ndarray, "*batch m n"] | Complex[np.ndarray, "*batch m n"]
Received = Float[np.ndarray, "*batch m"] | Complex[np.ndarray, "*batch m"]
Symbols = Float[np.ndarray, "*batch n"] | Complex[np.ndarray, "*batch n"]


def hard_tanh(x: Float[Array, ...]) -> Float[Array, ...]:
    """``max(-1, min(1, x))``: the projection onto the box around the binary points."""
    return jnp.clip(x, -1, 1)


def _given(matrix: Any, inputs: Any) -> tuple[Any, Any]:
    """The matrix and the measurements of one problem."""
    return (inputs[1], inputs[0]) if matrix is None else (matrix, inputs)


class _Start(eqx.Module):
    matrix: Matrix | None

    def __call__(self, inputs: Any) -> Any:
        A, y = _given(self.matrix, inputs)
        return jnp.zeros(A.shape[1], jnp.result_type(A, y))


class _SoftProjected(eqx.Module):
    matrix: Matrix | None
    squash: Callable[[Any], Any]

    def __call__(self, x: Signal, layer: Layer) -> Signal:
        A, y = _given(self.matrix, layer.y)
        step, slope = layer.p["step"], layer.p["slope"]
        z = slope * (x - step * (A.conj().T @ (A @ x - y)))
        if not jnp.iscomplexobj(z):
            return self.squash(z)
        return jax.lax.complex(self.squash(z.real), self.squash(z.imag))


def soft_projected(
    matrix: Any = None, layers: int = 20, *, step: float | None = None, slope: float = 1.0,
    squash: Callable[[Any], Any] = hard_tanh, **options: Any,
) -> Unfolded:  # fmt: skip
    """Gradient descent on ``|y - A x|^2 / 2`` with a soft projection onto {-1, 1}, both learned.

    ``x[k+1] = squash(slope_k (x[k] - step_k A^H (A x[k] - y)))`` from x = 0, real and imaginary
    part separately. First values: step 1/lambda_max(A^H A), slope 1, that is the projected
    gradient of the box-constrained problem. `squash` is `hard_tanh`, `jax.numpy.tanh` or the like.
    Inputs y (m,), estimates x (n,) in [-1, 1]; decide by their signs.

    Without a matrix every problem brings its own: inputs are pairs (y, A), and `step` has to be
    given; so one detector serves all channels of a kind. `options` go to `Unfolded`.

    Source: Takabe, Imanishi, Wadayama, Hayakawa and Hayashi 2019 (trainable projected gradient).

    >>> import numpy as np, optax, tenkai as tk
    >>> A = np.random.default_rng(0).normal(size=(20, 16))
    >>> problems = tk.algorithms.binary_problems(A, noise=1.0)
    >>> model = tk.algorithms.soft_projected(A, layers=8)
    >>> y, x = model.draw(problems, 500)
    >>> before = model.error(y, x)[-1]
    >>> _ = model.fit(problems, steps=40, incremental=True, rule=optax.adam(2e-3))
    >>> bool(model.error(y, x)[-1] < before / 2)
    True
    """
    A = None if matrix is None else as_matrix(matrix)
    if A is None and step is None:
        raise InputError(
            "step", expected="a first step, where every problem brings its own matrix",
            got="neither matrix nor step", do="pass step=1/lambda_max of a typical one",
        )  # fmt: skip
    begin = safe_step(A) if step is None and A is not None else step
    first = {"step": float(begin or 0.0), "slope": slope}
    return Unfolded(_SoftProjected(A, squash), _Start(A), layers, first, **options)


class BinaryProblems(eqx.Module):
    """A sampler of `binary_problems`."""

    matrix: Any  # an array, or a function of a key
    noise: Any

    def __call__(self, key: Any) -> tuple[Any, Any]:
        channel, bits, errors = jax.random.split(key, 3)
        A: Any = self.matrix(channel) if callable(self.matrix) else self.matrix
        m, n = A.shape
        wide = jnp.result_type(float, A)
        if jnp.issubdtype(wide, jnp.complexfloating):
            parts = jax.random.rademacher(bits, (2, n)).astype(A.real.dtype)
            x = jax.lax.complex(parts[0], parts[1])
        else:
            x = jax.random.rademacher(bits, (n,)).astype(wide)
        y = A @ x + self.noise * normal(errors, (m,), A)
        return ((y, A) if callable(self.matrix) else y), x


def binary_problems(matrix: Any, noise: float) -> BinaryProblems:
    """A sampler of ``(y, x)``: x uniform in {-1, 1}^n, or ±1±i where A is complex, ``y = A x + w``.

    `noise` is a standard deviation: ``E|w|^2 = noise^2`` per measurement. `matrix` may be a
    function ``key -> A`` (fading channels); then the inputs of a problem are (y, A).

    >>> import jax, tenkai as tk
    >>> fading = tk.algorithms.binary_problems(lambda key: jax.random.normal(key, (3, 2)), 0.1)
    >>> (y, A), x = fading(jax.random.key(0))
    >>> y.shape, A.shape, x.shape
    ((3,), (3, 2), (2,))
    """
    if not callable(matrix):
        matrix = as_matrix(matrix)
    return BinaryProblems(matrix, within("noise", noise, -np.finfo(float).tiny))


def zero_forcing(matrix: Channel, received: Received) -> Symbols:
    """The least squares estimate ``x = A^+ y`` of a batch: no interference, louder noise.

    >>> import numpy as np, tenkai as tk
    >>> tk.algorithms.zero_forcing(2 * np.eye(2), np.array([[2.0, -2.0]])).tolist()
    [[1.0, -1.0]]
    """
    A = np.asarray(matrix)
    return (np.linalg.pinv(A) @ np.asarray(received)[..., None])[..., 0]


def linear_mmse(matrix: Channel, received: Received, noise: float) -> Symbols:
    """The best linear estimate ``(A^H A + noise^2 / P I)^-1 A^H y`` of a batch of problems.

    P is the power of a symbol, 1 for ±1 and 2 for ±1±i; `noise` is a standard deviation.

    >>> import numpy as np, tenkai as tk
    >>> tk.algorithms.linear_mmse(np.eye(2), np.array([[2.0, -2.0]]), noise=1.0).tolist()
    [[1.0, -1.0]]
    """
    A = np.asarray(matrix)
    adjoint = np.swapaxes(A.conj(), -1, -2)
    power = 2.0 if np.iscomplexobj(A) else 1.0
    gram = adjoint @ A + noise**2 / power * np.eye(A.shape[-1])
    return np.linalg.solve(gram, adjoint @ np.asarray(received)[..., None])[..., 0]


def symbol_errors(estimate: Symbols, target: Symbols) -> Bool[np.ndarray, "*batch n"]:
    """Which symbols are decided wrongly: the sign differs, of either part where complex.

    >>> import numpy as np, tenkai as tk
    >>> tk.algorithms.symbol_errors(np.array([0.2, -3.0]), np.array([1.0, 1.0])).tolist()
    [False, True]
    """
    wrong = (np.real(estimate) > 0) != (np.real(target) > 0)
    if np.iscomplexobj(target):
        wrong |= (np.imag(estimate) > 0) != (np.imag(target) > 0)
    return wrong
