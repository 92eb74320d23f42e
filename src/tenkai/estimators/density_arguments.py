"""The arguments of a density estimator and of its methods, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..flows.flow import Architecture

if TYPE_CHECKING:
    from .flow_density import FlowDensity

AUTO = "auto"


def check_arguments(estimator: FlowDensity) -> None:
    """`InputError` for arguments that cannot work whatever the data."""
    flow = estimator.flow
    if flow is not None and not isinstance(flow, Architecture):
        raise InputError(
            "flow", expected="an architecture such as tk.flows.FFJORD(), or None",
            got=type(flow).__name__, do="pass an instance",
        )  # fmt: skip
    if not isinstance(estimator.compare, bool | np.bool_):
        raise InputError(
            "compare", expected="True or False", got=repr(estimator.compare), do="pass False"
        )
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
    if isinstance(value, str) and value == AUTO:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(
            name, expected=f'a whole number of at least {least}, or "auto"', got=repr(value),
            do='pass "auto"',
        )  # fmt: skip


def _weight(name: str, value: Any) -> None:
    if isinstance(value, str) and value == AUTO and name != "jitter":
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
    """`InputError` for a flow that goes this way by a numerical inverse, or only by images."""
    if architecture.dequantise and way == "match":
        raise InputError(
            f"match of {type(architecture).__name__}", expected="a flow of real numbers",
            got="one of images, which are whole grey levels", do="use fit, or another flow",
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
