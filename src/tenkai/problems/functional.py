"""The functional of a variational problem: what is integrated, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .ensemble import Problems
from .paths import along
from .quadrature import Quadrature

Ends = tuple[tuple[float | None, ...], ...]
"""Values at both ends, None where free."""


@dataclass(frozen=True, eq=False)
class Functional:
    """``J[y] = int L(t, y, dy) dt`` and the penalties of the ends.

    Functionals of one Lagrangian with the same settings are equal, whatever the distribution of r
    and the seed, and share compiled programs.
    """

    lagrangian: Callable[..., Any]
    interval: tuple[float, float]
    given: Ends
    scalar: bool  # y is a scalar to the Lagrangian
    scalar_r: bool | None  # None: no r
    quadrature: Quadrature
    penalty: float | None

    def _settings(self) -> tuple:
        return self.interval, self.given, self.scalar, self.scalar_r, self.penalty

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Functional) or self.lagrangian is not other.lagrangian:
            return False
        return self.quadrature == other.quadrature and self._settings() == other._settings()

    def __hash__(self) -> int:  # a Lagrangian may hold arrays, which have no hash
        return hash((id(self.lagrangian), self._settings()))

    def density(self, t: Any, y: Any, dy: Any, r: Any = None) -> Any:
        """The Lagrangian at one time of vectors y, dy (dim,) and r (dim_r,)."""
        y, dy = (y[0], dy[0]) if self.scalar else (y, dy)
        if self.scalar_r is None:
            return self.lagrangian(t, y, dy)
        return self.lagrangian(t, y, dy, r[0] if self.scalar_r else r)

    def action(self, path: Any, data: Problems | None) -> Any:
        """``int L dt`` by the quadrature; of an ensemble its expectation."""
        t, w = self.quadrature.nodes(*self.interval)
        y, dy, _ = along(path, t)

        def one(r: Any) -> Any:
            return jnp.sum(w * jax.vmap(self.density, (0, 0, 0, None))(t, y, dy, r))

        return one(None) if data is None else jnp.sum(data.q * jax.vmap(one)(data.r))

    def __call__(self, path: Any, data: Problems | None) -> Any:
        """What is minimised: the action and the penalties of the ends."""
        return self.action(path, data) + self._penalties(path)

    def _penalties(self, path: Any) -> Any:
        if self.penalty is None:
            return 0.0
        given = np.array(self.given, float)
        ends = jnp.stack([path(jnp.asarray(t)) for t in self.interval])
        miss = jnp.where(np.isnan(given), 0.0, ends - np.nan_to_num(given))
        return self.penalty * jnp.sum(miss**2)
