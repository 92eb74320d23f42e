"""Limit cycles: where the flow settles on one, found by following it and closed by Newton.

A path that comes back again and again to where it was is only a suspect: a slow spiral does so
too, and a chaotic path now and then. What decides is the closed orbit itself, solved for together
with its period, and its Floquet multipliers (Guckenheimer and Holmes 1983, 1.5; Parker and Chua
1989, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .flow import STEPS, Flow
from .region import Region

_ROUNDS = 10  # of STEPS steps each, until a path is given up
_REST = 1e-2  # range (in standard deviations of the data) below which a path is at rest
_NEAR, _RETURNS = 0.02, 3  # a suspect comes back to within a share of its range, this often
_CLOSED = 1e-9
_NEUTRAL = 1e-4  # a multiplier this close to one belongs to a family of closed orbits


@dataclass(frozen=True, eq=False)
class Walk:
    """A followed path: a state on it (dim,), how it went on, and its period where it returns.

    `fate` is "moving", "at rest", "left" (the searched region), "returning" or, where it returns
    but no closed orbit is there, "spiralling".
    """

    state: np.ndarray
    fate: str = "moving"
    period: float = 0.0
    size: float = 0.0


@dataclass(frozen=True, eq=False)
class Closed:
    """A closed orbit (STEPS + 1, dim) in standardised states, period in scaled time."""

    orbit: np.ndarray
    period: float
    multipliers: np.ndarray

    @property
    def neutral(self) -> bool:
        """Whether closed orbits lie next to it, as around a centre."""
        return bool((np.abs(np.abs(self.multipliers) - 1) < _NEUTRAL).any())

    @property
    def growth(self) -> float:
        """The factor of one turn in the direction that grows most (or shrinks least)."""
        return float(np.abs(self.multipliers).max(initial=0.0))


def follow(flow: Flow, region: Region, starts: np.ndarray, h: np.ndarray) -> list[Walk]:
    """The fates of paths of the mean field from `starts` (n, dim) by steps of `h` (n,)."""
    walks = [Walk(z) for z in starts]
    trails: list[list[np.ndarray]] = [[] for _ in starts]
    for _ in range(_ROUNDS):
        open_ = [i for i, w in enumerate(walks) if w.fate == "moving"]
        if not open_:
            break
        runs = flow.run(np.stack([walks[i].state for i in open_]), h[open_], flow.mean)
        for i, path in zip(open_, runs.path, strict=True):
            trails[i].append(path[1:])
            walks[i] = _judged(trails[i], abs(float(h[i])), region)
    return walks


def _judged(trail: list[np.ndarray], h: float, region: Region) -> Walk:
    last = trail[-1]
    if not (np.isfinite(last).all() and region.searched(last, margin=1.0).all()):
        return Walk(last[-1], "left")
    if np.ptp(last[len(last) // 2 :], axis=0).max() < _REST:
        return Walk(last[-1], "at rest")
    path = np.concatenate(trail[len(trail) // 2 :])  # the first half is how it got there
    return _returning(path, h) or Walk(last[-1])


def _returning(path: np.ndarray, h: float) -> Walk | None:
    """Whether the last returns to a plane across the flow are evenly spaced and at one place."""
    forward = path[-1] - path[-2]
    above = (path - path[-1]) @ forward
    k = np.flatnonzero((above[:-2] < 0) & (above[1:-1] >= 0))
    share = -above[k] / (above[k + 1] - above[k])
    where = path[k] + share[:, None] * (path[k + 1] - path[k])
    away, times = np.abs(where - path[-1]).max(1), k + share
    size = np.ptp(path, axis=0).max()
    for _ in range(2):  # then once more by the size of one turn: a spiral's turns get smaller
        gaps = np.diff(np.append(times[away < _NEAR * size], len(path) - 1.0))[-_RETURNS:]
        if len(gaps) < _RETURNS or np.ptp(gaps) > 2 * _NEAR * gaps.mean():
            return None
        size = np.ptp(path[-1 - round(gaps[-1]) :], axis=0).max()
    return Walk(path[-1], "returning", float(h * gaps[-1]), float(size))


def close(
    flow: Flow, guesses: np.ndarray, periods: np.ndarray, weights: np.ndarray, size: np.ndarray
) -> list[Closed | None]:
    """Closed orbits of the flows with `weights` (n, members) near states (n, dim) and periods.

    ``[M - 1, f; v^T, 0] (dz, dT) = (z - Phi_T(z), 0)``, M the Jacobian of the flow over one period
    and v the direction of the flow at the guess. None where there is no closed orbit of about the
    guess's `size` (n,), a single point (an equilibrium closes too) or nothing finite.
    """
    z, period = guesses.copy(), periods.copy()
    across: np.ndarray | None = None
    for _ in range(15):
        runs = flow.run(z, period / STEPS, weights)
        gap = runs.path[:, -1] - z
        across = runs.path[:, 1] - z if across is None else across
        done = np.abs(gap).max(1) < _CLOSED * size
        going = ~done & np.isfinite(gap).all(1) & np.isfinite(runs.jacobian).all((1, 2))
        going &= np.abs(z - guesses).max(1) < 2 * size  # what wanders off is another orbit
        if not going.any():
            break
        for i in np.flatnonzero(going):
            dz, dt = _correction(runs.jacobian[i], runs.slope[i], across[i], gap[i])
            short = min(1.0, 0.3 * size[i] / (np.abs(dz).max() + 1e-300))
            z[i] = z[i] + short * dz
            period[i] = period[i] + np.clip(short * dt, -0.3 * period[i], 0.3 * period[i])
    return [
        _orbit(p, t, j, s) if ok else None
        for p, t, j, s, ok in zip(runs.path, period, runs.jacobian, size, done, strict=True)
    ]


def _correction(
    jacobian: np.ndarray, slope: np.ndarray, across: np.ndarray, gap: np.ndarray
) -> tuple[np.ndarray, float]:
    dim = len(gap)
    system = np.zeros((dim + 1, dim + 1))
    system[:dim, :dim] = jacobian - np.eye(dim)
    system[:dim, dim], system[dim, :dim] = slope, across / np.linalg.norm(across)
    step = np.linalg.lstsq(system, np.append(-gap, 0.0), rcond=1e-12)[0]
    return step[:dim], float(step[dim])


def _orbit(path: np.ndarray, period: float, jacobian: np.ndarray, size: float) -> Closed | None:
    if not (period > 0 and np.isfinite(path).all() and np.ptp(path, axis=0).max() > 0.3 * size):
        return None
    values = np.linalg.eigvals(jacobian).astype(complex)
    trivial = np.argmin(np.abs(values - 1))
    others = np.delete(values, trivial)
    return Closed(path, float(period), others[np.argsort(-np.abs(others))])


def find_cycles(
    flow: Flow, region: Region, starts: np.ndarray, h: np.ndarray
) -> tuple[list[tuple[Closed, list[Closed]]], list[Walk]]:
    """Closed orbits that paths settle on, each with those of the members that have it too.

    Orbits that belong to a family are left in: their multipliers say so. A path that returned but
    settles on no closed orbit is "spiralling".
    """
    walks = follow(flow, region, starts, h)
    back = [i for i, w in enumerate(walks) if w.fate == "returning"]
    found: list[tuple[Closed, list[Closed]]] = []
    if not back:
        return found, walks
    guesses = np.stack([walks[i].state for i in back])
    periods, sizes = (np.array([getattr(walks[i], k) for i in back]) for k in ("period", "size"))
    weights = np.broadcast_to(flow.mean, (len(back), len(flow)))
    for i, closed in zip(back, close(flow, guesses, periods, weights, sizes), strict=True):
        if closed is None or not _settled(closed, h[i], sizes[back.index(i)], walks[i].state):
            walks[i] = replace(walks[i], fate="spiralling")
        elif not any(_same(closed, other) for other, _ in found):
            found.append((closed, _of_members(flow, closed)))
    return found, walks


def _settled(closed: Closed, h: float, size: float, state: np.ndarray) -> bool:
    """The orbit is where the path is, and attracts it (backwards in time: repels it)."""
    near = np.abs(closed.orbit - state).max(1).min() < 0.3 * size
    shrinks = np.abs(closed.multipliers)
    attracts = (shrinks < 1 + _NEUTRAL).all() if h > 0 else (shrinks > 1 - _NEUTRAL).all()
    return bool(near and attracts)


def _same(a: Closed, b: Closed) -> bool:
    apart = np.abs(a.orbit[0] - b.orbit).max(1).min()
    size = np.ptp(a.orbit, axis=0).max()
    return abs(a.period - b.period) < 1e-2 * a.period and apart < 2e-2 * size


def _of_members(flow: Flow, closed: Closed) -> list[Closed]:
    """The closed orbits of the members next to that of the mean field."""
    weights = np.stack([flow.member(m) for m in flow.trusted])
    count = len(weights)
    guesses = np.tile(closed.orbit[0], (count, 1))
    size = np.full(count, np.ptp(closed.orbit, axis=0).max())
    theirs = close(flow, guesses, np.full(count, closed.period), weights, size)
    return [c for c in theirs if c is not None and 0.5 < c.period / closed.period < 2]
