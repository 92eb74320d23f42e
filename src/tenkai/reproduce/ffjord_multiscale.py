"""Multi-scale against single FFJORD: evaluations and bits per dimension over training.

Toyama (in Japanese), 2019, slide 36; Grathwohl et al. 2019, table 2 and figure 5: with several
scales about twice the evaluations and slightly better bits per dimension (MNIST: .99 against 1.05).
Here on scikit-learn's digits, with the same field at every shape and the same training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..flows.images.evaluation import evaluate
from ..flows.images.training import ImageRecipe, train
from . import Row, Task
from .ffjord_images import (
    MULTI,
    PUBLISHED,
    SINGLE,
    TOLERANCE,
    Judged,
    digits,
    flows_of_digits,
    judged,
)  # fmt: skip

WATCHED = 40  # validation images whose evaluations are counted during training


def run(
    task: Task = Task(), *, steps: int = 600, channels: int = 32, count: int | None = None,
    adaptive: int = 270,
) -> list[Row]:  # fmt: skip
    """NFE and bits per dimension of both, their ratio and difference; both over training."""
    split, flows = digits(count), flows_of_digits(channels)
    every = max(1, steps // 12)
    recipe = ImageRecipe(steps=steps, every=every, patience=None)
    found: dict[str, Judged] = {}
    curves: dict[str, list[tuple[int, float]]] = {}
    for name in (SINGLE, MULTI):
        flow: Any = flows[name].build(split.train.shape[1], key=jax.random.key(0))
        watched = split.validation[:WATCHED]
        made = train(
            flow, split.train, validation=split.validation, recipe=recipe, snapshot_every=2
        )
        found[name] = judged(made.model, made, split.test, adaptive)
        curves[name] = [
            (step, evaluate(model.with_tolerance(TOLERANCE), watched, block=WATCHED).nfe)
            for step, model in made.snapshots
        ]
    if task.out is not None:
        draw(found, curves, task.out / "ffjord-multiscale.png")
    return _rows(found)


def _rows(found: dict[str, Judged]) -> list[Row]:
    single, multi = found[SINGLE], found[MULTI]
    rows = []
    for name, one in found.items():
        spent = f"{one.made.steps} steps, {one.made.seconds:.0f} s; {one.parameters} parameters"
        rows += [
            Row(f"digits, {name}", None, one.bits.mean, one.bits.error, unit="bits/dim",
                note=f"± standard error over {one.bits.images} test images; {spent}"),
            Row(f"NFE, {name}", None, one.bits.nfe, note=f"tolerance {TOLERANCE:g}"),
        ]  # fmt: skip
    return [
        *rows,
        Row("NFE, multi-scale / single", 2.0, multi.bits.nfe / single.bits.nfe,
            note="published: about twice"),
        Row("bits/dim, single - multi-scale", round(PUBLISHED[SINGLE] - PUBLISHED[MULTI], 2),
            single.bits.mean - multi.bits.mean, note="published: MNIST; ours: digits"),
    ]  # fmt: skip


def draw(found: dict[str, Judged], curves: dict[str, list[tuple[int, float]]], file: Path) -> None:
    """Bits per dimension of the validation images, and evaluations, over training."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import colour

    with lettering():
        figure = new_figure(9, 3.4)
        left, right = figure.subplots(1, 2)
        for i, (name, one) in enumerate(found.items()):
            seen = [(h["step"], h["validation"]) for h in one.made.history]
            left.plot(*np.array(seen, float).T, color=colour(i), marker="o", ms=3, label=name)
            right.plot(*np.array(curves[name]).T, color=colour(i), marker="o", ms=3, label=name)
        dress(left, title="Validation digits", x="step", y="bits / dim")
        title = f"Evaluations per image, tolerance {TOLERANCE:g}"
        dress(right, title=title, x="step", y="NFE", legend=False)
        right.set_ylim(bottom=0)
        figure.savefig(file, dpi=200)
