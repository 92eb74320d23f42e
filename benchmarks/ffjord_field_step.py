"""One training step of an FFJORD-like flow: 3×64 network, Hutchinson's trace, 512 points, RK4.

Grathwohl et al. 2019: ``log p(x) = log N(z) + integral of e' (df/dz) e`` along the path from x to
z in 8 steps, with one fixed ``e`` per point; the time is an input of every layer. The error is
how far the mean log density at the first weights is from that of a path of 64 steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tenkai.fields import Linear
from tenkai.fit import fit
from tenkai.objectives import Aux
from tenkai.unfold import Interval, rk4, unfold

from .harness import Contender, Race, peer, python_loop

POINTS, WIDTH, RK4_STEPS = 512, 64, 8
TSIT5_STEPS = 5  # 31 evaluations of the field; RK4 takes 32
RULE = optax.adam(1e-3)


class Batch(NamedTuple):
    """Points (512, 2) and their directions (512, 2)."""

    x: Any
    e: Any


class Field(eqx.Module):
    """``f(t, z)``, 2-64-64-64-2, tanh, every layer reads ``[z, t]``."""

    layers: tuple[Linear, ...]

    def __init__(self, key: Any):
        sizes = (2, WIDTH, WIDTH, WIDTH, 2)
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(
            Linear(a + 1, b, key=k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )

    def __call__(self, t: Any, z: Any) -> Any:
        for i, layer in enumerate(self.layers):
            z = layer(jnp.append(z, t))
            z = jnp.tanh(z) if i < len(self.layers) - 1 else z
        return z


def prepare(quick: bool) -> Race:
    """Ours against torchdiffeq (RK4, the same 8 steps) and diffrax (Tsit5, 5 steps)."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, POINTS)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * rng.standard_normal((POINTS, 2))
    batch = Batch(*(np.float32(a) for a in (ring, rng.choice([-1.0, 1.0], (POINTS, 2)))))
    field = Field(jax.random.key(0))
    exact = float(eqx.filter_jit(negative_log_likelihood)(field, batch, 64))
    entries = {
        "tenkai": ours(field, batch),
        "torchdiffeq rk4": torchdiffeq(field, batch),
        "diffrax Tsit5": diffrax(field, batch),
    }
    steps = 2 if quick else 10
    contenders = [
        Contender(name, lambda t=train: t(steps), steps, lambda v=value: abs(v() - exact))
        for name, (train, value) in entries.items()
    ]
    return Race("training step", "error of the mean log p", contenders, 2 if quick else 9)


def along(field: Callable[[Any, Any], Any], e: Any) -> Callable[..., Any]:
    """``d(z, l)/dt = (f, e' (df/dz) e)`` for all points at once."""

    def rates(t: Any, state: Any, u: Any = None) -> Any:
        z, _ = state
        dz, change = jax.jvp(jax.vmap(lambda z: field(t, z)), (z,), (e,))
        return dz, jnp.sum(e * change, axis=1)

    return rates


def mean_nll(z: Any, gain: Any) -> Any:
    """``-mean(log N(z) + gain)`` in two dimensions."""
    return jnp.mean(0.5 * jnp.sum(z**2, axis=1) + np.log(2 * np.pi) - gain)


def negative_log_likelihood(field: Field, batch: Batch, steps: int = RK4_STEPS) -> Any:
    """Ours: RK4 unfolded."""
    grid = Interval(jnp.arange(steps) / steps, jnp.full(steps, 1 / steps))
    start = (jnp.asarray(batch.x), jnp.zeros(POINTS))
    end, _ = unfold(rk4(along(field, batch.e)), start, grid, keep=lambda s: None)
    return mean_nll(*end)


def objective(field: Field, batch: Batch, key: Any) -> tuple[Any, Aux]:
    """What `fit` minimises."""
    return negative_log_likelihood(field, batch), Aux()


Entry = tuple[Callable[[int], Any], Callable[[], float]]


def ours(field: Field, batch: Batch) -> Entry:
    """`fit` over the unfolded RK4."""

    def train(steps: int) -> Any:
        return fit(field, objective, batch, rule=RULE, steps=steps).model

    return train, lambda: float(eqx.filter_jit(negative_log_likelihood)(field, batch))


def diffrax(field: Field, batch: Batch) -> Entry:
    """`diffeqsolve` with its default adjoint and constant steps."""
    dfx = peer("diffrax")

    def value(field: Field) -> Any:
        term = dfx.ODETerm(lambda t, s, args: along(field, batch.e)(t, s))
        solution = dfx.diffeqsolve(
            term, dfx.Tsit5(), 0.0, 1.0, 1 / TSIT5_STEPS, (jnp.asarray(batch.x), jnp.zeros(POINTS)),
            max_steps=TSIT5_STEPS + 1,
        )  # fmt: skip
        return mean_nll(*(part[-1] for part in solution.ys))

    return python_loop(field, value, RULE), lambda: float(eqx.filter_jit(value)(field))


def torchdiffeq(field: Field, batch: Batch) -> Entry:
    """`odeint(method="rk4")` with backpropagation through its steps, as FFJORD's code has it."""
    torch, ode = peer("torch"), peer("torchdiffeq")
    tensors = [
        torch.tensor(np.array(a)) for layer in field.layers for a in (layer.weight, layer.bias)
    ]
    x, e = torch.tensor(batch.x), torch.tensor(batch.e)
    grid = torch.linspace(0, 1, RK4_STEPS + 1)

    def value(parameters: list[Any]) -> Any:
        layers = list(zip(parameters[::2], parameters[1::2], strict=True))

        def rates(t: Any, state: Any) -> Any:
            start = z = state[0]
            for i, (weight, bias) in enumerate(layers):
                z = torch.cat([z, t.expand(POINTS, 1)], 1) @ weight.T + bias
                z = torch.tanh(z) if i < len(layers) - 1 else z
            (back,) = torch.autograd.grad(z, start, e, create_graph=True)
            return z, torch.sum(back * e, 1)

        path = ode.odeint(
            rates, (x.clone().requires_grad_(), torch.zeros(POINTS)), grid, method="rk4"
        )
        z, gain = (part[-1] for part in path)
        return torch.mean(0.5 * torch.sum(z**2, 1) + np.log(2 * np.pi) - gain)

    def train(steps: int) -> Any:
        parameters = [a.clone().requires_grad_() for a in tensors]
        rule = torch.optim.Adam(parameters, lr=1e-3)
        for _ in range(steps):
            rule.zero_grad()
            value(parameters).backward()
            rule.step()
        return parameters

    return train, lambda: float(value(tensors).detach())
