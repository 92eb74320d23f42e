"""Functions of a table's columns: multilayer perceptrons, their ensembles and intervals."""

from __future__ import annotations

from .network import Affine, Perceptron, RegressionNetwork, parameters

__all__ = ["Affine", "Perceptron", "RegressionNetwork", "parameters"]
