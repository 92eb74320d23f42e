"""Trajectories in model units: what the stages of a training read."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..data import Scaler, TimeScaler, Trajectories
from ..models.ensemble import PAD
from ..models.grid import ANY_SIZE, Grid, Size, pack, substeps

_FEWEST_STEPS = 80  # over the longest series: sparse observations still get a fine path


@dataclass(frozen=True, eq=False)
class Problem:
    """All series behind one another; a node is one observation time of one series.

    `tau` (nodes,) are scaled times, `series` the index of each node's series, `values`
    (nodes, dim) raw values with NaN, `inputs` (nodes, k) scaled inputs and covariates. `smoothers`
    are those that several trainings share.
    """

    tau: np.ndarray
    series: np.ndarray
    values: np.ndarray
    inputs: np.ndarray | None
    held: bool
    time: TimeScaler
    input_scaler: Scaler | None
    smoothers: dict = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, data: Trajectories, *, time: TimeScaler | None = None, inputs: Scaler | None = None
    ) -> Problem:
        """The data's nodes with time and inputs scaled, as the data or the given scalers say."""
        time = time or TimeScaler.fit(s.t for s in data)
        series = np.repeat(np.arange(len(data)), [len(s) for s in data])
        driven = drivers(data)
        scaler = inputs or (None if driven is None else Scaler.fit(driven))
        return cls(
            tau=np.concatenate([time.forward(s.t) for s in data]),
            series=series,
            values=np.concatenate([s.x for s in data]),
            inputs=None if driven is None or scaler is None else scaler.forward(driven),
            held=data.hold == "previous",
            time=time,
            input_scaler=scaler,
        )

    @property
    def spans(self) -> list[slice]:
        """The nodes of every series."""
        edges = np.flatnonzero(np.diff(self.series, prepend=-1, append=self.series[-1] + 1))
        return [slice(a, b) for a, b in itertools.pairwise(edges)]

    def grid(self, refine: int = 1, least: Size = ANY_SIZE, *, fewest: int = _FEWEST_STEPS) -> Grid:
        """The steps that hit every node, `refine` times as many as the coarsest grid has.

        Series lie in the same rows whatever the refinement.
        """
        times = [self.tau[s] for s in self.spans]
        counts = [refine * c for c in substeps(times, 1.0 / fewest)]
        inputs = None if self.inputs is None else [self.inputs[s] for s in self.spans]
        options = {"row_length": 1024 * refine, "pad_to": PAD, "least": least}
        return pack(times, counts, inputs, held=self.held, **options)


def drivers(data: Trajectories) -> np.ndarray | None:
    """What drives the field beside the state: known inputs, then covariates, per node."""
    if not data.input_names and not data.static_names:
        return None
    return np.concatenate([drivers_of(s.u, s.static, len(s)) for s in data])


def drivers_of(u: np.ndarray | None, static: np.ndarray | None, length: int) -> np.ndarray:
    """Inputs (time, k) with the series' covariates repeated beside them."""
    parts = [] if u is None else [u]
    if static is not None:
        parts.append(np.broadcast_to(static, (length, len(static))))
    return np.concatenate(parts, axis=1)


def inputs_at(at: np.ndarray, t: np.ndarray, u: np.ndarray, held: bool) -> np.ndarray:
    """The inputs `u` (time, k) of times `t`, at others: held from the last one, or straight."""
    if held:
        return u[np.maximum(np.searchsorted(t, at, side="right") - 1, 0)]
    return np.stack([np.interp(at, t, column) for column in u.T], 1)


def folds(problem: Problem, count: int, seed: int) -> np.ndarray:
    """Held-out nodes (count, nodes): inner points of every series, dealt over the members.

    Each inner point is left out by one member; a series of fewer than ten points gives none.
    """
    random = np.random.default_rng(seed)
    out = np.zeros((count, len(problem.tau)), bool)
    if count < 2:
        return out
    for span in problem.spans:
        inner = np.arange(span.start + 1, span.stop - 1)
        if len(inner) >= 8:
            out[np.arange(len(inner)) % count, random.permutation(inner)] = True
    return out


def ends(problem: Problem, share: float) -> np.ndarray:
    """The last `share` of the observed nodes of every series of at least eight, bool (nodes,)."""
    out = np.zeros(len(problem.tau), bool)
    for span in problem.spans:
        seen = np.flatnonzero(~np.isnan(problem.values[span]).all(1))
        if len(seen) >= 8 and share > 0:
            out[span.start + seen[-max(2, round(share * len(seen)))] : span.stop] = True
    return out


def windows(problem: Problem, length: int, closed: np.ndarray) -> np.ndarray:
    """Nodes where shooting windows of `length` nodes start; none where `closed`."""
    reset = np.zeros(len(problem.tau), bool)
    for span in problem.spans:
        starts: Sequence[int] = range(span.start, span.stop, length)
        reset[[s for s in starts if s == span.start or span.stop - s > length // 2]] = True
    return reset & ~closed
