"""What a model has to beat: last value, mean, straight line, autoregression.

A baseline reads times (n,) and one variable (n,), NaN where it was not observed, and forecasts at
later times (m,). Where nothing was observed it forecasts NaN.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from ..curriculum.naive import SIMPLE, last_value

AUTOREGRESSION = "AR"
NAMES = (*SIMPLE, AUTOREGRESSION)
_MOST_LAGS = 10
_EXACT = 1e-26  # mean squared residuals, in squares of the data, that are only rounding
_SAME_STEP = 1e-6  # gaps that differ by less than this share of the median are one step


def autoregression(
    t: np.ndarray, x: np.ndarray, at: np.ndarray, coverage: float = 0.9
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, lower and upper end (m,) of an autoregression ``x[k] = c + sum_i a_i x[k-i] + e[k]``.

    The observed values are put on a grid of the median step that ends at the last one, by straight
    lines across gaps and between irregular times. ``c, a`` are least squares; the order, from 0 to
    10 and at most a third of the grid, has the smallest AICc (Hurvich and Tsai 1989, eq. 3) on
    the points that all orders can predict. Forecasts are iterated, and lie on straight lines
    between the steps. The interval is that of normal ``e`` with known coefficients (Box and
    Jenkins 1970, ch. 5): ``var(j) = s² (psi_0² + ... + psi_{j-1}²)``.

    >>> t = np.arange(20.0)
    >>> wave = np.sin(t)                                   # x[k] = 2 cos(1) x[k-1] - x[k-2]
    >>> autoregression(t, wave, np.array([22.0]))[0].round(6) == np.sin(22.0).round(6)
    array([ True])
    """
    seen = ~np.isnan(x)
    if seen.sum() < 2:
        flat = last_value(t, x, at)
        return flat, flat, flat
    t, x = t[seen], x[seen]
    step, grid = _on_grid(t, x)
    count = int(np.ceil((at.max() - t[-1]) / step - _SAME_STEP))
    most = min(_MOST_LAGS, len(grid) // 3)
    for order in _orders(grid, most):  # the next best where a forecast overflows
        intercept, coefficients, residual = _least_squares(grid, order, order)
        variance = float(residual @ residual) / max(len(residual) - order - 1, 1)
        path, sd = _iterated(grid, intercept, coefficients, variance, max(count, 1))
        if np.isfinite(path).all() and np.isfinite(sd).all():
            break
    steps = t[-1] + step * np.arange(len(path) + 1)
    half = NormalDist().inv_cdf(0.5 + coverage / 2) * np.interp(at, steps, np.append(0.0, sd))
    middle = np.interp(at, steps, np.append(x[-1], path))
    return middle, middle - half, middle + half


def _on_grid(t: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray]:
    """The median step, and the values on a grid of it that ends at the last time."""
    gaps = np.diff(t)
    step = float(np.median(gaps))
    if np.allclose(gaps, step, rtol=_SAME_STEP, atol=0.0):
        return step, x
    count = int(np.floor((t[-1] - t[0]) / step + _SAME_STEP))
    return step, np.interp(t[-1] - step * np.arange(count, -1, -1), t, x)


def _orders(x: np.ndarray, most: int) -> list[int]:
    """Orders by AICc, the best first; order 0 is the last resort."""
    n = len(x) - most
    rounding = max(_EXACT * float(np.mean(x**2)), np.finfo(float).tiny)
    found = []
    for order in range(most + 1):
        parameters = order + 2
        room = n - parameters - 1
        if order and room < 1:
            break
        residual = _least_squares(x, order, most)[2]
        fit = n * np.log(max(float(np.mean(residual**2)), rounding))
        found.append((fit + 2 * parameters * n / max(room, 1), order))
    ranked = [order for _, order in sorted(found)]
    return [*ranked, 0]


def _least_squares(x: np.ndarray, order: int, first: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Intercept, coefficients (order,) and residuals, from the points after `first`.

    A few data determine long autoregressions badly: of equally good ones the smallest is taken.
    """
    rows = np.arange(max(first, order), len(x))
    level = x.mean()
    lags = np.stack([np.ones(len(rows)), *(x[rows - i] - level for i in range(1, order + 1))], 1)
    solved = np.linalg.lstsq(lags, x[rows] - level, rcond=1e-10)[0]
    residual = x[rows] - level - lags @ solved
    intercept = solved[0] + level * (1 - solved[1:].sum())
    return float(intercept), solved[1:], residual


def _iterated(
    x: np.ndarray, intercept: float, coefficients: np.ndarray, variance: float, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts of the next `count` steps and their standard deviations, each (count,)."""
    order = len(coefficients)
    known = list(x[len(x) - order :])
    psi = [0.0] * (order - 1) + [1.0]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(count):
            known.append(intercept + float(coefficients @ known[: -order - 1 : -1]))
            psi.append(float(coefficients @ psi[: -order - 1 : -1]))
        weights = np.array(psi[max(order - 1, 0) :][:count])
        sd = np.sqrt(variance * np.cumsum(weights**2))
    return np.array(known[order:]), sd
