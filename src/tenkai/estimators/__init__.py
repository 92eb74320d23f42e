"""Shells around the core: `__init__` stores arguments, `fit` validates, learned things end in _."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .base import Estimator as Estimator
from .neural_ode import NeuralODE as NeuralODE
from .neural_sde import NeuralSDE as NeuralSDE
from .saving import load as load

if TYPE_CHECKING:
    from .flow_density import FlowDensity as FlowDensity
    from .flow_vae import FlowVAE as FlowVAE
    from .function_regressor import FunctionRegressor as FunctionRegressor
    from .latent_ode import LatentODE as LatentODE
    from .ode_classifier import ODEClassifier as ODEClassifier
    from .ode_rnn import ODERNN as ODERNN
    from .ukr import UKR as UKR

# Imported when used: scikit-learn takes a second, others have rooms that only they need.
_LATER = {
    "FlowDensity": "flow_density",
    "FlowVAE": "flow_vae",
    "FunctionRegressor": "function_regressor",
    "LatentODE": "latent_ode",
    "ODERNN": "ode_rnn",
    "ODEClassifier": "ode_classifier",
    "UKR": "ukr",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
