"""Densities by transport: continuous and discrete flows behind one interface, their training."""

from ..solve.adams import Adams
from . import vae as vae
from .adapters import Discrete, Flowjax, Inverse
from .continuous import FFJORD, Adaptive, ContinuousFlow, Grid, PlanarCNF
from .discrete import IAF, MAF, NICE, Glow, Planar, Radial, RealNVP, Sylvester
from .divergence import Bottleneck, Exact, Hutchinson, HutchPP
from .dynamics import Dynamics, PlanarDynamics
from .flow import Abilities, Architecture, Flow, Inverted, Moved, log_prob, rows, sample
from .images import (
    ConvGlow,
    ImageFlow,
    MultiscaleFFJORD,
    bits_per_dim,
    dequantise,
    squeeze,
    unsqueeze,
)

__all__ = [
    "FFJORD",
    "IAF",
    "MAF",
    "NICE",
    "Abilities",
    "Adams",
    "Adaptive",
    "Architecture",
    "Bottleneck",
    "ContinuousFlow",
    "ConvGlow",
    "Discrete",
    "Dynamics",
    "Exact",
    "Flow",
    "Flowjax",
    "Glow",
    "Grid",
    "HutchPP",
    "Hutchinson",
    "ImageFlow",
    "Inverse",
    "Inverted",
    "Moved",
    "MultiscaleFFJORD",
    "Planar",
    "PlanarCNF",
    "PlanarDynamics",
    "Radial",
    "RealNVP",
    "Sylvester",
    "bits_per_dim",
    "dequantise",
    "log_prob",
    "rows",
    "sample",
    "squeeze",
    "unsqueeze",
    "vae",
]
