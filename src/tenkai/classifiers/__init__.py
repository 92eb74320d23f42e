"""Classifiers by depth: residual networks, Runge-Kutta networks and ODE-Nets from one block."""

from .augmentation import Augmentation
from .bodies import ODE, Body, BodyKind, Passed, Residual, Row, RungeKutta
from .network import Design, Network, build, parameters
from .stems import LinearStem, PaperStem, Stem

__all__ = [
    "ODE",
    "Augmentation",
    "Body",
    "BodyKind",
    "Design",
    "LinearStem",
    "Network",
    "PaperStem",
    "Passed",
    "Residual",
    "Row",
    "RungeKutta",
    "Stem",
    "build",
    "parameters",
]
