"""Flows of images: squeeze, logit, several scales; FFJORD and Glow with convolutions."""

from .dynamics import ConvDynamics, Convolution
from .ffjord import MultiscaleFFJORD
from .glow import ConvGlow
from .pixels import bits_per_dim, dequantise, squeeze, unsqueeze
from .scales import ImageFlow

__all__ = [
    "ConvDynamics",
    "ConvGlow",
    "Convolution",
    "ImageFlow",
    "MultiscaleFFJORD",
    "bits_per_dim",
    "dequantise",
    "squeeze",
    "unsqueeze",
]
