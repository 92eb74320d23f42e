"""ResNet and ODE-Net: the hidden state over depth, and where each evaluates its function.

Chen et al., Neural ordinary differential equations, 2018, figure 1; Toyama (in Japanese), 2019,
slides 6-10. Both learn the same increasing function of one number. The residual network has a block
per layer, ``h + f_l(h)``; the ODE net one field, ``dh/dt = f(t, h)``, at whatever depths its solver
asks for. One field cannot carry two inputs through the same point; blocks can.
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

from ..fields import MLP, NeuralField, together
from ..fit import fit
from ..objectives import Aux
from ..solve import Solved, solve
from ..unfold import unfold
from . import Row, Task

DEPTH, WIDTH, SIDE, PERIOD = 5, 16, 5.0, 10 / 3
INPUTS = np.linspace(-SIDE, SIDE, 101)
SHOWN = np.linspace(-SIDE, SIDE, 17)
LAYERS = np.arange(DEPTH + 1.0)
STEPS, TOLERANCE = 3000, 1e-5
ADAM = functools.cache(lambda: optax.adam(optax.cosine_decay_schedule(1e-2, STEPS)))


def target(x: Any) -> Any:
    """An increasing staircase with three treads."""
    wave = 2 * np.pi / PERIOD
    return x - 0.9 * np.sin(wave * x) / wave


class ResNet(eqx.Module):
    """``h + f_l(h)`` for each layer l; the blocks are one MLP with a leading axis of layers."""

    blocks: MLP

    def __init__(self, key: PRNGKeyArray):
        keys = jax.random.split(key, DEPTH)
        make = functools.partial(MLP, (1, WIDTH, 1), last_scale=0.1)
        self.blocks = eqx.filter_vmap(lambda k: make(key=k))(keys)

    def __call__(self, x: Float[Array, ""]) -> Float[Array, " layers+1"]:
        _, later = unfold(lambda h, block: h + block(h), x[None], self.blocks)
        return jnp.append(x, later[:, 0])


class ODENet(eqx.Module):
    """``dh/dt = f(t, h)`` over the same depth with one network."""

    field: NeuralField

    def __init__(self, key: PRNGKeyArray):
        self.field = NeuralField(
            1, key=key, width=3 * WIDTH, depth=1, time_dependent=True, last_scale=0.1
        )

    def __call__(self, x: Float[Array, ""]) -> Float[Array, " layers+1"]:
        """The state at the depths of the layers, on a fixed grid, as it is trained."""
        return solve(self.field, x[None], LAYERS, substeps=4).ys[:, 0]

    def adaptive(self, x: Float[Array, ""], backwards: bool = False) -> Solved:
        """The same by a solver that chooses its depths."""
        import diffrax

        depths = LAYERS[::-1] if backwards else LAYERS
        control = diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE)
        options: dict[str, Any] = {"method": diffrax.Tsit5(), "controller": control}
        return solve(self.field, x[None], depths, dense=True, max_steps=128, **options)


def loss(net: Any, data: tuple[Array, Array], key: Any) -> tuple[Any, Aux]:
    """Mean squared error of the last layer."""
    x, y = data
    return jnp.mean((jax.vmap(net)(x)[:, -1] - y) ** 2), Aux()


def learn(net: Any) -> Any:
    """Adam, 3000 steps, full batch."""
    data = jnp.asarray(INPUTS), jnp.asarray(target(INPUTS))
    with together(len(INPUTS)):
        return fit(net, loss, data, rule=ADAM(), steps=STEPS, every=STEPS).model


def parameters(net: Any) -> int:
    """How many numbers were trained."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(net, eqx.is_array)))


def crossings(paths: Float[np.ndarray, "inputs layers"]) -> int:
    """Neighbouring inputs whose order changes somewhere on the way."""
    return int(np.sum(np.any(np.diff(paths, axis=0) <= 0, axis=1)))


def run(task: Task = Task()) -> list[Row]:
    """Errors, sizes, evaluations and what an adaptive solve of the trained net gives and undoes."""
    nets = {"ResNet": learn(ResNet(jax.random.key(0))), "ODE-Net": learn(ODENet(jax.random.key(0)))}
    x, y = jnp.asarray(INPUTS), target(INPUTS)
    paths = {name: np.asarray(jax.vmap(net)(x)) for name, net in nets.items()}
    chosen = jax.vmap(nets["ODE-Net"].adaptive)(x)
    ends = chosen.ys[:, -1, 0]
    back = jax.vmap(lambda h: nets["ODE-Net"].adaptive(h, backwards=True).ys[-1, 0])(ends)
    if task.out is not None:
        draw(nets["ResNet"], nets["ODE-Net"], task.out / "resnet-vs-odenet.png")
    rows = []
    for name, path in paths.items():
        rmse = float(np.sqrt(np.mean((path[:, -1] - y) ** 2)))
        rows.append(Row(f"RMSE, {name}", None, rmse, note=f"outputs from {-SIDE:g} to {SIDE:g}"))
        rows.append(Row(f"parameters, {name}", None, float(parameters(nets[name]))))
        rows.append(
            Row(f"neighbours that cross, {name}", None, float(crossings(path)), note="of 100")
        )
    nfe = np.asarray(chosen.work.nfe)
    move = float(jnp.max(jnp.abs(ends - paths["ODE-Net"][:, -1])))
    undo = float(jnp.max(jnp.abs(back - x)))
    return [
        *rows,
        Row("evaluations per input, ResNet", None, float(DEPTH)),
        Row(
            "evaluations per input, ODE-Net", None, float(nfe.mean()),
            note=f"from {nfe.min()} to {nfe.max()}, tolerance {TOLERANCE:g}",
        ),
        Row("adaptive against trained grid, ODE-Net", None, move, note="largest difference"),
        Row("input recovered backwards, ODE-Net", None, undo, note="largest difference"),
    ]  # fmt: skip


def draw(resnet: ResNet, odenet: ODENet, file: Path) -> None:
    """Two panels of depth against hidden state; a dot is an evaluation."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering

    x = jnp.asarray(SHOWN)
    layers = np.asarray(jax.vmap(resnet)(x))
    fine = np.linspace(0, DEPTH, 200)
    solved = jax.vmap(odenet.adaptive)(x)
    curves = np.asarray(jax.vmap(lambda s: s(fine))(solved))[..., 0]
    depths = np.asarray(solved.evaluated_at)
    dots = np.asarray(jax.vmap(lambda s, t: s(t))(solved, solved.evaluated_at))[..., 0]
    with lettering():
        figure = new_figure(9, 4.8)
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_panel(left, LAYERS, layers, LAYERS[None, :-1].repeat(len(x), 0), layers[:, :-1])
        _draw_panel(right, fine, curves, depths, dots)
        dress(left, title="Residual network (a dot: an evaluation)", x="hidden state", y="depth")
        dress(right, title="ODE-Net, adaptive solver", x="hidden state")
        figure.savefig(file, dpi=200)


def _draw_panel(axes: Any, depth: Any, states: Any, at: Any, dots: Any) -> None:
    from ..report.palette import INK, LEARNED

    axes.plot(states.T, depth, color=LEARNED, lw=1.1)
    axes.plot(dots.ravel(), at.ravel(), "o", color=INK, ms=2)
    axes.set_ylim(0, DEPTH)
