"""How a flow is trained, and what is taken where nothing is said."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..solve.adams import Adams
from .continuous import FFJORD, ContinuousFlow, Grid
from .flow import Architecture


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training; None is chosen by the rows and their dimension.

    Args:
        members: flows of the ensemble. Each leaves out rows of its own, which stop and judge it.
        matching: optimiser steps of flow matching, continuous flows only; it solves nothing.
        steps: optimiser steps of likelihood.
        batch: rows in a step of likelihood; flow matching draws twice as many.
        rate: Adam's learning rate, which falls to zero along a cosine.
        noise, decay, kinetic, jacobian, jitter, straight: see `objectives.Weights`.
    """

    members: int | None = None
    matching: int | None = None
    steps: int | None = None
    batch: int | None = None
    rate: float = 2e-3
    noise: float | None = None
    decay: float | None = None
    kinetic: float | None = None
    jacobian: float | None = None
    jitter: float = 0.0
    straight: float | None = None

    def resolved(self, flow: object, dim: int, rows: int) -> Recipe:
        """The same with every None decided.

        Numbers of steps and rows come in few sizes, so that tables share compiled programs.
        """
        table = _PLANE if dim <= _FEW_COLUMNS else _SIZES
        size = next(s for most, s in table if rows <= most)
        continuous = isinstance(flow, ContinuousFlow)
        if not continuous:  # no matching came before, and a step is cheap
            steps = (size.matching or 0) + (size.steps or 0)
            size = dataclasses.replace(size, matching=0, steps=steps)
        told = {
            f.name: value
            for f in dataclasses.fields(self)
            if (value := getattr(self, f.name)) is not None
        }
        # A tenth of the bandwidth by Scott's rule: too little to see, enough for repeated values.
        size = dataclasses.replace(size, noise=0.1 * rows ** (-1 / (dim + 4)))
        return dataclasses.replace(size, **told)


def _sizes(
    small: tuple, middle: tuple, large: tuple, huge: tuple, *, penalty: float
) -> tuple[tuple[float, Recipe], ...]:
    """Up to how many rows: members, matching, steps, batch."""
    limits = (300, 3000, 30000, float("inf"))
    rest = {"decay": 0.0, "kinetic": penalty, "jacobian": penalty, "straight": 0.0}
    numbers = (small, middle, large, huge)
    return tuple((n, Recipe(*counts, **rest)) for n, counts in zip(limits, numbers, strict=True))


# Flow matching brings a table of many columns most of the way, and cheaply. On a line or a plane
# edges are sharp and likelihood is cheap; there it would learn to gain from the errors of its grid
# without the penalties, which also lower the evaluations of an adaptive solve.
_SIZES = _sizes(
    (4, 400, 60, 64), (4, 1000, 200, 128), (4, 1500, 400, 256), (2, 4000, 800, 512), penalty=0.0
)
_FEW_COLUMNS = 3
_PLANE = _sizes(
    (4, 1500, 150, 64),
    (4, 2000, 500, 256),
    (2, 2000, 1500, 256),
    (2, 3000, 3000, 256),
    penalty=0.04,
)


def default_architecture(dim: int, rows: int) -> Architecture:
    """A free-form continuous flow of a size that the rows can bear.

    >>> default_architecture(11, 4000).width
    128
    """
    few = dim <= _FEW_COLUMNS
    width = 64 if few or 300 < rows <= 3000 else 32 if rows <= 300 else 128
    width, steps = max(width, 32 * min(dim // 20, 16)), 12 if few else 8
    # On a plane with many rows there is fine detail, which units that all begin at the origin do
    # not find: of four rings they make a disc.
    sharpness = 4.0 if few and rows > 3000 else None
    return FFJORD(width=width, kind="concat", solver=Grid(steps, Adams()), sharpness=sharpness)
