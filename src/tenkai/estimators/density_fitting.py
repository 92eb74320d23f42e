"""What `FlowDensity.fit` and `.match` do, and what they leave on the estimator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from ..devices import arithmetic
from ..flows import checks, held_out, target
from ..flows.density import Density
from ..flows.learning import learn
from ..flows.recipe import Recipe, default_architecture
from ..flows.whitening import Shaping, Whitening
from ..records import Fit, Status
from . import density_arguments as arguments
from . import density_border as border
from . import density_judgement as judgement

if TYPE_CHECKING:
    from .flow_density import FlowDensity

_KEPT = 5000  # rows that the estimator keeps, for pictures
_RECIPE = (
    "members", "matching", "steps", "batch", "rate", "noise", "decay", "kinetic", "jacobian",
    "straight",
)  # fmt: skip


class Watching(TypedDict):
    """How a training is watched and kept: see `FlowDensity.fit`."""

    log: Path | str | None
    progress: bool | None
    checkpoint: Path | str | None


def learn_rows(estimator: FlowDensity, X: Any, context: Any, options: Watching) -> None:
    """From the rows of a table."""
    x = border.table(estimator, X, reset=True)
    names = border.column_names(X, x.shape[1])
    c, known = (None, ()) if context is None else border.contexts(context, len(x))
    notes = checks.check_singular(x, names)
    if c is not None:
        checks.check_fixed(x, c, names)
    architecture = estimator.flow or default_architecture(x.shape[1], len(x))
    arguments.check_trains(architecture, "fit")
    repeats = checks.repeats(x, names)
    shaping = Shaping.fit(x)
    scaled = None if c is None else Whitening.standardising(c)
    known_z = None if c is None or scaled is None else scaled.forward(c)
    with arithmetic(estimator.precision):
        learned = learn(
            shaping.forward(x), known_z, architecture, recipe_of(estimator), seed=estimator.seed,
            **options,
        )  # fmt: skip
    estimator.names_, estimator.context_names_, estimator.repeats_ = names, known, repeats
    estimator.matched_ = estimator.images_ = None
    estimator.architecture_, estimator.settings_ = architecture, settled(learned.recipe)
    keep(estimator, Density(in_numpy(learned.model), shaping, scaled), x, c)
    logs = learned.held_out + shaping.log_det(x)
    estimator.held_out_ = held_out.compare(
        x, c, logs, simple=bool(estimator.compare), seed=estimator.seed
    )
    estimator.seconds_ = dict(learned.seconds)
    seen = judgement.examine(estimator.density_, x, c, estimator.seed)
    told = (*repeats.notes, *notes, *learned.notes, *arguments.price_of(architecture))
    last = learned.fits[-1]
    told += judgement.uncompared(estimator.held_out_, estimator.compare)
    status = judgement.status_of(last.status, estimator.held_out_, examined(estimator, seen), told)
    finish(estimator, status, learned.history, sum(made.steps for made in learned.fits))


def match_target(
    estimator: FlowDensity, log_density: Callable, dim: int, mean: Any, scale: Any,
    options: Watching,
) -> None:  # fmt: skip
    """From an unnormalised log density."""
    dim = arguments.count_of(dim, "dim", "variables")
    centre, width = (
        arguments.per_variable(n, v, dim) for n, v in (("mean", mean), ("scale", scale))
    )
    seed = estimator.seed
    places = centre + width * np.random.default_rng(seed).normal(size=(256, dim))
    with arithmetic(estimator.precision):
        arguments.check_target(log_density, places)
    architecture = estimator.flow or default_architecture(dim, 1000)
    arguments.check_trains(architecture, "match")
    placed = target.Placed(log_density, tuple(centre.tolist()), tuple(width.tolist()))
    recipe = target.decided(recipe_of(estimator))
    with arithmetic(estimator.precision):
        mixture, made = target.match(placed, architecture, recipe, seed=seed, **options)
    estimator.n_features_in_ = dim
    vars(estimator).pop("feature_names_in_", None)  # of an earlier `fit`
    estimator.names_, estimator.context_names_ = border.column_names(None, dim), ()
    estimator.held_out_ = estimator.repeats_ = estimator.images_ = None
    whitening = Whitening(centre, np.diag(1 / width), np.diag(width))
    density = Density(in_numpy(mixture), Shaping.straight(whitening))
    estimator.architecture_, estimator.settings_ = architecture, settled(recipe)
    estimator.matched_, x = target.judge(density, log_density, seed)
    keep(estimator, density, x, None)
    estimator.seconds_ = {"density matching": made.seconds}
    solves = examined(estimator, judgement.examine(density, x, None, seed))
    told = arguments.price_of(architecture)
    status = judgement.status_of_match(made.status, estimator.matched_, solves, told)
    finish(estimator, status, list(made.history), made.steps)


def recipe_of(estimator: FlowDensity) -> Recipe:
    """What the arguments say; the rest is decided by rows and columns."""
    chosen = {n: getattr(estimator, n) for n in _RECIPE if getattr(estimator, n) != arguments.AUTO}
    return Recipe(**chosen, jitter=estimator.jitter)


def settled(recipe: Recipe) -> dict[str, Any]:
    """The arguments with what "auto" became; those that did nothing are left out."""
    return {n: v for n, v in dataclasses.asdict(recipe).items() if v is not None}


def keep(estimator: FlowDensity, density: Any, x: np.ndarray, c: np.ndarray | None) -> None:
    """The density, and some rows for pictures."""
    few = np.sort(np.random.default_rng(estimator.seed).permutation(len(x))[:_KEPT])
    estimator.density_, estimator.model_ = density, density.model
    estimator.data_, estimator.context_ = x[few], None if c is None else c[few]
    estimator.n_features_in_ = estimator._n_features_out = density.dim


def examined(estimator: FlowDensity, solves: judgement.Solves | None) -> judgement.Solves | None:
    """What the solves show, kept as attributes."""
    estimator.nfe_ = None if solves is None else solves.nfe
    estimator.stiffness_ = None if solves is None else solves.stiffness
    estimator.discretisation_ = None if solves is None else solves.discretisation
    return solves


def finish(
    estimator: FlowDensity, status: Status, history: list[dict[str, Any]], steps: int
) -> None:
    """The record of the fit."""
    seconds = sum(estimator.seconds_.values())
    estimator.fit_ = Fit(estimator.model_, status, history, seconds, steps)


def in_numpy(tree: Any) -> Any:
    """Arrays as NumPy, so that estimators pickle and survive other precisions."""
    import equinox as eqx
    import jax

    return jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, tree)
