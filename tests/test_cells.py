"""Laws of recurrent cells over packed series."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenkai.sequences import cells
from tenkai.sequences.packing import Rows, Spell, pack
from tenkai.unfold import MIDPOINT

DIM, HIDDEN = 2, 5


def made(kind: str, seed: int = 0) -> Any:
    key = np.random.default_rng(seed)
    if kind == "ode":
        return cells.ODECell(DIM, HIDDEN, width=8, depth=1, tableau=MIDPOINT, key=key, substeps=2)
    return {"gaps": cells.Gaps, "decay": cells.Decay, "plain": cells.Plain}[kind](
        DIM, HIDDEN, key=key
    )


KINDS = ("ode", "gaps", "decay", "plain")


def spells(lengths: tuple[int, ...] = (7, 3, 5, 1), seed: int = 1) -> list[Spell]:
    rng = np.random.default_rng(seed)
    made = []
    for n in lengths:
        x = rng.normal(size=(n, DIM))
        x[rng.uniform(size=x.shape) < 0.3] = np.nan
        made.append(Spell(np.sort(rng.uniform(0, 2, n)), x))
    return made


def row_of(packed: Rows, r: int = 0) -> Rows:
    return jax.tree.map(lambda a: jnp.asarray(a[r]), packed)


@eqx.filter_jit
def passed(cell: Any, row: Rows, backwards: bool) -> Any:
    return cells.visits(cell, row, backwards=backwards), cells.over(cell, row, backwards=backwards)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_is_alone(kind: str, backwards: bool) -> None:
    """Behind one another in a row, every series is read as it is alone."""
    cell, series = made(kind), spells()
    packed = pack(series, np.inf)
    for r in range(len(packed.t)):
        seen, _ = passed(cell, row_of(packed, r), backwards)
        for p, i in enumerate(packed.index[r]):
            if i < 0:
                continue
            alone, _ = passed(cell, row_of(pack([series[i]], np.inf)), backwards)
            where = slice(packed.begin[r, p], packed.end[r, p] + 1)
            here = jax.tree.map(lambda a, where=where: a[where], seen)
            for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(alone), strict=True):
                assert np.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_slot_without_observations_changes_nothing(kind: str) -> None:
    """The memory after the series is the same, bit by bit, with empty slots behind the first."""
    cell, (one, *_) = made(kind), spells((7,))
    t = np.sort(np.concatenate([one.t, np.linspace(one.t[0] + 0.01, 1.99, 6)]))
    x = np.full((len(t), DIM), np.nan)
    x[np.searchsorted(t, one.t)] = one.x
    _, plain = passed(cell, row_of(pack([one], np.inf)), False)
    _, wide = passed(cell, row_of(pack([Spell(t, x)], np.inf)), False)
    last = int(np.flatnonzero(~np.isnan(one.x).all(1))[-1])
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(wide), strict=True):
        assert np.array_equal(a[last], b[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_seen_is_not_read(kind: str) -> None:
    """Values outside `seen` may be anything."""
    cell, (one, *_) = made(kind), spells((7,))
    seen = np.ones((7, DIM), bool)
    seen[2:4] = False
    other = np.where(seen, one.x, 99.0)
    a, _ = passed(cell, row_of(pack([one._replace(seen=seen)], np.inf)), False)
    b, _ = passed(cell, row_of(pack([Spell(one.t, other, seen)], np.inf)), False)
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.array_equal(left, right)


def test_a_slot_does_not_see_itself() -> None:
    """What is known before a slot does not depend on its own values."""
    cell, (one, *_) = made("ode"), spells((7,))
    x = one.x.copy()
    x[-1] = 5.0
    a, _ = passed(cell, row_of(pack([one], np.inf)), False)
    b, _ = passed(cell, row_of(pack([Spell(one.t, x)], np.inf)), False)
    assert np.array_equal(a.h, b.h)
    assert not np.array_equal(a.after.h[-1], b.after.h[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_no_gap_no_change(kind: str) -> None:
    h = np.linspace(-1, 1, HIDDEN).astype(np.float32)
    assert np.array_equal(made(kind).between(h, jnp.zeros(())), h)


def test_zero_field_is_a_plain_gru() -> None:
    """An ODE cell whose state stands still in the gaps is its GRU."""
    cell, (one, *_) = made("ode"), spells((7,))
    still = eqx.tree_at(lambda c: c.field, cell, lambda t, y, u: 0.0 * y)
    _, kept = passed(still, row_of(pack([one], np.inf)), False)
    h = jnp.zeros(HIDDEN)
    for x in one.x:
        seen = ~np.isnan(x)
        if seen.any():
            h = still.gru(h, jnp.concatenate([np.where(seen, x, 0.0), seen]))
    assert np.allclose(kept.h[-1], h, atol=1e-6)


def test_the_gap_is_crossed_along_the_field() -> None:
    """``dh/dt = -h`` over a gap of one: ``exp(-1) h``, of second order in the substeps."""
    errors = []
    for n in (4, 8):
        key = np.random.default_rng(0)
        cell = cells.ODECell(
            DIM, HIDDEN, width=8, depth=1, tableau=MIDPOINT, key=key, substeps=n
        )  # fmt: skip
        cell = eqx.tree_at(lambda c: c.field, cell, lambda t, y, u: -y)
        h = cell.between(jnp.ones(HIDDEN), jnp.ones(()))
        errors.append(float(jnp.abs(h - np.exp(-1.0)).max()))
    assert errors[1] < errors[0] / 3.5


def test_decay_forgets_to_the_mean() -> None:
    """After a long gap the state is zero, and a value not seen reads as the mean."""
    fast = eqx.tree_at(
        lambda c: (c.of_state, c.of_input), made("decay"),
        (jnp.full(HIDDEN, 1e3), jnp.full(DIM, 1e3)),
    )  # fmt: skip
    x = np.array([[1.0, -2.0], [0.5, np.nan]])
    _, kept = passed(fast, row_of(pack([Spell(np.array([0.0, 5.0]), x)], np.inf)), False)
    alone = fast.gru(jnp.zeros(HIDDEN), jnp.array([0.5, 0.0, 1.0, 0.0]))
    assert np.allclose(kept.h[-1], alone, atol=1e-6)
    slow = eqx.tree_at(
        lambda c: (c.of_state, c.of_input), made("decay"),
        (jnp.full(HIDDEN, -1e3), jnp.full(DIM, -1e3)),
    )  # fmt: skip
    _, kept = passed(slow, row_of(pack([Spell(np.array([0.0, 5.0]), x)], np.inf)), False)
    h = slow.gru(jnp.zeros(HIDDEN), jnp.array([1.0, -2.0, 1.0, 1.0]))
    h = slow.gru(h, jnp.array([0.5, -2.0, 1.0, 0.0]))
    assert np.allclose(kept.h[-1], h, atol=1e-6)
