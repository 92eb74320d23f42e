"""One optimiser step of DU-NeuralODE: 200 Euler steps of a 2-16-2 network, 20 points, Adam.

Everyone begins with the same weights and the same data; after the same number of steps everyone
has the same error, because the programs are the same up to rounding.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tenkai.fit import fit
from tenkai.reproduce.du_neural_ode import ADAM, END, ETA, OBSERVED, STEPS, lecun, loss, observe

from .harness import Contender, Race, peer, python_loop

COLD = """
import time
import jax, optax, equinox, numpy
from tenkai.reproduce import du_neural_ode as du
from tenkai.fit import fit
begun = time.perf_counter()
data = du.observe("sine", 0)
net = du.lecun(jax.random.key(0))
fit(net, du.loss, data, rule=du.ADAM(), steps=500, every=500)
print(time.perf_counter() - begun)
"""


def prepare(quick: bool) -> Race:
    """Ours against torchdiffeq, diffrax and the step written out in Python."""
    steps = 20 if quick else 500
    net, data = lecun(jax.random.key(0)), observe("sine", 0)
    sse = eqx.filter_jit(lambda net: loss(net, jnp.asarray(data), None)[0])
    trainers = {
        "tenkai": (ours(net, data), steps),
        "torchdiffeq euler": (torchdiffeq(net, data), 2 if quick else 20),
        "diffrax Euler": (diffrax(net, data), steps),
        "unrolled in Python": (unrolled(net, data), steps),
    }
    contenders = [
        Contender(name, lambda t=train, n=units: t(n), units, lambda t=train: float(sse(t(steps))))
        for name, (train, units) in trainers.items()
    ]
    extras = {} if quick else {"cold start to trained, without import [s]": cold_start}
    return Race(
        "optimiser step", f"SSE after {steps} steps", contenders, 3 if quick else 11, extras
    )


def cold_start() -> float:
    """Seconds from nothing compiled to 500 steps trained, in a fresh process without any cache."""
    bare = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", COLD], env=bare, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


Train = Callable[[int], Any]  # the network after so many steps from the first weights


def ours(net: Any, data: np.ndarray) -> Train:
    """`fit` with its guard, tally and records."""
    return lambda steps: fit(net, loss, data, rule=ADAM(), steps=steps, every=500).model


def in_python(net: Any, data: np.ndarray, observed: Callable[[Any], Any]) -> Train:
    """A loop in Python around one compiled step of Adam on the same loss."""
    return python_loop(net, lambda net: jnp.sum((observed(net) - data) ** 2), ADAM())


def unrolled(net: Any, data: np.ndarray) -> Train:
    """The 200 Euler steps as a Python loop under `jit`."""

    def observed(net: Any) -> Any:
        x, kept = jnp.zeros(2), []
        for i in range(1, STEPS + 1):
            x = x + ETA * net(x)
            if i % 10 == 1:
                kept.append(x[0])
        return jnp.stack(kept)

    return in_python(net, data, observed)


def diffrax(net: Any, data: np.ndarray) -> Train:
    """`diffeqsolve` with its default adjoint, saving at the observed times."""
    dfx = peer("diffrax")
    grid = jnp.arange(STEPS + 1) * ETA
    save = dfx.SaveAt(ts=grid[OBSERVED])

    def observed(net: Any) -> Any:
        term = dfx.ODETerm(lambda t, x, args: net(x))
        solution = dfx.diffeqsolve(
            term, dfx.Euler(), 0.0, END, ETA, jnp.zeros(2), saveat=save, max_steps=STEPS + 1
        )  # fmt: skip
        return solution.ys[:, 0]

    return in_python(net, data, observed)


def torchdiffeq(net: Any, data: np.ndarray) -> Train:
    """`odeint(method="euler")` with backpropagation through its steps."""
    torch, ode = peer("torch"), peer("torchdiffeq")
    field = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    grid = torch.arange(STEPS + 1) * ETA
    target = torch.tensor(data, dtype=torch.float32)
    start = [np.array(x) for layer in net.layers for x in (layer.weight, layer.bias)]

    def value() -> Any:
        path = ode.odeint(lambda t, x: field(x), torch.zeros(2), grid, method="euler")
        return torch.sum((path[OBSERVED, 0] - target) ** 2)

    def train(steps: int) -> Any:
        with torch.no_grad():
            for parameter, first in zip(field.parameters(), start, strict=True):
                parameter.copy_(torch.tensor(first))
        rule = torch.optim.Adam(field.parameters(), lr=1e-2)
        for _ in range(steps):
            rule.zero_grad()
            value().backward()
            rule.step()
        learned = [p.detach().numpy().copy() for p in field.parameters()]
        return jax.tree.unflatten(jax.tree.structure(net), learned)

    return train
