"""Rules that optax lacks, and the rules of Optimisers.jl 0.4.8 among those that it has."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tenkai import optim
from tenkai.errors import InputError


def test_every_array_is_clipped_for_itself():
    rule = optim.clip_by_array_norm(1.0)
    gradients = {"a": jnp.array([30.0, 40.0]), "b": jnp.array([0.3]), "c": jnp.zeros(2)}
    clipped, _ = rule.update(gradients, rule.init(gradients))
    np.testing.assert_allclose(clipped["a"], [0.6, 0.8], rtol=1e-6)
    assert clipped["b"].tolist() == gradients["b"].tolist()
    assert clipped["c"].tolist() == [0.0, 0.0]
    biggest = optim.clip_by_array_norm(1.0, ord=np.inf)
    clipped, _ = biggest.update(gradients, None)
    np.testing.assert_allclose(clipped["a"], [0.75, 1.0], rtol=1e-6)


@pytest.mark.parametrize("rest", [optax.sgd(0.1, momentum=0.9), optax.adamw(1e-2)])
def test_accumulation_equals_the_rule_on_means_whatever_stands_before(rest):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(12, 3)).astype(np.float32)
    x = y = jnp.ones(3)
    rule = optax.chain(optax.clip(0.5), optim.accumulate(4, rest))
    state, plain = rule.init(x), rest.init(y)  # in an ordinary loop of optax
    for i, g in enumerate(gradients):
        updates, state = rule.update(g, state, x)
        x = optax.apply_updates(x, updates)
        if i % 4 == 3:
            mean = np.clip(gradients[i - 3 : i + 1], -0.5, 0.5).mean(0)
            updates, plain = rest.update(mean, plain, y)
            y = optax.apply_updates(y, updates)
        np.testing.assert_allclose(x, y, rtol=1e-5)


def test_accumulation_alone_would_not_make_a_chain_wait():
    with pytest.raises(InputError, match="the rules that follow"):
        optim.accumulate(2)
    with pytest.raises(InputError, match="at least 1"):
        optim.accumulate(0, optax.sgd(0.1))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_narrow_model_is_the_rounding_of_a_wide_one(dtype):
    adam = optax.adam(1e-4)
    rng = np.random.default_rng(0)
    narrow = jnp.asarray(rng.normal(size=8), dtype)
    wide = narrow.astype(jnp.float32)
    rule = optax.chain(optax.clip(1.0), optim.mixed_precision(adam))
    state, plain = optim.setup(rule, narrow), optim.setup(adam, wide)
    for i in range(60):
        g = jnp.asarray(rng.normal(size=8) + 0.5, dtype)
        state, narrow = optim.update(state, narrow, g)
        plain, wide = optim.update(plain, wide, jnp.clip(g, -1, 1).astype(jnp.float32))
        assert narrow.dtype == dtype
        master = state.states[0][1].master
        np.testing.assert_array_equal(narrow, master.astype(dtype), err_msg=f"step {i}")
    np.testing.assert_allclose(master, wide, rtol=1e-6)
    assert jax.tree.leaves(state.states[0][1].inner)[1].dtype == jnp.float32


def test_sign_decay_is_the_gradient_of_an_l1_penalty():
    x = jnp.array([-2.0, 0.5])
    rule = optax.chain(optim.sign_decay(0.3), optax.sgd(1.0))
    _, after = optim.update(optim.setup(rule, x), x, jnp.zeros(2))
    expected = x - jax.grad(lambda x: 0.3 * jnp.sum(jnp.abs(x)))(x)
    np.testing.assert_allclose(after, expected, rtol=1e-6)


def test_bad_arguments_of_rules():
    for wrong in (
        lambda: optim.clip_by_array_norm(0.0),
        lambda: optim.clip_by_array_norm(1.0, ord=-1),
        lambda: optim.sign_decay(-1.0),
        lambda: optim.mixed_precision(optax.sgd(0.1), jnp.int32),
    ):
        with pytest.raises(InputError):
            wrong()


# The rules of Optimisers.jl: (gradients one by one, t from 1) -> what is taken from x.


def adam_moments(beta, gradients):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = beta[0] * m + (1 - beta[0]) * g, beta[1] * v + (1 - beta[1]) * g**2
        yield t, g, m, v


def descent(gs, eta=0.1):
    return [eta * g for g in gs]


def momentum(gs, eta=0.01, rho=0.9):
    v, out = 0.0, []
    for g in gs:
        v = rho * v + eta * g
        out.append(v)
    return out


def nesterov(gs, eta=1e-3, rho=0.9):
    v, out = 0.0, []
    for g in gs:
        out.append(-(rho**2) * v + (1 + rho) * eta * g)
        v = rho * v - eta * g
    return out


def rmsprop(gs, eta=1e-3, rho=0.9, eps=1e-8, centred=False):
    q = m = 0.0
    out = []
    for g in gs:
        q = rho * q + (1 - rho) * g**2
        m = rho * m + (1 - rho) * g if centred else 0.0
        out.append(g * eta / (np.sqrt(q - m**2) + eps))
    return out


def rprop(gs, eta=1e-3, change=(0.5, 1.2), limits=(1e-6, 50.0)):
    last, step, out = 0 * gs[0], np.full(gs[0].shape, eta), []
    for g in gs:
        turn = last * g
        step = np.where(turn > 0, np.minimum(step * change[1], limits[1]), step)
        step = np.where(turn < 0, np.maximum(step * change[0], limits[0]), step)
        last = np.where(turn < 0, 0, g)
        out.append(step * np.sign(last))
    return out


def rprop_one_late(gs):
    """optax 0.2.8 takes every step at the next gradient, unless that one turned."""
    steps = rprop(gs)
    turned = [np.zeros(5, bool)] + [
        (a == 0) & (g != 0) for a, g in zip(steps[1:], gs[1:], strict=True)
    ]
    late = [np.zeros(5), *steps[:-1]]
    return [np.where(turn, 0, step) for turn, step in zip(turned, late, strict=True)]


def adam(gs, eta=1e-3, beta=(0.9, 0.999), eps=1e-8):
    return [
        eta * m / (1 - beta[0] ** t) / (np.sqrt(v / (1 - beta[1] ** t)) + eps)
        for t, _, m, v in adam_moments(beta, gs)
    ]


def radam(gs, eta=1e-3, beta=(0.9, 0.999), eps=1e-8):
    whole, out = 2 / (1 - beta[1]) - 1, []
    for t, _, m, v in adam_moments(beta, gs):
        rho = whole - 2 * t * beta[1] ** t / (1 - beta[1] ** t)
        step = eta * m / (1 - beta[0] ** t)
        if rho > 4:
            r = (rho - 4) * (rho - 2) * whole / ((whole - 4) * (whole - 2) * rho)
            step = step * np.sqrt(r) / (np.sqrt(v / (1 - beta[1] ** t)) + eps)
        out.append(step)
    return out


def adamax(gs, eta=1e-3, beta=(0.9, 0.999), eps=1e-8):
    u, out = 0.0, []
    for t, g, m, _ in adam_moments(beta, gs):
        u = np.maximum(beta[1] * u, np.abs(g))
        out.append(eta / (1 - beta[0] ** t) * m / (u + eps))
    return out


def adagrad(gs, eta=0.1, eps=1e-8):
    total, out = eps, []
    for g in gs:
        total = total + g**2
        out.append(eta * g / (np.sqrt(total) + eps))
    return out


def adadelta(gs, rho=0.9, eps=1e-8):
    acc = moved = 0.0
    out = []
    for g in gs:
        acc = rho * acc + (1 - rho) * g**2
        step = g * np.sqrt(moved + eps) / np.sqrt(acc + eps)
        moved = rho * moved + (1 - rho) * step**2
        out.append(step)
    return out


def adabelief(gs, eta=1e-3, beta=(0.9, 0.999), eps=1e-16):
    s, out = 0.0, []
    for t, g, m, _ in adam_moments(beta, gs):
        s = beta[1] * s + (1 - beta[1]) * (g - m) ** 2 + eps
        out.append(eta * m / (1 - beta[0] ** t) / (np.sqrt(s / (1 - beta[1] ** t)) + eps))
    return out


def amsgrad(gs, eta=1e-3, beta=(0.9, 0.999), eps=1e-8):
    m = v = top = np.full(gs[0].shape, eps)
    out = []
    for g in gs:
        m, v = beta[0] * m + (1 - beta[0]) * g, beta[1] * v + (1 - beta[1]) * g**2
        top = np.maximum(top, v)
        out.append(eta * m / (np.sqrt(top) + eps))
    return out


def nadam(gs, eta=1e-3, beta=(0.9, 0.999), eps=1e-8):
    out = []
    for t, g, m, v in adam_moments(beta, gs):
        ahead = beta[0] * m / (1 - beta[0] ** (t + 1)) + (1 - beta[0]) * g / (1 - beta[0] ** t)
        out.append(eta * ahead / (np.sqrt(v * beta[1] / (1 - beta[1] ** t)) + eps))
    return out


def oadam(gs, eta=1e-3, beta=(0.5, 0.9), eps=1e-8):
    last, out = 0.0, []
    for term in adam(gs, eta, beta, eps):
        out.append(2 * term - last)
        last = term
    return out


def adamw(gs, eta=1e-3, weight=0.05):
    """Coupled: the decay is times the rate too. It needs x, which the steps give."""
    x, out = np.ones_like(gs[0]), []
    for step in adam(gs, eta):
        out.append(step + eta * weight * x)
        x = x - out[-1]
    return out


AGREE = {
    "Descent": (descent, optax.sgd(0.1), 1e-7),
    "Momentum": (momentum, optax.sgd(0.01, momentum=0.9), 1e-7),
    "Nesterov": (nesterov, optax.sgd(1e-3, momentum=0.9, nesterov=True), 1e-7),
    "RMSProp": (rmsprop, optax.rmsprop(1e-3, eps_in_sqrt=False), 1e-7),
    "RMSProp, centred": (
        lambda gs: rmsprop(gs, centred=True),
        optax.rmsprop(1e-3, eps_in_sqrt=False, centered=True), 1e-7,
    ),
    "Rprop": (rprop_one_late, optax.rprop(1e-3), 1e-7),
    "Adam": (adam, optax.adam(1e-3), 1e-7),
    "RAdam": (radam, optax.radam(1e-3, threshold=4.0), 1e-7),
    "AdaMax": (adamax, optax.adamax(1e-3), 1e-7),
    "AdaGrad": (adagrad, optax.adagrad(0.1, initial_accumulator_value=1e-8, eps=1e-8), 1e-7),
    "AdaDelta": (adadelta, optax.adadelta(1.0, eps=1e-8), 1e-7),
    "AdaBelief": (adabelief, optax.adabelief(1e-3, eps=1e-16, eps_root=1e-16), 1e-7),
    "AMSGrad": (
        amsgrad, optax.amsgrad(1e-3, bias_correction_mu=False, bias_correction_nu=False), 3e-5,
    ),
    "NAdam": (nadam, optax.nadam(1e-3), 1e-4),
    "OAdam": (oadam, optax.optimistic_adam_v2(1e-3, b1=0.5, b2=0.9, nesterov=False), 1.1e-3),
    "AdamW": (adamw, optax.adamw(1e-3, weight_decay=0.05), 1e-7),
}  # fmt: skip


@pytest.mark.parametrize("name", AGREE)
def test_optax_agrees_with_optimisers_jl(name):
    theirs, rule, tolerance = AGREE[name]
    gradients = list(np.random.default_rng(0).normal(size=(30, 5)))
    with jax.enable_x64(True):
        x = jnp.ones(5)
        state = optim.setup(rule, x)
        expected = np.ones(5)
        for g, step in zip(gradients, theirs(gradients), strict=True):
            state, x = optim.update(state, x, jnp.asarray(g))
            expected = expected - step
            np.testing.assert_allclose(np.asarray(x), expected, rtol=0, atol=tolerance)


def test_oadam_differs_from_optax_by_one_first_step():
    gradients = list(np.random.default_rng(0).normal(size=(30, 5)))
    _, rule, _ = AGREE["OAdam"]
    with jax.enable_x64(True):
        x = jnp.zeros(5)
        state = optim.setup(rule, x)
        gap = []
        total = np.zeros(5)
        for g, step in zip(gradients, oadam(gradients), strict=True):
            state, x = optim.update(state, x, jnp.asarray(g))
            total = total + step
            gap.append(np.asarray(x) + total)
    np.testing.assert_allclose(np.abs(gap), 1e-3, rtol=1e-4)
