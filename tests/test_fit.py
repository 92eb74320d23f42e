"""The training loop against loops written by hand, and what it does when training goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tenkai as tk
from tenkai.errors import InputError
from tenkai.fields import MLP
from tenkai.fit import member_key
from tenkai.objectives import Aux

X = np.linspace(-1, 1.5, 32, dtype=np.float32)[:, None]
Y = np.sin(3 * X)
ADAM = optax.adam(1e-2)
SGD = optax.sgd(0.1)


def mse(model, batch, key):
    x, y = batch
    return jnp.mean((jax.vmap(model)(x) - y) ** 2), Aux(weight=x.shape[0], nfe_forward=7)


def net(seed=0):
    return MLP((1, 8, 1), key=jax.random.key(seed))


def nets(count):
    return eqx.filter_vmap(lambda k: MLP((1, 8, 1), key=k))(
        jax.random.split(jax.random.key(0), count)
    )


def same(a, b):
    a, b = (jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (a, b))
    return len(a) == len(b) and all(
        np.array_equal(p, q, equal_nan=True) for p, q in zip(a, b, strict=True)
    )


def close(a, b, rtol=2e-4):
    for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(p, q, rtol=rtol, atol=1e-5)


def by_hand(model, steps, guarded):
    """The same optimiser written by hand; `guarded`: with the rate and the guard spelled out."""

    def step(now, rate):
        model, state = now
        value, grads = jax.value_and_grad(lambda m: mse(m, (X, Y), None)[0])(model)
        updates, new_state = ADAM.update(grads, state, model)
        if not guarded:
            return optax.apply_updates(model, updates), new_state
        new = jax.tree.map(lambda p, u: p + rate * u, model, updates), new_state
        return jax.tree.map(lambda a, b: jnp.where(jnp.isfinite(value), a, b), new, now)

    @jax.jit
    def run(now, n, rate):
        return jax.lax.fori_loop(0, n, lambda _, now: step(now, rate), now)

    return run((model, ADAM.init(model)), steps, jnp.ones(()))[0]


def test_equals_a_loop_written_by_hand_bit_for_bit():
    fitted = tk.fit(net(), mse, (X, Y), rule=ADAM, steps=120, every=50)
    # Compilers fuse a product into a sum where they can: the plain loop differs in the last bits.
    assert same(fitted.model, by_hand(net(), 120, guarded=True))
    close(fitted.model, by_hand(net(), 120, guarded=False))
    assert (fitted.status.kind, fitted.steps) == ("finished", 120)
    assert [h["step"] for h in fitted.history] == [50, 100, 120]
    assert fitted.history[-1]["loss"] < 0.1 < fitted.history[0]["loss"]
    assert fitted.history[0]["nfe_forward"] == 7
    assert " ".join(fitted.history[0]) == (
        "step stage loss validation nfe_forward nfe_backward learning_rate seconds event"
    )
    json.dumps(fitted.history)


@pytest.mark.parametrize("batch", [None, 8])
def test_chunks_do_not_matter(monkeypatch, batch):
    results = []
    for seconds in (0.0, 1e9):  # one step between looks at the clock; whole intervals
        monkeypatch.setattr(import_module("tenkai.fit.loop"), "_SYNC_SECONDS", seconds)
        results.append(tk.fit(net(), mse, (X, Y), rule=ADAM, steps=60, every=25, batch=batch))
    a, b = results
    assert same(a.model, b.model)
    assert [h["loss"] for h in a.history] == [h["loss"] for h in b.history]


def test_one_program_serves_fits_with_other_data():
    compiled = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    def fit(scale, steps, model):
        data = (X, (scale * Y).astype(np.float32))
        return tk.fit(model, mse, data, rule=ADAM, steps=steps, every=20, validation=data)

    models = [net(i) for i in range(3)]
    fit(1.0, 30, models[0])
    jax.monitoring.register_event_duration_secs_listener(listen)  # older JAX cannot take it back
    for i, steps in enumerate((30, 45, 100)):
        fit(2.0 + i, steps, models[i])
    assert compiled == []


def test_members_equal_separate_fits():
    models, key = nets(3), jax.random.key(5)
    together = tk.fit(
        models, mse, (X, Y), rule=ADAM, steps=50, key=key, members=3, member_axes=None, batch=8
    )
    for i in range(3):
        alone = jax.tree.map(lambda x, i=i: x[i], models)
        alone = tk.fit(
            alone, mse, (X, Y), rule=ADAM, steps=50, key=member_key(key, i), batch=8
        ).model
        close(jax.tree.map(lambda x, i=i: x[i], together.model), alone)
    assert together.members.shape == (3,)
    assert np.isfinite(together.members).all()


def test_members_with_their_own_data():
    scale = np.array([1.0, 2.0], np.float32)
    data = (X, Y * scale[:, None, None])
    models = jax.tree.map(lambda x: jnp.stack([x, x]), net())
    fitted = tk.fit(models, mse, data, rule=ADAM, steps=40, members=2, member_axes=(None, 0))
    for i in range(2):
        alone = tk.fit(net(), mse, (X, Y * scale[i]), rule=ADAM, steps=40).model
        close(jax.tree.map(lambda x, i=i: x[i], fitted.model), alone)


def test_the_best_model_by_validation_is_kept_and_patience_stops():
    # Training pulls the parameter to 1, validation wants 0.5: the best is passed on the way.
    def pull(model, target, key):
        return jnp.sum((model - target[0]) ** 2), Aux()

    fitted = tk.fit(
        jnp.zeros(1), pull, [np.ones(1, np.float32)], rule=optax.sgd(0.01), steps=1000, every=5,
        validation=[0.5 * jnp.ones(1)], patience=3,
    )  # fmt: skip
    values = [h["validation"] for h in fitted.history]
    best = int(np.argmin(values))
    assert fitted.status.kind == "early"
    assert fitted.status.ok
    assert len(values) == best + 1 + 3
    assert fitted.steps == 5 * len(values) < 1000
    assert abs(float(fitted.model[0]) - 0.5) < 0.05
    other = tk.fit(
        jnp.zeros(1), pull, [np.ones(1, np.float32)], rule=optax.sgd(0.01), steps=20, every=5,
        validation=[jnp.ones(1)], validate=lambda model, target, key: (-jnp.sum(model), Aux()),
    )  # fmt: skip
    assert [h["validation"] for h in other.history][-1] == pytest.approx(-float(other.model[0]))


def trap(model, data, key):
    """Not finite while the parameter is beyond the member's wall."""
    value = jnp.sum((model - 1) ** 2)
    return jnp.where(jnp.all(model < data), value, jnp.nan), Aux()


def test_a_bad_step_changes_nothing():
    def sometimes(model, data, key):
        return jnp.where(jax.random.bernoulli(key, 0.3), jnp.nan, jnp.sum(model**2)), Aux()

    def noted(model, data, key):
        value, aux = sometimes(model, data, key)
        return value, aux._replace(nfe_forward=1)

    fitted = tk.fit(jnp.ones(1), noted, jnp.ones(1), rule=SGD, steps=100, every=100)
    taken = np.log(float(fitted.model[0])) / np.log(0.8)
    assert 50 < taken < 90
    assert taken == pytest.approx(round(taken), abs=1e-3)
    assert fitted.history[0]["nfe_forward"] == 1  # mean over the steps that counted
    assert fitted.history[0]["event"] is None


def test_rollback_halves_the_rate():
    # At the full rate the walk leaps over the wall at 1.2 and stays; at half the rate it does not.
    def leap(model, wall, key):
        value = jnp.sum((model - 1) ** 2)
        return jnp.where(jnp.all(model < wall), value, jnp.nan), Aux()

    rule = optax.inject_hyperparams(optax.sgd)(0.8)
    fitted = tk.fit(jnp.zeros(1), leap, 1.2 * jnp.ones(1), rule=rule, steps=40, every=10)
    assert fitted.status.kind == "finished"
    assert fitted.history[0]["event"] == "9 of 10 steps not finite: rolled back, rate halved"
    assert [h["event"] for h in fitted.history[1:]] == [None] * 3
    assert [h["learning_rate"] for h in fitted.history] == pytest.approx([0.8, 0.4, 0.4, 0.4])
    assert float(fitted.model[0]) == pytest.approx(1.0, abs=1e-3)


def test_all_dead_stops_with_a_status_that_says_what_to_do():
    def never(model, data, key):
        return jnp.sum(model) * jnp.nan, Aux()

    fitted = tk.fit(jnp.ones(3), never, jnp.ones(1), steps=1000, every=10)
    assert (fitted.status.kind, fitted.status.ok, fitted.steps) == ("diverged", False, 10)
    assert "from the start" in fitted.status.cause
    assert fitted.status.remedy
    assert same(fitted.model, jnp.ones(3))
    assert fitted.history[0]["loss"] is None
    json.dumps(fitted.history, allow_nan=False)

    fitted = tk.fit(jnp.zeros(1), trap, jnp.full(1, 1e-6), rule=SGD, steps=1000, every=10)
    assert (fitted.status.kind, fitted.steps) == ("diverged", 40)
    assert "lower the learning rate" in fitted.status.remedy
    assert same(fitted.model, jnp.zeros(1))


def test_a_dead_member_is_replaced_and_the_others_keep_their_bits():
    start = jnp.array([[0.0], [0.1], [0.2]])
    walls = np.array([[2.0], [-1.0], [2.0]], np.float32)
    options = {"rule": SGD, "steps": 30, "every": 10, "members": 3}
    broken = tk.fit(start, trap, walls, **options)
    whole = tk.fit(start, trap, np.full((3, 1), 2.0, np.float32), **options)
    for i in (0, 2):
        assert float(broken.model[i, 0]) == float(whole.model[i, 0])
    event = broken.history[0]["event"]
    assert "member 1: 10 of 10 steps not finite: given up" in event
    assert "member 1: replaced by a perturbed copy of member 2" in event
    assert broken.status.ok
    assert np.isfinite(np.asarray(broken.model)).all()
    assert 0.0 < abs(float(broken.model[1, 0]) - float(broken.model[2, 0])) < 1.0


def test_a_whole_ensemble_can_die():
    fitted = tk.fit(
        jnp.zeros((2, 1)), trap, -np.ones((2, 1), np.float32), steps=50, every=10, members=2
    )
    assert fitted.status.kind == "diverged"
    assert np.isnan(fitted.members).all()


class Counting(eqx.Module):
    weight: jax.Array
    mean: jax.Array
    seen: jax.Array
    name: str = eqx.field(static=True, default="x")


def test_non_trained_state_travels_in_aux():
    def objective(model, x, key):
        mean = 0.5 * model.mean + 0.5 * jnp.mean(x)
        new = eqx.tree_at(lambda m: (m.mean, m.seen), model, (mean, model.seen + 1))
        state = eqx.tree_at(lambda m: m.weight, new, None)
        return (model.weight - 1) ** 2, Aux(state=state)

    model = Counting(jnp.array(0.0), jnp.array(0.0), jnp.array(0))
    fitted = tk.fit(model, objective, jnp.ones(4), rule=SGD, steps=20).model
    assert int(fitted.seen) == 20
    assert float(fitted.mean) == pytest.approx(1.0, abs=1e-5)
    assert float(fitted.weight) > 0.9


def test_batches_by_function_generator_and_iterable_agree():
    def at(step):
        rows = np.random.default_rng(step).integers(0, 32, 8)
        return X[rows], Y[rows]

    def generate():
        for step in range(1000):
            yield at(step)

    sources = [at, generate, [at(i) for i in range(150)].__iter__()]
    fits = [tk.fit(net(), mse, s, rule=ADAM, steps=150, every=70) for s in sources]
    assert same(fits[0].model, fits[1].model)
    assert same(fits[0].model, fits[2].model)

    class Loader:  # begun again at its end
        def __iter__(self):
            return (at(i) for i in range(10))

    again = tk.fit(net(), mse, Loader(), rule=ADAM, steps=25, every=10)
    cycle = tk.fit(net(), mse, lambda step: at(step % 10), rule=ADAM, steps=25, every=10)
    assert same(again.model, cycle.model)
    with pytest.raises(InputError, match="ended at step 3"):
        tk.fit(net(), mse, iter([at(0), at(1), at(2)]), steps=10)


def test_line_searches_have_their_value_function():
    def bowl(model, target, key):
        return jnp.sum((model - target) ** 4 + (model - target) ** 2), Aux()

    fitted = tk.fit(jnp.zeros(3), bowl, jnp.arange(3.0), rule=optax.lbfgs(), steps=20)
    np.testing.assert_allclose(fitted.model, np.arange(3.0), atol=1e-4)


def test_snapshots_and_dtypes():
    with jax.enable_x64(True):
        data = (X.astype(float), Y.astype(float))
        model = jax.tree.map(lambda x: x.astype(float), net())
        fitted = tk.fit(
            model, mse, data, rule=ADAM, steps=40, every=10, snapshot_every=2, validation=data
        )
        assert {x.dtype for x in jax.tree.leaves(fitted.model)} == {np.dtype("float64")}
        assert [step for step, _ in fitted.snapshots] == [20, 40]
        assert not same(fitted.snapshots[0][1], fitted.snapshots[1][1])
    narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), net())
    fitted = tk.fit(narrow, mse, (X, Y), rule=ADAM, steps=10)
    assert {x.dtype for x in jax.tree.leaves(fitted.model)} == {np.dtype(jnp.bfloat16)}
    numpy = jax.tree.map(np.asarray, net())
    assert same(
        tk.fit(numpy, mse, (X, Y), rule=ADAM, steps=10).model,
        tk.fit(net(), mse, (X, Y), rule=ADAM, steps=10).model,
    )


def test_log_and_lines(tmp_path, capsys):
    log = tmp_path / "run" / "history.jsonl"
    for stage in ("first", "second"):
        fitted = tk.fit(
            net(), mse, (X, Y), rule=ADAM, steps=40, every=20, log=log, stage=stage, progress=True
        )
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(h["stage"], h["step"]) for h in lines] == [
        ("first", 20), ("first", 40), ("second", 20), ("second", 40),
    ]  # fmt: skip
    assert lines[2:] == fitted.history
    said = capsys.readouterr()
    assert said.out == ""
    assert "second: step 40/40 loss" in said.err
    tk.fit(net(), mse, (X, Y), rule=ADAM, steps=40, every=20)
    assert capsys.readouterr().err == ""


def test_bad_arguments():
    wrong = {
        "members": {"members": 3},
        "member_axes": {"members": 2, "member_axes": (0, 0, 0), "model": nets(2)},
        "patience": {"patience": 3},
        "every": {"every": 0},
        "batch": {"batch": 0},
        "data": {"batch": 4, "data": (X, Y[:-1])},
        "data ": {"batch": 4, "data": (X, np.float32(1))},
        "data  ": {"members": 2, "model": nets(2)},
        "model": {"model": jnp.arange(3)},
        "objective": {"objective": eqx.tree_at(lambda m: m, net(), net())},
    }
    for what, changed in wrong.items():
        given = {"model": net(), "objective": mse, "data": (X, Y)} | changed
        with pytest.raises(InputError) as caught:
            tk.fit(**given)
        assert what.strip() in caught.value.what or what == "members"


def run_on_devices(code, devices, timeout=240):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


SPLIT = """
import json, jax, jax.numpy as jnp, numpy as np, optax, equinox as eqx
import tenkai as tk
from tenkai.fields import MLP
from tenkai.objectives import Aux
from tenkai.fit.trainer import Trainer
from jax.flatten_util import ravel_pytree

plans = []
begin = Trainer.begin
Trainer.begin = lambda self: (begin(self), plans.append(self.plan.split))[0]
rng = np.random.default_rng(0)
x = rng.normal(size=(400, 1)).astype(np.float32)
y = np.sin(3 * x)
mask = (rng.random(400) < np.linspace(0, 1, 400)).astype(np.float32)
nothing = np.arange(400) >= 200  # one device may have nothing to learn from

def masked(model, batch, key):
    x, y, mask = batch
    error = mask * (jax.vmap(model)(x)[:, 0] - y[:, 0]) ** 2
    return error.sum() / mask.sum(), Aux(weight=mask.sum())

net = lambda key: MLP((1, 8, 1), key=key)
rule = optax.sgd(0.1)

def searching(grads, state, params=None, *, value_fn, **_):
    return jax.tree.map(lambda g: -0.1 * g / (1 + value_fn(params)), grads), state
search = optax.GradientTransformationExtraArgs(rule.init, searching)

one = net(jax.random.key(0))
three = eqx.filter_vmap(net)(jax.random.split(jax.random.key(0), 3))
shared = dict(members=3, member_axes=None)
fits = [
    tk.fit(one, masked, (x, y, mask), rule=rule, steps=30, batch=400, validation=(x, y, mask)),
    tk.fit(one, masked, (x, y, mask), rule=rule, steps=30, batch=300),
    tk.fit(one, masked, (x, y, nothing), rule=rule, steps=30, batch=400),
    tk.fit(three, masked, (x, y, mask), rule=rule, steps=30, batch=16, validation=(x, y, mask),
           **shared),
    tk.fit(one, masked, (x, y, mask), rule=search, steps=2, batch=400),
]
def trap(model, wall, key):
    value = jnp.sum((model - 1) ** 2)
    return jnp.where(jnp.all(model < wall), value, jnp.nan), Aux()

walls = np.array([[2.0], [-1.0], [0.5]], np.float32)
fits.append(tk.fit(jnp.zeros((3, 1)), trap, walls, rule=rule, steps=60, every=10, members=3))
print(json.dumps([plans, [np.asarray(ravel_pytree(f.model)[0]).tolist() for f in fits],
                  [f.history[-1]["loss"] for f in fits], [f.history[0]["event"] for f in fits]]))
"""


def test_two_devices_train_the_same_as_one():
    """Gradients are weighted means: plain SGD would show a factor that Adam hides."""
    one, two = (run_on_devices(SPLIT, n) for n in (1, 2))
    assert one[0] == [None] * 6
    assert two[0] == ["batch", "batch", "batch", "members", None, "members"]
    assert "on one device: split over devices it fails" in two[3][4]
    assert not any("one device" in (event or "") for event in (*one[3], *two[3][:4]))
    for a, b in zip(one[1], two[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one[2], two[2], rtol=1e-4)


CONVOLUTIONAL = """
import json, jax, jax.numpy as jnp, numpy as np, optax, equinox as eqx
import tenkai as tk
from tenkai.fit.trainer import Trainer
from tenkai.objectives import Aux

class Net(eqx.Module):
    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    head: eqx.nn.Linear

    def __call__(self, x):
        x = jnp.tanh(self.first(x))
        x = jnp.tanh(self.second(x))
        return self.head(x.mean((1, 2)))

def objective(model, batch, key):
    x, y = batch
    logits = jax.vmap(model)(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), Aux(len(y))

a, b, c = jax.random.split(jax.random.key(0), 3)
net = Net(eqx.nn.Conv2d(1, 8, 3, key=a), eqx.nn.Conv2d(8, 8, 3, 2, key=b),
          eqx.nn.Linear(8, 4, key=c))
rng = np.random.default_rng(0)
y = rng.integers(0, 4, 400)
x = rng.normal(size=(400, 1, 12, 12)).astype(np.float32) + y[:, None, None, None]
fitted = tk.fit(net, objective, (x, y), steps=300, batch=200, every=10)
print(json.dumps([fitted.status.kind, fitted.history[0]["loss"], fitted.history[-1]["loss"]]))
"""


def test_a_convolutional_model_on_two_devices_neither_hangs_nor_aborts():
    kind, first, last = run_on_devices(CONVOLUTIONAL, 2)
    assert kind == "finished"
    assert last < first
