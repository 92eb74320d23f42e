"""Two circles by maximum likelihood: a continuous planar flow of 64 units, and 64 planar steps.

Chen et al. 2018, figure 5, which publishes pictures without numbers: density and samples at parts
of the way from the base. Here the circles of FFJORD's toy set, whose true density is known, so that
both flows are judged by ``E[log p - log q]`` on points of which neither saw one. The planar flow
runs from data to base, where its density is exact in one pass.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from ..data import clouds
from ..fit import fit
from ..flows import Architecture, Inverse, Planar, PlanarCNF, evaluation
from ..flows.objectives import Rows, Weights, likelihood
from ..flows.whitening import Whitening
from . import Row, Task

FRACTIONS = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)
STEPS = {"CNF": 4000, "NF": 10_000}
BATCH, SEEN, JUDGED = 256, 20_000, 10_000
_MINUTES = 3.0  # that these steps take on two cores
_SIDE, _SHOWN = 90, 2000


@dataclass(frozen=True, eq=False)
class Trained:
    """A flow of standardised points, its divergence from the truth, and what it cost."""

    flow: Any
    scale: Whitening
    kl: float
    error: float
    steps: int
    seconds: float

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Nats, in the units of the points."""
        z = self.scale.forward(x)
        moved = evaluation.evaluate(self.flow, "to_base", z, tolerance=evaluation.COUNTED)
        return evaluation.log_density_of(moved) + self.scale.log_det


@functools.cache
def _adam(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(3e-3, steps))


def train(cloud: str, architecture: Architecture, steps: int, seed: int = 0) -> Trained:
    """Maximum likelihood on `SEEN` points, judged on `JUDGED` others."""
    begun = time.perf_counter()
    x = clouds.draw(cloud, SEEN, seed=seed)
    scale = Whitening.standardising(x)
    weights = Weights(*(np.float32(0),) * len(Weights._fields))
    data = Rows(scale.forward(x).astype(np.float32), None, np.arange(SEEN), SEEN, weights)
    flow = fit(
        architecture.build(2, key=jax.random.key(seed)), likelihood(BATCH), data,
        rule=_adam(steps), steps=steps, every=max(steps // 10, 1), key=jax.random.key(seed + 1),
        stage=type(architecture).__name__,
    ).model  # fmt: skip
    made = Trained(flow, scale, 0.0, 0.0, steps, time.perf_counter() - begun)
    fresh = clouds.draw(cloud, JUDGED, seed=seed + 1000)
    off = clouds.log_density(cloud, fresh) - made.log_density(fresh)
    error = float(off.std(ddof=1) / len(off) ** 0.5)
    return Trained(flow, scale, float(off.mean()), error, steps, made.seconds)


def run(
    task: Task = Task(), *, cloud: str = "circles", size: int = 64,
    steps: dict[str, int] | None = None,
) -> list[Row]:  # fmt: skip
    """Divergence of both flows from the truth; the picture of the way."""
    share = 1.0 if task.budget is None else task.budget / _MINUTES
    steps = steps or {kind: max(int(n * share), 1) for kind, n in STEPS.items()}
    continuous = train(cloud, PlanarCNF(units=size), steps["CNF"])
    discrete = train(cloud, Inverse(Planar(layers=size)), steps["NF"])
    if task.out is not None:
        draw(cloud, continuous, discrete, task.out / f"cnf-two-{cloud}.png")
    return [
        _row(f"planar flow, {size} steps", discrete),
        _row(f"continuous planar flow, {size} units", continuous),
    ]


def _row(what: str, made: Trained) -> Row:
    note = f"{made.steps:,} updates, {made.seconds:.0f} s; ± is its standard error"
    return Row(f"E[log p - log q], {what}", None, made.kl, made.error, unit="nats", note=note)


def draw(cloud: str, continuous: Trained, discrete: Trained, file: Path) -> None:
    """Density and samples at parts of the way; behind them the planar flow and the truth."""
    from ..report.axes import new_figure
    from ..report.fonts import lettering
    from ..report.palette import LEARNED

    data = clouds.draw(cloud, _SHOWN, seed=7)
    reach = 1.25 * np.abs(data).max(0)
    sides = [np.linspace(-r, r, _SIDE) for r in reach + np.abs(data.mean(0))]
    grid = np.stack(np.meshgrid(*sides), -1).reshape(-1, 2)
    z = np.random.default_rng(0).standard_normal((_SHOWN, 2))
    way = [(f"{f:.0%}", *_at(continuous, f, z, grid)) for f in FRACTIONS]
    back = evaluation.evaluate(discrete.flow, "to_data", z)
    way.append(("planar flow", discrete.scale.inverse(back.y), discrete.log_density(grid)))
    way.append(("truth", data, clouds.log_density(cloud, grid)))
    with lettering():
        figure = new_figure(1.6 * len(way), 3.5)
        axes = figure.subplots(2, len(way))
        limits = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
        for (upper, lower), (title, points, logs) in zip(axes.T, way, strict=True):
            image = np.exp(logs - logs.max()).reshape(_SIDE, _SIDE)
            upper.imshow(image, origin="lower", cmap="Blues", extent=limits, aspect="auto")
            lower.plot(*points.T, ".", color=LEARNED, markersize=1, alpha=0.5)
            lower.set(xlim=limits[:2], ylim=limits[2:])
            upper.set_title(title, fontsize="medium")
            for ax in (upper, lower):
                ax.set(xticks=[], yticks=[])
        axes[0, 0].set_ylabel("density")
        axes[1, 0].set_ylabel("samples")
        figure.savefig(file, dpi=150)


def _at(
    made: Trained, fraction: float, z: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Samples and log density of the continuous flow when it has gone a part of its way."""
    loose = evaluation.COUNTED
    there = evaluation.between(made.flow, z, 0.0, fraction, tolerance=loose).y
    back = evaluation.between(made.flow, made.scale.forward(grid), fraction, 0.0, tolerance=loose)
    return made.scale.inverse(there), evaluation.log_density_of(back) + made.scale.log_det
