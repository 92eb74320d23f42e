"""What a training is asked to do, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Scaler
from ..models.trajectory import TrajectoryModel
from ..records import Fit
from ..unfold import RK4, Tableau
from .problem import Problem

if TYPE_CHECKING:
    from .parameters import Estimates


@dataclass(frozen=True)
class Plan:
    """How a training runs; the estimator's scalar knobs end here."""

    matching_steps: int = 1500
    shooting_steps: int = 400
    matching_rate: float = 1e-2
    shooting_rate: float = 5e-3
    continuity: float = 1.0
    tableau: Tableau = RK4
    seed: int = 0
    dtype: Any = np.float32
    checkpoint: Path | None = None
    log: Path | None = None
    progress: bool | None = False
    run: str = ""

    def stage(self, name: str) -> str:
        """A stage's name in the history, after the run it belongs to."""
        return f"{self.run}: {name}" if self.run else name


@dataclass(frozen=True)
class Recipe:
    """What members may differ in; chosen on spans that they did not see, never on their loss.

    `width` is the number of hidden units in use and `hidden` that of the hidden state dimensions
    (None: all there are); `decay`, `jacobian` and `residual` are weights of the regularisers.
    """

    decay: float = 1e-5
    jacobian: float = 0.0
    width: int | None = None
    hidden: int | None = None
    residual: float = 0.0

    def describe(self, hidden: int) -> str:
        """In words, with the number of hidden state dimensions."""
        parts = [f"weight decay {self.decay:g}"]
        if self.jacobian:
            parts.append(f"Jacobian penalty {self.jacobian:g}")
        if self.width:
            parts.append(f"{self.width} hidden units")
        if hidden:
            parts.append(f"{hidden} hidden state dimension{'s' * (hidden > 1)}")
        if self.residual:
            parts.append(f"weight {self.residual:g} of the network beside the equation")
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Task:
    """What the members learn from: (members, nodes, dim) scaled values, and who sees what.

    `train` are the points a member learns from, `held_out` those that judge it, `closed` (nodes,)
    those that nobody may see, `known` given start states with NaN where they are learned. Of the
    `hidden` dimensions the first `velocities` are those of the observed ones.
    """

    problem: Problem
    scalers: Sequence[Scaler]
    recipes: Sequence[Recipe]
    values: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    closed: np.ndarray
    known: np.ndarray
    hidden: int
    velocities: int = 0

    @property
    def members(self) -> int:
        """Size of the ensemble."""
        return len(self.scalers)

    @property
    def shown(self) -> int:
        """Observed state dimensions; the hidden ones come after them."""
        return self.values.shape[2] - self.hidden

    @property
    def alive(self) -> np.ndarray:
        """Which state dimensions (members, dim) each member uses."""
        used = [self.hidden if r.hidden is None else r.hidden for r in self.recipes]
        return np.arange(self.values.shape[2]) < self.shown + np.array(used)[:, None]


@dataclass(eq=False)
class Trained:
    """The members after all stages: models, their judged error, and what happened.

    `shaped` (members, dim) tells of which variables the noise follows the signal.
    """

    errors: np.ndarray
    refine: int = 1
    shaped: np.ndarray | None = None
    models: TrajectoryModel | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    fits: list[Fit] = field(default_factory=list)
    estimates: Estimates | None = None
