"""tenkai (展開): learned dynamics, from measurements to a differential equation you can trust.

This module is the table of contents. Names are imported when they are first used, so that
``import tenkai`` costs milliseconds and loads no JAX.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOME = {
    # data
    "Trajectories": "data",
    "Series": "data",
    "read_trajectories": "data",
    "Shards": "data",
    "toys": "data",
    # the recurrence and its solves
    "unfold": "unfold",
    "runge_kutta": "unfold",
    "euler": "unfold",
    "rk4": "unfold",
    "euler_maruyama": "unfold",
    "solve": "solve",
    "adjoint": "solve",
    # training
    "fit": "fit",
    "configure": "devices",
    # models
    "NeuralODE": "estimators",
    "NeuralSDE": "estimators",
    "FlowDensity": "estimators",
    "FlowVAE": "estimators",
    "LatentODE": "estimators",
    "ODERNN": "estimators",
    "ODEClassifier": "estimators",
    "FunctionRegressor": "estimators",
    "UKR": "estimators",
    "load": "estimators",
    # problems that are solved, algorithms that are learned
    "VariationalProblem": "problems",
    "OptimalControl": "problems",
    "Unfolded": "algorithms",
    # how good they are
    "backtest": "judging",
    "compare": "judging",
    "profile": "profile",
    # records and errors
    "InputError": "errors",
    "Path": "records",
    "Forecast": "records",
    "Fit": "records",
    "Status": "records",
    "Backtest": "records",
    "Comparison": "records",
    "Solution": "records",
}
# Whole rooms to look around in, as ``tk.algorithms.ista``.
_ROOMS = ("problems", "algorithms", "flows", "classifiers", "optim", "export")
__all__ = ["__version__", *_HOME, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"tenkai.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'tenkai' has no attribute {name!r}")
    module = importlib.import_module(f"tenkai.{_HOME[name]}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Contents(ModuleType):
    """Keeps ``tk.fit`` the function: importing ``tenkai.fit`` would bind the module over it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _HOME and hasattr(value, name):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Contents
