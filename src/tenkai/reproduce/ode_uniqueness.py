"""Uniqueness of a learned ODE's solutions: bounds of its field's Lipschitz constant over training.

Toyama, Neural ordinary differential equations (in Japanese), Deep Learning JP, 2019, slide 41;
Chen et al. 2018, section 6. Picard and Lindelöf: where ``|f(t, a) - f(t, b)| <= L |a - b|``, one
and only one solution goes through every state, and (Grönwall) two that start ``d`` apart are at
most ``d exp(L t)`` apart. A network of matrices W_k and activations of slope at most one has
``L <= prod |W_k|``, so a bound exists whatever was learned. From below L is bounded by the largest
``|df/dy|`` at sampled states. Where there is no bound uniqueness fails: ``y' = sqrt |y|``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ..fields import NeuralField, together
from ..fit import fit
from ..objectives import Aux
from ..solve import solve
from . import Row, Task

SPAN, GAP, LENGTH, STARTS = 14.0, 0.1, 10, 8
BOX = np.array([[-2.5, 2.5], [-3.5, 3.5]])  # holds the limit cycle and the starts
SAMPLES = 4096
EVERY, BATCH = 100, 64
APART = 1e-3  # starts whose paths are compared with Grönwall's bound
_END = 4.0  # of the paths of y' = sqrt |y|


def van_der_pol(t: Any, y: Float[Array, " 2"], u: Any = None) -> Float[Array, " 2"]:
    """``x'' = (1 - x^2) x' - x``."""
    return jnp.stack([y[1], (1 - y[0] ** 2) * y[1] - y[0]])


def windows() -> Float[np.ndarray, "windows length 2"]:
    """Pieces of `LENGTH` states of paths that start anywhere in the box."""
    starts = np.random.default_rng(0).uniform(*BOX.T, size=(STARTS, 2)).astype(np.float32)
    times = np.arange(0, SPAN, GAP)
    follow = jax.jit(jax.vmap(lambda y0: solve(van_der_pol, y0, times, substeps=4).ys))
    paths = np.asarray(follow(starts))
    pieces = np.lib.stride_tricks.sliding_window_view(paths, LENGTH, axis=1)
    return np.ascontiguousarray(pieces.transpose(0, 1, 3, 2).reshape(-1, LENGTH, 2))


def loss(field: NeuralField, rows: Float[Array, "rows length 2"], key: PRNGKeyArray) -> Any:
    """Mean squared distance of one solve from the first state of every window."""
    times = GAP * np.arange(LENGTH)
    paths = jax.vmap(lambda y0: solve(field, y0, times).ys)(rows[:, 0])
    return jnp.mean((paths - rows) ** 2), Aux()


@dataclass(frozen=True)
class Bounds:
    """Of the Lipschitz constant after `steps` (snapshots,) of training, from above and below."""

    steps: np.ndarray
    upper: Float[np.ndarray, " snapshots"]
    lower: Float[np.ndarray, " snapshots"]


def upper_bound(field: NeuralField) -> float:
    """Product of the layers' spectral norms, times the slopes of tanh: at most one."""
    norms = [np.linalg.norm(np.asarray(layer.weight, float), 2) for layer in field.net.layers]
    return float(np.prod(norms))


@eqx.filter_jit
def _matrices(field: Any, states: Array) -> Array:
    return jax.vmap(jax.jacfwd(lambda y: field(0.0, y, None)))(states)


def lower_bound(field: Any, states: Float[np.ndarray, "n 2"]) -> float:
    """The largest spectral norm of the Jacobian at the states."""
    matrices = np.asarray(_matrices(field, jnp.asarray(states)), float)
    return float(np.linalg.norm(matrices, 2, axis=(1, 2)).max())


def samples(count: int) -> Float[np.ndarray, "n 2"]:
    """States spread over the box."""
    random = np.random.default_rng(1)
    return random.uniform(*BOX.T, size=(count, 2)).astype(np.float32)


def train(steps: int) -> tuple[NeuralField, list[tuple[int, NeuralField]], float]:
    """The learned field, what it was on the way, and its last loss."""
    field = NeuralField(2, key=np.random.default_rng(0), width=32, depth=2)
    rule = optax.adam(optax.cosine_decay_schedule(5e-3, steps))
    with together(BATCH):
        made = fit(
            field, loss, jnp.asarray(windows()), rule=rule, steps=steps, batch=BATCH,
            every=min(EVERY, steps), snapshot_every=1, key=jax.random.key(0),
        )  # fmt: skip
    return made.model, [(0, field), *made.snapshots], float(made.history[-1]["loss"])


def separation(field: Any, bound: float) -> tuple[float, float]:
    """How far paths from starts `APART` go apart within unit time, and Grönwall's bound of it."""
    start = samples(256)
    angle = np.random.default_rng(2).uniform(0, 2 * np.pi, len(start))
    other = start + APART * np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    end = jax.jit(jax.vmap(lambda y0: solve(field, y0, np.array([0.0, 1.0]), substeps=50).ys[-1]))
    apart = np.linalg.norm(np.asarray(end(start)) - np.asarray(end(other)), axis=1)
    return float(apart.max()), APART * float(np.exp(bound))


def root_paths(starts: Float[np.ndarray, " n"], times: np.ndarray) -> Float[np.ndarray, "n time"]:
    """Solutions of ``y' = sqrt |y|`` from numbers, in float64."""
    with jax.enable_x64(True):
        follow = jax.vmap(
            lambda y0: solve(lambda t, y, u: jnp.sqrt(jnp.abs(y)), y0, times, substeps=200).ys
        )
        return np.asarray(jax.jit(follow)(np.asarray(starts, np.float64)))


def run(task: Task = Task(), *, steps: int = 3000, count: int = SAMPLES) -> list[Row]:
    """Both bounds before and after training, Grönwall's bound, and where uniqueness fails."""
    begun = time.perf_counter()
    learned, snapshots, error = train(steps)
    states = samples(count)
    bounds = Bounds(
        np.array([step for step, _ in snapshots]),
        np.array([upper_bound(field) for _, field in snapshots]),
        np.array([lower_bound(field, states) for _, field in snapshots]),
    )
    true = lower_bound(van_der_pol, states)
    apart, allowed = separation(learned, bounds.upper[-1])
    times = np.linspace(0, _END, 81)
    roots = root_paths(np.array([0.0, 1e-12, 1e-6]), times)
    if task.out is not None:
        draw(bounds, true, learned, times, roots, task.out / "ode-uniqueness.png")
    spent = time.perf_counter() - begun
    rows = [*_learned(bounds, true, apart, allowed, error, count), *_roots(roots)]
    return [*rows, Row("time of it all", None, spent, unit="s", note=f"{steps} training steps")]


def _learned(
    b: Bounds, true: float, apart: float, allowed: float, error: float, count: int
) -> list[Row]:
    held = int(np.sum(b.lower <= b.upper))
    after = f"after {b.steps[-1]} steps"
    at = f"largest of {count} states"
    return [
        Row("Lipschitz constant from above, before training", None, b.upper[0],
            note="product of spectral norms; it is finite, so solutions are unique"),
        Row(f"Lipschitz constant from above, {after}", None, b.upper[-1],
            note=f"mean squared error of windows {error:.1e}"),
        Row("Lipschitz constant from below, before training", None, b.lower[0], note=at),
        Row(f"Lipschitz constant from below, {after}", None, b.lower[-1],
            note=f"{at}; true field, the same states: {true:.3g}"),
        Row("snapshots of the training whose lower bound is below the upper", len(b.steps), held,
            note="published: all"),
        Row(f"paths {APART:g} apart, after unit time", None, apart,
            note=f"Grönwall with the upper bound allows {allowed:.2g}"),
    ]  # fmt: skip


def _roots(paths: Float[np.ndarray, "n time"]) -> list[Row]:
    note = "a second solution from 0 is t²/4: no Lipschitz constant, no uniqueness"
    return [
        Row(f"y' = sqrt|y| from 0: y({_END:g})", 0.0, float(paths[0, -1]), note=note),
        Row(f"y' = sqrt|y| from 1e-12: y({_END:g})", (_END / 2 + 1e-6) ** 2, float(paths[1, -1]),
            note="apart grown 4e12 times: no exp(L t) for any L"),
        Row("largest |f'| of sqrt|y| on |y| >= 1e-12", 0.5e6, float(_steepest(1e-12)),
            note="published: 1/(2 sqrt(eps)), which has no bound"),
    ]  # fmt: skip


def _steepest(least: float) -> float:
    """By differences of the function itself."""
    y = np.geomspace(least, 1.0, 20_000)
    return float(np.max(np.diff(np.sqrt(y)) / np.diff(y)))


def draw(
    bounds: Bounds, true: float, field: Any, times: np.ndarray, roots: np.ndarray, file: Path
) -> None:
    """Bounds over training; the learned field with paths in it; solutions through one point."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering

    with lettering():
        figure = new_figure(11.5, 3.9)
        left, middle, right = figure.subplots(1, 3)
        _draw_bounds(left, bounds, true)
        _draw_field(middle, field)
        _draw_roots(right, times, roots)
        dress(left, title="Lipschitz constant of the learned field", x="step of training", y="$L$")
        dress(middle, title="Learned field: paths never meet", x="$x$", y="$x'$")
        dress(right, title="$y' = \\sqrt{|y|}$: many through one point", x="$t$", y="$y$")
        figure.savefig(file, dpi=200)


def _draw_bounds(axes: Any, bounds: Bounds, true: float) -> None:
    from ..report.palette import AHEAD, LEARNED, QUIET

    shade = {"color": LEARNED, "alpha": 0.12, "linewidth": 0}
    axes.fill_between(bounds.steps, bounds.lower, bounds.upper, **shade)
    axes.plot(bounds.steps, bounds.upper, color=AHEAD, label="product of norms, above")
    axes.plot(bounds.steps, bounds.lower, color=LEARNED, label="sampled Jacobians, below")
    axes.axhline(true, color=QUIET, ls="--", lw=1, label="true field, sampled")
    axes.set_yscale("log")
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200) if t < 1.5 * bounds.upper.max()]
    axes.set_yticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()


def _draw_field(axes: Any, field: Any) -> None:
    from ..report.palette import FLOW, colour

    x, y = (np.linspace(low, high, 21, dtype=np.float32) for low, high in BOX)
    grid = np.stack(np.meshgrid(x, y), -1)
    slope = np.asarray(jax.jit(jax.vmap(jax.vmap(lambda z: field(0.0, z, None))))(grid))
    axes.streamplot(x, y, slope[..., 0], slope[..., 1], color=FLOW, linewidth=0.7, arrowsize=0.8)
    starts = np.array([[0.1, 0.0], [0.4, 0.0], [-1.5, 2.5], [1.5, -2.5]], np.float32)
    fine = np.linspace(0, SPAN, 400)
    paths = np.asarray(jax.jit(jax.vmap(lambda y0: solve(field, y0, fine).ys))(starts))
    for i, path in enumerate(paths):
        axes.plot(*path.T, color=colour(i), lw=1.3)
        axes.plot(*path[0], "o", color=colour(i), ms=4)
    axes.set(xlim=BOX[0], ylim=BOX[1])


def _draw_roots(axes: Any, times: np.ndarray, roots: np.ndarray) -> None:
    from ..report.palette import AHEAD, FLOW, LEARNED

    for k, late in enumerate(np.arange(0.0, _END, 0.5)):
        label = "solutions from 0" if k == 0 else None
        axes.plot(times, np.maximum(times - late, 0) ** 2 / 4, color=FLOW, lw=1.2, label=label)
    axes.plot(times, roots[0], color=LEARNED, lw=2, label="solved from 0")
    axes.plot(times, roots[1], "--", color=AHEAD, lw=2, label="solved from $10^{-12}$")
