"""What a density estimator is given, checked: tables, contexts, arguments, targets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_array, validate_data

from ..data.columns import as_numbers
from ..errors import InputError
from ..flows.checks import check_finite
from ..flows.flow import Architecture

if TYPE_CHECKING:
    from .flow_density import FlowDensity

AUTO = "auto"
F = TypeVar("F", bound=Callable)


class NotFitted(InputError, NotFittedError):
    """`InputError` in the form that scikit-learn catches."""


def all_or_nothing(fit: F) -> F:
    """A `fit` that, where it raises or is interrupted, leaves the estimator as it was."""

    @functools.wraps(fit)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        state = vars(self)
        before = dict(state)
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            state.clear()
            state.update(before)
            raise

    return cast(F, guarded)


def require_fitted(estimator: Any) -> None:
    """Raise unless `fit` or `match` has been called."""
    if not hasattr(estimator, "fit_"):
        raise NotFitted(
            type(estimator).__name__, expected="a fitted estimator", got="one that saw nothing",
            do="call fit, or match",
        )  # fmt: skip


def table(estimator: FlowDensity, x: Any, *, reset: bool) -> np.ndarray:
    """Rows (n, dim), float64, finite; sets or checks the columns as scikit-learn does.

    A wrong number or order of columns is scikit-learn's own `ValueError`.
    """
    _check_types(x, "X")
    found: Any = validate_data(
        estimator, x, reset=reset, dtype="float64", ensure_all_finite=False,
    )  # fmt: skip
    check_finite(found, column_names(x, found.shape[1]))
    return found


def column_names(x: Any, dim: int) -> tuple[str, ...]:
    """The names of a table's columns, else x0, x1, ..."""
    columns = getattr(x, "columns", None)
    return tuple(f"x{j}" for j in range(dim)) if columns is None else tuple(map(str, columns))


def _check_types(x: Any, what: str) -> None:
    """`InputError` naming the first column of a DataFrame that holds no numbers."""
    if not hasattr(x, "iloc") or not hasattr(x, "columns"):
        return
    for j, name in enumerate(x.columns):
        column = x.iloc[:, j]
        kind = getattr(column.dtype, "kind", "O")
        if kind in "iufb":
            continue
        values, bad = as_numbers(column)
        text = bool(bad.any())
        if text or kind in "mM" or np.isnan(values).all():
            said = repr(str(column[bad].iloc[0])) if text else "nothing"
            said = "dates" if kind in "mM" else said
            raise InputError(
                f"{what}, column {name!r}", expected="numbers", got=said,
                do="leave it out; categories go into context=, one column of 0 and 1 for each",
            )  # fmt: skip


def contexts(c: Any, rows: int, what: str = "context") -> tuple[np.ndarray, tuple[str, ...]]:
    """Contexts (rows, k), float64, finite, and their names; one column may be flat."""
    if hasattr(c, "to_frame") and not hasattr(c, "columns"):
        c = c.to_frame()
    _check_types(c, what)
    found = np.asarray(check_array(
        c, dtype="float64", ensure_all_finite=False, ensure_2d=False, input_name=what
    ))  # fmt: skip
    found = found[:, None] if found.ndim == 1 else found
    if found.shape[0] != rows or found.shape[1] == 0:
        raise InputError(
            what, expected=f"{rows} rows, one for each of X", got=f"shape {found.shape}",
            do="pass the known numbers of each row",
        )  # fmt: skip
    columns = getattr(c, "columns", None)
    width = found.shape[1]
    names = tuple(f"c{j}" for j in range(width)) if columns is None else tuple(map(str, columns))
    check_finite(found, names, what)
    return found, names


def given(estimator: FlowDensity, c: Any, rows: int) -> np.ndarray | None:
    """The context of rows to evaluate: what the density was fitted with, no more and no less.

    One context (k,) may stand for all rows.
    """
    names = estimator.context_names_
    if not names:
        if c is not None:
            raise InputError(
                "context", expected="none: the density was fitted without", got="some",
                do="leave it out, or fit with context=",
            )  # fmt: skip
        return None
    if c is None:
        raise InputError(
            "context", expected=f"{len(names)} numbers per row: {', '.join(names)}", got="none",
            do="pass context=, as in fit",
        )  # fmt: skip
    flat = np.ndim(c) < 2 and np.size(c) == len(names) and (rows != len(names) or rows == 1)
    if flat:
        _check_order(c, names)
        c = np.asarray(c, float).reshape(1, -1)
    one = np.ndim(c) == 2 and len(c) == 1
    found, other = contexts(c, 1 if one else rows)
    found = np.repeat(found, rows, axis=0) if one else found
    if found.shape[1] != len(names):
        raise InputError(
            "context", expected=f"{len(names)} columns: {', '.join(names)}",
            got=f"{found.shape[1]}", do="pass the context as in fit",
        )  # fmt: skip
    if hasattr(c, "columns") and other != names:
        raise InputError(
            "context", expected=f"the columns {', '.join(names)}", got=", ".join(other),
            do="order them as in fit",
        )  # fmt: skip
    return found


def _check_order(one: Any, names: tuple[str, ...]) -> None:
    """`InputError` for one context that names its numbers, a pandas Series, in another order."""
    labels = [str(label) for label in getattr(one, "index", ())] if hasattr(one, "iloc") else []
    if len(names) > 1 and sorted(labels) == sorted(names) and labels != list(names):
        raise InputError(
            "context", expected=f"the numbers {', '.join(names)}", got=", ".join(labels),
            do="order them as in fit",
        )  # fmt: skip


def base_rows(z: Any, dim: int) -> np.ndarray:
    """Rows of the base (n, dim), finite."""
    found = np.asarray(check_array(z, dtype="float64", ensure_all_finite=False))
    if found.shape[1] != dim:
        raise InputError(
            "Z", expected=f"{dim} columns", got=f"{found.shape[1]}", do="pass rows of the base"
        )
    check_finite(found, [f"z{j}" for j in range(dim)], "Z")
    return found


def check_arguments(estimator: FlowDensity) -> None:
    """`InputError` for arguments that cannot work whatever the data."""
    flow = estimator.flow
    if flow is not None and not isinstance(flow, Architecture):
        raise InputError(
            "flow", expected="an architecture such as tk.flows.FFJORD(), or None",
            got=type(flow).__name__, do="pass an instance",
        )  # fmt: skip
    for name in ("members", "matching", "steps", "batch"):
        _whole(name, getattr(estimator, name), 0 if name == "matching" else 1)
    for name in ("noise", "decay", "kinetic", "jacobian", "straight", "jitter", "rate"):
        _weight(name, getattr(estimator, name))
    if not float(estimator.jitter) < 1:
        raise InputError(
            "jitter", expected="a share of the end time, below 1", got=repr(estimator.jitter),
            do="pass 0.5",
        )  # fmt: skip
    check_seed(estimator.seed)
    if estimator.precision not in ("float32", "float64"):
        raise InputError(
            "precision", expected="float32 or float64", got=repr(estimator.precision),
            do="pick one of these",
        )  # fmt: skip


def _whole(name: str, value: Any, least: int) -> None:
    if value == AUTO:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(
            name, expected=f'a whole number of at least {least}, or "auto"', got=repr(value),
            do='pass "auto"',
        )  # fmt: skip


def _weight(name: str, value: Any) -> None:
    if isinstance(value, str) and value == AUTO and name not in ("jitter", "rate"):
        return
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    size = float(value) if number else -1.0
    usable = 0 <= size < float("inf") and (size > 0 or name != "rate")
    if not usable:
        least = "above" if name == "rate" else "of at least"
        raise InputError(
            name, expected=f"a number {least} zero", got=repr(value), do="pass another value"
        )


def check_seed(seed: Any) -> None:
    """`InputError` unless both NumPy and JAX take it."""
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= int(seed) < 2**32:
        raise InputError(
            "seed", expected="a whole number from 0 to 2^32 - 1", got=repr(seed), do="pass 0"
        )


def count_of(n: Any, name: str = "n", what: str = "rows") -> int:
    """How many rows to draw, or variables there are."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(
            name, expected="a whole number of at least 1", got=repr(n), do=f"pass how many {what}"
        )
    return int(n)


def fractions_of(fractions: Any) -> np.ndarray:
    """Fractions of the way from base to data, each from 0 to 1."""
    found = np.atleast_1d(np.asarray(fractions, float))
    if found.ndim != 1 or not len(found) or not ((found >= 0) & (found <= 1)).all():
        raise InputError(
            "fractions", expected="numbers from 0 (base) to 1 (data)", got=repr(fractions),
            do="pass [0.2, 0.4, 0.6, 0.8, 1]",
        )  # fmt: skip
    return found


def tolerance_of(rtol: Any, atol: Any) -> tuple[float, float]:
    """Both tolerances, above zero."""
    both = (rtol, rtol if atol is None else atol)
    for name, value in zip(("rtol", "atol"), both, strict=True):
        if not isinstance(value, int | float | np.number) or not 0 < value < 1:
            raise InputError(
                name, expected="a number between 0 and 1", got=repr(value), do="pass 1e-5"
            )
    return float(both[0]), float(both[1])


def per_variable(name: str, value: Any, dim: int) -> np.ndarray:
    """One number, or one for each variable."""
    found = np.asarray(value, float)
    if found.shape not in ((), (dim,)) or not np.isfinite(found).all():
        raise InputError(
            name, expected=f"a number, or {dim} of them", got=repr(value), do="pass finite numbers"
        )
    if name == "scale" and not (found > 0).all():
        raise InputError(name, expected="numbers above zero", got=repr(value), do="pass 1.0")
    return np.broadcast_to(found, (dim,)).copy()


def check_target(log_density: Callable, places: np.ndarray) -> None:
    """`InputError` unless the target gives one finite number at each of the `places`."""
    import jax

    name = "log_density"
    if not callable(log_density):
        raise InputError(
            name, expected="a function of one row (dim,)", got=type(log_density).__name__,
            do="pass lambda x: -0.5 * jnp.sum(x**2)",
        )  # fmt: skip
    try:
        shape = np.shape(jax.eval_shape(log_density, places[0]))
    except TypeError as error:
        raise InputError(
            name, expected="a function of one row (dim,), written with jax.numpy",
            got=str(error).splitlines()[0], do="use jax.numpy inside",
        ) from error  # fmt: skip
    if shape != ():
        raise InputError(
            name, expected="one number for one row (dim,)", got=f"shape {shape}",
            do="sum over the variables",
        )  # fmt: skip
    try:
        both = jax.jit(jax.vmap(jax.value_and_grad(log_density)))(places)
    except TypeError as error:  # whole numbers
        raise InputError(
            name, expected="a real number with a derivative", got=str(error).splitlines()[0][:120],
            do="return a float",
        ) from error  # fmt: skip
    found, slopes = (np.asarray(part) for part in both)
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        at = ", ".join(f"{v:.3g}" for v in places[bad[0]])
        raise InputError(
            name, expected="finite numbers", do="mend it, or pass mean= and scale= where it lives",
            got=f"{found[bad[0]]} at ({at}), {len(bad)} of {len(places)} places",
        )  # fmt: skip
    if not slopes.any():
        raise InputError(
            name, expected="a derivative, which leads the flow",
            got=f"a derivative of zero at all {len(places)} places tried",
            do="leave out steps, rounding and stop_gradient; a constant has no finite integral",
        )  # fmt: skip


def price_of(architecture: Architecture) -> tuple[str, ...]:
    """A note on the direction that is dear, none where both are cheap."""
    words = architecture.abilities.words()
    return (words,) if words else ()


def check_trains(architecture: Architecture, way: str) -> None:
    """`InputError` for a flow of images, or one that goes this way by a numerical inverse only."""
    if architecture.dequantise:
        raise InputError(
            f"{way} of {type(architecture).__name__}", expected="a flow of tables",
            got="one of images, whose grey levels are not to be shaped and whitened",
            do="train it by tk.flows.images.train, judge it by tk.flows.images.evaluate",
        )  # fmt: skip
    can = architecture.abilities
    price = can.to_base if way == "fit" else can.to_data
    if price == "numerical inverse":
        exact, other = ("densities of data", "match") if way == "fit" else ("samples", "fit")
        raise InputError(
            f"{way} of {architecture!r}", expected=f"a flow with exact {exact}",
            got="one that goes this way by a numerical inverse",
            do=f"pass tk.flows.Inverse({architecture!r}), another flow, or use {other}",
        )  # fmt: skip
