"""FFJORD: evaluations of the field against the dimension of the latent space.

Grathwohl et al. 2019, section 5.2: with VAEs of 16 to 64 latent variables, the number of
evaluations of the posterior's field (NFE) does not grow with the dimension. Solved adaptively at
1e-5 after a training on a fixed grid. On Frey faces where ``--data DIR`` has them, else on the 1797
digits of 8 x 8 pixels that ship with scikit-learn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..flows.vae import FFJORDPosterior
from ..report.axes import dress, new_figure
from ..report.palette import LEARNED, QUIET
from . import Row, Task
from .ffjord_vae import Images, find, frey, trained

_MINUTES = 5.0
STEPS = 1500
LATENT = (16, 32, 48, 64)
FAMILY = FFJORDPosterior(rank=8, width=64)


def run(
    task: Task = Task(), *, steps: int = STEPS, latent: tuple[int, ...] = LATENT, **settings: Any
) -> list[Row]:
    """NFE per latent dimension, and the exponent of its growth; a picture in ``task.out``."""
    share = 1.0 if task.budget is None else task.budget / _MINUTES
    file = find(task.data, "freyfaces.npz")
    images = digits() if file is None else frey(file)
    rows, means = [], []
    for d in latent:
        count = max(1, round(steps * share))
        vae = trained(images, FAMILY, count, settings | {"latent": d})
        nfe = vae.nfe(images.test)
        means.append(float(nfe.mean()))
        note = f"−ELBO {vae.bits_per_dim(images.test):.2f} bits/dim, {count} steps, "
        note += f"{vae.fit_.seconds:.0f} s; sd over {len(nfe)} test rows"
        rows.append(Row(f"NFE, {d} latent variables", None, means[-1], float(nfe.std()), note=note))
    slope = float(np.polyfit(np.log(latent), np.log(means), 1)[0])
    rows.append(Row("NFE ~ dimension^k: k", 0.0, slope, note=f"{images.name}, rtol = atol = 1e-5"))
    if task.out is not None:
        draw(latent, means, images.name, task.out / "ffjord-nfe-dimension.png")
    return rows


def digits(seed: int = 0) -> Images:
    """1397/200/200 digits, their 17 levels spread over bytes."""
    from sklearn.datasets import load_digits

    x = np.asarray(load_digits().images)  # type: ignore[union-attr]
    x = np.round(x * (255 / 16)).astype(np.uint8)[np.random.default_rng(seed).permutation(len(x))]
    return Images("digits", x[:-400], x[-400:-200], x[-200:])


def draw(latent: tuple[int, ...], means: list[float], name: str, file: Path) -> None:
    """NFE against the dimension, beside growth in proportion."""
    figure = new_figure(5.0, 3.4)
    ax = figure.add_subplot()
    ax.plot(latent, means, "o-", color=LEARNED, label="posterior's flow")
    ax.plot(
        latent, means[0] * np.asarray(latent) / latent[0], ":", color=QUIET, label="∝ dimension"
    )
    ax.set_ylim(bottom=0)
    ax.set_xticks(latent)
    title = f"Evaluations of the field, {name}"
    dress(ax, title=title, x="latent variables", y="NFE at 1e-5")
    figure.savefig(file, dpi=150)
