"""All problems of an ensemble at once: the coefficients of the trial as polynomials in r."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..models.trials import Expansion, Trial
from ..records import Family, Status
from .border import check_start
from .ensemble import Problems
from .minimise import minimise
from .paths import BoundPath, along, bound
from .residual import TRUSTED, euler_lagrange

if TYPE_CHECKING:
    from .variational import VariationalProblem

_DEGREES = {1: 10, 2: 6, 3: 3}  # of the polynomials in r, by how many numbers a problem has
_CHECKED = 64  # problems at which the Euler-Lagrange equation is tried


@dataclass(frozen=True)
class Powers:
    """Products of Legendre polynomials of r, total degree at most `degree`, on a box."""

    degree: int
    low: tuple[float, ...]
    high: tuple[float, ...]

    @cached_property
    def terms(self) -> np.ndarray:
        """The degrees of every product, (terms, dim_r)."""
        every = itertools.product(range(self.degree + 1), repeat=len(self.low))
        return np.array([d for d in every if sum(d) <= self.degree])

    def __call__(self, r: Float[np.ndarray, "n dim_r"]) -> Float[np.ndarray, "n terms"]:
        """All products at every problem."""
        low, high = np.array(self.low), np.array(self.high)
        x = 2 * (r - low) / (high - low) - 1
        each = np.polynomial.legendre.legvander(x, self.degree)  # (n, dim_r, degree + 1)
        return np.prod(each[:, np.arange(len(low)), self.terms], axis=-1)


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
    degree = degree or _DEGREES.get(ensemble.dim, 2)
    powers = Powers(degree, *(tuple(map(float, edge)) for edge in ensemble.box()))
    model, count = _first(path, powers), 2 * degree + 4
    r, q = ensemble.nodes(count)
    found = minimise(partial(_expected, problem), model, (Problems(r, q), powers(r)))
    check_start(found)
    return _record(problem, found, powers)


def _first(path: BoundPath, powers: Powers) -> Amortised:
    """Every problem begins with the same path: the constant power has its numbers."""
    n = len(powers.terms)
    coefficients = np.zeros((n, *path.inner.coefficients.shape))
    free = np.zeros((n, len(path.free)))
    coefficients[0], free[0] = path.inner.coefficients, path.free
    return Amortised(coefficients, free, eqx.tree_at(_numbers, path, (None, None)))


def _expected(problem: VariationalProblem, model: Amortised, data: tuple[Problems, Any]) -> Any:
    problems, h = data

    def one(h: Any, r: Any) -> Any:
        return problem.action(model.at(h), _alone(r))

    return jnp.sum(problems.q * jax.vmap(one)(h, problems.r))


def _alone(r: Any) -> Problems:
    return Problems(r[None], jnp.ones(1))


def _record(problem: VariationalProblem, found: Any, powers: Powers) -> Family:
    ensemble, model = problem.ensemble, found.model
    assert ensemble is not None
    r = ensemble.sample(_CHECKED, problem.seed)
    t = np.linspace(*problem.interval, 51)

    @jax.jit
    def residuals(h: Any, r: Any) -> Any:
        def one(h: Any, r: Any) -> Any:
            y = along(model.at(h), t)
            alone = _alone(r)
            terms = jax.vmap(lambda y, t: euler_lagrange(problem, y, t, alone)[:2])(y, t)
            size = jnp.maximum(*(jnp.abs(term).max() for term in terms))
            return jnp.abs(terms[0] - terms[1]).max() / size

        return jax.vmap(one)(h, r)

    residual = np.asarray(residuals(powers(r), r))
    worst = float(residual.max())
    ok = found.kind == "minimum" and worst < TRUSTED
    told = f"worst relative Euler-Lagrange residual of {_CHECKED} problems {worst:.1g}"
    status = Status("converged", f"Learned the family: {told}") if ok else Status(
        found.kind if found.kind != "minimum" else "not converged",
        f"Not every problem of the family is solved: {told}",
        cause="the trial or the degree in r is too small, or some problem has no minimum",
        remedy="raise degree=, use more functions, or narrow the distribution", ok=False,
    )  # fmt: skip
    mean = problem.solve()
    return Family(
        problem.interval, status, r, residual, _evaluator(model, powers), ensemble.sample,
        ensemble.checked, problem.scalar, mean,
    )  # fmt: skip


def _evaluator(model: Amortised, powers: Powers) -> Any:
    """NumPy only: a new problem costs two small matrix products."""
    coefficients, free = np.asarray(model.coefficients), np.asarray(model.free)
    terms, count, dim = coefficients.shape
    flat = coefficients.reshape(terms, count * dim)
    given, shape = np.array(model.shape.given, float), model.shape
    low, high = shape.interval

    def at(t: np.ndarray, r: np.ndarray) -> np.ndarray:
        h = powers(r)
        ends = np.repeat(given[None], len(h), 0)
        ends[:, np.isnan(given)] = h @ free
        s = ((t - low) / (high - low))[:, None]
        g = shape.inner.basis.values(t, shape.interval)
        g = 4 * s * (1 - s) * g if shape.envelope else g
        inner = g @ (h @ flat).reshape(-1, count, dim)
        return (1 - s) * ends[:, None, 0] + s * ends[:, None, 1] + inner

    return at
