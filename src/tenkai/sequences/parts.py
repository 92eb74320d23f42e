"""Parts of series: encode some of the observations, explain the rest.

A model that only ever explains what its encoder has seen need not continue. Here each copy of a
series begins at a random observation, the encoder sees a random share of a stretch from there, and
all else is to be explained too: the encoder learns every phase, and the field to go on from it. Of
a hundred observations some tell nearly as much as all, and the encoder learns from few first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .packing import Spell

_FEWEST = 3  # observed times that an encoder sees
_SHARE = 1 / 3  # of the observed times, at least
_KEPT = 0.2  # of the times of a stretch, that an encoder sees at least
_BEGINS, _GAPS = 0.6, 0.2  # of a held-out series: what is seen of its duration; hidden within


def parts(spells: Sequence[Spell], rng: np.random.Generator) -> list[Spell]:
    """One random part of every series that has enough observed times."""
    return [made for s in spells if (made := _part(s, rng)) is not None]


def _part(spell: Spell, rng: np.random.Generator) -> Spell | None:
    observed = np.flatnonzero(~np.isnan(spell.x).all(axis=1))
    n = len(observed)
    if n <= _FEWEST:
        return None
    length = int(rng.integers(max(_FEWEST, int(_SHARE * n)), n))
    first = int(rng.integers(0, n - length + 1))
    begin, last = observed[first], observed[first + length - 1]
    t, x = spell.t[begin:], spell.x[begin:]
    seen = np.zeros(x.shape, bool)
    seen[: last - begin + 1] = True
    seen[rng.uniform(size=len(t)) >= rng.uniform(_KEPT, 1.0)] = False
    seen[0] = True
    return Spell(t - t[0], x, seen=seen)


def hidden_end(spell: Spell, rng: np.random.Generator) -> Spell:
    """A series whose end is hidden, and some of its observations before: these are asked for."""
    seen = seen_before_end(spell.t, spell.x, rng)
    return Spell(spell.t, spell.x, seen=seen, asked=~seen)


def seen_before_end(t: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What is given of a held-out series (times, dim), bool; at least its first observed time."""
    times = np.flatnonzero(~np.isnan(x).all(axis=1))
    begun, ended = t[times[0]], t[times[-1]]
    early = t <= begun + _BEGINS * (ended - begun)
    kept = early & (rng.uniform(size=len(t)) >= _GAPS)
    kept[times[0]] = True
    return np.broadcast_to(kept[:, None], x.shape).copy()
