"""DU-NeuralODE: four functions from 20 noisy points each, by 200 unfolded Euler steps.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, section 6.2. A path of
``dx/dt = W2 relu(W1 x + b1) + b2`` in the plane starts at 0; only its first component is observed.
A state after i steps is compared with the observation at ``t = i eta``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.nn import initializers
from jaxtyping import Array, Float

from ..data import toys
from ..fields import MLP, together
from ..fit import fit
from ..objectives import Aux
from ..unfold import Interval, euler, unfold
from . import Row, Task

END, STEPS, NOISE = 4.0, 200, 0.1
ETA = END / STEPS
OBSERVED = np.arange(1, STEPS, 10)  # Euler steps taken when a point is observed
TIMES = np.arange(1, STEPS + 1) * ETA
TITLES = {
    "sine": "$\\sin t$",
    "parabola": "$(t-2)^2-4$",
    "exponential": "$e^{-t}-1$",
    "square_root": "$\\sqrt{t}$",
}
FUNCTIONS = tuple(TITLES)
# One draw of the noise each, by the JAX port of the book's sample.
PUBLISHED = dict(zip(FUNCTIONS, (0.155, 0.198, 0.192, 0.214), strict=True))
UNFITTED = 1.0  # squared error; the noise alone leaves about 20 * .1^2 = .2
ADAM = functools.cache(lambda: optax.adam(1e-2))


def path(net: MLP) -> Float[Array, "steps dim"]:
    """The state after each of the 200 Euler steps from 0."""
    grid = Interval(jnp.arange(STEPS) * ETA, jnp.full(STEPS, ETA))
    step = euler(lambda t, x, u: net(x))
    return unfold(step, jnp.zeros(net.layers[0].weight.shape[-1]), grid, unroll=5)[1]


all_paths = eqx.filter_jit(eqx.filter_vmap(path))  # networks with a leading axis of seeds


def loss(net: MLP, data: Float[Array, " points"], key: Any) -> tuple[Any, Aux]:
    """Sum of squared errors of the first component at the 20 observed points."""
    miss = path(net)[OBSERVED - 1, 0] - data
    return jnp.sum(miss**2), Aux(nfe_forward=STEPS, nfe_backward=STEPS)


def observe(function: str, seed: int) -> Float[np.ndarray, " points"]:
    """The 20 noisy points; every function has noise of its own."""
    noise = np.random.default_rng([FUNCTIONS.index(function), seed]).standard_normal(len(OBSERVED))
    return toys.truth(function, OBSERVED * ETA)[:, 0] + NOISE * noise


@eqx.filter_jit
def lecun(key: Any, dim: int = 2, width: int = 16) -> MLP:
    """Truncated normal weights of variance 1/inputs, zero biases: Flax's, which the port uses."""
    weights = initializers.lecun_normal(in_axis=-1, out_axis=-2)
    return _begin(key, weights, initializers.zeros, (dim, width, dim))


@eqx.filter_jit
def tiny(key: Any) -> MLP:
    """Every weight and bias from N(0, 1e-6), as the book begins."""
    return _begin(key, initializers.normal(1e-3), initializers.normal(1e-3))


def _begin(
    key: Any,
    weights: Callable[..., Any],
    biases: Callable[..., Any],
    sizes: tuple[int, ...] = (2, 16, 2),
) -> MLP:
    leaves, tree = jax.tree.flatten(MLP(sizes, "relu", key=key))
    keys = jax.random.split(key, len(leaves))
    drawn = [
        (weights if x.ndim == 2 else biases)(k, x.shape) for k, x in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, drawn)


@dataclass(frozen=True)
class Learned:
    """One function learned from every seed: observations, paths and the errors of each."""

    truth: Float[np.ndarray, " steps"]
    data: Float[np.ndarray, "seeds points"]
    paths: Float[np.ndarray, "seeds steps"]

    @property
    def sse(self) -> Float[np.ndarray, " seeds"]:
        """Squared error summed over the observed points."""
        return np.sum((self.paths[:, OBSERVED - 1] - self.data) ** 2, axis=1)

    @property
    def rmse(self) -> Float[np.ndarray, "seeds steps"]:
        """Root mean square distance from the true curve, from the start up to each step."""
        squares = (self.paths - self.truth) ** 2
        return np.sqrt(np.cumsum(squares, axis=1) / np.arange(1, STEPS + 1))


def learn(function: str, begin: Callable[[Any], MLP] = lecun, *, seeds: int = 20) -> Learned:
    """Adam, 500 steps, for every seed at once; a seed draws the noise and the first weights."""
    data = np.stack([observe(function, seed) for seed in range(seeds)])
    nets = eqx.filter_vmap(begin)(jax.random.split(jax.random.key(0), seeds))
    with together(seeds):
        nets = fit(nets, loss, data, rule=ADAM(), steps=500, every=500, members=seeds).model
        paths = all_paths(nets)[..., 0]
    return Learned(toys.truth(function, TIMES)[:, 0], data, np.asarray(paths))


def run(task: Task = Task(), *, seeds: int = 100) -> list[Row]:
    """Errors of the four functions, and what the book's small first weights do to the parabola.

    A median over 20 seeds still moves by a tenth from one set of seeds to the next.
    """
    learned = {function: learn(function, seeds=seeds) for function in FUNCTIONS}
    small = learn("parabola", tiny, seeds=seeds)
    if task.out is not None:
        draw(learned, small, task.out / "du-neural-ode.png")
    rows = []
    for function, of in learned.items():
        sse, note = float(np.median(of.sse)), "ours: median; published: one draw"
        rows.append(Row(f"SSE, {function}", PUBLISHED[function], sse, n=seeds, note=note))
    for function, of in learned.items():
        seen, whole = np.median(of.rmse[:, [OBSERVED[-1] - 1, -1]], axis=0)
        first = np.median(of.rmse[:20, -1])
        note = f"median; of the first 20 seeds {first:.3f}; where there are data {seen:.3f}"
        rows.append(Row(f"RMSE to the truth, {function}", None, float(whole), n=seeds, note=note))
    for begun, of in (("1e-3 normal", small), ("LeCun normal", learned["parabola"])):
        bad = np.mean(of.sse > UNFITTED)
        note = f"median; {bad:.0%} of the seeds unfitted after 500 steps (SSE > {UNFITTED:g})"
        quantity = f"SSE, parabola from {begun} weights"
        rows.append(Row(quantity, None, float(np.median(of.sse)), n=seeds, note=note))
    return rows


def draw(learned: dict[str, Learned], small: Learned, file: Path) -> None:
    """Four panels: the true curve, one draw of the data and the path learned from it."""
    from matplotlib.figure import Figure

    from ..report.palette import AHEAD, INK, LEARNED, QUIET

    figure = Figure(figsize=(8, 5.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    time = np.append(0.0, TIMES)
    for axes, (name, of) in zip(panels.flat, learned.items(), strict=True):
        truth, first, *others = np.pad(np.vstack([of.truth, of.paths[:20]]), ((0, 0), (1, 0)))
        axes.plot(time, truth, color=INK, lw=1.2, ls="--", label="truth", zorder=3)
        axes.plot(OBSERVED * ETA, of.data[0], "o", color=QUIET, ms=4, label="data", clip_on=False)
        axes.plot(time, first, color=LEARNED, lw=2, label="learned")
        axes.plot([], [], color=LEARNED, lw=0.6, label="from other draws")
        axes.plot(time, np.transpose(others), color=LEARNED, lw=0.6, alpha=0.3)
        axes.set_title(TITLES[name])
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
    unfitted = small.paths[np.argmax(small.sse > UNFITTED)]
    panels[0, 1].plot(TIMES, unfitted, color=AHEAD, lw=1.5, label="from 1e-3 weights")
    for axes in panels[1]:
        axes.set_xlabel("t")
    handles, labels = panels[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(file, dpi=150)
