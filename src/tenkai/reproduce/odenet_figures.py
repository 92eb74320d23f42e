"""What an ODE-Net's solver does: error, time and NFE forwards and back, and NFE over training.

Chen et al. 2018, figure 3, on scikit-learn's 8 x 8 digits, or with ``--data DIR`` on MNIST: an
ODE-Net trained by the continuous adjoint, then solved by Dormand and Prince's adaptive method over
a range of tolerances. As in the paper the batch is one state, gradients come from a second solve
backwards, and each panel is a trade-off. Published are curves; their one number is that the way
back takes about half of the evaluations of the way forth.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..classifiers import ODE, Design, Network, Stem, build
from ..classifiers.bodies import Together
from ..classifiers.learning import Recipe, labelled, rule
from ..classifiers.objectives import cross_entropy
from ..classifiers.transport import Solver, backwards
from ..fit import fit
from . import Row, Task
from .odenet_mnist import Images, digits, mnist

TOLERANCES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
EXACT = 1e-7
TRAINED_AT = 1e-3
HALF = 0.5
ROWS = 64


@dataclass(frozen=True)
class Solve:
    """One batch solved at one tolerance, forth and back."""

    rtol: float
    error: float  # of the end state, relative, against the tightest tolerance
    gradient_error: float  # of dL/dh(0), relative
    forth: int
    back: int
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A network, and accuracy and NFE (forth, back) of one batch over the steps of its training."""

    network: Network
    steps: Sequence[int]
    accuracy: Sequence[float]
    forth: Sequence[int]
    back: Sequence[int]
    seconds: float


@eqx.filter_jit
def _there_and_back(network: Network, x: Any, y: Any, rtol: Any) -> tuple[Any, ...]:
    """The end, ``dL/dh(0)``, NFE forth and back, logits of a batch as one state."""
    solver = Solver(rtol=rtol)
    field = Together(network.body.block)  # type: ignore[attr-defined]
    solved = solver.solve(field, jax.vmap(network.start)(x))
    end = solved.ys[-1]

    def loss(h: Any) -> tuple[Any, Any]:
        logits = jax.vmap(network.head)(h)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits

    slope, logits = jax.grad(loss, has_aux=True)(end)
    start, _, nfe = backwards(field, end, slope, solver)
    return end, start, solved.work.nfe, nfe, logits


@eqx.filter_jit
def _there(network: Network, x: Any, rtol: Any) -> Any:
    field = Together(network.body.block)  # type: ignore[attr-defined]
    return Solver(rtol=rtol).solve(field, jax.vmap(network.start)(x)).ys[-1]


def by_tolerance(network: Network, batch: Images, rtols: Sequence[float]) -> list[Solve]:
    """The batch at every tolerance, against the solve at 1e-7."""
    x, y = jnp.asarray(batch.x), jnp.asarray(batch.y, jnp.int32)
    exact, slope, *_ = _there_and_back(network, x, y, jnp.asarray(EXACT))
    found = []
    for rtol in rtols:
        at = jnp.asarray(rtol)
        end, start, forth, back, _ = _there_and_back(network, x, y, at)
        jax.block_until_ready(_there(network, x, at))  # compiles
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            jax.block_until_ready(_there(network, x, at))
            times.append(time.perf_counter() - begun)
        off, off_back = _apart(end, exact), _apart(start, slope)
        found.append(Solve(rtol, off, off_back, int(forth), int(back), min(times)))
    return found


def _apart(a: Any, b: Any) -> float:
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


def trained(train: Images, width: int, steps: int, batch: int, looks: int) -> Trained:
    """Trained on the coarse grid; along the way one batch is solved adaptively."""
    design = Design(
        train.x.shape[1:], 10, ODE(steps=1), Stem(), width, "relu",
        (float(train.x.mean()),), (float(train.x.std()),),
    )  # fmt: skip
    recipe = Recipe(steps=steps, batch=batch)
    every = max(1, steps // looks)
    start = build(design, key=jax.random.key(0))
    made = fit(
        start, cross_entropy(batch, None), labelled(train.x, train.y, recipe),
        rule=rule(recipe.rate, steps, recipe.decay), steps=steps, every=every, snapshot_every=1,
    )  # fmt: skip
    few = Images(train.x[:ROWS], train.y[:ROWS])
    x, y = jnp.asarray(few.x), jnp.asarray(few.y, jnp.int32)
    found = []
    for step, model in [(0, start), *made.snapshots]:
        _, _, forth, back, logits = _there_and_back(model, x, y, jnp.asarray(TRAINED_AT))
        right = float(np.mean(np.asarray(logits).argmax(1) == few.y))
        found.append((step, right, int(forth), int(back)))
    return Trained(made.model, *zip(*found, strict=True), seconds=made.seconds)


def run(
    task: Task = Task(), *, width: int = 32, steps: int = 400, batch: int = 64, looks: int = 12,
    rtols: Sequence[float] = TOLERANCES, count: int | None = None,
) -> list[Row]:  # fmt: skip
    """How time follows NFE, and the way back the way forth; four panels in ``task.out``."""
    real = task.data is not None
    train, test = digits(count) if task.data is None else mnist(task.data)
    made = trained(train, width, steps, batch, looks)
    solves = by_tolerance(made.network, Images(test.x[:ROWS], test.y[:ROWS]), rtols)
    if task.out is not None:
        draw(made, solves, task.out / "odenet-figures.png")
    data = "MNIST" if real else "digits"
    ratio = float(np.mean([s.back / s.forth for s in solves]))
    first, last = solves[0], solves[-1]
    grown = made.forth[-1] / made.forth[0]
    spent = f"{steps} steps, {made.seconds:.0f} s"
    return [
        Row(f"{data}, NFE back / NFE forth", HALF, ratio,
            note=f"mean over tolerances {first.rtol:g} to {last.rtol:g}; published: roughly half"),
        Row(f"{data}, seconds against NFE, correlation", None, _correlation(solves),
            note="of one forward solve, batch of 64"),
        Row(f"{data}, error forth, tolerance {last.rtol:g}", None, last.error,
            note=f"relative to a solve at {EXACT:g}; {first.error:.2g} at {first.rtol:g}"),
        Row(f"{data}, NFE at the end of training / before", None, float(grown),
            note=f"tolerance {TRAINED_AT:g}: {made.forth[0]} to {made.forth[-1]}; {spent}"),
    ]  # fmt: skip


def _correlation(solves: Sequence[Solve]) -> float:
    return float(np.corrcoef([s.forth for s in solves], [s.seconds for s in solves])[0, 1])


def draw(made: Trained, solves: Sequence[Solve], file: Path) -> None:
    """The four panels."""
    from matplotlib.ticker import MaxNLocator

    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import AHEAD, LEARNED, QUIET

    forth, back = ([getattr(s, n) for s in solves] for n in ("forth", "back"))
    with lettering():
        figure = new_figure(9.0, 6.4)
        (a, b), (c, d) = figure.subplots(2, 2)
        a.semilogy(forth, [s.error for s in solves], "o-", color=LEARNED, label="end state")
        a.semilogy(forth, [s.gradient_error for s in solves], "s--", color=AHEAD, label="gradient")
        dress(a, title="Error against NFE", x="NFE forth", y="relative error")
        b.plot(forth, [1e3 * s.seconds for s in solves], "o", color=LEARNED)
        b.set_ylim(bottom=0)
        dress(b, title="Time against NFE", x="NFE forth", y="ms per batch")
        c.plot(forth, back, "o", color=LEARNED, label="by tolerance")
        most = max(*forth, *back)
        c.plot([0, most], [0, most], color=QUIET, lw=0.8, label="as many")
        c.plot([0, most], [0, most / 2], color=QUIET, lw=0.8, ls=":", label="half as many")
        dress(c, title="Continuous adjoint: NFE back against forth", x="NFE forth", y="NFE back")
        d.plot(made.steps, made.forth, "o-", ms=3, color=LEARNED, label="NFE forth")
        d.plot(made.steps, made.back, "s--", ms=3, color=AHEAD, label="NFE back")
        d.set_ylim(0, 1.35 * max(*made.forth, *made.back))
        dress(d, title=f"NFE over training, tolerance {TRAINED_AT:g}", x="step", y="NFE")
        for ax in (a, b, c, d):
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        figure.savefig(file, dpi=200)
