"""What is chosen on the held-out end, by whom, and that nobody who is judged has seen it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tenkai as tk
from tenkai.curriculum import selection
from tenkai.curriculum.members import WIDTH, Design
from tenkai.curriculum.problem import Problem, ends
from tenkai.curriculum.recipes import narrowed
from tenkai.curriculum.runs import Candidate, Run, _task, run
from tenkai.curriculum.selection import Choice, select
from tenkai.curriculum.task import Plan, Recipe, Trained
from tenkai.data import Scaler, Trajectories
from tenkai.errors import InputError
from tenkai.fields import ACTIVATIONS, MLP

QUICK = Plan(matching_steps=12, shooting_steps=4)
TINY: dict[str, Any] = {"members": 2, "steps": 4, "matching_steps": 12}


def _data(n: int = 30, shift: float = 0.0) -> Trajectories:
    """Two variables that cross zero; `shift` makes them positive."""
    t = np.linspace(0, 6, n)
    x = np.stack([np.sin(t), np.cos(t)], 1) + 0.01 * np.random.default_rng(0).normal(size=(n, 2))
    return Trajectories.from_arrays(x + shift, t)


def _select(data: Trajectories, design: Design, plan: Plan = QUICK) -> Choice:
    most = selection.MOST_HIDDEN + (data.dim if design.order == 2 else 0)
    known = np.full((len(data), data.dim + most), np.nan)
    return select(Problem.of(data), data, known, design, plan)


# Narrow networks.


def test_a_narrow_network_is_the_genuinely_narrow_one() -> None:
    random = np.random.default_rng(0)
    narrow = narrowed(MLP((3, 16, 16, 2), key=random), 5)
    live = [np.where(np.arange(16) < 5, random.normal(size=16), 0.0) for _ in range(2)]
    narrow = eqx.tree_at(lambda n: [layer.bias for layer in n.layers[:2]], narrow, live)
    parts = []
    for i, layer in enumerate(narrow.layers):
        rows, columns = (None if i == 2 else 5), (None if i == 0 else 5)
        parts += [layer.weight[:rows, :columns], layer.bias[:rows]]
    genuine = MLP((3, 5, 5, 2), key=random)
    genuine = eqx.tree_at(
        lambda n: [x for m in n.layers for x in (m.weight, m.bias)], genuine, parts
    )
    for x in random.normal(size=(4, 3)).astype(np.float32):
        np.testing.assert_allclose(narrow(x), genuine(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_widths_are_offered_where_dead_units_stay_dead(name: str) -> None:
    """An activation that is not zero at zero gives dead units a gradient."""
    net = narrowed(MLP((2, 8, 8, 2), name, key=np.random.default_rng(0)), 3)

    def loss(net: MLP) -> Any:
        return jnp.sum((net(jnp.array([0.3, -0.7])) - 1.0) ** 2)

    slope = jax.grad(loss)(net)
    stays = all((np.asarray(layer.weight)[3:] == 0).all() for layer in slope.layers[:-1])
    stays &= all((np.asarray(layer.weight)[:, 3:] == 0).all() for layer in slope.layers[1:])
    stays &= all((np.asarray(layer.bias)[3:] == 0).all() for layer in slope.layers[:-1])
    offered = selection._alternatives(Recipe(), 0, Design(activation=name))
    assert any(r.width for r in offered) == stays


def test_dead_units_stay_exactly_dead_in_training() -> None:
    data = _data()
    problem = Problem.of(data)
    scaler = Scaler.fit(problem.values)
    recipes = [Recipe(decay=1e-3), Recipe(decay=1e-3, width=7)]
    closed = ends(problem, 0.2)
    known = np.full((1, 2), np.nan)
    made = run(problem, [Candidate(scaler, r) for r in recipes], closed, known, Design(), QUICK)
    layers = made.trained.models.field.net.net.layers
    assert [layer.weight.shape[1:] for layer in layers] == [(WIDTH, 2), (WIDTH, WIDTH), (2, WIDTH)]
    for i, layer in enumerate(layers):
        weight, bias = np.asarray(layer.weight), np.asarray(layer.bias)
        assert (weight[1][: 2 if i == 2 else 7, : 2 if i == 0 else 7] != 0).all()
        assert (weight[0] != 0).all()
        if i < 2:
            assert (weight[1, 7:] == 0).all()
            assert (bias[1, 7:] == 0).all()
        if i > 0:
            assert (weight[1, :, 7:] == 0).all()


def test_a_member_without_hidden_dimensions_never_moves_them() -> None:
    data = _data()
    problem = Problem.of(data)
    scaler, known = Scaler.fit(problem.values), np.full((1, 4), np.nan)
    recipes = [Recipe(hidden=0), Recipe(hidden=2)]
    none = np.zeros(len(problem.tau), bool)
    tried = [Candidate(scaler, r) for r in recipes]
    made = run(problem, tried, none, known, Design(hidden=2, width=8, depth=1), QUICK)
    assert (made.paths[0, :, 2:] == 0).all()
    assert (made.paths[1, :, 2:] != 0).any()


# Who may see what.


def test_the_closed_end_changes_no_trained_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_GOOD", 0.0)
    monkeypatch.setattr(selection._Round, "noise", lambda *_: 0.0)
    data = _data()
    x = data[0].x.copy()
    x[-6:] = 50.0 * np.random.default_rng(1).normal(size=(6, 2))
    poisoned = Trajectories.from_arrays(x, data[0].t)
    runs = [_select(d, Design(members=4)).runs[:2] for d in (data, poisoned)]
    assert [len(r) for r in runs] == [2, 2]
    for clean, bad in zip(*runs, strict=True):
        for a, b in zip(
            jax.tree.leaves(clean.trained.models), jax.tree.leaves(bad.trained.models), strict=True
        ):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(clean.paths, bad.paths)
        assert not clean.task.train[:, clean.task.closed].any()
        assert not clean.task.held_out[:, clean.task.closed].any()


# What is chosen: runs whose misses are known stand for trainings.


Miss = Callable[[Candidate, int], Any]


def _fake(monkeypatch: pytest.MonkeyPatch, miss: Miss) -> list[tuple[str, int]]:
    """Every training's paths are the data plus ``miss(candidate, nodes)``; returns what was run."""
    asked: list[tuple[str, int]] = []

    def fake_run(problem, candidates, closed, known, design, plan, *, refine=1):
        task = _task(problem, candidates, closed, known, design, plan.seed)
        asked.append((plan.run, design.hidden))
        paths = np.nan_to_num(task.values)
        for path, candidate in zip(paths, candidates, strict=True):
            miss_ = np.asarray(miss(candidate, len(problem.tau)))
            path += miss_.reshape(-1, 1) if miss_.ndim else miss_
        return Run(task, Trained(np.zeros(len(candidates))), None, paths)

    monkeypatch.setattr(selection, "run", fake_run)
    return asked


def _end_only(size: float, nodes: int) -> np.ndarray:
    """A miss in the last fifth alone: what is in between is met."""
    return np.where(np.arange(nodes) < 0.75 * nodes, 0.0, size)


@pytest.mark.parametrize(
    ("better", "design", "words"),
    [
        (lambda r: r.decay == 1e-3, Design(), "weight decay 0.001"),
        (lambda r: r.jacobian > 0, Design(), "Jacobian penalty 0.001"),
        (lambda r: r.width == WIDTH // 3, Design(), f"{WIDTH // 3} hidden units"),
        (lambda r: r.hidden == 1, Design(hidden="auto"), "1 hidden state dimension:"),
        (lambda r: r.hidden == 2, Design(hidden="auto"), "2 hidden state dimensions:"),
    ],
)
def test_what_is_truly_better_is_chosen(monkeypatch, better, design: Design, words: str) -> None:
    asked = _fake(monkeypatch, lambda c, n: _end_only(0.1 if better(c.recipe) else 0.6, n))
    choice = _select(_data(), design)
    assert better(
        Recipe(
            choice.recipe.decay, choice.recipe.jacobian, choice.recipe.width, choice.hidden or None
        )
    )
    assert choice.recipe.hidden is None
    most = selection.MOST_HIDDEN if design.hidden == "auto" else 0
    assert [name for name, _ in asked] == ["without the end", "other recipes", "the recipe again"]
    assert [hidden for _, hidden in asked] == [0, most, choice.hidden]
    assert choice.judge is choice.runs[-1]
    assert any(words in note for note in choice.notes)


def test_the_default_stands_unless_another_is_clearly_better(monkeypatch) -> None:
    random = np.random.default_rng(0)
    noise = {}

    def miss(candidate: Candidate, nodes: int) -> np.ndarray:
        drawn = noise.setdefault(candidate.recipe, random.normal(size=nodes))
        return _end_only(0.5, nodes) * (1 + 0.8 * drawn)

    asked = _fake(monkeypatch, miss)
    choice = _select(_data(), Design())
    assert choice.recipe == Recipe()
    assert [name for name, _ in asked] == ["without the end", "other recipes"]
    assert choice.judge is choice.runs[0]
    assert "default kept" in " ".join(choice.notes)


def test_a_good_default_needs_no_other_recipe(monkeypatch) -> None:
    asked = _fake(monkeypatch, lambda c, n: np.full(n, 0.01))
    choice = _select(_data(), Design())
    assert len(asked) == 1
    assert choice.recipe == Recipe()
    assert "other recipes skipped" in " ".join(choice.notes)


def test_numbers_are_taken_as_they_are(monkeypatch) -> None:
    asked = _fake(monkeypatch, lambda c, n: _end_only(0.6, n))
    choice = _select(_data(), Design(width=8, decay=3e-4, jacobian=2e-3))
    assert choice.recipe == Recipe(decay=3e-4, jacobian=2e-3)
    assert len(asked) == 1


def test_without_a_held_out_end_nothing_is_tried(monkeypatch) -> None:
    asked = _fake(monkeypatch, lambda c, n: np.zeros(n))
    choice = _select(_data(), Design(held_out=0.0, hidden="auto"))
    assert asked == []
    assert choice.judge is None
    assert (choice.hidden, choice.recipe) == (0, Recipe())


@pytest.mark.parametrize("raw_wins", [True, False])
def test_the_log_scale_stands_unless_the_raw_one_is_clearly_better(monkeypatch, raw_wins) -> None:
    def miss(candidate: Candidate, nodes: int) -> np.ndarray:
        log = candidate.scaler.positive.any()
        return _end_only(0.6, nodes) if log and raw_wins else np.full(nodes, 0.001)

    asked = _fake(monkeypatch, miss)
    choice = _select(_data(shift=1.2), Design(width=8, decay=0.0, jacobian=0.0, members=3))
    assert len(asked) == 1
    assert choice.positive.any() != raw_wins
    assert ("the raw scale" if raw_wins else "a log scale") in " ".join(choice.notes)
    assert list(choice.mine) == ([False, True, False] if raw_wins else [True, False, True])


def test_velocities_are_no_choice(monkeypatch) -> None:
    """A second-order system has them whatever is augmented, and no log scale."""
    asked = _fake(monkeypatch, lambda c, n: _end_only(0.1 if c.recipe.hidden == 3 else 0.6, n))
    choice = _select(_data(shift=2.0), Design(order=2, hidden="auto"))
    assert [hidden for _, hidden in asked] == [2, 4, 3]
    assert choice.hidden == 3
    assert not choice.positive.any()
    assert "1 hidden state dimension:" in " ".join(choice.notes)


def test_a_second_order_system_has_no_log_scale() -> None:
    with pytest.raises(InputError, match="positive=True with order=2"):
        tk.NeuralODE(**TINY, order=2, positive=True).fit(_data(shift=2.0))


@pytest.mark.parametrize(
    ("gain", "clearly"),
    [
        (np.ones(5), True),
        (-np.ones(5), False),
        (np.zeros(5), False),
        (np.array([1.0]), False),
        (np.empty(0), False),
        (np.array([1.0, -0.9, 1.1, -1.0]), False),
    ],
)
def test_clearly(gain: np.ndarray, clearly: bool) -> None:
    assert selection._clearly(gain) is clearly


def test_chance_is_rarely_called_better() -> None:
    random = np.random.default_rng(0)
    called = np.mean([selection._clearly(random.normal(size=12)) for _ in range(2000)])
    assert called < 0.04


# From the choice to the file.


def _answers_alike(ode: tk.NeuralODE, again: tk.NeuralODE) -> None:
    assert again.get_params() == ode.get_params()
    state = np.full(ode.predictor_.ensemble.given, 0.3)
    for ask in (
        lambda o: o.forecast(horizon=1.0).upper,
        lambda o: np.asarray(o.reconstruct()),
        lambda o: o.derivative(state),
        lambda o: np.asarray(o.simulate(state, [0.0, 1.0])),
        lambda o: o.forecast(horizon=1.0, data=ode.data_).mean,
    ):
        np.testing.assert_array_equal(ask(again), ask(ode))


def test_a_chosen_width_is_trained_and_saved(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(selection, "_GOOD", -1.0)
    monkeypatch.setattr(selection._Round, "noise", lambda *_: -1.0)
    monkeypatch.setattr(selection, "_clearly", lambda gain: True)
    monkeypatch.setattr(selection, "_alternatives", lambda *_: [Recipe(width=10)])
    ode = tk.NeuralODE(**TINY).fit(_data())
    assert any("10 hidden units" in note for note in ode.fit_.status.notes)
    first = np.asarray(ode.model_.net.net.layers[0].weight)
    assert first.shape[1] == WIDTH
    assert (first[:, 10:] == 0).all()
    assert (first[:, :10] != 0).all()
    ode.save(tmp_path / "m.safetensors")
    _answers_alike(ode, tk.load(tmp_path / "m.safetensors"))


@pytest.mark.parametrize(("order", "hidden"), [(1, 1), (2, 3)])
def test_chosen_hidden_dimensions_are_saved(
    monkeypatch, tmp_path: Path, order: int, hidden: int
) -> None:
    choice = Choice(np.zeros(2, bool), Recipe(decay=1e-4), hidden)
    monkeypatch.setattr("tenkai.curriculum.learning.select", lambda *_: choice)
    ode = tk.NeuralODE(**TINY, augment="auto", order=order, depth=1, width=8).fit(_data())
    assert ode.predictor_.ensemble.dim == 2 + hidden
    ode.save(tmp_path / "m.safetensors")
    again = tk.load(tmp_path / "m.safetensors")
    assert again.predictor_.ensemble.given == 2 * order
    _answers_alike(ode, again)


def _seen_in_position(x: np.ndarray, t: np.ndarray) -> tk.NeuralODE:
    noise = 0.03 * np.random.default_rng(1).normal(size=len(t))
    settings: dict[str, Any] = {"members": 3, "steps": 100, "matching_steps": 300, "width": 16}
    ode = tk.NeuralODE(**settings, augment="auto", decay=1e-5, jacobian=0.0, positive=False)
    return ode.fit((x + noise)[:, None], t=t)


def test_an_oscillator_seen_in_position_gets_one_hidden_dimension() -> None:
    t = np.linspace(0, 10, 40)
    for x in (np.cos(2 * t), np.exp(-0.1 * t) * np.cos(1.5 * t)):
        ode = _seen_in_position(x, t)
        assert ode.predictor_.ensemble.dim == 2
        assert ode.score() > 0.97
        assert "1 hidden state dimension" in " ".join(ode.fit_.status.notes)


def test_a_relaxation_needs_no_hidden_dimension() -> None:
    t = np.linspace(0, 10, 40)
    ode = _seen_in_position(np.exp(-0.5 * t), t)
    assert ode.predictor_.ensemble.dim == 1
    assert "default kept" in " ".join(ode.fit_.status.notes)


def test_of_equally_good_hidden_states_the_fewest(monkeypatch) -> None:
    _fake(monkeypatch, lambda c, n: np.full(n, 0.1 if c.recipe.hidden else 0.9))
    assert _select(_data(), Design(hidden="auto")).hidden == 1


def test_points_in_between_tell_of_hidden_states_too(monkeypatch) -> None:
    """An end of few points that differ much tells too little alone."""
    large = np.array([0.05, 0.1, 0.05, 1.5, 0.1, 0.05])

    def chosen(between: float) -> int:
        def miss(candidate: Candidate, nodes: int) -> np.ndarray:
            out = np.full(nodes, 0.05 if candidate.recipe.hidden else between)
            out[-6:] = 0.04 if candidate.recipe.hidden else large
            return out

        _fake(monkeypatch, miss)
        design = Design(hidden="auto", members=4, width=8, decay=0.0, jacobian=0.0)
        return _select(_data(), design).hidden

    assert chosen(0.7) == 1
    assert chosen(0.05) == 0
