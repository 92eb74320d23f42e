"""What scikit-learn asks of estimators beyond their parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from sklearn.exceptions import NotFittedError

from ..errors import InputError

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
    """Raise unless it has learned."""
    if not hasattr(estimator, "fit_"):
        raise NotFitted(
            type(estimator).__name__, expected="a fitted estimator", got="one that saw nothing",
            do="call fit, or match" if hasattr(estimator, "match") else "call fit",
        )  # fmt: skip


class RowEstimator:
    """What estimators of rows can do once they have learned; `fit_` is the training."""

    def plot(self, **options: Any) -> Any:
        """A figure of what was learned beside the rows, and of the training."""
        require_fitted(self)
        from .. import report

        return report.plot(self, **options)

    def summary(self) -> str:
        """A few lines in words: what was learned and how good it is."""
        require_fitted(self)
        made: Any = self
        status = made.fit_.status
        return "\n".join([repr(self), str(status), *self._further(), *status.notes])

    def _further(self) -> list[str]:
        """Lines of the summary between the status and its notes."""
        return []

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fit_")


def check_finite(x: np.ndarray, given: Any, what: str) -> None:
    """`InputError` naming the first column and row that is no finite number."""
    x = x.reshape(len(x), -1)
    bad = ~np.isfinite(x)
    if not bad.any():
        return
    j = int(np.flatnonzero(bad.any(0))[0])
    row = int(np.flatnonzero(bad[:, j])[0])
    columns = getattr(given, "columns", None)
    name = f"{what.lower()}{j}" if columns is None else str(columns[j])
    said = "NaN" if np.isnan(x[row, j]) else str(x[row, j])
    raise InputError(
        f"{what}, column {name!r}", expected="finite numbers",
        got=f"{said} in row {row}, {int(bad[:, j].sum())} in all",
        do="leave these rows out, or fill them in",
    )  # fmt: skip
