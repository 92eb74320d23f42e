"""What each member of the ensemble learns: its field, before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import numpy as np

from ..data import Scaler
from ..fields import NeuralField
from ..models.equation import Relative, Residual, few
from ..models.trajectory import RawField, ScaledField, SecondOrderField
from .problem import Problem

Auto = Literal["auto"]
WIDTH = 32  # hidden units where nothing else is asked for
# Weights of the squared network beside an equation: next to none of it, and what may be chosen.
NO_NETWORK, SOME_NETWORK = 100.0, (0.1, 0.01)


@dataclass(frozen=True)
class Design:
    """What is learned: the estimator's arguments that shape the model.

    `hidden` counts the state dimensions that are not observed: velocities where `order` is 2,
    then the augmented ones. `residual` weighs the network beside a `field` of the user; zero is
    no network. What is "auto" is chosen on the held-out end.
    """

    members: int = 5
    width: int | Auto = "auto"
    depth: int = 2
    activation: str = "tanh"
    hidden: int | Auto = 0
    order: int = 1
    time_dependent: bool = False
    field: Callable | None = None
    positive: bool | Auto = "auto"
    held_out: float = 0.2
    coverage: float = 0.9
    decay: float | Auto = "auto"
    jacobian: float | Auto = "auto"
    residual: float | Auto = 0.0


class Maker:
    """Builds one member's field: a network in scaled units, the user's in raw ones, or both."""

    def __init__(self, design: Design, problem: Problem, seed: int):
        self.design, self.problem, self.seed = design, problem, seed

    def __call__(self, member: int, scaler: Scaler, slope: np.ndarray) -> Callable:
        design, problem = self.design, self.problem
        inputs = 0 if problem.inputs is None else problem.inputs.shape[1]
        random = np.random.default_rng([self.seed, member])
        if design.field is None:
            return network(design, slope, problem.values.shape[1], inputs, random)
        # The first member starts where the user's parameters are.
        user = _moved(design.field, self.seed, member) if member else design.field
        if few(user):
            user = Relative.of(user)
        assert design.hidden != "auto"  # chosen before any training
        state = scaler.extended(design.hidden)
        known = RawField(user, state, problem.time, problem.input_scaler)
        if not design.residual:
            return known
        return Residual(known, network(design, slope, 0, inputs, random, last_scale=0.0))


def network(
    design: Design,
    slope: np.ndarray,
    observed: int,
    inputs: int,
    random: np.random.Generator,
    last_scale: float = 0.3,
) -> ScaledField | SecondOrderField:
    """An untrained network in scaled units; `slope` (dim,) is the size of every derivative."""
    positions = observed if design.order == 2 else 0
    net = NeuralField(
        len(slope), key=random, inputs=inputs, out=len(slope) - positions,
        width=WIDTH if design.width == "auto" else design.width, depth=design.depth,
        activation=design.activation, time_dependent=design.time_dependent, last_scale=last_scale,
    )  # fmt: skip
    return SecondOrderField(net, slope) if positions else ScaledField(net, slope)


def _moved(field: Callable, seed: int, member: int) -> Callable:
    """The field with its parameters some 20 % away."""
    random = np.random.default_rng([seed, member])

    def leaf(a):
        if not eqx.is_inexact_array_like(a):
            return a
        return np.asarray(a) * np.exp(0.2 * random.normal(size=np.shape(a)))

    return jax.tree.map(leaf, field)
