"""Shards on disk: every series once an epoch, the same batches by seed, few shards in memory."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from tenkai.data import Series, Shards, Trajectories
from tenkai.errors import InputError
from tenkai.sequences import streaming
from tenkai.sequences.packing import Rows
from tenkai.sequences.streaming import Batches, units
from tenkai.sequences.units import Units


def series(count: int, seed: int = 0) -> list[Series]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        n = int(rng.integers(5, 20))
        x = rng.normal([3.0, -1.0], [2.0, 0.1], (n, 2))
        x[rng.uniform(size=(n, 2)) < 0.2] = np.nan
        x[0] = [i, 0.0]
        made.append(Series(f"s{seed}-{i}", np.cumsum(rng.exponential(size=n)), x))
    return made


def npz(path: Path, given: list[Series], **arrays) -> Path:
    ptr = np.cumsum([0, *(len(s) for s in given)])
    t, x = np.concatenate([s.t for s in given]), np.concatenate([s.x for s in given])
    found = {"ptr": ptr, "t": t, "x": x, "id": np.array([s.id for s in given])} | arrays
    np.savez_compressed(path, **{k: v for k, v in found.items() if v is not None})
    return path


def table(given: list[Series]) -> pd.DataFrame:
    return Trajectories(tuple(given), ("a", "b")).to_frame()


def many(folder: Path, files: int = 5, each: int = 30) -> Shards:
    for k in range(files):
        npz(folder / f"part-{k}.npz", series(each, k))
    return Shards(folder)


def stream(shards: Shards, rows: int = 7, **options) -> Batches:
    return Batches(shards, units(shards), 0.2, rows, **options)


def same(a: Rows, b: Rows) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def numbers(batches: Batches, first: int, count: int) -> np.ndarray:
    """Which series the rows `first` to `first + count` of the endless sequence hold, sorted."""
    steps = range(first // batches.rows, -(-(first + count) // batches.rows))
    index = np.concatenate([batches(step).index for step in steps])
    index = index[first - steps[0] * batches.rows :][:count]
    return np.sort(index[index >= 0])


def test_every_epoch_has_every_series_once_whatever_is_read_together(tmp_path):
    shards = many(tmp_path)
    for together in (1, 2, 9):
        batches = stream(shards, together=together)
        for epoch in range(3):
            found = numbers(batches, epoch * batches.epoch_rows, batches.epoch_rows)
            assert found.tolist() == list(range(150))


def test_what_is_in_a_batch_is_what_was_written(tmp_path):
    shards = many(tmp_path)
    scale, whole = units(shards), [s for part in shards for s in part]
    rows = stream(shards)(3)
    for r, p in zip(*np.nonzero(rows.index >= 0), strict=True):
        one = scale.spell(whole[rows.index[r, p]])
        cell = slice(rows.begin[r, p], rows.end[r, p] + 1)
        np.testing.assert_allclose(rows.t[r, cell], one.t, atol=1e-5)
        np.testing.assert_allclose(rows.x[r, cell], np.nan_to_num(one.x), atol=1e-5)
        assert (rows.seen[r, cell] == ~np.isnan(one.x)).all()


def test_batches_have_one_shape_and_are_a_function_of_step_and_seed(tmp_path):
    shards = many(tmp_path)
    batches, again, other = stream(shards), stream(shards), stream(shards, seed=1)
    made = [batches(step) for step in range(30)]
    assert len({tuple(leaf.shape for leaf in rows) for rows in made}) == 1
    for step in (29, 0, 13):  # in any order, from a fresh start: what a resumed fit does
        assert same(made[step], again(step))
    assert not same(made[0], other(0))
    assert not same(made[0], made[1])


def test_epochs_differ_in_order_and_in_who_shares_a_row(tmp_path):
    batches = stream(many(tmp_path, files=1), rows=1)
    epochs = [
        [frozenset(batches(e * batches.epoch_rows + k).index.ravel()) for k in range(20)]
        for e in range(2)
    ]
    assert epochs[0] != epochs[1] and set(epochs[0]) != set(epochs[1])


def test_units_are_those_of_all_series_together(tmp_path):
    shards = many(tmp_path)
    whole = Trajectories(tuple(s for part in shards for s in part), shards.names)
    for a, b in zip(jax.tree.leaves(units(shards)), jax.tree.leaves(Units.of(whole)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_no_more_shards_are_held_than_asked(tmp_path, monkeypatch):
    shards = many(tmp_path, files=6)
    batches = stream(shards, rows=5, together=2)
    read = []
    packed = streaming.Batches._packed
    monkeypatch.setattr(streaming.Batches, "_packed", lambda *a: read.append(a[2]) or packed(*a))
    most = 0
    for step in range(batches.epoch_rows // 5):
        batches(step)
        assert batches._held is not None
        most = max(most, len(batches._held[1].owner))
    two = np.sort(batches._counts)[-2:].sum()
    assert most <= two < batches.epoch_rows
    assert sorted(read) == list(range(6))  # each file once


def test_files_of_any_cut_and_kind_hold_the_same_series(tmp_path):
    given = series(40)
    whole = npz(tmp_path / "whole.npz", given)
    halves = [npz(tmp_path / f"h{k}.npz", given[k::2]) for k in range(2)]
    groups = tmp_path / "groups.parquet"
    table(given).to_parquet(groups, row_group_size=37)  # cuts most groups inside a series
    tables = Shards(groups, series="series", targets=["a", "b"])
    assert len(tables) > 5
    found = [
        {s.id: s for part in shards for s in part}
        for shards in (Shards(whole), Shards(halves), tables)
    ]
    for one in given:
        for series_of in found:
            np.testing.assert_array_equal(series_of[one.id].t, one.t)
            np.testing.assert_array_equal(series_of[one.id].x, one.x)
    assert [len(f) for f in found] == [40, 40, 40]
    np.testing.assert_allclose(units(tables).span, units(Shards(whole)).span)


def test_a_series_longer_than_row_groups_stays_whole(tmp_path):
    t = np.arange(50.0)
    long = [
        Series("a", t[:3], t[:3, None]),
        Series("b", t, t[:, None]),
        Series("c", t[:2], t[:2, None]),
    ]
    Trajectories(tuple(long), ("x",)).to_frame().to_parquet(
        tmp_path / "f.parquet", row_group_size=7
    )
    shards = Shards(tmp_path, series="series")
    assert {s.id: len(s) for part in shards for s in part} == {"a": 3, "b": 50, "c": 2}
    assert shards.survey.count == 3


def test_series_without_observations_are_left_out_with_a_note(tmp_path):
    given = series(3)
    empty = Series("nothing", np.arange(4.0), np.full((4, 2), np.nan))
    shards = Shards(npz(tmp_path / "a.npz", [given[0], empty, *given[1:]]))
    assert [s.id for s in shards.read(0)] == [s.id for s in given]
    assert shards.survey.notes == ("1 series without observations left out",)


def test_dates_are_read_and_one_clock_is_asked_for(tmp_path):
    days = pd.date_range("2024-01-01", periods=4)
    frame = pd.DataFrame({"id": ["p"] * 4, "date": days, "x": np.arange(4.0)})
    frame.to_parquet(tmp_path / "a.parquet")
    shards = Shards(tmp_path, series="id")
    assert shards.clock.kind == "date" and shards.survey.duration[0].tolist() == [3.0]
    frame.assign(date=np.arange(4.0), id="q").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet.*times as dates; got numbers"):
        _ = Shards(tmp_path, series="id").survey


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


BAD = {
    "truncated npz": (lambda f: cut(npz(f / "b.npz", series(5, 9))), r"b\.npz"),
    "no ptr": (lambda f: npz(f / "b.npz", series(5, 9), ptr=None), r"b\.npz', array 'ptr'"),
    "short ptr": (
        lambda f: npz(f / "b.npz", series(5, 9), ptr=np.array([0, 3])), r"b\.npz', array 'ptr'"
    ),
    "pickles": (
        lambda f: npz(f / "b.npz", series(5, 9), t=np.array([{}], dtype=object)), r"b\.npz'"
    ),
    "back in time": (
        lambda f: npz(f / "b.npz", series(1, 9), t=-series(1, 9)[0].t), r"increasing times"
    ),
    "other variables": (
        lambda f: npz(f / "b.npz", series(5, 9), names=np.array(["x0", "y"])), r"b\.npz.*'x1'"
    ),
    "a series twice": (lambda f: npz(f / "b.npz", series(5, 0)), r"'s0-.'.*b\.npz.*a\.npz"),
    "infinite": (
        lambda f: npz(f / "b.npz", [Series("i", np.ones(1), np.full((1, 2), np.inf))]),
        r"b\.npz.*finite numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_shard_is_named(kind, tmp_path):
    write, match = BAD[kind]
    npz(tmp_path / "a.npz", series(5, 0))
    write(tmp_path)
    with pytest.raises(InputError, match=match):
        _ = Shards(tmp_path).survey


def test_bad_tables_are_named(tmp_path):
    good, bad = table(series(5, 0)), tmp_path / "b.parquet"
    good.to_parquet(tmp_path / "a.parquet")
    table(series(5, 1)).drop(columns="b").to_parquet(bad)
    with pytest.raises(InputError, match=r"b\.parquet', column 'b'"):
        _ = Shards(tmp_path, series="series").survey
    table(series(5, 1)).to_parquet(bad)
    cut(bad)
    with pytest.raises(InputError, match=r"b\.parquet.*whole file"):
        _ = Shards(tmp_path, series="series").survey
    good.iloc[-3:].to_parquet(bad)  # runs on into the next file
    with pytest.raises(InputError, match=r"series 's0-4'.*b\.parquet.*a\.parquet"):
        _ = Shards(tmp_path, series="series").survey
    apart = pd.concat([good.iloc[:2], good.iloc[40:], good.iloc[2:4]])
    apart.to_parquet(bad, row_group_size=3)
    with pytest.raises(InputError, match="sorted by series"):
        _ = Shards(bad, series="series").survey


def test_paths_without_shards_are_refused(tmp_path):
    with pytest.raises(InputError, match="none of them"):
        Shards(tmp_path)
    with pytest.raises(InputError, match="nothing at that path"):
        Shards(tmp_path / "no.npz")
    table(series(2)).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="series="):
        Shards(tmp_path)
    npz(tmp_path / "a.npz", series(2))
    with pytest.raises(InputError, match="one kind"):
        Shards(tmp_path)
    with pytest.raises(InputError, match="rows: expected at least 1"):
        stream(Shards(tmp_path / "a.npz"), rows=0)
