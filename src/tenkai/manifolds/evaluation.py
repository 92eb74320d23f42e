"""Projections and reconstructions of many rows: batches of one compiled program, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..devices import arithmetic
from .manifold import Manifold

_BATCH = 128  # always, so that a row's answer does not depend on how many others are asked


def transform(manifold: Manifold, x: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n latents"]:
    """Latents of rows."""
    return _in_batches(_transform, manifold, x)


def inverse_transform(
    manifold: Manifold, z: Float[np.ndarray, "n latents"]
) -> Float[np.ndarray, "n dim"]:
    """Points of the surface at latents."""
    return _in_batches(_inverse, manifold, z)


def mass(manifold: Manifold, z: Float[np.ndarray, "n latents"]) -> Float[np.ndarray, " n"]:
    """Sums of the kernels at latents: how many learned ones have a say there."""
    return _in_batches(_mass, manifold, z)


@eqx.filter_jit
def _mass(manifold: Manifold, z: Any) -> Any:
    return jax.vmap(manifold.mass)(z)


@eqx.filter_jit
def _transform(manifold: Manifold, x: Any) -> Any:
    return jax.vmap(manifold.transform)(x)


@eqx.filter_jit
def _inverse(manifold: Manifold, z: Any) -> Any:
    return jax.vmap(manifold.inverse_transform)(z)


def _in_batches(program: Callable, manifold: Manifold, given: np.ndarray) -> np.ndarray:
    with arithmetic("float64"):
        placed = jax.device_put(jax.tree.map(lambda a: np.asarray(a, np.float64), manifold))
        made = []
        for begin in range(0, len(given), _BATCH):
            batch = np.asarray(given[begin : begin + _BATCH], np.float64)
            padded = np.resize(batch, (_BATCH, batch.shape[1]))
            made.append(np.asarray(program(placed, padded))[: len(batch)])
    return np.concatenate(made)
