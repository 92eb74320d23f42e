"""What a density refuses before any work, in one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import tenkai as tk
from tenkai.data.tables import read_table


def rows(n: int = 40, dim: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim))


def quick(**options: Any) -> tk.FlowDensity:
    return tk.FlowDensity(members=1, matching=5, steps=1, **({"compare": False} | options))


@pytest.fixture(scope="module")
def conditional() -> tk.FlowDensity:
    return quick().fit(rows(), context=rows(40, 2, 1))


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ({"a": [1.0, 2.0]}, "dictionary.*pd.DataFrame"),
        (np.zeros((5, 4, 4, 3, 2)), "a table"),
        ([[1.0, 2.0], [3.0]], "one length"),
        (np.array([["a", "b"]] * 5), "text"),
        (np.array([["2024-01-01"]] * 5, dtype="datetime64[D]"), "dates"),
    ],
)
def test_what_is_no_table(x: Any, words: str) -> None:
    with pytest.raises(tk.InputError, match=words):
        quick().fit(x)


@pytest.mark.parametrize(
    ("c", "words"),
    [
        (np.zeros((40, 2, 2)), "context: expected a table"),
        (np.array(["a", "b"] * 20), "context.*column of 0 and 1"),
        (np.array([["a", 1.0]] * 40, dtype=object), "context: expected numbers"),
        ({"c": np.zeros(40)}, "context.*dictionary"),
        ("site", "context"),
        (3.0, "context"),
        (pd.Series(["a", "b"] * 20, name="site"), "site"),
    ],
)
def test_what_is_no_context(c: Any, words: str) -> None:
    with pytest.raises(tk.InputError, match=words):
        quick().fit(rows(), context=c)


@pytest.mark.parametrize("c", [np.zeros((3, 2, 2)), np.array([["a", "b"]] * 3), {"c": 1}, "ab"])
def test_what_is_no_context_to_ask_for(conditional: tk.FlowDensity, c: Any) -> None:
    with pytest.raises(tk.InputError, match="context"):
        conditional.score_samples(rows(3), context=c)


@pytest.mark.parametrize("z", [np.zeros((2, 2, 2)), np.array([["a", "b"]]), {"z": 1}])
def test_what_is_no_row_of_the_base(conditional: tk.FlowDensity, z: Any) -> None:
    with pytest.raises(tk.InputError, match="Z"):
        conditional.inverse_transform(z, context=[0.0, 0.0])


@pytest.mark.parametrize("value", ["no", 1, None, "auto"])
def test_compare_is_true_or_false(value: Any) -> None:
    with pytest.raises(tk.InputError, match="compare: expected True or False"):
        quick(compare=value).fit(rows())


@pytest.mark.parametrize("text", ["a;b\n1,5;2\n2,5;3\n3,5;4\n", "a,b\n1,5,2,5\n2,5,3,5\n"])
def test_decimal_commas_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(tk.InputError, match="decimal points, not commas"):
        read_table(tmp_path / "t.csv")


def hole(radius: float) -> Any:
    """A normal that is no number beyond a radius, as the root of something below zero."""

    def target(x: Any) -> Any:
        return -0.5 * jnp.sum(x**2) + 0.0 * jnp.sqrt(radius**2 - jnp.sum(x**2))

    return target


def test_a_target_that_is_no_number_far_out_is_told() -> None:
    density = tk.FlowDensity(tk.flows.RealNVP(layers=2, width=8), steps=60)
    density.match(hole(9.0), dim=2)
    assert density.matched_ is not None and density.matched_.lost == 0
    assert 0 < density.matched_.beyond < 0.5
    assert density.fit_.status.ok
    assert any("three times as far out" in note for note in density.fit_.status.notes)


def test_a_target_that_is_no_number_where_the_flow_is_does_not_match() -> None:
    density = tk.FlowDensity(tk.flows.RealNVP(layers=2, width=8), steps=60)
    density.match(hole(4.0), dim=2, scale=0.8)
    assert density.matched_ is not None
    if density.matched_.lost:
        assert not density.fit_.status.ok and "no number" in density.fit_.status.message
    else:  # every draw stayed within
        assert density.matched_.beyond > 0


def test_a_bounded_target_is_a_number_everywhere() -> None:
    def target(x: Any) -> Any:
        inside = jnp.sum(x**2) < 25.0
        return jnp.where(inside, -0.5 * jnp.sum(x**2), -jnp.inf)

    density = tk.FlowDensity(tk.flows.RealNVP(layers=2, width=8), steps=20).match(target, dim=2)
    assert density.matched_ is not None
    assert density.matched_.lost == 0 and density.matched_.beyond == 0


def test_settings_tell_what_auto_became(tmp_path: Path) -> None:
    density = quick().fit(rows())
    told = density.settings_
    assert told["members"] == 1 and told["steps"] == 1
    assert told["batch"] == 64 and told["rate"] == 2e-3 and told["kinetic"] == 0.04
    density.save(tmp_path / "m.safetensors")
    assert tk.load(tmp_path / "m.safetensors").settings_ == told
    from tenkai.report.density_findings import used

    shown = used(density)
    assert shown["batch"] == "64 (auto)" and shown["members"] == 1
    assert shown["flow"].startswith("FFJORD(") and shown["flow"].endswith("(auto)")
    matched = tk.FlowDensity(tk.flows.RealNVP(layers=2, width=8), steps=5)
    shown = used(matched.match(hole(50.0), dim=2))
    assert "noise" not in shown and shown["members"] == "1 (auto)" and shown["steps"] == 5
