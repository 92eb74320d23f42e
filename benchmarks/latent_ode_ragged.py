"""Training on 100 000 ragged series (5 to 60 points) out of shards, against padding to the longest.

Both train the same latent ODE on as many series a step; packed rows hold several series behind one
another. Shown is the share of slots that hold a point; the extras are the first pass over the
shards, packing all series in memory, and the peak memory of the whole process.
"""

from __future__ import annotations

import functools
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from tenkai.data import Shards
from tenkai.fit import fit
from tenkai.objectives import Aux
from tenkai.sequences.latent import LatentModel
from tenkai.sequences.objectives import summed
from tenkai.sequences.packing import Block, Rows, Shape, abreast, pack
from tenkai.sequences.streaming import Batches, block, units

from .harness import Contender, Race

LONGEST, ROWS, RULE = 1 / 20, 128, optax.adam(1e-3)


def write(folder: Path, count: int, files: int = 20) -> None:
    """Damped oscillations of random phase, seen at random times with noise."""
    rng = np.random.default_rng(0)
    for k in range(files):
        ptr = np.concatenate([[0], np.cumsum(rng.integers(5, 61, count // files))])
        gaps, one = rng.exponential(0.1, ptr[-1]), np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
        t = np.cumsum(gaps)
        t -= t[ptr[:-1]][one]
        phase = rng.uniform(0, 2 * np.pi, len(ptr) - 1)[one] + t
        x = np.stack([np.cos(phase), np.sin(phase)], axis=1) * np.exp(-0.05 * t)[:, None]
        np.savez(folder / f"{k:02}.npz", ptr=ptr, t=t, x=x + rng.normal(0, 0.1, x.shape))


def negative_elbo(model: LatentModel, rows: Rows, key: Any) -> tuple[Any, Aux]:
    """Per point."""
    side = abreast(rows)
    noise = jax.random.normal(key, (len(side.begin), model.latent, len(rows.t)))
    found = summed(model, side, noise)
    return (found.divergence - found.log_likelihood) / found.points, Aux()


def prepare(quick: bool) -> Race:
    """Packed and padded."""
    folder = tempfile.TemporaryDirectory()
    write(Path(folder.name), 2000 if quick else 100_000)
    shards = Shards(folder.name)
    passed = seconds(lambda: shards.survey)
    scale = units(shards)
    packed = Batches(shards, scale, LONGEST, ROWS)
    together = round(ROWS * shards.survey.count / packed.epoch_rows)
    padded = Batches(shards, scale, LONGEST, together, shape=packed.shape._replace(places=1))
    model = LatentModel.build(
        2, latent=4, hidden=25, width=20, decoder=20, key=np.random.default_rng(0)
    )
    steps = 2 if quick else 100

    def contender(name: str, batches: Batches) -> Contender:
        def run() -> None:
            _ = folder  # the shards live as long as someone reads them
            fit(model, negative_elbo, batches, rule=RULE, steps=steps)

        return Contender(name, run, steps, lambda: batches.filled)

    return Race(
        f"step of {together} series", "share of slots filled",
        [contender("tenkai, packed", packed), contender("padded to the longest", padded)],
        2 if quick else 3,
        {
            "first pass over the shards, seconds": lambda: passed,
            "packing all in memory, seconds": lambda: seconds(
                functools.partial(pack_all, shards, scale, packed.shape)
            ),
            "peak memory of the process, GB": peak,
        },
    )  # fmt: skip


def pack_all(shards: Shards, scale: Any, shape: Shape) -> Rows:
    """Every series in one go, as `LatentODE` does with series in memory."""
    parts = [block(shards, scale, k) for k in range(len(shards))]
    ptr = np.cumsum(np.concatenate([[0], *(p.slots for p in parts)]))
    whole = Block(ptr, np.concatenate([p.t for p in parts]), np.concatenate([p.x for p in parts]))
    return pack(whole, LONGEST, shape)


def seconds(run: Callable[[], Any]) -> float:
    """Of the processor."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def peak() -> float:
    """Gigabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
