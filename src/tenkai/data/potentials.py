"""Four unnormalised densities of the plane that flows are matched to (Rezende and Mohamed 2015).

``p(z) = exp(-U(z)) / Z``. All but the first reach endlessly along the first coordinate, so a soft
wall stands around the box ``|z_i| <= 4`` in which the source draws them, and Z is finite.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError

BOX = 4.0
_WALL = 0.2  # the deviation of a Gaussian that falls outside the box
_REACH, _SIDE = 5.5, 1100  # of the quadrature


def _first_wave(z: Array) -> Array:
    return jnp.sin(0.5 * jnp.pi * z[0])


def _bell(x: Any, width: float) -> Any:
    return -0.5 * (x / width) ** 2


def _ring(z: Array) -> Array:
    """Two arcs of a ring of radius 2."""
    halves = jnp.logaddexp(_bell(z[0] - 2, 0.6), _bell(z[0] + 2, 0.6))
    return -_bell(jnp.sqrt(jnp.sum(z**2) + 1e-12) - 2, 0.4) - halves


def _wave(z: Array) -> Array:
    """A band along a sine."""
    return -_bell(z[1] - _first_wave(z), 0.4)


def _split(z: Array) -> Array:
    """The band and a second one, apart near ``z1 = 1``."""
    gap = 3 * jnp.exp(_bell(z[0] - 1, 0.6))
    off = z[1] - _first_wave(z)
    return -jnp.logaddexp(_bell(off, 0.35), _bell(off + gap, 0.35))


def _fork(z: Array) -> Array:
    """The band and a second one that leaves it at ``z1 = 1``."""
    gap = 3 * jax.nn.sigmoid((z[0] - 1) / 0.3)
    off = z[1] - _first_wave(z)
    return -jnp.logaddexp(_bell(off, 0.4), _bell(off + gap, 0.35))


POTENTIALS: dict[str, Callable[[Array], Array]] = {
    "U1": _ring, "U2": _wave, "U3": _split, "U4": _fork,
}  # fmt: skip
"""U of one point (2,), without the wall (Rezende and Mohamed 2015, table 1)."""


@functools.cache
def log_density(name: str) -> Callable[[Array], Array]:
    """``-U(z)`` within the wall, of one point (2,), for `tenkai.flows.objectives`.

    >>> float(log_density("U2")(jnp.zeros(2)))
    0.0
    """
    if name not in POTENTIALS:
        known = ", ".join(POTENTIALS)
        raise InputError("name", expected=f"one of {known}", got=name, do="pick one of these")
    potential = POTENTIALS[name]

    def density(z: Float[Array, " 2"]) -> Float[Array, ""]:
        outside = jnp.maximum(jnp.abs(z) - BOX, 0.0)
        return -potential(z) + jnp.sum(_bell(outside, _WALL))

    return density


@functools.cache
def log_normaliser(name: str) -> float:
    """``log Z`` by the midpoint rule, so that ``log_density(z) - log Z`` integrates to 1."""
    points = _REACH * ((2 * np.arange(_SIDE) + 1) / _SIDE - 1)

    @jax.jit
    def row(x: Array, along: Array) -> Array:
        return jax.vmap(lambda y: log_density(name)(jnp.stack([x, y])))(along)

    with jax.enable_x64(True):
        logs = jax.jit(lambda p: jax.nn.logsumexp(jax.lax.map(lambda x: row(x, p), p)))(points)
        return float(logs) + 2 * np.log(2 * _REACH / _SIDE)
