"""Extremals: shortest ways, conjugate points, paths without forces."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from tenkai.problems import Polynomial, VariationalProblem

SHORT = Polynomial(12)


def test_the_shortest_way_on_a_sphere_is_a_great_circle() -> None:
    """The angle from the pole over the longitude: cot y = a cos(t - b)."""
    t = np.linspace(0.0, 1.5, 60)
    y = np.arctan2(1, 0.7 * np.cos(t - 0.4))
    found = VariationalProblem(
        lambda t, y, dy: jnp.sqrt(dy**2 + jnp.sin(y) ** 2), (t[0], t[-1]), (y[0], y[-1])
    ).solve()
    assert found.status.kind == "converged"
    np.testing.assert_allclose(found(t), y, atol=1e-8)
    ends = np.stack([np.sin(y) * np.cos(t), np.sin(y) * np.sin(t), np.cos(y)], 1)[[0, -1]]
    assert found.action == pytest.approx(np.arccos(ends[0] @ ends[1]), abs=1e-9)


def test_a_straight_line_has_no_residual_although_it_has_no_forces() -> None:
    for ends in ((0, 0), (2.0, 5.0)):
        found = VariationalProblem(lambda t, y, dy: dy**2, (0, 2), ends, SHORT).solve()
        assert found.status.ok
        assert found.relative_residual < 1e-8


@pytest.mark.parametrize("share", [1.02, 1.5, 3.3])
@pytest.mark.parametrize("ends", [(0, 0), (0, 1)])
def test_beyond_the_conjugate_point_there_is_no_minimum(share, ends) -> None:
    """Jacobi 1837: ``y'^2 - w^2 y^2`` has a least value on intervals shorter than pi / w."""
    problem = VariationalProblem(
        lambda t, y, dy: dy**2 - (share * np.pi * y) ** 2, (0, 1), ends, SHORT
    )
    found = problem.solve()
    assert found.status.kind == "unbounded"
    assert "conjugate" in found.status.cause


def test_just_before_the_conjugate_point_there_is_a_minimum() -> None:
    found = VariationalProblem(
        lambda t, y, dy: dy**2 - (0.98 * np.pi * y) ** 2, (0, 1), (0, 1), SHORT
    ).solve()
    assert found.status.kind == "converged"
    t = np.linspace(0, 1, 30)
    np.testing.assert_allclose(
        found(t), np.sin(0.98 * np.pi * t) / np.sin(0.98 * np.pi), rtol=1e-5, atol=1e-5
    )


def test_a_free_end_halves_the_way_to_the_focal_point() -> None:
    """With the right end free the least value is lost at pi / (2 w)."""
    for share, kind in ((0.98, "converged"), (1.02, "unbounded")):
        found = VariationalProblem(
            lambda t, y, dy, w=share * np.pi / 2: dy**2 - (w * y) ** 2, (0, 1), (1.0, None), SHORT
        ).solve()
        assert found.status.kind == kind


def test_a_maximum_is_no_minimum() -> None:
    found = VariationalProblem(lambda t, y, dy: -(dy**2), (0, 1), (0, 1), SHORT).solve()
    assert found.status.kind == "unbounded"
    assert found.legendre < 0
