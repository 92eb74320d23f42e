"""Lotka-Volterra's four rates from 40 points with 10 % noise: are they in their 90 % intervals?

A user's field with four unknown numbers, started 1.5 times too high or too low, in the default
`NeuralODE`. Records of tenkai's own: seeds 0 … 99; noise is relative, ``x (1 + .1 e)``, or
additive, a tenth of each variable's standard deviation. Of each parameter: the share of records
whose interval holds the true value, and the mean standard error beside the spread of the estimates.
Pictures' folder: ``lotka-volterra-parameters.csv``, a row per record and parameter, and a picture.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from ..data import Trajectories, toys
from ..estimators import NeuralODE
from ..records import Coverage
from ..report.axes import dress, new_figure
from ..report.palette import AHEAD, INK, LEARNED
from . import Row, Task
from .interval_coverage import flag

SYSTEM = toys.system("lotka_volterra")
KINDS = ("relative", "additive")
RECORDS, POINTS, NOISE, NOMINAL = 100, 40, 0.1, 0.9
OFF = {"a": 1.5, "b": 1 / 1.5, "c": 1.5, "d": 1 / 1.5}  # the first guess over the truth


class LotkaVolterra(eqx.Module):
    """``x' = a x - b x y``, ``y' = d x y - c y`` with four numbers to learn."""

    a: float = SYSTEM.parameters["a"] * OFF["a"]
    b: float = SYSTEM.parameters["b"] * OFF["b"]
    c: float = SYSTEM.parameters["c"] * OFF["c"]
    d: float = SYSTEM.parameters["d"] * OFF["d"]

    def __call__(self, t, state: Float[Array, " two"], u=None) -> Array:
        x, y = state
        return jnp.stack([self.a * x - self.b * x * y, self.d * x * y - self.c * y])


def run(task: Task = Task()) -> list[Row]:
    """Coverage by kind of noise, pooled and by parameter; a budget in minutes ends it early."""
    until = time.perf_counter() + 60 * (task.budget or np.inf)
    done: list[pd.DataFrame] = []
    for seed in range(RECORDS):
        if time.perf_counter() > until:
            break
        done += [one(kind, seed) for kind in KINDS]
        print(f"record {seed}: {done[-1].seconds.iloc[0]:.1f} s a fit", file=sys.stderr)
        if task.out is not None:
            pd.concat(done).to_csv(task.out / "lotka-volterra-parameters.csv", index=False)
    if not done:
        return []
    table = pd.concat(done, ignore_index=True)
    if task.out is not None:
        draw(table, task.out / "lotka-volterra-parameters.png")
    return rows(table)


def sample(kind: str, seed: int) -> Trajectories:
    """One record of 40 points with 10 % noise, relative or additive."""
    t = np.linspace(*SYSTEM.span, POINTS)
    clean = toys.truth(SYSTEM.name, t)
    e = NOISE * np.random.default_rng(seed).standard_normal(clean.shape)
    x = clean * (1 + e) if kind == "relative" else clean + e * clean.std(0)
    return Trajectories.from_arrays(x, t, names=SYSTEM.names)


def one(kind: str, seed: int) -> pd.DataFrame:
    """The table of parameters of one record, beside the truth."""
    begun = time.perf_counter()
    ode = NeuralODE(field=LotkaVolterra()).fit(sample(kind, seed))
    seconds = time.perf_counter() - begun
    table = ode.parameters_
    assert table is not None  # there is a field
    truth = np.array([SYSTEM.parameters[name] for name in table.index])
    said = flag(ode.fit_.status)
    table = table.assign(
        truth=truth, inside=(table.lower <= truth) & (truth <= table.upper), noise=kind, seed=seed,
        seconds=seconds, flag=said,
    )  # fmt: skip
    return table.reset_index()


def rows(table: pd.DataFrame) -> list[Row]:
    """Per kind of noise: coverage pooled and by parameter, errors, and the time of a fit."""
    made: list[Row] = []
    for kind, part in table.groupby("noise", sort=False):
        made.append(_covered(f"coverage, {kind} noise", part))
        for name, of in part.groupby("parameter"):
            made.append(_covered(f"coverage of {name}, {kind}", of))
        for name, of in part.groupby("parameter"):
            spread = float(of.value.std()) if len(of) > 1 else None
            note = "" if spread is None else f"the estimates' own spread: {spread:.3g}"
            bias = f"; mean estimate {of.value.mean():.3f}, truth {of.truth.iloc[0]:.3g}"
            error = float(of.standard_error.mean())
            made.append(Row(f"standard error of {name}, {kind}", None, error, note=note + bias))
    fits = table.drop_duplicates(["noise", "seed"])
    flagged = f"{int((fits.flag != '').sum())} of {len(fits)} fits flagged; longest "
    longest = f"{fits.seconds.max():.1f} s, with the programs' compilation"
    made.append(Row("median time of a fit", None, float(fits.seconds.median()), unit="s",
                    n=len(fits), note=flagged + longest))  # fmt: skip
    return made


def _covered(name: str, part: pd.DataFrame) -> Row:
    found = Coverage(int(part.inside.sum()), len(part), NOMINAL)
    low, high = found.interval()
    note = f"{found.inside} of {found.points}; 95 % binomial interval {low:.1%} to {high:.1%}"
    return Row(name, None, found.share, note=note)


def draw(table: pd.DataFrame, file: Path) -> None:
    """Every record's interval of every parameter; those that miss the truth in another colour."""
    names = list(dict.fromkeys(table.parameter))
    kinds = list(dict.fromkeys(table.noise))
    figure = new_figure(2.3 * len(names) + 0.6, 2.6 * len(kinds) + 0.4)
    grid = figure.subplots(len(kinds), len(names), squeeze=False, sharex="col")
    for axes, kind in zip(grid, kinds, strict=True):
        for ax, name in zip(axes, names, strict=True):
            part = table.query("noise == @kind and parameter == @name").sort_values("value")
            for shade, of in ((LEARNED, part.inside), (AHEAD, ~part.inside)):
                rank = np.flatnonzero(of)
                ax.hlines(rank, part.lower[of], part.upper[of], color=shade, linewidth=0.9)
            ax.axvline(part.truth.iloc[0], color=INK, linewidth=0.9)
            title = f"{name}, {kind}: {part.inside.sum()} of {len(part)}"
            dress(ax, title=title, x=name if kind == kinds[-1] else "", legend=False)
            ax.set_yticks([])
    grid[0][0].set_ylabel("records")
    figure.savefig(file, dpi=150)
