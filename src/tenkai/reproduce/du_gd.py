"""DU-GD: gradient descent with learned steps for least squares, ridge, boxes, noise, Rastrigin.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, chapter 3. Every recipe
is the book's: layer after layer, `inner` Adam steps each on fresh batches, one optimiser. The
matrices are Gaussian draws; ours are like the published one where its notebook prints a step size
(that of ours is within 1 %). An error is the mean over 1000 fresh problems after the last layer;
the published ones are one batch of one draw.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..algorithms import (
    Layer,
    Unfolded,
    box_problems,
    chebyshev_radius,
    chebyshev_steps,
    conjugate_gradients,
    descent,
    gradient_descent,
    least_squares_problems,
    projected_gradient,
    ridge,
)
from ..algorithms.gradient import Normal, Zero, first_of
from . import Row, Task

ADAM = functools.cache(optax.adam)
Curves = dict[str, np.ndarray]  # errors before and after every layer, by method
RECIPE = "final MSE (book's recipe)"
DEFAULT = "learned, default training"


def gaussian(
    shape: tuple[int, int], count: int, size: Callable[[np.ndarray], float], printed: float
) -> Iterator[np.ndarray]:
    """Gaussian matrices whose `size` is within 1 % of what the publication printed of its own."""
    drawn = (np.random.default_rng(seed).standard_normal(shape) for seed in itertools.count())
    like = (A for A in drawn if abs(size(A) / printed - 1) < 0.01)
    return itertools.islice(like, count)


def best_step(A: np.ndarray, weight: float = 0.0) -> float:
    """``2 / (l_min + l_max)`` of ``A^T A + weight I``."""
    values = np.linalg.svd(A, compute_uv=False) ** 2 + weight
    return 2 / (values[0] + values[-1])


def learn(algorithm: Unfolded, problems: Callable, inner: int, batch: int, rule: Any) -> Unfolded:
    """The book's incremental training."""
    return algorithm.fit(problems, steps=inner, batch=batch, incremental=True, rule=rule)


def judge(
    learned: dict[str, Unfolded], problems: Callable, values: np.ndarray, name: str = "eta",
    layers: int | None = None, test: Any = None,
) -> Curves:  # fmt: skip
    """Errors of each on 1000 problems, beside the best of `values` (found on 200 others)."""
    one = next(iter(learned.values()))
    best = one.best_fixed(*one.draw(problems, 200, seed=2), values, name=name).value
    test = one.draw(problems, 1000, seed=3) if test is None else test
    every = learned | {"best fixed step": one.with_parameters(**{name: best})}
    return {method: a.error(*test, layers=layers) for method, a in every.items()}


def rows(found: list[Curves], published: dict[str, float | None], name: str) -> list[Row]:
    """Medians over draws of the last errors: learned ones (in `published`), then the others."""
    made = []
    for method in sorted(found[0], key=lambda method: method not in published):
        ends = [curves[method][-1] for curves in found]
        kind = "baseline MSE" if method not in published else RECIPE
        kind = "final MSE (default training)" if method == DEFAULT else kind
        notes = [f"median; {min(ends):.2g} to {max(ends):.2g}"] if len(ends) > 1 else []
        if not kind.startswith("baseline"):
            ratio = max(c[method][-1] / c["best fixed step"][-1] for c in found)
            notes.append(f"at most {ratio:.2g} x the best fixed step")
        if published.get(method) and len(ends) > 1:
            near = sum(end <= 1.2 * (published[method] or 0) for end in ends)
            notes.append(f"{near} of {len(ends)} draws within 1.2 x published")
        what = ", ".join(filter(None, [kind, name, "" if method == DEFAULT else method]))
        ours = float(np.median(ends))
        made.append(Row(what, published.get(method), ours, n=len(ends), note="; ".join(notes)))
    return made


def square() -> Row:
    """x^2 by three steps of one learned size: 1/2 is Newton's step."""
    algorithm = descent(Bowl(np.array([2.0])), identity, eta=0.0, layers=3, tied=True)
    algorithm.fit(Starts(1), steps=125, batch=100, rule=ADAM(0.25))
    learned = float(algorithm.parameters_["eta"][0])
    return Row("learned step, x^2", 0.5, learned, note="the error goes with (1 - 2 eta)^6: flat")


def quadratic(seeds: int) -> tuple[list[Curves], np.ndarray]:
    """``x^T diag(1..100) x / 2``, 25 layers of period 3; the learned steps of the last seed."""
    bowl, found, steps = Bowl(np.arange(1.0, 101)), [], np.zeros(3)
    for seed in range(seeds):
        algorithm = descent(bowl, identity, eta=0.0, layers=25, tied=3, seed=seed)
        learn(algorithm, Starts(100), 20, 50, ADAM(1e-3))
        more = {"Chebyshev T=3": algorithm.with_parameters(eta=chebyshev_steps(1, 100, 3))}
        # The mean over all Gaussian starts, exactly: that over the axes, since steps are linear.
        axes = 10 * np.eye(100), np.zeros((100, 100))
        found.append(judge({"T=3": algorithm} | more, Starts(100), GRID * 2 / 101, test=axes))
        steps = algorithm.parameters_["eta"]
    return found, steps


def least_squares(
    seeds: int, periods: dict[str, bool | int], printed: float
) -> list[tuple[Curves, dict[str, Unfolded], np.ndarray]]:
    """``min |A x - y|^2``, 50 unknowns, 100 measurements, 50 layers: errors, algorithms, A."""
    found = []
    for seed, A in enumerate(gaussian((100, 50), seeds, best_step, printed)):
        problems = least_squares_problems(A)
        learned = {
            name: learn(gradient_descent(A, eta=0.0, layers=50, tied=period, seed=seed),
                        problems, 40, 100, ADAM(1e-4))
            for name, period in periods.items()
        }  # fmt: skip
        ours = gradient_descent(A, layers=50)
        learned |= {"Chebyshev": ours.with_parameters(), DEFAULT: ours}
        ours.fit(problems)
        curves = judge(learned, problems, GRID * best_step(A))
        y, x = ours.draw(problems, 1000, seed=3)
        path = conjugate_gradients(A, y, 50)
        curves["conjugate gradients"] = np.mean(np.sum((path - x) ** 2, axis=-1), axis=-1)
        found.append((curves, learned, A))
    return found


def ridges(seeds: int) -> list[Curves]:
    """Ridge with weight 3: steps of period 4, and a weight in every layer learned beside them."""
    found = []
    for seed, A in enumerate(gaussian((100, 50), seeds, lambda A: best_step(A, 3.0), 0.0062991)):
        problems, learned = least_squares_problems(A, 3.0), {}
        for name, both in (("T=4", False), ("T=4 and weights", True)):
            algorithm = ridge(A, 3.0, learn_weight=both, eta=0.0, layers=50, seed=seed)
            algorithm = algorithm.with_parameters(eta=np.zeros(4))
            rule = {"eta": ADAM(1e-4)} | ({"weight": ADAM(1e-2)} if both else {})
            learned[name] = learn(algorithm, problems, 50, 100, rule)
        learned["Chebyshev"] = ridge(A, 3.0, layers=50)
        found.append(judge(learned, problems, GRID * best_step(A, 3.0)))
    return found


def boxes(seeds: int) -> list[Curves]:
    """Least squares in the box [-1, 1], 10 unknowns, 20 measurements, 25 layers."""
    found = []
    for seed, A in enumerate(gaussian((20, 10), seeds, largest_step, 0.0179838)):
        algorithm = projected_gradient(A, eta=0.0, layers=25, seed=seed)
        learn(algorithm, box_problems(A), 40, 200, ADAM(3e-3))
        found.append(judge({"": algorithm}, box_problems(A), 2 * GRID * largest_step(A)))
    return found


def noisy(seeds: int) -> list[Curves]:
    """Least squares whose gradient carries N(0, 1) noise: 100 layers, in single precision."""
    found = []
    for seed, A in enumerate(gaussian((100, 50), seeds, best_step, 0.0064204)):
        algorithm = Unfolded(
            NoisyStep(Normal.of(A)), NoisyStart(Zero(A)), 100, {"eta": 0.0}, read=first_of,
            seed=seed, precision="float32",
        )  # fmt: skip
        problems = Noisy(least_squares_problems(A))
        learn(algorithm, problems, 50, 200, ADAM(5e-6))
        found.append(judge({"": algorithm}, problems, GRID * best_step(A)))
    return found


def rastrigin(seeds: int) -> list[Curves]:
    """``10 n + sum x^2 - 10 cos 2 pi x`` in 50 dimensions from 5 N(0, 1): the distance from 0."""
    found = []
    for seed in range(seeds):
        algorithm = descent(waves, identity, eta=0.01, layers=150, seed=seed)
        learn(algorithm, Starts(50, 5.0), 100, 50, ADAM(5e-6))
        found.append(judge({"": algorithm}, Starts(50, 5.0), np.geomspace(1e-4, 0.05, 200)))
    return found


def largest_step(A: np.ndarray) -> float:
    """``1 / l_max`` of ``A^T A``."""
    return float(1 / np.linalg.norm(A, 2) ** 2)


def run(task: Task = Task(), *, seeds: int = 3, long: bool = True) -> list[Row]:
    """All recipes; without `long` not the two that take a minute (noise and Rastrigin)."""
    bowls, steps = quadratic(seeds)
    free = least_squares(seeds, {"free": False}, 0.0064204)
    tied = least_squares(seeds, {"T=2": 2, "T=8": 8}, 0.0069881)
    first, *others = rows(bowls, {"T=3": 0.1537}, "quadratic")
    told = f"{first.note}; published: one batch of 50, sd {batch_spread(steps):.2g}"
    made = [square(), replace(first, note=told), *others, *radii(steps)]
    made += rows([f[0] for f in free], {"free": 2.04e-7}, "LMS")
    periods = {"T=2": None, "T=8": 1.88e-6}
    kept = [{k: v for k, v in t[0].items() if k in {*periods, "best fixed step"}} for t in tied]
    made += rows(kept, periods, "LMS, periodic")
    made += rows(ridges(seeds), {"T=4": 2.5e-8, "T=4 and weights": 1.2e-9}, "ridge")
    made += rows(boxes(3 * seeds), {"": 6.2e-8}, "projected gradient")
    if long:
        made += rows(noisy(1), {"": 9.7e-4}, "noisy gradient")
        made += rows(rastrigin(seeds), {"": 9.52}, "Rastrigin")
    if task.out is not None:
        draw(free[0], tied[0], steps, task.out / "du-gd.png")
    return made


def radii(steps: np.ndarray) -> list[Row]:
    """The largest factor by which three steps shrink an eigenvector of diag(1..100)."""
    fixed = shrink(np.full(3, 2 / 101)).max()
    return [
        Row("spectral radius, quadratic T=3, Chebyshev", 0.84264,
            float(shrink(chebyshev_steps(1, 100, 3)).max()),
            note=f"by formula {chebyshev_radius(1, 100, 3):.5f}"),
        Row("spectral radius, quadratic T=3, fixed step", 0.94176, float(fixed)),
        Row("spectral radius, quadratic T=3, learned", None, float(shrink(steps).max()),
            note="it minimises the mean error over 25 layers, not the radius"),
    ]  # fmt: skip


def batch_spread(steps: np.ndarray) -> float:
    """How much the mean of ``|x|^2`` over 50 starts varies after 25 layers of period 3."""
    left = np.prod(1 - np.outer(np.arange(1, 101), steps[np.arange(25) % 3]), axis=1) ** 2
    return float(np.sqrt(2 * np.sum(left**2) / 50))


def shrink(steps: np.ndarray) -> np.ndarray:
    """``|prod_t (1 - eta[t] z)|`` for z = 1..100."""
    return np.abs(np.prod(1 - np.outer(np.arange(1, 101), steps), axis=1))


def draw(free: tuple, tied: tuple, steps: np.ndarray, file: Path) -> None:
    """Errors by layer, learned steps, errors beyond the trained layers, and the spectrum."""
    from ..report.algorithms import by_layer, convergence
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import INK, LEARNED, QUIET

    curves, learned, A = free
    with lettering():
        figure = new_figure(10.0, 7.0)
        axes = figure.subplots(2, 2)
        shown = {"learned (book's recipe)": curves["free"]}
        shown |= {k: v for k, v in curves.items() if k != "free"}
        convergence(shown, ax=axes[0, 0], title="Least squares, 50 unknowns")
        free_steps = {"learned": learned["free"].parameters_["eta"]}
        by_layer(free_steps, ax=axes[0, 1], levels={"best fixed for all errors": best_step(A)})
        one = tied[1]["T=8"]
        problems = least_squares_problems(tied[2])
        more = {"learned, T=8": one, "learned, T=2": tied[1]["T=2"]}
        beyond = judge(more, problems, GRID * best_step(tied[2]), layers=150)
        convergence(beyond, ax=axes[1, 0], trained=50, title="Beyond the trained layers")
        z, ax = np.arange(1, 101), axes[1, 1]
        ax.plot(z, shrink(steps), color=LEARNED, label="learned")
        ax.plot(z, shrink(chebyshev_steps(1, 100, 3)), color=INK, ls="--", label="Chebyshev")
        ax.plot(z, shrink(np.full(3, 2 / 101)), color=QUIET, ls="-.", label="fixed")
        dress(ax, title="Three steps on diag(1..100)", x="eigenvalue", y="shrinks by")
        figure.savefig(file, dpi=150)


GRID = np.linspace(0.006, 1.2, 200)  # of fixed steps, relative to the best one for all errors


class Bowl(eqx.Module):
    """``sum_i d_i x_i^2 / 2``."""

    curvature: Any

    def __call__(self, x: Any, y: Any) -> Any:
        return jnp.sum(self.curvature * x**2) / 2


def waves(x: Any, y: Any) -> Any:
    """Rastrigin's function less its constant."""
    return jnp.sum(x**2 - 10 * cosine(x))


@jax.custom_jvp
def cosine(x: Any) -> Any:
    """``cos 2 pi x`` by its series: many times faster in double precision than the library's."""
    turn = (2 * jnp.pi * (x - jnp.round(x))) ** 2
    total = jnp.ones_like(x)
    for k in range(28, 0, -2):  # pi^30 / 30! is below rounding
        total = 1 - turn / (k * (k - 1)) * total
    return total


def sine(x: Any) -> Any:
    """``sin 2 pi x``."""
    return cosine(x - 0.25)


cosine.defjvps(lambda dx, out, x: -2 * jnp.pi * sine(x) * dx)


class Starts(eqx.Module):
    """Starts at ``scale N(0, I)``; the minimum is 0."""

    dim: int = eqx.field(static=True)
    scale: float = eqx.field(static=True, default=1.0)

    def __call__(self, key: Any) -> tuple[Any, Any]:
        x = self.scale * jax.random.normal(key, (self.dim,))
        return x, jnp.zeros_like(x)


def identity(y: Any) -> Any:
    """The input of the problem is where it starts."""
    return y


class Noisy(eqx.Module):
    """Problems with a key for the noise of their gradients beside the measurements."""

    problems: Callable

    def __call__(self, key: Any) -> tuple[Any, Any]:
        y, x = self.problems(key)
        return (y, jax.random.key_data(jax.random.fold_in(key, 1))), x


class NoisyStart(eqx.Module):
    zero: Zero

    def __call__(self, y: Any) -> Any:
        return self.zero(y[0])


class NoisyStep(eqx.Module):
    """A gradient step; what the gradient is off by differs in every layer and problem."""

    normal: Normal

    def __call__(self, state: Any, layer: Layer) -> Any:
        x, back = state
        key = jax.random.fold_in(jax.random.wrap_key_data(layer.y[1]), layer.k)
        noise = jax.random.normal(key, x.shape, x.dtype)
        return x - layer.p["eta"] * (self.normal(x) - back + noise), back
