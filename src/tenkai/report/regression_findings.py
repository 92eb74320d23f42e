"""What pictures and pages show of a regressor, computed once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .findings import About, gather

_FINE = 201  # points of a drawn curve
_EFFECTS = 12  # columns
_SWEPT, _AVERAGED = 25, 100  # values of a column, rows


@runtime_checkable
class Regressing(Protocol):
    """A fitted ensemble of functions of rows: `FunctionRegressor`.

    It also has `held_out_`, `shown_`, `calibration_`, `fit_`, `model_`, `members`, `parameters_`,
    `target_names_`, `n_features_in_`.
    """

    def predict(self, X: Any, coverage: float | None = None) -> Any: ...

    def predict_members(self, X: Any) -> np.ndarray: ...

    def at_step(self, step: int) -> Any: ...


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that did not train: columns, targets, predictions and intervals (rows, ...)."""

    x: np.ndarray
    y: np.ndarray
    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @property
    def residuals(self) -> np.ndarray:
        """Observed minus predicted, (rows, targets)."""
        return self.y - self.mean


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of one column: the ensemble, its interval, least squares through the rows."""

    x: np.ndarray
    mean: np.ndarray
    lower: np.ndarray | None
    upper: np.ndarray | None
    line: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Effect:
    """The mean prediction over rows when one column takes the values `x` in all of them."""

    name: str
    x: np.ndarray
    mean: np.ndarray  # (values, targets)


@dataclass(frozen=True, eq=False, kw_only=True)
class RegressionFindings(About):
    """What the page shows of a regressor."""

    columns: tuple[str, ...]
    held_out: Any
    coverage: float
    rows: Rows | None
    curve: Curve | None
    effects: tuple[Effect, ...]
    count: int  # of a member's learned numbers


@gather.register(Regressing)
def _(estimator: Regressing, forecasts: Any = None, coverage: float = 0.9) -> RegressionFindings:
    found: Any = estimator
    rows = rows_of(found, coverage)
    return RegressionFindings(
        heading=f"{' and '.join(found.target_names_[:3])} as a function", kind=type(found).__name__,
        names=tuple(found.target_names_), units={}, time_name="", span=(0, 0), total_series=1,
        observations=0, fit=found.fit_, seconds={"training": float(found.fit_.seconds)},
        settings=dict(found.get_params(deep=False)), notes=(), model=found.model_,
        members=int(found.members), columns=columns_of(found), held_out=found.held_out_,
        coverage=coverage, rows=rows, curve=curve_of(found, rows, coverage),
        effects=_effects(found, rows), count=int(found.parameters_),
    )  # fmt: skip


def columns_of(found: Any) -> tuple[str, ...]:
    """Names of the columns."""
    names = getattr(found, "feature_names_in_", None)
    if names is not None:
        return tuple(map(str, names))
    count = found.n_features_in_
    return ("x",) if count == 1 else tuple(f"x{j}" for j in range(count))


def rows_of(found: Any, coverage: float = 0.9) -> Rows | None:
    """The rows that were kept for pictures; None where nothing was left out."""
    shown = found.shown_
    if shown is None:
        return None
    half = found.calibration_.half_width(shown["spread"], coverage)
    mean = shown["mean"]
    return Rows(shown["x"], shown["y"], mean, mean - half, mean + half)


def _named(found: Any, x: np.ndarray) -> Any:
    """Rows under the names that the regressor knows."""
    if not hasattr(found, "feature_names_in_"):
        return x
    import pandas as pd

    return pd.DataFrame(x, columns=found.feature_names_in_)


def curve_of(found: Any, rows: Rows | None, coverage: float = 0.9) -> Curve | None:
    """Of a single column, over the rows that were kept; else None."""
    if found.n_features_in_ != 1 or rows is None:
        return None
    x = np.linspace(rows.x.min(), rows.x.max(), _FINE)
    made = found.predict(_named(found, x[:, None]), coverage=coverage)
    parts = (np.asarray(v).reshape(len(x), -1) for v in (made.mean, made.lower, made.upper))
    design = np.stack([np.ones(len(rows.x)), rows.x[:, 0]], axis=1)
    line = np.linalg.lstsq(design, rows.y, rcond=None)[0]
    return Curve(x, *parts, np.stack([np.ones_like(x), x], axis=1) @ line)


def _effects(found: Any, rows: Rows | None) -> tuple[Effect, ...]:
    """Of the columns that move the predictions most, the first ones first."""
    if rows is None or rows.x.shape[1] < 2:
        return ()
    some = rows.x[np.unique(np.linspace(0, len(rows.x) - 1, _AVERAGED).round().astype(int))]
    made = []
    for j, name in enumerate(columns_of(found)):
        low, high = np.quantile(rows.x[:, j], [0.025, 0.975])
        values = np.linspace(low, high, _SWEPT) if high > low else np.array([low])
        swept = np.repeat(some[None], len(values), axis=0)
        swept[:, :, j] = values[:, None]
        answers = np.asarray(found.predict(_named(found, swept.reshape(-1, some.shape[1]))))
        made.append(Effect(name, values, answers.reshape(len(values), len(some), -1).mean(1)))
    units = np.where(rows.y.std(axis=0) > 0, rows.y.std(axis=0), 1.0)
    made.sort(key=lambda e: -float((np.ptp(e.mean, axis=0) / units).max()))
    return tuple(made[:_EFFECTS])
