"""What a classifier is given, checked: tables, images, labels, arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from ..classifiers import Augmentation, BodyKind, LinearStem, PaperStem, Stem
from ..classifiers.bodies import check_tolerance as check_tolerance
from ..errors import InputError
from ..fields import activation as check_activation
from .sklearn_border import check_finite, require_fitted

if TYPE_CHECKING:
    from .ode_classifier import ODEClassifier

AUTO = "auto"


class Labels(NamedTuple):
    """The classes in order, every row's index among them, notes."""

    classes: np.ndarray
    index: np.ndarray
    notes: tuple[str, ...]


def training_rows(estimator: ODEClassifier, X: Any, y: Any) -> tuple[np.ndarray, Any]:
    """Rows of a table (n, features), float64, or images (n, h, w, c), and their labels as given."""
    if y is not None and _rows_of(X) is not None and _rows_of(y) is not None:
        rows, labels = _rows_of(X), _rows_of(y)
        if rows != labels:
            raise InputError(
                "y", expected=f"{rows} labels, one for each row of X; inconsistent",
                got=f"{labels}", do="pass one label a row",
            )  # fmt: skip
    if _of_images(X):
        vars(estimator).pop("n_features_in_", None)  # of an earlier fit to a table
        vars(estimator).pop("feature_names_in_", None)
        return images(X), y
    validate: Any = validate_data  # whose y is typed as a string
    both = validate(
        estimator, X, y, reset=True, dtype="float64", ensure_all_finite=False,
        ensure_min_samples=2,
    )  # fmt: skip
    check_finite(both[0], X, "X")
    return both


def rows_like(estimator: ODEClassifier, X: Any) -> np.ndarray:
    """Rows to classify: of the kind and shape that were fitted."""
    require_fitted(estimator)
    shape = estimator.shape_
    if len(shape) == 3:
        if not _of_images(X):
            raise InputError(
                "X", expected=f"images {shape}, as in fit", got=f"shape {np.shape(X)}",
                do="pass (n, h, w) or (n, h, w, c)",
            )  # fmt: skip
        found = images(X)
        if found.shape[1:] != shape:
            raise InputError(
                "X", expected=f"images {shape}, as in fit", got=f"images {found.shape[1:]}",
                do="crop or resize them",
            )  # fmt: skip
        if (found.dtype == np.uint8) != estimator.bytes_:
            kinds = ("bytes" if estimator.bytes_ else "real numbers"), str(np.asarray(X).dtype)
            raise InputError(
                "X", expected=f"{kinds[0]}, as in fit", got=kinds[1], do="pass the same type"
            )
        return found
    if _of_images(X):
        raise InputError(
            "X", expected=f"a table of {shape[0]} columns, as in fit",
            got=f"images of shape {np.shape(X)}", do="pass rows",
        )  # fmt: skip
    found = cast(Any, validate_data(
        estimator, X, reset=False, dtype="float64", ensure_all_finite=False
    ))  # fmt: skip
    check_finite(found, X, "X")
    return found


def _rows_of(x: Any) -> int | None:
    shape = getattr(x, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    return len(x) if isinstance(x, list | tuple) else None


def _of_images(X: Any) -> bool:
    if hasattr(X, "iloc") or not hasattr(X, "shape"):
        return isinstance(X, list | tuple) and np.ndim(X) > 2
    return len(X.shape) > 2


def images(X: Any) -> np.ndarray:
    """Images (n, h, w, c), bytes or float32."""
    x = np.asarray(X)
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise InputError(
            "X", expected="images (n, h, w) or (n, h, w, c), or rows (n, features)",
            got=f"shape {x.shape}", do="reshape them",
        )  # fmt: skip
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise InputError(
            "X", expected="images of unsigned bytes (uint8) or real numbers",
            got=f"type {x.dtype}", do="convert with X.astype(np.uint8), or to float",
        )  # fmt: skip
    x = x[..., None] if x.ndim == 3 else x
    if x.dtype.kind == "f":
        x = x.astype(np.float32)
        bad = ~np.isfinite(x).all(axis=(1, 2, 3))
        if bad.any():
            raise InputError(
                f"X, image {int(np.flatnonzero(bad)[0])}", expected="finite pixels",
                got=f"NaN or infinity in {int(bad.sum())} of {len(x)} images",
                do="leave these images out, or fill them in",
            )  # fmt: skip
    return x


def labels(y: Any, rows: int) -> Labels:
    """Classes and indices; notes on classes that were seen once."""
    flat = column_or_1d(y, warn=True)
    check_classification_targets(flat)
    if len(flat) != rows:
        raise InputError(
            "y", expected=f"{rows} labels, one for each row of X", got=f"{len(flat)}",
            do="pass one label a row",
        )  # fmt: skip
    classes, index, counts = np.unique(flat, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise InputError(
            "y", expected="at least two classes", got=f"one class, {classes[0]!r}",
            do="pass rows of another class too",
        )  # fmt: skip
    once = [str(c) for c in classes[counts == 1]]
    notes = ()
    if once:
        names = ", ".join(once[:5]) + (", ..." if len(once) > 5 else "")
        notes = (
            f"{len(once)} of {len(classes)} classes were seen once ({names}): they train, and no "
            "held-out row can tell how well they are recognised",
        )
    return Labels(classes, index.ravel(), notes)


def check_arguments(estimator: ODEClassifier) -> None:
    """`InputError` for arguments that cannot work whatever the data."""
    for name, kind, words in (
        ("body", BodyKind, "tk.classifiers.ODE(), RungeKutta() or Residual()"),
        ("stem", Stem | PaperStem | LinearStem, "tk.classifiers.Stem() or PaperStem()"),
        ("augmentation", Augmentation, "tk.classifiers.Augmentation()"),
    ):
        value = getattr(estimator, name)
        if value is not None and not isinstance(value, kind):
            raise InputError(name, expected=f"{words}, or None", got=repr(value), do="pass one")
    check_activation(estimator.activation)
    for name, least, auto in (
        ("width", 1, True), ("steps", 1, True), ("batch", 1, True), ("patience", 1, False),
    ):  # fmt: skip
        _whole(name, getattr(estimator, name), least, auto)
    for name, low, high in (
        ("learning_rate", 0.0, 10.0), ("decay", 0.0, 10.0), ("smoothing", 0.0, 1.0),
        ("held_out", 0.0, 0.9),
    ):  # fmt: skip
        value = getattr(estimator, name)
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not low <= value < high:
            raise InputError(
                name, expected=f"a number from {low:g}, below {high:g}", got=repr(value),
                do="change it",
            )  # fmt: skip
    seed = estimator.seed
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InputError(
            "seed", expected="a whole number from 0 to 2^32 - 1", got=repr(seed), do="pass 0"
        )
    if estimator.precision not in (AUTO, "float32", "float64"):
        raise InputError(
            "precision", expected='"auto", "float32" or "float64"', got=repr(estimator.precision),
            do="pick one of these",
        )  # fmt: skip


def _whole(name: str, value: Any, least: int, auto: bool) -> None:
    if auto and isinstance(value, str) and value == AUTO:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(
            name, expected=f"a whole number of at least {least}" + (', or "auto"' if auto else ""),
            got=repr(value), do="change it",
        )  # fmt: skip


def check_for_kind(estimator: ODEClassifier, of_images: bool) -> None:
    """`InputError` for a stem or an augmentation of the other kind of data."""
    stem, augmentation = estimator.stem, estimator.augmentation
    if stem is not None and of_images == isinstance(stem, LinearStem):
        kind = "images" if of_images else "a table"
        raise InputError("stem", expected=f"a stem of {kind}", got=repr(stem), do="leave stem away")
    if augmentation is not None and not of_images:
        raise InputError(
            "augmentation", expected="None for a table", got=repr(augmentation),
            do="leave it away, or pass images",
        )  # fmt: skip


def depths_of(depths: Any) -> np.ndarray:
    """Depths, each from 0 to 1."""
    found = np.atleast_1d(np.asarray(depths, float))
    if found.ndim != 1 or not len(found) or not ((found >= 0) & (found <= 1)).all():
        raise InputError(
            "depths", expected="numbers from 0 (stem) to 1 (head)", got=repr(depths),
            do="pass [0, 0.5, 1]",
        )  # fmt: skip
    return found


def check_minutes(minutes: Any, checkpoint: Any) -> None:
    """`InputError` for a time that is none, or with a checkpoint: a fit resumes on equal steps."""
    if minutes is None:
        return
    number = isinstance(minutes, int | float | np.number) and not isinstance(minutes, bool)
    if not (number and 0 < minutes < np.inf):
        raise InputError("minutes", expected="a number above zero", got=repr(minutes), do="pass 5")
    if checkpoint is not None:
        raise InputError(
            "minutes", expected="no checkpoint beside it", got=f"checkpoint={str(checkpoint)!r}",
            do="pass steps= instead: a fit goes on only with the same number of steps",
        )  # fmt: skip
