"""ODE demo: a spiral learned from windows of ten steps, the first example of torchdiffeq.

torchdiffeq's ``examples/ode_demo.py``: ``dy/dt = y^3 A`` from (2, 0), 1000 times in [0, 25]; a
network 2-50-2 on ``y^3``; 2000 steps of RMSprop on the mean absolute error of 20 windows. The
example prints the mean absolute error over the whole trajectory while it runs and publishes none.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from ..fields import MLP, together
from ..fit import fit
from ..objectives import Aux
from ..solve import solve
from ..unfold import DOPRI5
from . import Row, Task

MATRIX = np.array([[-0.1, 2.0], [-2.0, -0.1]])
START = np.array([2.0, 0.0])
TIMES = np.linspace(0, 25, 1000)
WINDOWS, LENGTH, STEPS = 20, 10, 2000
# torch's defaults; the example sets only the rate.
RMSPROP = functools.cache(lambda: optax.rmsprop(1e-3, decay=0.99, eps=1e-8, eps_in_sqrt=False))


class Cubed(eqx.Module):
    """``net(y^3)``, weights from N(0, .01) and zero biases."""

    net: MLP

    def __init__(self, key: PRNGKeyArray):
        net = MLP((2, 50, 2), "tanh", key=key)
        keys = iter(jax.random.split(key, len(net.layers)))
        layers = tuple(
            eqx.tree_at(
                lambda m: m.weight, layer, 0.1 * jax.random.normal(next(keys), layer.weight.shape)
            )
            for layer in net.layers
        )
        self.net = eqx.tree_at(lambda m: m.layers, net, layers)

    def __call__(self, t: Any, y: Float[Array, " 2"], u: Any = None) -> Float[Array, " 2"]:
        return self.net(y**3)


def truth() -> Float[np.ndarray, "time 2"]:
    """The spiral at its 1000 times, by a fifth-order method with tenfold steps."""
    with jax.enable_x64(True):
        spiral = solve(lambda t, y, u: y**3 @ MATRIX, START, TIMES, method=DOPRI5, substeps=10)
        return np.asarray(spiral.ys)


def loss(field: Cubed, spiral: Float[Array, "time 2"], key: PRNGKeyArray) -> tuple[Any, Aux]:
    """Mean absolute error of 20 windows of 10 times, each solved from its first point."""
    first = jax.random.choice(key, len(TIMES) - LENGTH, (WINDOWS,), replace=False)
    window = jax.vmap(lambda i: jax.lax.dynamic_slice_in_dim(spiral, i, LENGTH))(first)
    paths = jax.vmap(lambda y0: solve(field, y0, TIMES[:LENGTH]).ys)(window[:, 0])
    return jnp.mean(jnp.abs(paths - window)), Aux()


def run(task: Task = Task(), *, seeds: int = 5) -> list[Row]:
    """The error over the whole trajectory, from one solve, before and after training."""
    spiral = truth()
    fields = eqx.filter_vmap(Cubed)(jax.random.split(jax.random.key(0), seeds))
    with together(seeds * WINDOWS):
        learned = fit(
            fields, loss, jnp.asarray(spiral), rule=RMSPROP(), steps=STEPS, every=STEPS,
            members=seeds, member_axes=None, key=jax.random.key(1),
        ).model  # fmt: skip
    follow = eqx.filter_jit(eqx.filter_vmap(lambda f: solve(f, jnp.asarray(START), TIMES).ys))
    begun, ended = np.asarray(follow(fields)), np.asarray(follow(learned))
    errors = np.mean(np.abs(ended - spiral), axis=(1, 2))
    if task.out is not None:
        best = int(np.argsort(errors)[seeds // 2])
        member = jax.tree.map(lambda leaf: leaf[best], learned)
        draw(spiral, ended[best], member, task.out / "ode-demo.png")
    return [
        _row("before training", np.mean(np.abs(begun - spiral), axis=(1, 2))),
        _row(f"after {STEPS} steps", errors),
    ]


def _row(when: str, errors: Float[np.ndarray, " seeds"]) -> Row:
    return Row(
        f"mean absolute error of the whole trajectory, {when}",
        None,
        float(np.mean(errors)),
        float(np.std(errors, ddof=1)),
        len(errors),
        note=f"from {errors.min():.2f} to {errors.max():.2f}; no number is published",
    )


def draw(spiral: np.ndarray, learned: np.ndarray, field: Cubed, file: Path) -> None:
    """The example's three panels: components over time, phase portrait, learned vector field."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import FLOW, LEARNED, QUIET, colour

    with lettering():
        figure = new_figure(11, 3.7)
        left, middle, right = figure.subplots(1, 3)
        for i, name in enumerate("xy"):
            left.plot(TIMES, spiral[:, i], "--", color=QUIET, lw=1.2)
            left.plot(TIMES, learned[:, i], color=colour(i), lw=1.5, label=f"${name}$")
        side = np.linspace(-2, 2, 21)
        grid = np.stack(np.meshgrid(side, side), -1)
        slope = np.asarray(jax.vmap(jax.vmap(lambda y: field(0.0, y)))(jnp.asarray(grid)))
        slope = slope / np.linalg.norm(slope, axis=-1, keepdims=True)
        right.streamplot(side, side, *slope.transpose(2, 0, 1), color=FLOW, linewidth=0.8)
        for axes in (middle, right):
            axes.plot(*spiral.T, "--", color=QUIET, lw=1.2)
        middle.plot(*learned.T, color=LEARNED, lw=1.5)
        dress(left, title="One solve (dashed: truth)", x="$t$")
        dress(middle, title="Phase portrait (dashed: truth)", x="$x$", y="$y$")
        dress(right, title="Learned vector field", x="$x$", y="$y$")
        figure.savefig(file, dpi=200)
