"""Minimising a smooth function of a model's numbers: optax first, then Newton's method.

Expansions in overlapping functions have Hessians of condition 1e20 and more, on which first-order
rules stand still. With few numbers the exact Hessian is cheap: its eigenvectors say in which
directions there is curvature to trust, and whether there is a minimum at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from ..fit import fit
from ..objectives import Aux

DENSE = 400  # numbers up to which the Hessian is formed
_NOISE = 1e-13  # eigenvalues below this share of the largest are rounding
_NEGATIVE = 1e-6  # a share of the largest eigenvalue; more negative curvature is real


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a minimisation ended.

    `kind` is "minimum", "unbounded" (the value keeps falling), "saddle" (flat, but curved
    downwards), "stalled" or "not finite"; `gradient` the largest entry of the gradient, `curvature`
    the smallest eigenvalue of the Hessian over the largest (None where it was not formed).
    """

    model: Any
    value: float
    kind: str
    gradient: float
    curvature: float | None
    steps: int
    history: list[dict[str, Any]]


def minimise(
    loss: Callable[[Any, Any], Any],
    model: PyTree,
    data: PyTree = None,
    *,
    rule: optax.GradientTransformation | None = None,
    steps: int = 0,
    finish: int = 200,
    tolerance: float = 1e-12,
    floor: float = -1e12,
    hessian: bool | None = None,
    objective: Callable | None = None,
    stream: Any = None,
    key: Any = None,
    **options: Any,
) -> Minimum:
    """Minimise ``loss(model, data)`` over the model's float arrays: `steps` of `rule`, then Newton.

    The first phase is `tenkai.fit` (with `objective` and `stream` where it is stochastic: then
    `loss` is what the finish and the judgement see, with its randomness fixed in `data`). At most
    `finish` steps of the second phase: Newton where the `hessian` is wanted (None: up to 400
    numbers), else L-BFGS;
    it ends when the predicted decrease is below `tolerance` of the value. A value below `floor`
    is unbounded. Call it inside ``jax.enable_x64(True)``.
    """
    history: list[dict[str, Any]] = []
    taken = 0
    if steps:
        made = fit(
            model, objective or _Plain(loss), data if stream is None else stream,
            rule=rule or optax.adam(1e-2), steps=steps, key=key, **options,
        )  # fmt: skip
        model, history, taken = made.model, list(made.history), made.steps
    numbers, rest = eqx.partition(model, eqx.is_inexact_array)
    flat = _flattened(numbers)
    value = _Flat(loss, numbers, rest)
    dense = flat.size <= DENSE if hessian is None else hessian
    if dense:
        at = _Evaluated(value, data)
        x, f, kind, more = _newton(at, flat, finish, tolerance, floor)
        gradient, curvature = _judge(*at(x)[1:])
    else:
        x, f, kind, more = _limited(value, flat, data, finish, tolerance, floor)
        gradient, curvature = float(jnp.abs(_slope(value, x, data)[1]).max()), None
    if kind == "minimum" and curvature is not None and curvature < -_NEGATIVE:
        kind = "saddle"
    model = eqx.combine(_shaped(x, numbers), rest)
    return Minimum(model, float(f), kind, gradient, curvature, taken + more, history)


def value_of(loss: Callable, model: PyTree, data: PyTree = None) -> float:
    """The loss at a model, by the program that `minimise` uses too."""
    numbers, rest = eqx.partition(model, eqx.is_inexact_array)
    return float(_only(_Flat(loss, numbers, rest), _flattened(numbers), data))


@dataclass(frozen=True)
class _Plain:
    """A loss without randomness as an objective of `fit`; equal ones share compiled programs."""

    loss: Callable

    def __call__(self, model: PyTree, data: PyTree, key: Any) -> tuple[Any, Aux]:
        return self.loss(model, data), Aux()


class _Flat(eqx.Module):
    """The loss of one vector. As a PyTree it shares compiled programs with later calls."""

    loss: Callable = eqx.field(static=True)
    numbers: PyTree  # for their shapes
    rest: PyTree

    def __call__(self, x: Any, data: PyTree) -> Any:
        return self.loss(eqx.combine(_shaped(x, self.numbers), self.rest), data)


def _flattened(numbers: PyTree) -> np.ndarray:
    """All numbers behind one another; NumPy, which compiles nothing."""
    return np.concatenate([np.zeros(0), *(np.ravel(a) for a in jax.tree.leaves(numbers))])


def _shaped(x: Any, like: PyTree) -> PyTree:
    """Numbers behind one another (NumPy or traced), in their shapes and precision."""
    leaves, tree = jax.tree.flatten(like)
    last = np.cumsum([np.size(a) for a in leaves])
    parts = [
        x[end - np.size(a) : end].reshape(np.shape(a)).astype(a.dtype)
        for a, end in zip(leaves, last, strict=True)
    ]
    return jax.tree.unflatten(tree, parts)


@eqx.filter_jit
def _only(value: _Flat, x: Any, data: PyTree) -> Any:
    return value(x, data)


@eqx.filter_jit
def _slope(value: _Flat, x: Any, data: PyTree) -> tuple[Any, Any]:
    return jax.value_and_grad(value)(x, data)


@eqx.filter_jit
def _derivatives(value: _Flat, x: Any, data: PyTree) -> tuple[Any, Any, Any]:
    f, g = jax.value_and_grad(value)(x, data)
    h = jax.hessian(value)(x, data)
    return f, g, (h + h.T) / 2


class _Evaluated:
    """A loss and its derivatives; the last ones are kept."""

    def __init__(self, value: _Flat, data: PyTree):
        self.value, self.data = value, data
        self._x: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        if x is not self._x:
            f, g, h = _derivatives(self.value, x, self.data)
            self._x, self._kept = x, (float(f), np.asarray(g), np.asarray(h))
        return self._kept

    def only(self, x: np.ndarray) -> float:
        """The loss alone, a program of its own: compiled where a step is first rejected."""
        return float(_only(self.value, x, self.data))


def _newton(
    at: _Evaluated, x: np.ndarray, most: int, tolerance: float, floor: float
) -> tuple[np.ndarray, float, str, int]:
    """Newton's method, damped (Levenberg 1944) until the value falls.

    In the eigenbasis of the Hessian a step is ``-g_i / (|l_i| + damping)``: downhill also where
    the curvature is negative. Flat directions have a small curvature lent to them.
    """
    damping, fell = 0.0, False
    f, g, h = at(x)
    for taken in range(most):
        if not all(np.isfinite(v).all() for v in (f, g, h)):
            return x, f, "not finite", taken
        if f < floor:
            return x, f, "unbounded", taken
        close = tolerance * max(1e-3, abs(f))
        eigen, basis, slope = _directions(g, h, close)
        saddle = eigen[0] < -_NEGATIVE * np.abs(eigen).max()
        while True:
            step, expected = _damped(eigen, slope, damping)
            new = x + basis @ step
            f_new = at.only(new) if damping else at(new)[0]  # undamped steps are mostly taken
            if f_new <= f - 1e-4 * expected or expected <= close or damping > 1e8:
                break
            damping = max(4 * damping, 1e-8)
        if expected <= close:
            way = _out(at.only, x, f, basis[:, 0]) if saddle else None
            if way is None:
                better = f_new <= f + close
                return new if better else x, f_new if better else f, "minimum", taken
            new, f_new = way
        elif not f_new < f:
            return x, f, "stalled", taken
        damping = 0.0 if damping < 1e-7 else damping / 8
        fell = f - f_new > 1e-6 * abs(f_new) or saddle
        x = new
        f, g, h = at(x)
    return x, f, "unbounded" if fell else "stalled", most


def _out(
    only: Callable[[np.ndarray], float], x: np.ndarray, f: float, downhill: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """One step out of a saddle along its most negative curvature; the gradient shows no way."""
    for length in (1.0, -1.0, 0.1, -0.1, 0.01, -0.01, 1e-3, -1e-3):
        new = x + length * downhill
        f_new = only(new)
        if f_new < f:
            return new, f_new
    return None


def _directions(
    g: np.ndarray, h: np.ndarray, close: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues, eigenvectors, and the gradient along them.

    Where the curvature is rounding the gradient counts only if it is none: what a step of the size
    that `close` allows would gain.
    """
    eigen, basis = np.linalg.eigh(h)
    slope = basis.T @ g
    top = max(float(np.abs(eigen).max()), 1e-300)
    rounding = np.abs(eigen) < _NOISE * top
    flat = rounding & (slope**2 < max(close, _NOISE * float(np.abs(slope).max()) ** 2) * 1e-3 * top)
    return eigen, basis, np.where(flat, 0.0, slope)


def _damped(eigen: np.ndarray, slope: np.ndarray, damping: float) -> tuple[np.ndarray, float]:
    """A step along the eigenvectors and the decrease that the quadratic model expects."""
    top = max(float(np.abs(eigen).max()), 1e-300)
    size = np.where(np.abs(eigen) < _NOISE * top, 1e-3 * top, np.abs(eigen))
    step = -slope / (size + damping * top)
    return step, max(0.0, -float(slope @ step + 0.5 * (eigen * step) @ step))


def _limited(
    value: _Flat, x: np.ndarray, data: PyTree, most: int, tolerance: float, floor: float
) -> tuple[np.ndarray, float, str, int]:
    """L-BFGS (Nocedal 1980) by SciPy, for more numbers than a Hessian is formed for."""
    from scipy.optimize import minimize

    begun = float(_slope(value, x, data)[0])
    if not most or not np.isfinite(begun):
        return x, begun, "stalled" if np.isfinite(begun) else "not finite", 0
    scale = 1 / max(1e-3, abs(begun))  # SciPy's tolerances take 1 for large

    def at(x: np.ndarray) -> tuple[float, np.ndarray]:
        f, g = _slope(value, x, data)
        return scale * float(f), scale * np.asarray(g, float)

    found = minimize(
        at, x, jac=True, method="L-BFGS-B",
        options={"maxiter": 10 * most, "maxfun": 20 * most, "maxcor": 30, "ftol": tolerance,
                 "gtol": 1e-10},
    )  # fmt: skip
    f = float(found.fun) / scale
    if not np.isfinite(f):
        return found.x, f, "not finite", found.nit
    if f < floor:
        return found.x, f, "unbounded", found.nit
    return found.x, f, "minimum" if found.success else "stalled", found.nit


def _judge(g: np.ndarray, h: np.ndarray) -> tuple[float, float | None]:
    """The largest entry of the gradient, and the smallest eigenvalue over the largest."""
    if not np.isfinite(h).all():
        return float(np.abs(g).max()), None
    eigen = np.linalg.eigvalsh(h)
    return float(np.abs(g).max()), float(eigen[0] / max(np.abs(eigen).max(), 1e-300))
