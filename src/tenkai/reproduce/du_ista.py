"""DU-ISTA: sparse signals from half as many measurements, with learned steps and thresholds.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, chapters 4 and 5: 128
unknowns of which a twentieth is not zero, 64 measurements with noise .1 through a Gaussian matrix
of variance 1, 40 layers. Recipe: steps and thresholds begin at 1/lambda_max; for 1, 2, ... 40
layers 20 steps of one Adam (5e-5) on 200 fresh problems; finite data sets are drawn from with
replacement. Published: |estimate - x|^2 after the last layer, the mean over one fresh batch of 200,
for one draw of matrix and data. Learned steps exceed 2/lambda_max, so that now and then one problem
in thousands diverges and takes every mean along: ours is the median over fresh batches of 200, and
over draws. With ``--data DIR`` (MNIST, .gz files, in DIR or DIR/mnist) also digits from 512 of 784.
"""

from __future__ import annotations

import functools
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optax
from jaxtyping import Float

from ..algorithms import Unfolded, fista, ista, lista, sparse_problems, tista
from ..report.axes import dress, new_figure
from ..report.palette import AHEAD, INK, LEARNED, QUIET, SERIES
from . import Row, Task

N, M, LAYERS, BATCH, INNER = 128, 64, 40, 200, 20
DENSITY, NOISE = 0.05, 0.1
PUBLISHED, RATE = 0.117, 5e-5
FINITE = {10: (1.73, 1e-6), 50: (1.21, 5e-6), 100: (0.134, 3e-5), 5000: (0.064, 5e-5)}
WEIGHTS = np.geomspace(0.5, 16, 11)  # of the 1-norm, for the classical algorithms
TESTS, TRAINING = 20, 500  # fresh batches to report on; problems to choose classical numbers with
MNIST_FILES = ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")
ADAM = functools.cache(lambda rate: optax.adam(rate))
LOOKS = [
    {"color": colour, "ls": style, "lw": 1.4}
    for colour, style in (
        *((LEARNED, "-"), (SERIES[3], "-"), (SERIES[2], "-"), (AHEAD, "-")),
        *((QUIET, ":"), (QUIET, "--"), (INK, "-.")),
    )
]

Errors = Float[np.ndarray, "batches layers_and_start"]


@dataclass(frozen=True)
class Setting:
    """One matrix with its problems; all algorithms are judged on the same fresh ones."""

    seed: int
    layers: int
    tests: int

    @functools.cached_property
    def matrix(self) -> Float[np.ndarray, "m n"]:
        return np.random.default_rng(self.seed).normal(size=(M, N))

    @functools.cached_property
    def problems(self) -> Any:
        return sparse_problems(self.matrix, DENSITY, NOISE)

    @property
    def options(self) -> dict[str, Any]:
        return {"layers": self.layers, "precision": "float32", "seed": self.seed}

    def draw(self, count: int, seed: int, noise: float = NOISE) -> tuple[Any, Any]:
        """Problems; other seeds than those of training."""
        sampler = sparse_problems(self.matrix, DENSITY, noise)
        return ista(self.matrix, **self.options).draw(sampler, count, seed=10_000 + seed)

    @functools.cached_property
    def batches(self) -> list[tuple[Any, Any]]:
        """Fresh batches, the same for every algorithm on this matrix."""
        y, x = self.draw(self.tests * BATCH, 1)
        return list(zip(np.split(y, self.tests), np.split(x, self.tests), strict=True))

    def errors(self, model: Unfolded) -> Float[np.ndarray, "batches layers_and_start"]:
        """The mean error of every fresh batch, before and after every layer."""
        return np.stack([model.error(y, x) for y, x in self.batches])

    def taught(self, model: Unfolded, data: Any = None, *, inner: int = INNER, rate: float = RATE):
        """`model`, trained incrementally."""
        data = self.problems if data is None else data
        return model.fit(data, steps=inner, batch=BATCH, incremental=True, rule=ADAM(rate))


def recipe(s: Setting, size: int | None = None, rate: float = RATE) -> Unfolded:
    """The book's recipe, on fresh problems or on a data set of this size."""
    data = None if size is None else s.draw(size, 2)
    return s.taught(ista(s.matrix, **s.options), data, rate=rate)


def others(s: Setting, longer: int) -> dict[str, Unfolded]:
    """ISTA trained longer from a better start, TISTA, and LISTA, which has 16 layers."""
    short = s.options | {"layers": min(16, s.layers)}
    return {
        "ISTA, trained longer": s.taught(
            ista(s.matrix, 4.0, **s.options), inner=longer, rate=2e-4
        ),
        "LISTA (16 layers)": s.taught(
            lista(s.matrix, 4.0, **short), inner=2 * longer, rate=1e-4
        ),
        "TISTA": s.taught(tista(s.matrix, DENSITY, NOISE, **s.options), rate=1e-2),
    }  # fmt: skip


def best_ista(s: Setting, weights: Any) -> tuple[Unfolded, str]:
    """ISTA for the LASSO with the best of 200 fixed steps (all that converge) and these weights."""
    found = []
    for weight in weights:
        model = ista(s.matrix, weight, thresholds=False, **s.options | {"tied": True})
        scale = model.parameters_["step"][0]
        best = model.best_fixed(*s.draw(TRAINING, 3), scale * np.linspace(0.01, 2, 200))
        model.parameters_["step"][:] = best.value
        note = f"step {best.value / scale:.3g}/lambda_max, LASSO weight {weight:.2g}"
        found.append((best.error[-1], model, note))
    return min(found, key=lambda one: one[0])[1:]


def best_fista(s: Setting) -> tuple[Unfolded, str]:
    """FISTA, step 1/lambda_max, with the best weight."""
    models = [fista(s.matrix, weight, **s.options) for weight in WEIGHTS]
    errors = [model.error(*s.draw(TRAINING, 3))[-1] for model in models]
    best = int(np.argmin(errors))
    return models[best], f"step 1/lambda_max, LASSO weight {WEIGHTS[best]:.2g}"


def run(
    task: Task = Task(), *, seeds: int = 3, layers: int = LAYERS, tests: int = TESTS,
    longer: int = 50,
) -> list[Row]:  # fmt: skip
    """The book's rows over `seeds` matrices, then other algorithms on the first of them."""
    settings = [Setting(seed, layers, tests) for seed in range(1, seeds + 1)]
    learned = [recipe(s) for s in settings]
    rows = [_row("", PUBLISHED, settings, learned)]
    for size, (published, rate) in FINITE.items():
        models = [recipe(s, size, rate) for s in settings]
        rows.append(_row(f" on {size} problems", published, settings, models))
    if task.data is not None:
        rows.append(digits(task.data))
    s = settings[0]
    trained = {"ISTA, book's recipe": learned[0]} | others(s, longer)
    classical = {
        "best fixed step, weight 1": best_ista(s, [1.0]),
        "best fixed step and weight": best_ista(s, WEIGHTS),
        "FISTA, best weight": best_fista(s),
    }
    curves = {name: s.errors(model) for name, model in trained.items()}
    curves |= {name: s.errors(model) for name, (model, _) in classical.items()}
    for name, errors in list(curves.items())[1:]:
        kind, note = ("baseline", classical[name][1]) if name in classical else ("final", "")
        told = ", ".join(filter(None, [note, "matrix 1"]))
        rows.append(Row(f"{kind} MSE, {name}", None, float(np.median(errors[:, -1])), note=told))
    if task.out is not None:
        models = trained | {name: model for name, (model, _) in classical.items()}
        draw(s, models, curves, task.out / "du-ista.png")
    return rows


def _row(of: str, published: float, settings: list[Setting], models: list[Unfolded]) -> Row:
    final = np.stack([s.errors(m)[:, -1] for s, m in zip(settings, models, strict=True)])
    each = np.median(final, axis=1)
    low, high = np.quantile(final, [0.1, 0.9])
    note = (
        f"matrices {', '.join(f'{e:.3g}' for e in each)}; batches of 200: 10 % below {low:.3g}, "
        f"10 % above {high:.3g}, {np.mean(final <= published):.0%} at most the published"
    )
    name = f"final MSE (book's recipe), ISTA{of}"
    return Row(name, published, float(np.median(each)), n=len(each), note=note)


def digits(folder: Path, *, layers: int = 16) -> Row:
    """Digits of MNIST from 512 Gaussian measurements, no noise; the book's log ends at layer 16."""
    place = folder / "mnist" if (folder / "mnist").is_dir() else folder
    if not (place / MNIST_FILES[0]).is_file():
        return Row("final MSE (book's recipe), MNIST, layer 16", 6.33, None, note="no MNIST here")
    train, test = (_images(place / name) for name in MNIST_FILES)
    A = np.random.default_rng(1).normal(size=(512, 784)).astype("float32")
    model = ista(A, layers=layers, precision="float32")
    model.fit((train @ A.T, train), steps=50, batch=50, incremental=True, rule=ADAM(RATE))
    first, more = (float(model.error(test[:n] @ A.T, test[:n])[-1]) for n in (50, 2000))
    note = f"the first 50 test images, as published; the first 2000: {more:.3g}"
    return Row("final MSE (book's recipe), MNIST, layer 16", 6.33, first, note=note)


def _images(file: Path) -> Float[np.ndarray, "images pixels"]:
    with gzip.open(file) as stream:
        raw = np.frombuffer(stream.read(), np.uint8, offset=16)
    return (raw.reshape(-1, 784) / 255).astype("float32")


def draw(s: Setting, models: dict[str, Unfolded], curves: dict[str, Errors], file: Path) -> None:
    """Error against iteration, the learned steps, and errors at other noise levels."""
    figure = new_figure(11, 3.9)
    left, middle, right = figure.subplots(1, 3)
    looks = dict(zip(models, LOOKS, strict=True))
    power = N * DENSITY
    ratios = np.arange(10, 41, 3.0)
    tests = [s.draw(5 * BATCH, 4, np.sqrt(power / 10 ** (r / 10))) for r in ratios]
    for name, model in models.items():
        left.plot(decibel(np.median(curves[name], 0) / power), label=name, **looks[name])
        final = [np.median(np.sum((model(y) - x) ** 2, 1)) for y, x in tests]
        right.plot(ratios, decibel(np.array(final) / power), **looks[name])
    scale = ista(s.matrix).parameters_["step"][0]
    for name in list(models)[:2]:
        steps = models[name].parameters_["step"] / scale
        middle.plot(1 + np.arange(len(steps)), steps, marker="o", ms=3, **looks[name])
    middle.axhline(2, color=QUIET, lw=0.8, ls=":")
    middle.set_yscale("symlog", linthresh=1)
    right.axvline(decibel(power / NOISE**2), color=QUIET, lw=0.8)
    dress(left, title="Error, fresh problems", x="iteration", y="NMSE / dB", legend=False)
    dress(middle, title="Learned step", x="layer", y=r"step $\times\ \lambda_{\max}$")
    dress(right, title="Other noise levels", x="signal-to-noise ratio / dB")
    right.set_ylabel("median NMSE / dB (line: trained)")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    figure.savefig(file, dpi=150)


def decibel(ratio: Any) -> Any:
    """``10 log10 ratio``."""
    return 10 * np.log10(ratio)
