"""The harness measures what it says; the entries themselves are run by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks are not installed
from benchmarks import __main__ as command
from benchmarks.harness import Contender, MissingPeer, Race, Result, hold, peer, table


def race(costs: dict[str, float], rounds: int = 3) -> tuple[Race, list[str], list[Result]]:
    """A race on a clock that only the contenders move."""
    now, calls = [0.0], []

    def contender(name: str, cost: float) -> Contender:
        def run() -> None:
            calls.append(name)
            now[0] += cost

        return Contender(name, run, 2, lambda: cost / 10)

    held = Race("step", "error", [contender(*item) for item in costs.items()], rounds)
    return held, calls, hold(held, clock=lambda: now[0])


def test_contenders_alternate_after_a_round_that_does_not_count() -> None:
    _, calls, _ = race({"ours": 1.0, "peer": 3.0})
    assert calls == ["ours", "peer"] * 4


def test_ratios_times_and_errors() -> None:
    _, _, (ours, peer) = race({"ours": 1.0, "peer": 3.0})
    assert ours.ratio == 1 and peer.ratio == 3
    assert peer.seconds == (1.5, 1.5, 1.5) and peer.error == 0.3
    assert peer.to_json()["ratio_max"] == 3


@pytest.mark.parametrize(
    "ratios, words",
    [
        ((2.0, 3.0), "peer takes 2.5 × (2..3) the time of ours"),
        ((0.4, 0.6), "ours LOSES: peer takes 0.5 × (0.4..0.6) the time of ours"),
        ((0.9, 1.1), "a tie with peer: 1 × (0.9..1.1)"),
    ],
)
def test_the_verdict_says_who_loses(ratios: tuple[float, ...], words: str) -> None:
    assert Result("peer", 0.0, ratios, ratios).verdict == words


def test_table_names_everyone_and_ends_with_the_verdicts() -> None:
    held, _, results = race({"ours": 1.0, "peer": 0.5})
    lines = table(held, results).splitlines()
    assert len(lines) == 4 and "ms per step" in lines[0]
    assert "ours LOSES" in lines[-1]


def test_missing_peer_is_one_line_that_says_what_to_install() -> None:
    with pytest.raises(MissingPeer, match=r"pip install -e '\.\[bench\]'") as caught:
        peer("no_such_peer")
    assert "\n" not in str(caught.value)


def test_list_imports_no_entry(capsys) -> None:
    assert command.main(["--list"]) == 0
    assert {"du-neural-ode", "ffjord-field-step"} <= set(capsys.readouterr().out.split())
    assert "benchmarks.du_neural_ode" not in sys.modules


def test_unknown_name_is_bad_usage(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["nonsense"])
    assert caught.value.code == 2 and "du-neural-ode" in capsys.readouterr().err


def test_json_holds_machine_versions_and_contenders(tmp_path, monkeypatch, capsys) -> None:
    held, _, _ = race({"ours": 1.0, "peer": 3.0})
    module = type(sys)("benchmarks.du_neural_ode")
    module.prepare = lambda quick: held  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmarks.du_neural_ode", module)
    assert command.main(["du-neural-ode", "--quick", "--json", str(tmp_path / "b.json")]) == 0
    found = json.loads((tmp_path / "b.json").read_text())
    assert found["versions"]["jax"] and "cores" in found["machine"]
    assert [c["name"] for c in found["entries"][0]["contenders"]] == ["ours", "peer"]
    assert "peer" in capsys.readouterr().out
