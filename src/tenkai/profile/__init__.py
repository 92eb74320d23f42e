"""What solving a learned field costs: error, time, memory and stiffness, measured.

`profilable` is the door for new kinds of models; see `Problem`.
"""

from . import densities as densities  # registers densities by continuous flows
from . import dynamics as dynamics  # registers learned trajectories
from . import hidden as hidden  # registers latent ODEs and classifiers
from .measure import profile
from .problem import Problem, profilable

__all__ = ["Problem", "profilable", "profile"]
