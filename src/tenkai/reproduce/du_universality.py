"""Universality: what a wider network and a second state dimension add to a neural ODE.

The four curves of `du-neural-ode` without noise. One state dimension: the solution of an autonomous
scalar equation is monotone, whatever the network, so sine and parabola are out of reach. Two: any
smooth curve is the first component of a flow in the plane (a second component can stand for time).
"""

from __future__ import annotations

import functools
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..data import toys
from ..fields import together
from ..fit import fit
from . import Row, Task
from .du_neural_ode import (
    ADAM,
    ETA,
    FUNCTIONS,
    OBSERVED,
    STEPS,
    TIMES,
    TITLES,
    all_paths,
    lecun,
    loss,
)

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
SEEN = OBSERVED[-1]  # Euler steps up to the last observation


def learn(
    dim: int, width: int, *, seeds: int, steps: int
) -> Float[np.ndarray, "functions seeds steps"]:
    """The first component of every learned path; all functions and seeds in one program."""
    members = len(FUNCTIONS) * seeds
    data = np.stack([toys.truth(f, OBSERVED * ETA)[:, 0] for f in FUNCTIONS])
    begin = functools.partial(lecun, dim=dim, width=width)
    nets = eqx.filter_vmap(begin)(jax.random.split(jax.random.key(0), members))
    with together(members):
        targets = np.repeat(data, seeds, axis=0)
        nets = fit(nets, loss, targets, rule=ADAM(), steps=steps, every=steps, members=members)
        paths = all_paths(nets.model)[..., 0]
    return np.asarray(paths).reshape(len(FUNCTIONS), seeds, STEPS)


def errors(paths: np.ndarray) -> Float[np.ndarray, "functions seeds"]:
    """Root mean square distance from the true curve where there are data."""
    truth = np.stack([toys.truth(f, TIMES)[:, 0] for f in FUNCTIONS])
    return np.sqrt(np.mean((paths - truth[:, None])[..., :SEEN] ** 2, axis=-1))


def run(
    task: Task = Task(), *, seeds: int = 10, steps: int = 2000, widths: tuple[int, ...] = WIDTHS
) -> list[Row]:
    """Error by width for one and for two state dimensions: Adam, 1e-2, `steps` steps."""
    paths = {(d, m): learn(d, m, seeds=seeds, steps=steps) for d in (1, 2) for m in widths}
    found = {key: np.median(errors(p), axis=1) for key, p in paths.items()}
    if task.out is not None:
        draw(paths, found, widths, task.out / "du-universality.png")
    rows = []
    for i, name in enumerate(FUNCTIONS):
        for d in (1, 2):
            by_width = [found[d, m][i] for m in widths]
            told = ", ".join(f"{m}: {e:.2g}" for m, e in zip(widths, by_width, strict=True))
            quantity = f"RMSE, {name}, {d}-D state, {widths[-1]} hidden units"
            rows.append(Row(quantity, None, float(by_width[-1]), n=seeds, note=f"by width {told}"))
    return rows


def draw(paths: dict, found: dict, widths: tuple[int, ...], file: Path) -> None:
    """Error against width for each curve; the sine as either state learns it."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import AHEAD, INK, LEARNED, colour

    with lettering():
        figure = new_figure(9.0, 3.6)
        left, right = figure.subplots(1, 2)
        for i, name in enumerate(FUNCTIONS):
            for d, style in ((1, "--"), (2, "-")):
                label = TITLES[name] if d == 2 else None
                by_width = [found[d, m][i] for m in widths]
                left.loglog(widths, by_width, style, marker="o", ms=3, color=colour(i), label=label)
        left.set_xticks(widths, [str(m) for m in widths])
        left.minorticks_off()
        title = "Error by width (dashed: 1-D state)"
        dress(left, title=title, x="hidden units m", y="RMSE to the curve")
        best = widths[-1]
        right.plot(TIMES, np.sin(TIMES), color=INK, ls=":", label="$\\sin t$")
        for d, shade in ((1, AHEAD), (2, LEARNED)):
            sines = np.median(paths[d, best][0], axis=0)
            right.plot(TIMES, sines, color=shade, label=f"{d}-D state, m = {best}")
        dress(right, title="A scalar equation is monotone", x="t", y="first component")
        figure.savefig(file, dpi=150)
