"""Rolling origins: fit to the beginning, forecast what comes, compare with what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..estimators.border import as_trajectories, check_coverage
from ..records import Backtest
from .origins import cuts_of
from .rolling import roll


def backtest(
    model: Any,
    data: Any,
    t: Any = None,
    u: Any = None,
    *,
    origins: int | Sequence[int] = 8,
    horizon: Any = None,
    coverage: float = 0.9,
    progress: bool | None = None,
) -> Backtest:
    """How well `model` forecasts: fitted again at each origin, judged on what came after it.

    `model` is an estimator with its arguments; it is copied, and stays as it is. `data`, `t`, `u`
    are as for its `fit`. At each origin a copy learns what was observed up to there, and forecasts
    every later observation within the `horizon` (in units of the time column or as "10D"; usually a
    fifth of the series' span); known inputs of that time are given to it. Beside it stand the
    forecasts of the last value, the mean, the straight line and an autoregression of each variable
    (order by AICc, on the median step where times are irregular) from the same beginning.

    `origins` are numbers of observations seen (of every series; one that is shorter is learned
    whole), or a count: as many, spread from 60 to 95 % of each series.

    A fit that fails is a flagged origin without forecasts; the error of the first is raised when
    none succeeds. Ctrl-C keeps the finished origins and says so; before the first it interrupts.
    `progress` prints a line per origin (None: on a terminal).

    Raises `InputError` for data or origins that leave nothing to learn or to forecast.

    Source: Tashman 2000 (rolling origins); Hyndman and Athanasopoulos 2021, ch. 5.8 and 5.10.

    >>> import tenkai as tk
    >>> data = tk.toys.sample("lotka_volterra", n=30, noise=0.05, seed=0)
    >>> ode = tk.NeuralODE(members=2, steps=20, matching_steps=50, held_out=0.0)
    >>> done = tk.backtest(ode, data, origins=[20], horizon=2.0, progress=False)
    >>> list(done.errors([2.0]).columns)[:5]
    ['points', 'model', 'last value', 'mean', 'linear']
    """
    known = as_trajectories(data, t, u)
    cuts = cuts_of(known, origins, horizon)
    return roll({"model": model}, known, cuts, check_coverage(coverage), progress)["model"]
