"""On which scale positive quantities are modelled: the one that foretells transitions better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import stdtrit

from ..data import Trajectories, can_be_log
from ..errors import InputError
from .start import MOST_LOG, Columns, Start, start
from .transitions import Pairs

_WORTH_A_LOG = 2.0  # largest over smallest value from which a log scale makes a difference
_CLEARLY = 0.99
_FOLDS, _BLOCKS = 5, 25


def choose_scale(
    data: Trajectories,
    asked: np.ndarray | None,
    columns: Callable[[np.ndarray], tuple[Columns, np.ndarray]],
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which variables (dim,) are on a log scale, and why; `asked` None lets the data decide.

    Log densities of left-out blocks of transitions, in raw units (so with the Jacobian of the
    scale): the log scale stands unless the raw one is clearly better (Student's test, 99 %).
    """
    values = np.concatenate([s.x for s in data])
    able = can_be_log(values)
    none = np.zeros_like(able)
    if asked is not None:
        if (asked & ~able).any():
            bad = ", ".join(n for n, b in zip(data.names, asked & ~able, strict=True) if b)
            raise InputError(
                f"positive=True with {bad}", expected="values above zero",
                got="a value of zero or below", do='use positive="auto" or False',
            )  # fmt: skip
        return asked, ()
    wide = able & (np.nanmax(values, 0) > _WORTH_A_LOG * np.nanmin(values, 0))
    if not wide.any():
        return none, ()
    log, raw = (_held_out(*columns(positive)) for positive in (wide, none))
    gain = raw - log
    bound = stdtrit(len(gain) - 1, _CLEARLY) * gain.std(ddof=1) / len(gain) ** 0.5
    better = bool(gain.mean() > bound)
    names = ", ".join(n for n, w in zip(data.names, wide, strict=True) if w)
    told = (
        f"{names} modelled on {('a log', 'the raw')[better]} scale: log-likelihood of left-out "
        f"transitions {log.mean():.4g} (log) against {raw.mean():.4g} (raw) nats"
    )
    return (none if better else wide), (told,)


def _held_out(columns: Columns, jacobian: np.ndarray) -> np.ndarray:
    """Mean log density (blocks,) of left-out blocks of time, one Euler step per gap."""
    count = len(columns.x)
    blocks = np.arange(count) * _BLOCKS // count
    logs = np.empty(count)
    for fold in range(_FOLDS):
        out = blocks % _FOLDS == fold
        random = np.random.default_rng(0)
        made = start(part(columns, ~out), 16, random)
        logs[out] = euler_log_density(part(columns, out), made)
    totals = np.bincount(blocks, logs + jacobian, _BLOCKS)
    return totals / np.maximum(np.bincount(blocks, minlength=_BLOCKS), 1)


def part(columns: Columns, rows: np.ndarray) -> Columns:
    """Some of the transitions."""
    pairs = Pairs(*(None if a is None else a[rows] for a in columns.pairs))
    return Columns(columns.x[rows], pairs, columns.full)


def euler_log_density(columns: Columns, made: Start) -> np.ndarray:
    """``log N(z1; z0 + a h, b b^T h)`` (n,) of a start's fields, one Euler step per gap."""
    x, pairs = columns.features(made.hidden), columns.pairs
    step = pairs.gap[:, None]
    miss = (pairs.z1 - pairs.z0 - step * (x @ made.drift.centre.T)) / np.sqrt(step)
    base, out = made.base, x @ made.diffusion.centre.T
    dim = miss.shape[1]
    out[:, :dim] = np.clip(out[:, :dim], -MOST_LOG, MOST_LOG)  # left-out states may be far away
    e = np.linalg.solve(base, miss.T).T if columns.full else miss / base
    logs = np.log(np.diag(base) if columns.full else base)
    if columns.full:  # e = (diag(exp(g)) + lower(h)) noise: forward substitution
        lower = np.zeros((len(x), dim, dim))
        lower[:, np.arange(dim), np.arange(dim)] = np.exp(out[:, :dim])
        lower[:, *np.tril_indices(dim, -1)] = out[:, dim:]
        e = np.linalg.solve(lower, e[..., None])[..., 0]
    else:
        e = e * np.exp(-out)
    logs = logs.sum() + out[:, :dim].sum(1) + 0.5 * dim * np.log(2 * np.pi * pairs.gap)
    return -0.5 * (e**2).sum(1) - logs
