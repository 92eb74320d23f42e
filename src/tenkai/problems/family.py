"""All problems of an ensemble at once: the coefficients of the trial as polynomials in r."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..models.trials import Expansion, Trial
from ..records import Family, Status
from .border import not_finite
from .ensemble import Problems
from .functional import Functional
from .minimise import Minimum, minimise, value_of
from .paths import BoundPath, along, bound
from .residual import TRUSTED, euler_lagrange, sizes

if TYPE_CHECKING:
    from .variational import VariationalProblem

# Degrees of the polynomials in r that are tried, by how many numbers a problem has.
_DEGREES = {1: (10, 20), 2: (6, 10), 3: (3, 5)}
_CHECKED = 64  # problems at which the Euler-Lagrange equation is tried


@dataclass(frozen=True)
class Powers:
    """Products of Chebyshev polynomials of r, total degree at most `degree`, on a box."""

    degree: int
    low: tuple[float, ...]
    high: tuple[float, ...]

    @cached_property
    def terms(self) -> np.ndarray:
        """The degrees of every product, (dim_r, terms); the constant comes first."""
        every = itertools.product(range(self.degree + 1), repeat=len(self.low))
        return np.array([d for d in every if sum(d) <= self.degree]).T

    @cached_property
    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.array(self.low), np.array(self.high)
        return 2 / (high - low), (high + low) / (high - low)

    def __call__(self, r: Float[np.ndarray, "n dim_r"]) -> Float[np.ndarray, "n terms"]:
        """All products at every problem: ``T_k(x) = cos(k arccos x)``, few NumPy calls."""
        factor, shift = self._scale
        angle = np.arccos(np.clip(r * factor - shift, -1.0, 1.0))
        return np.cos(angle[:, :, None] * self.terms).prod(axis=1)


class Amortised(eqx.Module):
    """``y(t; r)``: path whose numbers are ``sum_j h_j(r) C_j``."""

    coefficients: Float[Array | np.ndarray, "terms count dim"]
    free: Float[Array | np.ndarray, "terms free"]
    shape: BoundPath  # without numbers

    def at(self, h: Any) -> BoundPath:
        """The path of the problem whose powers are h (terms,)."""
        numbers = (jnp.tensordot(h, self.coefficients, 1), h @ self.free)
        return eqx.tree_at(_numbers, self.shape, numbers, is_leaf=lambda x: x is None)


def _numbers(path: BoundPath) -> Any:
    return path.inner.coefficients, path.free


def family(problem: VariationalProblem, trial: Trial, degree: int | None) -> Family:
    """Minimise ``E_r J(y(.; r); r)`` and check the Euler-Lagrange equation at sampled problems."""
    ensemble = problem.ensemble
    if ensemble is None or problem.penalty is not None:
        raise InputError(
            "solve_family", expected="an ensemble of problems with the ends built in",
            got="no distribution r" if ensemble is None else "penalties",
            do="pass r=" if ensemble is None else "leave penalty away",
        )  # fmt: skip
    path = bound(trial, problem.interval, problem.given)
    path = path if problem.guess is None else path.through(problem.guess)
    if not isinstance(path.inner, Expansion):
        raise InputError(
            "trial", expected="one that is linear in its numbers", got=repr(trial),
            do="pass Polynomial, Sine or RBF",
        )  # fmt: skip
    checked = ensemble.inner(_CHECKED, problem.seed)
    tried = _DEGREES.get(ensemble.dim, (2,)) if degree is None else (degree,)
    for at_most in tried:
        powers = Powers(at_most, *(tuple(map(float, edge)) for edge in ensemble.box))
        found = _learned(problem, path, powers)
        judged = _judged(problem, found, powers, checked)
        if judged.status.ok or found.kind in ("unbounded", "not finite"):
            break
    return judged.record(problem, found.model, powers, checked)


def _learned(problem: VariationalProblem, path: BoundPath, powers: Powers) -> Minimum:
    assert problem.ensemble is not None
    nodes = problem.ensemble.box_nodes(2 * powers.degree + 4)
    loss, data, model = (
        _Expected(problem.functional(path.inner.basis)),
        (nodes, powers(nodes.r)),
        _first(path, powers),
    )
    if not np.isfinite(value_of(loss, model, data)):
        not_finite()
    return minimise(loss, model, data, hessian=True)


def _first(path: BoundPath, powers: Powers) -> Amortised:
    """Every problem begins with the same path: the constant power has its numbers."""
    n = powers.terms.shape[1]
    coefficients = np.zeros((n, *path.inner.coefficients.shape))
    free = np.zeros((n, len(path.free)))
    coefficients[0], free[0] = path.inner.coefficients, path.free
    return Amortised(coefficients, free, eqx.tree_at(_numbers, path, (None, None)))


@dataclass(frozen=True)
class _Expected:
    """``E_r J(y(.; r); r)``; equal ones share compiled programs."""

    functional: Functional

    def __call__(self, model: Amortised, data: tuple[Problems, Any]) -> Any:
        problems, h = data

        def one(h: Any, r: Any) -> Any:
            return self.functional.action(model.at(h), _alone(r))

        return jnp.sum(problems.q * jax.vmap(one)(h, problems.r))


def _alone(r: Any) -> Problems:
    return Problems(r[None], jnp.ones(1))


class _Verdict(NamedTuple):
    status: Status
    residual: np.ndarray

    def record(
        self, problem: VariationalProblem, model: Amortised, powers: Powers, checked: np.ndarray
    ) -> Family:
        """The family with the solution of the mean problem beside it."""
        ensemble = problem.ensemble
        assert ensemble is not None
        return Family(
            problem.interval, self.status, checked, self.residual, _Evaluator.of(model, powers),
            ensemble.inner, ensemble.checked, ensemble.box_nodes(32), problem.scalar,
            ensemble.scalar, problem.solve(),
        )  # fmt: skip


def _times(problem: Functional | VariationalProblem) -> np.ndarray:
    return np.linspace(*problem.interval, 51)


@eqx.filter_jit
def _terms(functional: Functional, model: Amortised, h: Any, r: Any) -> Any:
    t = _times(functional)

    def one(h: Any, r: Any) -> Any:
        y = along(model.at(h), t)
        return jax.vmap(lambda y, t: euler_lagrange(functional, y, t, _alone(r)))(y, jnp.asarray(t))

    return jax.vmap(one)(h, r)


def _judged(
    problem: VariationalProblem, found: Minimum, powers: Powers, checked: np.ndarray
) -> _Verdict:
    """The Euler-Lagrange equation at problems that were drawn, not trained on."""
    t = _times(problem)
    terms = [
        np.asarray(a)
        for a in _terms(
            problem.functional(found.model.shape.inner.basis), found.model, powers(checked), checked
        )
    ]
    every = [sizes(*(a[i] for a in terms), t=t) for i in range(len(checked))]
    residual = np.array([size["relative_residual"] for size in every])
    worst = max(size["momentum_error"] for size in every)
    told = f"worst relative Euler-Lagrange residual of {len(checked)} problems {residual.max():.1g}"
    kind = found.kind if found.kind not in ("minimum", "stalled") else "not converged"
    if kind == "not converged" and worst < TRUSTED and terms[3].min() > -1e-9:
        return _Verdict(Status("converged", f"Learned the family: {told}"), residual)
    return _Verdict(
        Status(
            kind, f"Not every problem of the family is solved: {told}",
            "some problem has no minimum" if kind != "not converged"
            else "the trial or the degree in r is too small, or some problem has no minimum",
            "raise degree=, use more functions, or narrow the distribution", ok=False,
        ),
        residual,
    )  # fmt: skip


@dataclass(frozen=True)
class _Evaluator:
    """``y(t; r)`` in NumPy: a table of the times, kept, times the numbers of every problem."""

    numbers: Float[np.ndarray, "terms more_dim"]  # of the functions, then of both ends
    dim: int
    powers: Powers
    shape: BoundPath
    kept: dict[bytes, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Amortised, powers: Powers) -> _Evaluator:
        coefficients, free = np.asarray(model.coefficients), np.asarray(model.free)
        terms, _, dim = coefficients.shape
        given = np.array(model.shape.given, float)
        ends = np.zeros((terms, 2, dim))
        ends[0] = np.nan_to_num(given)  # the first power is the constant
        ends[:, np.isnan(given)] = free
        numbers = np.concatenate([coefficients, ends], axis=1).reshape(terms, -1)
        return cls(numbers, dim, powers, model.shape)

    def __call__(self, t: np.ndarray, r: np.ndarray) -> Float[np.ndarray, "problems times dim"]:
        numbers = (self.powers(r) @ self.numbers).reshape(len(r), -1, self.dim)
        return self._table(t) @ numbers

    def _table(self, t: np.ndarray) -> Float[np.ndarray, "times more"]:
        name = t.tobytes()
        if name not in self.kept:
            low, high = self.shape.interval
            s = ((t - low) / (high - low))[:, None]
            if len(self.kept) > 15:
                self.kept.clear()
            self.kept[name] = np.concatenate([self.shape.table(t)[0], 1 - s, s], axis=1)
        return self.kept[name]
