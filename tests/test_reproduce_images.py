"""The image entries run through with tiny knobs and say what they spent."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tenkai.errors import InputError
from tenkai.reproduce import Task, ffjord_images, ffjord_multiscale, table


def test_glow_at_its_published_size_has_44_million_numbers() -> None:
    (share,) = ffjord_images.sizes()
    assert "of 44.1 million" in share.note and 1 < (share.ours or 0) < 5


def test_a_mosaic_shows_every_image() -> None:
    images = np.arange(1, 4)[:, None, None, None] * np.ones((3, 2, 2, 1))
    shown = ffjord_images.mosaic(images, columns=2)
    assert shown.shape == (6, 6)
    assert shown.sum() == images.sum()


def test_mnist_needs_its_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="idx3-ubyte"):
        ffjord_images.run(Task(data=tmp_path, budget=1.0))


KNOBS = {"steps": 2, "channels": 4, "count": 60, "adaptive": 2}


def test_digits_entry_of_a_discrete_flow(tmp_path: Path) -> None:
    rows = ffjord_images.run(Task(out=tmp_path), only=(ffjord_images.REALNVP,), **KNOBS)
    ours = {r.quantity: r.ours for r in rows}
    assert 0 < (ours["digits, RealNVP-like"] or 0) < np.log2(17)
    assert "digits, RealNVP-like, NFE" not in ours
    assert (tmp_path / "ffjord-images-digits.png").stat().st_size > 10_000
    assert "MNIST, RNODE" in table(rows)


@pytest.mark.slow
def test_digits_entry_of_a_continuous_flow() -> None:
    rows = ffjord_images.run(only=(ffjord_images.SINGLE,), **KNOBS)
    ours = {r.quantity: r.ours for r in rows}
    assert (ours["digits, single FFJORD, NFE"] or 0) > 9
    exact = ours["digits, single FFJORD, adaptive"]
    assert exact is not None and 0 < exact < np.log2(17)


@pytest.mark.slow
def test_mnist_entry_within_its_budget(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in zip(ffjord_images.FILES, (520, 8), strict=True):
        pixels = rng.integers(0, 256, (count, 784)).astype(np.uint8)
        with gzip.open(tmp_path / name, "wb") as stream:
            stream.write(bytes(16) + pixels.tobytes())
    rows = ffjord_images.run(Task(data=tmp_path, budget=0.05), adaptive=2)
    first = next(r for r in rows if r.quantity == "MNIST, multi-scale FFJORD")
    assert first.published == 0.99 and first.ours is not None and first.ours > 7


@pytest.mark.slow
def test_multiscale_entry(tmp_path: Path) -> None:
    rows = ffjord_multiscale.run(Task(out=tmp_path), **(KNOBS | {"steps": 4}))
    ratio = next(r for r in rows if r.quantity.startswith("NFE, multi-scale /"))
    assert ratio.published == 2.0 and ratio.ours is not None and ratio.ours > 1
    assert (tmp_path / "ffjord-multiscale.png").stat().st_size > 10_000
