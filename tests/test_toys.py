"""Toy systems obey their equations, and their samples are as noisy as was asked."""

from __future__ import annotations

import numpy as np
import pytest

from tenkai import InputError
from tenkai.data import toys

FUNCTIONS = ("sine", "parabola", "exponential", "square_root")


@pytest.mark.parametrize("name", toys.SYSTEMS)
def test_the_truth_solves_the_equation(name) -> None:
    system, h = toys.SYSTEMS[name], 1e-4
    t = np.linspace(*system.span, 30)[1:-1]
    slope = (toys.truth(name, t + h) - toys.truth(name, t - h)) / (2 * h)
    rhs = [
        system.rhs(s, y, **system.parameters) for s, y in zip(t, toys.truth(name, t), strict=True)
    ]
    np.testing.assert_allclose(slope, rhs, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(toys.truth(name, system.span[0])[0], system.y0)
    assert len(system.names) == len(system.y0)


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("sine", np.sin),
        ("parabola", lambda t: (t - 2) ** 2 - 4),
        ("exponential", lambda t: np.exp(-t) - 1),
        ("square_root", np.sqrt),
        ("decay", lambda t: np.exp(-t)),
        ("oscillator", np.cos),
    ],
)
def test_closed_forms(name, f) -> None:
    t = np.linspace(0, 4, 50)
    np.testing.assert_allclose(toys.truth(name, t)[:, 0], f(t), atol=1e-9)


def test_conserved_quantities() -> None:
    """Lotka-Volterra keeps d x - c log x + b y - a log y (Volterra 1926)."""
    p = toys.SYSTEMS["lotka_volterra"].parameters
    x, y = toys.truth("lotka_volterra", np.linspace(0, 14, 50)).T
    kept = p["d"] * x - p["c"] * np.log(x) + p["b"] * y - p["a"] * np.log(y)
    np.testing.assert_allclose(kept, kept[0], atol=1e-8)


def test_the_cubic_spiral_is_torchdiffeqs() -> None:
    matrix = np.array([[-0.1, 2.0], [-2.0, -0.1]])
    system, y = toys.SYSTEMS["cubic_spiral"], np.array([1.5, -0.7])
    np.testing.assert_allclose(system.rhs(0.0, y, **system.parameters), y**3 @ matrix)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_books_twenty_points(name) -> None:
    data = toys.sample(name, noise=0.1, kind="absolute", seed=1)
    one = data[0]
    seen = one.observed[:, 0]
    assert one.t[0] == 0
    assert not seen[0]
    np.testing.assert_allclose(one.t[seen], 0.02 * np.arange(1, 192, 10))


def test_samples_are_seeded() -> None:
    def draw(seed):
        return toys.sample("lorenz", noise=0.1, irregular=True, missing=0.2, seed=seed)[0].x

    np.testing.assert_equal(draw(0), draw(0))
    assert not np.array_equal(draw(0), draw(1), equal_nan=True)


@pytest.mark.parametrize("kind", ["additive", "relative", "absolute"])
def test_noise_is_as_large_as_asked(kind) -> None:
    one = toys.sample("lotka_volterra", 4000, noise=0.2, kind=kind, irregular=True)[0]
    y = toys.truth("lotka_volterra", one.t)
    scale = {"additive": y.std(axis=0), "absolute": 1.0}
    noise = np.log(one.x / y) if kind == "relative" else (one.x - y) / scale[kind]
    np.testing.assert_allclose(noise.std(axis=0), 0.2, rtol=0.05)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.02)


def test_gaps_and_irregular_times() -> None:
    one = toys.sample("van_der_pol", 2000, irregular=True, missing=0.25)[0]
    np.testing.assert_allclose(np.isnan(one.x).mean(axis=0), 0.25, atol=0.03)
    assert (np.diff(one.t) > 0).all()
    assert np.diff(one.t).std() > 0.5 * np.diff(one.t).mean()
    regular = toys.sample("van_der_pol")[0]
    np.testing.assert_allclose(np.diff(regular.t), np.diff(regular.t)[0])
    np.testing.assert_array_equal(regular.x, toys.truth("van_der_pol", regular.t))


def test_several_series_start_elsewhere() -> None:
    data = toys.sample("lotka_volterra", series=3)
    assert len(data) == 3
    np.testing.assert_allclose(data[0].x[0], [1, 1])
    assert not np.allclose(data[1].x[0], data[2].x[0])
    np.testing.assert_allclose(
        data[2].x, toys.truth("lotka_volterra", data[2].t, data[2].x[0]), rtol=1e-8
    )


def test_refusals() -> None:
    with pytest.raises(InputError, match="lotka_volterra"):
        toys.sample("rabbits")
    with pytest.raises(InputError, match="additive, relative or absolute"):
        toys.sample("decay", kind="pink")  # pyright: ignore[reportArgumentType]
