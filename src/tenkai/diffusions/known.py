"""Processes whose transitions are known: records of them, and exact maximum likelihood.

They are what a learned diffusion is measured against; nothing of it is used in learning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_FINE = 50  # steps per gap where a path has no closed form
_MATRIX = np.array([[1.0, 0.4], [-0.3, 0.7]])
_NOISE = np.array([[0.5, 0.0], [0.3, 0.4]])


@dataclass(frozen=True, eq=False)
class Known:
    """A process with records of `length` steps of `step`, and the numbers of its equation.

    `draw(seeds, length, step)` gives records (time,) or (time, dim), `exact(x, step)` the maximum
    of the exact likelihood in the order of `parameters`, of which those at `noise` are the
    diffusion's. `states` (n, dim) are spread as the stationary law, `covariance` is its; None
    where there is none. `fields` maps states to drift (n, dim) and diffusion (n, ...).
    """

    name: str
    step: float
    length: int
    parameters: tuple[str, ...]
    truth: Float[np.ndarray, " k"]
    noise: tuple[int, ...]
    draw: Callable[[Iterable[int], int, float], list[np.ndarray]]
    exact: Callable[[np.ndarray, float], np.ndarray]
    fields: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    states: np.ndarray | None = None
    covariance: np.ndarray | None = None


def ornstein_uhlenbeck(theta: float = 1.0, sigma: float = 0.5) -> Known:
    """``dx = theta (mu - x) dt + sigma dW`` with mu = 0."""
    variance = sigma**2 / (2 * theta)

    def draw(seeds: Iterable[int], length: int, step: float) -> list[np.ndarray]:
        keep = np.exp(-theta * step)
        return [_autoregression(s, length, keep, variance) for s in seeds]

    def fields(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return -theta * x, np.full_like(x, sigma)

    states = np.sqrt(variance) * _normal(2000)[:, None]
    return Known(
        "OU", 0.2, 2000, ("theta", "mu", "sigma"), np.array([theta, 0.0, sigma]), (2,), draw,
        exact_ornstein_uhlenbeck, fields, states, np.array([[variance]]),
    )  # fmt: skip


def _normal(count: int) -> np.ndarray:
    """Quantiles of a standard normal law."""
    from scipy.special import ndtri

    return ndtri((np.arange(count) + 0.5) / count)


def _autoregression(seed: int, length: int, keep: float, variance: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    noise = random.standard_normal(length + 1) * np.sqrt(variance)
    x = np.empty(length + 1)
    x[0] = noise[0]
    for k in range(length):
        x[k + 1] = keep * x[k] + np.sqrt(1 - keep**2) * noise[k + 1]
    return x


def exact_ornstein_uhlenbeck(x: np.ndarray, step: float) -> np.ndarray:
    """theta, mu and sigma of a record with equal gaps: a first-order autoregression."""
    columns = np.stack([np.ones(len(x) - 1), x[:-1]], 1)
    (shift, keep), *_ = np.linalg.lstsq(columns, x[1:], rcond=None)
    miss = x[1:] - columns @ [shift, keep]
    theta = -np.log(keep) / step
    sigma = np.sqrt(np.mean(miss**2) * 2 * theta / (1 - keep**2))
    return np.array([theta, shift / (1 - keep), sigma])


def geometric_brownian(mu: float = 1.0, sigma: float = 0.5) -> Known:
    """``dx = mu x dt + sigma x dW`` out of 1."""
    slope = mu - sigma**2 / 2

    def draw(seeds: Iterable[int], length: int, step: float) -> list[np.ndarray]:
        out = []
        for seed in seeds:
            noise = np.random.default_rng(seed).standard_normal(length)
            out.append(np.exp(np.cumsum([0.0, *(slope * step + sigma * step**0.5 * noise)])))
        return out

    def fields(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return mu * x, sigma * x

    return Known(
        "GBM", 0.05, 2000, ("mu", "sigma"), np.array([mu, sigma]), (1,), draw,
        exact_geometric_brownian, fields,
    )  # fmt: skip


def exact_geometric_brownian(x: np.ndarray, step: float) -> np.ndarray:
    """mu and sigma of a record with equal gaps: increments of the logarithm."""
    moves = np.diff(np.log(x))
    variance = moves.var() / step
    return np.array([moves.mean() / step + variance / 2, np.sqrt(variance)])


def double_well(sigma: float = 0.7) -> Known:
    """``dx = (a x - b x^3) dt + sigma dW`` with a = b = 1."""

    def draw(seeds: Iterable[int], length: int, step: float) -> list[np.ndarray]:
        randoms = [np.random.default_rng(seed) for seed in seeds]
        x = np.array([r.choice([-1.0, 1.0]) for r in randoms])
        h, burn = step / _FINE, int(np.ceil(10 / step))
        out = np.empty((length + 1, len(randoms)))
        for k in range(burn + length + 1):
            noise = sigma * np.sqrt(h) * np.stack([r.standard_normal(_FINE) for r in randoms], 1)
            for w in noise:
                x = x + h * (x - x**3) + w
            if k >= burn:
                out[k - burn] = x
        return list(out.T)

    def fields(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x - x**3, np.full_like(x, sigma)

    x = np.linspace(-3, 3, 20_001)
    share = np.exp((x**2 - x**4 / 2) / sigma**2)
    share = np.cumsum(share / share.sum())
    states = np.interp((np.arange(2000) + 0.5) / 2000, share, x)[:, None]
    return Known(
        "double well", 0.05, 5000, ("a", "b", "sigma"), np.array([1.0, 1.0, sigma]), (2,), draw,
        exact_double_well, fields, states, np.array([[np.mean(states**2)]]),
    )  # fmt: skip


def exact_double_well(x: np.ndarray, step: float) -> np.ndarray:
    """a, b and sigma at the maximum of the likelihood on a fine grid.

    Berndt, Hall, Hall and Hausman 1974: steps out of the scores of single transitions, halved
    until they gain.
    """
    flow = np.stack([x[:-1], -(x[:-1] ** 3)], 1)
    slopes, *_ = np.linalg.lstsq(flow, np.diff(x) / step, rcond=None)
    noise = np.diff(x) - step * (flow @ slopes)
    at = np.array([*slopes, np.sqrt(np.mean(noise**2) / step)])
    now = chapman_kolmogorov(x, step, at)
    for _ in range(25):
        shift = 1e-4 * np.eye(3)
        scores = np.stack([(chapman_kolmogorov(x, step, at + d) - now) / 1e-4 for d in shift], 1)
        move = np.linalg.solve(scores.T @ scores, scores.sum(0))
        while (there := chapman_kolmogorov(x, step, at + move)).sum() < now.sum():
            move = move / 2
            if np.abs(move).max() < 1e-6:
                return at
        at, gain, now = at + move, there.sum() - now.sum(), there
        if gain < 1e-5:
            break
    return at


def chapman_kolmogorov(
    x: np.ndarray, step: float, numbers: np.ndarray, substeps: int = 8
) -> Float[np.ndarray, " n"]:
    """Log densities (n,) of the transitions of a double well with `numbers` a, b, sigma.

    ``p(y | x, step) = int ... p(z2 | z1) p(z1 | x) dz``: products of short Gaussian kernels of
    second weak order on a grid. Source: Pedersen 1995.
    """
    a, b, sigma = numbers
    h = step / substeps
    reach = 0.3 + np.abs(x).max()
    grid = np.linspace(-reach, reach, int(np.ceil(2 * reach / (0.6 * sigma * np.sqrt(h)))))

    def kernel(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        f, slope, bend = a * z - b * z**3, a - 3 * b * z**2, -6 * b * z
        mean = z + h * f + 0.5 * h**2 * (f * slope + 0.5 * sigma**2 * bend)
        spread = sigma**2 * h * (1 + h * slope)
        return np.exp(-0.5 * (y - mean) ** 2 / spread) / np.sqrt(2 * np.pi * spread)

    width = grid[1] - grid[0]
    middle = np.linalg.matrix_power(kernel(grid[:, None], grid) * width, substeps - 2)
    first = kernel(x[:-1, None], grid) @ middle * width
    return np.log(np.einsum("ij,ij->i", first, kernel(grid, x[1:, None])))


def plane() -> Known:
    """``dx = -A x dt + B dW``, two variables with correlated noises."""
    from scipy.linalg import expm, solve_continuous_lyapunov

    law = solve_continuous_lyapunov(-_MATRIX, -_NOISE @ _NOISE.T)
    lower = np.linalg.cholesky(law)

    def draw(seeds: Iterable[int], length: int, step: float) -> list[np.ndarray]:
        keep = expm(-_MATRIX * step)
        root, out = np.linalg.cholesky(law - keep @ law @ keep.T), []
        for seed in seeds:
            noise = np.random.default_rng(seed).standard_normal((length + 1, 2))
            x = np.empty_like(noise)
            x[0] = lower @ noise[0]
            for k in range(length):
                x[k + 1] = keep @ x[k] + root @ noise[k + 1]
            out.append(x)
        return out

    def fields(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return -x @ _MATRIX.T, np.broadcast_to(_NOISE, (len(x), 2, 2))

    truth = np.array([*_MATRIX.ravel(), *_NOISE[np.tril_indices(2)]])
    names = ("a00", "a01", "a10", "a11", "b00", "b10", "b11")
    states = np.random.default_rng(12345).standard_normal((4000, 2)) @ lower.T
    return Known(
        "2-D OU", 0.2, 2000, names, truth, (4, 5, 6), draw, exact_plane, fields, states, law
    )


def exact_plane(x: np.ndarray, step: float) -> np.ndarray:
    """A (row by row) and the lower triangle of B: a first-order vector autoregression."""
    from scipy.linalg import logm, solve_discrete_lyapunov

    keep = np.linalg.lstsq(x[:-1], x[1:], rcond=None)[0].T
    miss = x[1:] - x[:-1] @ keep.T
    matrix = -np.real(logm(keep)) / step
    law = solve_discrete_lyapunov(keep, miss.T @ miss / len(miss))
    noise = np.linalg.cholesky(matrix @ law + law @ matrix.T)
    return np.array([*matrix.ravel(), *noise[np.tril_indices(2)]])


def all_known() -> tuple[Known, ...]:
    """The four processes."""
    return ornstein_uhlenbeck(), geometric_brownian(), double_well(), plane()
