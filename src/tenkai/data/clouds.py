"""The eight toy densities of the plane that flows are shown on, with their true log densities.

Recipes and scales of Grathwohl et al. (2019, figure 2, and their script), but rows are independent
draws of one law, so that the law has a density; and `moons` stands unscaled, as in scikit-learn
(their script maps it by ``2 x + (-1, -.2)``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..errors import InputError

_BLOCK = 4096  # rows at once
_Draw = Callable[[np.random.Generator, int], np.ndarray]
_LogDensity = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Cloud:
    draw: _Draw
    log_density: _LogDensity | None = None


def draw(name: str, n: int, seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """`n` independent rows of one of `NAMES`.

    >>> from tenkai.data import clouds
    >>> clouds.draw("moons", 500, seed=1).shape
    (500, 2)
    """
    cloud = _find(name)
    if n < 1:
        raise InputError("n", expected="at least 1 row", got=str(n), do="ask for more")
    return cloud.draw(np.random.default_rng(seed), n)


def log_density(name: str, x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """The true ``log p`` of every row, in nats, minus infinity outside the support.

    In closed form, or by a quadrature along the curve that the noise surrounds (relative error
    below 1e-6). All but "pinwheel" have one.

    >>> from tenkai.data import clouds
    >>> x = clouds.draw("8gaussians", 50_000)
    >>> round(float(clouds.log_density("8gaussians", x).mean()), 1)
    -2.8
    """
    law = _find(name).log_density
    if law is None:
        known = ", ".join(k for k in NAMES if _CLOUDS[k].log_density)
        raise InputError(
            "name", expected=f"a cloud with a known density: {known}", got=name, do="pick one"
        )
    x = np.asarray(x, dtype=float)
    if x.ndim != 2 or x.shape[1] != 2:
        raise InputError("x", expected="rows of 2 numbers", got=f"shape {x.shape}", do="reshape")
    blocks = [law(x[i : i + _BLOCK]) for i in range(0, len(x), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.empty(0)


def _find(name: str) -> _Cloud:
    if name not in _CLOUDS:
        raise InputError("name", expected=f"one of {', '.join(NAMES)}", got=name, do="pick one")
    return _CLOUDS[name]


def _log_sum(logs: np.ndarray) -> np.ndarray:
    """``log sum_k exp(logs[:, k])``."""
    from scipy.special import logsumexp

    return np.asarray(logsumexp(logs, axis=1))


# Gaussian noise around points


def _eight_gaussians() -> _Cloud:
    """Centres on a circle of radius 4, deviation .5, all divided by 1.414."""
    angles = np.arange(8) * np.pi / 4
    centres = 4 / 1.414 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    sd = 0.5 / 1.414

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return centres[rng.integers(8, size=n)] + sd * rng.standard_normal((n, 2))

    def law(x: np.ndarray) -> np.ndarray:
        return _gaussians(x, centres, np.full(8, -math.log(8)), sd)

    return _Cloud(draw, law)


def _gaussians(
    x: np.ndarray, centres: np.ndarray, log_weights: np.ndarray, sd: float
) -> np.ndarray:
    """``log sum_k w_k N(x; c_k, sd^2 I)``."""
    squares = sum((x[:, None, i] - centres[:, i]) ** 2 for i in (0, 1))
    exponents = log_weights - squares / (2 * sd**2)
    return _log_sum(exponents) - math.log(2 * math.pi * sd**2)


# Gaussian noise around circles


def _concentric(radii: tuple[float, ...], sd: float) -> _Cloud:
    """Circles around the origin, equally likely, uniform in the angle."""
    around = np.asarray(radii)

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        radius, angle = rng.choice(around, n), rng.uniform(0, 2 * np.pi, n)
        circle = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return circle + sd * rng.standard_normal((n, 2))

    def law(x: np.ndarray) -> np.ndarray:
        """The integral over the angle is Bessel's ``I0(r R / sd^2)``."""
        from scipy.special import i0e

        r = np.linalg.norm(x, axis=1)[:, None]
        rings = np.log(i0e(r * around / sd**2)) - (r - around) ** 2 / (2 * sd**2)
        return _log_sum(rings) - math.log(2 * math.pi * sd**2 * len(around))

    return _Cloud(draw, law)


# Gaussian noise around other curves


def _along(
    curve: Callable[[np.ndarray], np.ndarray], sd: float, nodes: int, pieces: int = 1
) -> _Cloud:
    """Noise around ``curve(s)``, ``s`` uniform on [0, 1], in `pieces` smooth pieces."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return curve(rng.uniform(0, 1, n)) + sd * rng.standard_normal((n, 2))

    def law(x: np.ndarray) -> np.ndarray:
        s, weights = _nodes(nodes)
        s = np.concatenate([(s + i) / pieces for i in range(pieces)])
        return _gaussians(x, curve(s), np.log(np.tile(weights / pieces, pieces)), sd)

    return _Cloud(draw, law)


def _nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss and Legendre's nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


def _moons(s: np.ndarray) -> np.ndarray:
    """Two half circles, the second turned and moved by (1, .5) (scikit-learn's `make_moons`)."""
    second = s >= 0.5
    angle = 2 * np.pi * (s - 0.5 * second)
    x, y = np.cos(angle), np.sin(angle)
    return np.stack([np.where(second, 1 - x, x), np.where(second, 0.5 - y, y)], axis=1)


def _swissroll(s: np.ndarray) -> np.ndarray:
    t = 1.5 * np.pi * (1 + 2 * s)
    return np.stack([t * np.cos(t), t * np.sin(t)], axis=1) / 5


# The others

_TURN, _SHIFT, _SPIRAL_SD = 3 * np.pi, 0.5 / 3, 0.1


def _spiral(s: np.ndarray) -> np.ndarray:
    """One arm; ``s^2`` is uniform, so that points are even in area."""
    n = _TURN * s
    return np.stack([-n * np.cos(n), n * np.sin(n)], axis=1) / 3


def _draw_spirals(rng: np.random.Generator, n: int) -> np.ndarray:
    """Two arms; a uniform shift of each coordinate, then Gaussian noise."""
    arm = _spiral(np.sqrt(rng.uniform(0, 1, n))) + rng.uniform(0, _SHIFT, (n, 2))
    return rng.choice([-1.0, 1.0], n)[:, None] * arm + _SPIRAL_SD * rng.standard_normal((n, 2))


def _spirals_law(x: np.ndarray) -> np.ndarray:
    """Along the arm a quadrature; across it both coordinates in closed form."""
    s, weights = _nodes(300)
    arm, log_weights = _spiral(s), np.log(2 * s * weights / 2)
    arms = [
        log_weights + sum(_smeared(sign * x[:, None, i] - arm[:, i]) for i in (0, 1))
        for sign in (1, -1)
    ]
    return _log_sum(np.concatenate(arms, axis=1))


def _smeared(u: np.ndarray) -> np.ndarray:
    """Log density of a uniform shift plus Gaussian noise, from the tail where it is small."""
    from scipy.special import log_ndtr

    u = np.minimum(u, _SHIFT - u)
    high, low = log_ndtr(u / _SPIRAL_SD), log_ndtr((u - _SHIFT) / _SPIRAL_SD)
    return high + np.log1p(-np.exp(low - high)) - math.log(_SHIFT)


def _draw_pinwheel(rng: np.random.Generator, n: int) -> np.ndarray:
    """Five blades, twisted by the exponential of their radius."""
    radial, tangential = 1 + 0.3 * rng.standard_normal(n), 0.1 * rng.standard_normal(n)
    angle = rng.integers(5, size=n) * 2 * np.pi / 5 + 0.25 * np.exp(radial)
    cos, sin = np.cos(angle), np.sin(angle)
    return 2 * np.stack([radial * cos + tangential * sin, tangential * cos - radial * sin], axis=1)


def _draw_checkerboard(rng: np.random.Generator, n: int) -> np.ndarray:
    """Squares of side 2 on [-4, 4]^2."""
    x = rng.uniform(-2, 2, n)
    y = rng.uniform(0, 1, n) - 2 * rng.integers(0, 2, n) + np.floor(x) % 2
    return 2 * np.stack([x, y], axis=1)


def _checkerboard_law(x: np.ndarray) -> np.ndarray:
    """Uniform on eight squares of area 4."""
    column, row = np.floor(x / 2).T
    inside = (np.abs(column + 0.5) < 2) & (np.abs(row + 0.5) < 2) & ((column + row) % 2 == 0)
    return np.where(inside, -math.log(32), -np.inf)


_CLOUDS = {
    "swissroll": _along(_swissroll, 0.2, nodes=200),
    "circles": _concentric((3.0, 1.5), 0.24),
    "rings": _concentric((3.0, 2.25, 1.5, 0.75), 0.08),
    "moons": _along(_moons, 0.1, nodes=100, pieces=2),
    "8gaussians": _eight_gaussians(),
    "pinwheel": _Cloud(_draw_pinwheel),
    "2spirals": _Cloud(_draw_spirals, _spirals_law),
    "checkerboard": _Cloud(_draw_checkerboard, _checkerboard_law),
}
NAMES = tuple(_CLOUDS)
