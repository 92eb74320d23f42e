"""A stand-in for a fitted estimator of trajectories: it knows the harmonic oscillator exactly."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from tenkai.data import Clock, Series, Trajectories
from tenkai.fields import NeuralField
from tenkai.records import Discretisation, Fit, Forecast, HeldOut, Status
from tenkai.records import Path as Solved

OK = Status("converged", "Converged after 300 steps.")


def turn(y0: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The solution of x' = y, y' = -x."""
    c, s = np.cos(t)[:, None], np.sin(t)[:, None]
    return np.concatenate([c * y0[0] + s * y0[1], c * y0[1] - s * y0[0]], axis=1)


class Oscillator:
    """A stand-in for a fitted estimator that knows the harmonic oscillator."""

    members = 3

    def __init__(
        self,
        names: tuple[str, ...] = ("x", "y"),
        clock: Clock = Clock(),
        ids: tuple[str, ...] = ("0",),
        notes: tuple[str, ...] = (),
        status: Status = OK,
        hold_out: bool = True,
    ):
        noise = np.random.default_rng(0)
        t = np.linspace(0, 12, 40)
        self.start = np.array([1.0, 0.0])
        observed = [turn(self.start, t) + 0.1 * noise.normal(size=(40, 2)) for _ in ids]
        for x in observed:
            x[3, 0] = np.nan
        series = tuple(Series(i, t, x) for i, x in zip(ids, observed, strict=True))
        self.data_ = Trajectories(
            series,
            names,
            units={names[0]: "kg"},
            time_name=names[0] + "-time",
            clock=clock,
            notes=notes,
        )
        keys = jax.random.split(jax.random.key(0), self.members)
        self.model_ = eqx.filter_vmap(lambda k: NeuralField(2, key=k, width=8))(keys)
        self.fit_ = Fit(self.model_, status, history(), seconds=2.0, steps=300)
        self.held_out_ = self._held_out() if hold_out else None
        self.discretisation_ = Discretisation(1e-5, 2e-5, 1e-2, True, "This is an ODE.", 120)
        self.coverage_ = {"inside": 17, "points": 20, "nominal": 0.9} if hold_out else None
        self.seconds_ = {"smoother": 0.2, "shooting": 1.1, "series": 0.7}

    def get_params(self) -> dict[str, Any]:
        return {"members": self.members, "seed": 0, "field": None}

    def score(self) -> float:
        return 0.97

    def derivative(self, y: Any, t: Any = None, u: Any = None) -> np.ndarray:
        y = np.asarray(y)
        return np.stack([y[:, 1], -y[:, 0]], axis=1)

    def reconstruct(self, t: Any = None, series: Any = None, coverage: float = 0.9) -> Solved:
        raw = self.data_.clock.decode(self.data_[0].t) if t is None else np.asarray(t)
        x = turn(self.start, self.data_.clock.encode(raw))
        return Solved(raw, x, self.data_.names, str(series), x - 0.2, x + 0.2, coverage)

    def forecast(self, horizon: Any = None, **options: Any) -> list[Forecast]:
        t = np.linspace(12, 16, 20)
        return [self._ahead(t, s.id) for s in self.data_]

    def simulate(self, y0: Any, t: Any, u: Any = None) -> Solved:
        return Solved(np.asarray(t), turn(np.asarray(y0), np.asarray(t)))

    def _ahead(self, t: np.ndarray, series: str) -> Forecast:
        x = turn(self.start, t)
        raw = self.data_.clock.decode(t)
        names, time = self.data_.names, self.data_.time_name
        return Forecast(raw, x, x - 0.2, x + 0.2, 0.9, names, series, time)

    def _held_out(self) -> HeldOut:
        f = self._ahead(np.linspace(10, 12, 7), "0")
        naive = {"last value": 1.3, "mean": 0.9, "linear": 2.1}
        return HeldOut((f,), (np.asarray(f) + 0.05,), 0.2, naive, 13, 14, 0.9)


def history() -> list[dict[str, Any]]:
    steps = range(0, 101, 10)
    rows = [
        {
            "stage": stage,
            "step": k,
            "loss": np.exp(-k / 30) + 0.01,
            "validation": None,
            "event": None,
        }
        for stage in ("shooting", "series")
        for k in steps
    ]
    rows[5]["event"] = "rollback: rate halved"
    rows[-1]["validation"] = 0.02
    return rows
