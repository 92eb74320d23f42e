"""`ODEClassifier` as a program: probabilities and classes of rows or images."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..classifiers.bodies import solver_of, with_solver
from ..classifiers.network import Network
from ..classifiers.transport import Solver
from ..devices import arithmetic
from ..estimators.ode_classifier import ODEClassifier
from ..estimators.sklearn_border import require_fitted
from .program import Argument, Function, Program
from .programs import Wanted, build, wide

FEWEST, MOST = 4, 256  # steps that stand for an adaptive solve
_MOVED = 1e-7  # of a probability, by which half the step may move it
_TRIED = 64  # rows on which grids are tried


@build.register
def _(model: ODEClassifier, wanted: Wanted) -> Program:
    require_fitted(model)
    network, notes = _on_grid(model)
    names = ", ".join(str(c) for c in model.classes_.tolist())
    numbers = model.classes_.dtype.kind in "iu"
    classes = model.classes_ if numbers else np.arange(len(model.classes_))

    def predict_proba(x: Array) -> Array:
        return _probabilities(model, network, x)

    def predict(x: Array) -> Array:
        best = jnp.argmax(_probabilities(model, network, x), axis=1)
        return jnp.asarray(classes, jnp.int32)[best]

    what = "images" if len(model.shape_) == 3 else f"rows: {', '.join(_columns(model))}"
    arguments = (Argument("x", ("rows", *map(int, model.shape_)), what),)
    functions = (
        Function("predict_proba", predict_proba, arguments, ("probability",),
                 f"The probability of every class: {names}."),
        Function("predict", predict, arguments, ("label",), "The most probable class of every row."
                 if numbers else f"The number, from 0, of the most probable class: {names}."),
    )  # fmt: skip
    return Program(f"ODEClassifier of {len(model.classes_)} classes", functions, notes, network)


def _columns(model: ODEClassifier) -> list[str]:
    named: Any = getattr(model, "feature_names_in_", None)
    return [f"x{i}" for i in range(model.n_features_in_)] if named is None else list(named)


def _probabilities(model: ODEClassifier, network: Network, x: Array) -> Array:
    if model.centre_ is not None:
        x = (x - model.centre_) / model.scale_

    def one(x: Array) -> Array:
        return network.head(network.row(x, np.ones(1)).states[0])

    return jax.nn.softmax(jax.vmap(one)(x))


def _on_grid(model: ODEClassifier) -> tuple[Network, tuple[str, ...]]:
    """The network on a fixed grid: its own, or one fine enough for the rows it has seen."""
    network: Any = wide(model.model_)
    solver = solver_of(network.body)
    if solver is None or solver.rtol is None:
        return network, ()
    x, last, steps = np.asarray(model.shown_[:_TRIED], float), None, FEWEST
    with arithmetic("float64"):
        while True:
            body = with_solver(network.body, Solver(steps=steps))
            now = Network(network.stem, body, network.head, network.centre, network.scale)
            found = np.asarray(jax.jit(lambda x, n=now: _probabilities(model, n, x))(x))
            if last is not None:
                moved = float(np.abs(found - last).max()) / 15
                if not moved > _MOVED or steps >= MOST:
                    break
            steps, last = 2 * steps, found
    note = (
        f"{steps} Runge-Kutta steps stand for the adaptive solve; half the step moves no "
        f"probability of rows that were seen by more than {moved:.1g}"
    )
    return now, (note,)
