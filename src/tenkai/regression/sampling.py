"""Rows of a function over a box: what kind of function it is, and batches of it by the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..errors import InputError
from .network import Affine
from .objectives import Pairs

_TRIED = 16  # rows
_BLOCK = 2**18  # numbers that a NumPy function is asked for at once


class Target(NamedTuple):
    """A function of a batch of rows in a box; `flat` says that the rows are numbers.

    `traced` says that JAX can trace it, so that batches are drawn inside the compiled loop.
    """

    function: Callable
    low: Float[np.ndarray, " in"]
    high: Float[np.ndarray, " in"]
    flat: bool
    outputs: int
    traced: bool

    def draw(self, rows: int, seed: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows (rows, in) uniform in the box and their values (rows, out), float64."""
        unit = np.random.default_rng(seed).random((rows, len(self.low)))
        x = self.low + (self.high - self.low) * unit
        return x, self.values(x)

    def values(self, x: Float[np.ndarray, "rows in"]) -> Float[np.ndarray, "rows out"]:
        """What the function says of rows; `InputError` unless finite numbers."""
        return _checked(_asked(self.function, x, self.flat), x)

    def uniform(self) -> Affine:
        """The scaling of the inputs: mean and standard deviation of the box."""
        width = self.high - self.low
        return Affine((self.low + self.high) / 2, width / np.sqrt(12))


def target_of(function: Callable, low: Any, high: Any, dtype: Any) -> Target:
    """The function, tried on a few rows; `InputError` where it cannot be learned.

    JAX traces it where it can, unless it answers the same rows differently the second time: noise
    of NumPy's would be drawn once, while tracing.
    """
    flat = np.ndim(low) == 0 and np.ndim(high) == 0
    low, high = _box(low, high)
    few = low + (high - low) * np.random.default_rng(0).random((_TRIED, len(low)))
    found = _checked(_asked(function, few, flat), few)
    again = _checked(_asked(function, few, flat), few)
    traced = bool((found == again).all()) and _traces(function, few, flat, found.shape, dtype)
    return Target(function, low, high, flat, found.shape[1], traced)


def _box(low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
    try:
        low, high = (np.atleast_1d(np.asarray(end, np.float64)) for end in (low, high))
        low, high = (np.array(end) for end in np.broadcast_arrays(low, high))
    except (TypeError, ValueError) as error:
        raise InputError(
            "low, high", expected="numbers, or one for each input", got=str(error),
            do="pass low=0, high=1, or two lists of the same length",
        ) from None  # fmt: skip
    if low.ndim != 1 or not len(low):
        raise InputError(
            "low, high", expected="numbers, or one for each input", got=f"shape {low.shape}",
            do="pass two lists of the same length",
        )  # fmt: skip
    bad = np.flatnonzero(~(np.isfinite(low) & np.isfinite(high) & (low < high)))
    if len(bad):
        i = int(bad[0])
        raise InputError(
            f"low, high of input {i}", expected="finite ends, low below high",
            got=f"{low[i]:g} and {high[i]:g}", do="correct the box",
        )  # fmt: skip
    return low, high


def _asked(function: Callable, x: np.ndarray, flat: bool) -> np.ndarray:
    try:
        return np.asarray(function(x[:, 0] if flat else x), np.float64)
    except InputError:
        raise
    except Exception as error:
        form = "(n,)" if flat else f"(n, {x.shape[1]})"
        raise InputError(
            "f", expected=f"a function of a batch of rows {form}",
            got=f"{type(error).__name__}: {error}",
            do="make it take all rows at once: jax.vmap, or NumPy on columns",
        ) from error  # fmt: skip


def _checked(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    rows = len(x)
    if y.ndim not in (1, 2) or len(y) != rows or y.size == 0:
        raise InputError(
            "f", expected=f"values (n,) or (n, outputs) of n = {rows} rows", got=f"shape {y.shape}",
            do="let it answer every row of the batch",
        )  # fmt: skip
    y = y.reshape(rows, -1)
    bad = ~np.isfinite(y).all(axis=1)
    if bad.any():
        at = ", ".join(f"{v:.6g}" for v in x[bad][0])
        raise InputError(
            "f", expected="finite numbers everywhere in the box",
            got=f"{y[bad][0].tolist()} at ({at})", do="make the box smaller, or mend f there",
        )  # fmt: skip
    return y


def _traces(function: Callable, few: np.ndarray, flat: bool, shape: tuple, dtype: Any) -> bool:
    """Whether JAX can trace the function, in the same shape."""
    x = jax.ShapeDtypeStruct((len(few),) if flat else few.shape, dtype)
    try:
        out = jax.eval_shape(lambda x: jnp.asarray(function(x)), x)
    except Exception:  # whatever it is: NumPy then
        return False
    return out.shape in (shape, shape[:1])


class Delivery:
    """Batches of a NumPy function by the step, every member its own: ``delivery(step)``.

    The function is asked for many steps at once. A step's rows hang on the seed and the step
    alone, so an interrupted fit goes on with the same ones.
    """

    def __init__(
        self, target: Target, inputs: Affine, outputs: Affine, members: int, batch: int,
        seed: int, dtype: Any,
    ):  # fmt: skip
        self.target, self.inputs, self.outputs = target, inputs, outputs
        self.members, self.batch, self.seed, self.dtype = members, batch, seed, dtype
        step = members * batch * (len(target.low) + target.outputs)
        self.steps = max(1, _BLOCK // step)
        self.at, self.block = -1, Pairs(None, None)

    def __call__(self, step: int) -> Pairs:
        """Columns (members, in, batch) and values (members, out, batch), standardised."""
        at, within = divmod(step, self.steps)
        if at != self.at:
            self.at, self.block = at, self._drawn(at)
        return Pairs(self.block.x[within], self.block.y[within])

    def _drawn(self, at: int) -> Pairs:
        x, y = self.target.draw(self.steps * self.members * self.batch, [self.seed, at])
        both = self.inputs.forward(x), self.outputs.forward(y)
        shape = self.steps, self.members, self.batch, -1
        return Pairs(*(np.swapaxes(a.reshape(shape), 2, 3).astype(self.dtype) for a in both))
