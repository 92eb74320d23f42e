"""FFJORD, table 3: variational autoencoders whose posteriors are flows.

Grathwohl et al. 2019, table 3; minus the ELBO of the test rows for the normal posterior and four
flows. Frey faces (bits/dim) are split 1565/200/200 after a seeded shuffle; MNIST, Omniglot and
Caltech silhouettes (nats) are bits, grey values being their probabilities. Theirs are gated
convolutional networks with 64 latent variables, trained for up to 2000 epochs, Frey faces with 256
probabilities per pixel; ours are fully connected ones of two layers with 32 latent variables, a
discretised logistic per pixel, and minutes. Needs freyfaces.npz in ``--data DIR`` or its folder
frey; with ``--budget`` of an hour and more also MNIST's four files; Omniglot's chardata.mat and
caltech101_silhouettes_28_split1.mat are used where they are.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..estimators.flow_vae import FlowVAE
from ..flows.vae import (
    FFJORDPosterior,
    IAFPosterior,
    NoFlow,
    PlanarPosterior,
    PosteriorFamily,
    SylvesterPosterior,
)
from . import Row, Task

_MINUTES = 5.0  # what the default number of steps takes on two cores, about
_HOUR = 60.0
STEPS = 2500
FRAME = (28, 28)
POSTERIORS: dict[str, PosteriorFamily] = {
    "no flow": NoFlow(),
    "planar": PlanarPosterior(layers=16),
    "IAF": IAFPosterior(layers=4, width=128),
    "Sylvester": SylvesterPosterior(layers=4, units=16, reflections=8),
    "FFJORD": FFJORDPosterior(rank=8, width=64),
}
PUBLISHED = {
    "Frey faces": (4.53, 4.40, 4.47, 4.45, 4.39),
    "MNIST": (86.55, 86.06, 84.20, 83.32, 82.82),
    "Omniglot": (104.28, 102.65, 102.41, 99.00, 98.33),
    "Caltech": (110.80, 109.66, 111.58, 104.62, 104.03),
}
SETTINGS: dict[str, Any] = {"latent": 32, "width": 256, "decay": 1e-3, "warm_up": 500}


@dataclass(frozen=True)
class Images:
    """A set of images in three parts; bytes, or grey values that are probabilities of bits."""

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def unit(self) -> str:
        """Bits per dimension for bytes, nats for bits."""
        return "bits/dim" if self.train.dtype == np.uint8 else "nats"


def run(
    task: Task = Task(), *, steps: int = STEPS,
    posteriors: dict[str, PosteriorFamily] | None = None, **settings: Any,
) -> list[Row]:  # fmt: skip
    """Every posterior on every set of images that is there; pictures in ``task.out``."""
    share = 1.0 if task.budget is None else task.budget / _MINUTES
    rows: list[Row] = []
    found = sets(task)
    for images in found:
        count = max(1, round(steps * share / len(found)))
        made = {
            name: trained(images, family, count, settings)
            for name, family in (posteriors or POSTERIORS).items()
        }
        rows += [row(images, name, vae) for name, vae in made.items()]
        if task.out is not None:
            draw(images, made, task.out / f"ffjord-vae-{images.name.lower().replace(' ', '-')}.png")
    return rows


def trained(
    images: Images, family: PosteriorFamily, steps: int, settings: dict[str, Any]
) -> FlowVAE:
    """One model; the validation rows say when to stop."""
    kind = "logistic" if images.train.dtype == np.uint8 else "bernoulli"
    options = SETTINGS | {"steps": steps, "likelihood": kind} | settings
    options["warm_up"] = min(options["warm_up"], steps // 4)
    vae = FlowVAE(family, **options)
    return vae.fit(images.train, validation=images.validation, progress=False)


def row(images: Images, name: str, vae: FlowVAE, *, draws: int = 16) -> Row:
    """Minus the ELBO of the test rows beside the published one."""
    at = list(POSTERIORS).index(name) if name in POSTERIORS else None
    published = None if at is None else PUBLISHED[images.name][at]
    test = images.test
    if images.unit == "nats":
        ours, tight = -vae.elbo(test, samples=draws).mean(), -vae.score(test)
    else:
        ours, tight = vae.bits_per_dim(test), vae.bits_per_dim(test, importance=64)
    note = f"{vae.fit_.steps} steps, {vae.fit_.seconds:.0f} s; 64 importance weights: {tight:.2f}"
    return Row(f"{images.name}, −ELBO, {name}", published, float(ours), unit=images.unit, note=note)


def draw(images: Images, made: dict[str, FlowVAE], file: Path) -> None:
    """Test images out of their codes, and samples, for every posterior."""
    from ..report.vae import compared

    few = images.test[:10]
    pairs = {k: (v.reconstruct(few), v.sample(10, noise=False)) for k, v in made.items()}
    compared(pairs, few).savefig(file, dpi=130)


def sets(task: Task) -> list[Images]:
    """The sets whose files are there; `InputError` without any."""
    found: list[Images] = []
    for name, (read, file) in _READERS.items():
        path = find(task.data, file)
        wanted = name != "MNIST" or (task.budget or 0.0) >= _HOUR
        if path is not None and wanted:
            found.append(read(path))
    if not found:
        raise InputError(
            "file freyfaces.npz", expected="it in --data DIR or in DIR/frey", got="no such file",
            do="take Frey faces from Roweis' page as an array x (1965, 28, 20) of bytes, or name "
            "a folder with MNIST's files and --budget 60",
        )  # fmt: skip
    return found


def find(data: Path | None, file: str) -> Path | None:
    if data is None:
        return None
    return next((p for p in (data / file, *sorted(data.glob(f"*/{file}"))) if p.is_file()), None)


def frey(path: Path, seed: int = 0) -> Images:
    """1565/200/200 after a shuffle."""
    with np.load(path) as arrays:
        x = arrays["x"][np.random.default_rng(seed).permutation(len(arrays["x"]))]
    return Images("Frey faces", x[:-400], x[-400:-200], x[-200:])


def mnist(path: Path) -> Images:
    """The last 10 000 training images validate."""
    train, test = (_idx(path.with_name(f"{n}-images-idx3-ubyte.gz")) for n in ("train", "t10k"))
    return Images("MNIST", train[:-10_000], train[-10_000:], test)


def _idx(path: Path) -> np.ndarray:
    with gzip.open(path) as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    return pixels.reshape(-1, *FRAME) / np.float32(255)


def omniglot(path: Path) -> Images:
    """As in Burda et al. 2016: 24 345 and 8070 characters; the last 1345 of the first validate."""
    from scipy.io import loadmat

    held = loadmat(path)
    train, test = (
        np.ascontiguousarray(held[k].T.reshape(-1, *FRAME).transpose(0, 2, 1), np.float32)
        for k in ("data", "testdata")
    )
    return Images("Omniglot", train[:-1345], train[-1345:], test)


def caltech(path: Path) -> Images:
    """The first split of Marlin et al. 2010."""
    from scipy.io import loadmat

    held = loadmat(path)
    parts = (
        held[k].reshape(-1, *FRAME).transpose(0, 2, 1).astype(np.float32)
        for k in ("train_data", "val_data", "test_data")
    )
    return Images("Caltech", *parts)


_READERS: dict[str, tuple[Callable[[Path], Images], str]] = {
    "Frey faces": (frey, "freyfaces.npz"),
    "MNIST": (mnist, "train-images-idx3-ubyte.gz"),
    "Omniglot": (omniglot, "chardata.mat"),
    "Caltech": (caltech, "caltech101_silhouettes_28_split1.mat"),
}
