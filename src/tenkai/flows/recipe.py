"""How a flow is trained, and what is taken where nothing is said."""

from __future__ import annotations

from dataclasses import dataclass

from .continuous import FFJORD
from .flow import Architecture


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training; None is chosen by the rows and their dimension.

    `matching` and `steps` are optimiser steps of flow matching (continuous flows only) and of
    likelihood. `noise`, `decay`, `kinetic`, `jacobian`, `jitter` are as in `objectives.Weights`.
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


def default_architecture(dim: int, rows: int) -> Architecture:
    """A free-form continuous flow of a size that the rows can bear."""
    return FFJORD(width=64 if rows < 5000 else 128)
