"""ODEBench: systems whose path is recovered with R² > .9, clean and noisy, nothing tuned.

d'Ascoli et al., ODEFormer, ICLR 2024: 63 systems of one to four dimensions. Protocol: the first
trajectory, every third of its points; noisy: relative noise of 5 % and a random half dropped, seeds
0, 1, 2. R² of one solve out of the learned start state against the clean trajectory, averaged over
variables. Also from each fit: R² of the path from the second initial state (never seen), coverage
of 90 % intervals at points that neither training nor calibration saw, the forecast of the held-out
end, and whether a poor fit says that it is poor. Pictures' folder: ``odebench.csv``, a row per fit.
Needs the file odebench_odd.json (a share of the systems) in ``--data DIR`` or its folder odebench.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from ..estimators import NeuralODE
from ..records import Coverage
from . import Row, Task
from .interval_coverage import flag, pooled

FILE = "odebench_odd.json"
SUCCESS = 0.9
POOR = 0.5
NOISE = 0.05
COVERAGE = 0.9
SEEDS = (0, 1, 2)
# R² > .9 from the second initial state: a plain prototype of the stages, all 63 systems.
GENERALISED = {"clean": 40.0, "noisy": 13.0}
# Success rates as published or measured for others; their conditions are not exactly these.
PEERS = {
    "clean": "SINDy, best of eight settings, 83 %; ODEFormer 66 % over its conditions",
    "noisy": "SINDy, best of eight settings, 16 %; an oracle's smoothing spline 30 of 32",
}


@dataclass(frozen=True)
class Record:
    """What a fit sees of a system, ``x`` at ``t``, and what it is judged by.

    ``truth`` at ``time`` is the clean path; ``unseen`` at ``between`` are observations, as noisy as
    the seen ones, inside their span; ``other`` at ``other_time`` is the path from a second state.
    """

    t: Float[np.ndarray, " n"]
    x: Float[np.ndarray, "n dim"]
    time: Float[np.ndarray, " m"]
    truth: Float[np.ndarray, "m dim"]
    between: Float[np.ndarray, " k"]
    unseen: Float[np.ndarray, "k dim"]
    other_time: Float[np.ndarray, " l"]
    other: Float[np.ndarray, "l dim"]


@dataclass
class One:
    """What one fit showed: a row of odebench.csv. ``flag`` is empty if the status is content."""

    id: int
    condition: str
    seed: int
    r2: float = -np.inf
    r2_second: float = -np.inf
    inside: int = 0
    points: int = 0
    end_error: float = np.nan
    end_naive: float = np.nan
    end_inside: int = 0
    end_points: int = 0
    status: str = ""
    seconds: float = np.nan
    end_r2: float = np.nan
    flag: str = ""
    note: str = ""
    failed: bool = False


def run(task: Task = Task()) -> list[Row]:
    """All systems, clean and noisy; a budget in minutes ends the list of systems early."""
    every, until = systems(task.data), time.perf_counter() + 60 * (task.budget or np.inf)
    conditions = [(0.0, 0), *((NOISE, seed) for seed in SEEDS)]
    ones = []
    with _reported(task.out) as report:
        for system in every:
            for noise, seed in conditions:
                if time.perf_counter() > until:
                    return rows(ones)
                ones.append(one(system, noise, seed))
                report(ones[-1])
    return rows(ones)


def systems(data: Path | None) -> list[dict[str, Any]]:
    """The systems with their solutions; `InputError` where the file is missing."""
    for path in () if data is None else (data / FILE, data / "odebench" / FILE):
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    raise InputError(
        f"file {FILE}", expected="it in --data DIR or in DIR/odebench", got="no such file",
        do="take the systems from github.com/sdascoli/odeformer and name their folder",
    )  # fmt: skip


def record_of(system: dict[str, Any], noise: float = 0.0, seed: int = 0) -> Record:
    """Every third point of the first solution; with noise, a random half of these is seen.

    Without noise the points between (the first after each seen one) are the unseen ones.
    """
    first, second = system["solutions"][0]
    every, path = np.asarray(first["t"]), np.asarray(first["y"]).T
    seen, x = t, clean = every[::3], path[::3]
    between, unseen = every[1::3], path[1::3]
    if noise:
        random = np.random.default_rng(seed)
        noisy = clean * (1 + noise * random.normal(size=clean.shape))
        order = random.permutation(len(t))
        kept, dropped = (np.sort(i) for i in np.split(order, [len(t) // 2]))
        seen, x, between, unseen = t[kept], noisy[kept], t[dropped], noisy[dropped]
    inner = (between > seen[0]) & (between < seen[-1])
    later = t >= seen[0]
    return Record(
        seen, x, t[later], clean[later], between[inner], unseen[inner],
        np.asarray(second["t"]), np.asarray(second["y"]).T,
    )  # fmt: skip


def one(
    system: dict[str, Any], noise: float = 0.0, seed: int = 0, model: NeuralODE | None = None
) -> One:
    """Fit one system under one condition and judge it; an exception is a failed fit with a note.

    `model` is the default `NeuralODE` unless given.
    """
    record, ode = record_of(system, noise, seed), NeuralODE() if model is None else model
    found = One(system["id"], "noisy" if noise else "clean", seed)
    begun = time.perf_counter()
    try:
        ode.fit(record.x, t=record.t)
        found.seconds = time.perf_counter() - begun
        found.status, found.flag = ode.fit_.status.kind, flag(ode.fit_.status)
        found.r2 = r2(ode.reconstruct(record.time), record.truth)
        path = ode.reconstruct(record.between, coverage=COVERAGE)
        assert not isinstance(path, list)  # one series gives one path
        inside = (record.unseen >= path.lower) & (record.unseen <= path.upper)
        found.inside, found.points = int(inside.sum()), inside.size
        if (held := ode.held_out_) is not None:
            found.end_error, found.end_naive = held.error, held.best_naive[1]
            found.end_inside, found.end_points = held.inside, held.points
            found.end_r2 = r2(held.forecasts[0].mean, held.observed[0])
        _judge_other(found, ode, record)
    except Exception as error:  # what must not happen is counted, not hidden
        found.failed, found.note = True, f"{type(error).__name__}: {error}"
    return found


def _judge_other(found: One, ode: NeuralODE, record: Record) -> None:
    """The path from the second state, which a model on a log scale may refuse: that is a miss."""
    try:
        found.r2_second = r2(ode.simulate(record.other[0], record.other_time), record.other)
    except InputError as refusal:
        found.note = f"second state refused: {refusal}"


def r2(path: Any, truth: Float[np.ndarray, "time dim"]) -> float:
    """Coefficient of determination averaged over variables; -inf where the path is not finite."""
    y = np.asarray(path)
    y = np.where(np.isfinite(y), y, np.inf)
    total = np.maximum(((truth - truth.mean(0)) ** 2).sum(0), 1e-300)
    return float(np.mean(1 - ((y - truth) ** 2).sum(0) / total))


@contextlib.contextmanager
def _reported(out: Path | None) -> Iterator[Callable[[One], None]]:
    """A function that reports a fit at once: a line on stderr and, in `out`, one of the CSV."""
    path = Path(os.devnull) if out is None else out / "odebench.csv"
    with path.open("w", buffering=1, newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(One)])
        writer.writeheader()

        def report(o: One) -> None:
            said = f"{o.id:>2} {o.condition} {o.seed}: R² {o.r2:.3f}, second {o.r2_second:.3f}"
            ends = f"inside {o.inside} of {o.points}, end {o.end_error:.2f} sd"
            print(f"{said}, {ends}, {o.seconds:.1f} s {o.flag} {o.note}", file=sys.stderr)
            writer.writerow(asdict(o))

        yield report


def rows(ones: Sequence[One]) -> list[Row]:
    """Clean, noisy per seed, the mean of the seeds, and what is pooled over all noisy fits."""
    made = _rates("clean", [o for o in ones if o.condition == "clean"])
    noisy = [[o for o in ones if o.condition == "noisy" and o.seed == s] for s in SEEDS]
    for seed, group in zip(SEEDS, noisy, strict=True):
        made += _rates(f"noisy, seed {seed}", group)
    made += _averages([g for g in noisy if g])
    for name in ("clean", "noisy"):
        group = [o for o in ones if o.condition == name]
        made += _pooled(name, group) if group else []
    return made


def _rates(name: str, group: Sequence[One]) -> list[Row]:
    """Systems recovered, systems generalised, coverage."""
    if not group:
        return []
    lost = ", ".join(f"{o.id} ({o.r2:.2f})" for o in group if not o.r2 > SUCCESS) or "none"
    note = f"not recovered: {lost}; {PEERS[group[0].condition]}"
    refused = sum(o.note.startswith("second state refused") for o in group)
    second = f"R² > {SUCCESS} from the second state; {refused} states refused (log scale)"
    published = GENERALISED[group[0].condition]
    return [
        Row(f"recovered, {name}", None, _recovered(group), unit=f"of {len(group)}", note=note),
        Row(f"median R², {name}", None, float(np.median([o.r2 for o in group]))),
        Row(f"generalised, {name}", published, _generalised(group), unit="%", note=second),
        pooled(f"coverage, {name}", map(_inside, group)),
    ]


def _averages(groups: Sequence[Sequence[One]]) -> list[Row]:
    """Means over the noisy seeds, coverage pooled."""
    if len(groups) < 2:
        return []
    n, unit, note = len(groups), f"of {max(map(len, groups))}", "mean over seeds"
    found, other = [_recovered(g) for g in groups], [_generalised(g) for g in groups]
    mean, sd, published = float(np.mean(found)), float(np.std(found, ddof=1)), GENERALISED["noisy"]
    second, sd2 = float(np.mean(other)), float(np.std(other, ddof=1))
    return [
        Row("recovered, noisy", None, mean, sd, n, unit, f"{note}; {PEERS['noisy']}"),
        Row("generalised, noisy", published, second, sd2, n, "%", note),
        pooled("coverage, noisy", [_inside(o) for g in groups for o in g]),
    ]


def _pooled(name: str, group: Sequence[One]) -> list[Row]:
    """The held-out ends, poor fits and how many of them say so, exceptions, seconds."""
    ends = [o for o in group if o.end_points]
    seen = [Coverage(o.end_inside, o.end_points, COVERAGE) for o in ends]
    failed = [f"{o.id}/{o.seed} ({o.note})" for o in group if o.failed]
    seconds = [o.seconds for o in group if not np.isnan(o.seconds)] or [np.nan]
    own = "in units of the end's own variance, which is mere noise where a system rests"
    return [
        pooled(f"coverage of held-out ends, {name}", seen),
        _flagged(f"paths with R² < .5 flagged, {name}", [o for o in group if not o.r2 >= POOR]),
        _flagged(
            f"ends with R² < .5 flagged, {name}",
            [o for o in ends if not 1 - o.end_error**2 >= POOR],
            "in units of the whole series' variance",
        ),
        _flagged(
            f"the same, stricter, {name}", [o for o in ends if not o.end_r2 >= POOR], own
        ),
        Row(
            f"flagged, {name}", None, float(sum(bool(o.flag) for o in group)),
            unit=f"of {len(group)}", note="of all fits, good ones included",
        ),
        Row(f"exceptions, {name}", None, float(len(failed)), note="; ".join(failed)),
        Row(
            f"time, {name}", None, float(np.mean(seconds)), unit="s per fit",
            note=f"longest {max(seconds):.1f} s",
        ),
    ]  # fmt: skip


def _flagged(name: str, poor: Sequence[One], note: str = "against the clean path") -> Row:
    """How many of the poor fits say so, and the names of those that do not."""
    said = [o for o in poor if o.flag]
    silent = ", ".join(f"{o.id}/{o.seed}" for o in poor if not o.flag) or "none"
    kinds = ", ".join(f"{k} {n}" for k, n in Counter(o.flag for o in said).items()) or "none"
    note += f"; flagged: {kinds}; silent (id/seed): {silent}"
    return Row(name, None, float(len(said)), unit=f"of {len(poor)}", note=note)


def _inside(o: One) -> Coverage:
    return Coverage(o.inside, o.points, COVERAGE)


def _recovered(group: Sequence[One]) -> float:
    return float(sum(o.r2 > SUCCESS for o in group))


def _generalised(group: Sequence[One]) -> float:
    return 100 * float(np.mean([o.r2_second > SUCCESS for o in group]))
