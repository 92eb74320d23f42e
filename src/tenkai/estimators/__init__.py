"""Shells around the core: `__init__` stores arguments, `fit` validates, learned things end in _."""

from .base import Estimator as Estimator
from .neural_ode import NeuralODE as NeuralODE
from .neural_sde import NeuralSDE as NeuralSDE
from .saving import load as load
