"""Decoding a binary linear code by sum-product with learned weights on its edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..errors import InputError
from .codes import as_parity
from .iteration import Layer
from .matrices import within
from .unfolded import Unfolded


class Tanner(eqx.Module):
    """The bipartite graph of a parity-check matrix: edges are its ones, row by row.

    Tables are padded with the number of edges, so that a padded entry reads what is appended.
    """

    bit: Int[np.ndarray, " edges"]  # the bit of an edge
    place: Int[np.ndarray, " edges"]  # where an edge stands in `checks`, flattened
    checks: Int[np.ndarray, "checks degree"]  # the edges of every check
    bits: Int[np.ndarray, "n degree"]  # the edges of every bit

    def __init__(self, parity: Any):
        H = as_parity(parity)
        check, bit = np.nonzero(H)
        self.bit, self.checks, self.bits = bit, _table(check, len(H)), _table(bit, H.shape[1])
        flat = self.checks.ravel()
        self.place = np.argsort(flat, kind="stable")[: len(bit)]

    def posterior(self, llr: Float[Array, " n"], alpha: Float[Array, " edges"]) -> Any:
        """Log-likelihood ratios of the bits: the channel's, plus all messages to a bit."""
        return llr + jnp.append(alpha, 0.0)[self.bits].sum(-1)

    def others(self, t: Float[Array, " edges"]) -> Float[Array, " edges"]:
        """For every edge the product over the other edges of its check."""
        table = jnp.append(t, 1.0)[self.checks]
        ones = jnp.ones_like(table[:, :1])
        before = jnp.cumprod(jnp.concatenate([ones, table[:, :-1]], 1), 1)
        after = jnp.cumprod(jnp.concatenate([ones, table[:, :0:-1]], 1), 1)[:, ::-1]
        return (before * after).ravel()[self.place]


def _table(owner: Int[np.ndarray, " edges"], count: int) -> Int[np.ndarray, "count degree"]:
    """The edges of every owner in a row, padded with the number of edges."""
    rows = [np.flatnonzero(owner == i) for i in range(count)]
    table = np.full((count, max(map(len, rows))), len(owner))
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return table


class _Begin(eqx.Module):
    edges: int = eqx.field(static=True)

    def __call__(self, llr: Any) -> Any:
        return llr, jnp.zeros(self.edges, llr.dtype)


class _SumProduct(eqx.Module):
    graph: Tanner

    def __call__(self, state: Any, layer: Layer) -> Any:
        llr, alpha = state
        beta = layer.p["weight"] * (self.graph.posterior(llr, alpha)[self.graph.bit] - alpha)
        # Just below 1: a certain check would answer with infinity.
        limit = 1 - 8 * jnp.finfo(llr.dtype).eps
        return llr, 2 * jnp.arctanh(limit * self.graph.others(jnp.tanh(beta / 2)))


class _Posterior(eqx.Module):
    graph: Tanner

    def __call__(self, state: Any) -> Any:
        return self.graph.posterior(*state)


def sum_product(parity: Any, layers: int = 5, **options: Any) -> Unfolded:
    """Sum-product (belief propagation) decoding with a learned weight on every edge.

    Messages between bit i and check j, from ``alpha = 0``:
    ``beta_ij = weight_ij (llr_i + sum_{j' != j} alpha_j'i)``,
    ``alpha_ji = 2 artanh prod_{i' != i} tanh(beta_i'j / 2)``; the estimate is
    ``llr_i + sum_j alpha_ji``. First weights 1: plain sum-product, exact on a tree. A layer is one
    iteration and has a weight per edge (in the order of the ones of `parity`, row by row).

    Inputs and estimates are log-likelihood ratios ``log P(bit 0)/P(bit 1)`` (n,): a positive one
    says 0. The decoder is symmetric, so it may be trained on the zero word alone. Train with
    ``loss=bit_cross_entropy``. Raises `InputError` for a matrix that is not of 0 and 1.

    Source: Gallager 1963; learned weights: Nachmani, Be'ery and Burshtein 2016, eqs. 4-6.

    >>> import optax, tenkai as tk
    >>> from tenkai.algorithms import bch, bit_cross_entropy, codewords, generator_matrix
    >>> H = bch(15, 7)
    >>> noisy = codewords(generator_matrix(H), noise=0.6)
    >>> decoder = tk.algorithms.sum_product(H)
    >>> llr, x = decoder.draw(noisy, 2000)
    >>> plain = decoder.error(llr, x, loss=bit_cross_entropy)[-1]
    >>> _ = decoder.fit(noisy, steps=200, loss=bit_cross_entropy, rule=optax.adam(1e-2))
    >>> bool(decoder.error(llr, x, loss=bit_cross_entropy)[-1] < plain)
    True
    """
    graph = Tanner(parity)
    edges = len(graph.bit)
    options = {"read": _Posterior(graph)} | options
    return Unfolded(
        _SumProduct(graph), _Begin(edges), layers, {"weight": np.ones(edges)}, **options
    )


def bit_cross_entropy(llr: Float[Array, " n"], x: Float[Array, " n"]) -> Any:
    """``sum_i log(1 + exp(-x_i llr_i))``: minus the log-probability of the sent signs, in nats.

    >>> import numpy as np
    >>> round(float(bit_cross_entropy(np.array([0.0, 30.0]), np.array([1.0, 1.0]))), 4)
    0.6931
    """
    return jnp.sum(jnp.logaddexp(0.0, -x * llr))


class Codewords(eqx.Module):
    """A sampler of `codewords`."""

    generator: Int[np.ndarray, "k n"]
    noise: Float[np.ndarray, " levels"]

    def __call__(self, key: Any) -> tuple[Any, Any]:
        message, errors, level = jax.random.split(key, 3)
        k, n = self.generator.shape
        bits = jax.random.bernoulli(message, shape=(k,)).astype(int) @ self.generator % 2
        x = 1.0 - 2.0 * bits
        noise = jax.random.choice(level, jnp.asarray(self.noise))
        y = x + noise * jax.random.normal(errors, (n,), x.dtype)
        return 2 * y / noise**2, x


def codewords(generator: Any, noise: float | Sequence[float]) -> Codewords:
    """A sampler of ``(llr, x)``: a random codeword as signs x (0 is +1), seen in Gaussian noise.

    ``y = x + N(0, noise^2)``, ``llr = 2 y / noise^2``. A generator matrix (k, n) of zeros gives the
    zero word alone. The noise of a rate R = k/n at Eb/N0 is ``(2 R 10^(dB/10))^(-1/2)``; of several
    levels one is drawn for every word, so that a decoder may learn for all of them.

    >>> import jax, tenkai as tk
    >>> H = tk.algorithms.bch(15, 7)
    >>> llr, x = tk.algorithms.codewords(tk.algorithms.generator_matrix(H), 0.5)(jax.random.key(0))
    >>> llr.shape, int((H @ (x < 0) % 2).sum())
    ((15,), 0)
    """
    G = np.asarray(generator)
    if G.ndim != 2 or not G.size or G.dtype.kind not in "fiub" or not np.isin(G, (0, 1)).all():
        raise InputError(
            "generator", expected="a matrix (k, n) of 0 and 1", got=f"shape {G.shape}",
            do="pass generator_matrix(H)",
        )  # fmt: skip
    levels = [within("noise", level, 0) for level in np.ravel(noise)]
    return Codewords(G.astype(int), np.array(levels))
