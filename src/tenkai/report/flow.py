"""The flow of a two-dimensional vector field as short curves with arrow heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_STEPS = 8


@dataclass(frozen=True, eq=False)
class Plane:
    """A rectangle of two state variables with the field's slopes `dx`, `dy` on a regular grid."""

    names: tuple[str, str]
    x: np.ndarray
    y: np.ndarray
    dx: np.ndarray
    dy: np.ndarray

    def streamlets(self, length: float = 0.6) -> list[np.ndarray]:
        """One curve (points, 2) per grid node, following the field for `length` cells and headed.

        Curves have equal length whatever the speed: they show the direction, and a slow region is
        as readable as a fast one. Positions are followed in units of grid cells, so that the two
        axes count the same.
        """
        flow = self._directions()
        nodes = np.indices(self.dx.shape[::-1]).reshape(2, -1).T.astype(float)
        place = nodes.copy()
        trail = [place]
        for _ in range(_STEPS):
            half = place + 0.5 * length / _STEPS * _bilinear(flow, place)
            place = place + length / _STEPS * _bilinear(flow, half)
            trail.append(place)
        curves = np.stack(trail, axis=1) - 0.5 * (place - nodes)[:, None]
        lines = np.concatenate([curves, _heads(curves, 0.32 * length)], axis=1)
        moving = np.isfinite(lines).all((1, 2)) & (np.ptp(lines, axis=1).max(1) > 0.1 * length)
        cell = np.array([self.x[1] - self.x[0], self.y[1] - self.y[0]])
        origin = np.array([self.x[0], self.y[0]])
        return list(origin + lines[moving] * cell)

    def _directions(self) -> np.ndarray:
        """Unit vectors (rows, columns, 2) in units of grid cells."""
        cells = np.stack([self.dx / np.diff(self.x)[0], self.dy / np.diff(self.y)[0]], axis=-1)
        speed = np.linalg.norm(cells, axis=-1, keepdims=True)
        return np.divide(cells, speed, out=np.zeros_like(cells), where=speed > 0)


def _heads(curves: np.ndarray, size: float) -> np.ndarray:
    """The strokes of an arrow head at each curve's end: (curves, 3, 2), drawn in one line."""
    tip = curves[:, -1]
    back = curves[:, -2] - tip
    norm = np.linalg.norm(back, axis=-1, keepdims=True)
    back = size * np.divide(back, norm, out=np.zeros_like(back), where=norm > 0)
    side = 0.45 * back[:, ::-1] * np.array([-1.0, 1.0])
    return np.stack([tip + back + side, tip, tip + back - side], axis=1)


def _bilinear(grid: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Values of a grid (rows, columns, 2) at places (n, 2) given as (column, row)."""
    rows, columns = grid.shape[:2]
    j = np.clip(np.floor(place[:, 0]), 0, columns - 2).astype(int)
    i = np.clip(np.floor(place[:, 1]), 0, rows - 2).astype(int)
    a, b = (place[:, 0] - j)[:, None], (place[:, 1] - i)[:, None]
    low = (1 - a) * grid[i, j] + a * grid[i, j + 1]
    high = (1 - a) * grid[i + 1, j] + a * grid[i + 1, j + 1]
    return (1 - b) * low + b * high


def plane(
    derivative: Callable[[np.ndarray], np.ndarray],
    points: np.ndarray,
    pair: tuple[int, int],
    names: tuple[str, ...],
    cells: int = 17,
) -> Plane:
    """The field over the range of the observed points (n, dim) in two of the variables.

    The other variables stay at their medians.
    """
    centre = np.nanmedian(points, axis=0)
    x, y = (axis(points[:, i], cells) for i in pair)
    states = np.tile(centre, (cells * cells, 1))
    states[:, pair[0]] = np.tile(x, cells)
    states[:, pair[1]] = np.repeat(y, cells)
    slopes = np.asarray(derivative(states))[:, list(pair)].reshape(cells, cells, 2)
    return Plane((names[pair[0]], names[pair[1]]), x, y, slopes[..., 0], slopes[..., 1])


def axis(values: np.ndarray, cells: int) -> np.ndarray:
    """A grid that covers the values with a margin, on the values' side of zero."""
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.08 * (high - low) or 1.0
    start = low - margin
    if low > 0 >= start:
        start = 0.5 * low
    return np.linspace(start, high + margin, cells)
