"""Iterative algorithms with learned numbers: `Unfolded`, shipped ones, and their baselines."""

from .iteration import Layer as Layer
from .iteration import squared_error as squared_error
from .sparse import fista as fista
from .sparse import ista as ista
from .sparse import lista as lista
from .sparse import mmse_shrinkage as mmse_shrinkage
from .sparse import soft as soft
from .sparse import sparse_problems as sparse_problems
from .sparse import tista as tista
from .tuning import FixedStep as FixedStep
from .unfolded import Unfolded as Unfolded
