"""FFJORD on the eight toy densities of the plane, beside Glow and a planar continuous flow.

Grathwohl et al. 2019, figure 2 (and their code's eight sets), which publishes pictures without
numbers. Each flow learns from 50 000 points; ``E[log p - log q]`` is over points that it did not
see, wherever the true density is known, and evaluations of the field are counted at rtol = atol =
1e-5, as Chen et al. 2018 do. FFJORD is what `FlowDensity` takes by default, one flow of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import clouds
from ..flows import ContinuousFlow, Glow, PlanarCNF
from ..flows.evaluation import COUNTED, evaluate, log_density_of, on_grid
from ..flows.flow import Architecture
from ..flows.learning import Learned, learn
from ..flows.recipe import Recipe, default_architecture
from ..flows.whitening import Shaping
from . import Row, Task

SEEN, JUDGED = 50_000, 10_000
PRECISE = ("8gaussians", "moons")  # judged on five times as many points, and integrated
MODELS: dict[str, Architecture] = {
    "Glow": Glow(),
    "planar CNF": PlanarCNF(units=32),
    "FFJORD": default_architecture(2, SEEN),
}
RECIPES = {
    "Glow": Recipe(members=1, steps=3000, batch=256),
    "planar CNF": Recipe(members=1, matching=0, steps=1000, batch=256),
    "FFJORD": Recipe(members=1),
}
_SIDE = 120


@dataclass(frozen=True, eq=False)
class Trained:
    """A flow of shaped points, what its training showed, and what it cost."""

    flow: Any
    shaping: Shaping
    learned: Learned
    seconds: float

    def log_density(self, x: np.ndarray) -> tuple[np.ndarray, float]:
        """Nats in the units of the points, solved adaptively; evaluations of the field a point."""
        made = evaluate(self.flow, "to_base", self.shaping.forward(x), tolerance=COUNTED)
        return log_density_of(made) + self.shaping.log_det(x), float(made.nfe.mean())

    def drawn(self, x: np.ndarray) -> np.ndarray:
        """The same on the grid of training, which is quicker: for pictures."""
        if not isinstance(self.flow, ContinuousFlow):
            return self.log_density(x)[0]
        return on_grid(self.flow, self.shaping.forward(x), refine=2) + self.shaping.log_det(x)


def train(
    cloud: str, architecture: Architecture, recipe: Recipe = Recipe(members=1), *,
    rows: int = SEEN, seed: int = 0,
) -> Trained:  # fmt: skip
    """Learn one of the clouds."""
    begun = time.perf_counter()
    x = clouds.draw(cloud, rows, seed=seed)
    shaping = Shaping.fit(x)
    learned = learn(shaping.forward(x), None, architecture, recipe, seed=seed)
    flow = learned.model.member(0)
    return Trained(flow, shaping, learned, time.perf_counter() - begun)


def judged(
    cloud: str, made: Trained, points: int = JUDGED, seed: int = 1000
) -> tuple[float, float, float]:
    """``E[log p - log q]`` (of ``-log q`` where p is not known), its standard error, and NFE."""
    x = clouds.draw(cloud, points, seed=seed)
    logs, nfe = made.log_density(x)
    off = truth(cloud, x) - logs
    return float(off.mean()), float(off.std(ddof=1) / len(x) ** 0.5), nfe


def truth(cloud: str, x: np.ndarray) -> np.ndarray:
    """The true log density; zero where it has no known form (the pinwheel)."""
    return np.zeros(len(x)) if cloud == "pinwheel" else clouds.log_density(cloud, x)


def integral(made: Trained, cloud: str, side: int = 400) -> float:
    """Of the density, over a box half as wide again as the points."""
    x = clouds.draw(cloud, 20_000, seed=5)
    low, high = x.min(0), x.max(0)
    low, high = low - (high - low) / 4, high + (high - low) / 4
    logs = made.drawn(grid(low, high, side))
    return float(np.exp(logs).sum() * np.prod((high - low) / side))


def grid(low: np.ndarray, high: np.ndarray, side: int) -> np.ndarray:
    """Midpoints of ``side x side`` cells."""
    middle = (np.arange(side) + 0.5) / side
    axes = [a + (b - a) * middle for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)


def run(
    task: Task = Task(), *, names: Sequence[str] = clouds.NAMES, models: Any = MODELS,
    recipes: Any = RECIPES, rows: int = SEEN, points: int = JUDGED,
) -> list[Row]:  # fmt: skip
    """Rows for every cloud and flow; the picture."""
    begun, last, found = time.perf_counter(), 0.0, []
    made: dict[tuple[str, str], Trained] = {}
    for name in names:
        left = float("inf") if task.budget is None else 60 * task.budget
        if made and time.perf_counter() - begun + last > left:
            found.append(Row(f"{name}", None, None, note="out of budget"))
            continue
        start = time.perf_counter()
        for model, architecture in models.items():
            trained = train(name, architecture, recipes[model], rows=rows)
            made[name, model] = trained
            found += _rows(name, model, trained, points)
        last = time.perf_counter() - start
    if task.out is not None:
        draw(made, task.out / "ffjord-toy.png")
    return found


def _rows(name: str, model: str, made: Trained, points: int) -> list[Row]:
    precise = name in PRECISE
    value, error, nfe = judged(name, made, 5 * points if precise else points)
    stages = zip(made.learned.seconds, made.learned.fits, strict=True)
    steps = " + ".join(f"{fitted.steps} {stage}" for stage, fitted in stages)
    note = f"{steps} steps, {made.seconds:.0f} s; ± is its standard error"
    law = "E[-log q]" if name == "pinwheel" else "E[log p - log q]"
    rows = [Row(f"{name}, {model}, {law}", None, value, error, unit="nats", note=note)]
    if nfe > 0:
        rows.append(Row(f"{name}, {model}, NFE", None, nfe, note="per point, at 1e-5"))
    if precise:
        note = "over the box of the points and half as much again"
        rows.append(Row(f"{name}, {model}, integral", None, integral(made, name), note=note))
    return rows


def draw(made: dict[tuple[str, str], Trained], file: Path) -> None:
    """Points, and the densities of every flow, for every cloud."""
    from ..report.axes import new_figure
    from ..report.fonts import lettering
    from ..report.palette import INK

    names, models = (list(dict.fromkeys(key[i] for key in made)) for i in (0, 1))
    with lettering():
        figure = new_figure(1.5 * len(names), 1.55 * (1 + len(models)))
        axes = figure.subplots(1 + len(models), len(names), squeeze=False)
        for column, name in zip(axes.T, names, strict=True):
            x = clouds.draw(name, 3000, seed=7)
            reach = 1.15 * np.abs(clouds.draw(name, 20_000, seed=5) - x.mean(0)).max()
            low, high = x.mean(0) - reach, x.mean(0) + reach
            box = (low[0], high[0], low[1], high[1])
            column[0].plot(*x.T, ".", color=INK, markersize=0.8, alpha=0.5)
            column[0].set(xlim=box[:2], ylim=box[2:])
            column[0].set_title(name, fontsize="small")
            for ax, model in zip(column[1:], models, strict=True):
                density = np.exp(made[name, model].drawn(grid(low, high, _SIDE)))
                image = density.reshape(_SIDE, _SIDE)
                top = np.quantile(density, 0.995)
                ax.imshow(image, origin="lower", cmap="Blues", extent=box, vmax=top)
            for ax in column:
                ax.set(xticks=[], yticks=[], aspect="equal")
        for ax, label in zip(axes[:, 0], ["points", *models], strict=True):
            ax.set_ylabel(label, fontsize="small")
        figure.savefig(file, dpi=150)
