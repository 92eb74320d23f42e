"""Toy densities of the plane: draws and true densities belong together."""

import itertools

import numpy as np
import pytest

from tenkai.data import clouds
from tenkai.errors import InputError

KNOWN = [name for name in clouds.NAMES if name != "pinwheel"]


def mean_log_density(name, n=50_000):
    """E log p over draws and its standard error."""
    values = clouds.log_density(name, clouds.draw(name, n, seed=3))
    return values.mean(), values.std(ddof=1) / np.sqrt(n)


@pytest.mark.parametrize(("name", "published"), [("8gaussians", -2.833), ("moons", -1.009)])
def test_expected_log_density_is_the_published_one(name, published):
    mean, error = mean_log_density(name)
    assert error < 0.006
    assert abs(mean - published) < 3 * error + 0.0005


@pytest.mark.parametrize("name", KNOWN)
def test_density_integrates_to_one(name):
    """On midpoints of a grid whose edges are the checkerboard's."""
    side = 240
    points = (np.arange(side) + 0.5) / side * 12 - 6
    x, y = np.meshgrid(points, points)
    density = np.exp(clouds.log_density(name, np.stack([x.ravel(), y.ravel()], axis=1)))
    assert density.sum() * (12 / side) ** 2 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", KNOWN)
def test_draws_come_from_the_density(name):
    """The share of draws inside a box is the integral of the density over it."""
    x = clouds.draw(name, 20_000, seed=5)
    boxes = [np.quantile(x, q, axis=0) for q in (0.1, 0.35, 0.6, 0.9)]
    for low, high in itertools.pairwise(boxes):
        inside = np.all((x > low) & (x < high), axis=1)
        side = 80
        u = low + (high - low) * (np.stack(np.meshgrid(*(np.arange(side),) * 2), -1) + 0.5) / side
        p = np.exp(clouds.log_density(name, u.reshape(-1, 2))).mean() * np.prod(high - low)
        assert abs(inside.mean() - p) < 4 * np.sqrt(p / len(x)) + 2e-3


@pytest.mark.parametrize("name", clouds.NAMES)
def test_draws_are_seeded_and_of_one_scale(name):
    x = clouds.draw(name, 1000, seed=1)
    assert x.shape == (1000, 2)
    assert x.dtype == np.float64
    assert np.array_equal(x, clouds.draw(name, 1000, seed=1))
    assert not np.array_equal(x, clouds.draw(name, 1000, seed=2))
    assert 0.4 < x.std() < 3
    assert np.abs(x).max() < 6


def test_the_geometry_is_the_field_s():
    """Unscaled moons and FFJORD's scale of the other sets, against scikit-learn's own draws."""
    from sklearn.datasets import make_circles, make_moons, make_swiss_roll

    theirs = {
        "moons": make_moons(20_000, noise=0.1, random_state=0)[0],
        "circles": 3 * make_circles(20_000, factor=0.5, noise=0.08, random_state=0)[0],
        "swissroll": make_swiss_roll(20_000, noise=1.0, random_state=0)[0][:, [0, 2]] / 5,
    }
    for name, x in theirs.items():
        ours = clouds.draw(name, 20_000)
        assert np.allclose(ours.mean(0), x.mean(0), atol=0.06)
        assert np.allclose(np.cov(ours.T), np.cov(x.T), atol=0.1)
        values = clouds.log_density(name, x) - clouds.log_density(name, ours)
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(20_000)


def test_far_points_have_finite_log_density():
    far = np.array([[30.0, -20.0]])
    for name in KNOWN:
        value = clouds.log_density(name, far)
        assert value < -100
        assert np.isfinite(value).all() == (name != "checkerboard")


def test_what_is_not_there_is_said():
    with pytest.raises(InputError, match="one of swissroll"):
        clouds.draw("spiral", 3)
    with pytest.raises(InputError, match="known density"):
        clouds.log_density("pinwheel", np.zeros((1, 2)))
    with pytest.raises(InputError, match="rows of 2"):
        clouds.log_density("moons", np.zeros(2))
    with pytest.raises(InputError, match="at least 1"):
        clouds.draw("moons", 0)
