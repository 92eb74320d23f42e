"""Pictures and pages of what was learned: matplotlib axes, network diagrams, the HTML report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import algorithms as algorithms  # registers the picture of a learned algorithm
from . import backtest as backtest  # registers the pictures of backtests and comparisons
from . import classes_sections as classes_sections  # registers the page of classifiers
from . import classifier as classifier  # registers the picture of a classifier by depth
from . import control as control  # registers the picture of a control problem
from . import density as density  # registers the pictures of densities
from . import density_sections as density_sections  # registers the page of densities
from . import diffusion as diffusion  # registers the pictures of diffusions
from . import diffusion_sections as diffusion_sections  # registers the page of diffusions
from . import manifold as manifold  # registers the picture of a manifold
from . import manifold_sections as manifold_sections  # registers its page
from . import panels as panels  # registers the picture of a whole estimator
from . import portrait as portrait  # registers the pictures of equilibria and sensitivities
from . import profile as profile  # registers the picture of a profile
from . import regression as regression  # registers the picture of regressors
from . import regression_sections as regression_sections  # registers the page of regressors
from . import series_panels as series_panels  # registers the pictures of models of many series
from . import series_sections as series_sections  # registers their pages
from . import solution as solution  # registers the pictures of variational problems
from . import vae as vae  # registers the picture of a variational autoencoder
from .axes import plot
from .flow_animation import animation
from .page import html
from .verdict import verdict

if TYPE_CHECKING:
    from .diagram import Diagram

__all__ = ["animation", "diagram", "html", "plot", "verdict"]


def diagram(model: Any, *, members: int = 1) -> Diagram:
    """The network as a picture: layers, shapes and parameter counts.

    `members` > 1 says that every array has a leading axis of that many members.
    """
    from .diagram import draw  # imports JAX, which a picture of a record does without

    return draw(model, members)
