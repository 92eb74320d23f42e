"""How many programs a fit compiles, and that padding to shared sizes changes no number."""

from __future__ import annotations

import json
import subprocess
import sys

import equinox as eqx
import jax
import numpy as np
import pytest

import tenkai as tk
from tenkai.curriculum.material import padded
from tenkai.curriculum.problem import Problem
from tenkai.fields import NeuralField
from tenkai.models.ensemble import cast, paths
from tenkai.models.grid import Grid, Size
from tenkai.models.trajectory import ScaledField, TrajectoryModel
from tenkai.objectives import Penalties, Probe, Segments, shooting

MOST = 6  # gradient matching, shooting, paths, and what goes with them

_COUNT = """
import json, sys
import jax
import tenkai as tk

compiled = []
def heard(event, *_, **__):
    if event == "/jax/core/compile/backend_compile_duration":
        compiled.append(event)
jax.monitoring.register_event_duration_secs_listener(heard)

counts = []
for n, seed in json.loads(sys.argv[1]):
    data = tk.toys.sample("van_der_pol", n=n, noise=0.05, seed=seed)
    before = len(compiled)
    tk.NeuralODE(steps=6, matching_steps=10, members=int(sys.argv[2])).fit(data)
    counts.append(len(compiled) - before)
print(json.dumps(counts))
"""


def _compiled(fits: list[tuple[int, int]], members: int = 5) -> list[int]:
    """Programs that each fit of (points, seed) compiles, in a process of their own."""
    command = [sys.executable, "-c", _COUNT, json.dumps(fits), str(members)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("n", "other"), [(40, 39), (150, 153)])
def test_a_default_fit_compiles_six_programs_and_its_like_none(n: int, other: int) -> None:
    first, *again = _compiled([(n, 0), (other, 0), (n, 1)])
    assert 0 < first <= MOST
    assert again == [0, 0], "series that pad to one size share every program"


def _problem() -> Problem:
    random = np.random.default_rng(0)
    t = [np.sort(random.uniform(0, 3, n)) for n in (9, 17)]
    x = [random.normal(size=(len(s), 2)) for s in t]
    return Problem.of(tk.Trajectories.from_arrays(x, t))


def _model(nodes: int, members: int = 2) -> TrajectoryModel:
    """Members with random fields and states; the nodes beyond 26 are not a number."""
    random = np.random.default_rng(1)
    made = [NeuralField(2, key=random, width=8) for _ in range(members)]
    net = jax.tree.map(lambda *a: np.stack(a) if hasattr(a[0], "shape") else a[0], *made)
    states = np.full((members, nodes, 2), np.nan)
    states[:, :26] = random.normal(size=(members, 26, 2))
    field = ScaledField(net, np.ones((members, 2)))
    return cast(TrajectoryModel(field, states, np.ones(states.shape, bool)), np.float32)


def _walked(grid: Grid) -> np.ndarray:
    grid = cast(grid, np.float32)
    reset = np.zeros(grid.nodes, bool)
    reset[[4, 13]] = True
    return np.asarray(paths(2)(_model(grid.nodes), grid, reset))[:, :26]


def test_a_grid_of_a_larger_size_has_the_same_paths() -> None:
    problem = _problem()
    tight = problem.grid()
    wide = problem.grid(least=Size(tight.size.steps + 70, tight.size.nodes + 130))
    assert wide.size.steps >= tight.size.steps + 70
    assert wide.size.nodes >= tight.size.nodes + 130
    np.testing.assert_allclose(_walked(wide), _walked(tight), rtol=0, atol=1e-6)


def _loss(grid: Grid, values: np.ndarray, weight: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Of one member, with its gradient."""
    probe = Probe(np.zeros(1), np.zeros((1, 2)), None, np.ones(1))
    off = Penalties(np.float32(1e-3), np.float32(0), np.float32(0), probe)
    batch = Segments(grid, np.zeros(grid.nodes, bool), values, weight, np.float32(1.0), off)
    batch = cast(batch, np.float32)
    whole = _model(grid.nodes)
    arrays, tree = jax.tree.flatten(whole)
    one = jax.tree.unflatten(tree, [a[0] for a in arrays])

    def value(field, rest):
        return shooting(1)(TrajectoryModel(field, one.states, one.free), rest, None)[0]

    loss, slope = eqx.filter_jit(eqx.filter_value_and_grad(value))(one.field, batch)
    return float(loss), [np.asarray(a) for a in jax.tree.leaves(slope)]


def test_padded_nodes_and_points_without_weight_have_no_influence() -> None:
    problem = _problem()
    grid = problem.grid()
    assert grid.nodes > 26, "there is padding to poison"
    weight = padded(np.ones((26, 2)), grid.nodes)
    weight[5] = 0.0
    clean = padded(problem.values, grid.nodes)
    poisoned = clean.copy()
    poisoned[26:] = np.nan
    poisoned[5] = np.nan
    a, da = _loss(grid, clean, weight)
    b, db = _loss(grid, poisoned, weight)
    assert np.isfinite(a)
    assert a == b
    for x, y in zip(da, db, strict=True):
        assert np.isfinite(x).all()
        np.testing.assert_array_equal(x, y)
