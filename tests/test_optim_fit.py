"""`fit` takes its steps with `optim`: ties, states to begin with, checkpoints; and the examples."""

from __future__ import annotations

import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tenkai as tk
from tenkai import optim, storage
from tenkai.errors import InputError
from tenkai.objectives import Aux
from tenkai.reproduce import Task, linear_backprop, optimisers_affine

RULE = optax.inject_hyperparams(optax.adam)(1e-2)
SGD = optax.sgd(0.1)


class Pair(eqx.Module):
    first: jax.Array
    second: jax.Array
    activation: object = jnp.tanh  # a leaf that is no array


def pull(model, target, key):
    return jnp.sum((model.first - target) ** 2) + jnp.sum((model.second + 2 - target) ** 2), Aux()


def pair(scale=1.0):
    return Pair(scale * jnp.ones(2), scale * jnp.arange(2.0))


TARGET = np.float32(3.0)


def test_fit_keeps_tied_arrays_tied():
    w = jnp.zeros(2)
    fitted = tk.fit(Pair(w, w), pull, TARGET, rule=SGD, steps=100)
    assert fitted.history[0]["event"] == "one array: first = second"
    tied = fitted.model
    np.testing.assert_array_equal(tied.first, tied.second)
    np.testing.assert_allclose(tied.first, 2.0, rtol=1e-5)  # between 3 and 1
    loose = tk.fit(Pair(w, w + 0), pull, TARGET, rule=SGD, steps=100).model
    np.testing.assert_allclose([loose.first, loose.second], [[3, 3], [1, 1]], rtol=1e-5)


def test_fit_begins_with_a_state():
    model = pair()
    state = optim.adjust(optim.setup(RULE, model), learning_rate=0.05)
    fitted = tk.fit(model, pull, TARGET, rule=optim.freeze(state, "second"), steps=30, every=10)
    np.testing.assert_array_equal(fitted.model.second, model.second)
    assert fitted.history[-1]["learning_rate"] == pytest.approx(0.05)

    def objective(first):
        return pull(eqx.tree_at(lambda m: m.first, model, first), TARGET, None)[0]

    by_hand = model
    for _ in range(30):
        gradients = Pair(jax.grad(objective)(by_hand.first), None, None)
        state, by_hand = optim.update(state, by_hand, gradients)
    np.testing.assert_allclose(fitted.model.first, by_hand.first, rtol=1e-5)
    # Momentum goes on: the first step after thirty differs from the first of a new state.
    warm = tk.fit(by_hand, pull, TARGET, rule=state, steps=1).model
    fresh = tk.fit(by_hand, pull, TARGET, rule=RULE, steps=1).model
    assert float(jnp.abs(warm.first - fresh.first).max()) > 1e-3


def test_fit_begins_with_states_of_members():
    models = eqx.filter_vmap(pair)(jnp.array([1.0, 2.0]))
    states = eqx.filter_vmap(lambda m: optim.setup(SGD, m))(models)
    states = optim.adjust(states, rate=np.array([1.0, 0.0]))
    together = tk.fit(
        models, pull, TARGET, rule=states, steps=20, members=2, member_axes=None
    ).model
    alone = tk.fit(pair(), pull, TARGET, rule=SGD, steps=20).model
    np.testing.assert_allclose(together.first[0], alone.first, rtol=1e-5)
    np.testing.assert_array_equal(together.first[1], models.first[1])
    with pytest.raises(InputError, match="leading axis of 2 members"):
        one = optim.setup(SGD, pair())
        tk.fit(models, pull, TARGET, rule=one, steps=1, members=2, member_axes=None)


def test_fit_refuses_the_state_of_another_model():
    state = optim.setup(SGD, {"a": jnp.ones(1)})
    with pytest.raises(InputError, match="set up for this model; got one that trains 'a'"):
        tk.fit(pair(), pull, TARGET, rule=state, steps=1)
    with pytest.raises(InputError, match="an optax rule"):
        tk.fit(pair(), pull, TARGET, rule="adam", steps=1)


def test_checkpoints_know_the_state_and_refuse_older_forms(tmp_path):
    state = optim.freeze(optim.setup(RULE, pair()), "first")
    first = tk.fit(pair(), pull, TARGET, rule=state, steps=10, checkpoint=tmp_path)
    again = tk.fit(pair(), pull, TARGET, rule=state, steps=10, checkpoint=tmp_path)
    np.testing.assert_array_equal(first.model.second, again.model.second)
    with pytest.raises(InputError, match="expected optimiser as when"):
        tk.fit(pair(), pull, TARGET, rule=optim.thaw(state), steps=10, checkpoint=tmp_path)
    for path in tmp_path.iterdir():
        arrays, meta = storage.load(path)
        del meta["form"], meta["format"]
        storage.save(path, arrays, meta)
    with pytest.raises(InputError, match="another version of tenkai"):
        tk.fit(pair(), pull, TARGET, rule=state, steps=10, checkpoint=tmp_path)


# reproduce


def test_linear_backprop(tmp_path: Path):
    rows = {r.quantity: r for r in linear_backprop.run(Task(out=tmp_path), steps=40, seeds=3)}
    printed = [r for name, r in rows.items() if name.startswith("step ")]
    assert len(printed) == 28
    for row in printed:
        assert row.ours == pytest.approx(row.published, abs=2e-7), row.quantity
    assert rows["by hand against automatic: largest difference"].ours < 1e-7
    mean = linear_backprop.expected(40)
    assert rows["W after 40 steps"].ours == pytest.approx(mean.W, abs=0.05)
    assert (tmp_path / "linear-backprop.png").stat().st_size > 20_000
    far = linear_backprop.expected(100_000)
    assert far == pytest.approx(tuple(linear_backprop.BEST.values()), abs=1e-6)


def test_the_graph_has_the_gradients_of_the_table():
    nodes = {
        n.name: n
        for n in linear_backprop.graph(
            linear_backprop.Line(*linear_backprop.TABLE[1, :2]), float(linear_backprop.X[1])
        )
    }
    assert nodes["W"].gradient == pytest.approx(linear_backprop.TABLE[1, 2], abs=2e-7)
    assert nodes["b"].gradient == pytest.approx(linear_backprop.TABLE[1, 3], abs=2e-7)
    assert nodes["( )²"].gradient == 1.0


def test_optimisers_affine(tmp_path: Path):
    run = optimisers_affine.run(Task(out=tmp_path), seeds=3, epochs=100)
    rows = {r.quantity: r for r in run}
    assert rows["loss, epoch 50"].ours == pytest.approx(0.0318, rel=4)
    assert rows["loss, epoch 100"].ours < rows["loss, epoch 50"].ours / 2
    assert rows["fit against update: largest difference"].ours < 1e-6
    assert (tmp_path / "optimisers-affine.png").stat().st_size > 20_000
    json.dumps([vars(row) for row in run])
