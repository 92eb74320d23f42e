"""Interval coverage: 90 % forecast intervals of six toy systems with 40 noisy points each.

Rolling origins: the default `NeuralODE` is fitted to the first 20, 23, 26, 29 and 32 of 40 points
and forecasts the 8 that follow; neither training nor calibration has seen these. Systems and noise
(relative to each variable's spread; of the prey and its predator to their values): decay 5 %,
oscillator 10 %, Lotka-Volterra 5 %, Van der Pol 5 %, cubic spiral 10 %, damped pendulum 10 %.
Points of one forecast share their fate, so the binomial intervals (Clopper and Pearson 1934), which
take them as independent, are too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scipy.stats import beta

from . import Row

SYSTEMS: dict[str, tuple[float, Literal["additive", "relative"]]] = {
    "decay": (0.05, "additive"),
    "oscillator": (0.10, "additive"),
    "lotka_volterra": (0.05, "relative"),
    "van_der_pol": (0.05, "additive"),
    "cubic_spiral": (0.10, "additive"),
    "damped_pendulum": (0.10, "additive"),
}
POINTS, ORIGINS, HORIZON, NOMINAL = 40, (20, 23, 26, 29, 32), 8, 0.9


def pooled(name: str, counts: Sequence[tuple[int, int]]) -> Row:
    """Share inside over all ``(inside, points)``, with its 95 % Clopper-Pearson interval."""
    inside, points = (sum(c[i] for c in counts) for i in (0, 1))
    if not points:
        return Row(name, None, None, note="no points")
    low, high = clopper_pearson(inside, points)
    note = f"nominal {NOMINAL:.0%}; {inside} of {points} points; 95 % interval {low:.3f}–{high:.3f}"
    return Row(name, None, inside / points, note=note)


def clopper_pearson(inside: int, points: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a binomial share (Clopper and Pearson 1934).

    >>> [round(x, 3) for x in clopper_pearson(9, 10)]
    [0.555, 0.997]
    """
    tail = (1 - level) / 2
    low = beta.ppf(tail, inside, points - inside + 1) if inside else 0.0
    high = beta.ppf(1 - tail, inside + 1, points - inside) if inside < points else 1.0
    return float(low), float(high)
