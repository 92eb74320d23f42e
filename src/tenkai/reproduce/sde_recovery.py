"""SDE recovery: drift and diffusion of four processes, against exact maximum likelihood.

Ornstein-Uhlenbeck, geometric Brownian motion, a double well and a correlated plane process, 20
records each. Nothing is published; our own bounds stand in the notes. Parametric fields are
compared with the maximum of the exact likelihood of the same records (closed forms; for the double
well Chapman and Kolmogorov on a fine grid), networks with the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..diffusions.known import Known, all_known
from ..estimators import NeuralSDE
from . import Row, Task


class Linear(eqx.Module):
    """``theta (mu - y)``."""

    theta: float = 0.5
    mu: float = 0.5

    def __call__(self, t: Any, y: Any, u: Any) -> Any:
        return self.theta * (self.mu - y)


class Growth(eqx.Module):
    """``mu y``."""

    mu: float = 0.5

    def __call__(self, t: Any, y: Any, u: Any) -> Any:
        return self.mu * y


class Well(eqx.Module):
    """``a y - b y^3``."""

    a: float = 0.5
    b: float = 0.5

    def __call__(self, t: Any, y: Any, u: Any) -> Any:
        return self.a * y - self.b * y**3


class Level(eqx.Module):
    """``sigma``."""

    sigma: float = 1.0

    def __call__(self, t: Any, y: Any, u: Any) -> Any:
        return self.sigma + 0 * y


class Proportional(eqx.Module):
    """``sigma y``."""

    sigma: float = 1.0

    def __call__(self, t: Any, y: Any, u: Any) -> Any:
        return self.sigma * y


class Plane(eqx.Module):
    """``-matrix y``."""

    matrix: Any

    def __call__(self, t: Any, y: Any, u: Any) -> Any:
        return -self.matrix @ y


class Lower(eqx.Module):
    """A lower triangular matrix with the entries b00, b10, b11."""

    entries: Any

    def __call__(self, t: Any, y: Any, u: Any) -> Any:
        a, b, c = self.entries
        return jnp.array([[a, 0.0], [b, c]])


def first_guess(name: str) -> tuple[Callable, Callable]:
    """The equation of a process, with numbers to learn."""
    return {
        "OU": (Linear(), Level()),
        "GBM": (Growth(), Proportional()),
        "double well": (Well(), Level()),
        "2-D OU": (Plane(np.eye(2)), Lower(np.array([1.0, 0.1, 1.0]))),
    }[name]


def equations(known: Known, records: list[np.ndarray]) -> list[Row]:
    """Mean absolute errors of every parameter over those of exact maximum likelihood."""
    ours, exact = [], []
    for x in records:
        drift, diffusion = first_guess(known.name)
        fitted = NeuralSDE(drift=drift, diffusion=diffusion).fit(x, known.step)
        assert fitted.parameters_ is not None
        ours.append(fitted.parameters_["value"].to_numpy())
        exact.append(known.exact(x, known.step))
    mine, theirs = (np.abs(np.stack(a) - known.truth) for a in (ours, exact))
    rows = []
    for name, a, b in zip(known.parameters, mine.mean(0), theirs.mean(0), strict=True):
        note = f"mean error {a:.4f} against {b:.4f}; should be at most 1.2"
        what = f"{known.name}, {name}: error by that of exact ML"
        rows.append(Row(what, None, float(a / b), None, len(records), note=note))
    level = np.abs(known.truth[list(known.noise)])
    share = (mine[:, list(known.noise)] / level).mean(1)
    rows.append(_row(known, "diffusion's error, equation", share, "should be at most .05"))
    return rows


def networks(known: Known, records: list[np.ndarray]) -> tuple[list[Row], list]:
    """Errors of learned fields in L2 under the stationary law, and of the stationary variance."""
    found, curves = [], []
    for x in records:
        noise = "full" if x.ndim == 2 else "diagonal"
        fitted = NeuralSDE(noise=noise).fit(x, known.step)
        at = x[:, None] if known.states is None else known.states
        learned = fitted.drift(at), fitted.diffusion(at)
        curves.append(learned)
        wanted = known.fields(at)
        if known.states is None:  # in the logarithm, along the record
            learned, wanted = (_in_log(at, *f) for f in (learned, wanted))
        variance = np.diag(fitted.stationary().covariance)
        right = np.nan if known.covariance is None else np.diag(known.covariance)
        found.append([*map(_distance, learned, wanted), np.mean(variance / right - 1)])
    drift, diffusion, variance = np.array(found).T
    rows = [
        _row(known, "drift's error, network", drift, "should be at most .2"),
        _row(known, "diffusion's error, network", diffusion, "should be at most .1"),
    ]
    if known.covariance is not None:
        settled = variance[np.isfinite(variance)]
        note = f"mean {settled.mean():+.3f}; should be at most .1"
        if len(settled) < len(variance):
            note += f"; {len(variance) - len(settled)} records without a stationary law"
        rows.append(_row(known, "stationary variance's error, network", np.abs(settled), note))
    return rows, curves


def _in_log(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drift and diffusion of the logarithm, by Ito's formula."""
    return a / x - 0.5 * (b / x) ** 2, b / x


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.sum((a - b) ** 2) / np.sum(b**2)))


def _row(known: Known, what: str, values: np.ndarray, note: str) -> Row:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Row(
        f"{known.name}, {what}", None, float(np.mean(values)), spread, len(values), note=note
    )


def run(
    task: Task = Task(), *, records: int = 20, length: int | None = None, only: tuple = ()
) -> list[Row]:
    """All processes, or `only` some by name; records of a given `length` instead of their own."""
    rows: list[Row] = []
    for known in all_known():
        if only and known.name not in only:
            continue
        drawn = known.draw(range(records), length or known.length, known.step)
        more, curves = networks(known, drawn)
        rows += [*equations(known, drawn), *more]
        if task.out is not None and known.name == "double well":
            from ..report.diffusion import recovered

            picture = recovered(known, curves)
            picture.savefig(task.out / "sde-recovery.png", dpi=150)
    return rows
