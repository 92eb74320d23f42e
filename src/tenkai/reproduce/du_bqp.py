"""DU-BQP and MIMO detection: binary signals out of noisy linear measurements.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, chapters 4 and 5. First
100 binary unknowns, 100 measurements with noise 3 through a Gaussian matrix: 30 layers of
x = hardtanh(slope (x - step A'(Ax - y))), from step 0 and slope 1; for 1, 2, ... 30 layers 40 steps
of one Adam (5e-4) on 500 fresh problems; |estimate - x|^2 after the last layer, published for one
matrix. Then four binary symbols over the book's own 4 x 4 channel, noise .75: a 4-50-50-4 network
(relu, relu, tanh; Adam .01, 500 steps of 50) against classical detectors and the unfolded one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from ..algorithms import (
    Unfolded,
    binary_problems,
    linear_mmse,
    soft_projected,
    symbol_errors,
    zero_forcing,
)
from ..report.axes import dress, new_figure
from ..report.palette import AHEAD, INK, LEARNED, QUIET, SERIES
from . import Row, Task

SIZE, NOISE, LAYERS, BATCH, INNER = 100, 3.0, 30, 500, 40
PUBLISHED = 0.5065
# The channel of the published symbol error rates, as printed there.
CHANNEL = np.array([
    [-1.1886800049871964, 0.4041521072069755, -0.6774167737228607, -0.4069644601387791],
    [0.7878269862203976, -0.10357598296850325, -0.13561837074286126, -0.06886416086215355],
    [1.1780259137155593, 0.5953191566843961, -0.10787034449583965, 0.6400915308449808],
    [0.3855116016279269, 0.45547048325456163, 0.7183315170355797, -0.10213552217354001],
])  # fmt: skip
CHANNEL_NOISE = 0.75
SYMBOL_ERRORS = {"zero forcing": 0.155965, "network": 0.114495}
WIDTHS = (4, 50, 50, 4)
ADAM = functools.cache(lambda rate: optax.adam(rate))

Detector = Callable[[Any], Any]


def run(
    task: Task = Task(), *, seeds: int = 3, layers: int = LAYERS, tests: int = 10_000,
    trials: int = 200_000,
) -> list[Row]:  # fmt: skip
    """The book's rows over `seeds` matrices, and symbol error rates over `trials` vectors."""
    studies = [quadratic(seed, layers, tests) for seed in range(1, seeds + 1)]
    learned, fixed = np.transpose([[e[-1] for e in study[1]] for study in studies])
    note = f"published: one matrix; matrices {', '.join(f'{e:.3g}' for e in learned)}"
    rows = [
        Row("final MSE (book's recipe), BQP", PUBLISHED, *_spread(learned), note=note),
        Row("baseline MSE, best fixed step and slope", None, *_spread(fixed), note=studies[0][2]),
    ]  # fmt: skip
    detectors = mimo(CHANNEL_NOISE)
    rates = errors(detectors, CHANNEL_NOISE, trials)
    for name, rate in rates.items():
        error = (rate * (1 - rate) / (4 * trials)) ** 0.5
        note = f"± {1.96 * error:.1g} (95 %), {trials} vectors of 4, seed 10001"
        rows.append(Row(f"symbol error rate, {name}", SYMBOL_ERRORS.get(name), rate, note=note))
    if task.out is not None:
        sweep = {n: errors(mimo(n), n, max(trials // 4, 1)) for n in (1.5, 1.0, 0.5, 0.35, 0.25)}
        draw(studies[0], sweep | {CHANNEL_NOISE: rates}, task.out / "du-bqp.png")
    return rows


def _spread(values: Float[np.ndarray, " n"]) -> tuple[float, float | None, int]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), spread, len(values)


def quadratic(seed: int, layers: int, tests: int) -> tuple[Unfolded, list[Any], str]:
    """The recipe on one matrix; errors per layer, learned and best fixed; which those are."""
    A = np.random.default_rng(seed).normal(size=(SIZE, SIZE))
    problems = binary_problems(A, NOISE)
    options = {"layers": layers, "precision": "float32", "seed": seed}
    model = soft_projected(A, step=0.0, **options)
    model.fit(problems, steps=INNER, batch=BATCH, incremental=True, rule=ADAM(5e-4))
    y, x = model.draw(problems, tests, seed=10_001)
    training = model.draw(problems, 500, seed=10_002)
    found = []
    for slope in (1.0, 1.5, 2.0, 3.0, 5.0):
        plain = soft_projected(A, slope=slope, **options)
        scale = plain.parameters_["step"][0]
        grid = scale * np.linspace(0.02, 4, 200)
        best = plain.best_fixed(*training, grid, name="step")
        note = f"step {best.value / scale:.2f}/lambda_max, slope {slope:g}, for matrix 1"
        found.append((best.error[-1], plain, best.value, note))
    _, plain, value, note = min(found, key=lambda one: one[0])
    fixed = plain.best_fixed(y, x, [value], name="step").error
    return model, [model.error(y, x), fixed], note


def network(seed: int = 0) -> Unfolded:
    """The 4-50-50-4 detector: one layer whose parameters are the weights of a network."""
    rng = np.random.default_rng(seed)
    first: dict[str, Any] = {}
    for i, (fan_in, out) in enumerate(itertools.pairwise(WIDTHS)):
        limit = (6 / (fan_in + out)) ** 0.5  # Glorot and Bengio 2010, as Flux begins
        first[f"w{i}"] = rng.uniform(-limit, limit, (out, fan_in))
        first[f"b{i}"] = np.zeros(out)
    return Unfolded(_network, np.zeros(4), layers=1, parameters=first, precision="float32")


def _network(x: Any, layer: Any) -> Any:
    p, z = layer.p, layer.y
    for i in range(len(WIDTHS) - 2):
        z = jax.nn.relu(p[f"w{i}"] @ z + p[f"b{i}"])
    last = len(WIDTHS) - 2
    return jnp.tanh(p[f"w{last}"] @ z + p[f"b{last}"])


def mimo(noise: float) -> dict[str, Detector]:
    """All detectors for the book's channel; the learned ones are trained at this noise."""
    problems = binary_problems(CHANNEL, noise)
    mlp = network().fit(problems, steps=500, batch=50, rule=ADAM(0.01))
    first = soft_projected(CHANNEL, layers=10, squash=jnp.tanh, precision="float32")
    unfolded = soft_projected(CHANNEL, layers=10, squash=jnp.tanh, precision="float32")
    unfolded.fit(problems, steps=200, batch=200, incremental=True, rule=ADAM(0.01))
    return {
        "zero forcing": lambda y: zero_forcing(CHANNEL, y),
        "linear MMSE": lambda y: linear_mmse(CHANNEL, y, noise),
        "network": mlp,
        "soft-projected gradient, fixed": first,
        "soft-projected gradient, learned": unfolded,
        "all 16 vectors": lambda y: exhaustive(y, noise),
    }


def exhaustive(y: Any, noise: float) -> Any:
    """The conditional mean over all vectors: its signs have the least symbol error rate."""
    vectors = np.array(list(itertools.product((-1.0, 1.0), repeat=4)))
    distance = ((y[:, None] - vectors @ CHANNEL.T) ** 2).sum(-1)
    weight = np.exp(-(distance - distance.min(1, keepdims=True)) / (2 * noise**2))
    return weight @ vectors


def errors(detectors: dict[str, Detector], noise: float, trials: int) -> dict[str, float]:
    """The symbol error rate of every detector on the same fresh vectors."""
    problems = binary_problems(CHANNEL, noise)
    y, x = soft_projected(CHANNEL).draw(problems, trials, seed=10_001)
    return {name: float(symbol_errors(d(y), x).mean()) for name, d in detectors.items()}


def draw(study: Any, sweep: dict[float, dict[str, float]], file: Path) -> None:
    """Error against iteration, the learned numbers of every layer, symbol errors against SNR."""
    model, (learned, fixed), _ = study
    figure = new_figure(11, 3.6)
    left, middle, right = figure.subplots(1, 3)
    for error, colour, name in ((learned, LEARNED, "learned"), (fixed, QUIET, "best fixed")):
        left.plot(10 * np.log10(error / SIZE), color=colour, label=name)
    dress(left, title="Binary quadratic problem", x="iteration", y="NMSE / dB")
    layer = 1 + np.arange(len(model.parameters_["step"]))
    scale = soft_projected(np.random.default_rng(1).normal(size=(SIZE, SIZE))).parameters_["step"]
    middle.plot(
        layer, model.parameters_["step"] / scale[0], "o-", ms=3, color=LEARNED,
        label=r"step $\times\ \lambda_{\max}$",
    )  # fmt: skip
    middle.plot(layer, model.parameters_["slope"], "s-", ms=3, color=AHEAD, label="slope")
    dress(middle, title="Learned numbers", x="layer")
    noises = sorted(sweep, reverse=True)
    power = (CHANNEL**2).sum() / len(CHANNEL)
    ratio = 10 * np.log10(power / np.square(noises))
    colours = (QUIET, SERIES[4], SERIES[3], SERIES[5], LEARNED, INK)
    for name, colour in zip(sweep[noises[0]], colours, strict=True):
        rates = [sweep[noise][name] for noise in noises]
        right.plot(ratio, rates, "o-", ms=3, lw=1.2, color=colour, label=name)
    right.set_yscale("log", nonpositive="mask")
    dress(right, title="4 × 4 MIMO detection", x="signal-to-noise ratio / dB")
    right.set_ylabel("symbol error rate")
    right.legend(frameon=False, fontsize="x-small")
    figure.savefig(file, dpi=150)
