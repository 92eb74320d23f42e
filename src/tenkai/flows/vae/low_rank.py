"""FFJORD as a posterior: one field whose weights every row changes by matrices of low rank.

``W_l(x) = W_l + U_l(x) V_l(x)^T`` and ``b_l(x)``, where U (out, rank), V (in, rank) and b (out,) of
every layer come from the encoder (Grathwohl et al. 2019, section 4.3). Layers are "concat", so
their matrices do not depend on the time: what the exact divergence needs of them is computed once
per solve, and then costs less than the field itself for one hidden layer, as much for two.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...errors import InputError
from ...fields import activation, matvec
from ..continuous import Adaptive, ContinuousFlow, Grid
from ..divergence import Divergence, Exact, forward_trace
from ..dynamics import ConcatLayer
from ..flow import Moved
from .model import VAE
from .posteriors import Amortised, PosteriorFamily

_GRID = Grid(steps=4)
_EXACT = Exact()


class Factors(eqx.Module):
    """What a row changes in one layer: ``x -> U (V^T x) + b``."""

    u: Float[Array, "out rank"]
    v: Float[Array, "in rank"]
    bias: Float[Array, " out"]

    def __call__(self, x: Array) -> Array:
        # Products, not sums: two to six times quicker where every row has its own factors.
        return self.u @ (x @ self.v) + self.bias


class RowDynamics(eqx.Module):
    """The field of one row: layers that all rows share, with the row's own factors."""

    layers: tuple[ConcatLayer, ...]
    factors: tuple[Factors, ...]
    activation: str = eqx.field(static=True)
    trace: Any = None  # what `prepared` computes for the divergence

    def matrix(self, i: int) -> Float[Array, "out in"]:
        """``W_i + U_i V_i^T``."""
        own = self.factors[i]
        return self.layers[i].linear.weight + own.u @ own.v.T

    def prepared(self) -> RowDynamics:
        """With what the divergence of every time has in common.

        One hidden layer: ``tr(A2 D A1) = d^T diag(A1 A2)``, a vector. Two: ``d2^T (A2 * (A1
        A3)^T) d1``, the matrix in the middle.
        """
        if len(self.layers) == 2:
            trace = jnp.sum(self.matrix(0) * self.matrix(1).T, axis=1)
        elif len(self.layers) == 3:
            trace = self.matrix(1) * (self.matrix(0) @ self.matrix(2)).T
        else:
            return self
        return eqx.tree_at(lambda f: f.trace, self, trace, is_leaf=lambda x: x is None)

    def _layer(self, i: int, t: Any, x: Array) -> Array:
        return self.layers[i](t, x) + self.factors[i](x)

    def __call__(self, t: Any, y: Float[Array, " dim"], u: Any = None) -> Float[Array, " dim"]:
        act, h = activation(self.activation), self._layer(0, t, y)
        for i in range(1, len(self.layers)):
            h = self._layer(i, t, act(h))
        return h

    def with_divergence(self, t: Any, y: Array, u: Any = None) -> tuple[Array, Array]:
        """The field and its exact divergence."""
        if self.trace is None:
            return forward_trace(self, t, y, u)
        act, h, slopes = activation(self.activation), self._layer(0, t, y), []
        for i in range(1, len(self.layers)):
            value, slope = jax.jvp(act, (h,), (jnp.ones_like(h),))
            slopes.append(slope)
            h = self._layer(i, t, value)
        if len(slopes) == 1:
            return h, jnp.sum(self.trace * slopes[0])
        return h, jnp.sum(slopes[1] * matvec(self.trace, slopes[0]))


class LowRankFlow(Amortised):
    """A chain of continuous flows (leading axis of `layers`: blocks) whose fields a row changes."""

    layers: tuple[ConcatLayer, ...]
    dim: int = eqx.field(static=True)
    blocks: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    end: float = eqx.field(static=True)
    divergence: Divergence = eqx.field(static=True)
    solver: Grid | Adaptive = eqx.field(static=True)

    @property
    def _shapes(self) -> list[tuple[int, int]]:
        shapes = (layer.linear.weight.shape[-2:] for layer in self.layers)
        return [(int(m), int(n)) for m, n in shapes]

    @property
    def numbers(self) -> int:
        return self.blocks * sum(self.rank * (m + n) + m for m, n in self._shapes)

    def factors(self, numbers: Float[Array, " numbers"]) -> tuple[Factors, ...]:
        """The factors of one block out of its share of what the encoder says."""
        made, at = [], 0
        for m, n in self._shapes:
            u, v, b = (numbers[at + a : at + b] for a, b in _cuts(m, n, self.rank))
            # U V^T is of second order in what the encoder says: V is of the size of a weight.
            v = v.reshape(n, self.rank) / max(n, 1) ** 0.5
            made.append(Factors(u.reshape(m, self.rank), v, b))
            at += self.rank * (m + n) + m
        return tuple(made)

    def flow(self, layers: tuple[ConcatLayer, ...], numbers: Array) -> ContinuousFlow:
        """One block as the continuous flow of one row."""
        field = RowDynamics(layers, self.factors(numbers), self.activation)
        root = jnp.sqrt(jnp.asarray(self.end, numbers.dtype))
        return ContinuousFlow(
            field=field, root_end=root, dim=self.dim, context=0, divergence=self.divergence,
            solver=self.solver,
        )  # fmt: skip

    def __call__(self, z: Any, numbers: Any, key: Any = None) -> Moved:
        keys = None if key is None else jax.random.split(key, self.blocks)

        def block(moved: Moved, this: Any) -> tuple[Moved, None]:
            layers, numbers, key = this
            now = self.flow(layers, numbers).to_data(moved.y, key=key)
            return Moved(
                now.y, moved.log_det + now.log_det, nfe=moved.nfe + now.nfe, ok=moved.ok & now.ok
            ), None

        zero = jnp.zeros((), z.dtype)
        start = Moved(z, zero, zero, zero, jnp.zeros((), int), jnp.array(True))
        parts = (self.layers, numbers.reshape(self.blocks, -1), keys)
        return jax.lax.scan(block, start, parts)[0]

    def start(self, key: Any) -> Array:
        """U and the biases zero, V random: no change at first, and every gradient alive."""
        parts = []
        for m, n in self._shapes:
            key, mine = jax.random.split(key)
            v = jax.random.normal(mine, (self.blocks, n * self.rank))
            zeros = jnp.zeros((self.blocks, m * self.rank)), jnp.zeros((self.blocks, m))
            parts += [zeros[0], v, zeros[1]]
        return jnp.concatenate(parts, axis=1).ravel()

    def with_solver(
        self, solver: Grid | Adaptive, divergence: Divergence | None = None
    ) -> LowRankFlow:
        """The same flow by another solver and divergence."""
        return dataclasses.replace(self, solver=solver, divergence=divergence or self.divergence)


def _cuts(m: int, n: int, rank: int) -> tuple[tuple[int, int], ...]:
    u, v = rank * m, rank * n
    return (0, u), (u, u + v), (u + v, u + v + m)


@dataclass(frozen=True, repr=False)
class FFJORDPosterior(PosteriorFamily):
    """A free-form continuous flow whose weights every row changes by matrices of low rank.

    ``dz/dt = f(t, z; W + U(x) V(x)^T, b(x))`` (Grathwohl et al. 2019, section 4.3 and table 5).

    Args:
        rank: of the change; 0 leaves the weights alone and lets the row set the biases.
        width, depth: hidden units and hidden layers. Up to two layers have the exact divergence in
            closed form; beyond, choose `Hutchinson()` for many latent variables.
        blocks: flows behind one another, each with its own field.
        activation: by name, see `tenkai.fields.ACTIVATIONS`.
        end: T.
        divergence, solver: as of `tenkai.flows.FFJORD`.
    """

    rank: int = 8
    width: int = 64
    depth: int = 1
    blocks: int = 1
    activation: str = "softplus"
    end: float = 1.0
    divergence: Divergence = _EXACT
    solver: Grid | Adaptive = _GRID

    def build(self, latent: int, *, key: Any) -> LowRankFlow:
        sizes = (latent, *(self.width,) * self.depth, latent)
        last = len(sizes) - 2

        def block(key: Any) -> tuple[ConcatLayer, ...]:
            keys = jax.random.split(key, last + 1)
            return tuple(
                ConcatLayer(sizes[i], sizes[i + 1], key=k, scale=0.1 if i == last else 1.0)
                for i, k in enumerate(keys)
            )

        layers = jax.vmap(block)(jax.random.split(key, self.blocks))
        return LowRankFlow(
            layers=layers, dim=latent, blocks=self.blocks, rank=self.rank, end=self.end,
            activation=self.activation, divergence=self.divergence, solver=self.solver,
        )  # fmt: skip


def at_tolerance(vae: VAE, rtol: float) -> VAE:
    """The model with its posterior's flow solved adaptively, exact divergence.

    Raises `InputError` where the posterior is no continuous flow.
    """
    if not isinstance(vae.flow, LowRankFlow):
        raise InputError(
            "nfe", expected="a continuous flow as posterior", got=type(vae.flow).__name__,
            do="fit with flow=FFJORDPosterior()",
        )  # fmt: skip
    flow = vae.flow.with_solver(Adaptive(rtol, rtol), Exact())
    return eqx.tree_at(lambda v: v.flow, vae, flow)
