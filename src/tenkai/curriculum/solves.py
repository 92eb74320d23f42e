"""One solve of every member over all series, on any refinement of the grid: one program."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ..models.ensemble import cast, paths
from ..models.grid import ANY_SIZE, Grid, Size
from ..models.trajectory import TrajectoryModel
from .task import Plan, Task

MOST_REFINED = 4
_STEP_TOLERANCE = 3e-3  # relative move of the path under step doubling that refines the grid


class Solves:
    """Paths of the members of a task; grids are padded to the finest one's size."""

    def __init__(self, task: Task, plan: Plan):
        self.task, self.plan = task, plan
        self.size: Size = task.problem.grid(MOST_REFINED).size
        self._grids: dict[tuple[int, Size], Grid] = {}

    def grid(self, refine: int, least: Size = ANY_SIZE) -> Grid:
        """The training's grid with `refine` times the coarsest one's steps."""
        key = refine, least
        if key not in self._grids:
            self._grids[key] = cast(self.task.problem.grid(refine, least), self.plan.dtype)
        return self._grids[key]

    def __call__(
        self, models: TrajectoryModel, refine: int, reset: np.ndarray | None = None
    ) -> Float[np.ndarray, "members nodes dim"]:
        """The states with which the paths reach the nodes; anew from each node that resets."""
        grid = self.grid(refine, self.size)
        run = paths(self.task.members, self.plan.tableau)
        none = np.zeros(grid.nodes, bool) if reset is None else reset
        out = np.asarray(run(cast(models, self.plan.dtype), grid, none)).astype(float)
        return out[:, : len(self.task.problem.tau)]

    def judged(
        self, path: Float[np.ndarray, "members nodes dim"], weight: np.ndarray
    ) -> np.ndarray:
        """Mean squared misses (members,) at the weighted points (members, nodes, dim)."""
        values, seen = np.nan_to_num(self.task.values), weight > 0
        miss = np.where(seen, np.where(seen, path, 0.0) - values, 0.0) ** 2
        error = (weight * miss).sum((1, 2)) / np.maximum(weight.sum((1, 2)), 1e-300)
        return np.where(np.isfinite(error), error, np.inf)

    def fine_enough(self, models: TrajectoryModel, refine: int, reset: np.ndarray) -> int:
        """The refinement at which step doubling no longer moves the paths, from `refine` on."""
        while refine < MOST_REFINED:
            move = np.abs(self(models, 2 * refine, reset) - self(models, refine, reset)).max(2)
            # Early fields are wild here and there: most nodes of most members decide.
            move = np.quantile(np.nan_to_num(move, nan=np.inf), 0.9, axis=1)
            if not _STEP_TOLERANCE < np.median(move) < np.inf:
                break
            refine *= 2
        return refine
