"""Iterative algorithms with learned numbers: `Unfolded`, shipped ones, and their baselines."""

from .iteration import Layer as Layer
from .iteration import squared_error as squared_error
from .tuning import FixedStep as FixedStep
from .unfolded import Unfolded as Unfolded
