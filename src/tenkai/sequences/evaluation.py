"""What a latent ODE says of series: posteriors, paths both ways in time, moments over draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .latent import LatentModel
from .multistep import steps_of
from .packing import Block, Rows, Shape, Spell, pack

_ROWS = 32  # rows that are solved side by side
_NUMBERS = 10_000_000  # of all draws of a block of series


class Beliefs(NamedTuple):
    """Mean and standard deviation of the state at which each series begins, (series, latent)."""

    mean: np.ndarray
    sd: np.ndarray


class Moments(NamedTuple):
    """Of what a path's draws look like: per series (times, dim), standardised, without noise."""

    mean: list[np.ndarray]
    sd: list[np.ndarray]


def normals(draws: int, latent: int, seed: int = 0) -> Float[np.ndarray, "draws latent"]:
    """Standard normal numbers in pairs of opposite sign, the same for every series.

    So what a series answers does not depend on those beside it, and the mean of the draws of a
    linear model is exact.
    """
    half = np.random.default_rng([seed, 7]).standard_normal((-(-draws // 2), latent))
    return np.concatenate([half, -half])[:draws]


def posteriors(model: LatentModel, spells: Sequence[Spell], longest: float) -> Beliefs:
    """Of the state at the beginning of every spell, both (series, latent)."""
    rows = shared(spells, longest)
    mean, sd = (np.asarray(a, np.float64) for a in _encoded(model, real(rows)))
    own = rows.index >= 0
    order = np.argsort(rows.index[own])
    return Beliefs(mean[own][order], sd[own][order])


def class_logits(model: LatentModel, z: np.ndarray) -> np.ndarray:
    """The logits (series, classes) of posterior means (series, latent)."""
    return np.asarray(_logits(model, real(z)), np.float64)


def draws_at(
    model: LatentModel, z0: np.ndarray, times: Sequence[np.ndarray], longest: float,
    *, latent: bool = False,
) -> list[np.ndarray]:  # fmt: skip
    """Paths out of `z0` (draws, series, latent) at each series' own `times` since its beginning.

    Times may come in any order and lie before the beginning. Per series (draws, times, dim), the
    latent states themselves where `latent`. The grid is the same whatever is asked, so paths are.
    """
    wide = model.latent if latent else len(model.log_noise)
    out = [np.full((len(z0), len(t), wide), np.nan) for t in times]
    for way in (1, -1):
        asked = [t >= 0 if way > 0 else t < 0 for t in times]
        which = [i for i, some in enumerate(asked) if some.any()]
        if not which:
            continue
        whole = [np.unique(way * times[i][asked[i]]) for i in which]
        one = model if way > 0 else model.backwards
        found = _one_way(one, z0[:, which], whole, longest, latent)
        for i, at, values in zip(which, whole, found, strict=True):
            where = np.searchsorted(at, way * times[i][asked[i]])
            out[i][:, asked[i]] = values[:, where]
    return out


def moments(
    model: LatentModel, posterior: Beliefs, times: Sequence[np.ndarray], longest: float,
    *, draws: int, seed: int = 0, latent: bool = False,
) -> Moments:  # fmt: skip
    """Mean and standard deviation over draws of the posterior, at each series' own times."""
    noise = normals(draws, model.latent, seed)[:, None]
    mean, sd = [], []
    for part in _blocks(times, draws * len(model.log_noise)):
        z0 = posterior.mean[part] + posterior.sd[part] * noise
        for paths in draws_at(model, z0, times[part], longest, latent=latent):
            with np.errstate(invalid="ignore", over="ignore"):
                mean.append(paths.mean(0))
                sd.append(paths.std(0))
    return Moments(mean, sd)


def _blocks(times: Sequence[np.ndarray], each: int) -> Iterator[slice]:
    """Neighbouring series, as many as memory takes."""
    begun, total = 0, 0
    for i, t in enumerate(times):
        if total and total + len(t) * each > _NUMBERS:
            yield slice(begun, i)
            begun, total = i, 0
        total += len(t) * each
    if begun < len(times):
        yield slice(begun, len(times))


def _one_way(
    model: LatentModel, z0: np.ndarray, times: list[np.ndarray], longest: float, latent: bool
) -> list[np.ndarray]:
    """Per series (draws, times, ...) at increasing times, none below zero."""
    # A beginning and an end on the grid of steps, so that the grid does not hang on what is asked.
    ends = [max(np.ceil(t[-1] / longest - 1e-9), 1.0) * longest for t in times]
    nothing = np.full((max(map(len, times)) + 2, len(model.log_noise)), np.nan)
    spells = [
        Spell(np.concatenate([[0.0], t, [end]]), nothing[: len(t) + 2])
        for t, end in zip(times, ends, strict=True)
    ]
    rows = shared(spells, longest)
    starts = z0[:, np.maximum(rows.index, 0)].swapaxes(0, 1)  # (rows, draws, places, latent)
    found = np.asarray(_solved(model, real(rows), real(starts), latent), np.float64)
    owner = np.take_along_axis(rows.index, np.maximum(rows.owner, 0), axis=1)
    used = rows.owner >= 0
    order = np.argsort(owner[used], kind="stable")
    flat = found.swapaxes(1, 2)[used][order]  # (slots of all series, draws, ...)
    cuts = np.cumsum([len(s.t) for s in spells])[:-1]
    return [part[1:-1].swapaxes(0, 1) for part in np.split(flat, cuts)]


def shared(spells: Sequence[Spell] | Block, longest: float) -> Rows:
    """Packed rows of a rounded shape and number, so that other series share their program."""
    block = spells if isinstance(spells, Block) else Block.of(spells)
    exact = Shape.of(block.slots, steps_of(block.duration, longest))
    rows = pack(block, longest, Shape(*(rounded(n) for n in exact)))
    spare = rounded(len(rows.owner)) - len(rows.owner)
    return jax.tree.map(partial(_with_empty, spare), Rows(*rows))._replace(
        owner=_with_empty(spare, rows.owner, -1), start=_with_empty(spare, rows.start, -1),
        index=_with_empty(spare, rows.index, -1),
    )  # fmt: skip


def rounded(n: int) -> int:
    """Up to a power of two, at least 32."""
    return max(32, 1 << (int(n) - 1).bit_length())


def _with_empty(count: int, a: np.ndarray, value: Any = 0) -> np.ndarray:
    return np.concatenate([a, np.full((count, *a.shape[1:]), value, a.dtype)])


def real(data: Any) -> Any:
    """Floating-point numbers of NumPy in the precision in force."""
    kind = jnp.zeros(()).dtype
    return jax.tree.map(lambda a: a.astype(kind) if a.dtype.kind == "f" else a, data)


@eqx.filter_jit
def _encoded(model: LatentModel, rows: Rows) -> tuple[Any, Any]:
    def one(row: Rows) -> tuple[Any, Any]:
        found = model.posterior(row)
        return found.mean, found.sd

    return jax.lax.map(one, rows, batch_size=_ROWS)


@eqx.filter_jit
def _logits(model: LatentModel, z: Any) -> Any:
    assert model.classes is not None
    return jax.vmap(model.classes)(z)


@eqx.filter_jit
def _solved(model: LatentModel, rows: Rows, starts: Any, latent: bool) -> Any:
    def one(x: tuple[Rows, Any]) -> Any:
        z = jax.vmap(model.path, in_axes=(None, 0))(*x)
        return z if latent else jax.vmap(model.seen)(z)

    return jax.lax.map(one, (rows, starts), batch_size=_ROWS)
