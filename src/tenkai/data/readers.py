"""Files of measurements: CSV, TSV, Parquet. Every complaint names the line and the column."""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .columns import MISSING
from .frames import from_frame
from .trajectories import Hold, Trajectories

if TYPE_CHECKING:
    import pandas as pd

# A table takes about this many times its file's size while it is read.
_MEMORY_PER_BYTE = 6
_EXTRA = "\0extra"  # a column no file can name: catches rows with one field too many


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
    if hasattr(source, "columns"):
        return from_frame(source, **roles)
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            "data",
            expected="a path or a DataFrame",
            got=type(source).__name__,
            do="for arrays use Trajectories.from_arrays",
        )
    path = Path(source)
    raw = _read_bytes(path)
    if raw.startswith(b"PAR1") or path.suffix.lower() in (".parquet", ".pq"):
        return from_frame(_read_parquet(raw, path), **roles)
    table = _Text.of(raw, path)
    text_columns = [name for name in (series, variable) if name in table.columns]
    frame = table.read(text_columns)
    return from_frame(frame, **roles, where=table.where, notes=table.notes)


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


def _read_bytes(path: Path) -> bytes:
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


def _read_parquet(raw: bytes, path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(io.BytesIO(raw), engine="pyarrow")
    except Exception as error:  # pyarrow's own hierarchy has no common root but Exception
        reason = str(error).splitlines()[0][:120]
        raise InputError(
            f"file {str(path)!r}", expected="Parquet", got=reason, do="write it again"
        ) from None


def _check_text(raw: bytes, path: Path) -> None:
    what = f"file {str(path)!r}"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(what, expected="UTF-8 text", got="UTF-16 text", do="save it as UTF-8")
    zero = raw.find(b"\0")
    if zero >= 0:
        raise InputError(
            what,
            expected="a text file",
            got=f"a binary file (a zero byte at offset {zero})",
            do="save the table as CSV in UTF-8",
        )
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        # In Shift-JIS, bytes above 0x7f stand in pairs; in Western encodings mostly alone.
        guess = "cp932" if re.search(rb"[\x80-\xff]{2}", raw) else "cp1252"
        raise InputError(
            what,
            expected="UTF-8 text",
            got=f"byte 0x{raw[error.start]:02x} at offset {error.start}",
            do=f"save it as UTF-8 (it may be {guess}: iconv -f {guess} -t utf-8)",
        ) from None


@dataclass(frozen=True)
class _Text:
    """A text table: its bytes, where its rows begin, and how its fields are separated."""

    path: Path
    raw: bytes
    begin: int  # offset of the first byte after the header
    line: int  # 1-based line of the header
    columns: tuple[str, ...]
    delimiter: str  # "" is white space
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, raw: bytes, path: Path) -> _Text:
        """Find the header: the first line that is neither empty nor a comment."""
        _check_text(raw, path)
        begin = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
        line = 0
        for found in re.compile(rb"([^\r\n]*)(\r\n|\r|\n|$)").finditer(raw, begin):
            line += 1
            header = found[1].decode("utf-8").strip(" \ufeff")
            if header.strip() and not header.startswith("#"):
                break
        else:
            header, found = "", None
        if found is None or not header:
            raise InputError(
                f"file {str(path)!r}", expected="a header line", got="only comments", do="check it"
            )
        delimiter = max(",;\t|", key=header.count)
        delimiter = delimiter if delimiter in header else ""
        names = [name.strip() for name in _fields(header, delimiter)]
        _check_header(names, line)
        return cls(path, raw, found.end(), line, tuple(names), delimiter)

    def read(self, text_columns: list[str]) -> pd.DataFrame:
        """The table; `text_columns` keep their text as written (ids such as 007 or NA)."""
        import pandas as pd

        body = self.raw[self.begin :]
        if b"#" in body:
            body = re.sub(rb"(?m)^[ \t]*#[^\r\n]*", b"", body)
        missing = sorted({m for w in MISSING for m in (w, w.upper(), w.capitalize())} | {"NaN"})
        names = [*_unique(self.columns), _EXTRA]
        try:
            with warnings.catch_warnings():
                # Fields beyond the extra column: refused below, with their line.
                warnings.simplefilter("ignore", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    io.BytesIO(body), header=None, names=names, index_col=False, engine="c",
                    sep=self.delimiter or r"\s+", skipinitialspace=True, low_memory=False,
                    keep_default_na=False,
                    na_values={n: missing for n in names if n not in text_columns},
                    dtype=dict.fromkeys(text_columns, "str"),
                )  # fmt: skip
        except pd.errors.ParserError as error:
            raise self._not_a_table(str(error)) from None
        if frame[_EXTRA].notna().any():
            raise self._not_a_table("")
        if frame.empty:
            raise InputError(
                f"file {str(self.path)!r}",
                expected="rows of data below the header",
                got="none",
                do="check the file",
            )
        return frame[[n for n in names if not n.startswith("\0")]]

    def where(self, row: int) -> str:
        """In words, the line of the file that row of the table came from."""
        for i, (line, _) in enumerate(self._records()):
            if i == row:
                return f"line {line}"
        return f"row {row} of the table"

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and fields of every row; read again, only to say where something is."""
        text = io.StringIO(self.raw[self.begin :].decode("utf-8"), newline="")
        lines = iter(text)
        reader = csv.reader(
            (line if not line.lstrip(" \t").startswith("#") else "\n" for line in lines),
            delimiter=self.delimiter or " ",
            skipinitialspace=True,
        )
        while True:
            line = self.line + reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error:  # a field without end
                return
            if any(f.strip() for f in fields) or len(fields) > 1:
                yield line, fields

    def _not_a_table(self, reason: str) -> InputError:
        width = len(self.columns)
        if "EOF inside string" in reason:
            line = list(self._records())[-1][0]
            return InputError(
                f"line {line}",
                expected="a closing quote",
                got="none before the end of the file",
                do="remove or double the quote",
            )
        for line, fields in self._records():
            if len(fields) > width and (reason or any(f.strip() for f in fields[width:])):
                return InputError(
                    f"line {line}",
                    expected=f"{width} fields, as in the header",
                    got=f"{len(fields)}",
                    do="quote text that contains the delimiter, or remove the extra fields",
                )
        return InputError(
            f"file {str(self.path)!r}", expected="a table", got=reason, do="check the file"
        )


def _fields(line: str, delimiter: str) -> list[str]:
    return (
        next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
        if delimiter
        else line.split()
    )


def _unique(columns: tuple[str, ...]) -> list[str]:
    """Columns without a name get one that is dropped after reading: an index, trailing commas."""
    return [name or f"\0{i}" for i, name in enumerate(columns)]


def _check_header(names: list[str], line: int) -> None:
    for name in names:
        if name and names.count(name) > 1:
            raise InputError(
                f"header in line {line}",
                expected="different column names",
                got=f"{name!r} twice",
                do="rename one",
            )
    if all(re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", name, re.IGNORECASE) for name in names):
        raise InputError(
            f"line {line}",
            expected="a header with column names",
            got="only numbers",
            do="add a first line with names",
        )
