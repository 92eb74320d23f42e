"""One training step of an SDE's feedback: 1000 Euler-Maruyama steps, 100 paths, gradient included.

``dx = (A + B K C) x dt + .4 dW`` in four dimensions from x(0) = ones, mean ``|x(20)|^2`` with
respect to K (the book's DU-EM). Everyone takes the same steps of the same scheme with fresh noise
from a key; diffrax solves with its virtual Brownian tree, the one of its Brownian motions that can
be differentiated through with its default adjoint. The error is that of the mean loss at the first
K over several keys, against the exact moments of the scheme, in standard errors of such a mean.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tenkai.fields import matvec, together
from tenkai.fit import fit
from tenkai.objectives import Aux
from tenkai.reproduce.du_stabilise import A, B, C
from tenkai.unfold import NoisyInterval, euler_maruyama, unfold

from .harness import Contender, Race, peer, python_loop

STEPS, PATHS, HORIZON, NOISE, DIM = 1000, 100, 20.0, 0.4, 4
ETA = HORIZON / STEPS
K0 = np.array([[-2.7, 2.7], [2.7, -2.7]], np.float32)
RULE = optax.adam(1e-3)
KEYS = 5


def prepare(quick: bool) -> Race:
    """Ours against diffrax's fixed-step Euler, alternately."""
    mean, variance = exact()
    scale = np.sqrt(variance / (PATHS * KEYS))
    contenders = [
        Contender("tenkai", lambda: ours(20 if not quick else 2), 2 if quick else 20,
                  lambda: abs(over_keys(loss) - mean) / scale),
    ]  # fmt: skip
    train, peers_loss = diffrax()
    contenders.append(
        Contender("diffrax Euler", lambda: train(1), 1,
                  lambda: abs(over_keys(peers_loss) - mean) / scale)
    )  # fmt: skip
    return Race("training step", "standard errors off", contenders, 2 if quick else 5)


def exact() -> tuple[float, float]:
    """Mean and variance of ``|x(20)|^2`` of the scheme: x is Gaussian."""
    move = np.eye(DIM) + ETA * (A + B @ K0 @ C)
    mean, P = np.ones(DIM), np.zeros((DIM, DIM))
    for _ in range(STEPS):
        mean, P = move @ mean, move @ P @ move.T + ETA * NOISE**2 * np.eye(DIM)
    return float(mean @ mean + np.trace(P)), float(4 * mean @ P @ mean + 2 * np.trace(P @ P))


def over_keys(value: Any) -> float:
    """The loss at the first gain, averaged over keys that nobody trained on."""
    run = jax.jit(value)
    return float(np.mean([run(jnp.asarray(K0), jax.random.key(100 + k)) for k in range(KEYS)]))


def drift(K: Any, x: Any) -> Any:
    """``A x + B K C x``."""
    u = matvec(K, matvec(jnp.asarray(C, x.dtype), x))
    return matvec(jnp.asarray(A, x.dtype), x) + matvec(jnp.asarray(B, x.dtype), u)


def loss(K: Any, key: Any) -> Any:
    """Ours: Euler-Maruyama unfolded, the increments an input."""
    dw = np.sqrt(np.float32(ETA)) * jax.random.normal(key, (PATHS, STEPS, DIM))
    step = euler_maruyama(lambda t, x, u: drift(K, x), lambda t, x, u: jnp.full(DIM, NOISE))
    t, h = jnp.arange(STEPS) * ETA, jnp.full(STEPS, ETA)

    def path(dw: Any) -> Any:
        end, _ = unfold(step, jnp.ones(DIM), NoisyInterval(t, h, dw), keep=lambda s: None)
        return end @ end

    with together(PATHS):
        return jnp.mean(jax.vmap(path)(dw))


def objective(K: Any, data: Any, key: Any) -> tuple[Any, Aux]:
    """What `fit` minimises; fresh noise in every step."""
    return loss(K, key), Aux()


def ours(steps: int) -> Any:
    """`fit` over the unfolded scheme."""
    return fit(K0, objective, np.zeros(1, np.float32), rule=RULE, steps=steps).model


def diffrax() -> tuple[Any, Any]:
    """`diffeqsolve` with constant steps, one Brownian tree per path, its default adjoint."""
    dfx, lx = peer("diffrax"), peer("lineax")
    diagonal = lx.DiagonalLinearOperator(jnp.full(DIM, NOISE))

    def value(K: Any, key: Any) -> Any:
        def path(key: Any) -> Any:
            tree = dfx.VirtualBrownianTree(0.0, HORIZON, tol=ETA / 2, shape=(DIM,), key=key)
            terms = dfx.MultiTerm(
                dfx.ODETerm(lambda t, x, args: drift(K, x)),
                dfx.ControlTerm(lambda t, x, args: diagonal, tree),
            )
            solution = dfx.diffeqsolve(
                terms, dfx.Euler(), 0.0, HORIZON, ETA, jnp.ones(DIM), max_steps=STEPS + 1
            )
            end = solution.ys[-1]
            return end @ end

        return jnp.mean(jax.vmap(path)(jax.random.split(key, PATHS)))

    return python_loop(jnp.asarray(K0), lambda K: value(K, jax.random.key(0)), RULE), value
