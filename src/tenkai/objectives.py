"""Losses and regularisers: ``(model, batch, key) -> (scalar, Aux)``. They know nothing of fitting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float, PyTree

Objective = Callable[[PyTree, PyTree, Any], tuple[Float[Array, ""], "Aux"]]


class Aux(NamedTuple):
    """What an objective reports beside its value.

    `weight` is how much the value counts when the batch is split over devices (the number of
    observed points, say); `state` is non-trained state that `fit` merges into the model; the
    counts are evaluations of the field.
    """

    weight: Any = 1.0
    state: PyTree = None
    nfe_forward: Any = 0
    nfe_backward: Any = 0
