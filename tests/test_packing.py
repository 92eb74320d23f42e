"""Packed rows: every time of every series once, steps that cover them, no row shared wrongly."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tenkai.errors import InputError
from tenkai.sequences.packing import Shape, Spell, pack


def spells(n: int, low: int = 3, high: int = 30, seed: int = 0) -> list[Spell]:
    rng = np.random.default_rng(seed)
    made = []
    for k in rng.integers(low, high, n):
        t = np.sort(rng.uniform(0, k / 10, k))
        made.append(Spell(t - t[0], rng.normal(size=(k, 2))))
    return made


def test_every_time_of_every_series_stands_once_where_its_steps_are():
    series = spells(200)
    rows = pack(series, 0.3)
    assert sorted(rows.index[rows.index >= 0].tolist()) == list(range(200))
    for r, p in zip(*np.nonzero(rows.index >= 0), strict=True):
        one = series[rows.index[r, p]]
        cell = slice(rows.begin[r, p], rows.end[r, p] + 1)
        np.testing.assert_allclose(rows.t[r, cell], one.t, rtol=1e-6)
        np.testing.assert_allclose(rows.x[r, cell], one.x, rtol=1e-6)
        assert (rows.owner[r, cell] == p).all()
        step = rows.step[r, cell]
        at = rows.since[r, step] + rows.part[r, cell] * rows.length[r, step]
        np.testing.assert_allclose(at, one.t, atol=1e-5)
        first = np.flatnonzero(rows.start[r] == p)
        assert first.tolist() == [step[0] - 1] and rows.length[r, first[0]] == 0
    assert rows.length.max() <= 0.3 + 1e-6


def test_short_series_fill_rows_and_a_long_one_does_not_stretch_them():
    rows = pack([*spells(500, 5, 20), *spells(1, 400, 401)], 0.5)
    assert rows.filled > 0.9


def test_steps_that_do_not_follow_the_slots_leave_few_slots_empty():
    rng = np.random.default_rng(0)
    made = [Spell(np.linspace(0, 3, n), np.zeros((n, 1))) for n in rng.integers(5, 61, 1000)]
    assert pack(made, 0.2).filled > 0.85  # as many steps each, however many slots
    slow = [Spell(np.linspace(0, 9, n), np.zeros((n, 1))) for n in rng.integers(5, 30, 300)]
    assert pack(made + slow, 0.2).filled > 0.8


def test_a_given_shape_is_kept_or_refused():
    shape = Shape(40, 30, 6)
    a, b = pack(spells(50), 0.3, shape), pack(spells(20, seed=1), 0.3, shape)
    assert [x.shape[1:] for x in a] == [x.shape[1:] for x in b]
    assert max((a.index >= 0).sum(1)) <= 6
    with pytest.raises(InputError, match="at most 40 times"):
        pack(spells(1, 41, 42), 0.3, shape)


def test_what_was_not_observed_is_neither_seen_nor_asked():
    x = np.array([[1.0], [np.nan], [3.0]])
    rows = pack([Spell(np.arange(3.0), x, asked=np.array([[True], [True], [False]]))], 1.0)
    assert rows.seen[0, :, 0].tolist() == [True, False, True]
    assert rows.asked[0, :, 0].tolist() == [True, False, False]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(rows))
