"""The future of series by draws: every value drawn is one that the model has seen from then on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..data import Series
from .cells import Memory, visits
from .packing import Rows, Spell
from .recurrent import Ahead, Moment, RecurrentModel, go_on
from .recurrent_rows import Reader, carried_to, grid_times, rounded, rows_of

_ROWS = 16  # of series in one call
_SERIES = 16  # that are drawn together


class Drawn(NamedTuple):
    """Of one series, standardised: the mean of the forecast, and its draws."""

    mean: Float[np.ndarray, "times dim"]
    draws: Float[np.ndarray, "draws times dim"]


@eqx.filter_jit
def _ends(model: RecurrentModel, rows: Rows) -> Memory:
    """The memory at the end of every series, leaves (rows, places, ...)."""

    def one(row: Rows) -> Memory:
        after = visits(model.cells[0], row).after
        return jax.tree.map(lambda a: a[row.end], after)

    return jax.vmap(one)(rows)


@eqx.filter_jit
def _futures(model: RecurrentModel, ahead: Ahead, moments: Moment, noise: Any) -> Any:
    """Draws (series, draws, times, dim), and the mean of the densities they come from."""

    def one(now: Ahead, later: Moment) -> Any:
        def draw(eps: Any) -> Any:
            drawn, density = go_on(model, now, later._replace(noise=eps))
            return drawn, density.mean

        drawn, mean = jax.vmap(draw)(noise)
        return drawn, mean.mean(0)

    return jax.vmap(one)(ahead, moments)


def futures(
    model: RecurrentModel, reader: Reader, series: Sequence[Series], times: Sequence[np.ndarray],
    *, draws: int, seed: int,
) -> list[Drawn]:  # fmt: skip
    """Draws of each series at its own later times, out of everything it has shown."""
    moments, at = _moments(reader, series, times, model.log_rate.dtype)
    ahead = _states(model, reader, series)
    shape = (draws, moments.t.shape[1], model.dim)
    noise = np.random.default_rng(seed).standard_normal(shape).astype(model.log_rate.dtype)
    block, made = min(_SERIES, rounded(len(series))), []
    for start in range(0, len(series), block):
        which = np.minimum(np.arange(start, start + block), len(series) - 1)
        part = jax.tree.map(lambda a, which=which: a[which], (ahead, moments))
        drawn, mean = map(np.asarray, _futures(model, part[0], part[1], noise))
        for k in range(min(block, len(series) - start)):
            own = at[start + k]
            made.append(Drawn(mean[k][own], drawn[k][:, own]))
    return made


def _states(model: RecurrentModel, reader: Reader, series: Sequence[Series]) -> Ahead:
    """What is known at the end of each series, leaves (series, ...)."""
    spells = [reader.spell(one) for one in series]
    rows = rows_of(spells, model.log_rate.dtype)
    count, block = len(rows.t), min(_ROWS, rounded(len(rows.t)))
    parts = []
    for start in range(0, count, block):
        which = np.minimum(np.arange(start, start + block), count - 1)
        part = jax.tree.map(lambda a, which=which: a[which], rows)
        ends = jax.tree.map(np.asarray, _ends(model, part))
        parts.append(jax.tree.map(lambda a, n=count - start: a[:n], ends))
    ends = jax.tree.map(lambda *a: np.concatenate(a), *parts)
    order = np.argsort(rows.index[rows.index >= 0])
    memory = jax.tree.map(lambda a: a[rows.index >= 0][order], ends)
    plain = [reader.plain.spell(one) for one in series]
    last, since, known = (np.stack(a) for a in zip(*map(_last, plain), strict=True))
    kind = model.log_rate.dtype
    return Ahead(memory, last.astype(kind), since.astype(kind), known)


def _last(spell: Spell) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last value of every variable, when it was seen, and whether it was."""
    end, time = spell.t[-1:], np.where(np.isnan(spell.x), np.nan, spell.t[:, None])
    last, since = (carried_to(spell.t, a, end)[0] for a in (spell.x, time))
    return last, since, np.any(~np.isnan(spell.x), axis=0)


def _moments(
    reader: Reader, series: Sequence[Series], times: Sequence[np.ndarray], dtype: Any
) -> tuple[Moment, list[np.ndarray]]:
    """Times to come, padded to one length, and where among them each series was asked for."""
    every, at = [], []
    for one, asked in zip(series, times, strict=True):
        t, end = (asked - one.t[0]) / reader.units.span, (one.t[-1] - one.t[0]) / reader.units.span
        both, reads = t, np.ones(len(t), bool)
        if reader.every is not None:
            grid = grid_times(0.0, float(t[-1]), reader.every)
            grid = grid[grid > end]
            both = np.union1d(t, grid)
            reads = np.isin(both, grid)
        at.append(np.searchsorted(both, t))
        every.append((both, np.isin(both, t), reads))
    most = rounded(max(len(t) for t, _, _ in every))
    t = np.stack([np.pad(t, (0, most - len(t)), mode="edge") for t, _, _ in every]).astype(dtype)
    draws, reads = (
        np.stack([np.pad(e[k], (0, most - len(e[k]))) for e in every]) for k in (1, 2)
    )  # fmt: skip
    return Moment(t, None, draws, reads), at
