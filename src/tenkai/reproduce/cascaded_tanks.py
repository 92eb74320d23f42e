"""Cascaded tanks: the level of the lower of two tanks that a pump fills and that may overflow.

Schoukens, Mattsson, Wigren and Noël 2016 (nonlinearbenchmark.org): 1024 points every 4 s to learn
from and as many to test, pump voltage in, sensor voltage out; the pump holds its voltage between
samples. The first five test outputs set the state; the rest of the record is simulated from the
input alone. Published errors: Champneys et al. 2024. Needs the file dataBenchmark.csv in
``--data DIR`` or its folder cascaded_tanks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..data import Trajectories
from ..errors import InputError
from ..estimators import NeuralODE
from ..records import Coverage, Forecast
from ..report.axes import band, dress, new_figure
from ..report.palette import INK, LEARNED, QUIET
from . import Row, Task
from .interval_coverage import pooled

FILE = "dataBenchmark.csv"
GIVEN = 5  # test outputs that may set the state
PUBLISHED = {"GRU": 0.396, "pNARX": 0.413, "LSTM": 0.490, "ARX": 0.685}


@dataclass(frozen=True)
class Record:
    """Sensor voltage ``y`` and pump voltage ``u`` at times ``t`` in seconds."""

    t: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    u: Float[np.ndarray, " n"]

    def trajectories(self, points: int | None = None) -> Trajectories:
        """The first `points` (all when None); the input keeps its value until the next sample."""
        first = slice(points)
        return Trajectories.from_arrays(
            self.y[first], self.t[first], self.u[first], names=["level"], input_names=["pump"],
            units={"level": "V", "pump": "V"}, time_name="time", hold="previous",
            learn=points is None,
        )  # fmt: skip


def run(task: Task = Task()) -> list[Row]:
    """Free-run error on the test record, beside the published ones; a picture in ``task.out``."""
    train, test = records(task.data)
    begun = time.perf_counter()
    ode = NeuralODE(augment=1, seed=0).fit(train.trajectories())
    seconds = time.perf_counter() - begun
    forecast = free_run(ode, test)
    if task.out is not None:
        draw(test, forecast, task.out / "cascaded-tanks.png")
    rest = test.y[GIVEN:, None]
    inside = (rest >= forecast.lower) & (rest <= forecast.upper)
    held = Coverage(int(inside.sum()), inside.size, forecast.coverage)
    error = rmse(forecast, test)
    what = f"free-run RMSE, samples {GIVEN + 1}…{len(test.y)}"
    return [
        *(Row(f"{what}: {name}", value, error, unit="V") for name, value in PUBLISHED.items()),
        pooled("coverage of the test record", [held]),
        Row("R² of one solve, training record", None, ode.score(), note=str(ode.fit_.status)),
        Row("time of the fit", None, seconds, unit="s"),
    ]


def records(data: Path | None) -> tuple[Record, Record]:
    """The training and the test record; `InputError` where the file is missing."""
    for path in () if data is None else (data / FILE, data / "cascaded_tanks" / FILE):
        if path.is_file():
            table = np.genfromtxt(path, delimiter=",", names=True)
            t = table["Ts"][0] * np.arange(len(table))
            return (
                Record(t, table["yEst"], table["uEst"]),
                Record(t, table["yVal"], table["uVal"]),
            )
    raise InputError(
        f"file {FILE}", expected="it in --data DIR or in DIR/cascaded_tanks", got="no such file",
        do="take it from nonlinearbenchmark.org (Cascaded Tanks) and name its folder",
    )  # fmt: skip


def free_run(ode: NeuralODE, test: Record) -> Forecast:
    """The rest of a record from its inputs; only the first five outputs set the state."""
    made = ode.forecast(
        data=test.trajectories(GIVEN), times=test.t[GIVEN:], inputs=test.u[GIVEN:, None]
    )
    assert isinstance(made, Forecast)  # one series gives one forecast
    return made


def rmse(forecast: Forecast, test: Record) -> float:
    """Root mean square error in volts after the given outputs."""
    return float(np.sqrt(np.mean((forecast.mean[:, 0] - test.y[GIVEN:]) ** 2)))


def draw(test: Record, forecast: Forecast, file: Path) -> None:
    """Measured against simulated level with its interval, and the pump below."""
    figure = new_figure(8, 4.6)
    level, pump = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    level.plot(test.t, test.y, color=INK, linewidth=1, label="measured")
    level.plot(forecast.time, forecast.mean[:, 0], color=LEARNED, label="simulated")
    band(level, forecast.time, forecast.lower[:, 0], forecast.upper[:, 0], LEARNED)
    level.margins(x=0)
    title = f"Cascaded tanks, test record: RMSE {rmse(forecast, test):.3f} V"
    dress(level, title=f"{title}, {forecast.coverage:.0%} interval", y="level / V")
    pump.step(test.t, test.u, where="post", color=QUIET, linewidth=1)
    dress(pump, x="time / s", y="pump / V")
    figure.align_ylabels()
    figure.savefig(file, dpi=150)
