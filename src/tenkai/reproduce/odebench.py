"""ODEBench: systems whose path is recovered with R² > .9, clean and noisy, nothing tuned.

d'Ascoli et al., ODEFormer, ICLR 2024: 63 systems of one to four dimensions. Protocol: the first
trajectory, every third of its points; noisy: relative noise of 5 % and a random half dropped. R² of
one solve out of the learned start state against the clean trajectory, averaged over variables.
Needs the file odebench_odd.json (a share of the systems) in ``--data DIR`` or its folder odebench.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..estimators import NeuralODE
from . import Row, Task

FILE = "odebench_odd.json"
SUCCESS = 0.9


def run(task: Task = Task()) -> list[Row]:
    """Clean and noisy success rates; a budget in minutes ends the list of systems early."""
    systems = _systems(task.data)
    until = time.perf_counter() + 60 * (task.budget or np.inf)
    rows = []
    # ODEFormer's 66.4 % is an average over its own conditions of noise and dropped points.
    for name, noise, published in (("clean", 0.0, None), ("noisy, seed 0", 0.05, None)):
        scores, seconds = {}, []
        for system in systems:
            if time.perf_counter() > until:
                break
            begun = time.perf_counter()
            scores[system["id"]] = score(system, noise)
            seconds.append(time.perf_counter() - begun)
        if not scores:
            continue
        values = np.array(list(scores.values()))
        failed = ", ".join(f"{i} ({r:.2f})" for i, r in scores.items() if not r > SUCCESS)
        note = f"of {len(values)} systems; not recovered: {failed or 'none'}"
        rows.append(
            Row(f"recovered, {name}", published, float((values > SUCCESS).sum()), note=note)
        )
        rows.append(Row(f"median R², {name}", None, float(np.median(values))))
        longest = f"longest {max(seconds):.1f} s"
        rows.append(
            Row(f"time, {name}", None, float(np.mean(seconds)), unit="s per system", note=longest)
        )
    return rows


def score(system: dict[str, Any], noise: float, seed: int = 0) -> float:
    """R² against the clean path of the default fit to one system."""
    solution = system["solutions"][0][0]
    t, clean = np.asarray(solution["t"])[::3], np.asarray(solution["y"]).T[::3]
    seen, x = t, clean
    if noise:
        random = np.random.default_rng(seed)
        x = clean * (1 + noise * random.normal(size=clean.shape))
        kept = np.sort(random.permutation(len(t))[: len(t) // 2])
        seen, x = t[kept], x[kept]
    path = np.asarray(NeuralODE().fit(x, t=seen).reconstruct(t[t >= seen[0]]))
    truth = clean[t >= seen[0]]
    y = np.where(np.isfinite(path), path, np.inf)
    total = np.maximum(((truth - truth.mean(0)) ** 2).sum(0), 1e-300)
    return float(np.mean(1 - ((y - truth) ** 2).sum(0) / total))


def _systems(data: Path | None) -> list[dict[str, Any]]:
    for path in () if data is None else (data / FILE, data / "odebench" / FILE):
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    raise InputError(
        f"file {FILE}", expected="it in --data DIR or in DIR/odebench", got="no such file",
        do="take the systems from github.com/sdascoli/odeformer and name their folder",
    )  # fmt: skip
