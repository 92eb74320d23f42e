"""The entries of the latent ODE on real series: their protocols, and a small run of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tenkai as tk
from tenkai.reproduce import Row, Task
from tenkai.reproduce import latent_ode_hopper as hopper
from tenkai.reproduce import latent_ode_physionet as physionet
from tenkai.sequences.masked import within


def held_by(stays: int = 40, seed: int = 0) -> dict[str, Any]:
    """A file like PhysioNet's: 4 static and 3 measured variables, sets a and b."""
    rng = np.random.default_rng(seed)
    held: dict[str, Any] = {"params": np.array([*"ABCD", "HR", "Temp", "Urine"])}
    for part in "ab":
        count = rng.integers(8, 20, stays)
        dead = rng.uniform(size=stays) < 0.4
        total = int(count.sum())
        held[f"id_{part}"] = np.arange(stays)
        held[f"ptr_{part}"] = np.concatenate([[0], np.cumsum(count)])
        held[f"t_{part}"] = rng.integers(0, 2880, total).astype(np.int16)
        held[f"p_{part}"] = rng.integers(0, 7, total).astype(np.uint8)
        held[f"v_{part}"] = (rng.normal(size=total) + np.repeat(dead, count)).astype(np.float32)
        held[f"outcome_{part}"] = np.stack([dead] * 5, axis=1).astype(np.int16)
    return held


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {row.quantity: row for row in rows}


def test_physionet_by_its_protocol() -> None:
    """Hours to .016, repeats averaged, [0, 1] per variable, no static ones, labels of set a."""
    ids = ["a0", "a1"]
    stay, when = np.array([0, 0, 0, 0, 1]), np.array([1.004, 1.010, 0.5, 1.006, 2.0])
    which, value = np.array([0, 0, 1, 1, 0]), np.array([2.0, 4.0, 5.0, 7.0, 1.0])
    first, second = physionet.series_of(ids, stay, when, which, value, dim=2)
    assert np.allclose(first.t, [0.496, 1.008])  # 31 and 63 times .016
    assert np.allclose(first.x, [[np.nan, 0.0], [1.0, 1.0]], equal_nan=True)
    assert np.allclose(second.t, [2.0])
    assert np.allclose(second.x, [[0.0, np.nan]], equal_nan=True)
    held = held_by()
    stays = physionet.stays_of(held)
    assert stays.data.names == ("HR", "Temp", "Urine")
    assert (stays.death >= 0).sum() == sum(s.id.startswith("a") for s in stays.data)
    x = np.concatenate([s.x for s in stays.data])
    assert np.allclose(np.nanmin(x, 0), 0)
    assert np.allclose(np.nanmax(x, 0), 1)


def test_errors_both_ways() -> None:
    """Over observed values; and by stay and variable, those never measured counting as zero."""
    nan = np.nan
    data = tk.Trajectories.from_arrays(
        [np.array([[1.0, nan], [3.0, nan]]), np.array([[2.0, 2.0]])], learn=False
    )
    stays = physionet.Stays(data, np.array([0, 1]))
    found = [np.zeros((2, 2)), np.zeros((1, 2))]
    assert np.allclose(physionet.errors_of(found, stays), (18 / 4, (5 + 0 + 4 + 4) / 4))


def test_features_of_a_stay() -> None:
    nan = np.nan
    data = tk.Trajectories.from_arrays(
        [np.array([[1.0, nan], [nan, nan], [4.0, nan]])], learn=False
    )
    (row,) = physionet.features(data).reshape(1, 7, 2)
    assert np.allclose(row[:, 0], [np.log(3), 2.5, 1.5, 1, 4, 1, 4])
    assert np.array_equal(row[:, 1], [0, *[nan] * 6], equal_nan=True)


def test_physionet_runs(tmp_path: Path) -> None:
    np.savez(tmp_path / physionet.FILE, **held_by())
    rows = by_name(physionet.run(Task(tmp_path, tmp_path), steps=50))
    for name in ("Latent ODE", "ODE-RNN", "ODE-RNN, both sides", "constant"):
        ours = rows[f"interpolation MSE: {name}"].ours
        assert ours is not None
        assert 0 < ours < 0.2
    for name in ("Latent ODE", "ODE-RNN", "logistic regression"):
        ours = rows[f"mortality AUC: {name}"].ours
        assert ours is not None
        assert 0 <= ours <= 1
    assert "50 steps" in rows["training: ODE-RNN"].note
    assert {f.name for f in tmp_path.glob("*.png")} == {
        "latent-ode-physionet-stay.png", "latent-ode-physionet-roc.png",
    }  # fmt: skip


def test_hopper_by_its_protocol() -> None:
    """Exactly the share of the times is given; lines meet what is given; tasks keep windows."""
    rng = np.random.default_rng(0)
    given = hopper.times_given(rng, 5, 0.3)
    assert np.array_equal(given.sum(1), [30] * 5)
    assert not np.array_equal(given[0], given[1])
    x = np.cumsum(rng.normal(size=(4, 200, 3)), axis=1)
    windows = hopper.cut_out(x, np.array([0, 5, 50, 100]), given[:4])
    assert np.array_equal(windows.x[1], x[1, 5:105])
    lines = hopper.straight(windows)
    assert np.allclose(lines[windows.given], windows.x[windows.given])
    assert hopper.error(windows, windows.x) == 0
    assert np.isclose(hopper.error(windows, windows.x + 0.1), 1.0)
    many = hopper.tasks(x, rng, 10)
    share = many.given.mean(1)
    assert share.min() >= 0.08
    assert share.max() <= 0.6
    spell = windows.spells(np.zeros(3), np.ones(3))[0]
    assert spell.asked is None
    assert spell.seen is not None
    assert np.array_equal(spell.seen[:, 0], windows.given[0])


def test_hopper_runs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    t = np.linspace(0, 12, 200)
    x = 0.5 + 0.4 * np.sin(t + rng.uniform(0, 6.28, (30, 1)))[..., None] * np.linspace(0.2, 1, 14)
    np.savez(tmp_path / hopper.FILE, q=np.round(x * hopper.LEVELS).astype(np.uint16))
    rows = by_name(hopper.run(Task(tmp_path, tmp_path), steps=50))
    for rate in ("10%", "20%", "30%", "50%"):
        for name in ("Latent ODE", "ODE-RNN, both sides", "straight lines"):
            ours = rows[f"interpolation MSE, {rate} observed: {name}"].ours
            assert ours is not None
            assert 0 < ours < 10
    for name in ("Latent ODE", "ODE-RNN", "last value"):
        ours = rows[f"extrapolation MSE: {name}"].ours
        assert ours is not None
        assert 0 < ours < 100
    assert rows["interpolation MSE, 10% observed: Latent ODE"].published == 0.36
    assert (tmp_path / "latent-ode-hopper.png").exists()


@pytest.mark.parametrize("entry", [hopper, physionet])
def test_a_missing_file_is_said(entry: Any, tmp_path: Path) -> None:
    with pytest.raises(tk.InputError, match=entry.FILE):
        entry.run(Task(data=tmp_path))


def test_steps_that_fit_into_a_time() -> None:
    """As many as the pace allows, and never fewer than one interval."""
    asked: list[int] = []

    def trained(steps: int) -> tk.Fit:
        asked.append(steps)
        history = [{"step": s, "seconds": 0.01 * s} for s in range(50, steps + 1, 50)]
        return tk.Fit(None, tk.Status("finished", "done"), history, 0.01 * steps, steps)

    assert within(trained, 10.0).steps == asked[-1]
    assert asked[0] == 100
    assert 900 <= asked[1] <= 950  # 9.5 s at 0.01 s a step
    assert within(trained, 0.1).steps == 50
