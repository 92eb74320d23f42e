"""One scan over packed rows is the same as one solve per series."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from tenkai.fields import NeuralField
from tenkai.models.ensemble import cast, paths
from tenkai.models.grid import pack, substeps
from tenkai.models.trajectory import TrajectoryModel
from tenkai.solve import solve
from tenkai.unfold import RK4

RANDOM = np.random.default_rng(0)
TIMES = [np.sort(RANDOM.uniform(0, 1, n)) for n in (7, 12, 5)]
INPUTS = [RANDOM.normal(size=(len(t), 1)) for t in TIMES]
STARTS = RANDOM.normal(size=(3, 2))


def model_on(grid, starts: np.ndarray, field) -> TrajectoryModel:
    states = np.zeros((grid.nodes, 2))
    states[np.flatnonzero(grid.first)] = starts
    return TrajectoryModel(field, states, np.ones(states.shape, bool))


@pytest.mark.parametrize("row_length", [8, 1024])
@pytest.mark.parametrize("held", [False, True])
def test_packed_rows_equal_separate_solves(row_length: int, held: bool) -> None:
    with jax.enable_x64(True):
        field = NeuralField(2, key=jax.random.key(0), inputs=1, width=8)
        counts = substeps(TIMES, 0.02)
        grid = pack(TIMES, counts, INPUTS, held=held, row_length=row_length)
        assert (grid.begins.shape[0] == 1) == (row_length == 1024)
        none = np.zeros(grid.nodes, bool)
        path = np.asarray(model_on(grid, STARTS, field).arrivals(grid, none))
        at = 0
        for t, u, y0, count in zip(TIMES, INPUTS, STARTS, counts, strict=True):
            hold = "previous" if held else "linear"
            ys = solve(field, y0, t, u=u, hold=hold, method=RK4, substeps=count).ys
            np.testing.assert_allclose(path[at : at + len(t)], ys, rtol=0, atol=1e-12)
            at += len(t)


def test_reset_takes_the_learned_state_and_passes_gradients_to_it() -> None:
    with jax.enable_x64(True):
        field = NeuralField(2, key=jax.random.key(1), width=8)
        grid = pack(TIMES[:1], substeps(TIMES[:1], 0.05))
        model = model_on(grid, STARTS[:1], field)
        model = TrajectoryModel(field, model.states + 0.3, model.free)
        reset = np.zeros(grid.nodes, bool)
        reset[3] = True

        def reached(states):
            return TrajectoryModel(field, states, model.free).arrivals(grid, reset)[5].sum()

        gradient = np.asarray(jax.grad(reached)(model.states))
        assert np.abs(gradient[3]).sum() > 0
        assert np.abs(np.delete(gradient, 3, axis=0)).sum() == 0


def test_given_states_get_no_gradient() -> None:
    field = NeuralField(2, key=jax.random.key(1), width=8)
    grid = cast(pack(TIMES[:1], substeps(TIMES[:1], 0.05)), np.float32)
    states = np.ones((grid.nodes, 2), np.float32)
    free = np.ones(states.shape, bool)
    free[0, 0] = False

    def total(states):
        return TrajectoryModel(field, states, free).arrivals(grid, grid.first).sum()

    gradient = np.asarray(jax.grad(total)(states))
    assert gradient[0, 0] == 0.0
    assert gradient[0, 1] != 0.0


def test_no_step_is_longer_than_asked_and_every_node_is_hit() -> None:
    counts = substeps(TIMES, 0.03)
    grid = pack(TIMES, counts, pad_to=16)
    assert grid.begins.shape[1] % 16 == 0
    assert grid.interval.h.max() <= 0.03 * (1 + 1e-6)
    ends = (grid.interval.t + grid.interval.h).ravel()
    assert grid.nodes % 16 == 0
    reached = grid.reached[grid.reached >= 0]
    expected = np.concatenate([t[1:] for t in TIMES])
    np.testing.assert_allclose(ends[reached], expected, rtol=1e-12)


def test_members_share_one_compiled_program() -> None:
    fields = jax.vmap(lambda k: NeuralField(2, key=k, width=8))(
        jax.random.split(jax.random.key(0), 3)
    )
    grid = cast(pack(TIMES[:1], substeps(TIMES[:1], 0.05)), np.float32)
    states = np.ones((3, grid.nodes, 2), np.float32)
    model = TrajectoryModel(fields, states, np.ones(states.shape, bool))
    together = np.asarray(paths(3, RK4)(model, grid, np.zeros(grid.nodes, bool)))
    for i in range(3):
        one = jax.tree.map(lambda a, i=i: a[i], model)
        alone = np.asarray(one.arrivals(grid, np.zeros(grid.nodes, bool)))
        np.testing.assert_allclose(together[i], alone, atol=1e-5)
