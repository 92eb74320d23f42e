"""Trial functions: their tables against forward mode, their counts, and the path they make."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenkai import InputError
from tenkai.models.trials import Expansion
from tenkai.problems import RBF, Network, PiecewiseConstant, Polynomial, Sine
from tenkai.problems.paths import PenalisedPath, along, bound

INTERVAL = (-0.5, 1.5)
TIMES = np.linspace(-0.45, 1.45, 7)
SMOOTH = [
    RBF(), RBF(7, low=-0.2, high=1.1, width=3.0), RBF(1), Polynomial(1), Polynomial(2),
    Polynomial(12), Sine(9),
]  # fmt: skip


def _random(trial: Any, dim: int = 2) -> Expansion:
    begun = trial.begin(INTERVAL, dim)
    numbers = np.random.default_rng(0).normal(size=begun.coefficients.shape)
    return Expansion(numbers, begun.basis, begun.interval)


def _forward(path: Any, t: np.ndarray) -> tuple[Any, Any, Any]:
    """Value, slope and second derivative of any path by forward mode over forward mode."""

    def first(s: Any) -> tuple[Any, Any]:
        return jax.jvp(path, (s,), (jnp.ones_like(s),))

    def second(s: Any) -> tuple[Any, Any, Any]:
        (y, dy), (_, ddy) = jax.jvp(first, (s,), (jnp.ones_like(s),))
        return y, dy, ddy

    return jax.jit(jax.vmap(second))(jnp.asarray(t))


def _agree(ours: tuple, theirs: tuple) -> None:
    for a, b in zip(ours, theirs, strict=True):
        scale = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * scale)


@pytest.mark.parametrize("trial", SMOOTH, ids=repr)
def test_tables_are_the_derivatives_of_the_functions(trial: Any) -> None:
    with jax.enable_x64(True):
        path = _random(trial)
        tables = [g @ path.coefficients for g in trial.table(TIMES, INTERVAL)]
        _agree(tuple(tables), _forward(path, TIMES))


@pytest.mark.parametrize("trial", [*SMOOTH, Network(8, 1)], ids=repr)
@pytest.mark.parametrize("ends", [[[1.0, np.nan], [2.0, 3.0]], None], ids=["bound", "penalised"])
def test_a_path_and_its_derivatives(trial: Any, ends: Any) -> None:
    """Through the ends that are given, the others where their numbers say."""
    with jax.enable_x64(True):
        inner = trial.begin(INTERVAL, 2) if isinstance(trial, Network) else _random(trial)
        whole = PenalisedPath(inner)
        if ends is not None:
            begun = bound(trial, INTERVAL, np.array(ends))
            free = np.array([7.0])
            whole = type(begun)(inner, free, begun.given, begun.interval, begun.envelope)
        tolerance = 3e-5 if isinstance(trial, Network) else 1e-11  # its weights are float32
        for a, b in zip(along(whole, TIMES), _forward(whole, TIMES), strict=True):
            scale = max(1.0, float(np.abs(b).max()))
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)
        if ends is not None:
            at = np.asarray(along(whole, np.array(INTERVAL))[0])
            np.testing.assert_allclose(at, [[1.0, 7.0], [2.0, 3.0]], atol=1e-13)


@pytest.mark.parametrize("trial", [*SMOOTH, PiecewiseConstant(5)], ids=repr)
def test_one_time_or_many(trial: Any) -> None:
    many = trial.values(TIMES, INTERVAL)
    assert many.shape == (len(TIMES), _random(trial).coefficients.shape[0])
    one = np.stack([trial.values(float(t), INTERVAL) for t in TIMES])
    np.testing.assert_allclose(one, many, rtol=1e-15)
    traced = jax.vmap(lambda t: trial.values(t, INTERVAL))(jnp.asarray(TIMES, jnp.float32))
    np.testing.assert_allclose(traced, many, atol=2e-5)


def test_start_values() -> None:
    np.testing.assert_array_equal(RBF(4, start=1.0).begin((0, 1), 3).coefficients, np.ones((4, 3)))
    assert RBF(5).values(0.0, (0.0, 1.0)).argmax() == 1, "centres reach half the interval beyond"
    assert Sine(3).values(1.0, (0.0, 1.0)) == pytest.approx(0, abs=1e-15)


def test_pieces_take_their_left_border() -> None:
    grid = np.arange(5) * 0.1 * 2  # 0.1 * 3 * 2 lies an ulp off 0.6
    np.testing.assert_array_equal(PiecewiseConstant(5).values(grid, (0.0, 1.0)), np.eye(5))
    assert PiecewiseConstant(5).values(1.0, (0.0, 1.0))[-1] == 1.0


def test_a_guess_is_met_where_the_trial_can() -> None:
    with jax.enable_x64(True):
        path = bound(Polynomial(6), (0.0, 2.0), np.array([[0.0], [np.nan]]))
        path = path.through(lambda t: t**3 - t)
        t = np.linspace(0, 2, 11)
        np.testing.assert_allclose(np.asarray(along(path, t)[0])[:, 0], t**3 - t, atol=1e-12)
        assert path.free == pytest.approx(6.0)
        with pytest.raises(InputError, match="guess: expected a trial that is linear"):
            bound(Network(), (0.0, 1.0), np.zeros((2, 1))).through(lambda t: t)
