"""What a user passes to `VariationalProblem`, checked before any work."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..errors import InputError
from ..models.trials import PiecewiseConstant
from .ensemble import Ensemble


def as_interval(interval: Any) -> tuple[float, float]:
    """First and last time; `InputError` unless finite and in this order."""
    try:
        low, high = (float(v) for v in interval)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not (np.isfinite([low, high]).all() and low < high):
        raise InputError(
            "interval", expected="two finite times, the first one earlier", got=repr(interval),
            do="pass interval=(0, 1)",
        )  # fmt: skip
    return low, high


def as_boundary(
    boundary: Any, guess: Callable | None, interval: tuple[float, float]
) -> tuple[Float[np.ndarray, "2 dim"], bool]:
    """Ends (2, dim), NaN where free, and whether y is a scalar."""
    if not isinstance(boundary, list | tuple) or len(boundary) != 2:
        raise InputError(
            "boundary", expected="two ends, each a value, a vector or None for free",
            got=repr(boundary), do="pass boundary=(0, 1)",
        )  # fmt: skip
    if guess is not None and not callable(guess):
        raise InputError(
            "guess", expected="a function t -> y", got=repr(guess), do="pass guess=lambda t: 1.0"
        )
    try:
        if any(np.asarray(end).dtype.kind in "SU" for end in boundary):
            raise TypeError
        ends = [np.asarray(np.nan if end is None else end, float) for end in boundary]
    except (TypeError, ValueError):
        raise InputError(
            "boundary", expected="numbers, vectors or None", got=repr(boundary), do="mend it"
        ) from None
    shapes = {e.shape for e, b in zip(ends, boundary, strict=True) if b is not None}
    if not shapes:  # both free: only a guess can tell how many components there are
        shapes = {np.shape(guess(interval[0])) if guess is not None else ()}
    shape = shapes.pop()
    if shapes or len(shape) > 1 or any(np.isinf(e).any() for e in ends):
        raise InputError(
            "boundary", expected="finite ends of one shape, () or (dim,)",
            got=f"{boundary[0]!r} and {boundary[1]!r}", do="give both ends the same components",
        )  # fmt: skip
    return np.stack([np.broadcast_to(e, shape).reshape(-1) for e in ends]), shape == ()


def check_lagrangian(
    lagrangian: Callable, dim: int, scalar: bool, ensemble: Ensemble | None
) -> None:
    """`InputError` unless ``L(t, y, dy[, r])`` can be traced and is one real number."""
    form = "L(t, y, dy)" if ensemble is None else "L(t, y, dy, r)"
    number = jax.ShapeDtypeStruct((), np.float32)
    vector = number if scalar else jax.ShapeDtypeStruct((dim,), np.float32)
    arguments: list[Any] = [number, vector, vector]
    if ensemble is not None:
        few = number if ensemble.scalar else jax.ShapeDtypeStruct((ensemble.dim,), np.float32)
        arguments.append(few)
    try:
        inspect.signature(lagrangian).bind(*arguments)
    except (TypeError, ValueError) as error:
        raise InputError(
            "lagrangian", expected=f"a function {form}", got=str(error),
            do="pass r= for an ensemble, and leave it away for one problem",
        ) from None  # fmt: skip
    try:  # traced only: nothing is computed
        out = jax.eval_shape(lambda *a: jnp.asarray(lagrangian(*a)), *arguments)
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise InputError(
            "lagrangian", expected=f"{form} in JAX, with y of shape {vector.shape}",
            got=f"{type(error).__name__}: {said}", do="mend the Lagrangian",
        ) from error  # fmt: skip
    if out.shape != () or not jnp.issubdtype(out.dtype, jnp.floating):
        raise InputError(
            "lagrangian", expected="one real number at every time",
            got=f"{out.dtype} of shape {out.shape}",
            do="sum over the components; one boundary value per component makes y a vector",
        )  # fmt: skip
    check_indices("lagrangian", lagrangian, arguments)


def check_indices(name: str, function: Callable, shapes: Sequence[Any]) -> None:
    """`InputError` where a component is asked for that is not there: JAX would take the last one.

    NumPy's arrays raise there. Nothing is computed; other errors are those of arrays in JAX code.
    """

    def run() -> Any:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zero = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype)[()], tuple(shapes))
            return function(*zero)

    try:
        jax.eval_shape(run)
    except IndexError as error:
        raise InputError(
            name, expected="components that its arguments have", got=str(error),
            do=f"mend {name}; the first component has number 0",
        ) from None  # fmt: skip
    except Exception:
        return


def check_kind(trial: Any, quadrature: Any, penalty: Any) -> None:
    """`InputError` unless they can serve as a path, a quadrature and a weight."""
    if trial is not None and (
        isinstance(trial, PiecewiseConstant | type) or not hasattr(trial, "begin")
    ):
        raise InputError(
            "trial", expected="differentiable functions: Polynomial, Sine, RBF or Network",
            got=repr(trial), do="pick one from tenkai.problems, or leave trial away",
        )  # fmt: skip
    if quadrature is not None and (
        isinstance(quadrature, type) or not hasattr(quadrature, "nodes")
    ):
        raise InputError(
            "quadrature", expected="GaussLegendre(n), Trapezoid(n) or RightEndpoint(n)",
            got=repr(quadrature), do="pick one from tenkai.problems, or leave quadrature away",
        )  # fmt: skip
    if penalty is not None and not (isinstance(penalty, int | float | np.number) and penalty > 0):
        raise InputError(
            "penalty", expected="a positive weight, or None to build the ends in",
            got=repr(penalty), do="pass penalty=1000.0",
        )  # fmt: skip


def check_steps(steps: Any, finish: Any) -> None:
    """`InputError` unless both are None or whole numbers, not negative."""
    for name, value in (("steps", steps), ("finish", finish)):
        if value is not None and (not isinstance(value, int | np.integer) or value < 0):
            raise InputError(
                name, expected="a number of steps, or None", got=repr(value),
                do=f"pass {name}=200, or leave it away",
            )  # fmt: skip


def not_finite() -> NoReturn:
    """Of a Lagrangian that is NaN or infinite where the search begins."""
    raise InputError(
        "lagrangian", expected="finite values along the path that the search begins with",
        got="NaN or infinity", do="pass guess=, a path on which it is finite",
    )  # fmt: skip
