"""What a trained network says of rows: classes, states at any depth, evaluations per row."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from .bodies import solver_of, with_solver
from .network import Network
from .transport import Solver

_BLOCK = 256  # rows at once: always the same number, so that one program serves all


class Evaluated(NamedTuple):
    """Logits of rows, NFE per row, and whether it was solved."""

    logits: Float[np.ndarray, "rows classes"]
    nfe: Float[np.ndarray, " rows"]
    ok: Bool[np.ndarray, " rows"]


@eqx.filter_jit
def _logits(network: Network, x: Array, rtol: Any) -> tuple[Array, Array, Array]:
    network = _solved_at(network, rtol)

    def one(x: Array) -> tuple[Array, Array, Array]:
        row = network.row(x, np.ones(1))
        return network.head(row.states[0]), row.nfe, row.ok

    return jax.vmap(one)(x)


@eqx.filter_jit
def _states(network: Network, x: Array, rtol: Any, depths: tuple[float, ...]) -> Array:
    network = _solved_at(network, rtol)
    return jax.vmap(lambda x: network.row(x, np.asarray(depths)).states)(x)


def evaluate(network: Network, x: np.ndarray) -> Evaluated:
    """Every row by itself: an adaptive solve chooses its steps row by row."""
    network, rtol = _without_tolerance(network)
    parts = _in_blocks(lambda part: _logits(network, part, rtol), x)
    logits, nfe, ok = (np.concatenate([p[i] for p in parts]) for i in range(3))
    return Evaluated(logits, nfe.astype(float), ok)


def states(network: Network, x: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """States (depths, rows, ...)."""
    at = tuple(float(d) for d in depths)
    network, rtol = _without_tolerance(network)
    parts = _in_blocks(lambda part: (_states(network, part, rtol, at),), x)
    return np.moveaxis(np.concatenate([p[0] for p in parts]), 1, 0)


def _without_tolerance(network: Network) -> tuple[Network, Any]:
    """The network on some fixed grid and its tolerance apart: one program for all of them."""
    solver = solver_of(network.body)
    if solver is None or solver.rtol is None:
        return network, None
    plain = dataclasses.replace(network, body=with_solver(network.body, Solver()))
    return plain, jax.numpy.asarray(float(solver.rtol))


def _solved_at(network: Network, rtol: Any) -> Network:
    return network if rtol is None else at_tolerance(network, rtol)


def _in_blocks(call: Any, x: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    parts = []
    for i in range(0, len(x), _BLOCK):
        part = x[i : i + _BLOCK]
        extra = _BLOCK - len(part)
        if extra:
            part = np.concatenate([part, np.repeat(part[:1], extra, axis=0)])
        found = call(jax.numpy.asarray(part))
        parts.append(tuple(np.asarray(v)[: _BLOCK - extra] for v in found))
    return parts


def at_tolerance(network: Network, rtol: Any) -> Network:
    """The same network, its body solved adaptively; `InputError` for residual blocks."""
    return dataclasses.replace(network, body=with_solver(network.body, Solver(rtol=rtol)))


def is_solved(network: Network) -> bool:
    """Whether the body is solved rather than a stack of layers."""
    return solver_of(network.body) is not None


def wide(network: Network) -> Network:
    """The same numbers in float64, for use inside that precision."""
    return jax.tree.map(
        lambda a: np.asarray(a, np.float64) if eqx.is_inexact_array_like(a) else a, network
    )


def probabilities(logits: Float[np.ndarray, "rows classes"]) -> Float[np.ndarray, "rows classes"]:
    """The softmax of every row."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
