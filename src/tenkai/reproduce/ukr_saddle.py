"""UKR on a saddle: latents and surface by kernel regression.

The article's data: 200 rows (x1, x2, x1^2 - x2^2), x1 and x2 uniform in [-1, 1]. Its recipe begins
at 1e-5 N(0, 1) and descends the gradient of ``sum |x - f|^2`` at bandwidth 1, rows in their own
estimate; it prints no numbers, only the three pictures that are drawn here: latents, surface and
course. Both the library's default and that recipe (200 epochs at a rate of 1) are shown, over five
seeds of the data: the leave-one-out error, the distance of the surface from ``x3 = x1^2 - x2^2`` at
latents that no row has, and the Procrustes distance of the latents to the true (x1, x2): the share
of their variance that no shift, turn, mirror and scale explains.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import optax
from jaxtyping import Float

from ..devices import arithmetic
from ..estimators import UKR
from ..manifolds.evaluation import inverse_transform
from ..manifolds.learning import Learned, Recipe, learn
from ..report.axes import dress, new_figure
from ..report.fonts import lettering
from ..report.manifold import latent_map, surface
from ..report.manifold_findings import Shades, Space, plane_of, surface_of
from ..report.palette import LEARNED, colour
from . import Row, Task

ROWS = 200
SEEDS = 5
EPOCHS = 200
_SMALL = 1e-5  # of the article's start
_PROBES = 500  # random places among a latent and its nearest ones
_CORNERS = 4


class Judged(NamedTuple):
    """Of one fit: error and distances as the module's docstring has them."""

    error: float
    surface: float
    latents: float


def saddle(seed: int, rows: int = ROWS) -> Float[np.ndarray, "rows 3"]:
    """The article's data."""
    z = np.random.default_rng(seed).uniform(-1, 1, (rows, 2))
    return np.column_stack([z, z[:, 0] ** 2 - z[:, 1] ** 2])


def run(task: Task = Task(), *, rows: int = ROWS, seeds: int = SEEDS, steps: int = 500,
        epochs: int = EPOCHS) -> list[Row]:  # fmt: skip
    """Errors and distances of the default and of the article's recipe; pictures in ``task.out``."""
    begun, ours, first = time.perf_counter(), [], None
    for seed in range(seeds):
        x = saddle(seed, rows)
        made = UKR(steps=steps, seed=seed).fit(x)
        first = first or made
        ours.append(judged(made.error_, made.model_, made.embedding_, x))
    seconds = (time.perf_counter() - begun) / seeds
    theirs, course = [], None
    for seed in range(seeds):
        x = saddle(seed, rows)
        learned = by_the_article(x, seed, epochs)
        course = course or learned
        theirs.append(judged(left_out(learned), learned.manifold, learned.embedding, x))
    if task.out is not None and first is not None and course is not None:
        draw(first, course, task)
    below = sum(j.error <= 0.01 for j in ours)
    return [
        *told(ours, f"default, {steps} steps of Adam"),
        Row("seeds with a leave-one-out error of at most 1 %", None, below, note=f"of {seeds}"),
        *told(theirs, f"the article's recipe, {epochs} epochs of gradient descent"),
        Row("time of a default fit", None, seconds, unit="s"),
    ]


def told(found: list[Judged], note: str) -> list[Row]:
    """Means over the seeds."""
    names = (
        ("leave-one-out error, share of the variance", 100.0, "%"),
        ("RMSE of the surface to the true saddle", 1.0, ""),
        ("Procrustes distance of the latents to (x1, x2)", 100.0, "%"),
    )
    values = np.array(found)
    return [
        Row(name, None, float(scale * v.mean()), float(scale * v.std()), len(found), unit, note)
        for (name, scale, unit), v in zip(names, values.T, strict=True)
    ]


def by_the_article(x: np.ndarray, seed: int, epochs: int = EPOCHS, rate: float = 1.0) -> Learned:
    """Gradient descent on the sum of squares from a tiny random start, bandwidth 1."""
    total = float(((x - x.mean(0)) ** 2).sum())  # the objective here is a share of it
    recipe = Recipe(
        bandwidth=1.0, left_out=False, steps=epochs, widening=1.0, rule=optax.sgd(rate * total)
    )
    start = _SMALL * np.random.default_rng(seed).standard_normal((len(x), 2))
    with arithmetic(recipe.precision):
        return learn(x, np.ones(len(x)), recipe, start)


def left_out(learned: Learned) -> float:
    """The leave-one-out error of latents that were learned without leaving out."""
    return float(learned.manifold.noise) * len(learned.manifold.centre)


def judged(error: float, manifold: object, z: np.ndarray, x: np.ndarray) -> Judged:
    """The three numbers of a fit to rows of the saddle."""
    random = np.random.default_rng(0)
    near = np.argsort(((z[:, None] - z[None]) ** 2).sum(-1), axis=1)[:, :_CORNERS]
    corners = z[near[random.integers(0, len(z), _PROBES)]]
    probes = (random.dirichlet(np.ones(_CORNERS), _PROBES)[..., None] * corners).sum(1)
    f = inverse_transform(manifold, probes)  # type: ignore[arg-type]
    off = f[:, 2] - (f[:, 0] ** 2 - f[:, 1] ** 2)
    return Judged(error, float(np.sqrt(np.mean(off**2))), procrustes(z, x[:, :2]))


def procrustes(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> float:
    """Share of b's variance that a, shifted, turned, mirrored and scaled, does not explain."""
    a, b = a - a.mean(0), b - b.mean(0)
    stretch = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    return float(1 - stretch**2 / ((a**2).sum() * (b**2).sum()))


def draw(ukr: UKR, course: Learned, task: Task) -> None:
    """Latents and surface of the default fit, coloured by x1, and the recipe's loss by epoch."""
    assert task.out is not None
    x, space = ukr.data_, Space.of(ukr.data_, ("x1", "x2", "x3"))
    shades = Shades(values=x[:, 0], title="x1")
    with lettering():
        figure = new_figure(12.0, 4.0)
        grid = figure.add_gridspec(1, 3, width_ratios=(1.15, 1.15, 0.9))
        latent_map(figure.add_subplot(grid[0]), plane_of(ukr.embedding_, x), shades)
        solid = figure.add_subplot(grid[1], projection="3d")
        surface(solid, space, space.to(x), surface_of(ukr), shades)
        ax = figure.add_subplot(grid[2])
        for i, (name, history) in enumerate(
            (("default, leave-one-out", ukr.fit_.history), ("article's recipe", course.fit.history))
        ):
            steps, loss = zip(*((r["step"], r["loss"]) for r in history), strict=True)
            ax.plot(steps, loss, color=colour(i) if i else LEARNED, label=name)
        ax.set_yscale("log")
        dress(ax, title="Course of the learning", x="step", y="share of the variance")
    figure.savefig(task.out / "ukr-saddle.png", dpi=150)
    ukr.animate(task.out / "ukr-saddle.html", color=x[:, 0])
