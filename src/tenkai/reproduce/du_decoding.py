"""DU-decoding: sum-product with learned edge weights for the BCH(31, 16) code.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, chapter 5: five
iterations on the parity-check matrix of the cyclic shifts (120 edges), binary signalling in
Gaussian noise of standard deviation .5; weights from 1, Adam (1e-2), 1000 steps on 100 random
codewords, loss the sum of (tanh(llr) - x)^2. No error rates are published. Plain and trained
decoders see the same words; at the training noise blocks are drawn until every decoder has 1000
block errors. Intervals are Wilson's, 95 %. The third decoder learned by cross-entropy, in 2000
steps from words at Eb/N0 of 3 to 6 dB; the book's noise is at 5.9 dB.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from ..algorithms import (
    Unfolded,
    bch,
    bit_cross_entropy,
    codewords,
    generator_matrix,
    sum_product,
    symbol_errors,
)
from ..report.axes import dress, new_figure
from ..report.palette import AHEAD, LEARNED, QUIET
from . import Row, Task

N, K, ITERATIONS, BATCH, STEPS, NOISE = 31, 16, 5, 100, 1000, 0.5
BLOCK_ERRORS, CHUNK, SEED = 1000, 20_000, 20_000
ADAM = functools.cache(lambda: optax.adam(1e-2))


def book_loss(llr: Float[Any, " n"], x: Float[Any, " n"]) -> Any:
    """``sum (tanh(llr) - x)^2``."""
    return jnp.sum((jnp.tanh(llr) - x) ** 2)


def learned(loss: Callable[[Any, Any], Any], noise: Any, steps: int) -> Unfolded:
    """The book's recipe with this loss on words of these noise levels."""
    H = bch(N, K)
    words = codewords(generator_matrix(H), noise)
    decoder = sum_product(H, ITERATIONS, precision="float32")
    return decoder.fit(words, steps=steps, batch=BATCH, loss=loss, rule=ADAM())


def noise_at(decibel: Any) -> Any:
    """The standard deviation at this Eb/N0."""
    return (2 * K / N * 10 ** (decibel / 10)) ** -0.5


class Count:
    """Bit and block errors of one decoder."""

    def __init__(self) -> None:
        self.bits = self.blocks = self.words = 0

    def add(self, wrong: Any) -> None:
        self.bits += int(wrong.sum())
        self.blocks += int(wrong.any(1).sum())
        self.words += len(wrong)

    @property
    def rates(self) -> tuple[float, float]:
        """Per bit and per block."""
        return self.bits / (N * self.words), self.blocks / self.words


def measure(
    decoders: dict[str, Unfolded], noise: float, *, errors: int = BLOCK_ERRORS, most: int = 50
) -> dict[str, Count]:
    """All decoders on the same words, until each has `errors` block errors or `most` chunks."""
    words = codewords(generator_matrix(bch(N, K)), noise)
    counts = {name: Count() for name in decoders}
    for chunk in range(most):
        llr, x = next(iter(decoders.values())).draw(words, CHUNK, seed=SEED + chunk)
        for name, decoder in decoders.items():
            counts[name].add(symbol_errors(decoder(llr), x))
        if min(count.blocks for count in counts.values()) >= errors:
            break
    return counts


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a probability (Wilson 1927)."""
    z = 1.959964
    p, w = hits / trials, z**2 / trials
    half = z * math.sqrt(p * (1 - p) / trials + w / (4 * trials))
    return (p + w / 2 - half) / (1 + w), (p + w / 2 + half) / (1 + w)


def run(
    task: Task = Task(), *, steps: int = STEPS, errors: int = BLOCK_ERRORS, most: int = 50
) -> list[Row]:
    """Bit and block error rates at the training noise; with pictures also at others."""
    several = noise_at(np.arange(3, 6.1, 0.5))
    decoders = {
        "plain sum-product": sum_product(bch(N, K), ITERATIONS, precision="float32"),
        "trained": learned(book_loss, NOISE, steps),
        "trained on 3-6 dB": learned(bit_cross_entropy, several, 2 * steps),
    }
    counts = measure(decoders, NOISE, errors=errors, most=most)
    rows = []
    for i, kind in enumerate(("bit", "block")):
        for name, count in counts.items():
            hits, trials = (count.bits, N * count.words) if i == 0 else (count.blocks, count.words)
            low, high = wilson(hits, trials)
            note = f"[{low:.3g}, {high:.3g}]; {hits} errors, {count.words} words, seed {SEED}"
            if i == 0:
                note = f"{hits} errors, {count.words} words"  # the bits of a block fail together
            rows.append(Row(f"{kind} error rate, {name}", None, count.rates[i], note=note))
    rows.append(Row("block error rate, union bound of the best decoder", None, union(NOISE)))
    if task.out is not None:
        draw(decoders, counts, errors, task.out / "du-decoding.png")
    return rows


@functools.cache
def weights() -> Int[np.ndarray, " n_and_0"]:
    """How many codewords there are of every weight, by listing all 2^16."""
    G = generator_matrix(bch(N, K))
    messages = np.arange(2**K)[:, None] >> np.arange(K) & 1
    return np.bincount((messages @ G % 2).sum(1), minlength=N + 1)


def union(noise: float) -> float:
    """An upper bound for the best decoder: the sum over codewords of ``Q(sqrt(weight)/noise)``."""
    tail = [0.5 * math.erfc(math.sqrt(w / 2) / noise) for w in range(N + 1)]
    return float(np.dot(weights()[1:], tail[1:]))


def draw(decoders: dict[str, Unfolded], counts: dict[str, Count], errors: int, file: Path) -> None:
    """Error rates against Eb/N0, and the distribution of the weights in every iteration."""
    ratios = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    sweep = [measure(decoders, noise, errors=errors, most=5) for noise in noise_at(ratios)]
    trained_at = 10 * math.log10(N / (2 * K * NOISE**2))
    figure = new_figure(8, 3.8)
    left, right = figure.subplots(1, 2)
    colours = (QUIET, LEARNED, AHEAD)
    for name, colour in zip(decoders, colours, strict=True):
        points = [count[name].rates for count in sweep] + [counts[name].rates]
        bit, block = np.transpose(points)
        x = np.append(ratios, trained_at)
        left.plot(x, block, "o-", ms=3, color=colour, label=f"{name}: blocks")
        left.plot(x, bit, "s--", ms=3, lw=1, color=colour, label="bits")
    fine = np.linspace(3, 6, 31)
    bound = [union(noise) for noise in noise_at(fine)]
    left.plot(fine, bound, color=QUIET, lw=0.8, ls=":", label="union bound, best decoder")
    left.set_yscale("log")
    left.set_ylim(1e-5, 1)
    dress(left, title="BCH(31, 16), 5 iterations", x=r"$E_b/N_0$ / dB", y="error rate")
    left.legend(frameon=False, fontsize="x-small")
    learned = decoders["trained"].parameters_["weight"]
    right.boxplot(list(learned), widths=0.6, medianprops={"color": LEARNED})
    right.axhline(1, color=QUIET, lw=0.8, ls=":")
    dress(right, title="Learned weights of 120 edges", x="iteration", y="weight")
    figure.savefig(file, dpi=150)
