"""The reading group's variational problems: published numbers, and what the library reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenkai.reproduce import Task, du_rr, du_rr_basis, du_rr_rand


def test_du_rr(tmp_path: Path) -> None:
    rows = {row.quantity: row for row in du_rr.run(Task(out=tmp_path))}
    book = rows["loss (book's recipe)"]
    assert book.published == du_rr.LOSS
    assert book.ours == pytest.approx(du_rr.LOSS, abs=1e-8)
    assert rows["loss before the last update"].ours == pytest.approx(-0.006088369, abs=1e-9)
    assert rows["max error (book's recipe)"].ours == pytest.approx(1.1e-3, abs=1e-4)
    assert rows["max error"].ours <= 1e-7
    assert rows["action"].ours == pytest.approx(-0.0061435, abs=5e-8)
    assert (tmp_path / "du-rr.png").stat().st_size > 20_000


def test_du_rr_rand(tmp_path: Path) -> None:
    rows = {row.quantity: row for row in du_rr_rand.run(Task(out=tmp_path), seeds=1)}
    for alpha, beta in du_rr_rand.CASES:
        case = f"(α, β) = ({alpha:g}, {beta:g})"
        assert rows[f"max error (book's recipe), {case}"].ours < 6.5e-3
        assert rows[f"max error, {case}"].ours < 2e-3
        assert rows[f"max error, r by quadrature, {case}"].ours < 1e-9
        peak = rows[f"peak, {case}"]
        assert peak.ours == pytest.approx(peak.published, abs=5e-6)
    assert rows["max error of the family"].ours < 1e-4
    mean = rows["mean of the solutions at 0.5"]
    assert mean.ours == pytest.approx(mean.published, abs=5e-6)
    assert (tmp_path / "du-rr-rand.png").stat().st_size > 20_000


def test_du_rr_basis(tmp_path: Path) -> None:
    rows = {row.quantity: row for row in du_rr_basis.run(Task(out=tmp_path), counts=(4, 8, 16))}
    assert rows["max error, polynomials, m = 16"].ours < 1e-13
    assert rows["max error, sines, m = 16"].ours == pytest.approx(4.5e-5, rel=0.1)
    assert rows["max error, Gaussians, width tied to the spacing, m = 16"].ours < 1e-8
    held = rows["max error, Gaussians, the book's penalties and fine quadrature, m = 16"]
    assert held.ours == pytest.approx(1.8e-4, rel=0.1)
    assert (tmp_path / "du-rr-basis.png").stat().st_size > 20_000


def test_sines_fall_like_the_square_of_their_number() -> None:
    found = du_rr_basis.curve(du_rr_basis.Sine, (8, 16, 32))
    assert du_rr_basis.rate(found) == pytest.approx(-2, abs=0.1)
