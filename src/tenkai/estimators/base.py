"""Parameters as scikit-learn keeps them, without the second that importing it costs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

from ..errors import InputError


class Estimator:
    """`__init__` stores its keyword arguments untouched; learned things end in an underscore.

    `_kept` names the attribute of an argument that shares its name with a method.
    """

    _kept: ClassVar[dict[str, str]] = {}

    @classmethod
    def _names(cls) -> list[str]:
        return [n for n in inspect.signature(cls.__init__).parameters if n != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {name: getattr(self, self._kept.get(name, name)) for name in self._names()}

    def set_params(self, **params: Any) -> Any:
        """Change constructor arguments; `InputError` for an unknown name."""
        for name, value in params.items():
            if name not in self._names():
                raise InputError(
                    f"parameter {name!r}", expected=", ".join(self._names()), got=name,
                    do="use one of these names",
                )  # fmt: skip
            setattr(self, self._kept.get(name, name), value)
        return self

    def __repr__(self) -> str:
        default = inspect.signature(type(self).__init__).parameters
        changed = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if not _same(value, default[name].default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def plot(self, **options: Any) -> Any:
        """A figure of panels: what was learned, beside the data, and the forecast."""
        self._fitted()
        from .. import report

        return report.plot(self, **options)

    def _fitted(self) -> None:
        if not hasattr(self, "fit_"):
            raise InputError(
                type(self).__name__, expected="a fitted estimator", got="one that never saw data",
                do="call fit first",
            )  # fmt: skip


def check_numbers(
    estimator: Any, least: Mapping[str, int], between: Mapping[str, tuple[float, float]],
    allowed: Mapping[str, Sequence[Any]],
) -> None:  # fmt: skip
    """`InputError` for the first argument that cannot work.

    `least` are bounds of whole numbers, `between` of real ones (from, below), `allowed` the values
    of those that have few.
    """
    for name, low in least.items():
        value = getattr(estimator, name)
        if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < low:
            raise InputError(
                name, expected=f"a whole number of at least {low}", got=repr(value),
                do="change it",
            )  # fmt: skip
    for name, (low, high) in between.items():
        value = getattr(estimator, name)
        if not isinstance(value, Real) or not low <= float(value) < high:
            raise InputError(
                name, expected=f"a number from {low} to {high}", got=repr(value), do="change it"
            )
    for name, known in allowed.items():
        if getattr(estimator, name) not in known:
            raise InputError(
                name, expected=" or ".join(map(repr, known)), got=repr(getattr(estimator, name)),
                do="pick one of these",
            )  # fmt: skip


def _same(a: Any, b: Any) -> bool:
    try:
        return bool(a is b or a == b)
    except ValueError:  # arrays
        return False
