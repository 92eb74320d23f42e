"""What the numbers of a fit say in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..records import HeldOut, Status

if TYPE_CHECKING:
    from .neural_ode import NeuralODE

LEVEL_END = "within the held-out end R² is"  # how a note begins that warns
_POOR = 0.5
_WELL = 0.25  # standard deviations: where the end is level, a naive forecast is hard to beat


def r_squared(paths: Sequence[np.ndarray], observed: Sequence[np.ndarray]) -> np.ndarray:
    """Coefficient of determination per variable, (dim,), pooled over series; -inf if not finite."""
    y, x = np.concatenate(paths), np.concatenate(observed)
    with np.errstate(invalid="ignore", over="ignore"):
        miss = np.nansum((np.where(np.isfinite(y), y, np.inf) - x) ** 2, axis=0)
    total = np.nansum((x - np.nanmean(x, axis=0)) ** 2, axis=0)
    return 1.0 - miss / np.maximum(total, 1e-300)


def status_of(ode: NeuralODE, score: float, notes: tuple[str, ...]) -> Status:
    """Whether the fit can be used, its cause where not, and a remedy."""
    check = ode.discretisation_
    notes = (*notes, check.message)
    if not np.isfinite(score):
        return Status(
            "diverged", "the learned path is not finite", "the field blows up along the series",
            "use fewer steps per window, positive=False, or more data", False, notes,
        )  # fmt: skip
    if score < _POOR:
        return Status(
            "not converged", f"the path explains little of the data (R² {score:.2f})",
            "too few steps, hidden state, strong noise or unknown inputs",
            "raise steps, set augment=1 or 2, or pass inputs", False, notes,
        )  # fmt: skip
    message = f"converged: R² {score:.3f} of one solve per series"
    held = ode.held_out_
    if held is not None and _own(held) < _POOR:
        notes = (
            *notes,
            f"{LEVEL_END} {_own(held):.2f}: little moves there but noise, or what moves is missed "
            "(the forecast's error, in standard deviations, is in units of the whole series)",
        )
    if held is not None and not _forecasts(held):
        name, naive = held.best_naive
        return Status(
            "poor forecast",
            f"{message}, but the end that training did not see was forecast with an error of "
            f"{held.error:.2f} standard deviations ({name}: {naive:.2f})",
            "the flow beyond the data is not determined by it: chaos, noise, hidden state, or "
            "states never visited",
            "trust the reconstruction; for forecasts add data, inputs or equations", True, notes,
        )  # fmt: skip
    return Status("converged", message, notes=notes)


def _own(held: HeldOut) -> float:
    """R² of the end's forecast in units of the end's own variance, the worst variable's.

    Where a system rests this is about zero whatever the model, so it is told, not judged by.
    """
    if not held.forecasts:
        return 1.0
    observed = np.concatenate(held.observed)
    seen = ~np.isnan(observed).all(0)
    paths = [f.mean[:, seen] for f in held.forecasts]
    return float(r_squared(paths, [x[:, seen] for x in held.observed]).min())


def _forecasts(held: HeldOut) -> bool:
    """Whether the unseen end was forecast: R² above one half, and well or no worse than naively."""
    naive = max(1.1 * held.best_naive[1], _WELL)
    return held.error**2 < _POOR and held.error < naive
