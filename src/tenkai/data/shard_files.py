"""Files of many series, part by part: Parquet by row groups, npz as a whole."""

from __future__ import annotations

import contextlib
import functools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from ..errors import InputError
from .assemble import check_finite
from .clock import Clock
from .frames import from_frame
from .readers import available_memory

_SHARE = 4  # of the free memory one shard may take a quarter


class Ragged(NamedTuple):
    """Series behind one another: series i has the rows ``ptr[i] : ptr[i + 1]``."""

    ids: tuple[str, ...]
    ptr: np.ndarray  # (series + 1,)
    t: np.ndarray  # (rows,) float64
    x: np.ndarray  # (rows, dim) float64, NaN = not observed
    named: bool = True  # False where the ids only count
    dropped: int = 0

    @property
    def codes(self) -> np.ndarray:
        """64 bits per name, none where the file has no names."""
        from pandas.util import hash_array

        if not self.named:
            return np.zeros(0, np.uint64)
        names = np.array(self.ids, dtype=object)
        return cast("Any", hash_array)(names, categorize=False)

    def observed(self) -> Ragged:
        """Without the series in which nothing was observed."""
        rows = ~np.isnan(self.x).all(axis=1)
        some = np.add.reduceat(np.append(rows, False), self.ptr[:-1]) > 0
        keep = some & (np.diff(self.ptr) > 0)
        if keep.all():
            return self
        lengths = np.diff(self.ptr)
        kept = np.repeat(keep, lengths)
        ids = tuple(i for i, k in zip(self.ids, keep, strict=True) if k)
        ptr = np.concatenate([[0], np.cumsum(lengths[keep])])
        return Ragged(ids, ptr, self.t[kept], self.x[kept], self.named, int((~keep).sum()))


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Every `InputError` inside names the file, and what a library raises becomes one."""
    try:
        yield
    except InputError as error:
        raise InputError(
            f"file {str(path)!r}, {error.what}", expected=error.expected, got=error.got,
            do=error.do,
        ) from None  # fmt: skip
    except Exception as error:  # NumPy, zlib and pyarrow have no common root but Exception
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(
            f"file {str(path)!r}", expected="a whole file that can be read", got=reason,
            do="write it again",
        ) from error  # fmt: skip


class ParquetFile:
    """Row groups of one file; a part is what begins in a row group."""

    def __init__(self, path: Path, time: str | None, series: str, targets: tuple | None):
        self.path, self._time, self._series, self._targets = path, time, series, targets

    @property
    def time_name(self) -> str:
        return self._begin[2]

    def begin(self) -> tuple[tuple[str, ...], Clock]:
        """Variables and clock, of the first row group."""
        return self._begin[:2]

    @functools.cached_property
    def _begin(self) -> tuple[tuple[str, ...], Clock, str]:
        found = self._frame(self._rows(0), self._targets)
        return found.names, found.clock, found.time_name

    @functools.cached_property
    def _metadata(self) -> Any:
        import pyarrow.parquet as pq

        return pq.read_metadata(self.path)

    @property
    def parts(self) -> int:
        return len(self._spans)

    @functools.cached_property
    def _spans(self) -> list[tuple[int, int, int, int]]:
        """Per part: first row group, rows to skip there, last row group, rows to take there."""
        skip, last, counts = [], None, []
        for group in range(self._metadata.num_row_groups):
            names = self._rows(group, [self._series]).column(0).to_pandas().to_numpy(dtype=object)
            other = np.flatnonzero(names != last) if len(names) else np.zeros(0, int)
            skip.append(int(other[0]) if other.size else len(names))
            counts.append(len(names))
            last = names[-1] if len(names) else last
        spans = []
        for group, count in enumerate(counts):
            if skip[group] == count:  # nothing begins here
                continue
            end = group
            while end + 1 < len(counts) and skip[end + 1]:
                end += 1
                if skip[end] < counts[end]:
                    break
            spans.append((group, skip[group], end, skip[end] if end > group else count))
        return spans

    def _rows(self, group: int, columns: list[str] | None = None) -> Any:
        import pyarrow.parquet as pq

        if not self._metadata.num_row_groups:
            raise InputError("rows", expected="some", got="none", do="remove the file")
        self._check_columns()
        with pq.ParquetFile(self.path) as file:
            return file.read_row_group(group, columns=columns, use_threads=False)

    def _check_columns(self) -> None:
        columns = self._metadata.schema.to_arrow_schema().names
        for name in (self._series, self._time, *(self._targets or ())):
            if name is not None and name not in columns:
                shown = ", ".join(map(repr, columns[:12]))
                raise InputError(
                    f"column {name!r}", expected=f"one of the columns {shown}",
                    got="no such column", do="write the same columns in every file",
                )  # fmt: skip

    def _frame(self, table: Any, targets: tuple[str, ...] | None) -> Any:
        return from_frame(
            table.to_pandas(), time=self._time, series=self._series, targets=targets, learn=False
        )

    def read(self, part: int, names: tuple[str, ...], clock: Clock) -> Ragged:
        """The series that begin in a row group, of these variables on this clock."""
        import pyarrow as pa

        first, skip, last, take = self._spans[part]
        wanted = None if self._time is None else [self._series, self._time, *names]
        tables = [self._rows(group, wanted) for group in range(first, last + 1)]
        if last > first:
            tables[-1] = tables[-1].slice(0, take)
        tables[0] = tables[0].slice(skip)
        found = self._frame(pa.concat_tables(tables), names)
        if found.clock != clock:
            raise InputError(
                f"column {found.time_name!r}", expected=f"times as {clock.kind}s",
                got=f"{found.clock.kind}s", do="write the same kind in every file",
            )  # fmt: skip
        ptr = np.concatenate([[0], np.cumsum([len(s) for s in found])])
        t, x = np.concatenate([s.t for s in found]), np.concatenate([s.x for s in found])
        return Ragged(tuple(s.id for s in found), ptr, t, x).observed()


class NpzFile:
    """One file of arrays, one part."""

    parts = 1
    time_name = "time"

    def __init__(self, path: Path, targets: tuple[str, ...] | None):
        self.path, self._targets = path, targets

    def begin(self) -> tuple[tuple[str, ...], Clock]:
        """Variables and clock."""
        names = self._names(self._arrays())
        return self._targets or names, Clock()

    def _arrays(self) -> dict[str, np.ndarray]:
        with zipfile.ZipFile(self.path) as file:
            size, free = sum(i.file_size for i in file.infolist()), available_memory()
        if free is not None and size * _SHARE > free:
            raise InputError(
                "arrays", expected=f"at most {free / _SHARE / 1e6:.0f} MB, a quarter of the memory",
                got=f"{size / 1e6:.0f} MB", do="write smaller shards",
            )  # fmt: skip
        with np.load(self.path, allow_pickle=False) as file:
            for name in ("ptr", "t", "x"):
                if name not in file.files:
                    raise InputError(
                        f"array {name!r}", expected="one of that name",
                        got=", ".join(map(repr, file.files[:12])) or "no arrays",
                        do="write ptr, t and x",
                    )  # fmt: skip
            kept = ("ptr", "t", "x", "id", "names")
            return {name: file[name] for name in kept if name in file.files}

    def _names(self, arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
        x = arrays["x"]
        if x.ndim != 2 or x.dtype.kind not in "iufb":
            raise InputError(
                "array 'x'", expected="numbers (rows, dim)", got=f"{x.dtype} of shape {x.shape}",
                do="write a row per time",
            )  # fmt: skip
        names = arrays.get("names")
        found = (
            tuple(f"x{j}" for j in range(x.shape[1])) if names is None else tuple(map(str, names))
        )
        if len(found) != x.shape[1] or len(set(found)) < len(found):
            raise InputError(
                "array 'names'", expected=f"{x.shape[1]} different names, one per column of x",
                got=", ".join(map(repr, found[:12])), do="mend it",
            )  # fmt: skip
        return found

    def read(self, part: int, names: tuple[str, ...], clock: Clock) -> Ragged:
        """All of it."""
        arrays = self._arrays()
        here = self._names(arrays)
        for name in names:
            if name not in here:
                raise InputError(
                    f"variable {name!r}", expected="the variables of the first file",
                    got=", ".join(map(repr, here[:12])), do="write the same in every file",
                )  # fmt: skip
        x = arrays["x"][:, [here.index(n) for n in names]].astype(np.float64)
        t, ptr = arrays["t"], arrays["ptr"]
        _check_series(t, ptr, len(x))
        check_finite(x, names, lambda row: f"row {row} (the first is 0)")
        count = len(ptr) - 1
        ids = arrays.get("id")
        if ids is not None and ids.shape != (count,):
            raise InputError(
                "array 'id'", expected=f"{count}, one per series", got=f"shape {ids.shape}",
                do="mend it",
            )  # fmt: skip
        counted = range(count) if ids is None else ids
        shown = tuple(f"{self.path.stem}:{i}" if ids is None else str(i) for i in counted)
        ragged = Ragged(shown, ptr.astype(int), t.astype(np.float64), x, ids is not None)
        return ragged.observed()


def _check_series(t: np.ndarray, ptr: np.ndarray, rows: int) -> None:
    whole = ptr.ndim == 1 and len(ptr) > 1 and ptr.dtype.kind in "iu"
    if not whole or ptr[0] != 0 or ptr[-1] != rows or (np.diff(ptr.astype(int)) < 0).any():
        raise InputError(
            "array 'ptr'", expected=f"integers that rise from 0 to {rows}, the rows of x",
            got=f"{ptr.dtype} of shape {ptr.shape}" + (f", {ptr[0]} to {ptr[-1]}" if whole else ""),
            do="write where each series begins, and the number of rows",
        )  # fmt: skip
    if t.shape != (rows,) or t.dtype.kind not in "iuf" or not np.isfinite(t).all():
        raise InputError(
            "array 't'", expected=f"{rows} finite numbers, one per row of x",
            got=f"{t.dtype} of shape {t.shape}", do="mend it",
        )  # fmt: skip
    back = np.diff(t.astype(np.float64)) <= 0
    inside = np.ones(max(rows - 1, 0), bool)
    borders = ptr[1:-1].astype(int)
    inside[borders[(borders > 0) & (borders < rows)] - 1] = False
    if (bad := np.flatnonzero(back & inside)).size:
        one = int(np.searchsorted(ptr, bad[0], side="right")) - 1
        raise InputError(
            "array 't'", expected="increasing times in each series",
            got=f"{t[bad[0] + 1]:g} after {t[bad[0]]:g} in series {one}", do="sort its rows",
        )  # fmt: skip
