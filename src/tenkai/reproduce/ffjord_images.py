"""FFJORD on images: bits per dimension of continuous flows and Glow, their sizes and samples.

Grathwohl et al. 2019, table 2 and section 4.2: MNIST by two weeks of GPUs; Glow: Kingma and
Dhariwal 2018; RNODE: Finlay et al. 2020. Without a budget, scikit-learn's 8 x 8 digits in minutes
(17 grey levels: their bits are on another scale than MNIST's). With ``--budget MINUTES --data DIR``
MNIST, from its four idx.gz files in DIR or DIR/mnist: the multi-scale flow, and from 20 minutes on
the single flow and Glow too, each with an equal share.
"""

from __future__ import annotations

import gzip
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Int

from ..errors import InputError
from ..flows import Architecture, ConvGlow, MultiscaleFFJORD
from ..flows.continuous import Grid
from ..flows.images.evaluation import Bits, draw_images, evaluate
from ..flows.images.scales import ImageFlow
from ..flows.images.training import ImageRecipe, train, train_for
from ..records import Fit
from ..solve.adams import Adams
from . import Row, Task

FILES = ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")
PUBLISHED = {"multi-scale FFJORD": 0.99, "single FFJORD": 1.05, "Glow": 1.05, "RealNVP": 1.06}
MULTI, SINGLE, GLOW, REALNVP = PUBLISHED
RNODE, SHARE = 0.97, 2.0
TOLERANCE = 1e-5
DRAWN = 60  # samples in the picture, of each flow
ALL_FLOWS_FROM = 20  # minutes
TRAINING = 0.85  # of a budget; the rest judges


@dataclass(frozen=True)
class Split:
    """Rows of whole grey levels: to learn from, to choose by, to judge by."""

    train: Int[np.ndarray, "rows dim"]
    validation: Int[np.ndarray, "rows dim"]
    test: Int[np.ndarray, "rows dim"]


@dataclass(frozen=True)
class Judged:
    """A trained flow and what it is worth on the test images, by an adaptive solver."""

    made: Fit
    bits: Bits
    grid: Bits
    parameters: int


def digits(count: int | None = None) -> Split:
    """Scikit-learn's digits, 8 x 8 pixels of 17 grey levels, shuffled: 75, 10 and 15 %."""
    from sklearn.datasets import load_digits

    x = np.asarray(load_digits(return_X_y=True)[0], int)
    x = x[np.random.default_rng(0).permutation(len(x))][:count]
    first, second = len(x) * 3 // 4, len(x) * 17 // 20
    return Split(x[:first], x[first:second], x[second:])


def mnist(folder: Path | None, validation: int = 500, test: int = 1000) -> Split:
    """MNIST; the last training images choose, the first test images judge."""
    for place in () if folder is None else (folder, folder / "mnist"):
        if all((place / name).is_file() for name in FILES):
            x, judge = (_pixels(place / name) for name in FILES)
            return Split(x[:-validation], x[-validation:], judge[:test])
    raise InputError(
        "MNIST", expected=f"{FILES[0]} and {FILES[1]} in --data DIR or DIR/mnist",
        got="no such files", do="name their folder, or leave --budget away for the digits",
    )  # fmt: skip


def _pixels(file: Path) -> Int[np.ndarray, "images pixels"]:
    with gzip.open(file) as stream:
        return np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 784).astype(int)


def flows_of_digits(channels: int = 32) -> dict[str, Architecture]:
    """Continuous flows with one field per shape, and discrete ones of about their size."""
    ode: dict[str, Any] = {"levels": 17, "channels": channels, "depth": 2}
    discrete: dict[str, Any] = {"levels": 17, "scales": 2, "steps": 4, "channels": channels}
    return {
        MULTI: MultiscaleFFJORD((8, 8, 1), **ode),
        SINGLE: MultiscaleFFJORD((8, 8, 1), scales=1, **ode),
        GLOW: ConvGlow((8, 8, 1), **discrete),
        REALNVP: ConvGlow((8, 8, 1), rotates=False, **discrete),
    }


def flows_of_mnist(minutes: float) -> dict[str, Architecture]:
    """Wider and deeper where there is an hour; the image is squeezed first to save time."""
    channels, depth = (32, 2) if minutes < 60 else (64, 3)
    solver = Grid(6, Adams())
    ode: dict[str, Any] = {"channels": channels, "depth": depth, "solver": solver}
    multi = MultiscaleFFJORD((28, 28, 1), first_squeeze=True, **ode)
    if minutes < ALL_FLOWS_FROM:
        return {MULTI: multi}
    single = replace(multi, scales=1)
    return {MULTI: multi, SINGLE: single, GLOW: ConvGlow(steps=8, channels=2 * channels)}


def parameters(architecture: Architecture, shape: tuple[int, int, int]) -> int:
    """How many numbers are learned; nothing is allocated."""
    made = eqx.filter_eval_shape(architecture.build, math.prod(shape), key=jax.random.key(0))
    leaves = [leaf for leaf in jax.tree.leaves(made) if hasattr(leaf, "dtype")]
    return sum(math.prod(leaf.shape) for leaf in leaves if np.issubdtype(leaf.dtype, np.floating))


def judged(flow: ImageFlow, made: Fit, test: np.ndarray, adaptive: int) -> Judged:
    """Adaptive bits of the first `adaptive` test images; by the training's own grid of all."""
    size = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(flow, eqx.is_inexact_array)))
    grid = evaluate(flow, test)
    solved = evaluate(flow.with_tolerance(TOLERANCE), test[:adaptive]) if grid.nfe else grid
    return Judged(made, solved, grid, size)


def run(
    task: Task = Task(), *, steps: int = 600, channels: int = 32, count: int | None = None,
    adaptive: int = 270, only: tuple[str, ...] | None = None,
) -> list[Row]:  # fmt: skip
    """Bits per dimension, NFE and sizes; a picture of samples in ``task.out``."""
    begun = time.perf_counter()
    if task.budget is None:
        split, flows, what = digits(count), flows_of_digits(channels), "digits"
        recipe = ImageRecipe(steps=steps)
    else:
        split, flows, what = mnist(task.data), flows_of_mnist(task.budget), "MNIST"
        recipe = ImageRecipe(steps=200)
        adaptive = min(adaptive, 40)
    flows = {name: flow for name, flow in flows.items() if only is None or name in only}
    found: dict[str, Judged] = {}
    for name, architecture in flows.items():
        dim = split.train.shape[1]
        flow: Any = architecture.build(dim, key=jax.random.key(0))
        share = None if task.budget is None else TRAINING * task.budget / len(flows)
        made = _learn(flow, split, recipe, share)
        found[name] = judged(made.model, made, split.test, adaptive)
    if task.out is not None:
        shape = next(iter(flows.values())).shape  # type: ignore[attr-defined]
        draw(split.test, found, shape, task.out / f"ffjord-images-{what.lower()}.png")
    rows = [row for name, one in found.items() for row in _rows(name, one, what)]
    if what == "digits":
        note = "not run: --budget MINUTES --data DIR"
        published = {**PUBLISHED, "RNODE (multi-scale)": RNODE}
        rows += [Row(f"MNIST, {name}", v, None, unit="bits/dim", note=note)
                 for name, v in published.items()]  # fmt: skip
    return [*rows, *sizes(), Row("time", None, time.perf_counter() - begun, unit="s")]


def _learn(flow: ImageFlow, split: Split, recipe: ImageRecipe, minutes: float | None) -> Fit:
    if minutes is None:
        return train(flow, split.train, validation=split.validation, recipe=recipe)
    return train_for(flow, split.train, minutes, validation=split.validation, recipe=recipe)


def _rows(name: str, one: Judged, what: str) -> list[Row]:
    """Bits of one flow on the test images, what they cost, and how far the solver moves them."""
    made, best = one.made, one.grid
    published = PUBLISHED[name] if what == "MNIST" else None
    spent = f"{made.steps} steps, {made.seconds:.0f} s; {one.parameters} parameters"
    title = f"{what}, {name}" + ("-like" if name == REALNVP else "")
    rows = [
        Row(title, published, best.mean, best.error, unit="bits/dim",
            note=f"± standard error over {best.images} test images; {spent}"),
    ]  # fmt: skip
    if one.bits.nfe:
        note = f"tolerance {TOLERANCE:g}, {one.bits.images} images, trained with {one.grid.nfe:g}"
        rows += [
            Row(f"{title}, adaptive", published, one.bits.mean, one.bits.error, unit="bits/dim",
                note=f"the first {one.bits.images} test images"),
            Row(f"{title}, NFE", None, one.bits.nfe, note=note),
        ]  # fmt: skip
    return rows


def sizes() -> list[Row]:
    """FFJORD's parameters as a share of Glow's, both at their published sizes for CIFAR10."""
    shape = (32, 32, 3)
    ffjord = parameters(MultiscaleFFJORD(shape, blocks=2, channels=64, depth=3), shape)
    glow = parameters(ConvGlow(shape, scales=3, steps=32, channels=512), shape)
    note = f"CIFAR10, published sizes: {ffjord / 1e6:.2f} of {glow / 1e6:.1f} million"
    return [Row("parameters, share of Glow's", SHARE, 100 * ffjord / glow, unit="%", note=note)]


def draw(test: np.ndarray, found: dict[str, Judged], shape: Any, file: Path) -> None:
    """Real images next to samples of every flow."""
    from ..report.axes import new_figure
    from ..report.fonts import lettering
    from ..report.palette import INK

    panels = {"Test images": test[:DRAWN].reshape(-1, *shape)}
    for name, one in found.items():
        title = f"{name}, {one.grid.mean:.2f} bits/dim".replace(REALNVP, f"{REALNVP}-like")
        panels[title] = draw_images(one.made.model, DRAWN)
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    with lettering():
        figure = new_figure(3.3 * columns, 2.3 * lines)
        places = np.ravel(figure.subplots(lines, columns, squeeze=False))
        for axes in places:
            axes.set_axis_off()
        for axes, (title, images) in zip(places, panels.items(), strict=False):
            axes.imshow(mosaic(images), cmap="gray_r", interpolation="nearest")
            axes.set_title(title, loc="left", color=INK, fontsize="medium")
        figure.savefig(file, dpi=200)


def mosaic(images: np.ndarray, columns: int = 10) -> np.ndarray:
    """Images side by side with a pixel of background between them."""
    framed = np.pad(images[..., 0], ((0, 0), (0, 1), (0, 1)))
    lines = [np.hstack(list(framed[i : i + columns])) for i in range(0, len(framed), columns)]
    width = max(line.shape[1] for line in lines)
    return np.vstack([np.pad(line, ((0, 0), (0, width - line.shape[1]))) for line in lines])
