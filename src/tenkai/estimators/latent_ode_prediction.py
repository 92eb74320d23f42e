"""From posteriors and their paths to records in the user's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..data import Series, Trajectories
from ..records import Forecast, Path
from ..sequences.evaluation import (
    Beliefs,
    Moments,
    class_logits,
    draws_at,
    moments,
    posteriors,
)
from ..sequences.held_out import DRAWS, KINDS, Scores, conformal, noise_of
from ..sequences.latent import LatentModel
from ..sequences.learning import Learned
from ..sequences.units import Units
from .many_series import beyond

_CHECKED = 100  # series on which the solver's step is judged


class Code(NamedTuple):
    """Mean and standard deviation of ``q(z0 | x)`` of every series, and the series' ids."""

    mean: Float[np.ndarray, "series latent"]
    sd: Float[np.ndarray, "series latent"]
    series: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model in its units, the series it learned, and the widths of its intervals.

    Paths are solved in half the step of training.
    """

    model: LatentModel
    units: Units
    longest: float
    reach: float
    held: Scores | None
    data: Trajectories
    seed: int

    @classmethod
    def of(cls, learned: Learned, data: Trajectories, seed: int) -> Predictor:
        """Of what was learned."""
        return cls(
            learned.model, learned.units, learned.longest, learned.reach, learned.held, data, seed
        )

    def encode(self, series: Sequence[Series]) -> Code:
        """The posteriors of series."""
        found = self._posterior(series)
        return Code(found.mean, found.sd, tuple(s.id for s in series))

    def answers(
        self, series: Sequence[Series], at: Sequence[np.ndarray], coverage: float
    ) -> list[Forecast]:
        """Mean and interval of a new observation of each series at its own float times."""
        said, noise = self._moments(series, at), noise_of(self.model)
        state = self.units.state
        out = []
        for one, t, mean, sd in zip(series, at, said.mean, said.sd, strict=True):
            with np.errstate(over="ignore", invalid="ignore"):
                half = self._factors(one, t, coverage)[:, None] * np.sqrt(sd**2 + noise**2)
                low, middle, high = (state.inverse(z) for z in (mean - half, mean, mean + half))
            out.append(Forecast(
                self.data.clock.decode(t), middle, low, high, coverage, self.data.names, one.id,
                self.data.time_name, self._notes(one, t, middle),
            ))  # fmt: skip
        return out

    def latent_paths(
        self, series: Sequence[Series], at: Sequence[np.ndarray], coverage: float
    ) -> list[Path]:
        """The latent states in model units, with the posterior's interval."""
        said, wide = self._moments(series, at, latent=True), conformal(np.empty(0), coverage)
        names = tuple(f"z{i}" for i in range(self.model.latent))
        return [
            Path(self.data.clock.decode(t), mean, names, one.id, mean - wide * sd,
                 mean + wide * sd, coverage, self.data.time_name, self._notes(one, t, mean))
            for one, t, mean, sd in zip(series, at, said.mean, said.sd, strict=True)
        ]  # fmt: skip

    def probabilities(self, series: Sequence[Series]) -> np.ndarray:
        """Of every class, per series."""
        logits = class_logits(self.model, self._posterior(series).mean)
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def prior(self, n: int, since: np.ndarray, seed: int, noise: bool) -> np.ndarray:
        """Series (n, times, dim) that begin at ``z0 ~ N(0, I)``."""
        rng = np.random.default_rng([seed, 8])
        z0 = rng.standard_normal((n, self.model.latent))[None]
        times = [since / self.units.span] * n
        x = np.concatenate(draws_at(self.model, z0, times, self.longest / 2))
        if noise:
            x = x + noise_of(self.model) * rng.standard_normal(x.shape)
        return self.units.state.inverse(x)

    def moves(self) -> float:
        """How far paths move when the step is halved again, in standard deviations, at most."""
        some = list(self.data)[:_CHECKED]
        posterior = self._posterior(some)
        times = [(s.t - s.t[0]) / self.units.span for s in some]
        z0 = posterior.mean[None]
        coarse, fine = (
            draws_at(self.model, z0, times, self.longest / share) for share in (2, 4)
        )  # fmt: skip
        with np.errstate(invalid="ignore", over="ignore"):
            return float(max(np.abs(a - b).max() for a, b in zip(coarse, fine, strict=True)))

    def _posterior(self, series: Sequence[Series]) -> Beliefs:
        return posteriors(self.model, self.units.spells(series), self.longest)

    def _moments(
        self, series: Sequence[Series], at: Sequence[np.ndarray], *, latent: bool = False
    ) -> Moments:
        times = [(t - s.t[0]) / self.units.span for s, t in zip(series, at, strict=True)]
        return moments(
            self.model, self._posterior(series), times, self.longest / 2, draws=DRAWS,
            seed=self.seed, latent=latent,
        )  # fmt: skip

    def _factors(self, one: Series, t: np.ndarray, coverage: float) -> np.ndarray:
        """Predicted standard deviations that make half an interval, by where a time lies."""
        seen = one.t[one.observed.any(axis=1)]
        kind = np.where(t > seen[-1], 1, np.where(t < seen[0], 2, 0))
        empty = np.empty(0)
        factors = [
            conformal(empty, coverage) if self.held is None else self.held.factor(k, coverage)
            for k in KINDS
        ]
        return np.array(factors)[kind]

    def _notes(self, one: Series, t: np.ndarray, values: np.ndarray) -> tuple[str, ...]:
        longest = self.reach * self.units.span
        notes = list(beyond(one, t, longest, self.data.clock.unit))
        if not np.isfinite(values).all():
            notes.append("the path grew beyond all numbers: ask for times nearer to the data")
        return tuple(notes)
