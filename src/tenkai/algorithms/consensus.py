"""Average consensus: the nodes of a graph agree on their mean by talking to neighbours only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from .chebyshev import first_steps
from .iteration import Layer
from .unfolded import Unfolded

Matrix = Float[np.ndarray, "n n"]


class _Talk(eqx.Module):
    laplacian: Matrix

    def __call__(self, x: Float[Array, "n ..."], layer: Layer) -> Float[Array, "n ..."]:
        return x - layer.p["eta"] * (self.laplacian @ x)


def consensus(graph: Any, *, eta: Any = None, layers: int = 20, **options: Any) -> Unfolded:
    """Average consensus on a graph with a learned step per round.

    ``x[k+1] = x[k] - eta[k] L x[k]`` with L the graph's Laplacian: every node moves towards its
    neighbours, the mean never changes. `graph` is an adjacency matrix or a Laplacian, symmetric,
    weighted or not, connected. `eta` begins as Chebyshev steps over the Laplacian's eigenvalues
    without the zero. The input of a problem is x[0] (n,) or (n, dim).

    Source: Olfati-Saber and Murray 2004; Kishida, Ogura, Yoshida and Wadayama 2020 (learned).

    >>> import numpy as np
    >>> ring = np.roll(np.eye(5), 1, 0) + np.roll(np.eye(5), -1, 0)
    >>> consensus(ring, layers=12)(np.arange(5.0)[None]).round(6).tolist()
    [[2.0, 2.0, 2.0, 2.0, 2.0]]
    """
    L = laplacian(graph)
    made = Unfolded(_Talk(L), _same, layers, {"eta": 0.0 if eta is None else eta}, **options)
    if eta is not None:
        return made
    rates = np.linalg.eigvalsh(L)[1:]
    return made.with_parameters(eta=first_steps(rates, layers, options.get("tied", False)))


def laplacian(graph: Any) -> Matrix:
    """The Laplacian ``D - W`` of an adjacency matrix W, or a Laplacian as it is.

    Raises `InputError` unless it is symmetric, of one connected graph with positive weights.
    """
    W = np.asarray(graph.toarray() if hasattr(graph, "toarray") else graph)
    square = W.ndim == 2 and W.shape[0] == W.shape[1] > 1 and W.dtype.kind in "fiub"
    if not square or not np.isfinite(W).all() or not np.allclose(W, W.T):
        raise InputError(
            "graph", expected="a symmetric matrix (n, n) of numbers", got=f"shape {W.shape}",
            do="pass the adjacency matrix of an undirected graph",
        )  # fmt: skip
    W = W.astype(float)
    loops = np.diag(np.diag(W))
    balanced = bool(loops.any()) and np.allclose(W.sum(0), 0, atol=1e-9 * np.abs(W).max())
    L = W if balanced else np.diag(W.sum(0)) - W
    if np.any(L - np.diag(np.diag(L)) > 0) or (loops.any() and not balanced):
        raise InputError(
            "graph", expected="weights of at least 0 and no loops, or a Laplacian",
            got="a negative weight, or a diagonal that does not balance its row",
            do="pass the adjacency matrix, with a diagonal of zeros",
        )  # fmt: skip
    rates = np.linalg.eigvalsh(L)
    if rates[1] <= len(L) * np.finfo(float).eps * rates[-1]:
        raise InputError(
            "graph", expected="one connected graph", got="several parts, or no edge",
            do="run consensus on each connected part: parts never agree with one another",
        )  # fmt: skip
    return L


def _same(y: Any) -> Any:
    return y


class _Means(eqx.Module):
    nodes: int = eqx.field(static=True)

    def __call__(self, key: Any) -> tuple[Any, Any]:
        x = jax.random.normal(key, (self.nodes,))
        return x, jnp.full_like(x, jnp.mean(x))


def consensus_problems(nodes: int) -> Callable[[Any], tuple[Any, Any]]:
    """A sampler: Gaussian values (nodes,) and their mean at every node."""
    return _Means(nodes)
