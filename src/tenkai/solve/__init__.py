"""A field over times: fixed substeps (ours) or any diffrax solver, and gradients through both."""

from .continuous import Sensitivity, adjoint
from .error import step_error, substeps_for
from .grid import substeps_within
from .integrate import solve
from .solved import Counts, Hermite, Solved

__all__ = [
    "Counts",
    "Hermite",
    "Sensitivity",
    "Solved",
    "adjoint",
    "solve",
    "step_error",
    "substeps_for",
    "substeps_within",
]
