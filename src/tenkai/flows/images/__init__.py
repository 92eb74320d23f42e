"""Flows of images: squeeze, logit, several scales; FFJORD and Glow with convolutions."""

from ...convolution import Convolution
from .density import ImageDensity
from .dynamics import ConvDynamics
from .evaluation import draw_images, evaluate
from .ffjord import MultiscaleFFJORD
from .glow import ConvGlow
from .pixels import bits_per_dim, dequantise, squeeze, unsqueeze
from .scales import ImageFlow
from .training import ImageRecipe, train, train_for

__all__ = [
    "ConvDynamics",
    "ConvGlow",
    "Convolution",
    "ImageDensity",
    "ImageFlow",
    "ImageRecipe",
    "MultiscaleFFJORD",
    "bits_per_dim",
    "dequantise",
    "draw_images",
    "evaluate",
    "squeeze",
    "train",
    "train_for",
    "unsqueeze",
]
