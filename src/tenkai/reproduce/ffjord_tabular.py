"""FFJORD on tables: white wine by ten folds, any CSV, and the five sets of its table 2.

Grathwohl et al. 2019, table 2 (negative log-likelihood in nats per row, lower is better) on the
sets of Papamakarios et al. 2017. ``--data`` is a folder, or one CSV file. Looked for in the folder:

- ``rnade_uci.npz`` (or in its folder uci_density), array ``white_wine``;
- ``power.npz``, ``gas.npz``, ``hepmass.npz``, ``miniboone.npz``, ``bsds300.npz``, each with arrays
  ``train``, ``val`` and ``test`` as the scripts of Papamakarios et al. leave them; this training
  holds out rows of its own, so ``val`` is trained on.

White wine and a CSV: equal rows once, ten folds, columns standardised by the training rows, mean
log-likelihood of the test rows (higher is better), everything by default. A CSV's columns must be
numbers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ..errors import InputError
from ..estimators.flow_density import FlowDensity
from ..flows.baselines import baselines, choose
from . import Row, Task

# file: name, FFJORD's and the best other flow's negative log-likelihood, flows, layers x width.
PUBLISHED = {
    "power": ("POWER", -0.46, "MAF-DDSF -0.62", 5, "3 x 60"),
    "gas": ("GAS", -8.59, "MAF-DDSF -11.96", 5, "3 x 160"),
    "hepmass": ("HEPMASS", 14.92, "MAF-DDSF 15.09", 10, "2 x 210"),
    "miniboone": ("MINIBOONE", 10.43, "MAF-DDSF 8.86", 1, "2 x 860"),
    "bsds300": ("BSDS300", -157.40, "MAF-DDSF -157.73", 2, "3 x 1260"),
}
WINE = "rnade_uci.npz"
FOLDS = 10
_MOST_TESTED = 20_000  # rows of a large test set, solved one by one

Table = Float[np.ndarray, "rows dim"]


@dataclass(frozen=True)
class Tried:
    """What one fit gave: log-likelihoods of the test rows, its size, its time."""

    logs: Float[np.ndarray, " rows"]
    parameters: int
    flows: int
    nfe: float
    seconds: float


def run(task: Task = Task(), *, folds: int = FOLDS, **options: Any) -> list[Row]:
    """White wine or the CSV, then the five sets; `options` are those of `FlowDensity`."""
    begun = time.perf_counter()
    rows: list[Row] = []
    name, table = first_table(task.data)
    if table is not None:
        rows += _by_folds(name, table, folds, _deadline(task, begun), options)
    else:
        rows.append(Row(name, None, None, unit="nats", note=f"needs {WINE} in --data"))
    for file, published in PUBLISHED.items():
        path = _find(task.data, f"{file}.npz")
        rows += _large(published, path, file, options, _deadline(task, begun))
    return rows


def first_table(data: Path | None) -> tuple[str, Table | None]:
    """The CSV that `data` is, else white wine where the folder has it."""
    if data is not None and data.is_file():
        return data.stem, _csv(data)
    path = _find(data, WINE)
    if path is None:
        return "white wine", None
    with np.load(path) as file:
        return "white wine", np.unique(np.asarray(file["white_wine"], float), axis=0)


def split(table: Table, count: int, seed: int = 0) -> Iterator[tuple[Table, Table]]:
    """Training and test rows of every fold, standardised by the training rows."""
    parts = np.array_split(np.random.default_rng(seed).permutation(len(table)), count)
    for k, test in enumerate(parts):
        train = table[np.concatenate([p for i, p in enumerate(parts) if i != k])]
        mean, scale = train.mean(0), train.std(0)
        yield (train - mean) / scale, (table[test] - mean) / scale


def tried(train: Table, test: Table, options: dict[str, Any]) -> Tried:
    """One fit, and what it says of the test rows."""
    begun = time.perf_counter()
    density = FlowDensity(**{"compare": False, **options}).fit(train)
    logs = density.score_samples(test)
    leaves = jax.tree.leaves(density.model_.flows)
    trained = sum(leaf.size for leaf in leaves if np.ndim(leaf) and leaf.dtype.kind == "f")
    nfe = float("nan") if density.nfe_ is None else density.nfe_.mean
    seconds = time.perf_counter() - begun
    return Tried(logs, trained, len(density.model_), nfe, seconds)


def _by_folds(
    name: str, table: Table, count: int, deadline: float, options: dict[str, Any]
) -> list[Row]:
    made: list[Tried] = []
    simple: dict[str, list[float]] = {}
    choice = None
    for train, test in split(table, FOLDS):
        if len(made) == count or (made and time.perf_counter() + made[-1].seconds > deadline):
            break
        made.append(tried(train, test, options))
        choice = choice or choose(train)
        for found in baselines(train, test, choice=choice):
            simple.setdefault(f"{found.name} ({found.chosen})", []).append(found.mean)
    means = [float(m.logs.mean()) for m in made]
    about = f"{len(table)} unique rows, {len(made)} of {FOLDS} folds, {_spent(made)}"
    what = f"{name}, mean test log-likelihood"
    rows = [Row(f"{what}, default flow", None, *_mean(means), unit="nats", note=about)]
    rows += [
        Row(f"{what}, {simple_name}", None, *_mean(values), unit="nats", note="the same folds")
        for simple_name, values in simple.items()
    ]
    return rows + _sizes(name, made, "")


def _large(
    published: tuple[str, float, str, int, str], path: Path | None, file: str,
    options: dict[str, Any], deadline: float,
) -> list[Row]:  # fmt: skip
    name, best, other, flows, layers = published
    what = f"{name}, negative log-likelihood"
    theirs = f"published: {flows} flows of {layers}; {other}"
    if path is None:
        return [Row(what, best, None, unit="nats", note=f"needs {file}.npz in --data; {theirs}")]
    if time.perf_counter() > deadline:
        return [Row(what, best, None, unit="nats", note=f"out of budget; {theirs}")]
    with np.load(path) as arrays:
        _check(path, set(arrays.files))
        train = np.concatenate([arrays["train"], arrays["val"]]).astype(float)
        test = np.asarray(arrays["test"], float)
    test = np.random.default_rng(0).permutation(test)[:_MOST_TESTED]
    made = tried(train, test, options)
    error = float(made.logs.std(ddof=1) / len(test) ** 0.5)
    note = f"standard error {error:.2g} on {len(test)} test rows, {_spent([made])}; {theirs}"
    value = -float(made.logs.mean())
    return [Row(what, best, value, unit="nats", note=note), *_sizes(name, [made], theirs)]


def _sizes(name: str, made: list[Tried], note: str) -> list[Row]:
    last = made[-1]
    return [
        Row(f"{name}, parameters", None, float(last.parameters), note="of all flows"),
        Row(f"{name}, flows", None, float(last.flows), note=note or "an ensemble: added densities"),
        Row(f"{name}, NFE", None, float(np.mean([m.nfe for m in made])), note="at 1e-5, per row"),
    ]


def _mean(values: list[float]) -> tuple[float, float | None, int]:
    """Mean, standard deviation and number: what a row holds."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), spread, len(values)


def _spent(made: list[Tried]) -> str:
    return f"{sum(m.seconds for m in made):.0f} s"


def _deadline(task: Task, begun: float) -> float:
    return float("inf") if task.budget is None else begun + 60 * task.budget


def _find(data: Path | None, file: str) -> Path | None:
    if data is None or data.is_file():
        return None
    places = (data / file, data / "uci_density" / file, data / "maf" / file)
    return next((p for p in places if p.is_file()), None)


def _csv(path: Path) -> Table:
    import pandas as pd

    frame = pd.read_csv(path)
    text = [str(c) for c in frame.columns if frame[c].dtype.kind not in "iuf"]
    if text or frame.isna().any(axis=None):
        got = f"no numbers in {', '.join(text)}" if text else "missing values"
        raise InputError(
            str(path), expected="a CSV of numbers", got=got, do="leave those columns or rows out"
        )
    return np.unique(frame.to_numpy(float), axis=0)


def _check(path: Path, found: set[str]) -> None:
    if not {"train", "val", "test"} <= found:
        raise InputError(
            str(path), expected="arrays train, val and test", got=", ".join(sorted(found)),
            do="save them by numpy.savez",
        )  # fmt: skip
