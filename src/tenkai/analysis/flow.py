"""The autonomous flow of an ensemble: slopes, their Jacobians, and paths, in double precision.

Training in float32 is enough to learn a field; to tell an eigenvalue from zero or a closed orbit
from a slow spiral is not. So the fields are cast to float64 here, whatever they were trained in.
Two compiled programs serve everything: states come in fixed numbers, and what differs between the
mean field and a member's is a row of weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..fields import together
from ..models.ensemble import Ensemble, cast
from ..unfold import RK4, Interval, Store, runge_kutta, unfold

POINTS = 256  # states of one call of `linearised`
RUNS = 8  # paths of one call of `run`
STEPS = 512  # Runge-Kutta steps of one call of `run`


class Runs(NamedTuple):
    """Paths (runs, STEPS + 1, dim), ``d end / d start`` (runs, dim, dim), and slopes at the end."""

    path: np.ndarray
    jacobian: np.ndarray
    slope: np.ndarray


class Flow:
    """``dz/dtau = sum_m w_m f_m(z, u)`` in standardised states and scaled time, u held constant.

    `mean` (members,) weighs the trusted members alike; `member(m)` is one of them alone.
    """

    def __init__(self, ensemble: Ensemble, inputs: np.ndarray | None = None):
        self.ensemble = ensemble
        self.fields = cast(ensemble.fields, np.float64)
        self.inputs = None if inputs is None else np.asarray(inputs, float)
        self.mean = ensemble.trusted / ensemble.trusted.sum()

    @property
    def trusted(self) -> list[int]:
        """The members that count."""
        return [int(m) for m in np.flatnonzero(self.ensemble.trusted)]

    def member(self, which: int) -> np.ndarray:
        """The weights of one member alone."""
        return np.eye(self.ensemble.members)[which]

    def linearised(
        self, z: Float[np.ndarray, "n dim"], weights: np.ndarray | None = None, tau: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Slopes (n, dim) and Jacobians (n, dim, dim) for weights (members,) or (n, members)."""
        weights = np.broadcast_to(self.mean if weights is None else weights, (len(z), len(self)))
        slopes, jacobians = [], []
        for i in range(0, len(z), POINTS):
            part, w = z[i : i + POINTS], weights[i : i + POINTS]
            with jax.enable_x64(True):
                f, j = _linearised(self.fields, _padded(part, POINTS), self.inputs, np.float64(tau))
                f, j = np.asarray(f)[:, : len(part)], np.asarray(j)[:, : len(part)]
            slopes.append(_mixed(w, f))
            jacobians.append(_mixed(w, j))
        return np.concatenate(slopes), np.concatenate(jacobians)

    def run(
        self, z: Float[np.ndarray, "n dim"], h: np.ndarray | float, weights: np.ndarray
    ) -> Runs:
        """`STEPS` RK4 steps of scaled length `h` (n,), negative backwards, for each state."""
        h = np.broadcast_to(np.asarray(h, float), len(z))
        weights = np.broadcast_to(weights, (len(z), len(self)))
        parts = []
        for i in range(0, len(z), RUNS):
            rows = slice(i, i + RUNS)
            chosen = [_padded(a[rows], RUNS) for a in (z, h, weights)]
            with jax.enable_x64(True), np.errstate(over="ignore", invalid="ignore"):
                out = _run(self.fields, chosen[0], chosen[1], chosen[2], self.inputs)
                parts.append([np.asarray(a)[: len(z[rows])] for a in out])
        return Runs(*(np.concatenate(p) for p in zip(*parts, strict=True)))

    def __len__(self) -> int:
        return self.ensemble.members


def _padded(a: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([a, np.broadcast_to(a[:1], (count - len(a), *a.shape[1:]))])


def _mixed(weights: np.ndarray, each: np.ndarray) -> np.ndarray:
    """Weighted sum over members of (members, n, ...); a member without weight may be anything."""
    w = weights.T.reshape(*weights.T.shape, *(1,) * (each.ndim - 2))
    return np.where(w != 0, w * each, 0.0).sum(0)


@eqx.filter_jit
def _linearised(fields: PyTree, z: Any, u: Any, tau: Any) -> tuple[Array, Array]:
    def one(field):
        def twice(state):
            slope = field(tau, state, u)
            return slope, slope

        def point(state):
            jacobian, slope = jax.jacfwd(twice, has_aux=True)(state)
            return slope, jacobian

        return jax.vmap(point)(z)

    return eqx.filter_vmap(one, in_axes=(eqx.if_array(0),))(fields)


@eqx.filter_jit
def _run(fields: PyTree, z: Any, h: Any, weights: Any, u: Any) -> tuple[Array, Array, Array]:
    def slope(weight: Array, state: Array) -> Array:
        each = eqx.filter_vmap(lambda f: f(jnp.zeros(()), state, u), in_axes=(eqx.if_array(0),))(
            fields
        )
        w = weight[:, None]
        return jnp.sum(jnp.where(w != 0, w * each, 0.0), axis=0)

    def one(state: Array, h: Array, weight: Array) -> tuple[Array, Array, Array]:
        step = runge_kutta(RK4, lambda t, y, _: slope(weight, y))
        steps = Interval(jnp.zeros(STEPS), jnp.full(STEPS, h))

        def path(y0: Array) -> tuple[Array, Array]:
            end, after = unfold(step, y0, steps, memory=Store())
            return end, jnp.concatenate([y0[None], after])

        jacobian, points = jax.jacfwd(path, has_aux=True)(state)
        return points, jacobian, slope(weight, points[-1])

    with together(len(z) * weights.shape[1]):
        return jax.vmap(one)(z, h, weights)
