"""e^x learned by a small perceptron, as in a tutorial of 2016, and by the default.

The tutorial (in Japanese, Chainer 1.6) trains 1-16-32-1, leaky ReLU of slope 0.2 on every layer and
on the output too, by Adam at 1e-3 with 10 000 fresh batches of 100, and prints f(0.2) = 1.22299
beside e^0.2 = 1.22140. Here 20 such networks with their own seeds are members of one program. Below
it what the text says in words: without an activation, with ReLU, wider, deeper; then
`FunctionRegressor` with default settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..estimators.function_regressor import FunctionRegressor
from . import Row, Task

SEEDS, STEPS = 20, 10_000
PUBLISHED = 1.22299
GRID = np.linspace(0.0, 1.0, 1001)[:, None]
RECIPE: dict[str, Any] = {
    "hidden": (16, 32), "activation": "leaky_relu", "output_activation": "leaky_relu",
    "batch": 100, "learning_rate": 1e-3, "schedule": "constant", "standardise": False,
    "held_out": 0.0,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "linear only": {"activation": "identity", "output_activation": "identity"},
    "ReLU": {"activation": "relu", "output_activation": "relu"},
    "double width": {"hidden": (32, 64)},
    "double depth, as many parameters": {"hidden": (13, 13, 13, 14)},
}


def run(
    task: Task = Task(), *, seeds: int = SEEDS, steps: int = STEPS,
    default_steps: int | str = "auto",
) -> list[Row]:  # fmt: skip
    """Errors of the recipe, of what differs from it, and of the default; seconds; three pictures.

    `default_steps` is how long the default trains.
    """
    recipe = learned(seeds, steps)
    rows = [
        Row(
            "|f(0.2) - e^0.2|, the recipe", abs(PUBLISHED - float(np.exp(0.2))),
            float(np.median(at_a_fifth(recipe))), n=seeds,
            note=f"median; at most {at_a_fifth(recipe).max():.2g}; published of one run",
        ),
        _largest("the recipe", recipe),
        *_speed(recipe, steps),
        Row(
            "layers by hand in NumPy", None, float(np.abs(by_hand(recipe) - answers(recipe)).max()),
            note="largest difference to the members' predictions",
        ),
    ]  # fmt: skip
    others = {name: learned(seeds, steps, **change) for name, change in VARIANTS.items()}
    for name, made in others.items():
        rows.append(_largest(name, made))
    defaults = [
        FunctionRegressor(steps=default_steps, seed=seed).fit_function(jnp.exp, 0.0, 1.0)  # type: ignore[arg-type]
        for seed in range(seeds)
    ]
    rows += _of_defaults(defaults)
    if task.out is not None:
        draw(recipe, others, defaults[0], task.out)
    return rows


def learned(members: int, steps: int, *, seed: int = 0, **change: Any) -> FunctionRegressor:
    """The recipe, or what differs from it."""
    options: dict[str, Any] = RECIPE | {"members": members, "steps": steps, "seed": seed} | change
    return FunctionRegressor(**options).fit_function(jnp.exp, 0.0, 1.0)


def answers(made: FunctionRegressor) -> np.ndarray:
    """Every member on the grid, (members, points)."""
    return made.predict_members(GRID)


def errors(made: FunctionRegressor) -> np.ndarray:
    """The largest error of each member on the grid."""
    return np.abs(answers(made) - np.exp(GRID[:, 0])).max(axis=1)


def at_a_fifth(made: FunctionRegressor) -> np.ndarray:
    """The error of each member at 0.2."""
    return np.abs(made.predict_members([[0.2]])[:, 0] - np.exp(0.2))


def by_hand(made: FunctionRegressor) -> np.ndarray:
    """The recipe's network written out: ``W3 a(W2 a(W1 x + b1) + b2) + b3``, and `a` once more."""
    h = np.broadcast_to(GRID.T, (made.members, 1, len(GRID)))
    for layer in made.model_.core.net.layers:
        z = np.asarray(layer.weight, float) @ h + np.asarray(layer.bias, float)[:, :, None]
        h = np.where(z > 0, z, 0.2 * z)
    return h[:, 0]


def _largest(name: str, made: FunctionRegressor) -> Row:
    found = errors(made)
    failed = f"; {int((found > 0.1).sum())} of {len(found)} above 0.1"
    note = f"median, {made.parameters_} parameters{failed}"
    return Row(f"largest error on [0, 1], {name}", None, float(np.median(found)), n=len(found),
               note=note)  # fmt: skip


def _speed(recipe: FunctionRegressor, steps: int) -> list[Row]:
    """Seconds of one network alone, once compiled, and of all of them."""
    learned(1, steps)
    alone = learned(1, steps, seed=1).fit_.seconds
    note = f"{steps:,} steps of 100 rows, one network, compiled before"
    return [
        Row("time of the recipe", None, alone, unit="s", note=note),
        Row(
            "time of all networks in one program", None, float(recipe.fit_.seconds), unit="s",
            note=f"{recipe.members} networks, with compiling",
        ),
    ]  # fmt: skip


def _of_defaults(made: list[FunctionRegressor]) -> list[Row]:
    found = [np.abs(one.predict(GRID) - np.exp(GRID[:, 0])).max() for one in made]
    spent = float(np.median([one.fit_.seconds for one in made]))
    steps = made[0].n_iter_
    note = f"median; at most {max(found):.2g}; at most 1e-3 in {sum(e <= 1e-3 for e in found)}"
    return [
        Row("largest error on [0, 1], default", None, float(np.median(found)), n=len(found),
            note=f"{note} of {len(found)} seeds"),
        Row("time of the default", None, spent, unit="s",
            note=f"{steps:,} steps, {made[0].members} networks of {made[0].parameters_}"),
    ]  # fmt: skip


def draw(
    recipe: FunctionRegressor, others: dict[str, FunctionRegressor], default: FunctionRegressor,
    out: Path,
) -> None:  # fmt: skip
    """The curves with their errors and losses; the weights of one network; its diagram."""
    from ..report import diagram
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import INK, LEARNED, QUIET, colour

    x, truth = GRID[:, 0], np.exp(GRID[:, 0])
    with lettering():
        figure = new_figure(10, 3.8)
        left, middle, right = figure.subplots(1, 3)
        left.plot(x, truth, color=INK, label="$e^x$")
        left.plot(x, answers(others["linear only"])[0], ":", color=QUIET, label="linear only")
        left.plot(x, answers(recipe)[0], "--", color=LEARNED, label="learned")
        dress(left, title="One network of the recipe", x="x")
        named = {"recipe": recipe, **others}
        for i, (name, made) in enumerate(named.items()):
            typical = answers(made)[np.argsort(errors(made))[len(errors(made)) // 2]]
            label = name.split(",")[0]
            middle.plot(x, np.abs(typical - truth), color=colour(i), lw=1, label=label)
        middle.plot(x, np.abs(default.predict(GRID) - truth), color=INK, lw=1, label="default")
        middle.set_yscale("log", nonpositive="mask")
        middle.set_ylim(1e-6, 10)
        dress(middle, title="Error, the median network", x="x", legend=False)
        for i, (name, made) in enumerate(named.items()):
            table = made.history
            right.plot(table["step"], table["loss"], color=colour(i), lw=1, label=name)
        right.set_yscale("log")
        dress(right, title="Loss, mean of the networks", x="step", legend=False)
        figure.legend(
            *middle.get_legend_handles_labels(), loc="outside lower right", ncols=6, frameon=False
        )
        figure.savefig(out / "function-exp.png", dpi=200)
    _draw_weights(recipe, out / "function-exp-weights.png")
    diagram(recipe).save(out / "function-exp-network.svg")


def _draw_weights(recipe: FunctionRegressor, file: Path) -> None:
    """Weights and biases of the first network, layer by layer."""
    from matplotlib.ticker import MaxNLocator

    from ..report.axes import new_figure
    from ..report.fonts import lettering

    layers = recipe.model_.core.net.layers
    with lettering():
        figure = new_figure(10, 3.2)
        sizes = [layer.weight.shape[2] + 1 for layer in layers]
        axes = figure.subplots(1, len(layers), width_ratios=[s + 12 for s in sizes])
        for k, (ax, layer) in enumerate(zip(axes, layers, strict=True), 1):
            both = np.concatenate([layer.weight[0], np.asarray(layer.bias[0])[:, None]], axis=1)
            most = float(np.abs(both).max())
            shown = ax.imshow(both, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
            ax.axvline(both.shape[1] - 1.5, color="black", lw=0.8)
            ax.set_title(f"W{k}: {both.shape[0]} × {both.shape[1] - 1}, b{k}", loc="left")
            ax.set(xlabel=f"unit; last b{k}", ylabel="to unit" if k == 1 else "")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(MaxNLocator(6, integer=True))
            if len(both) == 1:
                ax.set_yticks([0])
            figure.colorbar(shown, ax=ax)
        figure.savefig(file, dpi=200)
