"""Explicit optimisers: golden values of Optimisers.jl 0.4.8, and what an update must keep."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tenkai import optim
from tenkai.errors import InputError

SGD = optax.sgd(0.1)
ADAM = optax.adam(1e-2)
TUNED = optax.inject_hyperparams(optax.adam)(1e-2)
MOMENTUM = optax.sgd(0.01, momentum=0.9)


class Affine(eqx.Module):
    W: Any
    b: Any
    name: str = eqx.field(static=True, default="affine")

    def __call__(self, x):
        return self.W @ x + self.b


@functools.partial(jax.tree_util.register_dataclass, data_fields=["W", "b"], meta_fields=["name"])
@dataclass(frozen=True)
class Data:
    W: Any
    b: Any
    name: str = "affine"


class Named(NamedTuple):
    W: Any
    b: Any


def affine(make=Affine):
    return make(W=jnp.arange(6.0).reshape(2, 3) / 10, b=jnp.array([0.5, -0.5]))


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]


def same(a, b):
    a, b = leaves(a), leaves(b)
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def ones(model):
    return jax.tree.map(jnp.ones_like, eqx.filter(model, eqx.is_inexact_array))


# Golden values


def test_a_chain_of_clipping_and_descent():
    rule = optax.chain(optax.clip(1.0), SGD)
    x = jnp.zeros(3)
    _, x = optim.update(optim.setup(rule, x), x, jnp.array([0.3, 1.0, 7.0]))
    np.testing.assert_allclose(x, [-0.03, -0.1, -0.1], rtol=1e-6)


def test_accumulation_before_decay_and_descent():
    rule = optim.accumulate(2, optax.add_decayed_weights(0.01), SGD)
    with jax.enable_x64(True):
        model = {"x": np.array([1.0]), "y": np.array([2.0])}
        state = optim.setup(rule, model)
        state, between = optim.update(state, model, {"x": np.array([33.0]), "y": np.zeros(1)})
        assert same(between, model)
        state, model = optim.update(state, between, {"x": np.zeros(1), "y": np.array([444.0])})
        assert float(model["x"][0]) == pytest.approx(-0.651, abs=1e-12)
        assert float(model["y"][0]) == pytest.approx(-20.202, abs=1e-5)


def test_freeze_and_thaw():
    model = {"x": jnp.array([1.0, 2.0]), "y": jnp.array([3.0])}
    state = optim.freeze(optim.setup(MOMENTUM, model), "x")
    pi = jnp.float32(np.pi)
    for _ in range(1):
        gradients = {"x": jnp.array([pi, 10 * pi]), "y": jnp.array([100 * pi])}
        state, model = optim.update(state, model, gradients)
    assert model["x"].tolist() == [1.0, 2.0]
    assert float(model["y"][0]) == pytest.approx(-0.14159265, abs=2e-7)
    state, model = optim.update(optim.thaw(state, "x"), model, {"x": jnp.ones(2), "y": None})
    np.testing.assert_allclose(model["x"], [0.99, 1.99], rtol=1e-6)  # no momentum was gathered


# What an update must keep


class Tied(eqx.Module):
    encoder: Affine
    decoder: Affine
    frozen: jax.Array
    skipped: jax.Array
    counts: jax.Array
    activation: Any = jnp.tanh
    name: str = eqx.field(static=True, default="tied")


def tied():
    shared = jnp.full((2, 2), 0.5)
    return Tied(
        Affine(shared, jnp.zeros(2)), Affine(shared, jnp.ones(2)),
        frozen=jnp.arange(3.0), skipped=jnp.arange(4.0), counts=jnp.arange(2),
    )  # fmt: skip


@pytest.mark.parametrize("rule", [TUNED, optax.chain(optax.clip_by_global_norm(1e3), TUNED)])
def test_a_frozen_tied_partly_none_model_keeps_exactly_what_it_must(rule):
    model = tied()
    state = optim.setup(rule, model)
    assert state.shared == (rule is not TUNED)
    state, model = optim.update(state, model, ones(model))  # something in every moment
    state = optim.freeze(state, "frozen")
    gradients = eqx.tree_at(lambda m: m.skipped, ones(model), None)
    gradients = eqx.tree_at(lambda m: m.encoder.W, gradients, 3 * jnp.ones((2, 2)))
    before, after = state, model
    for _ in range(3):
        before, after = optim.update(before, after, gradients)
    assert same(after.frozen, model.frozen)
    assert same(after.skipped, model.skipped)
    assert same(after.counts, model.counts)
    assert after.activation is jnp.tanh
    assert after.name == "tied"
    assert after.encoder.W is after.decoder.W
    assert not same(after.encoder.W, model.encoder.W)
    assert not same(after.encoder.b, model.encoder.b)
    names = state.layout.names
    for name in ("frozen", "skipped"):
        i = names.index(name)
        if state.shared:
            for old, new in zip(moments(state, name), moments(before, name), strict=True):
                assert same(old, new)
        else:
            assert same(state.states[i], before.states[i])
    # The same as a model with one array, three steps of the summed gradient, and nothing else.
    (alone,) = (jnp.full((2, 2), 0.5),)
    small = optim.setup(TUNED, alone)
    for gradient in (2.0, 4.0, 4.0, 4.0):
        small, alone = optim.update(small, alone, jnp.full((2, 2), gradient))
    np.testing.assert_allclose(after.encoder.W, alone, rtol=1e-6)


def moments(state, name):
    found = jax.tree_util.tree_leaves_with_path(state.states[0])
    mine = [x for path, x in found if jax.tree_util.keystr(path[-1:]) == f".{name}"]
    assert len(mine) == 2
    return mine


def test_none_is_not_zero():
    model = {"a": jnp.ones(2), "b": {"c": jnp.ones(2), "d": jnp.ones(1)}}
    state, model = optim.update(optim.setup(ADAM, model), model, ones(model))
    skipped, kept = optim.update(state, model, {"a": jnp.ones(2), "b": None})
    assert same(kept["b"], model["b"])
    assert same(skipped.states[1:], state.states[1:])
    zero = jax.tree.map(jnp.zeros_like, model)
    moved_state, moved = optim.update(state, model, zero)
    assert not same(moved["b"], model["b"])  # momentum
    assert not same(moved_state.states[1:], state.states[1:])
    nothing = optim.update(state, model, None)
    assert same(nothing, (state, model))


def test_an_array_that_starts_late_is_corrected_for_its_own_age():
    """Adam's first step is the rate in the gradient's direction, however old the others are."""
    model = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    state = optim.freeze(optim.setup(ADAM, model), "b")
    for _ in range(20):
        state, model = optim.update(state, model, ones(model))
    _, model = optim.update(optim.thaw(state), model, ones(model))
    assert float(model["b"][0]) == pytest.approx(-1e-2, rel=1e-5)


# Ties


def test_tied_arrays_descend_by_the_gradient_of_the_sum():
    w = jnp.array([1.0, 2.0])
    model = {"in": w, "out": w, "other": jnp.array([1.0, 2.0])}  # equal, but another array

    def loss(m):
        return jnp.sum(m["in"] ** 2) + jnp.sum(3 * m["out"]) + jnp.sum(m["other"])

    state = optim.setup(SGD, model)
    assert [len(group) for group in state.layout.variables] == [2, 1]
    _, after = jax.jit(optim.update)(state, model, jax.grad(loss)(model))
    np.testing.assert_allclose(after["in"], w - 0.1 * (2 * w + 3), rtol=1e-6)
    assert same(after["in"], after["out"])
    half = {"in": None, "out": 3 * jnp.ones(2), "other": None}  # one of the two is enough
    np.testing.assert_allclose(optim.update(state, model, half)[1]["in"], w - 0.3, rtol=1e-6)


def test_numpy_arrays_are_tied_too_and_either_place_freezes_both():
    w = np.ones(2, np.float32)
    state = optim.freeze(optim.setup(SGD, [w, w]), "1")
    _, after = optim.update(state, [w, w], [w, w])
    assert same(after, [w, w])


# Any PyTree, under jit, scan and vmap


@pytest.mark.parametrize("make", [Affine, Data, Named, dict])
def test_any_pytree_is_a_model(make):
    model = affine(make)
    state, after = optim.update(optim.setup(SGD, model), model, ones(model))
    assert type(after) is type(model)
    assert same(after, jax.tree.map(lambda x: x - np.float32(0.1), model))
    assert [name for name, _ in optim.trainables(model, path=True)] == ["W", "b"]
    assert same(optim.update(optim.freeze(state), after, ones(model))[1], after)


def test_scan_equals_a_loop_and_vmap_equals_one_by_one():
    model = affine(Named)
    x = jnp.array([1.0, 2.0, 3.0])

    def loss(m, y):
        return jnp.sum((m.W @ x + m.b - y) ** 2)

    def step(carry, y):
        state, model = carry
        return optim.update(state, model, jax.grad(loss)(model, y)), loss(model, y)

    ys = jnp.arange(10.0)[:, None] * jnp.ones(2)
    start = (optim.setup(TUNED, model), model)
    end, _ = jax.lax.scan(step, start, ys)
    loop = start
    for y in ys:
        loop, _ = step(loop, y)
    for a, b in zip(leaves(end), leaves(loop), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)

    many = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), model)
    states = jax.vmap(lambda m: optim.setup(TUNED, m))(many)
    states = optim.adjust(states, "b", learning_rate=np.array([0.1, 0.2]))
    gradients = ones(many)
    _, moved = jax.jit(jax.vmap(optim.update))(states, many, gradients)
    for i, rate in enumerate((0.1, 0.2)):
        alone = jax.tree.map(lambda a, i=i: a[i], many)
        state = optim.adjust(optim.setup(TUNED, alone), "b", learning_rate=rate)
        _, alone = optim.update(state, alone, ones(alone))
        for a, b in zip(leaves(alone), leaves(moved), strict=True):
            np.testing.assert_allclose(a, b[i], rtol=1e-6)


def test_setup_inside_jit():
    model = affine(dict)

    @jax.jit
    def once(model):
        return optim.update(optim.setup(SGD, model), model, ones(model))[1]

    assert same(once(model), optim.update(optim.setup(SGD, model), model, ones(model))[1])


def test_a_rule_with_traced_numbers():
    @jax.jit
    def once(rate, x):
        state = optim.setup(optax.sgd(rate, momentum=0.9), [x, x + 1])
        return optim.update(state, [x, x + 1], [x, x])[1]

    for rate in (0.1, 0.5):  # the second call finds the program of the first
        np.testing.assert_allclose(once(rate, jnp.ones(2))[1], 2 - rate, rtol=1e-6)


def test_flags_and_numbers_compile_nothing():
    model = affine()
    state = optim.setup(TUNED, model)
    gradients = ones(model)
    state, model = optim.update(state, model, gradients)
    compiled = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)  # older JAX cannot take it back
    state = optim.freeze(state, lambda m: m.W)
    state = optim.adjust(state, learning_rate=1e-3, rate=0.5)
    state, model = optim.update(state, model, gradients)
    optim.update(optim.thaw(state), model, gradients)
    assert compiled == []


# Rules seen whole, rules seen one by one


def by_optax(rule, model, gradients):
    state = rule.init(model)
    for g in gradients:
        updates, state = rule.update(g, state, model)
        model = optax.apply_updates(model, updates)
    return model


RULES = {
    "sgd": (SGD, False),
    "adam": (ADAM, False),
    "adam, adjustable": (TUNED, False),
    "adamw, masked by shape": (
        optax.adamw(1e-2, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p)), False,
    ),
    "schedule": (optax.adam(optax.linear_schedule(0.1, 0.0, 5)), False),
    "clipped by array": (optax.chain(optim.clip_by_array_norm(0.5), ADAM), False),
    "accumulated": (optax.chain(optax.clip(1.0), optim.accumulate(2, ADAM)), False),
    "by path": (
        optax.multi_transform(
            {"yes": ADAM, "no": optax.set_to_zero()},
            lambda p: jax.tree_util.tree_map_with_path(
                lambda path, _: "yes" if "W" in str(path) else "no", p
            ),
        ), False,
    ),
    "global norm": (optax.chain(optax.clip_by_global_norm(0.5), ADAM), True),
    "noise": (optax.chain(optax.add_noise(0.1, 0.5, key=0), SGD), True),
    "mask in the shape of the model": (optax.masked(ADAM, {"W": True, "b": False}), False),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_a_rule_does_what_it_does_in_optax(name):
    rule, shared = RULES[name]
    model = affine(dict)
    rng = np.random.default_rng(0)
    gradients = [
        jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), model)
        for _ in range(6)
    ]
    expected = by_optax(rule, model, gradients)
    state = optim.setup(rule, model)
    assert state.shared == shared
    for g in gradients:
        state, model = optim.update(state, model, g)
    for a, b in zip(leaves(model), leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_line_search_takes_the_value_and_its_function():
    with jax.enable_x64(True):
        model = {"x": jnp.array([3.0, -2.0]), "y": jnp.array([1.0])}

        def loss(m):
            return jnp.sum((m["x"] - 1) ** 2) + jnp.sum((m["y"] * 3 - m["x"][0]) ** 2)

        @jax.jit
        def step(state, model):
            value, g = jax.value_and_grad(loss)(model)
            return optim.update(state, model, g, value=value, value_fn=loss)

        state = optim.setup(optax.lbfgs(), model)
        for _ in range(12):
            state, model = step(state, model)
        assert float(loss(model)) < 1e-12


def test_complex_numbers_descend():
    z = jnp.array([1.0 + 2.0j])
    state = optim.setup(SGD, z)
    for _ in range(50):
        state, z = optim.update(state, z, jax.grad(lambda z: jnp.sum(jnp.abs(z - 1j) ** 2))(z))
    assert abs(complex(z[0]) - 1j) < 1e-3


# Numbers


def test_adjust_by_selector_path_and_whole():
    model = {"a": [jnp.ones(1), jnp.ones(1)], "b": jnp.ones(1)}
    rule = optax.inject_hyperparams(optax.sgd)(0.1)
    state = optim.setup(rule, model)
    state = optim.adjust(state, lambda m: m["a"], learning_rate=0.2)
    state = optim.adjust(state, "a.1", learning_rate=0.3)
    state = optim.adjust(state, "b", rate=0.0)
    _, after = optim.update(state, model, ones(model))
    np.testing.assert_allclose(np.ravel(leaves(after)), [0.8, 0.7, 1.0], rtol=1e-6)
    state = optim.adjust(state, learning_rate=0.5)
    _, after = optim.update(state, model, ones(model))
    np.testing.assert_allclose(np.ravel(leaves(after)), [0.5, 0.5, 1.0], rtol=1e-6)


def test_the_rate_is_the_number_of_every_rule():
    model = affine()
    for rule in (ADAM, optax.chain(optax.clip_by_global_norm(1.0), SGD)):
        state = optim.setup(rule, model)
        _, whole = optim.update(state, model, ones(model))
        _, half = optim.update(optim.adjust(state, "b", rate=0.5), model, ones(model))
        assert same(half.W, whole.W)
        np.testing.assert_allclose(model.b - half.b, (model.b - whole.b) / 2, rtol=1e-5)


def test_adjust_in_a_compiled_loop():
    rule = optax.inject_hyperparams(optax.sgd)(0.1)

    def body(carry, rate):
        state, x = carry
        state = optim.adjust(state, learning_rate=rate)
        return optim.update(state, x, jnp.ones(1)), None

    x = jnp.zeros(1)
    (_, x), _ = jax.lax.scan(body, (optim.setup(rule, x), x), jnp.array([1.0, 2.0, 4.0]))
    assert x.tolist() == [-7.0]


def test_errors_of_adjust_and_of_parts():
    model = affine()
    tuned, coupled = (
        optim.setup(rule, model)
        for rule in (TUNED, optax.chain(optax.clip_by_global_norm(1.0), TUNED))
    )
    with pytest.raises(InputError, match=r"adjust eta: .*rate, b1, b2, eps, eps_root, learning_r"):
        optim.adjust(tuned, eta=0.1)
    with pytest.raises(InputError, match=r"among rate; got learning_rate.*inject_hyperparams"):
        optim.adjust(optim.setup(ADAM, model), learning_rate=0.1)
    with pytest.raises(InputError, match="one state for all"):
        optim.adjust(coupled, "W", learning_rate=0.1)
    assert float(optim.adjust(coupled, learning_rate=0.1).states[0][1].hyperparams["b1"]) > 0
    with pytest.raises(InputError, match="finite"):
        optim.adjust(tuned, learning_rate=np.nan)
    with pytest.raises(InputError, match="finite"):
        optim.adjust(tuned, learning_rate=[0.1, 0.2])
    scheduled = optax.inject_hyperparams(optax.adam)(optax.linear_schedule(1.0, 0.0, 9))
    with pytest.raises(InputError, match="schedule"):
        optim.adjust(optim.setup(scheduled, model), learning_rate=0.1)
    for where in ("c", "w", "W.0", lambda m: None):
        with pytest.raises(InputError, match="'W', 'b'"):
            optim.freeze(tuned, where)


# What is trained


def test_trainable_by_filter():
    model = affine()
    state = optim.setup(SGD, model, trainable=lambda leaf: jnp.ndim(leaf) == 2)
    assert state.layout.names == ("W",)
    _, after = optim.update(state, model, ones(model))
    assert same(after.b, model.b)
    assert not same(after.W, model.W)
    spec = Affine(W=False, b=True)
    assert [n for n, _ in optim.trainables(model, path=True, trainable=spec)] == ["b"]
    with pytest.raises(InputError, match="prefix"):
        optim.setup(SGD, model, trainable=[True, False])


class Shifted(eqx.Module):
    inner: Affine
    shift: jax.Array


class MoreShifted(Shifted):
    pass


@pytest.fixture
def hook():
    yield optim.trainable.register
    registry = dict(optim.trainable.registry)
    optim.trainable.register(Shifted, lambda node: None)
    optim.trainable.register(Affine, lambda node: None)
    assert registry


def test_trainable_by_class(hook):
    model = [MoreShifted(affine(), jnp.ones(2)), Shifted(affine(), jnp.ones(2))]
    hook(Shifted, lambda node: ["inner"])
    hook(Affine, lambda node: ["b"])
    names = [name for name, _ in optim.trainables(model, path=True)]
    assert names == ["0.inner.b", "1.inner.b"]
    hook(Affine, lambda node: ["c"])
    with pytest.raises(InputError, match=r"Affine: expected names among 'W', 'b'; got 'c'"):
        optim.setup(SGD, model)


def test_nothing_trainable_is_an_error():
    for model in ({"n": jnp.arange(3), "f": jnp.tanh, "x": 1.0}, {}, None):
        with pytest.raises(InputError, match="at least one array"):
            optim.setup(SGD, model)
    with pytest.raises(InputError, match="at least one array"):
        optim.setup(SGD, affine(), trainable=lambda leaf: False)
    with pytest.raises(InputError, match="an optax rule"):
        optim.setup("adam", affine())


def test_gradients_of_another_model():
    model = affine(dict)
    state = optim.setup(SGD, model)
    with pytest.raises(InputError, match="something at 'c'"):
        optim.update(state, model, {"c": jnp.ones(1)})
    with pytest.raises(InputError, match=r"gradient of 'b'.*\(2,\); got \(3,\)"):
        optim.update(state, model, {"W": None, "b": jnp.ones(3)})
    with pytest.raises(InputError, match="structure that setup saw"):
        optim.update(state, [1.0], None)


# A model as a vector


def test_destructure_keeps_ties_types_and_the_rest():
    w = jnp.ones((2, 2), jnp.bfloat16)
    model = {"a": w, "b": w, "c": jnp.array([3.0]), "n": jnp.arange(2), "f": jnp.tanh}
    flat, rebuild = optim.destructure(model)
    assert flat.shape == (5,)
    assert flat.dtype == jnp.float32
    again = rebuild(2 * flat)
    assert again["a"] is again["b"]
    assert again["a"].dtype == jnp.bfloat16
    assert again["f"] is jnp.tanh
    assert same(again["n"], model["n"])
    assert same(rebuild(flat), model)
    # The gradient of a tied array is that of all its places.
    g = jax.grad(lambda v: jnp.sum(rebuild(v)["a"] + 2 * rebuild(v)["b"]).astype(float))(flat)
    np.testing.assert_allclose(g, [3, 3, 3, 3, 0])
    many = jax.vmap(lambda v: rebuild(v)["c"])(jnp.stack([flat, 2 * flat]))
    assert many.tolist() == [[3.0], [6.0]]
    with pytest.raises(InputError, match="a vector of 5 numbers"):
        rebuild(jnp.ones(4))
    mixed = {"z": jnp.array([1 + 2j]), "x": jnp.array([3.0])}
    flat, rebuild = optim.destructure(mixed)
    assert flat.dtype == jnp.complex64
    assert same(rebuild(flat), mixed)
