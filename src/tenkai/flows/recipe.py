"""How a flow is trained, and what is taken where nothing is said."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

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
        noise, decay, kinetic, jacobian, jitter: see `objectives.Weights`.
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

    def resolved(self, flow: object, dim: int, rows: int) -> Recipe:
        """The same with every None decided.

        Numbers of steps and rows come in few sizes, so that tables share compiled programs.
        """
        size = next(s for most, s in _SIZES if rows <= most)
        continuous = isinstance(flow, ContinuousFlow)
        if not continuous:  # no matching came before, and a step is cheap
            size = dataclasses.replace(size, matching=0, steps=10 * (size.steps or 0))
        told = {
            f.name: value
            for f in dataclasses.fields(self)
            if (value := getattr(self, f.name)) is not None
        }
        # A tenth of the bandwidth by Scott's rule: too little to see, enough for repeated values.
        size = dataclasses.replace(size, noise=0.1 * rows ** (-1 / (dim + 4)))
        return dataclasses.replace(size, **told)


_SIZES: tuple[tuple[float, Recipe], ...] = tuple(
    (most, Recipe(*numbers, decay=0.0, kinetic=0.0, jacobian=0.0))
    for most, numbers in (
        (300, (4, 400, 60, 64)),
        (3000, (4, 1500, 150, 128)),
        (30000, (4, 3000, 300, 256)),
        (float("inf"), (2, 6000, 600, 512)),
    )
)


def default_architecture(dim: int, rows: int) -> Architecture:
    """A free-form continuous flow of a size that the rows can bear.

    >>> default_architecture(11, 4000)
    FFJORD(width=128, kind='concat', solver=Grid(steps=3))
    """
    width = 32 if rows <= 300 else 64 if rows <= 3000 else 128
    return FFJORD(width=max(width, 32 * min(dim // 20, 16)), kind="concat", solver=Grid(3))
