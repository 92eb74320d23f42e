"""An affine map learned with an explicit state and model: loss by epoch, recovered W and b.

``y = W x + b`` from R³ to R², everything uniform on [0, 1): 100 points, gradient descent at .1 on
the mean squared distance, one step an epoch. Published is one run of the example of Optimisers.jl
0.2.9 (2022), with Julia's random numbers; ours are other draws.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from .. import optim
from ..fit import fit
from ..objectives import Aux
from ..report.axes import dress, new_figure
from ..report.palette import AHEAD, FLOW, INK, LEARNED
from . import Row, Task

EPOCHS = 500
POINTS = 100
RATE = 0.1
PUBLISHED = {
    50: 0.03181389, 100: 0.009836106, 150: 0.0034513818, 200: 0.001299851, 250: 0.00050675025,
    300: 0.00020071033, 350: 8.006227e-5, 400: 3.2037726e-5, 450: 1.283851e-5, 500: 5.148223e-6,
}  # fmt: skip
TRUE_W = np.array([[0.997473, 0.324766, 0.0789543], [0.944791, 0.866895, 0.339611]])
FOUND_W = np.array([[0.995067, 0.322163, 0.0775274], [0.940327, 0.862248, 0.336711]])


class Affine(eqx.Module):
    """``W x + b``."""

    W: Any  # (2, 3)
    b: Any  # (2,)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Affine:
        """Uniform on [0, 1)."""
        return cls(rng.random((2, 3), np.float32), rng.random(2, np.float32))

    def __call__(self, x: Array) -> Array:
        return self.W @ x + self.b


def loss(model: Affine, x: Array, y: Array) -> Array:
    """The mean squared distance of the points."""
    return jnp.mean(jnp.sum((jax.vmap(model)(x) - y) ** 2, axis=1))


@functools.partial(jax.jit, static_argnums=3)
@functools.partial(jax.vmap, in_axes=(0, 0, 0, None))
def train(model: Affine, x: Array, y: Array, epochs: int) -> tuple[Affine, Array]:
    """The model after every epoch's update, and the loss after each, for many draws at once."""

    def epoch(carry: tuple[optim.State, Affine], _: Any) -> tuple[Any, Array]:
        state, model = carry
        state, model = optim.update(state, model, jax.grad(loss)(model, x, y))
        return (state, model), loss(model, x, y)

    start = (optim.setup(optax.sgd(RATE), model), model)
    (_, model), losses = jax.lax.scan(epoch, start, length=epochs)
    return model, losses


def draws(seeds: int) -> tuple[Affine, Affine, np.ndarray, np.ndarray]:
    """True maps, first guesses, and the points of each."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        truth, start = Affine.draw(rng), Affine.draw(rng)
        x = rng.random((POINTS, 3), np.float32)
        found.append((truth, start, x, x @ truth.W.T + truth.b))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def run(task: Task = Task(), *, seeds: int = 20, epochs: int = EPOCHS) -> list[Row]:
    """Medians over the draws beside the published run."""
    truth, start, x, y = draws(seeds)
    begun = time.perf_counter()
    model, losses = jax.device_get(train(start, x, y, epochs))
    seconds = time.perf_counter() - begun
    rows = [_row(f"loss, epoch {i}", PUBLISHED.get(i), losses[:, i - 1])
            for i in sorted({50, 100, 200, 300, 400, epochs}) if i <= epochs]  # fmt: skip
    off = np.abs(model.W - truth.W).max((1, 2)), np.abs(model.b - truth.b).max(1)
    rows += [
        _row("largest error of W", round(float(np.abs(FOUND_W - TRUE_W).max()), 6), off[0]),
        _row("largest error of b", None, off[1]),
        Row("fit against update: largest difference", None, against_fit(start, x, y, model, epochs),
            n=seeds, note="tenkai.fit takes the same steps"),
        Row("epochs", EPOCHS, epochs, n=seeds, note=f"all draws {seconds:.2g} s with compiling"),
    ]  # fmt: skip
    if task.out is not None:
        draw(truth, model, losses, task.out / "optimisers-affine.png")
    return rows


def _row(quantity: str, published: float | None, values: np.ndarray) -> Row:
    values = np.asarray(values, float)
    published = None if published is None else float(f"{published:.3g}")
    low, high = np.percentile(values, [10, 90])
    note = f"median; 80 % of the draws {low:.2g} to {high:.2g}; published: one draw"
    return Row(quantity, published, float(f"{np.median(values):.4g}"), n=len(values), note=note)


def against_fit(start: Affine, x: Any, y: Any, model: Affine, epochs: int) -> float:
    """How far the arrays that `fit` trains are from those of the explicit loop."""

    def objective(model: Affine, batch: Any, key: Any) -> tuple[Array, Aux]:
        return loss(model, *batch), Aux()

    fitted = fit(
        start, objective, (x, y), rule=optax.sgd(RATE), steps=epochs, members=len(x),
        progress=False,
    ).model  # fmt: skip
    return float(max(np.abs(a - b).max() for a, b in zip(
        jax.tree.leaves(jax.device_get(fitted)), jax.tree.leaves(model), strict=True)))  # fmt: skip


def draw(truth: Affine, model: Affine, losses: np.ndarray, path: Path) -> None:
    """Loss by epoch, and every recovered number over the true one."""
    figure = new_figure(8.4, 3.6)
    left, right = figure.subplots(1, 2)
    epochs = np.arange(1, losses.shape[1] + 1)
    left.semilogy(epochs, losses.T, color=FLOW, linewidth=0.7)
    left.semilogy(epochs, np.median(losses, 0), color=LEARNED, linewidth=2, label="median")
    left.plot([], [], color=FLOW, linewidth=0.7, label=f"{len(losses)} draws")
    left.semilogy(*zip(*PUBLISHED.items(), strict=True), "o", color=AHEAD, markersize=4,
                  label="published, one draw")  # fmt: skip
    dress(left, title="Loss by epoch", x="epoch", y="mean squared distance")
    right.axline((0, 0), slope=1, color=INK, linewidth=0.8)
    right.plot(truth.W.ravel(), model.W.ravel(), ".", color=LEARNED, label="W")
    right.plot(truth.b.ravel(), model.b.ravel(), "+", color=AHEAD, label="b")
    right.plot(TRUE_W.ravel(), FOUND_W.ravel(), "o", color=INK, fillstyle="none",
               label="W, published")  # fmt: skip
    right.set_aspect("equal")
    dress(right, title=f"After {losses.shape[1]} epochs", x="true", y="recovered")
    figure.savefig(path, dpi=130)
