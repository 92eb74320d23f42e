"""Oil flow in two latents: leave-one-out errors of the nearest neighbour.

1000 rows of 12 measurements of a pipeline in three states of flow (Bishop and James 1993). A row is
an error where the nearest other latent is of another state. Published: principal components 162 and
GP-LVM 1 (Lawrence 2007), GTM 11; ours is `UKR` with default settings on the columns as they are.
The labels take no part in the fit. Needs oilflow.npz in ``--data DIR`` or its folder oilflow.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError
from ..estimators import UKR
from ..manifolds.starts import prepare, start
from ..report.axes import new_figure
from ..report.fonts import lettering
from ..report.manifold import latent_map
from ..report.manifold_findings import plane_of, shades_of
from . import Row, Task

FILE = "oilflow.npz"
PUBLISHED = {"principal components": 162.0, "GTM": 11.0, "GP-LVM": 1.0}


def run(task: Task = Task(), *, steps: int = 500, rows: int | None = None) -> list[Row]:
    """Errors among 1000 rows beside the published ones; a picture in ``task.out``."""
    x, labels = data(task.data)
    x, labels = x[:rows], labels[:rows]
    ready = prepare(x, np.ones(len(x)))
    linear = start("pca", ready.rows, 2, seed=0, box=None)[0][ready.where]
    begun = time.perf_counter()
    ukr = UKR(steps=steps).fit(x)
    seconds = time.perf_counter() - begun
    found = errors(ukr.embedding_, labels)
    if task.out is not None:
        draw(ukr, linear, labels, task.out / "ukr-oilflow.png")
    note = f"UKR, {steps} steps, leave-one-out error {ukr.error_:.2%} of the variance"
    return [
        Row("errors, principal components", PUBLISHED["principal components"],
            errors(linear, labels), note="ours: the start of UKR"),
        Row("errors, GTM", PUBLISHED["GTM"], found, note=note),
        Row("errors, GP-LVM", PUBLISHED["GP-LVM"], found, note=note),
        Row("errors, projections of the same rows", None, errors(ukr.transform(x), labels),
            note="transform instead of embedding_"),
        Row("time of the fit", None, seconds, unit="s", note="with compilation"),
    ]  # fmt: skip


def errors(z: Float[np.ndarray, "n latents"], labels: Int[np.ndarray, " n"]) -> int:
    """Rows whose nearest other latent has another label."""
    far = ((z[:, None] - z[None]) ** 2).sum(-1)
    np.fill_diagonal(far, np.inf)
    return int((labels[far.argmin(1)] != labels).sum())


def data(folder: Path | None) -> tuple[Float[np.ndarray, "n 12"], Int[np.ndarray, " n"]]:
    """Measurements and states of flow; `InputError` where the file is missing."""
    for path in () if folder is None else (folder / FILE, folder / "oilflow" / FILE):
        if path.is_file():
            with np.load(path) as table:
                labels = table["label"]
                return table["x"].astype(float), (
                    labels.argmax(1) if labels.ndim == 2 else labels.astype(int)
                )
    raise InputError(
        f"file {FILE}", expected="it in --data DIR or in DIR/oilflow", got="no such file",
        do="make it of the three-phase oil flow data: arrays x (1000, 12) and label",
    )  # fmt: skip


def draw(ukr: UKR, linear: np.ndarray, labels: np.ndarray, file: Path) -> None:
    """Principal components beside the latents, coloured by the state of flow."""
    shades = shades_of(np.array([f"state {k + 1}" for k in labels]), len(labels))
    with lettering():
        figure = new_figure(9.0, 4.4)
        left, right = figure.subplots(1, 2)
        latent_map(left, plane_of(linear, ukr.data_), shades)
        left.set(xlabel="PC 1", ylabel="PC 2")
        left.set_title(f"Principal components: {errors(linear, labels)} errors", loc="left")
        latent_map(right, plane_of(ukr.embedding_, ukr.data_), shades)
        right.set_title(f"UKR: {errors(ukr.embedding_, labels)} errors", loc="left")
    figure.savefig(file, dpi=150)
