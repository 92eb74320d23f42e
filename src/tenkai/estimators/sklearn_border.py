"""What scikit-learn asks of estimators beyond their parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

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
