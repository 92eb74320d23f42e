"""Densities by transport: continuous and discrete flows behind one interface, their training."""

from .continuous import FFJORD, Adaptive, ContinuousFlow, Grid, PlanarCNF
from .divergence import Bottleneck, Exact, Hutchinson, HutchPP
from .dynamics import Dynamics, PlanarDynamics
from .flow import Abilities, Architecture, Flow, Inverted, Moved, log_prob, rows, sample
from .images import ConvGlow, ImageFlow, MultiscaleFFJORD, bits_per_dim, dequantise

__all__ = [
    "FFJORD",
    "Abilities",
    "Adaptive",
    "Architecture",
    "Bottleneck",
    "ContinuousFlow",
    "ConvGlow",
    "Dynamics",
    "Exact",
    "Flow",
    "Grid",
    "HutchPP",
    "Hutchinson",
    "ImageFlow",
    "Inverted",
    "Moved",
    "MultiscaleFFJORD",
    "PlanarCNF",
    "PlanarDynamics",
    "bits_per_dim",
    "dequantise",
    "log_prob",
    "rows",
    "sample",
]
