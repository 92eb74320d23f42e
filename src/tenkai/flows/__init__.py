"""Densities by transport: continuous and discrete flows behind one interface, their training."""

from .continuous import FFJORD, Adaptive, ContinuousFlow, Grid, PlanarCNF
from .divergence import Bottleneck, Exact, Hutchinson, HutchPP
from .dynamics import Dynamics, PlanarDynamics
from .flow import Abilities, Architecture, Flow, Inverted, Moved, log_prob, rows, sample

__all__ = [
    "FFJORD",
    "Abilities",
    "Adaptive",
    "Architecture",
    "Bottleneck",
    "ContinuousFlow",
    "Dynamics",
    "Exact",
    "Flow",
    "Grid",
    "HutchPP",
    "Hutchinson",
    "Inverted",
    "Moved",
    "PlanarCNF",
    "PlanarDynamics",
    "log_prob",
    "rows",
    "sample",
]
