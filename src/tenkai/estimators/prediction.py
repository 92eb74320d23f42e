"""From standardised paths of the members to records in the user's units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..curriculum.intervals import Calibration
from ..curriculum.problem import Problem, drivers_of, inputs_at
from ..curriculum.states import start_states
from ..data import Series, Trajectories
from ..errors import InputError
from ..models.ensemble import Ensemble
from ..records import Forecast, Path, Work

_RECENT = 64  # nodes of a new series that its state is estimated from


@dataclass(frozen=True, eq=False)
class Predictor:
    """An ensemble with its calibration and the data whose start states it knows."""

    ensemble: Ensemble
    calibration: Calibration
    data: Trajectories

    def reconstruct(
        self, which: int, at: np.ndarray, coverage: float, latent: bool = False
    ) -> Path:
        """The path of a trained series at float times, one solve out of its start state."""
        one = self.data[which]
        if len(at) and at.min() < one.t[0]:
            raise InputError(
                "t", expected=f"times from {self.data.clock.decode(one.t[:1])[0]} on",
                got=str(self.data.clock.decode(np.array([at.min()]))[0]),
                do="start where the series starts",
            )  # fmt: skip
        if self.data.n_inputs and len(at) and at.max() > one.t[-1]:
            raise InputError(
                "t", expected="times inside the series, whose inputs are known",
                got=str(self.data.clock.decode(np.array([at.max()]))[0]),
                do="use forecast with inputs for later times",
            )  # fmt: skip
        z, nodes = self._solve(one, self.ensemble.starts[:, which], at, None)
        mean, low, high = self._band(z, at - one.t[-1], coverage, latent)
        steps = int(np.ceil(np.diff(self.ensemble.time.forward(nodes)) / self.ensemble.step).sum())
        return Path(
            time=self.data.clock.decode(at), values=mean, names=self.data.names, series=one.id,
            lower=low, upper=high, coverage=coverage, time_name=self.data.time_name,
            work=Work(steps * self.ensemble.tableau.stages, steps),
        )  # fmt: skip

    def forecast(
        self, one: Series, start: np.ndarray, at: np.ndarray, u: np.ndarray | None,
        coverage: float, latent: bool = False,
    ) -> Forecast:  # fmt: skip
        """The continuation of a series at later float times, with known future inputs."""
        z, _ = self._solve(one, start, at, u)
        mean, low, high = self._band(z, at - one.t[-1], coverage, latent)
        return Forecast(
            self.data.clock.decode(at), mean, low, high, coverage, self.data.names, one.id,
            self.data.time_name,
        )  # fmt: skip

    def begin(self, data: Trajectories) -> list[tuple[Series, np.ndarray]]:
        """The recent part of new series, and the members' states where it starts."""
        recent = [
            Series(s.id, s.t[-_RECENT:], s.x[-_RECENT:],
                   None if s.u is None else s.u[-_RECENT:], s.static)
            for s in data
        ]  # fmt: skip
        problem = self._problem(recent)
        known = np.full((len(recent), self.ensemble.dim), np.nan)
        starts = start_states(self.ensemble, problem, known)
        return [(s, starts[:, i]) for i, s in enumerate(recent)]

    def simulate(self, y0: np.ndarray, at: np.ndarray, u: np.ndarray | None) -> Path:
        """The mean of the members' paths from a state in raw units at float times."""
        ensemble = self.ensemble
        start = ensemble.starts.mean(1)
        start[:, : len(y0)] = ensemble.standardised(y0[None])[0]
        inputs = None if u is None else [u]
        z = ensemble.paths([at], start[:, None], inputs)[0]
        mean = ensemble.raw(z[ensemble.trusted].mean(0))
        return Path(self.data.clock.decode(at), mean, self.data.names,
                    time_name=self.data.time_name)  # fmt: skip

    def derivative(self, y: np.ndarray, at: np.ndarray, u: np.ndarray | None) -> np.ndarray:
        """The mean of the members' fields at states (n, k) in raw units, at float times (n,)."""
        ensemble = self.ensemble
        z = np.tile(ensemble.starts.mean((0, 1)), (len(y), 1))
        z[:, : y.shape[1]] = ensemble.standardised(y)
        slope = ensemble.slopes(z, at, u)[ensemble.trusted].mean(0)
        return ensemble.rates(z, slope)

    def _solve(self, one: Series, start: np.ndarray, at: np.ndarray, u: np.ndarray | None):
        """Paths of all members at `at`, solved over the series' own times as well."""
        nodes = np.union1d(one.t, at)
        drive = drivers_of(one.u, one.static, len(one)) if self.ensemble.inputs else None
        inputs = None
        if drive is not None:
            later = None if u is None else drivers_of(u, one.static, len(at))
            inputs = [_driven(nodes, one.t, drive, at, later, self.ensemble.held)]
        z = self.ensemble.paths([nodes], start[:, None], inputs)[0]
        return z[:, np.searchsorted(nodes, at)], nodes

    def _band(
        self, z: np.ndarray, ahead: np.ndarray, coverage: float, latent: bool
    ) -> tuple[np.ndarray, ...]:
        shown = z[self.ensemble.trusted][..., : self.ensemble.shown]
        mean, spread = shown.mean(0), shown.std(0)
        scaled = ahead / self.ensemble.time.scale
        shape = self.calibration.shape(mean, self.ensemble.state)
        half = self.calibration.half_width(spread, coverage, scaled, latent=latent, shape=shape)
        inverse = self.ensemble.state.inverse
        return inverse(mean), inverse(mean - half), inverse(mean + half)

    def _problem(self, series: list[Series]) -> Problem:
        ensemble, time = self.ensemble, self.ensemble.time
        inputs = None
        if ensemble.inputs is not None:
            drive = np.concatenate([drivers_of(s.u, s.static, len(s)) for s in series])
            inputs = ensemble.inputs.forward(drive)
        return Problem(
            tau=np.concatenate([time.forward(s.t) for s in series]),
            series=np.repeat(np.arange(len(series)), [len(s) for s in series]),
            values=np.concatenate([s.x for s in series]),
            inputs=inputs, held=ensemble.held, time=time, input_scaler=ensemble.inputs,
        )  # fmt: skip


def _driven(
    nodes: np.ndarray, t: np.ndarray, drive: np.ndarray, at: np.ndarray,
    later: np.ndarray | None, held: bool,
) -> np.ndarray:  # fmt: skip
    """Inputs at all nodes from those at the series' times and, where given, at later ones."""
    if later is not None:
        t, drive = np.concatenate([t, at]), np.concatenate([drive, later])
    return inputs_at(nodes, t, drive, held)
