"""A distribution of problems: frozen `scipy.stats` distributions, sampled and integrated over."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..errors import InputError

_MOST_NODES = 2048  # of the product rule over all dimensions


class Problems(NamedTuple):
    """Problems with the weights of their expectation."""

    r: Any  # (problems, dim_r)
    q: Any  # (problems,)


@dataclass(frozen=True)
class Ensemble:
    """Independent distributions of the numbers r of a problem; one alone makes r a scalar."""

    parts: tuple[Any, ...]
    scalar: bool
    support: tuple[tuple[float, float], ...] = ()  # of every part

    @classmethod
    def of(cls, r: Any) -> Ensemble:
        """A frozen distribution or a list of them; `InputError` for anything else."""
        parts = tuple(r) if isinstance(r, list | tuple) else (r,)
        for part in parts:
            if not all(hasattr(part, name) for name in ("rvs", "ppf", "support")):
                raise InputError(
                    "r", expected="a frozen scipy.stats distribution, or a list of them",
                    got=repr(part), do="pass r=scipy.stats.uniform(0, 1)",
                )  # fmt: skip
        support = tuple((float(low), float(high)) for low, high in (p.support() for p in parts))
        return cls(parts, not isinstance(r, list | tuple), support)

    @property
    def dim(self) -> int:
        """How many numbers a problem has."""
        return len(self.parts)

    def sample(self, count: int, seed: Any) -> Float[np.ndarray, "count dim"]:
        """Independent draws."""
        rng = np.random.default_rng(seed)
        return np.stack([p.rvs(size=count, random_state=rng) for p in self.parts], 1).astype(float)

    def nodes(self, each: int) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, " n"]]:
        """Points and weights of expectations: Gauss-Legendre in the probability, product rule."""
        while each**self.dim > _MOST_NODES:
            each -= 1
        x, w = np.polynomial.legendre.leggauss(each)
        grids = [np.asarray(p.ppf((x + 1) / 2), float) for p in self.parts]
        points = np.array(list(itertools.product(*grids)))
        return points, np.prod(list(itertools.product(w / 2, repeat=self.dim)), axis=1)

    def box(self) -> Float[np.ndarray, "2 dim"]:
        """Where nearly all of it lies: the support, or its inner 99.8 % where that is unbounded."""
        low, high = np.array(self.support).T
        inner = np.array([p.ppf([0.001, 0.999]) for p in self.parts]).T
        return np.where(np.isfinite([low, high]), [low, high], inner)

    def checked(self, r: Any) -> Float[np.ndarray, "n dim"]:
        """Problems (n, dim) of what a user passes; `InputError` outside the support."""
        r = np.asarray(r, float)
        rows = r.reshape(-1, self.dim) if self.dim > 1 else r.reshape(-1, 1)
        if self.dim > 1 and r.shape[-1:] != (self.dim,):
            raise InputError(
                "r", expected=f"{self.dim} numbers for each problem", got=f"shape {r.shape}",
                do="pass one row per problem",
            )  # fmt: skip
        for i, (low, high) in enumerate(self.support):
            bad = rows[~((rows[:, i] >= low) & (rows[:, i] <= high)), i]
            if len(bad):
                raise InputError(
                    "r", expected=f"a number between {low:g} and {high:g}", got=f"{bad[0]:g}",
                    do="ask inside, or solve the family for a wider distribution",
                )  # fmt: skip
        return rows
