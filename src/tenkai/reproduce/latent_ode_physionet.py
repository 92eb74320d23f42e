"""Latent ODE and ODE-RNN on PhysioNet 2012: interpolation of 37 variables, mortality.

Rubanova, Chen and Duvenaud 2019: sets a and b of the challenge (8000 stays of 48 hours, labels of
set a), hours rounded to .016, repeats averaged, every variable scaled to [0, 1] over the whole set,
the four static variables left out, 80 % of the stays to learn from. Interpolation: mean squared
error of observed values, and as a row of its own the mean over stays and variables, where those
never measured count as zero; mortality in hospital: area under the curve on test stays of set a.
Needs the file physionet2012_long.npz in ``--data DIR`` or its folder
physionet2012. ``--budget`` is the minutes of training, shared among the models.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from ..data import Series, Trajectories
from ..errors import InputError
from ..estimators.ode_rnn import ODERNN
from ..records import Fit
from ..report.stays import paths_through, risk_curves
from ..sequences.latent import LatentModel
from ..sequences.masked import Answer, Labelled, answers, learn_masked, within
from ..sequences.recurrent_evaluation import area_under_curve
from ..sequences.units import Units
from ..unfold import MIDPOINT
from . import Row, Task

FILE = "physionet2012_long.npz"
STATIC = 4  # Age, Gender, Height, ICUType
HOURS = 0.016
MINUTES = 10.0
SHARES = {"past": 0.25, "both": 0.25}  # of the minutes; the latent ODE has what is left
SEEDS = 3  # of each ODE-RNN at least, whose answers are averaged
SHOWN = ("HR", "MAP", "Temp", "GCS", "Urine", "Glucose")


@dataclass(frozen=True, eq=False)
class Stays:
    """Series of 37 variables in [0, 1] over hours; death in hospital (stays,), -1 unknown."""

    data: Trajectories
    death: Int[np.ndarray, " stays"]

    def of(self, which: np.ndarray) -> Stays:
        """Some of them."""
        series = tuple(self.data[int(i)] for i in which)
        return Stays(replace(self.data, series=series), self.death[which])


@dataclass(frozen=True, eq=False)
class Result:
    """Predictions of the test stays, log odds of their deaths, the training of the first seed."""

    values: list[np.ndarray]
    risk: np.ndarray | None
    fit: Fit
    seconds: float
    seeds: int = 1


def run(
    task: Task = Task(), *, stays: int | None = None, steps: int | None = None, seed: int = 0
) -> list[Row]:
    """Errors and areas beside the published ones; `stays` and `steps` of a small trial."""
    known = load(task.data)
    order = np.random.default_rng(seed).permutation(len(known.data))[:stays]
    cut = round(0.8 * len(order))
    train, test = known.of(order[:cut]), known.of(order[cut:])
    begun, seconds = time.perf_counter(), 60 * (task.budget or MINUTES)
    rnns = {
        name: recurrent(train, test, sides, SHARES[sides] * seconds, steps, seed)
        for name, sides in (("ODE-RNN", "past"), ("ODE-RNN, both sides", "both"))
    }
    left = max(seconds - (time.perf_counter() - begun), 0.1 * seconds)
    made = {"Latent ODE": latent(train, test, left, steps, seed)} | rnns
    risks = {name: r.risk for name, r in made.items() if r.risk is not None}
    risks["Latent ODE and ODE-RNN"] = np.mean(list(risks.values()), axis=0)
    risks["logistic regression"] = regression(train, test)
    if task.out is not None:
        draw(test, made, risks, task.out)
    return [*interpolation(train, test, made), *mortality(test, risks), *spent(made, len(order))]


def interpolation(train: Stays, test: Stays, made: dict[str, Result]) -> list[Row]:
    """Errors of observed values, and in the way of the published code."""
    notes = {
        "Latent ODE": "reconstructed from all values; the encoder is a GRU that reads gaps",
        "ODE-RNN": "each value from the earlier ones",
        "ODE-RNN, both sides": "each value from those at other times",
        "constant": "the training stays' means",
    }
    middle = np.nanmean(np.concatenate([s.x for s in train.data]), axis=0)
    values = {name: r.values for name, r in made.items()}
    values["constant"] = [np.broadcast_to(middle, s.x.shape) for s in test.data]
    rows = []
    for name, found in values.items():
        entry, stay = errors_of(found, test)
        way = "by stay and variable, zero where never measured"
        rows.append(Row(f"interpolation MSE: {name}", None, entry, note=notes[name]))
        rows.append(Row(f"MSE, mean over stays and variables: {name}", None, stay, note=way))
    return rows


def errors_of(found: list[np.ndarray], test: Stays) -> tuple[float, float]:
    """Mean squared error over observed values; and per stay and variable first."""
    squares = [(f - s.x) ** 2 for f, s in zip(found, test.data, strict=True)]
    total = float(np.nanmean(np.concatenate(squares)))
    counts = [np.maximum((~np.isnan(q)).sum(0), 1) for q in squares]
    each = [np.nansum(q, axis=0) / n for q, n in zip(squares, counts, strict=True)]
    return total, float(np.mean(each))


def mortality(test: Stays, risks: dict[str, np.ndarray]) -> list[Row]:
    """Areas under the curve over the test stays whose outcome is known."""
    known = test.death >= 0
    dead = test.death[known] == 1
    note = f"{int(known.sum())} test stays of set a, {int(dead.sum())} deaths"
    return [
        Row(f"mortality AUC: {name}", None, area_under_curve(risk[known], dead), note=note)
        for name, risk in risks.items()
    ]


def spent(made: dict[str, Result], stays: int) -> list[Row]:
    """What the trainings took."""
    rows = []
    for name, r in made.items():
        note = f"{r.fit.steps} steps, {r.seeds} seeds, on {stays} stays. {r.fit.status}"
        rows.append(Row(f"training: {name}", None, r.seconds, unit="s", note=note))
    return rows


def latent(train: Stays, test: Stays, seconds: float, steps: int | None, seed: int) -> Result:
    """A latent ODE that explains all values it has read, and the outcome."""
    begun = time.perf_counter()
    units = Units.of(train.data)
    spells = units.spells(train.data)
    watch = max(2, round(0.1 * len(spells)))
    longest = 1 / 24  # two hours
    model = LatentModel.build(
        train.data.dim, latent=32, encoder="rnn", hidden=80, width=64, depth=2,
        activation="tanh", decoder=100, classes=2, tableau=MIDPOINT, key=jax.random.key(seed),
    )  # fmt: skip
    made = learn_masked(
        model, Labelled(spells[watch:], train.death[watch:]),
        Labelled(spells[:watch], train.death[:watch]), longest, steps=steps, seconds=seconds,
        batch=16, rate=1e-2, divergence=0.02, label_weight=1.0, seed=seed,
    )  # fmt: skip
    took = time.perf_counter() - begun
    found = answers(made.model, units.spells(test.data), longest)
    values = [units.state.inverse(a.mean) for a in found]
    return Result(values, risks_of(found), made, took)


def risks_of(found: list[Answer]) -> np.ndarray:
    """The logarithm of the odds of death."""
    logits = np.stack([a.logits for a in found if a.logits is not None])
    return logits[:, 1] - logits[:, 0]


def recurrent(
    train: Stays, test: Stays, sides: Any, seconds: float, steps: int | None, seed: int
) -> Result:  # fmt: skip
    """ODE-RNNs of as many seeds as there is time for; those that read forwards learn the outcome.

    One stops where the stays that judge it see no gain, long before its time is over.
    """
    begun, found = time.perf_counter(), []
    while not found or steps is None:
        found.append(_one(train, test, sides, seconds / SEEDS, steps, seed + len(found)))
        took = time.perf_counter() - begun
        if took + took / len(found) > seconds:
            break
    values = [np.mean(v, axis=0) for v in zip(*(r.values for r in found), strict=True)]
    risks = [r.risk for r in found if r.risk is not None]
    took = time.perf_counter() - begun
    risk = np.mean(risks, axis=0) if risks else None
    return Result(values, risk, found[0].fit, took, len(found))


def _one(
    train: Stays, test: Stays, sides: Any, seconds: float, steps: int | None, seed: int
) -> Result:  # fmt: skip
    named = [None if d < 0 else int(d) for d in train.death] if sides == "past" else None
    made: dict[int, ODERNN] = {}

    def trained(count: int) -> Fit:
        rnn = ODERNN(
            sides=sides, hidden=40, width=50, steps=count, batch=64, held_out=0.1, seed=seed,
            density=0.3 if named else 1.0,
        )  # fmt: skip
        made[0] = rnn.fit(train.data, labels=named)
        return rnn.fit_

    fit = trained(steps) if steps is not None else within(trained, seconds)
    paths = made[0].reconstruct(data=test.data)
    values = [p.values for p in (paths if isinstance(paths, list) else [paths])]
    if named is None:
        return Result(values, None, fit, 0.0)
    chance = np.clip(made[0].predict_proba(test.data)[:, 1], 1e-6, 1 - 1e-6)
    return Result(values, np.log(chance / (1 - chance)), fit, 0.0)


def regression(train: Stays, test: Stays) -> np.ndarray:
    """Logistic regression on count, mean, spread, extremes, first and last of every variable."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = train.death >= 0
    options: Any = {
        "Cs": np.logspace(-4, 0, 5), "cv": 5, "scoring": "roc_auc", "max_iter": 1000,
        "l1_ratios": (0.0,), "use_legacy_attributes": False,
    }  # fmt: skip
    inside = LogisticRegressionCV(**options)
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), inside)
    model.fit(features(train.of(np.flatnonzero(known)).data), train.death[known])
    return model.predict_proba(features(test.data))[:, 1]


def features(data: Trajectories) -> Float[np.ndarray, "stays features"]:
    """Per variable: how often it was measured, mean, spread, extremes, first and last value."""
    rows = []
    for one in data:
        seen = one.observed
        some, count = seen.any(0), seen.sum(0)
        x = np.where(some, one.x, 0.0)
        parts = [
            np.nanmean(x, 0), np.nanstd(x, 0), np.nanmin(x, 0), np.nanmax(x, 0),
            one.x[seen.argmax(0), np.arange(x.shape[1])],
            one.x[len(x) - 1 - seen[::-1].argmax(0), np.arange(x.shape[1])],
        ]  # fmt: skip
        rows.append(np.concatenate([np.log1p(count), *(np.where(some, p, np.nan) for p in parts)]))
    return np.stack(rows)


def load(folder: Path | None) -> Stays:
    """All stays; `InputError` where the file is missing."""
    for path in () if folder is None else (folder / FILE, folder / "physionet2012" / FILE):
        if path.is_file():
            with np.load(path) as held:
                return stays_of({k: held[k] for k in held.files})
    raise InputError(
        f"file {FILE}", expected="it in --data DIR or in DIR/physionet2012", got="no such file",
        do="make it from sets a and b of physionet.org/content/challenge-2012 and name its folder",
    )  # fmt: skip


def stays_of(held: dict[str, np.ndarray]) -> Stays:
    """Series out of the long tables of sets a and b."""
    names = tuple(str(n) for n in held["params"][STATIC:])
    stay, when, which, value = [], [], [], []
    ids: list[str] = []
    for part in "ab":
        count = np.diff(held[f"ptr_{part}"])
        stay.append(len(ids) + np.repeat(np.arange(len(count)), count))
        ids += [f"{part}{i}" for i in held[f"id_{part}"]]
        when.append(held[f"t_{part}"] / 60.0)
        which.append(held[f"p_{part}"].astype(int) - STATIC)
        value.append(held[f"v_{part}"].astype(float))
    keep = np.concatenate(which) >= 0
    columns = [np.concatenate(a)[keep] for a in (stay, when, which, value)]
    series = series_of(ids, *columns, dim=len(names))
    death = np.full(len(ids), -1)
    death[: len(held["id_a"])] = held["outcome_a"][:, -1]
    shown = np.array([bool(s.observed.any()) for s in series])
    kept = tuple(s for s, k in zip(series, shown, strict=True) if k)
    return Stays(Trajectories(kept, names, time_name="hour"), death[shown])


def series_of(
    ids: list[str], stay: np.ndarray, when: np.ndarray, which: np.ndarray, value: np.ndarray, *,
    dim: int,
) -> list[Series]:  # fmt: skip
    """Rounded times, averaged repeats, variables in [0, 1]."""
    step = np.round(when / HOURS).astype(int)
    slots, row = np.unique(stay * (int(step.max()) + 1) + step, return_inverse=True)
    place = row * dim + which
    count = np.bincount(place, minlength=len(slots) * dim)
    total = np.bincount(place, value, minlength=len(slots) * dim)
    x = np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(-1, dim)
    never = np.all(np.isnan(x), axis=0)
    low, high = (np.where(never, 0.0, f(np.where(never, 0.0, x), axis=0)) for f in _ENDS)
    x = (x - low) / np.where(high > low, high - low, 1.0)
    owner, t = slots // (int(step.max()) + 1), HOURS * (slots % (int(step.max()) + 1))
    bounds = np.searchsorted(owner, np.arange(len(ids) + 1))
    parts = [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]  # noqa: RUF007
    return [Series(name, t[p], x[p]) for name, p in zip(ids, parts, strict=True)]


_ENDS = (np.nanmin, np.nanmax)


def draw(test: Stays, made: dict[str, Result], risks: dict[str, np.ndarray], out: Path) -> None:
    """The busiest test stay, and the curves of the risks."""
    busiest = int(np.argmax([np.isfinite(s.x).sum() for s in test.data]))
    one = test.data[busiest]
    found = {name: r.values[busiest] for name, r in made.items()}
    figure = paths_through(one, test.data.names, found, SHOWN, x="hour")
    figure.savefig(out / "latent-ode-physionet-stay.png", dpi=150)
    known = test.death >= 0
    named = {k: v[known] for k, v in risks.items()}
    figure = risk_curves(named, test.death[known] == 1)
    figure.savefig(out / "latent-ode-physionet-roc.png", dpi=150)
