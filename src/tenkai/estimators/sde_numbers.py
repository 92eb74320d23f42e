"""The numbers of a user's drift and diffusion as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np

from ..curriculum.parameters import COVERAGE, names
from ..diffusions.learning import Learned
from ..diffusions.scoring import sandwich
from .user_field import frame

if TYPE_CHECKING:
    import pandas as pd


def table(learned: Learned, given: dict[str, Callable | None]) -> pd.DataFrame | None:
    """Value, standard error and interval of every number; None of networks alone.

    A standard error is infinite where the data do not determine a number, NaN where there were too
    many unknowns to compute it.
    """
    from scipy.special import ndtri

    if all(field is None for field in given.values()):
        return None
    called, values, units, mine = [], [], [], []
    for what, field in given.items():
        part: Any = getattr(learned.at, what)
        if field is None:
            mine.append(np.zeros(np.size(part[0]), bool))
            continue
        one = [
            np.asarray(a)[0] for a in jax.tree.leaves(eqx.filter(part.field, eqx.is_inexact_array))
        ]
        size = [np.asarray(a)[0] for a in part.units]
        called += [f"{what}.{n}" if n else what for n in names(field)]
        values += [v * u for v, u in zip(one, size, strict=True)]
        units += size
        mine.append(np.ones(sum(a.size for a in one), bool))
    value = np.concatenate([np.ravel(v) for v in values]).astype(float)
    unit = np.concatenate([np.ravel(u) for u in units]).astype(float)
    error = np.full(len(value), np.nan)
    if learned.scored is not None:
        covariance, lost = sandwich(learned.scored)
        rows = np.concatenate(mine)
        error = np.where(lost, np.inf, np.sqrt(np.maximum(np.diag(covariance), 0)))[rows] * unit
    half = ndtri(0.5 + COVERAGE / 2) * error
    return frame(called, np.stack([value, error, value - half, value + half], 1))
