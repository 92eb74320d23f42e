"""From rows to a manifold: a bandwidth, latents by the leave-one-out error, projections."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ..devices import arithmetic
from ..fit import fit
from ..records import Fit
from .estimate import Rows, estimate
from .evaluation import inverse_transform, transform
from .manifold import Manifold
from .objective import Latents, Material, descent, objective
from .starts import Prepared, fit_box, part, prepare, start

_WIDTHS = np.geomspace(0.02, 2.0, 14)  # bandwidths to choose from, in spreads of the start
_JUDGED = 2000  # rows whose errors choose the bandwidth
_WIDENED = 0.7  # share of the steps in which the kernel narrows to the bandwidth
_MASS = 1e-12  # of all other kernels at a latent: below, it is isolated
_PAYS = 0.998  # of the least error so far: below, the kernel narrows by a step
_ALWAYS = 1e30  # the kernel narrows whatever the error: the bandwidth was given
_CLEAN = 1e-6  # the least share of the variance that is noise
_SHOWN = 1000  # rows that compare the inducing latents with all


@dataclass(frozen=True)
class Recipe:
    """How latents are learned; lengths are in the units of the latents, `rate` in bandwidths.

    `widening` is how many times as wide as the bandwidth the kernel begins; `inducing` how many
    rows train, None for all; `rule` an optax rule instead of Adam.
    """

    latents: int = 2
    kernel: str = "gaussian"
    bandwidth: float | None = None
    left_out: bool = True
    penalty: float = 0.0
    box: tuple[float, float] | None = None
    steps: int = 500
    rate: float = 0.5
    widening: float = 7.0
    inducing: int | None = None
    snapshots: int = 50
    seed: int = 0
    precision: str = "float64"
    rule: Any = None


class Learned(NamedTuple):
    """What was learned. Latents of all rows, in the order passed; errors are shares of variance.

    `isolated` are rows that nothing is near to; `apart` compares the inducing latents with all.
    """

    manifold: Manifold
    embedding: Float[np.ndarray, "n latents"]
    history: tuple[tuple[int, np.ndarray], ...]
    error: float
    isolated: np.ndarray
    fit: Fit
    notes: tuple[str, ...]
    trained: np.ndarray
    apart: Apart | None = None


class Apart(NamedTuple):
    """On a sample of rows: leave-one-out errors by the inducing latents and by those of all rows,

    and the mean square between the two estimates; all are shares of the variance.
    """

    inducing: int
    rows: int
    error: float
    exact: float
    between: float


def choose_bandwidth(
    kernel: str, starts: list[np.ndarray], rows: Rows, *, seed: int
) -> tuple[float, float]:
    """The bandwidth with the smallest leave-one-out error of any of the starts, and that error.

    In units of the latents; judged at `_JUDGED` rows.
    """
    n = len(rows.x)
    at = np.sort(np.random.default_rng(seed).permutation(n)[:_JUDGED])
    weight, best = rows.seen[at], (np.inf, 1.0)
    total = max(float((weight * rows.x[at] ** 2).sum()), 1e-300)
    for z in starts:
        widest = float(z.std(0).max()) or 1.0
        for width in _WIDTHS * widest:
            f = np.asarray(estimate(kernel, True, z / width, rows, z[at] / width, at).f)
            missed = float((weight * (f - rows.x[at]) ** 2).sum()) / total
            best = min(best, (missed, float(width)))
    return best[1], best[0]


def learn(
    x: Float[np.ndarray, "n dim"], weight: Float[np.ndarray, " n"], recipe: Recipe,
    init: str | np.ndarray = "pca", *, log: Path | str | None = None, progress: bool | None = None,
    checkpoint: Path | str | None = None,
) -> Learned:  # fmt: skip
    """Latents of all rows. Call it within `arithmetic(recipe.precision)`."""
    ready = prepare(x, weight)
    wanted = np.float64 if recipe.precision == "float64" else np.float32
    chosen = np.arange(len(ready.weight))
    if recipe.inducing is not None and recipe.inducing < len(chosen):
        random = np.random.default_rng(recipe.seed)
        chosen = np.sort(random.permutation(len(chosen))[: recipe.inducing])
    rows = part(ready.rows, chosen)
    z, notes = _begin(init, ready, chosen, rows, recipe)
    width = recipe.bandwidth
    if width is None:
        beside = start("pca", rows, recipe.latents, seed=recipe.seed, box=recipe.box)[0]
        starts = [z, fit_box(beside * z.std(0).max(), recipe.box)]
        width, _ = choose_bandwidth(recipe.kernel, starts, _cast(rows, wanted), seed=recipe.seed)
    made = _train(z / width, rows, ready.weight[chosen], width, recipe, wanted, log, progress,
                  checkpoint)  # fmt: skip
    history = tuple((step, np.asarray(m.u, np.float64) * width) for step, m in made.snapshots)
    z = np.asarray(made.model.u, np.float64) * width
    if recipe.steps and recipe.bandwidth is None:
        width *= float(made.model.width(recipe.widening, max(_WIDENED * recipe.steps, 1.0)))
    u = z / width
    return _gathered(x, ready, chosen, rows, u, width, recipe, made, history, notes)


def _cast(rows: Rows, to: Any) -> Rows:
    return Rows(*(np.asarray(a, to) for a in rows))


def _begin(
    init: str | np.ndarray, ready: Prepared, chosen: np.ndarray, rows: Rows, recipe: Recipe
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The start of the rows that train: made, or taken from that of all rows."""
    if isinstance(init, str):
        return start(init, rows, recipe.latents, seed=recipe.seed, box=recipe.box)
    given = np.empty((len(ready.weight), recipe.latents))
    back = np.flatnonzero(ready.where >= 0)[::-1]  # of copies the first one's
    given[ready.where[back]] = init[back]
    z = given[chosen]
    return (z if recipe.box is None else np.clip(z, *recipe.box)), ()


def _train(
    u: np.ndarray, rows: Rows, weight: np.ndarray, width: float, recipe: Recipe, to: Any,
    log: Any, progress: Any, checkpoint: Any,
) -> Fit:  # fmt: skip
    steps = recipe.steps
    box = None if recipe.box is None else (recipe.box[0] / width, recipe.box[1] / width)
    pays = _PAYS if recipe.bandwidth is None and recipe.left_out else _ALWAYS
    settings = recipe.penalty * width**2, recipe.widening, max(_WIDENED * steps, 1.0), pays
    batch = Material(
        _cast(rows, to), np.asarray(weight / weight.sum(), to), tuple(map(to, settings))
    )
    every = max(1, steps // recipe.snapshots)
    return fit(
        Latents.begun(np.asarray(u, to)), objective(recipe.kernel, recipe.left_out), batch,
        rule=descent(recipe.rate, steps, box, recipe.rule), steps=steps,
        every=every, snapshot_every=1,
        key=jax.random.key(recipe.seed), stage="latents", log=log, progress=progress,
        checkpoint=checkpoint,
    )  # fmt: skip


def manifold_of(
    ready: Prepared, rows: Rows, u: np.ndarray, width: float, recipe: Recipe
) -> tuple[Manifold, float, np.ndarray]:
    """The manifold of trained latents, its error, and the mass of other kernels at each latent.

    The error is by leaving out where that was trained; the noise always is.
    """
    index, missed = np.arange(len(u)), {}
    surface = mass = np.zeros(0)
    for left_out in (False, True):
        f, mass = map(np.asarray, estimate(recipe.kernel, left_out, u, rows, u, index))
        surface = surface if left_out else f
        missed[left_out] = float((rows.seen * (f - rows.x) ** 2).sum() / rows.total)
    low, high = recipe.box or (-np.inf, np.inf)
    noise = max(missed[True], _CLEAN) / rows.x.shape[1]
    numbers: Any = [np.asarray(n) for n in (ready.spread, width, noise, low, high)]
    arrays: Any = (u * width, rows.seen * rows.x, rows.seen, surface, ready.centre)
    made = Manifold(*arrays, *numbers, kernel=recipe.kernel)
    return made, missed[recipe.left_out], mass


def _gathered(
    x: np.ndarray, ready: Prepared, chosen: np.ndarray, rows: Rows, u: np.ndarray, width: float,
    recipe: Recipe, made: Fit, history: tuple, notes: tuple[str, ...],
) -> Learned:  # fmt: skip
    """Everything in the order of the rows as passed; those that did not train are projected."""
    with arithmetic("float64"):
        manifold, missed, mass = manifold_of(ready, rows, u, width, recipe)
    unique = np.full((len(ready.weight), recipe.latents), np.nan)
    unique[chosen] = manifold.latent
    stands = np.full(len(ready.weight), -1)
    stands[chosen] = np.arange(len(chosen))
    trained = np.where(ready.where >= 0, stands[ready.where], -1)
    embedding = np.asarray(manifold.latent)[trained]
    outside = np.flatnonzero(trained < 0)
    if len(outside):
        embedding[outside] = transform(manifold, x[outside])
        weighing = outside[ready.where[outside] >= 0]
        unique[ready.where[weighing]] = embedding[weighing]
    apart = None
    if len(chosen) < len(unique):
        apart = _compared(manifold, ready, unique, missed, recipe)
    lonely = np.flatnonzero(mass < _MASS)
    isolated = np.flatnonzero(np.isin(trained, lonely) & (trained >= 0))
    whole = tuple((step, z[trained]) for step, z in history) if not len(outside) else history
    return Learned(manifold, embedding, whole, missed, isolated, made, notes, trained, apart)


def _compared(
    manifold: Manifold, ready: Prepared, z: np.ndarray, missed: float, recipe: Recipe
) -> Apart:
    """The estimate by inducing latents against the one that leaves nothing but the row out."""
    random = np.random.default_rng(recipe.seed)
    at = np.sort(random.permutation(len(z))[:_SHOWN])
    width = float(manifold.bandwidth)
    x, seen = ready.rows.x[at], ready.rows.seen[at]
    total = max(float((seen * x**2).sum()), 1e-300)
    with arithmetic("float64"):
        f = estimate(recipe.kernel, True, z / width, ready.rows, z[at] / width, at).f
    exact = np.asarray(f)
    fewer = (inverse_transform(manifold, z[at]) - manifold.centre) / manifold.spread
    between = float((seen * (fewer - exact) ** 2).sum()) / total
    error_of = [float((seen * (g - x) ** 2).sum()) / total for g in (fewer, exact)]
    return Apart(len(manifold.latent), len(z), error_of[0], error_of[1], between)
