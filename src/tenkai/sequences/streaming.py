"""Batches of packed rows out of shards on disk, a few shards in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..data import Scaler
from ..data.shards import Shards
from ..errors import InputError
from .multistep import steps_of
from .packing import Block, Rows, Shape, best_fit, pack
from .units import Units

Prepare = Callable[[Block, np.random.Generator], Block]


def units(shards: Shards) -> Units:
    """The units of all series, those of `Units.of`, from the pass over the shards."""
    found = shards.survey
    duration = np.concatenate(found.duration)
    long = duration[duration > 0]
    span = float(np.median(long)) if len(long) else 1.0
    return Units(Scaler(found.mean, found.sd, np.zeros(shards.dim, bool)), span)


def block(shards: Shards, units: Units, shard: int) -> Block:
    """One shard as it is packed: times since each series' beginning, values standardised."""
    part = shards.ragged(shard)
    begun = np.repeat(part.t[part.ptr[:-1]], np.diff(part.ptr))
    return Block(part.ptr, (part.t - begun) / units.span, units.state.forward(part.x))


class Batches:
    """``batches(step)`` is the step's `Rows`: the data of `tenkai.fit`, which resumes exactly.

    An epoch has every series once, in an order of its own: shards are shuffled, `together` of them
    are read at once, packed, and their rows shuffled. Row ``i`` of batch ``k`` is the row
    ``k rows + i`` of the endless sequence of epochs, a function of the seed alone. In memory are
    the rows of `together` shards, and one shard as it is read. `index` counts the series through
    all shards. ``prepare(block, rng)`` may hide observations (`seen`, `asked`) of a shard before
    it is packed, anew in every epoch; it must leave the times as they are. Shards in `skip` are
    left out.

    >>> import numpy as np, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> t, x = np.array([0.0, 1.0, 0.0, 0.5, 2.0]), np.arange(5.0)[:, None]
    >>> np.savez(folder / "a.npz", ptr=np.array([0, 2, 5]), t=t, x=x)
    >>> shards = Shards(folder)
    >>> stream = Batches(shards, units(shards), longest=0.1, rows=8)
    >>> stream(0).t.shape, stream.filled
    ((8, 3), 0.8333333333333334)
    """

    def __init__(
        self,
        shards: Shards,
        units: Units,
        longest: float,
        rows: int,
        *,
        seed: int = 0,
        shape: Shape | None = None,
        together: int = 4,
        prepare: Prepare | None = None,
        skip: tuple[int, ...] = (),
    ):
        for name, value in (("rows", rows), ("together", together)):
            if value < 1:
                raise InputError(name, expected="at least 1", got=str(value), do="take more")
        self.shards, self.units, self.longest, self.rows = shards, units, longest, rows
        self._seed, self._together, self._prepare = seed, min(together, len(shards)), prepare
        found = shards.survey
        steps = [steps_of(d / units.span, longest) for d in found.duration]
        self.shape = shape or Shape.of(np.concatenate(found.slots), np.concatenate(steps))
        counts = [
            int(best_fit(n, k, self.shape)[1][-1]) + 1 if len(n) else 0
            for n, k in zip(found.slots, steps, strict=True)
        ]
        self._counts = np.where(np.isin(np.arange(len(counts)), skip), 0, counts)
        self._first = np.cumsum([0, *(len(n) for n in found.slots)])
        self._held: tuple[tuple[int, int], Rows] | None = None
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def epoch_rows(self) -> int:
        """Rows in which every series stands once."""
        return int(self._counts.sum())

    @property
    def filled(self) -> float:
        """The share of an epoch's slots that hold a time of a series."""
        used = zip(self._counts, self.shards.survey.slots, strict=True)
        times = sum(int(n.sum()) for count, n in used if count)
        return times / (self.epoch_rows * self.shape.slots)

    def __call__(self, step: int) -> Rows:
        """Rows of one shape, (rows, ...) each."""
        parts, at, wanted = [], step * self.rows, self.rows
        while wanted:
            epoch, inside = divmod(at, self.epoch_rows)
            group, offset = self._group(epoch, inside)
            here = self._read(epoch, group)
            take = min(wanted, len(here.owner) - offset)
            parts.append(jax.tree.map(lambda a, o=offset, n=take: a[o : o + n], here))
            at, wanted = at + take, wanted - take
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _shuffled(self, epoch: int) -> np.ndarray:
        """The shards in the order of that epoch."""
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng((self._seed, epoch))
            self._order = epoch, rng.permutation(len(self._counts))
        return self._order[1]

    def _group(self, epoch: int, inside: int) -> tuple[int, int]:
        """Which group of an epoch has its row `inside`, and where."""
        counts = self._counts[self._shuffled(epoch)]
        ends = np.cumsum(np.add.reduceat(counts, np.arange(0, len(counts), self._together)))
        group = int(np.searchsorted(ends, inside, side="right"))
        return group, inside - (int(ends[group - 1]) if group else 0)

    def _read(self, epoch: int, group: int) -> Rows:
        """The shuffled rows of a group of shards; only the latest group is held."""
        if self._held is None or self._held[0] != (epoch, group):
            self._held = None
            first = group * self._together
            chosen = self._shuffled(epoch)[first : first + self._together]
            rows = _joined([self._packed(epoch, int(s)) for s in chosen if self._counts[s]])
            order = np.random.default_rng((self._seed, epoch, group)).permutation(len(rows.owner))
            self._held = (epoch, group), jax.tree.map(lambda a: a[order], rows)
        return self._held[1]

    def _packed(self, epoch: int, shard: int) -> Rows:
        """One shard's rows; who shares a row differs from epoch to epoch."""
        rng = np.random.default_rng((self._seed, epoch, shard, 1))
        found = block(self.shards, self.units, shard)
        order = rng.permutation(len(found.slots))
        if self._prepare is not None:
            found = self._prepare(found, rng)
        rows = pack(found, self.longest, self.shape, order)
        index = np.where(rows.index >= 0, rows.index + self._first[shard], -1)
        return rows._replace(index=index.astype(np.int32))


def batches(shards: Shards, units: Units, longest: float, rows: int, **options: Any) -> Batches:
    """`Batches` of `rows` rows in solver steps of at most `longest` (in units of the span)."""
    return Batches(shards, units, longest, rows, **options)


def _joined(parts: list[Rows]) -> Rows:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
