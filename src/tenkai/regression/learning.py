"""From rows, or from a function, to trained perceptrons: all members in one program."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, PyTree

from ..fit import fit
from ..objectives import Objective
from ..records import Fit
from .network import Affine, Perceptron, RegressionNetwork, begin
from .objectives import Pairs, Rows, squared_error
from .table import Table, left_out

_PAD = 64  # tables of other lengths share programs


@dataclass(frozen=True)
class Recipe:
    """What is trained and how: Adam, weight decay, a rate that falls by a cosine or stays.

    `batch` rows a step, None for all. `share` of the rows is left out of each member; every
    `every` steps they judge it, and all members are kept as they were at the step that is best on
    average: were each to choose its own, the rows that chose it would flatter it. `patience`
    judgements in which no member became better end the training.
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    output_activation: str = "identity"
    members: int = 10
    steps: int = 3000
    batch: int | None = None
    rate: float = 3e-3
    cosine: bool = True
    decay: float = 0.0
    share: float = 0.1
    every: int = 60
    patience: int | None = None
    snapshots: int | None = None  # in steps
    standardise: bool = True
    seed: int = 0
    spread: bool = False  # how the first layer begins, see `network.begin`

    def sizes(self, inputs: int, outputs: int) -> tuple[int, ...]:
        """Numbers in every layer."""
        return (inputs, *self.hidden, outputs)


class Learned(NamedTuple):
    """A trained ensemble with NumPy arrays, its training, which rows each member left out.

    `step` is the one at which the ensemble was kept.
    """

    model: RegressionNetwork
    fit: Fit
    step: int
    out: Bool[np.ndarray, "members rows"] | None


@functools.cache
def rule(rate: float, steps: int, cosine: bool, decay: float) -> optax.GradientTransformation:
    """One object per schedule, so that fits share programs. Biases do not decay."""
    if not cosine:
        plain = functools.partial(optax.adamw, weight_decay=decay, mask=_matrices)
        return plain(rate) if decay else optax.adam(rate)
    warm = max(1, steps // 20)
    schedule = optax.warmup_cosine_decay_schedule(
        0.1 * rate, rate, warm, max(steps, warm + 1), 1e-3 * rate
    )
    return optax.adamw(schedule, weight_decay=decay, mask=_matrices)


def _matrices(params: PyTree) -> PyTree:
    return jax.tree.map(lambda p: p.ndim > 1, params)


def scaling(x: np.ndarray, y: np.ndarray, weight: np.ndarray, recipe: Recipe) -> tuple:
    """Of inputs and outputs. An activation on the output keeps the units of the targets."""
    if not recipe.standardise:
        return Affine.identity(x.shape[1]), Affine.identity(y.shape[1])
    plain = recipe.output_activation == "identity"
    outputs = Affine.standard(y, weight) if plain else Affine.identity(y.shape[1])
    return Affine.standard(x, weight), outputs


def learn(table: Table, recipe: Recipe, **options: Any) -> Learned:
    """Train on a table; `options` go to `tenkai.fit.fit`."""
    members = recipe.members
    inputs, outputs = scaling(table.x, table.y, table.weight, recipe)
    out = left_out(len(table), members, recipe.share, recipe.seed)
    x, y = inputs.forward(table.x), outputs.forward(table.y)
    seen = np.ones((members, len(table)), bool) if out is None else ~out
    trained = _rows(x, y, table.weight, seen)
    judged = None if out is None else _rows(x, y, table.weight, out)
    made = fit(
        _start(recipe, x.shape[1], y.shape[1]), squared_error(members, recipe.batch), trained,
        member_axes=Rows(None, None, 0, 0, 0), validation=judged,
        validate=squared_error(members, None), **_asked(recipe, judged), **options,
    )  # fmt: skip
    return _learned(made, inputs, outputs, recipe, out)


def learn_function(
    objective: Objective, data: Any, axes: int | None, judged: Pairs | None, judge: Objective,
    inputs: Affine, outputs: Affine, recipe: Recipe, **options: Any,
) -> Learned:  # fmt: skip
    """Train on fresh rows of a function: drawn by the objective, or delivered by `data`.

    `axes` is 0 where every member has its own data, None where they share them. The rows of
    `judged`, which all share, choose the best weights of each.
    """
    n_in, n_out = len(inputs.offset), len(outputs.offset)
    if judged is not None and axes == 0:
        judged = Pairs(*(np.repeat(a[None], recipe.members, axis=0) for a in judged))
    made = fit(
        _start(recipe, n_in, n_out), objective, data, member_axes=axes, validation=judged,
        validate=judge, **_asked(recipe, judged), **options,
    )  # fmt: skip
    return _learned(made, inputs, outputs, recipe, None)


def _asked(recipe: Recipe, judged: Any) -> dict[str, Any]:
    return {
        "rule": rule(recipe.rate, recipe.steps, recipe.cosine, recipe.decay),
        "steps": recipe.steps, "members": recipe.members, "every": recipe.every,
        "key": jax.random.key(recipe.seed), "snapshot_every": _kept(recipe, judged),
        "patience": None if judged is None else recipe.patience, "stage": "squared error",
    }  # fmt: skip


def _kept(recipe: Recipe, judged: Any) -> int | None:
    """Every how many intervals the members are kept: always where one of them will be chosen."""
    if judged is not None:
        return 1
    return None if recipe.snapshots is None else recipe.snapshots // recipe.every


def _best(made: Fit) -> tuple[int, Any]:
    """The step at which the members were best on average on what they left out, and they then."""
    judged = {h["step"]: h["validation"] for h in made.history if h["validation"] is not None}
    kept = [(judged[step], step, core) for step, core in made.snapshots if step in judged]
    if not kept:
        return made.steps, made.model
    return min(kept, key=lambda one: one[0])[1:]


def real() -> Any:
    """The type of real numbers in the arithmetic of this block."""
    return jnp.zeros(()).dtype


def _start(recipe: Recipe, n_in: int, n_out: int) -> Perceptron:
    sizes = recipe.sizes(n_in, n_out)
    inner, output = recipe.activation, recipe.output_activation
    return begin(sizes, inner, output, recipe.members, recipe.seed, real(), recipe.spread)


def _rows(x: np.ndarray, y: np.ndarray, weight: np.ndarray, seen: np.ndarray) -> Rows:
    """Padded to a shared length; `order` begins with the rows that each member sees."""
    extra, dtype = -len(x) % _PAD, real()
    x, y = (np.pad(a, ((0, extra), (0, 0))).astype(dtype).T for a in (x, y))
    seen = np.pad(seen, ((0, 0), (0, extra)))
    order = np.argsort(~seen, axis=1, kind="stable").astype(np.int32)
    own = np.where(seen, np.pad(weight, (0, extra)), 0.0).astype(dtype)
    return Rows(x, y, own, order, seen.sum(axis=1).astype(np.int32))


def _learned(
    made: Fit, inputs: Affine, outputs: Affine, recipe: Recipe, out: np.ndarray | None
) -> Learned:
    def whole(core: Perceptron) -> RegressionNetwork:
        still = jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, core)
        return RegressionNetwork(still, inputs, outputs, recipe.members)

    every = recipe.snapshots
    asked = [] if every is None else [s for s in made.snapshots if s[0] % every == 0]
    snapshots = [(step, whole(core)) for step, core in asked]
    step, core = _best(made)
    model = whole(core)
    fitted = Fit(
        model, made.status, list(made.history), made.seconds, made.steps, snapshots, made.members
    )
    return Learned(model, fitted, step, out)
