"""Reading: what a table means does not depend on how it is written, and what is wrong is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tenkai import InputError, Trajectories, read_trajectories
from tenkai.data import readers

LYNX = Path(__file__).parent.parent / "examples" / "lynx_hare.csv"


def same(a: Trajectories, b: Trajectories) -> None:
    """Equal in everything but notes."""
    assert (a.names, a.input_names, a.static_names) == (b.names, b.input_names, b.static_names)
    assert (a.time_name, a.clock, a.hold, a.units) == (b.time_name, b.clock, b.hold, b.units)
    assert [s.id for s in a] == [s.id for s in b]
    for one, other in zip(a, b, strict=True):
        for left, right in zip(
            (one.t, one.x, one.u, one.static),
            (other.t, other.x, other.u, other.static),
            strict=True,
        ):
            np.testing.assert_equal(left, right)


@pytest.fixture
def table() -> pd.DataFrame:
    """Three sites of different lengths with gaps, an input and a covariate."""
    rng = np.random.default_rng(0)
    parts = []
    for i, n in enumerate((9, 5, 7)):
        x = rng.standard_normal((n, 2))
        x[rng.random(x.shape) < 0.2] = np.nan
        x[0], x[-1] = np.nan, 1.0  # the first row observes nothing: a point of the grid
        part = pd.DataFrame(x, columns=["prey", "捕食者"])
        part.insert(0, "time", np.sort(rng.uniform(0, 10, n)))
        part.insert(0, "site", f"00{i}")
        parts.append(part.assign(heat=rng.standard_normal(n), area=float(i)))
    return pd.concat(parts, ignore_index=True)


ROLES = {"series": "site", "inputs": "heat", "static": ["area"]}


def write(tmp_path: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_lynx_hare() -> None:
    data = read_trajectories(LYNX)
    assert data.names == ("Lynx", "Hare")
    assert (data.time_name, len(data), len(data[0]), data.clock.kind) == ("Year", 1, 21, "number")
    assert data[0].t[0] == 1900
    assert data[0].x[0].tolist() == [4.0, 30.0]
    assert data.notes == ()


class TestFormats:
    """The same table, however written, is the same data."""

    @pytest.mark.parametrize("sep", [",", ";", "\t", "|", " "])
    @pytest.mark.parametrize("ending", ["\n", "\r\n"])
    def test_delimiters_and_line_ends(self, tmp_path, table, sep, ending) -> None:
        text = table.to_csv(sep=sep, index=False, lineterminator=ending, na_rep="NA")
        same(read_trajectories(write(tmp_path, text), **ROLES), read_trajectories(table, **ROLES))

    def test_parquet(self, tmp_path, table) -> None:
        table.to_parquet(tmp_path / "a.parquet")
        same(read_trajectories(tmp_path / "a.parquet", **ROLES), read_trajectories(table, **ROLES))

    def test_padding_comments_bom_and_blank_lines(self, tmp_path, table) -> None:
        lines = table.to_csv(index=False, sep=",").splitlines()
        lines = ["  " + line.replace(",", " ,  ") + " " for line in lines]
        lines[0] = "# made by hand\n\n\t# twice\n" + lines[0]
        lines[3] += "\n# a comment, with, commas, and, more\n   \n,,,,,"
        raw = "\ufeff" + "\n".join(lines) + "\n\n"
        same(read_trajectories(write(tmp_path, raw), **ROLES), read_trajectories(table, **ROLES))

    @pytest.mark.parametrize("marker", ["", "NA", "NaN", "nan", "null", "NULL", "-", " - ", "N/A"])
    def test_missing_markers(self, tmp_path, marker) -> None:
        raw = f"t,x,y\n0,1,2\n1,{marker},3\n2,2,{marker}\n3,5,5\n"
        x = read_trajectories(write(tmp_path, raw))[0].x
        np.testing.assert_equal(x, [[1, 2], [np.nan, 3], [2, np.nan], [5, 5]])

    def test_a_hash_inside_a_row_is_text(self, tmp_path) -> None:
        raw = "t,site,x\n" + "".join(f"{i},a#{s},{i + s}\n" for s in (1, 2) for i in range(3))
        data = read_trajectories(write(tmp_path, raw), series="site")
        assert [s.id for s in data] == ["a#1", "a#2"]

    def test_delimiters_at_line_ends_and_a_written_index(self, tmp_path) -> None:
        plain = read_trajectories(write(tmp_path, "t,x\n0,1\n1,2\n2,4\n"))
        same(read_trajectories(write(tmp_path, "t,x,\n0,1,\n1,2,\n2,4,\n")), plain)
        same(read_trajectories(write(tmp_path, "t,x\n0,1,\n1,2,\n2,4,\n")), plain)
        indexed = read_trajectories(write(tmp_path, ",t,x\n0,0,1\n1,1,2\n2,2,4\n"))
        same(indexed, plain)
        assert "Unnamed: 0" in indexed.notes[0]

    def test_numbers_survive_the_file(self, tmp_path) -> None:
        rng = np.random.default_rng(1)
        frame = pd.DataFrame({"t": np.arange(500), "x": np.exp(30 * rng.standard_normal(500))})
        frame.to_csv(tmp_path / "a.csv", index=False)
        same(read_trajectories(tmp_path / "a.csv"), read_trajectories(frame))

    def test_labels_stay_text(self, tmp_path) -> None:
        raw = "t,site,x\n" + "".join(f"{i},{s},{i}\n" for s in ("007", "NA") for i in range(3))
        data = read_trajectories(write(tmp_path, raw), series="site")
        assert [s.id for s in data] == ["007", "NA"]


class TestShapes:
    """Wide and long, sorted and not, merged and not."""

    def test_wide_to_long_and_back(self, tmp_path, table) -> None:
        wide = read_trajectories(table, **ROLES)
        long = table.melt(["site", "time", "heat", "area"], var_name="what", value_name="how_much")
        roles = ROLES | {"variable": "what", "value": "how_much"}
        same(read_trajectories(long, **roles), wide)
        long.to_csv(tmp_path / "long.csv", index=False)
        same(read_trajectories(tmp_path / "long.csv", **roles), wide)

    def test_inputs_among_the_long_variables(self, table) -> None:
        wide = read_trajectories(table, **ROLES)
        long = table.melt(["site", "time", "area"], var_name="what", value_name="how_much")
        same(read_trajectories(long, variable="what", value="how_much", **ROLES), wide)

    def test_to_frame_and_back(self, table) -> None:
        data = read_trajectories(table, units={"prey": "kg"}, hold="previous", **ROLES)
        back = read_trajectories(
            data.to_frame(), **(ROLES | {"series": "series"}), units={"prey": "kg"}, hold="previous"
        )
        same(back, data)

    def test_order_of_rows_does_not_matter(self, table) -> None:
        order = np.random.default_rng(2).permutation(len(table))
        shuffled = read_trajectories(table.iloc[order], **ROLES)
        straight = read_trajectories(table, **ROLES)
        for one in straight:
            np.testing.assert_equal(shuffled[one.id].t, one.t)
            np.testing.assert_equal(shuffled[one.id].x, one.x)
        assert any("sorted" in note for note in shuffled.notes)
        assert not straight.notes

    def test_interleaved_series_are_not_unsorted(self) -> None:
        frame = pd.DataFrame({"t": [0, 0, 1, 1, 2, 2], "s": list("ababab"), "x": range(6)})
        assert read_trajectories(frame, series="s").notes == ()

    def test_rows_at_one_time_are_merged(self) -> None:
        whole = pd.DataFrame({"t": [0.0, 1, 2], "x": [1.0, 2, 4], "y": [3.0, 1, np.nan]})
        split = pd.concat([whole[["t", "x"]], whole[["t", "y"]]])
        merged = read_trajectories(split)
        same(merged, read_trajectories(whole))
        assert any("merged" in note for note in merged.notes)

    def test_inputs_may_be_repeated_when_they_agree(self) -> None:
        frame = pd.DataFrame(
            {"t": [0, 1, 1, 2], "x": [0, 1, None, 3], "y": [0, None, 1, 5], "u": [1, 2, 2, 3]}
        )
        np.testing.assert_equal(read_trajectories(frame, inputs="u")[0].u, [[1], [2], [3]])
        frame.loc[2, "u"] = 7
        with pytest.raises(InputError, match=r"column 'u' at t 1.*row 1.*row 2"):
            read_trajectories(frame, inputs="u")

    def test_missing_inputs_are_held_or_interpolated(self) -> None:
        frame = pd.DataFrame({"t": [0, 1, 3, 4, 5], "x": range(5)})
        frame["u"] = [np.nan, 1, np.nan, 4, np.nan]
        linear = read_trajectories(frame, inputs=["u"])
        np.testing.assert_allclose(linear[0].u[:, 0], [1, 1, 3, 4, 4])
        previous = read_trajectories(frame, inputs=["u"], hold="previous")
        np.testing.assert_allclose(previous[0].u[:, 0], [1, 1, 1, 4, 4])

    def test_text_columns_are_left_out_with_a_note(self) -> None:
        frame = pd.DataFrame({"t": range(4), "x": range(4), "who": list("abcd")})
        data = read_trajectories(frame)
        assert data.names == ("x",)
        assert "'who'" in data.notes[0]

    def test_short_and_constant_series_are_dropped_with_a_note(self) -> None:
        frame = pd.DataFrame({"s": list("aaaabbccc"), "t": [0, 1, 2, 3, 0, 1, 0, 1, 2]})
        frame["x"] = [1, 2, 3, 4, 1, 2, 5, 5, 5]
        data = read_trajectories(frame, series="s")
        assert [s.id for s in data] == ["a"]
        assert "'b', 'c'" in data.notes[0]
        everything = read_trajectories(frame, series="s", learn=False)
        assert [s.id for s in everything] == ["a", "b", "c"]


class TestTimes:
    """Numbers, dates and timestamps."""

    @pytest.mark.parametrize(
        "written",
        [
            ["2020-01-01", "2020-01-02", "2020-03-13"],
            ["2020-01-01T00:00:00", "2020-01-02T00:00", "2020-03-13T00:00:00.000"],
            ["2020-01-01T09:00:00+09:00", "2020-01-02T00:00:00Z", "2020-03-13T00:00:00Z"],
            ["2020/01/01", "2020/01/02", "2020/03/13"],
            ["01/01/2020", "01/02/2020", "03/13/2020"],
            ["01.01.2020", "02.01.2020", "13.03.2020"],
            ["2020年1月1日", "2020年1月2日", "2020年3月13日"],
            ["Jan 1, 2020", "Jan 2, 2020", "Mar 13, 2020"],
        ],
    )
    def test_dates(self, tmp_path, written) -> None:
        text = "date,x\n" + "".join(f'" {d} ",{i}\n' for i, d in enumerate(written))
        data = read_trajectories(write(tmp_path, text))
        assert data.clock.kind == "date"
        np.testing.assert_array_equal(data[0].t, [18262, 18263, 18334])

    def test_parquet_dates_and_index(self, tmp_path) -> None:
        days = pd.date_range("2021-01-01", periods=5, freq="h")
        frame = pd.DataFrame({"x": np.arange(5.0)}, index=days)
        frame.rename_axis("when").to_parquet(tmp_path / "a.parquet")
        for data in (
            read_trajectories(frame),
            read_trajectories(tmp_path / "a.parquet", time="when"),
        ):
            np.testing.assert_array_equal(data.clock.decode(data[0].t), days.to_numpy())

    @pytest.mark.parametrize("name", ["time", "T", "Date", "YEAR", "timestamp"])
    def test_the_time_column_is_found(self, name) -> None:
        frame = pd.DataFrame({"x": [1, 2, 4], name: [1900, 1901, 1902]})
        data = read_trajectories(frame)
        assert (data.time_name, data.names) == (name, ("x",))
        assert data[0].t[0] == 1900


# What, the text of the file, arguments, and what the one line must name.
BAD = {
    "text in numbers": (
        "# c\nYear,Lynx,Hare\n1900,1,2\n\n1901,2,abc\n1902,3,4\n",
        {},
        r"column 'Hare': expected numbers; got 'abc' in line 5\.",
    ),
    "decimal comma": ("t;x\n0;1,5\n1;2,5\n2;7\n", {}, r"'x'.*'1,5' in line 2.*decimal points"),
    "text in a long table": (
        "t,v,y\n0,a,1\n1,a,2\n2,a,x1\n",
        {"variable": "v", "value": "y"},
        r"column 'y'.*'x1' in line 4",
    ),
    "infinity": ("t,x\n0,1\n1,inf\n2,3\n", {}, r"column 'x': expected finite.*inf in line 3"),
    "infinity, long": (
        "t,v,y\n0,a,1\n1,a,-inf\n2,a,1\n",
        {"variable": "v", "value": "y"},
        r"column 'y'.*-inf in line 3",
    ),
    "infinite time": ("t,x\n0,1\ninf,2\n2,3\n", {}, r"column 't'.*finite.*line 3"),
    "no time in a row": ("t,x\n0,1\n,2\n2,3\n", {}, r"column 't'.*nothing in line 3"),
    "bad date": (
        "date,x\n2020-01-01,1\n2020-02-30,2\n2020-03-01,3\n",
        {},
        r"column 'date'.*dates.*'2020-02-30' in line 3",
    ),
    "bad year": ("Year,x\n1900,1\n19o1,2\n1902,3\n", {}, r"column 'Year'.*'19o1' in line 3"),
    "clock times": ("time,x\n10:30,1\n10:31,2\n10:32,3\n", {}, r"column 'time'.*'10:30'.*line 2"),
    "twice at one time": (
        "t,x,y\n0,1,1\n1,2,2\n1,3,\n2,4,4\n",
        {},
        r"column 'x' at t 1: .*line 3 and line 4",
    ),
    "twice, series": (
        "t,s,x\n0,a,1\n1,a,2\n2,a,3\n0,b,1\n1,b,2\n1,b,2\n",
        {"series": "s"},
        r"column 'x' at t 1 in series 'b'.*line 6 and line 7",
    ),
    "twice, long": (
        "date,v,y\n2020-01-01,a,1\n2020-01-02,a,2\n2020-01-02,a,3\n",
        {"variable": "v", "value": "y"},
        r"column 'a' at date 2020-01-02: .*line 3 and line 4",
    ),
    "too many fields": ("t,x\n0,1\n1,2,3\n2,3\n", {}, r"line 3: expected 2 fields.*got 3"),
    "far too many fields": ("t,x\n0,1\n1,2,3,4,5\n", {}, r"line 3: expected 2 fields.*got 5"),
    "too many in every row": ("t,x\n0,1,2,3\n1,2,3,4\n", {}, r"line 2: expected 2.*got 4"),
    "open quote": ('t,x\n0,1\n1,"2\n2,3\n', {}, r"line 3: expected a closing quote"),
    "column of nothing": (
        "t,x,y\n0,1,\n1,2,\n2,3,\n",
        {},
        r"column 'y'.*observed values; got none",
    ),
    "no such column": ("t,x\n0,1\n1,2\n2,3\n", {"targets": "z"}, r"column 'z'.*'t', 'x'"),
    "no such input": ("t,x\n0,1\n1,2\n2,3\n", {"inputs": ["z"]}, r"column 'z'"),
    "no such variable": (
        "t,v,y\n0,a,1\n1,a,2\n2,a,3\n",
        {"variable": "v", "value": "y", "targets": "b"},
        r"variable 'b'.*column 'v'.*'a'",
    ),
    "half a long table": ("t,v,y\n0,a,1\n", {"variable": "v"}, r"variable= and value="),
    "two roles": ("t,x\n0,1\n1,2\n2,3\n", {"targets": "x", "inputs": "x"}, r"column 'x'.*role"),
    "no time column": ("when,x\n0,1\n1,2\n", {}, r"time column.*'when', 'x'.*time="),
    "two time columns": ("time,t,x\n0,1,2\n", {}, r"time column.*'time', 't', 'x'"),
    "only text": ("t,x\n0,a\n1,b\n2,c\n", {}, r"column of numbers.*'t', 'x'"),
    "only time": ("t\n0\n1\n2\n", {}, r"column of numbers"),
    "too short": ("t,x\n0,1\n1,2\n", {}, r"at least 3 observed times.*at most 2"),
    "constant": ("t,x\n0,1\n1,1\n2,1\n", {}, r"not constant; got only constant"),
    "no label": ("t,s,x\n0,a,1\n1,,2\n", {"series": "s"}, r"column 's'.*nothing in line 3"),
    "input never known": (
        "t,x,u\n0,1,\n1,2,\n2,3,\n",
        {"inputs": "u"},
        r"input 'u'.*none in series '0'",
    ),
    "static that moves": (
        "t,x,k\n0,1,1\n1,2,1\n2,3,2\n",
        {"static": "k"},
        r"static column 'k'.*2 in line 4",
    ),
    "static unknown": ("t,x,k\n0,1,\n1,2,\n2,3,\n", {"static": "k"}, r"static column 'k'.*none"),
    "same name twice": ("t,x,x\n0,1,2\n", {}, r"header in line 1.*'x' twice"),
    "no header": ("1900,4.0,30\n1901,6.1,47\n", {}, r"line 1: .*header.*only numbers"),
    "only a header": ("# c\nt,x\n", {}, r"rows of data below the header; got none"),
    "only comments": ("# c\n# d\n", {}, r"header line.*got none"),
    "only separators": ("t,x\n,\n,\n", {}, r"rows of values; got none"),
    "empty": ("", {}, r"an empty file"),
    "binary": (b"t,x\n0,\x00\x01\n", {}, r"binary file \(a zero byte at offset 6\)"),
    "utf-16": ("t,x\n0,1\n".encode("utf-16"), {}, r"UTF-16"),
    "shift-jis": ("時刻,x\n0,1\n".encode("cp932"), {}, r"byte 0x8e at offset 0.*cp932"),
    "latin-1": ("t,caf\u00e9\n0,1\n".encode("cp1252"), {}, r"byte 0xe9 at offset 5.*cp1252"),
    "unknown unit": ("t,x\n0,1\n1,2\n2,3\n", {"units": {"z": "m"}}, r"units of 'z'"),
    "unknown hold": ("t,x\n0,1\n1,2\n2,3\n", {"hold": "spline"}, r"'linear' or 'previous'"),
}


class TestBadInput:
    """Every bad input is one `InputError` of one line that names the place."""

    @pytest.mark.parametrize("case", BAD)
    def test_named(self, tmp_path, case) -> None:
        text, arguments, pattern = BAD[case]
        with pytest.raises(InputError) as caught:
            read_trajectories(write(tmp_path, text), **arguments)
        assert re.search(pattern, str(caught.value)), str(caught.value)
        assert "\n" not in str(caught.value)

    def test_rows_of_frames_are_named(self) -> None:
        frame = pd.DataFrame({"t": range(4), "x": [1, 2, "abc", 4]})
        with pytest.raises(InputError, match=r"column 'x'.*'abc' in row 2"):
            read_trajectories(frame)

    def test_lines_count_quoted_line_breaks(self, tmp_path) -> None:
        raw = 't,who,x\n0,"two\nlines",1\n1,b,2\n2,c,oops\n'
        with pytest.raises(InputError, match=r"'oops' in line 5"):
            read_trajectories(write(tmp_path, raw), targets="x")

    def test_no_file_and_a_directory(self, tmp_path) -> None:
        with pytest.raises(InputError, match="nothing at that path"):
            read_trajectories(tmp_path / "none.csv")
        with pytest.raises(InputError, match="a directory"):
            read_trajectories(tmp_path)

    def test_not_parquet(self, tmp_path) -> None:
        for raw in (b"t,x\n0,1\n", b"PAR1 and then nonsense"):
            with pytest.raises(InputError, match="expected Parquet"):
                read_trajectories(write(tmp_path, raw, "a.parquet"))

    def test_larger_than_memory(self, tmp_path, monkeypatch) -> None:
        path = write(tmp_path, "t,x\n" + "0,1\n" * 500)
        monkeypatch.setattr(readers, "available_memory", lambda: 6000)
        with pytest.raises(InputError, match=r"at most 1 kB.*got 2 kB"):
            read_trajectories(path)

    def test_memory_is_known_here(self) -> None:
        free = readers.available_memory()
        assert free is None or free > 0

    @pytest.mark.parametrize("source", [None, 3, [1, 2]])
    def test_not_a_source(self, source) -> None:
        with pytest.raises(InputError, match="a path or a DataFrame"):
            read_trajectories(source)

    def test_random_damage_is_an_input_error_or_data(self, tmp_path) -> None:
        rng = np.random.default_rng(3)
        whole = LYNX.read_bytes()
        for _ in range(150):
            raw = bytearray(whole)
            for _ in range(rng.integers(1, 5)):
                raw[rng.integers(len(raw))] = rng.integers(256)
            path = write(tmp_path, bytes(raw[: rng.integers(1, len(raw))]))
            try:
                data = read_trajectories(path, time="Year")
            except InputError as error:
                assert "\n" not in str(error)
            else:
                assert all(np.isfinite(s.t).all() for s in data)
