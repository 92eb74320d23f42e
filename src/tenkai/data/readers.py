"""Files of measurements: CSV, TSV, Parquet. Every complaint names the line and the column."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .columns import Where
from .frames import from_frame
from .text import TextTable
from .trajectories import Hold, Trajectories

if TYPE_CHECKING:
    import pandas as pd

# A table takes about this many times its file's size while it is read.
_MEMORY_PER_BYTE = 6


def read_trajectories(
    source: str | os.PathLike[str] | pd.DataFrame,
    *,
    time: str | None = None,
    series: str | None = None,
    targets: str | Sequence[str] | None = None,
    inputs: str | Sequence[str] | None = None,
    static: str | Sequence[str] | None = None,
    variable: str | None = None,
    value: str | None = None,
    hold: Hold = "linear",
    units: dict[str, str] | None = None,
    learn: bool = True,
) -> Trajectories:
    """Trajectories of a CSV, TSV or Parquet file or a DataFrame.

    Columns by name: `time` (numbers, dates or timestamps; found by itself when one column is
    called time, t, date, year or timestamp), `series` (which series a row belongs to), `targets`
    (the state; every other column of numbers by default), `inputs` (known, varying), `static`
    (one value per series). A long table has a column of names, `variable`, and one of numbers,
    `value`; targets and inputs are then entries of `variable`.

    Empty cells, NA, NaN, null and - are missing. Rows at one time that fill different columns
    are merged. With `learn`, series that are constant or have fewer than three observed times
    are left out with a note; without, everything is kept (series to forecast from). `hold` is
    what inputs do between times. Everything that does not fit is one `InputError`.
    """
    roles: dict[str, Any] = {
        "time": time, "series": series, "targets": targets, "inputs": inputs, "static": static,
        "variable": variable, "value": value, "hold": hold, "units": units, "learn": learn,
    }  # fmt: skip
    if not isinstance(source, str | os.PathLike):
        if not hasattr(source, "columns"):
            raise InputError(
                "data",
                expected="a path or a DataFrame",
                got=type(source).__name__,
                do="for arrays use Trajectories.from_arrays",
            )
        return from_frame(source, **roles)
    frame, where = open_table(Path(source), [n for n in (series, variable) if n is not None])
    return from_frame(frame, **roles, where=where)


def open_table(path: Path, text: Sequence[str]) -> tuple[pd.DataFrame, Where]:
    """A CSV, TSV or Parquet file as it stands, and in words where each row stands in it.

    The columns named in `text` keep their text as written (labels such as 007 or NA).
    """
    raw = read_bytes(path)
    if raw.startswith(b"PAR1") or path.suffix.lower() in (".parquet", ".pq"):
        frame = read_parquet(raw, path)
        frame = frame.set_axis([str(c).strip() for c in frame.columns], axis="columns")
        return frame, lambda row: f"row {row} (the first is 0)"
    table = TextTable.of(raw, path)
    return table.read([name for name in text if name in table.columns]), table.where


def available_memory() -> int | None:
    """Bytes that can be had without swapping, or None where the system does not say."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        if found:
            return int(found[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def read_bytes(path: Path) -> bytes:
    what = f"file {str(path)!r}"
    try:
        if path.is_dir():
            raise InputError(what, expected="a file", got="a directory", do="name a file in it")
        size, free = path.stat().st_size, available_memory()
        if free is not None and size * _MEMORY_PER_BYTE > free:
            raise InputError(
                what,
                expected=f"at most {_size(free / _MEMORY_PER_BYTE)}, a sixth of the free memory",
                got=_size(size),
                do="keep fewer columns or rows, or split it",
            )
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            what, expected="a file", got="nothing at that path", do="check the path"
        ) from None
    except OSError as error:
        raise InputError(
            what, expected="a readable file", got=str(error.strerror), do="check its permissions"
        ) from None
    if not raw:
        raise InputError(what, expected="a table", got="an empty file", do="check the path")
    return raw


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def read_parquet(raw: bytes, path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(io.BytesIO(raw), engine="pyarrow")
    except Exception as error:  # pyarrow's own hierarchy has no common root but Exception
        reason = str(error).splitlines()[0][:120]
        raise InputError(
            f"file {str(path)!r}", expected="Parquet", got=reason, do="write it again"
        ) from None
