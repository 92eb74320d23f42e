"""Lynx and hare from rolling origins: the forecast of 2, 4 and 6 years beside naive ones.

The default `NeuralODE` is fitted to the first 12, 13, ... 19 of 21 years and forecasts the years
after them. Errors are root mean squares over all points within the horizon, in units of each
species' standard deviation over the 21 years (`Backtest.errors`).
"""

from __future__ import annotations

from typing import Any

from ..data import read_trajectories
from ..estimators import NeuralODE
from ..judging import backtest
from . import Row, Task
from .lynx_hare import data_file

ORIGINS, HORIZONS = range(12, 20), (2, 4, 6)


def run(task: Task = Task(), model: Any = None) -> list[Row]:
    """Model, every naive forecast and the ratio to the best, by horizon; coverage and flags."""
    data = read_trajectories(data_file(task.data), time="Year")
    found = backtest(
        NeuralODE() if model is None else model, data, origins=ORIGINS, horizon=HORIZONS[-1]
    )
    table, rows = found.errors(HORIZONS), []
    for h in HORIZONS:
        points = f"{table.loc[h, 'points']:.0f} points"
        rows.append(Row(f"error within {h} years", None, float(table.loc[h, "model"]), unit="sd",
                        note=points))  # fmt: skip
        rows += [
            Row(f"naive within {h} years: {name}", None, float(table.loc[h, name]), unit="sd")
            for name in found.points.naive
        ]
        best = f"best naive: {table.loc[h, 'best naive']}"
        rows.append(Row(f"ratio within {h} years", None, float(table.loc[h, "ratio"]), note=best))
    low, high = found.coverage.interval()
    inside = f"{found.coverage.inside} of {found.coverage.points} points"
    note = f"nominal {found.nominal:.0%}; {inside}; 95 % interval {low:.3f}–{high:.3f}"
    rows.append(Row("coverage of the forecasts", None, found.coverage.share, note=note))
    rows.append(Row("fits flagged", None, float(len(found.failed)), n=len(found.origins)))
    rows.append(Row("seconds per origin", None, found.seconds / len(found.origins), unit="s"))
    if task.out is not None:
        found.to_frame().to_csv(task.out / "lynx-hare-backtest.csv", index=False)
        figure = found.plot()[0].figure
        figure.savefig(task.out / "lynx-hare-backtest.png", dpi=110)
    return rows
