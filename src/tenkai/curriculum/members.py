"""What each member of the ensemble learns: its field, before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import numpy as np

from ..data import Scaler
from ..fields import NeuralField
from ..models.trajectory import RawField, ScaledField
from .problem import Problem


@dataclass(frozen=True)
class Design:
    """What is learned: the estimator's arguments that shape the model."""

    members: int = 5
    width: int = 32
    depth: int = 2
    activation: str = "tanh"
    augment: int = 0
    time_dependent: bool = False
    field: Callable | None = None
    positive: bool | str = "auto"
    held_out: float = 0.2
    coverage: float = 0.9
    decay: float = 1e-5
    jacobian: float = 0.0


class Maker:
    """Builds one member's field: a network in scaled units, or the user's in raw ones."""

    def __init__(self, design: Design, problem: Problem, seed: int):
        self.design, self.problem, self.seed = design, problem, seed

    def __call__(self, member: int, scaler: Scaler, slope: np.ndarray) -> Callable:
        design, problem = self.design, self.problem
        if design.field is not None:
            # The first member starts where the user's parameters are.
            user = _moved(design.field, self.seed, member) if member else design.field
            state = scaler.extended(design.augment)
            return RawField(user, state, problem.time, problem.input_scaler)
        inputs = 0 if problem.inputs is None else problem.inputs.shape[1]
        net = NeuralField(
            len(slope), key=np.random.default_rng([self.seed, member]), inputs=inputs,
            width=design.width, depth=design.depth, activation=design.activation,
            time_dependent=design.time_dependent, last_scale=0.3,
        )  # fmt: skip
        return ScaledField(net, slope)


def _moved(field: Callable, seed: int, member: int) -> Callable:
    """The field with its parameters some 20 % away."""
    random = np.random.default_rng([seed, member])

    def leaf(a):
        if not eqx.is_inexact_array_like(a):
            return a
        return np.asarray(a) * np.exp(0.2 * random.normal(size=np.shape(a)))

    return jax.tree.map(leaf, field)
