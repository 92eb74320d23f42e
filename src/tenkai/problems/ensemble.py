"""A distribution of problems: frozen `scipy.stats` distributions, sampled and integrated over."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..errors import InputError

_MOST_NODES = 2048  # of the product rule over all dimensions
_LEAST_NODES = 5  # for each number; with fewer the product rule is too coarse
_DOUBLE_EXPONENTIAL = 12  # for each number; with fewer that rule is coarse
_TAIL = 1e-4  # probability at either end of an unbounded distribution that a family leaves out


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
        """A frozen continuous distribution or a list of them; `InputError` for anything else."""
        parts = tuple(r) if isinstance(r, list | tuple) else (r,)
        for part in parts:
            able = all(hasattr(part, name) for name in ("ppf", "support"))
            if not able or hasattr(getattr(part, "dist", None), "pmf"):
                raise InputError(
                    "r", expected="a frozen continuous scipy.stats distribution, or a list of them",
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
        return self._at(np.random.default_rng(seed).random((count, self.dim)))

    def inner(self, count: int, seed: Any) -> Float[np.ndarray, "count dim"]:
        """Independent draws inside the box."""
        u = np.random.default_rng(seed).random((count, self.dim))
        return self._at(self._tails + (1 - 2 * self._tails) * u)

    def _at(self, u: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
        return np.stack(
            [np.asarray(p.ppf(c), float) for p, c in zip(self.parts, u.T, strict=True)], 1
        )

    @property
    def _tails(self) -> Float[np.ndarray, " dim"]:
        return np.where(np.isfinite(self.support).all(axis=1), 0.0, _TAIL)

    def nodes(self, each: int) -> Problems:
        """Expectations over everything: a product rule in the probabilities.

        Quantile functions are singular at the ends (a normal's is infinite there, a beta's a
        root); the double exponential rule (Takahasi and Mori 1974) takes all of them, with a dozen
        nodes. Over four numbers and more Gauss-Legendre where the supports are bounded, at last
        the mean of quasi-random points (Sobol 1967).
        """
        each = self._fewer(each)
        if each >= _DOUBLE_EXPONENTIAL:
            return self._product([_double_exponential(each)] * self.dim)
        if each < _LEAST_NODES or self._tails.any():
            return self._scattered()
        return self._product([_gauss(each)] * self.dim)

    def box_nodes(self, each: int) -> Problems:
        """The same inside the box only, by Gauss-Legendre."""
        each = self._fewer(each)
        if each < _LEAST_NODES:
            return self._scattered(self._tails)
        x, w = _gauss(each)
        return self._product([(tail + (1 - 2 * tail) * x, w) for tail in self._tails])

    def _scattered(self, tails: Any = 0.0) -> Problems:
        from scipy.stats import qmc

        u = qmc.Sobol(self.dim, rng=0).random(_MOST_NODES)
        points = self._at(tails + (1 - 2 * tails) * u)
        return Problems(points, np.full(len(u), 1 / len(u)))

    def _fewer(self, each: int) -> int:
        return min(each, int(_MOST_NODES ** (1 / self.dim) + 1e-9))

    def _product(self, rules: list[tuple[np.ndarray, np.ndarray]]) -> Problems:
        u = np.array(list(itertools.product(*(u for u, _ in rules))))
        q = np.array(list(itertools.product(*(w for _, w in rules))))
        return Problems(self._at(u), q.prod(axis=1))

    @cached_property
    def box(self) -> Float[np.ndarray, "2 dim"]:
        """The support, or all but its outer 0.02 % where that is unbounded."""
        inner = self._at(np.stack([self._tails, 1 - self._tails]))
        bounded = self._tails == 0
        return np.where(bounded, np.array(self.support).T, inner)

    def checked(self, r: Any) -> Float[np.ndarray, "n dim"]:
        """Problems (n, dim) of what a user passes; `InputError` outside the box."""
        r = np.asarray(r, float)
        if not self.scalar and r.shape[-1:] != (self.dim,):
            raise InputError(
                "r", expected=f"{self.dim} numbers for each problem", got=f"shape {r.shape}",
                do="pass one row per problem",
            )  # fmt: skip
        rows, box = r.reshape(-1, self.dim), self.box
        bad = ~((rows >= box[0]) & (rows <= box[1]))
        if bad.any():
            row, i = np.argwhere(bad)[0]
            raise InputError(
                "r", expected=f"a number between {box[0, i]:g} and {box[1, i]:g}",
                got=f"{rows[row, i]:g}",
                do="ask inside, or solve the family for a wider distribution",
            )  # fmt: skip
        return rows


def _gauss(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(n)
    return (x + 1) / 2, w / 2


def _double_exponential(n: int) -> tuple[np.ndarray, np.ndarray]:
    """``u = 1 / (1 + exp(-pi sinh s))`` with equal steps of s, on [0, 1]."""
    s = np.linspace(-3.0, 3.0, n)
    u = 1 / (1 + np.exp(-np.pi * np.sinh(s)))
    w = u * (1 - u) * np.cosh(s)
    return u, w / w.sum()
