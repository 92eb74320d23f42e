"""What `UKR` is given, checked: rows with gaps, weights, latents, arguments."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.utils.validation import _check_sample_weight, validate_data

from ..errors import InputError
from ..manifolds.kernels import kernel_named
from ..manifolds.starts import STARTS
from .sklearn_border import require_fitted

if TYPE_CHECKING:
    from .ukr import UKR

AUTO = "auto"
LARGE = 20_000  # rows above which some of them stand for all
INDUCING = 5000  # how many, unless it is said
_WIDE = 5000  # rows that train in float64 unless the precision is said


def training_rows(estimator: UKR, X: Any, weight: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, features) and their weights, float64; NaN stands for what is not observed."""
    x = cast(Any, validate_data(
        estimator, X, reset=True, dtype="float64", ensure_all_finite="allow-nan",
        ensure_min_samples=2,
    ))  # fmt: skip
    _check_observed(x, X)
    w = _check_sample_weight(weight, x, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(w) | (w < 0))
    if len(bad):
        raise InputError(
            "sample_weight", expected="numbers of at least zero",
            got=f"{w[bad[0]]} in row {bad[0]}", do="leave these rows out",
        )  # fmt: skip
    counted = int(((w > 0) & ~np.isnan(x).all(1)).sum())
    if counted < 2:
        raise InputError(
            "sample_weight" if weight is not None else "X",
            expected="at least two rows with observed entries and a weight above zero",
            got=str(counted), do="pass more rows",
        )  # fmt: skip
    return x, w


def rows_like(estimator: UKR, X: Any) -> np.ndarray:
    """Rows to project, with the columns that were fitted; NaN is not observed."""
    require_fitted(estimator)
    return cast(Any, validate_data(
        estimator, X, reset=False, dtype="float64", ensure_all_finite="allow-nan"
    ))  # fmt: skip


def latents_like(estimator: UKR, Z: Any) -> np.ndarray:
    """Latents (n, n_components) to decode."""
    require_fitted(estimator)
    z = np.asarray(Z, dtype=float)
    wanted = estimator.model_.latents
    if z.ndim != 2 or z.shape[1] != wanted or not np.isfinite(z).all():
        got = f"shape {z.shape}" if z.ndim != 2 or z.shape[1] != wanted else "NaN or infinity"
        raise InputError(
            "Z", expected=f"rows of {wanted} finite latents, as transform gives", got=got,
            do="pass transform(X), or points of a grid",
        )  # fmt: skip
    return z


def _check_observed(x: np.ndarray, given: Any) -> None:
    empty = np.flatnonzero(np.isnan(x).all(0))
    if len(empty):
        columns = getattr(given, "columns", None)
        name = f"x{empty[0]}" if columns is None else str(columns[empty[0]])
        raise InputError(
            f"X, column {name!r}", expected="observed entries", got="NaN in every row",
            do="leave the column out",
        )  # fmt: skip


def start_of(estimator: UKR, rows: int) -> str | np.ndarray:
    """A start by name, or latents of all rows."""
    init = estimator.init
    if isinstance(init, str):
        if init not in STARTS:
            raise InputError(
                "init", expected=", ".join(map(repr, STARTS)) + " or an array", got=repr(init),
                do="pick one of these",
            )  # fmt: skip
        return init
    try:
        z = np.asarray(init, dtype=float)
    except (TypeError, ValueError):
        z = np.empty(0)
    wanted = (rows, int(estimator.n_components))
    if z.shape != wanted or not np.isfinite(z).all():
        got = f"shape {z.shape}" if z.shape != wanted else "NaN or infinity"
        raise InputError(
            "init", expected=f"a name, or finite latents of shape {wanted}, one for each row",
            got=got, do="pass 'pca', or an array of that shape",
        )  # fmt: skip
    return z


def box_of(estimator: UKR) -> tuple[float, float] | None:
    """The ends of the box of latents, None where they are free."""
    box = estimator.box
    if box is None:
        return None
    try:
        low, high = map(float, box)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError(
            "box", expected="(low, high) with low < high, or None", got=repr(box),
            do="pass (-1, 1)",
        )  # fmt: skip
    return low, high


def check_arguments(estimator: UKR) -> None:
    """`InputError` for arguments that cannot work whatever the data."""
    kernel_named(estimator.kernel)
    _whole("n_components", estimator.n_components, 1)
    _whole("steps", estimator.steps, 0)
    _whole("snapshots", estimator.snapshots, 1)
    _whole("seed", estimator.seed, 0)
    if estimator.bandwidth != AUTO or not isinstance(estimator.bandwidth, str):
        _number("bandwidth", estimator.bandwidth, 0, ' or "auto"', open_=True)
    _number("penalty", estimator.penalty, 0)
    _number("learning_rate", estimator.learning_rate, 0, open_=True)
    _number("widening", estimator.widening, 1)
    inducing = estimator.inducing
    if inducing is not None and not (isinstance(inducing, str) and inducing == AUTO):
        _whole("inducing", inducing, 2, ', None or "auto"')
    if not isinstance(estimator.leave_one_out, bool | np.bool_):
        raise InputError(
            "leave_one_out", expected="True or False", got=repr(estimator.leave_one_out),
            do="pass True",
        )  # fmt: skip
    if estimator.precision not in (AUTO, "float32", "float64"):
        raise InputError(
            "precision", expected='"auto", "float32" or "float64"', got=repr(estimator.precision),
            do="pick one of these",
        )  # fmt: skip
    box_of(estimator)


def _whole(name: str, value: Any, least: int, more: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise InputError(
            name, expected=f"a whole number of at least {least}{more}", got=repr(value),
            do="change it",
        )  # fmt: skip


def _number(name: str, value: Any, low: float, more: str = "", *, open_: bool = False) -> None:
    real = isinstance(value, Real) and not isinstance(value, bool)
    number = float(value) if real else float("nan")
    sound = np.isfinite(number) and (number > low if open_ else number >= low)
    if not sound:
        how = "above" if open_ else "of at least"
        raise InputError(
            name, expected=f"a number {how} {low:g}{more}", got=repr(value), do="change it"
        )


def inducing_of(estimator: UKR, rows: int) -> int | None:
    """How many rows train; None for all."""
    if isinstance(estimator.inducing, str):
        return INDUCING if rows > LARGE else None
    wanted = estimator.inducing
    return None if wanted is None or int(wanted) >= rows else int(wanted)


def precision_of(estimator: UKR, rows: int) -> str:
    """Of the training; float64 for small tables."""
    if estimator.precision != AUTO:
        return estimator.precision
    return "float64" if rows <= _WIDE else "float32"
