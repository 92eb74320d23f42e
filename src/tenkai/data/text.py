"""Text tables: comments, padding, delimiters, and on which line of the file a row stands."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import InputError
from .columns import MISSING

if TYPE_CHECKING:
    import pandas as pd

_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n|$)")
_COMMENT = re.compile(rb"^[ \t]*#[^\r\n]*", re.MULTILINE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_EXTRA = "\0"  # a name no file can hold: this column catches rows with one field too many
_NA_VALUES = sorted({form for w in MISSING for form in (w, w.upper(), w.capitalize())} | {"NaN"})


@dataclass(frozen=True)
class TextTable:
    """A text table: its bytes, where its rows begin, its columns and what separates them."""

    path: Path
    raw: bytes
    begin: int  # offset of the first byte after the header
    line: int  # line of the header, the first line of the file is 1
    columns: tuple[str, ...]
    delimiter: str  # "" is white space

    @classmethod
    def of(cls, raw: bytes, path: Path) -> TextTable:
        """The header is the first line that is neither empty nor a comment."""
        _check_text(raw, path)
        begin = len(_BOM) if raw.startswith(_BOM) else 0
        for line, found in enumerate(_LINE.finditer(raw, begin), start=1):
            header = found[1].decode("utf-8").strip(" ")
            if header.strip() and not header.lstrip().startswith("#"):
                delimiter = max(",;\t|", key=header.count)
                delimiter = delimiter if delimiter in header else ""
                columns = _columns(header, delimiter, line)
                return cls(path, raw, found.end(), line, columns, delimiter)
        raise InputError(
            f"file {str(path)!r}",
            expected="a header line with column names",
            got="none",
            do="check the file",
        )

    def read(self, text_columns: Sequence[str]) -> pd.DataFrame:
        """The table; `text_columns` keep their text as written (labels such as 007 or NA)."""
        import pandas as pd

        body = self.raw[self.begin :]
        if b"#" in body:  # pandas would also cut a row at a # inside it
            body = _COMMENT.sub(b"", body)
        names = [*self.columns, _EXTRA]
        try:
            with warnings.catch_warnings():
                # Fields beyond the extra one: refused below, with their line.
                warnings.simplefilter("ignore", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    io.BytesIO(body), header=None, names=names, index_col=False, engine="c",
                    sep=self.delimiter or r"\s+", skipinitialspace=True, low_memory=False,
                    keep_default_na=False, dtype=dict.fromkeys(text_columns, "str"),
                    na_values={n: _NA_VALUES for n in names if n not in text_columns},
                )  # fmt: skip
        except pd.errors.ParserError as error:
            raise self._malformed(str(error)) from None
        if frame.empty:
            raise InputError(
                f"file {str(self.path)!r}",
                expected="rows of data below the header",
                got="none",
                do="check the file",
            )
        given = frame.notna().any().to_numpy()
        if given[-1]:
            raise self._malformed("")
        # Delimiters at the ends of lines make a last column of nothing.
        kept = [n for n, some in zip(self.columns, given, strict=False) if some or not _unnamed(n)]
        return cast("pd.DataFrame", frame[kept])

    def where(self, row: int) -> str:
        """In words, the line of the file that a row of the table came from."""
        for i, (line, _) in enumerate(self._records()):
            if i == row:
                return f"line {line}"
        return f"row {row} of the table"

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Line and fields of every row; the file is read again, only to say where something is."""
        text = io.StringIO(self.raw[self.begin :].decode("utf-8"), newline="")
        reader = csv.reader(
            ("\n" if line.lstrip(" \t").startswith("#") else line for line in text),
            delimiter=self.delimiter or " ",
            skipinitialspace=True,
        )
        while True:
            line = self.line + reader.line_num + 1
            try:
                fields = next(reader)
            except (StopIteration, csv.Error):
                return
            if len(fields) > 1 or any(f.strip() for f in fields):
                yield line, fields

    def _malformed(self, reason: str) -> InputError:
        """The error for rows that pandas cannot read, or with more fields than the header."""
        width = len(self.columns)
        for line, fields in self._records():
            if "EOF inside string" in reason:
                if any("\n" in field for field in fields):
                    return InputError(
                        f"line {line}",
                        expected="a closing quote",
                        got="none to the end of the file",
                        do="remove or double the quote",
                    )
            elif len(fields) > width and (reason or any(f.strip() for f in fields[width:])):
                whole = all(re.fullmatch(r"[+-]?\d+", f.strip()) for f in fields if f.strip())
                commas = whole and self.delimiter == "," and len(fields) <= 2 * width
                return InputError(
                    f"line {line}",
                    expected=f"{width} fields, as in the header",
                    got=f"{len(fields)}",
                    do="write decimal points, not commas, or separate columns by semicolons"
                    if commas
                    else "quote text that holds the delimiter, or remove the extra fields",
                )
        return InputError(
            f"file {str(self.path)!r}", expected="a table", got=reason, do="check the file"
        )


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
        # In Japanese encodings bytes above 0x7f stand side by side, in Western ones mostly alone.
        guess = "cp932" if re.search(rb"[\x80-\xff]{2}", raw) else "cp1252"
        raise InputError(
            what,
            expected="UTF-8 text",
            got=f"byte 0x{raw[error.start]:02x} at offset {error.start}",
            do=f"save it as UTF-8 (it may be {guess}: iconv -f {guess} -t utf-8)",
        ) from None


def _columns(header: str, delimiter: str, line: int) -> tuple[str, ...]:
    """Names of the header; one without a name is called as pandas calls it."""
    if delimiter:
        fields = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True))
    else:
        fields = header.split()
    names = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(fields)]
    if all(_NUMBER.fullmatch(name) for name in names):
        raise InputError(
            f"line {line}",
            expected="a header with column names",
            got="only numbers",
            do="add a first line with names",
        )
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"header in line {line}",
                expected="different column names",
                got=f"{name!r} twice",
                do="rename one",
            )
    return tuple(names)


def _unnamed(name: str) -> bool:
    return name.startswith("Unnamed: ")
