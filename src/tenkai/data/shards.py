"""Series in more files than memory holds: Parquet row groups or npz shards, read one at a time."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .clock import Clock
from .shard_files import NpzFile, ParquetFile, Ragged, naming
from .trajectories import Series, Trajectories

_PARQUET, _NPZ = (".parquet", ".pq"), (".npz",)


class Survey(NamedTuple):
    """What one pass over all shards finds; lengths per shard, in the order of its series."""

    slots: tuple[np.ndarray, ...]  # times of each series
    duration: tuple[np.ndarray, ...]  # last time less the first, in the clock's units
    mean: np.ndarray  # (dim,) of what was observed
    sd: np.ndarray  # (dim,)
    notes: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of series."""
        return sum(len(part) for part in self.slots)


class Shards:
    """Series that lie in a folder of Parquet or npz files, of which few are in memory at once.

    Parquet: a row per time with columns `time` and `series` (both as in `read_trajectories`) and
    the variables, `targets` or every other column of numbers. One row group is one shard. Rows of
    a series stand together; a series may run on into the next row group, not into another file.

    npz: arrays ``t`` (rows,), ``x`` (rows, dim), NaN where nothing was observed, and ``ptr``
    (series + 1,): series i has the rows ``ptr[i] : ptr[i + 1]``, its times increasing. Besides,
    where wanted, ``id`` (series,) and ``names`` (dim,). One file is one shard, without pickles.

    Series without an observation are left out with a note. A shard should be small enough that
    four of them fit in memory. `InputError`, always with the file's name, for a path without
    shards, missing columns or arrays, other variables than in the first file, a truncated file,
    and, when all of them are first read, a series that stands in two places.

    >>> import numpy as np, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> t, x = np.array([0.0, 1.0, 0.0, 0.5, 2.0]), np.ones((5, 1))
    >>> np.savez(folder / "a.npz", ptr=np.array([0, 2, 5]), t=t, x=x)
    >>> shards = Shards(folder)
    >>> len(shards), shards.names, len(shards.read(0))
    (1, ('x0',), 2)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        time: str | None = None,
        series: str | None = None,
        targets: str | Sequence[str] | None = None,
    ):
        wanted = (targets,) if isinstance(targets, str) else targets
        wanted = None if wanted is None else tuple(wanted)
        files = [self._open(p, time, series, wanted) for p in _files(path)]
        with naming(files[0].path):
            first, clock = files[0].begin()
        self.names: tuple[str, ...] = first
        self.clock: Clock = clock
        self.time_name = time or files[0].time_name
        self._files = files

    @staticmethod
    def _open(
        path: Path, time: str | None, series: str | None, targets: tuple[str, ...] | None
    ) -> ParquetFile | NpzFile:
        if path.suffix.lower() in _NPZ:
            return NpzFile(path, targets)
        if series is None:
            raise InputError(
                "series", expected="the column that tells the series of a table apart",
                got="nothing", do="name it with series=",
            )  # fmt: skip
        return ParquetFile(path, time, series, targets)

    @property
    def dim(self) -> int:
        """Number of variables."""
        return len(self.names)

    @functools.cached_property
    def _places(self) -> list[tuple[ParquetFile | NpzFile, int]]:
        found = []
        for file in self._files:
            with naming(file.path):
                found += [(file, k) for k in range(file.parts)]
        return found

    def __len__(self) -> int:
        """Number of shards."""
        return len(self._places)

    def file(self, shard: int) -> Path:
        """Where a shard lies."""
        return self._places[shard][0].path

    def ragged(self, shard: int) -> Ragged:
        """One shard's series behind one another, without those in which nothing was observed."""
        file, part = self._places[shard]
        with naming(file.path):
            return file.read(part, self.names, self.clock)

    def read(self, shard: int) -> Trajectories:
        """One shard as `Trajectories`."""
        found = self.ragged(shard)
        cuts = zip(found.ids, found.ptr[:-1], found.ptr[1:], strict=True)
        series = tuple(Series(i, found.t[a:b], found.x[a:b]) for i, a, b in cuts)
        return Trajectories(series, self.names, time_name=self.time_name, clock=self.clock)

    def __iter__(self) -> Iterator[Trajectories]:
        return (self.read(shard) for shard in range(len(self)))

    @functools.cached_property
    def survey(self) -> Survey:
        """Lengths and scales of all series, from one pass; 12 bytes a series are kept.

        Raises `InputError` for a series that stands in two shards.
        """
        moments, slots, duration, codes = _Moments(self.dim), [], [], []
        dropped = 0
        for shard in range(len(self)):
            part = self.ragged(shard)
            moments.add(part.x)
            slots.append(np.diff(part.ptr).astype(np.int32))
            duration.append(part.t[part.ptr[1:] - 1] - part.t[part.ptr[:-1]])
            codes.append(part.codes)
            dropped += part.dropped
        self._check_apart(codes)
        if not sum(map(len, slots)):
            raise InputError(
                f"shards {str(self.file(0).parent)!r}", expected="series with observations",
                got="none", do="check the columns",
            )  # fmt: skip
        notes = (f"{dropped} series without observations left out",) if dropped else ()
        return Survey(tuple(slots), tuple(duration), moments.mean, moments.sd, notes)

    def _check_apart(self, codes: list[np.ndarray]) -> None:
        """A name (hashed to 64 bits) of one series must not come again in another shard."""
        every = np.concatenate(codes)
        order = np.argsort(every, kind="stable")
        again = np.flatnonzero(np.diff(every[order]) == 0)
        if not again.size:
            return
        ends = np.cumsum([len(c) for c in codes])
        a, b = np.searchsorted(ends, order[again[0] : again[0] + 2], side="right")
        place = int(order[again[0] + 1] - (ends[b] - len(codes[b])))
        name, both = self.ragged(int(b)).ids[place], (self.file(int(a)), self.file(int(b)))
        where = f"{str(both[1])!r} and in {str(both[0])!r}" if a != b else f"{str(both[0])!r}"
        raise InputError(
            f"series {name!r}", expected="all its rows together, in one file",
            got=f"rows apart, in {where}", do="write the table sorted by series",
        )  # fmt: skip


class _Moments:
    """Mean and spread of columns, shard by shard (Chan, Golub and LeVeque 1979)."""

    def __init__(self, dim: int):
        self.count, self.mean, self._squares = np.zeros(dim), np.zeros(dim), np.zeros(dim)

    def add(self, x: np.ndarray) -> None:
        seen = ~np.isnan(x)
        count = seen.sum(axis=0)
        mean = np.where(seen, x, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(seen, x - mean, 0.0) ** 2).sum(axis=0)
        total = np.maximum(self.count + count, 1)
        self._squares += squares + (mean - self.mean) ** 2 * self.count * count / total
        self.mean = self.mean + (mean - self.mean) * count / total
        self.count += count

    @property
    def sd(self) -> np.ndarray:
        spread = np.sqrt(self._squares / np.maximum(self.count, 1))
        return np.where(spread <= 1e-12 * np.abs(self.mean), 1.0, spread)


def _files(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """All of one kind, by name."""
    if not isinstance(path, str | os.PathLike):
        found = [Path(p) for p in path]
    elif Path(path).is_dir():
        kinds = (*_PARQUET, *_NPZ)
        found = sorted(p for p in Path(path).iterdir() if p.suffix.lower() in kinds)
    else:
        found = [Path(path)]
    shown = str(path) if isinstance(path, str | os.PathLike) else "the list"
    if not found:
        raise InputError(
            f"shards {shown!r}", expected="files .parquet or .npz", got="none of them",
            do="check the path",
        )  # fmt: skip
    for p in found:
        if not p.is_file():
            raise InputError(
                f"file {str(p)!r}", expected="a file", got="nothing at that path",
                do="check the path",
            )  # fmt: skip
    if len({p.suffix.lower() in _NPZ for p in found}) > 1:
        raise InputError(
            f"shards {shown!r}", expected="files of one kind", got="both .parquet and .npz",
            do="keep them in folders of their own",
        )  # fmt: skip
    return found
