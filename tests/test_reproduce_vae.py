"""The commands on variational autoencoders, with tiny budgets."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tenkai import InputError
from tenkai.flows.vae import NoFlow, PlanarPosterior
from tenkai.reproduce import Task, ffjord_nfe_dimension, ffjord_vae, table

TINY = {"width": 8, "depth": 1, "batch": 20}


def faces(folder: Path, n: int = 460) -> Path:
    """Files that look like Frey faces: a grey ramp and noise."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 560).reshape(28, 20) * random.uniform(0.5, 1, (n, 1, 1))
    (folder / "frey").mkdir()
    x = np.clip(ramp + 5 * random.standard_normal((n, 28, 20)), 0, 255).astype(np.uint8)
    np.savez(folder / "frey" / "freyfaces.npz", x=x)
    return folder


def test_posteriors_beside_the_published_ones(tmp_path: Path) -> None:
    task = Task(out=tmp_path, data=faces(tmp_path))
    two = {"no flow": NoFlow(), "planar": PlanarPosterior(layers=1)}
    rows = ffjord_vae.run(task, steps=4, posteriors=two, latent=2, **TINY)
    assert [r.published for r in rows] == [4.53, 4.40] and all(r.unit == "bits/dim" for r in rows)
    assert all(r.ours is not None and 0 < r.ours < 12 for r in rows)
    assert "4 steps" in rows[0].note and "4.53" in table(rows)
    assert (tmp_path / "ffjord-vae-frey-faces.png").stat().st_size > 1000


def test_splits_share_no_image(tmp_path: Path) -> None:
    images = ffjord_vae.frey(faces(tmp_path) / "frey" / "freyfaces.npz")
    assert [len(part) for part in (images.train, images.validation, images.test)] == [60, 200, 200]
    parts = (images.train, images.validation, images.test)
    assert len({image.tobytes() for part in parts for image in part}) == 460


def test_mnist_is_read_as_grey_values_and_asks_for_an_hour(tmp_path: Path) -> None:
    header = b"\0" * 16
    for name, n in (("train", 10_003), ("t10k", 2)):
        pixels = np.full((n, 28, 28), 51, np.uint8).tobytes()
        with gzip.open(tmp_path / f"{name}-images-idx3-ubyte.gz", "wb", compresslevel=1) as file:
            file.write(header + pixels)
    images = ffjord_vae.sets(Task(data=tmp_path, budget=60))[0]
    assert images.train.shape == (3, 28, 28) and images.unit == "nats"
    assert images.test[0, 0, 0] == pytest.approx(0.2) and len(images.validation) == 10_000
    with pytest.raises(InputError, match=r"freyfaces\.npz"):
        ffjord_vae.sets(Task(data=tmp_path))


def test_characters_and_silhouettes_stand_upright(tmp_path: Path) -> None:
    from scipy.io import savemat

    image = np.zeros((28, 28))
    image[3, 7] = 1
    column = image.T.reshape(-1, 1)  # MATLAB's order
    many = np.repeat(column, 1347, axis=1)
    savemat(tmp_path / "chardata.mat", {"data": many, "testdata": many[:, :2]})
    rows = {k: np.repeat(column.T, 3, axis=0) for k in ("train_data", "val_data", "test_data")}
    savemat(tmp_path / "caltech101_silhouettes_28_split1.mat", rows)
    omniglot, caltech = ffjord_vae.sets(Task(data=tmp_path))
    np.testing.assert_array_equal(omniglot.train, [image, image])
    np.testing.assert_array_equal(caltech.test[0], image)


def test_evaluations_by_dimension(tmp_path: Path) -> None:
    rows = ffjord_nfe_dimension.run(Task(out=tmp_path), steps=4, latent=(2, 4), **TINY)
    assert [r.quantity for r in rows[:2]] == ["NFE, 2 latent variables", "NFE, 4 latent variables"]
    assert all(r.ours is not None and r.ours >= 7 for r in rows[:2])
    assert rows[-1].published == 0 and "digits" in rows[-1].note
    assert (tmp_path / "ffjord-nfe-dimension.png").stat().st_size > 1000
