"""Where a flow is looked at: the states that the data visited, and the box around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..curriculum.problem import drivers_of
from ..data import Trajectories
from ..errors import InputError
from ..models.ensemble import Ensemble

_ENLARGED = 0.5  # of the data's range, on each side


@dataclass(frozen=True, eq=False)
class Region:
    """Standardised states: the range of the data, the search box, the learned paths.

    `paths` are (members, time, dim) per series; hidden dimensions have the range of these paths.
    """

    low: np.ndarray
    high: np.ndarray
    search_low: np.ndarray
    search_high: np.ndarray
    paths: tuple[np.ndarray, ...]

    @property
    def states(self) -> np.ndarray:
        """States (n, dim) on the learned paths, of all series and members, that stay in reach."""
        flat = np.concatenate([p.reshape(-1, p.shape[-1]) for p in self.paths])
        return flat[self.searched(flat, margin=1.0)]

    def holds(self, z: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Whether states (..., dim) lie in the data's range, `margin` of it wider on each side."""
        wider = margin * (self.high - self.low)
        return _between(z, self.low - wider, self.high + wider)

    def searched(self, z: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Whether states (..., dim) lie in the search box, `margin` of it wider on each side."""
        wider = margin * (self.search_high - self.search_low)
        return _between(z, self.search_low - wider, self.search_high + wider)


def _between(z: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.all((z >= low) & (z <= high), axis=-1)


def region_of(ensemble: Ensemble, data: Trajectories, box: Any = None) -> Region:
    """The region of the training data; `box` (shown, 2) in raw units replaces the search box."""
    paths = _paths(ensemble, data)
    states = np.concatenate([p.reshape(-1, ensemble.dim) for p in paths])
    states = states[np.isfinite(states).all(1)]
    observed = ensemble.state.forward(np.concatenate([s.x for s in data]))
    low = np.append(np.nanmin(observed, axis=0), states[:, ensemble.shown :].min(0))
    high = np.append(np.nanmax(observed, axis=0), states[:, ensemble.shown :].max(0))
    wide = _ENLARGED * np.where(high > low, high - low, 1.0)
    search = np.stack([low - wide, high + wide], axis=1)
    if box is not None:
        search[: ensemble.shown] = _given(box, ensemble)
    return Region(low, high, search[:, 0], search[:, 1], tuple(paths))


def _paths(ensemble: Ensemble, data: Trajectories) -> list[np.ndarray]:
    """The trusted members' paths through the observation times, by the program that trained."""
    inputs = None
    if ensemble.inputs is not None:
        inputs = [drivers_of(s.u, s.static, len(s)) for s in data]
    double = np.asarray(jax.tree.leaves(ensemble.fields)[0]).dtype == np.float64
    with jax.enable_x64(double), np.errstate(over="ignore", invalid="ignore"):
        paths = ensemble.paths([s.t for s in data], ensemble.starts, inputs)
    return [p[ensemble.trusted] for p in paths]


def _given(box: Any, ensemble: Ensemble) -> np.ndarray:
    """The box in standardised units (shown, 2)."""
    raw = np.asarray(box, float)
    if raw.shape != (ensemble.shown, 2) or not (raw[:, 0] < raw[:, 1]).all():
        raise InputError(
            "box", expected=f"(low, high) for each of {ensemble.shown} variables",
            got=repr(box), do="pass one pair per variable",
        )  # fmt: skip
    if (ensemble.state.positive & (raw[:, 0] <= 0)).any():
        raise InputError(
            "box", expected="values above zero where a variable is modelled on a log scale",
            got=repr(box), do="start above zero, or fit with positive=False",
        )  # fmt: skip
    return ensemble.state.forward(raw.T).T


def held_inputs(ensemble: Ensemble, data: Trajectories, u: Any) -> np.ndarray | None:
    """Inputs and covariates (k,) in raw units, held constant; what is not given is at its mean."""
    if ensemble.inputs is None:
        if u is not None:
            raise InputError(
                "u", expected="none: the model was learned without inputs", got=repr(u),
                do="leave it out",
            )  # fmt: skip
        return None
    held = np.array(ensemble.inputs.offset, float)
    if u is None:
        return held
    given = np.asarray(u, float).reshape(-1)
    if len(given) not in (data.n_inputs, len(held)) or not np.isfinite(given).all():
        names = ", ".join((*data.input_names, *data.static_names))
        raise InputError(
            "u", expected=f"one finite number for each of {names}", got=repr(u),
            do="pass the constant inputs in this order",
        )  # fmt: skip
    held[: len(given)] = given
    return held


def scattered(low: np.ndarray, high: np.ndarray, count: int) -> np.ndarray:
    """Evenly spread states (count, dim) in a box: ``frac(.5 + i a)``, ``a_j = g^-j``.

    g > 1 solves ``g^(dim+1) = g + 1`` (Roberts 2018, the generalised golden ratio).
    """
    dim, g = len(low), 2.0
    for _ in range(40):
        g = (1 + g) ** (1 / (dim + 1))
    share = (0.5 + np.arange(1, count + 1)[:, None] * g ** -np.arange(1.0, dim + 1)) % 1
    return low + share * (high - low)


def thinned(states: Sequence | np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, evenly taken."""
    states = np.asarray(states)
    return states[np.unique(np.linspace(0, len(states) - 1, count).astype(int))]
