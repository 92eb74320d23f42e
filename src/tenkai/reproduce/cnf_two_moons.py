"""Two moons by maximum likelihood: a continuous planar flow of 64 units, and 64 planar steps.

Chen et al. 2018, figure 5; as ``cnf-two-circles``, on scikit-learn's moons with noise .1.
"""

from __future__ import annotations

from . import Row, Task, cnf_two_circles


def run(
    task: Task = Task(), *, size: int = 64, steps: dict[str, int] | None = None
) -> list[Row]:  # fmt: skip
    """Divergence of both flows from the truth; the picture of the way."""
    return cnf_two_circles.run(task, cloud="moons", size=size, steps=steps)
