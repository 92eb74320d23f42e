"""What tenkai reproduces, against what was published."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tenkai import InputError
from tenkai.reproduce import Reproduction, Row, Task, names, reproduce, table, title


def rows_of(name: str, **options: object) -> dict[str, Any]:
    """Rows by quantity."""
    from importlib import import_module

    module = import_module("tenkai.reproduce." + name.replace("-", "_"))
    return {row.quantity: row for row in module.run(**options)}


def test_names_and_titles_import_nothing() -> None:
    code = (
        "import sys; from tenkai.reproduce import names, title; [title(n) for n in names()];"
        "sys.exit(any(m in sys.modules for m in ('jax', 'numpy', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert {"du-euler", "du-euler-lotka-volterra", "du-neural-ode"} <= set(names())
    assert title("du-euler").startswith("DU-Euler")


def test_unknown_name_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"expected one of .*du-euler, .*; got no-such"):
        reproduce("no-such")


def test_table_shows_one_decimal_more_than_published() -> None:
    rows = [Row("a", 2.0177, 2.017741), Row("b", None, 0.12345, 0.01, 20), Row("c", 1.0, None)]
    lines = table(rows).splitlines()
    assert lines[1].split() == ["a", "2.0177", "2.01774"]
    assert lines[2].split() == ["b", "–", "0.1235", "±", "0.01", "(n=20)"]
    assert lines[3].split() == ["c", "1", "–"]


def test_table_shows_what_went_wrong_too() -> None:
    ours = {"none": None, "lost": np.nan, "away": np.inf, "huge": 1e40, "numpy": np.float32(0.5)}
    text = table([Row(name, 0.25, value) for name, value in ours.items()])
    ends = [line.split()[-1] for line in text.splitlines()[1:]]
    assert ends == ["–", "nan", "inf", "1e+40", "0.500"]


def test_what_is_not_finite_is_null() -> None:
    done = Reproduction("x", [Row("a", None, float("nan"), n=3)], 1.0)
    text = json.dumps(done.to_json(), allow_nan=False)
    row = json.loads(text)["rows"][0]
    assert list(row) == ["quantity", "published", "ours", "sd", "n", "unit", "note"]
    assert row["ours"] is None and row["n"] == 3


def test_du_euler() -> None:
    rows = rows_of("du-euler")
    assert rows["a, noise-free"].ours == pytest.approx(2.0177, abs=5e-5)
    noisy = rows["a, noise .5"]
    assert noisy.n == 100 and noisy.ours == pytest.approx(2.02, abs=0.02)


def test_du_euler_lotka_volterra() -> None:
    rows = rows_of("du-euler-lotka-volterra")
    assert len(rows) == 8
    for row in rows.values():
        tolerance = 5e-8 if row.quantity.startswith("p") else 1e-2 * row.published
        assert row.ours == pytest.approx(row.published, abs=tolerance), row.quantity
    assert rows["loss, 50 steps"].ours == pytest.approx(29.2835, abs=5e-5)


def test_du_neural_ode_compares_states_with_the_data_of_their_own_time() -> None:
    """The state after i steps stands at t = eta i: x' = 1 has no error against data t."""
    import jax
    import jax.numpy as jnp

    from tenkai.reproduce import du_neural_ode as du

    net = jax.tree.map(lambda x: 0 * x, du.lecun(jax.random.key(0)))
    net = jax.tree.unflatten(
        jax.tree.structure(net), [x + float(x.shape == (2,)) for x in jax.tree.leaves(net)]
    )
    np.testing.assert_allclose(du.path(net)[:, 0], du.TIMES, rtol=1e-5)
    assert float(du.loss(net, jnp.asarray(du.OBSERVED * du.ETA), None)[0]) < 1e-8
    assert len(du.OBSERVED) == 20 and du.OBSERVED[[0, -1]].tolist() == [1, 191]


def test_du_neural_ode_and_its_picture(tmp_path) -> None:
    rows = rows_of("du-neural-ode", task=Task(out=tmp_path), seeds=20)
    for function in ("sine", "parabola", "exponential", "square_root"):
        assert rows[f"SSE, {function}"].ours <= 0.25
        assert rows[f"RMSE to the truth, {function}"].ours <= 0.09
    small = rows["SSE, parabola from 1e-3 normal weights"]
    assert small.ours > 4 * rows["SSE, parabola from LeCun normal weights"].ours
    assert (tmp_path / "du-neural-ode.png").stat().st_size > 10_000


def test_a_second_state_dimension_lets_a_path_turn(tmp_path) -> None:
    rows = rows_of("du-universality", task=Task(out=tmp_path), seeds=3, steps=500, widths=(16,))
    for function in ("sine", "parabola"):  # whatever the network, a scalar path is monotone
        error = {d: rows[f"RMSE, {function}, {d}-D state, 16 hidden units"].ours for d in (1, 2)}
        assert error[1] > 0.4 and error[2] < 0.1
    assert rows["RMSE, exponential, 1-D state, 16 hidden units"].ours < 0.03
    assert (tmp_path / "du-universality.png").stat().st_size > 10_000


@pytest.mark.slow
def test_du_neural_ode_over_100_seeds() -> None:
    rows = rows_of("du-neural-ode")
    # The medians of the population, up to t = 4, lie about here: .051, .074, .047, .063.
    bounds = {"sine": 0.055, "parabola": 0.08, "exponential": 0.05, "square_root": 0.07}
    for function, bound in bounds.items():
        assert rows[f"RMSE to the truth, {function}"].ours <= bound
    small = rows["SSE, parabola from 1e-3 normal weights"]
    assert small.ours == pytest.approx(6.3, abs=1)
