"""Back-propagation by hand: y = W x + b towards exp(x), gradients of (y - t)² and descent.

The table of five steps of stochastic gradient descent at .01 from W = b = 0 that a tutorial on
Chainer 1.6 (2016) printed, whose x follow from the printed numbers; then 1000 steps with 20 fresh
points each on the contours of the loss, and the graph of the loss with values and gradients.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import Literal
from jaxtyping import Array, Float

from .. import optim
from ..report.axes import dress, new_figure
from ..report.palette import AHEAD, INK, LEARNED, QUIET
from . import Row, Task

RULE = optax.sgd(0.01)
X = np.array([0.8024703338, 0.0405506036, 0.4081456676, 0.1978930047, 0.3988157820], np.float32)
# W, b before; the gradients of W and b; W, b after.
TABLE = np.array([
    [0.00000000, 0.00000000, -3.58069563, -4.46209097, 0.03580696, 0.04462091],
    [0.03580695, 0.04462091, -0.08072093, -1.99062216, 0.03661416, 0.06452713],
    [0.03661416, 0.06452713, -1.16285205, -2.84911036, 0.04824269, 0.09301824],
    [0.04824268, 0.09301823, -0.44180280, -2.23253369, 0.05266071, 0.11534357],
    [0.05266071, 0.11534357, -1.07976472, -2.70742726, 0.06345836, 0.14241784],
])  # fmt: skip
BEST = {"W": 18 - 6 * np.e, "b": 4 * np.e - 10}  # least squares of exp on [0, 1]


class Line(NamedTuple):
    """``W x + b``, numbers."""

    W: Any
    b: Any


def error(model: Line, x: Array, t: Array) -> Array:
    """``(y - t)²``."""
    return (model.W * x + model.b - t) ** 2


def by_hand(model: Line, x: Array, t: Array) -> Line:
    """``dE/dW = 2 (y - t) x``, ``dE/db = 2 (y - t)``."""
    miss = 2 * (model.W * x + model.b - t)
    return Line(miss * x, miss)


@jax.jit
def table(x: Float[Array, " steps"]) -> tuple[Array, Array]:
    """One row per step as `TABLE`, with automatic gradients; and the gradients by hand."""

    def step(carry: Any, x: Array) -> tuple[Any, tuple[Array, Array]]:
        state, model = carry
        t = jnp.exp(x)
        gradients = jax.grad(error)(model, x, t)
        state, after = optim.update(state, model, gradients)
        hand = by_hand(model, x, t)
        return (state, after), (jnp.stack([*model, *gradients, *after]), jnp.stack(hand))

    start = Line(jnp.zeros(()), jnp.zeros(()))
    return jax.lax.scan(step, (optim.setup(RULE, start), start), x)[1]


@functools.partial(jax.jit, static_argnums=(1, 2))
@functools.partial(jax.vmap, in_axes=(0, None, None))
def descend(key: Any, steps: int, batch: int) -> Line:
    """The line before every step, and after the last, with fresh points on [0, 1] at each."""

    def step(carry: Any, key: Any) -> tuple[Any, Line]:
        state, model = carry
        x = jax.random.uniform(key, (batch,))
        gradients = jax.grad(lambda m: jnp.mean(error(m, x, jnp.exp(x))))(model)
        return optim.update(state, model, gradients), model

    start = Line(jnp.zeros(()), jnp.zeros(()))
    keys = jax.random.split(key, steps)
    (_, last), path = jax.lax.scan(step, (optim.setup(RULE, start), start), keys)
    return jax.tree.map(lambda a, b: jnp.append(a, b), path, last)


def expected(steps: int) -> Line:
    """The mean of `descend`: the steps are linear in W and b, and the points fresh."""
    moments = np.array([[1 / 3, 1 / 2], [1 / 2, 1]])
    target, line = np.array([1.0, np.e - 1]), np.zeros(2)
    for _ in range(steps):
        line = line - 0.01 * 2 * (moments @ line - target)
    return Line(*line)


def run(task: Task = Task(), *, steps: int = 1000, seeds: int = 20) -> list[Row]:
    """The printed table, what differs from it, and where 1000 steps arrive."""
    begun = time.perf_counter()
    ours, hand = (np.asarray(a) for a in table(X))
    keys = jax.random.split(jax.random.key(0), seeds)
    paths = jax.device_get(descend(keys, steps, 20))
    seconds = time.perf_counter() - begun
    names = ("W before", "b before", "dE/dW", "dE/db", "W after", "b after")
    rows = [
        Row(f"step {i}: {name}", float(TABLE[i, j]), float(ours[i, j]))
        for i in range(len(X)) for j, name in enumerate(names) if not (i == 0 and j < 2)
    ] + [
        Row("largest difference to the printed table", None, float(np.abs(ours - TABLE).max()),
            note="float32, as printed"),
        Row("by hand against automatic: largest difference", 0.0,
            float(np.abs(hand - ours[:, 2:4]).max())),
    ]  # fmt: skip
    mean = expected(steps)._asdict()
    for name, path in paths._asdict().items():
        note = f"from the moments of x {mean[name]:.4f}; least squares {BEST[name]:.5f}"
        rows.append(Row(f"{name} after {steps} steps", None, float(path[:, -1].mean()),
                        sd=float(path[:, -1].std()), n=seeds, note=note))  # fmt: skip
    rows.append(Row("steps", 1000, steps, n=seeds, note=f"{seconds:.2g} s with compiling"))
    if task.out is not None:
        draw(paths, graph(Line(*TABLE[1, :2]), float(X[1])), task.out / "linear-backprop.png")
    return rows


# The graph of the loss


@dataclass(frozen=True)
class Node:
    """An input or an operation of a traced function; `inputs` are places of nodes."""

    name: str
    inputs: tuple[int, ...]
    value: float
    gradient: float


SIGNS = {"mul": "×", "add": "+", "sub": "−", "integer_pow": "( )²", "square": "( )²"}


def graph(model: Line, x: float) -> list[Node]:
    """The operations of `error` as JAX traced them, with their values and the gradients to them."""
    inputs = [np.float32(v) for v in (model.W, x, model.b, np.exp(x))]
    traced = jax.make_jaxpr(lambda w, x, b, t: error(Line(w, b), x, t))(*inputs).jaxpr
    count = len(inputs) + len(traced.eqns)

    def values(nudges: Array) -> list[Any]:
        """Of all nodes; a nudge added to each, whose derivative is the gradient to it."""
        known = {
            v: u + nudges[i] for i, (v, u) in enumerate(zip(traced.invars, inputs, strict=True))
        }
        for i, equation in enumerate(traced.eqns, len(inputs)):
            given = [v.val if isinstance(v, Literal) else known[v] for v in equation.invars]
            known[equation.outvars[0]] = equation.primitive.bind(*given, **equation.params)
            known[equation.outvars[0]] += nudges[i]
        return list(known.values())

    nothing = jnp.zeros(count)
    numbers = np.asarray(jax.jit(lambda n: jnp.stack(values(n)))(nothing))
    slopes = np.asarray(jax.jit(jax.grad(lambda n: values(n)[-1]))(nothing))
    place = {v: i for i, v in enumerate([*traced.invars, *(e.outvars[0] for e in traced.eqns)])}
    names = ["W", "x", "b", "t"]
    names += [SIGNS.get(e.primitive.name, str(e.primitive.name)) for e in traced.eqns]
    from_ = [()] * len(inputs) + [
        tuple(place[v] for v in e.invars if not isinstance(v, Literal)) for e in traced.eqns
    ]
    return [Node(*parts) for parts in zip(names, from_, numbers, slopes, strict=True)]


# The pictures


def draw(paths: Line, nodes: list[Node], path: Path) -> None:
    """The graph above; below it the descent on the contours, and the line it found."""
    figure = new_figure(9.0, 7.2)
    halves: Any = figure.subfigures(2, 1, height_ratios=[0.8, 1])
    above, below = halves
    draw_graph(above.subplots(), nodes)
    left, right = below.subplots(1, 2)
    grid = np.linspace(-1, 3, 161)
    x = np.linspace(0, 1, 10)
    W, b = np.meshgrid(grid, grid)
    squares = np.sum((W[..., None] * x + b[..., None] - np.exp(x)) ** 2, -1)
    shown = left.contourf(grid, grid, np.log10(squares), 24, cmap="cividis")
    figure.colorbar(shown, ax=left, ticks=range(-1, 3), label="log₁₀ of the squared error")
    left.plot(paths.W[0, ::10], paths.b[0, ::10], ".", color="white", markersize=3)
    left.plot(BEST["W"], BEST["b"], "*", color=AHEAD, markersize=12, label="least squares")
    left.set_aspect("equal")
    dress(left, title=f"Descent, every tenth of {len(paths.W[0]) - 1} steps", x="W", y="b")
    left.grid(False)
    fine = np.linspace(0, 1, 200)
    right.plot(fine, np.exp(fine), color=INK, label="exp(x)")
    right.plot(fine, paths.W[0, -1] * fine + paths.b[0, -1], color=LEARNED, label="W x + b")
    right.plot(fine, BEST["W"] * fine + BEST["b"], "--", color=AHEAD, label="least squares")
    dress(right, title="What it found", x="x")
    figure.savefig(path, dpi=130)


def draw_graph(ax: Any, nodes: list[Node]) -> None:
    """Values forward in ink, gradients backward in orange."""
    depth: list[int] = []
    for node in nodes:
        depth.append(1 + max((depth[i] for i in node.inputs), default=-1))
    enters = {i: depth[k] - 1 for k, n in enumerate(nodes) for i in n.inputs if not nodes[i].inputs}
    at: dict[int, tuple[float, float]] = {}
    for i, node in enumerate(nodes):
        column = enters.get(i, depth[i])
        taken = sum(1 for j in range(i) if at[j][0] == 2.0 * column)
        row = 0.0 if node.inputs else -1.1 if column else (0.7, -0.7)[taken]
        at[i] = (2.0 * column, row)
    for i, node in enumerate(nodes):
        for j in node.inputs:
            _arrows(ax, at[j], at[i], nodes[j])
        x, y = at[i]
        ax.text(x, y, node.name, ha="center", va="center", fontsize=13, color=INK,
                bbox={"boxstyle": "circle,pad=.45", "facecolor": "white", "edgecolor":
                      LEARNED if node.inputs else QUIET, "linewidth": 1.4})  # fmt: skip
    last = at[len(nodes) - 1]
    ax.text(last[0] + 0.45, last[1], f"E = {nodes[-1].value:.4f}", va="center", color=INK)
    ax.set(xlim=(-0.6, last[0] + 1.8), ylim=(-1.5, 1.1))
    ax.set_axis_off()
    ax.set_title("The graph of E = (W x + b − t)² at step 1: values →, gradients of E ←",
                 loc="left", color=INK)  # fmt: skip


def _arrows(ax: Any, start: tuple[float, float], end: tuple[float, float], node: Node) -> None:
    style = {"arrowstyle": "-|>", "shrinkA": 19, "shrinkB": 19, "linewidth": 1.1}
    for begin, stop, colour in ((start, end, INK), (end, start, AHEAD)):
        bend = {"connectionstyle": "arc3,rad=.12", "color": colour}
        ax.annotate("", stop, begin, arrowprops=style | bend)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    slope = int(np.sign(end[1] - start[1]))  # labels stand beside slanted arrows, not on them
    for number, colour, side in ((node.value, INK, 1), (node.gradient, AHEAD, -1)):
        ax.annotate(f"{number:.4f}".replace("-", "−"), middle,
                    (side * slope * 13, -side * (9 if slope else 13)), textcoords="offset points",
                    ha={1: "left", 0: "center", -1: "right"}[side * slope], va="center",
                    fontsize=8.5, color=colour)  # fmt: skip
