"""ODE-Net on MNIST: test error, parameters, memory against depth and NFE beside ResNet and RK-Net.

Chen et al. 2018, table 1. One block serves three bodies: six residual blocks with weights of their
own, a Runge-Kutta network (gradients through the solver), an ODE (gradients by the continuous
adjoint); beside them a perceptron with one hidden layer. With ``--data DIR`` MNIST, from its four
idx.gz files in DIR or DIR/mnist, within ``--budget MINUTES`` (5 unless told; the ODE-Net has .55 of
them); without it scikit-learn's 8 x 8 digits in a minute or two. The last 2000 training images
choose among the networks of a training; the test images are seen once, at the end.
"""

from __future__ import annotations

import dataclasses
import gzip
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..classifiers import (
    ODE,
    Augmentation,
    BodyKind,
    Design,
    PaperStem,
    Passed,
    Residual,
    RungeKutta,
    Stem,
    build,
    parameters,
)
from ..classifiers.evaluation import at_tolerance, evaluate
from ..classifiers.learning import Learned, Recipe, learn
from ..classifiers.memory import gradient_bytes
from ..errors import InputError
from ..fields import MLP
from . import Row, Task

FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
         "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")  # fmt: skip
PERCEPTRON, RESNET, RKNET, ODENET = "1-layer MLP", "ResNet", "RK-Net", "ODE-Net"
PUBLISHED = {PERCEPTRON: (1.60, 0.24), RESNET: (0.41, 0.60), RKNET: (0.47, 0.22),
             ODENET: (0.42, 0.22)}  # fmt: skip
SHARES = {PERCEPTRON: 0.03, RESNET: 0.17, RKNET: 0.17, ODENET: 0.55}  # of a budget; the rest judges
BODIES: dict[str, BodyKind] = {
    RESNET: Residual(6), RKNET: RungeKutta(steps=1), ODENET: ODE(steps=1)
}  # fmt: skip
DEPTHS = (2, 8, 32)
DEFAULT_MINUTES = 5.0
RTOL = 1e-3
HELD = 2000
AUGMENTED = Augmentation(shift=2.0, rotate=10.0, scale=0.1, shear=0.1)
RECIPE = Recipe(batch=128, rate=3e-3, decay=1e-2, augmentation=AUGMENTED)


class Images(NamedTuple):
    """Images (n, h, w, 1) in bytes and their digits."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Judged:
    """A trained network: its training, its test error in percent, that of an adaptive solve."""

    learned: Learned
    error: float
    adaptive: float | None
    nfe: float | None
    parameters: int


class Perceptron(eqx.Module):
    """One hidden layer on pixels from 0 to 1."""

    net: MLP

    def __call__(self, x: Array) -> tuple[Array, Passed]:
        rows = x.reshape(len(x), -1).astype(jnp.float32) / 255
        return jax.vmap(self.net)(rows), Passed(rows, 0, 0)


def digits(count: int | None = None) -> tuple[Images, Images]:
    """Scikit-learn's digits, 8 x 8, as bytes: three quarters to learn from, the rest to test."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[:count]
    x = np.round(np.asarray(x)[order] * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    y, cut = np.asarray(y)[order], len(order) * 3 // 4
    return Images(x[:cut], y[:cut]), Images(x[cut:], y[cut:])


def mnist(folder: Path) -> tuple[Images, Images]:
    """MNIST out of its four files."""
    for place in (folder, folder / "mnist"):
        if all((place / name).is_file() for name in FILES):
            a, b, c, d = (_read(place / name) for name in FILES)
            return Images(a, b), Images(c, d)
    raise InputError(
        "MNIST", expected=f"{', '.join(FILES)} in --data DIR or DIR/mnist", got="no such files",
        do="name their folder, or leave --data away for scikit-learn's digits",
    )  # fmt: skip


def _read(file: Path) -> np.ndarray:
    with gzip.open(file) as stream:
        raw = stream.read()
    if "images" in file.name:
        return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return np.frombuffer(raw, np.uint8, offset=8).astype(np.int32)


def run(
    task: Task = Task(), *, steps: int | None = None, width: int = 64, count: int | None = None,
    depths: tuple[int, ...] = DEPTHS, only: tuple[str, ...] = tuple(PUBLISHED),
) -> list[Row]:  # fmt: skip
    """Rows of errors, parameters, bytes and NFE; a picture in ``task.out``."""
    begun = time.perf_counter()
    real = task.data is not None
    train, test = digits(count) if task.data is None else mnist(task.data)
    minutes = task.budget or (DEFAULT_MINUTES if real else 1.5)
    what = "MNIST" if real else "digits"
    found = {name: judged(name, train, test, width, minutes, steps) for name in only}
    bytes_of = {
        name: {depth: gradient_bytes(_design(test, _deep(body, depth), width)) for depth in depths}
        for name, body in BODIES.items() if name in only
    }  # fmt: skip
    rows = [row for name, one in found.items() for row in _rows(name, one, what)]
    rows += [row for name, sizes in bytes_of.items() for row in _memory(name, sizes)]
    rows += published_sizes()
    if task.out is not None:
        draw(found, bytes_of, what, task.out / f"odenet-mnist-{what.lower()}.png")
    spent = time.perf_counter() - begun
    note = "steps given" if steps else f"of {minutes:g} minutes"
    return [*rows, Row("time", None, spent / 60, unit="min", note=note)]


def judged(
    name: str, train: Images, test: Images, width: int, minutes: float, steps: int | None
) -> Judged:
    """One network, trained for its share of the budget (or so many steps), and tested once."""
    recipe, share = RECIPE, min(HELD / len(train.y), 0.1)
    if len(train.y) < 10 * HELD:  # small images, whose details a turn would destroy
        recipe = dataclasses.replace(recipe, augmentation=Augmentation(shift=0.5))
    start: Any
    if name == PERCEPTRON:
        pixels = int(np.prod(train.x.shape[1:]))
        start = Perceptron(MLP((pixels, 300, 10), "relu", key=jax.random.key(0)))
        recipe = dataclasses.replace(recipe, augmentation=None, rate=1e-3)
    else:
        start = build(_design(train, BODIES[name], width), key=jax.random.key(0))
    time_left = None if steps else minutes * SHARES[name]
    if steps:
        recipe = dataclasses.replace(recipe, steps=steps, every=max(1, steps // 4))
    learned = learn(start, train.x, train.y, recipe, share=share, minutes=time_left)
    if name == PERCEPTRON:
        logits = np.asarray(jax.jit(lambda net, x: net(x)[0])(learned.network, test.x))
        return Judged(learned, _error(logits, test.y), None, None, parameters(start))
    plain = _error(evaluate(learned.network, test.x).logits, test.y)
    if name == RESNET:
        return Judged(learned, plain, None, None, parameters(start))
    solved = evaluate(at_tolerance(learned.network, RTOL), test.x)
    error = _error(solved.logits, test.y)
    return Judged(learned, plain, error, float(solved.nfe.mean()), parameters(start))


def _error(logits: np.ndarray, y: np.ndarray) -> float:
    return 100 * float(np.mean(logits.argmax(1) != y))


def _design(images: Images, body: BodyKind, width: int, stem: Any = Stem()) -> Design:
    some = images.x[:5000].astype(np.float64)
    shape = images.x.shape[1:]
    return Design(shape, 10, body, stem, width, "relu", (float(some.mean()),), (float(some.std()),))


def _deep(body: BodyKind, depth: int) -> BodyKind:
    """The same body of another depth: as many blocks, or steps of the solver."""
    if isinstance(body, Residual):
        return Residual(depth)
    return dataclasses.replace(body, steps=depth)  # type: ignore[type-var]


def _rows(name: str, one: Judged, what: str) -> list[Row]:
    error, size = PUBLISHED[name] if what == "MNIST" else (None, None)
    made = one.learned.fit
    spent = f"{made.steps} steps, {made.seconds:.0f} s"
    rows = [Row(f"{what}, {name}, test error", error, one.error, unit="%", note=spent)]
    if one.adaptive is not None:
        solver = "the grid it was trained on above; here an adaptive solve of every image"
        note = f"tolerance {RTOL:g}: {solver}"
        rows += [
            Row(f"{what}, {name}, test error, adaptive", error, one.adaptive, unit="%", note=note),
            Row(f"{what}, {name}, NFE", None, one.nfe, note=f"mean per image, tolerance {RTOL:g}; "
                f"{made.history[-1]['nfe_forward']:g} in training, as many back"),
        ]  # fmt: skip
    millions = one.parameters / 1e6
    return [*rows, Row(f"{what}, {name}, parameters", size, millions, unit="million")]


def _memory(name: str, sizes: dict[int, int]) -> list[Row]:
    depths = sorted(sizes)
    first, last = depths[0], depths[-1]
    each = ", ".join(f"{d}: {sizes[d] / 2**20:.1f} MB" for d in depths)
    note = f"batch of 128, by depth {each}"
    return [Row(f"{name}, bytes of a gradient, depth {last} / depth {first}", None,
                sizes[last] / sizes[first], note=note)]  # fmt: skip


def published_sizes() -> list[Row]:
    """Parameters of the published code's networks, built here with its stem; nothing allocated."""
    rows = []
    for name, body, size in ((RESNET, Residual(6), 576_778), (ODENET, ODE(), 208_266)):
        design = Design((28, 28, 1), 10, body, PaperStem(), 64, "relu", (0.0,), (255.0,))
        made = eqx.filter_eval_shape(lambda design=design: build(design, key=jax.random.key(0)))
        count = sum(x.size for x in jax.tree.leaves(made) if hasattr(x, "dtype"))
        rows.append(Row(f"{name} with the published stem, parameters", size, float(count)))
    return rows


def draw(found: dict[str, Judged], bytes_of: dict[str, dict[int, int]], what: str, file: Path):
    """Test errors beside the published ones; memory of a gradient against depth."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import AHEAD, LEARNED, QUIET, colour

    with lettering():
        figure = new_figure(9.0, 3.6)
        left, right = figure.subplots(1, 2)
        for i, (name, one) in enumerate(found.items()):
            left.plot(one.error, i, "o", color=LEARNED, label="ours" if i == 0 else None)
            if one.adaptive is not None:
                label = None if "ours, adaptive" in left.get_legend_handles_labels()[1] else ""
                label = "ours, adaptive" if label == "" else None
                left.plot(one.adaptive, i, "x", color=AHEAD, label=label)
            if what == "MNIST":
                label = "published" if i == 0 else None
                left.plot(PUBLISHED[name][0], i, "|", color=QUIET, ms=16, mew=2, label=label)
        left.set_yticks(range(len(found)), list(found))
        left.set_xlim(left=0)
        left.invert_yaxis()
        dress(left, title=f"Test error, {what}", x="%")
        for i, (name, sizes) in enumerate(bytes_of.items()):
            depths = sorted(sizes)
            megabytes = [sizes[d] / 2**20 for d in depths]
            right.loglog(depths, megabytes, "o-", color=colour(i), label=name)
            right.set_xticks(depths, [str(d) for d in depths])
        right.minorticks_off()
        dress(right, title="Memory of a gradient", x="depth (blocks, or steps)", y="MB")
        figure.savefig(file, dpi=200)
