"""A regressor learns a function over a box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..devices import arithmetic
from ..regression.evaluation import evaluate
from ..regression.learning import Learned, Recipe, real, scaling
from ..regression.learning import learn_function as learn
from ..regression.network import Affine
from ..regression.objectives import Box, Fresh, Pairs, delivered
from ..regression.sampling import Delivery, Target, target_of
from . import function_regressor_judgement as judgement

if TYPE_CHECKING:
    from .function_regressor import FunctionRegressor

_MEASURED = 4096  # rows that give the targets' scale, and that choose the best weights
_JUDGED = 10_000


def learn_function(
    regressor: FunctionRegressor, f: Callable, low: Any, high: Any, options: dict[str, Any]
) -> tuple[Learned, judgement.Judged | None, Target]:
    """Train on fresh rows, and judge on others."""
    seed = int(regressor.seed)
    with arithmetic(regressor.precision):
        target = target_of(f, low, high, real())
        recipe = regressor._recipe(None, len(target.low), target.outputs)
        recipe = replace(recipe, spread=recipe.standardise)
        x, y = target.draw(_MEASURED, [seed, 1])
        measured, outputs = scaling(x, y, np.ones(len(x)), recipe)
        inputs = target.uniform() if recipe.standardise else measured
        z, t = (part.T.astype(real()) for part in (inputs.forward(x), outputs.forward(y)))
        judged = Pairs(z, t) if recipe.share else None
        objective, data, axes = _source(target, inputs, outputs, recipe)
        learned = learn(
            objective, data, axes, judged, delivered(recipe.members), inputs, outputs, recipe,
            **options,
        )  # fmt: skip
    if not recipe.share:
        return learned, None, target
    x, y = target.draw(_JUDGED, [seed, 2])
    return learned, judgement.judge_function(x, y, evaluate(learned.model, x)), target


def _source(target: Target, inputs: Affine, outputs: Affine, recipe: Recipe) -> tuple:
    """What trains, on what data, and the axes of the members in them."""
    batch = recipe.batch or 1
    if target.traced:
        ends = target.low, target.high - target.low, *inputs, *outputs
        box = Box(*(np.asarray(part, real()) for part in ends))
        return Fresh(target.function, batch, recipe.members, target.flat), box, None
    delivery = Delivery(
        target, inputs, outputs, recipe.members, batch, recipe.seed, real()
    )  # fmt: skip
    return delivered(recipe.members), delivery, 0
