"""What a regressor is given, checked: tables, targets, weights, arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from sklearn.utils.validation import _check_sample_weight, validate_data

from ..errors import InputError
from ..fields import activation as check_activation
from ..regression.table import Table, distinct
from .sklearn_border import check_finite, require_fitted

if TYPE_CHECKING:
    from .function_regressor import FunctionRegressor

AUTO = "auto"


class Given(NamedTuple):
    """Distinct rows, whether the targets were a column or a table, their names, notes."""

    table: Table
    flat: bool
    names: tuple[str, ...]
    notes: tuple[str, ...]


def training_rows(estimator: FunctionRegressor, X: Any, y: Any, sample_weight: Any) -> Given:
    """Rows, targets and weights of a fit."""
    if y is not None:
        _check_lengths(X, y)
    validate: Any = validate_data  # whose y is typed as a string
    x, _ = validate(
        estimator, X, y if y is None else np.zeros(len(np.asarray(y))), reset=True,
        dtype="float64", ensure_all_finite=False,
    )  # fmt: skip
    check_finite(x, X, "X")
    targets = _targets(y)
    if len(targets) != len(x):
        raise InputError(
            "y", expected=f"{len(x)} targets, one for each row of X; inconsistent",
            got=f"{len(targets)}", do="pass one target a row",
        )  # fmt: skip
    weight = _weights(sample_weight, x)
    wide = targets.reshape(len(targets), -1)
    table = distinct(x, wide, weight)
    if not len(table):
        raise InputError(
            "sample_weight", expected="at least one row with a weight above zero", got="none",
            do="pass positive weights",
        )  # fmt: skip
    return Given(table, targets.ndim == 1, _names(y, wide.shape[1]), _notes(table, len(x)))


def rows_like(estimator: FunctionRegressor, X: Any) -> np.ndarray:
    """Rows to predict: the columns that were fitted."""
    require_fitted(estimator)
    found = cast(Any, validate_data(
        estimator, X, reset=False, dtype="float64", ensure_all_finite=False
    ))  # fmt: skip
    check_finite(found, X, "X")
    return found


def _check_lengths(X: Any, y: Any) -> None:
    lengths = [_length(X), _length(y)]
    if None not in lengths and lengths[0] != lengths[1]:
        raise InputError(
            "y", expected=f"{lengths[0]} targets, one for each row of X; inconsistent",
            got=f"{lengths[1]}", do="pass one target a row",
        )  # fmt: skip


def _length(x: Any) -> int | None:
    shape = getattr(x, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    return len(x) if isinstance(x, list | tuple) else None


def _targets(y: Any) -> np.ndarray:
    given = np.asarray(y)
    if np.iscomplexobj(given):
        raise InputError(
            "y", expected="real numbers", got="complex ones: Complex data not supported",
            do="pass real and imaginary part as two targets",
        )  # fmt: skip
    try:
        targets = given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("y", expected="numbers", got=str(error), do="convert it") from None
    if targets.ndim not in (1, 2) or targets.size == 0:
        raise InputError(
            "y", expected="targets (n,) or (n, targets)", got=f"shape {targets.shape}",
            do="reshape it",
        )  # fmt: skip
    check_finite(targets, y, "y")
    return targets


def _weights(sample_weight: Any, x: np.ndarray) -> np.ndarray:
    check: Any = _check_sample_weight
    weight = check(sample_weight, x, dtype=np.float64)
    if (weight < 0).any():
        raise InputError(
            "sample_weight", expected="weights of at least zero",
            got=f"{weight.min():g} in row {int(weight.argmin())}", do="leave such rows out",
        )  # fmt: skip
    return weight


def _names(y: Any, count: int) -> tuple[str, ...]:
    columns = getattr(y, "columns", None)
    if columns is not None:
        return tuple(map(str, columns))
    name = getattr(y, "name", None)
    if count == 1:
        return (str(name) if name is not None else "y",)
    return tuple(f"y{j}" for j in range(count))


def _notes(table: Table, rows: int) -> tuple[str, ...]:
    notes = []
    constant = np.flatnonzero(np.ptp(table.y, axis=0) == 0)
    if len(constant) and len(table) > 1:
        notes.append(f"target {int(constant[0])} is constant: nothing to learn from it")
    if len(table) < rows:
        notes.append(
            f"{rows - len(table)} of {rows} rows are copies of others, or weigh nothing: a copy "
            "counts as weight of one row"
        )
    return tuple(notes)


def check_arguments(estimator: FunctionRegressor) -> None:
    """`InputError` for arguments that cannot work whatever the data."""
    hidden = estimator.hidden
    sizes = isinstance(hidden, tuple | list) and all(_whole(n, 1) for n in hidden)
    if not sizes:
        raise InputError(
            "hidden", expected="units of each hidden layer, (64, 64), or () for a linear model",
            got=repr(hidden), do="pass a tuple of whole numbers",
        )  # fmt: skip
    check_activation(estimator.activation)
    check_activation(estimator.output_activation)
    for name, least, other in (
        ("members", 1, ""), ("steps", 1, AUTO), ("batch", 1, AUTO), ("patience", 1, None),
        ("snapshot_every", 1, None), ("seed", 0, ""),
    ):  # fmt: skip
        value = getattr(estimator, name)
        allowed = value is None if other is None else other and isinstance(value, str)
        if not (allowed and value == other) and not _whole(value, least):
            more = {None: ", or None", AUTO: ', or "auto"'}.get(other, "")
            raise InputError(
                name, expected=f"a whole number of at least {least}{more}", got=repr(value),
                do="change it",
            )  # fmt: skip
    for name, low, high in (
        ("learning_rate", 0.0, 10.0), ("decay", 0.0, 10.0), ("held_out", 0.0, 0.5 + 1e-12),
    ):  # fmt: skip
        value = getattr(estimator, name)
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not low <= value < high:
            raise InputError(
                name, expected=f"a number from {low:g} to {high:g}", got=repr(value), do="change it"
            )
    for name, known in (
        ("schedule", ("cosine", "constant")), ("precision", ("float32", "float64")),
        ("standardise", (True, False)),
    ):  # fmt: skip
        if getattr(estimator, name) not in known:
            raise InputError(
                name, expected=" or ".join(map(repr, known)), got=repr(getattr(estimator, name)),
                do="pick one of these",
            )  # fmt: skip


def _whole(value: Any, least: int) -> bool:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(value >= least)


def check_coverage(estimator: FunctionRegressor, coverage: Any) -> None:
    """`InputError` for a coverage that is none, and where nothing was held out to calibrate."""
    number = isinstance(coverage, int | float | np.number) and not isinstance(coverage, bool)
    if not (number and 0 < coverage < 1):
        raise InputError(
            "coverage", expected="a share between 0 and 1", got=repr(coverage), do="pass 0.9"
        )
    if estimator.calibration_ is None:
        raise InputError(
            "coverage", expected="rows that were left out, to calibrate intervals with",
            got=f"held_out={estimator.held_out:g}, and too few rows"
            if estimator.held_out
            else "held_out=0",
            do="fit with held_out=0.1 and at least five rows",
        )  # fmt: skip
