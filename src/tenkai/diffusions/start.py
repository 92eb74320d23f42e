"""Where training starts: drift and diffusion by regressions of the increments, in NumPy.

One Euler step per gap is biased, but tells how smooth both fields are and how well each coefficient
is known. Training by the transition density then starts near its end, in coordinates in which its
curvature is about one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..models.sde import Hidden
from .evidence import CLEARLY, Ridge, regression
from .transitions import Pairs

_LENGTHS = (1.0, 0.5, 0.25)  # roundness of the hinges in standard deviations, smoothest first
_ROUNDS = 2  # drift and diffusion weigh each other
_STEPS = 8  # of Fisher scoring for a log scale
MOST_LOG = 10.0
_SPREAD = 12.0  # three standard deviations of a normal number's dispersion, times sqrt(n)


class Head(NamedTuple):
    """Coefficients of one field: `centre` (out, k), prior `precision`, `root` of the covariance."""

    centre: Float[np.ndarray, "out k"]
    precision: Float[np.ndarray, "out k"]
    root: Float[np.ndarray, "out k k"]


class Start(NamedTuple):
    """The units all fields share, a head each for drift and diffusion, the base of the noise."""

    hidden: Hidden
    drift: Head
    diffusion: Head
    base: np.ndarray


@dataclass(frozen=True, eq=False)
class Columns:
    """What networks read at the beginnings of transitions, x (n, k), and the constants of a fit."""

    x: Float[np.ndarray, "n k"]
    pairs: Pairs
    full: bool

    @classmethod
    def of(cls, pairs: Pairs, full: bool, time_dependent: bool) -> Columns:
        """State, inputs and, where the fields read it, time."""
        parts = [pairs.z0] if pairs.u0 is None else [pairs.z0, pairs.u0]
        if time_dependent:
            parts.append(pairs.t[:, None])
        return cls(np.concatenate(parts, 1), pairs, full)

    def features(self, hidden: Hidden) -> np.ndarray:
        """``[1, x, hidden(x)]`` (n, columns)."""
        return np.concatenate([np.ones((len(self.x), 1)), self.x, units(hidden, self.x)], 1)


def units(hidden: Hidden, x: np.ndarray) -> np.ndarray:
    """The hidden layer in NumPy, (n, width)."""
    length = np.asarray(hidden.length)
    s = (x @ hidden.direction.T - hidden.threshold) / length
    return 0.5 * length * (s + np.sqrt(s**2 + 4.0))


def draw(x: np.ndarray, width: int, length: float, random: np.random.Generator) -> Hidden:
    """Hinges in random directions, with thresholds spread over what the data show along each."""
    direction = random.standard_normal((width, x.shape[1]))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    shares = (np.arange(width) + random.uniform(size=width)) / width
    along = np.sort(x[random.permutation(len(x))[:4000]] @ direction.T, axis=0)
    place = (random.permutation(shares) * (len(along) - 1)).astype(int)
    return Hidden(direction, along[place, np.arange(width)], np.array(length))


def start(columns: Columns, width: int, random: np.random.Generator) -> Start:
    """The smoothest units whose evidence is not clearly worse than the best's, and both heads.

    Without any head that asks for units there are none.
    """
    seed = random.integers(2**32)
    tried = []
    for length in _LENGTHS:
        hidden = draw(columns.x, width, length, np.random.default_rng(seed))
        tried.append((hidden, *_heads(columns, hidden)))
    gains = np.array([t[-1] for t in tried])
    hidden, drift, diffusion, base, _ = tried[int(np.argmax(gains >= gains.max() - CLEARLY / 3))]
    affine = 1 + columns.x.shape[1]
    if not (drift.root[..., affine:].any() or diffusion.root[..., affine:].any()):
        hidden = Hidden(hidden.direction[:0], hidden.threshold[:0], hidden.length)
        drift, diffusion = (
            Head(h.centre[:, :affine], h.precision[:, :affine], h.root[:, :affine, :affine])
            for h in (drift, diffusion)
        )
    return Start(hidden, drift, diffusion, base)


def plain(columns: Columns) -> Start:
    """At most an affine drift, and a level diffusion: the moments of these are exact."""
    made = start(columns, 0, np.random.default_rng(0))
    noise = made.diffusion
    root = np.zeros_like(noise.root)
    root[:, 0, 0] = np.linalg.norm(noise.root[:, 0], axis=1)
    level = Head(np.zeros_like(noise.centre), np.zeros_like(noise.precision), root)
    return made._replace(diffusion=level)


def _heads(columns: Columns, hidden: Hidden) -> tuple[Head, Head, np.ndarray, float]:
    """Drift head, diffusion head, base and the evidence that units gained."""
    x, pairs, affine = columns.features(hidden), columns.pairs, 1 + columns.x.shape[1]
    slope = (pairs.z1 - pairs.z0) / pairs.gap[:, None]
    variance = np.broadcast_to(np.var(np.sqrt(pairs.gap)[:, None] * slope, axis=0), slope.shape)
    for _ in range(_ROUNDS):
        weight = pairs.gap[:, None] / variance
        drift = [regression(x, affine, *pair) for pair in zip(slope.T, weight.T, strict=True)]
        flow = x @ np.stack([r.mode for r in drift]).T
        miss = (slope - flow) * np.sqrt(pairs.gap)[:, None]
        noise, base, variance = _noise(x, affine, miss, columns.full)
    gain = sum(r.gain for r in (*drift, *noise))
    return _head(drift), _head(noise), base, gain


def _head(rows: list[Ridge]) -> Head:
    return Head(*(np.stack([getattr(r, n) for r in rows]) for n in ("mode", "precision", "root")))


def _noise(
    x: np.ndarray, affine: int, miss: np.ndarray, full: bool
) -> tuple[list[Ridge], np.ndarray, np.ndarray]:
    """Rows of a diffusion's head, its base, and the variances (n, dim) it predicts."""
    dim = miss.shape[1]
    square = miss.T @ miss / max(len(miss) - x.shape[1] / 4, 1)
    base = np.linalg.cholesky(square) if full else np.sqrt(np.diag(square))
    e = np.linalg.solve(base, miss.T).T if full else miss / base
    logs = [log_scale(x, affine, column) for column in e.T]
    scale = np.exp(np.clip(x @ np.stack([r.mode for r in logs]).T, -MOST_LOG, MOST_LOG))
    if not full:
        return logs, base, (base * scale) ** 2
    lower, mixed = [], np.zeros((len(x), dim, dim))
    mixed[:, np.arange(dim), np.arange(dim)] = scale
    for i, j in zip(*np.tril_indices(dim, -1), strict=True):
        # Where others' share of the noise is level, a column of ones times e_j is its coefficient.
        row = regression(x * (e[:, j] / scale[:, j])[:, None], affine, e[:, i], scale[:, i] ** -2.0)
        lower.append(row)
        mixed[:, i, j] = x @ row.mode
    whole = np.einsum("ij,njk->nik", base, mixed)
    return [*logs, *lower], base, np.sum(whole**2, axis=2)


def log_scale(x: np.ndarray, affine: int, e: np.ndarray) -> Ridge:
    """``g = x c`` of ``e ~ N(0, exp(2 g))``, penalised: Fisher scoring from a level scale.

    The working response ``g + (e^2 exp(-2 g) - 1) / 2`` has the variance 1/2 (McCullagh and Nelder
    1989, section 8.4), so the same regression tells what the data ask for. Of heavy tails it has
    a larger one (overdispersion, section 9.2.4): a few jumps are then no evidence of structure.
    """
    level = 0.5 * np.log(np.mean(e**2))
    found = _scored(x, affine, e, level, 2.0)
    left = e**2 * np.exp(-2 * np.clip(x @ found.mode, -MOST_LOG, MOST_LOG)) - 1
    spread = float(0.5 * np.mean(left**2))
    if spread > 1 + _SPREAD / len(e) ** 0.5:
        found = _scored(x, affine, e, level, 2.0 / spread)
    return found


def _scored(x: np.ndarray, affine: int, e: np.ndarray, level: float, weight: float) -> Ridge:
    """Fisher scoring where one working response has the variance ``1 / weight``."""
    first = level + 0.5 * (e**2 * np.exp(-2 * level) - 1)
    found = regression(x, affine, first, np.full(len(x), weight))
    covariance = found.root @ found.root.T
    mode = np.zeros(x.shape[1])
    mode[0] = level
    for _ in range(_STEPS):
        g = np.clip(x @ mode, -MOST_LOG, MOST_LOG)
        pull = weight * (x.T @ (0.5 * (e**2 * np.exp(-2 * g) - 1))) - found.precision * mode
        move = covariance @ pull
        mode = mode + move / max(1.0, np.abs(x @ move).max())
    return Ridge(mode, found.precision, found.root, found.gain)
