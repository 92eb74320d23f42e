"""The image entries run through with tiny knobs and say what they spent."""

from __future__ import annotations

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


def test_digits_entry(tmp_path: Path) -> None:
    rows = ffjord_images.run(Task(out=tmp_path), steps=2, channels=4, count=60, adaptive=2)
    ours = {r.quantity: r.ours for r in rows}
    assert ours["digits, multi-scale FFJORD, NFE"] > ours["digits, single FFJORD, NFE"] > 0
    assert all(np.isfinite(v) for q, v in ours.items() if q.startswith("digits"))
    assert (tmp_path / "ffjord-images-digits.png").stat().st_size > 10_000
    assert "MNIST, RNODE" in table(rows)


def test_multiscale_entry(tmp_path: Path) -> None:
    rows = ffjord_multiscale.run(Task(out=tmp_path), steps=4, channels=4, count=60, adaptive=2)
    ratio = next(r for r in rows if r.quantity.startswith("NFE, multi-scale /"))
    assert ratio.published == 2.0 and ratio.ours is not None and ratio.ours > 1
    assert (tmp_path / "ffjord-multiscale.png").stat().st_size > 10_000
