"""The FFJORD entries with tiny budgets: rows, files and pictures; what is missing is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tenkai import InputError
from tenkai.flows import FFJORD, Glow, Grid
from tenkai.flows.recipe import Recipe
from tenkai.reproduce import Task, ffjord_limits, ffjord_tabular, ffjord_toy

TINY = FFJORD(width=8, kind="concat", solver=Grid(2))
QUICK = {"flow": TINY, "members": 1, "matching": 20, "steps": 5, "batch": 32}


def named(rows: list, what: str) -> object:
    return next(row for row in rows if row.quantity == what)


def test_a_csv_is_judged_by_folds_beside_simple_densities(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(120, 2))
    table = np.concatenate([x, x[:10]])
    np.savetxt(tmp_path / "rows.csv", table, delimiter=",", header="a,b", comments="")
    rows = ffjord_tabular.run(Task(data=tmp_path / "rows.csv"), folds=1, **QUICK)
    flow = rows[0]
    assert "120 unique rows, 1 of 10 folds" in flow.note
    assert abs(flow.ours + 2.84) < 0.5  # the entropy of a standard normal in the plane
    assert {"rows, parameters", "rows, flows", "rows, NFE"} <= {r.quantity for r in rows}
    missing = [r for r in rows if r.ours is None]
    assert [r.published for r in missing] == [-0.46, -8.59, 14.92, 10.43, -157.4]


def test_folds_are_standardised_by_their_training_rows_and_share_none() -> None:
    table = np.random.default_rng(0).normal(3.0, 2.0, (50, 2))
    tests = 0
    for train, test in ffjord_tabular.split(table, 10):
        assert np.allclose(train.mean(0), 0) and np.allclose(train.std(0), 1)
        assert len(train) + len(test) == 50
        assert not set(map(tuple, np.round(train, 9))) & set(map(tuple, np.round(test, 9)))
        tests += len(test)
    assert tests == 50


def test_a_table_with_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n2,y\n")
    with pytest.raises(InputError, match="no numbers in b"):
        ffjord_tabular.run(Task(data=tmp_path / "rows.csv"))


def test_a_large_set_is_read_and_what_is_wrong_is_told(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(90, 2))
    np.savez(tmp_path / "power.npz", train=x[:60], val=x[60:70], test=x[70:])
    rows = ffjord_tabular.run(Task(data=tmp_path), **QUICK)
    assert named(rows, "POWER, negative log-likelihood").ours > 1.5  # type: ignore
    assert "rnade_uci.npz" in named(rows, "white wine").note  # type: ignore
    np.savez(tmp_path / "gas.npz", x=x)
    with pytest.raises(InputError, match="train, val and test"):
        ffjord_tabular.run(Task(data=tmp_path), **QUICK)


def test_toys_are_judged_integrated_and_drawn(tmp_path: Path) -> None:
    recipe = Recipe(members=1, matching=20, steps=20, batch=32)
    rows = ffjord_toy.run(
        Task(out=tmp_path), names=("moons", "pinwheel"), models={"Glow": Glow(), "FFJORD": TINY},
        recipes={"Glow": recipe, "FFJORD": recipe}, rows=300, points=50,
    )  # fmt: skip
    names = {row.quantity for row in rows}
    assert {"moons, Glow, E[log p - log q]", "pinwheel, FFJORD, E[-log q]"} <= names
    assert "moons, Glow, NFE" not in names
    assert named(rows, "moons, FFJORD, integral").ours == pytest.approx(1, abs=0.05)  # type: ignore
    assert named(rows, "moons, FFJORD, NFE").ours >= 8  # type: ignore
    assert (tmp_path / "ffjord-toy.png").stat().st_size > 10_000


@pytest.mark.slow
def test_courses_are_told_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffjord_limits, "RATES", ())
    monkeypatch.setattr(ffjord_limits, "SEEN", 300)
    monkeypatch.setattr(ffjord_limits, "_ASKED", 32)
    rows = ffjord_limits.run(Task(out=tmp_path), toys=(), steps=12)
    kinds = ("no regulariser", "weight decay", "kinetic and Jacobian", "spectral normalisation")
    assert all(named(rows, f"moons, {kind}, NFE").ours >= 8 for kind in kinds)  # type: ignore
    assert (tmp_path / "ffjord-limits.png").stat().st_size > 5000


def test_an_implicit_solver_needs_fewer_evaluations_where_the_flow_is_stiff() -> None:
    """Both have the exact log-determinant; an explicit solver gives up, and says so."""
    for rate, gives_up in ((100.0, False), (10000.0, True)):
        explicit, implicit = ffjord_limits.stiff(rate)
        assert implicit.ours < 0.7 * explicit.ours  # type: ignore
        assert "off by" in implicit.note
        assert ("gave up" in explicit.note) == gives_up
