"""Several models on the same origins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError
from ..estimators.border import as_trajectories, check_coverage
from ..records import Comparison
from .baselines import NAMES
from .origins import cuts_of
from .rolling import roll


def compare(
    models: Mapping[str, Any],
    data: Any,
    t: Any = None,
    u: Any = None,
    *,
    origins: int | Sequence[int] = 8,
    horizon: Any = None,
    coverage: float = 0.9,
    progress: bool | None = None,
) -> Comparison:
    """Models by name, and the baselines of `backtest`, on the same cuts and the same points.

    All models are fitted at one origin before the next, so that Ctrl-C keeps a fair comparison of
    the finished origins. The difference to the best has a standard error over origins
    (`Points.difference`); what it cannot tell from the best is called a tie. Options as in
    `backtest`.

    Raises `InputError` for no models, for a model named as a baseline, and as `backtest` does.

    Source: Diebold and Mariano 1995 (comparing forecasts).

    >>> import tenkai as tk
    >>> data = tk.toys.sample("lotka_volterra", n=30, noise=0.05, seed=0)
    >>> small = dict(members=2, steps=20, matching_steps=50, held_out=0.0)
    >>> models = {"log": tk.NeuralODE(**small), "raw": tk.NeuralODE(positive=False, **small)}
    >>> done = tk.compare(models, data, origins=[20], horizon=2.0, progress=False)
    >>> sorted(done.to_frame([2.0])["name"])
    ['AR', 'last value', 'linear', 'log', 'mean', 'raw']
    """
    if not isinstance(models, Mapping) or not models:
        raise InputError(
            "models", expected="a dictionary of models by name", got=repr(models),
            do='pass {"small": tk.NeuralODE(width=16), "large": tk.NeuralODE(width=64)}',
        )  # fmt: skip
    for name in models:
        if name in NAMES or not isinstance(name, str):
            raise InputError(
                "models", expected=f"names other than {', '.join(NAMES)}", got=repr(name),
                do="choose another name",
            )  # fmt: skip
    known = as_trajectories(data, t, u)
    cuts = cuts_of(known, origins, horizon)
    tests = roll(models, known, cuts, check_coverage(coverage), progress)
    notes = next(iter(tests.values())).notes
    return Comparison(tests, notes)
