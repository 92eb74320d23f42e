"""Entries of continuous planar flows and of the bottleneck trick, with tiny budgets."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenkai.data import clouds, potentials
from tenkai.errors import InputError
from tenkai.reproduce import (
    Task,
    cnf_cost,
    cnf_density_matching,
    cnf_two_circles,
    cnf_two_moons,
    ffjord_bottleneck,
)


@pytest.mark.parametrize("name", potentials.POTENTIALS)
def test_a_potential_is_normalised(name: str) -> None:
    """By another quadrature than the module's own: Monte Carlo over a box beyond the wall."""
    points = np.random.default_rng(0).uniform(-5.2, 5.2, (200_000, 2)).astype(np.float32)
    logs = np.asarray(jax.jit(jax.vmap(potentials.log_density(name)))(points), np.float64)
    p = np.exp(logs - potentials.log_normaliser(name)) * 10.4**2
    assert abs(p.mean() - 1) < 4 * p.std() / len(p) ** 0.5


def test_potentials_are_those_of_the_table() -> None:
    """At points worked out by hand."""

    def u(name: str, *z: float) -> float:
        return float(potentials.POTENTIALS[name](jnp.asarray(z)))

    assert u("U1", 2.0, 0.0) == pytest.approx(0.0, abs=1e-5)
    assert u("U1", 0.0, 2.0) == pytest.approx(0.5 * (2 / 0.6) ** 2 - np.log(2), rel=1e-5)
    assert u("U2", 1.0, 0.2) == pytest.approx(0.5 * (0.8 / 0.4) ** 2, rel=1e-5)
    assert u("U3", 1.0, 1.0) == pytest.approx(0.0, abs=1e-5)
    assert u("U3", 1.0, -2.0) == pytest.approx(0.0, abs=1e-5)  # the second band, 3 below
    assert u("U4", 1.0, -0.5) == pytest.approx(0.0, abs=2e-3)  # half of it
    with pytest.raises(InputError, match="one of U1"):
        potentials.log_density("U5")


def test_the_wall_stands_outside_the_box_only() -> None:
    inside, outside = jnp.array([3.9, 0.0]), jnp.array([4.4, 0.0])
    u2, walled = potentials.POTENTIALS["U2"], potentials.log_density("U2")
    assert float(walled(inside)) == pytest.approx(-float(u2(inside)))
    assert float(walled(outside)) == pytest.approx(-float(u2(outside)) - 2.0, rel=1e-4)


def test_density_matching_gives_the_divergence_of_every_pair(tmp_path: Path) -> None:
    steps = {"CNF": 60, "NF": 200}
    rows = cnf_density_matching.run(Task(out=tmp_path), sizes=(2,), steps=steps)
    assert len(rows) == 9
    kl = {row.quantity: row for row in rows[:-1]}
    for row in kl.values():  # a divergence is not negative
        assert row.ours is not None and row.sd is not None
        assert -3 * row.sd < row.ours < 30
        assert "of 10,000 steps" in row.note or "of 500,000 steps" in row.note
    closer = sum(
        (kl[f"KL to {t}, CNF, M = 2"].ours or 0) < (kl[f"KL to {t}, NF, K = 2"].ours or 0)
        for t in cnf_density_matching.TARGETS
    )
    assert rows[-1].ours == closer
    for name in ("cnf-density-matching.png", "cnf-density-matching-loss.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_both_planar_flows_learn_moons(tmp_path: Path) -> None:
    rows = cnf_two_moons.run(Task(out=tmp_path), size=4, steps={"CNF": 60, "NF": 200})
    x = clouds.draw("moons", 50_000)
    gaussian = -0.5 * np.linalg.slogdet(2 * np.pi * np.e * np.cov(x.T))[1]
    for row in rows:
        assert row.published is None
        assert 0 < row.ours < clouds.log_density("moons", x).mean() - gaussian  # type: ignore[operator]
    assert (tmp_path / "cnf-two-moons.png").stat().st_size > 10_000


def test_budget_and_cloud_are_the_entry_s(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple] = []

    def train(cloud: str, architecture: object, steps: int) -> cnf_two_circles.Trained:
        asked.append((cloud, type(architecture).__name__, steps))
        return cnf_two_circles.Trained(None, None, 0.1, 0.01, steps, 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(cnf_two_circles, "train", train)
    cnf_two_circles.run(Task(budget=1.5))
    assert asked == [("circles", "PlanarCNF", 2000), ("circles", "Inverse", 5000)]


def test_cost_has_a_slope(tmp_path: Path) -> None:
    assert cnf_cost.slope([1, 8, 16, 32], [5.0, 1.0, 2.0, 4.0], 8) == pytest.approx(1)
    rows = cnf_cost.run(Task(out=tmp_path), units=(2, 4), large=2)
    assert [row.unit for row in rows] == ["ms", "ms", "", ""]
    assert rows[0].ours is not None and rows[0].ours > 0
    assert rows[-1].published == rows[-2].published == 1.0
    many = [cnf_cost.operations(m) for m in (64, 256)]
    assert cnf_cost.slope([64, 256], many, 64) == pytest.approx(1, abs=0.1)
    assert (tmp_path / "cnf-cost.png").exists()


def test_noise_in_the_bottleneck_estimates_the_same_density(tmp_path: Path) -> None:
    rows = ffjord_bottleneck.run(Task(out=tmp_path), steps=2, draws=16, kinds=("Gaussian",))
    names = ["Gaussian, D", "Gaussian, D/2"]
    assert [row.quantity.split(", ", 1)[1] for row in rows] == names * 2
    variances, losses = ([row.ours for row in part] for part in (rows[:2], rows[2:]))
    assert all(v is not None and 0 < v < 100 for v in variances)
    assert np.ptp(losses) < 0.1  # type: ignore[call-overload]  # hardly trained, exact divergence
    assert (tmp_path / "ffjord-bottleneck.png").exists()
