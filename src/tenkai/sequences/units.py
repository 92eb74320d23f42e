"""Between the units of a table and those of a model: values standardised, time by a span."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data import Scaler, Series, Trajectories
from .packing import Spell


class Units(NamedTuple):
    """Scales of the variables, and how much time of the table is one unit of the model's.

    A series' time begins with itself: of the model, ``tau = (t - beginning) / span``.
    """

    state: Scaler
    span: float

    @classmethod
    def of(cls, data: Trajectories) -> Units:
        """Standardises what was observed; one unit of time is the median duration of a series."""
        long = [float(s.t[-1] - s.t[0]) for s in data if len(s.t) > 1]
        return cls(Scaler.fit(np.concatenate([s.x for s in data])), float(np.median(long or [1.0])))

    def spell(
        self, one: Series, at: np.ndarray | None = None, *, beginning: float | None = None
    ) -> Spell:
        """A series as it is packed, with slots at further times `at` where nothing was observed."""
        t, x = one.t, self.state.forward(one.x)
        if at is not None:
            t = np.union1d(one.t, at)
            wide = np.full((len(t), x.shape[1]), np.nan)
            wide[np.searchsorted(t, one.t)] = x
            x = wide
        return Spell((t - (t[0] if beginning is None else beginning)) / self.span, x)

    def spells(self, data: Sequence[Series] | Trajectories) -> list[Spell]:
        """Every series."""
        return [self.spell(one) for one in data]
