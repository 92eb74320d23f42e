"""`VariationalProblem`: the path that makes an integral least, by an unfolded Ritz method."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax

from ..errors import InputError
from ..models.trials import Expansion, Polynomial, Trial
from ..records import Family, Solution
from .border import as_boundary, as_interval, check_kind, check_lagrangian, check_steps, not_finite
from .ensemble import Ensemble, Problems
from .family import family
from .functional import Functional
from .minimise import minimise, value_of
from .paths import PenalisedPath, bound
from .quadrature import GaussLegendre, Quadrature
from .residual import solution

_REFINED = (16, 48, 128)  # polynomials of the default trial
_EXPECTED = 32  # nodes of an expectation over one number
_STEPS = 2000  # of a rule, where none are asked for
_RATE = 0.03  # at which Adam begins, where no rule is passed
_HOPELESS = ("unbounded", "not finite")
_SETTLED = 1e-8  # relative Euler-Lagrange residual at which refining ends


class _How(NamedTuple):
    """How `solve` was asked to go about it."""

    rule: optax.GradientTransformation | None
    steps: int | None
    finish: int
    sampled: bool
    options: dict[str, Any]


@cache
def _decaying(steps: int) -> optax.GradientTransformation:
    """Adam whose rate falls to zero, so that the noise of drawn problems averages out."""
    return optax.adam(optax.cosine_decay_schedule(_RATE, steps))


def _fine(trial: Trial) -> GaussLegendre:
    """Gauss-Legendre, two nodes for every function at least."""
    return GaussLegendre(max(GaussLegendre.n, 2 * getattr(trial, "count", 0)))


class VariationalProblem:
    """Finds the path ``y`` on `interval` that makes ``J = int L(t, y, dy) dt`` least.

    Args:
        lagrangian: ``L(t, y, dy) -> scalar`` in JAX, or ``L(t, y, dy, r)`` for an ensemble of
            problems. y and dy are scalars where the boundary values are, else of shape (dim,).
        interval: first and last time.
        boundary: values of y at both. None is a free end; an entry that is None or NaN leaves that
            component free. There the solution fulfils the natural condition ``L_dy = 0``.
        trial: functions among which the path is sought (`tenkai.problems`: Polynomial, Sine, RBF,
            Network); default: polynomials, more of them until the residual vanishes.
        quadrature: RightEndpoint, Trapezoid or GaussLegendre (default, 96 nodes or two for every
            function).
        penalty: None builds the ends into the trial; a weight holds them by
            ``weight |y - given|^2`` at either end instead.
        guess: ``t -> y``, where the minimisation begins (default: a straight line).
        r: distribution of an ensemble's numbers: frozen `scipy.stats`, or a list of them.
        seed: of everything random.

    All arithmetic is float64. Raises `InputError` for arguments that do not fit together.

    Source: Ritz 1909; Wadayama, Model-based deep learning and deep unfolding, 2023, section 6.3.

    >>> import numpy as np, tenkai as tk
    >>> problem = tk.VariationalProblem(lambda t, y, dy: dy**2 - y**2 - t * y, (0, 1), (0, 0))
    >>> y = problem.solve()
    >>> bool(abs(y(0.5) - (np.sin(0.5) / (2 * np.sin(1)) - 0.25)) < 1e-9), y.status.kind
    (True, 'converged')
    """

    def __init__(
        self,
        lagrangian: Callable[..., Any],
        interval: tuple[float, float] = (0.0, 1.0),
        boundary: tuple[Any, Any] = (None, None),
        trial: Trial | None = None,
        quadrature: Quadrature | None = None,
        *,
        penalty: float | None = None,
        guess: Callable[[Any], Any] | None = None,
        r: Any = None,
        seed: int = 0,
    ):
        self.lagrangian, self.guess, self.seed = lagrangian, guess, seed
        self.interval = as_interval(interval)
        self.given, self.scalar = as_boundary(boundary, guess, self.interval)
        check_kind(trial, quadrature, penalty)
        self.trial, self.quadrature, self.penalty = trial, quadrature, penalty
        self.ensemble = None if r is None else Ensemble.of(r)
        check_lagrangian(lagrangian, self.given.shape[1], self.scalar, self.ensemble)

    def functional(self, trial: Trial) -> Functional:
        """What is minimised; equal ones share compiled programs."""
        given = tuple(tuple(None if np.isnan(v) else float(v) for v in end) for end in self.given)
        scalar_r = None if self.ensemble is None else self.ensemble.scalar
        quadrature = self.quadrature or _fine(trial)
        return Functional(
            self.lagrangian, self.interval, given, self.scalar, scalar_r, quadrature, self.penalty
        )

    def solve(
        self,
        *,
        rule: optax.GradientTransformation | None = None,
        steps: int | None = None,
        finish: int | None = None,
        sampled: bool = False,
        **options: Any,
    ) -> Solution:
        """Minimise: `steps` of the optax `rule`, then at most `finish` of Newton's method.

        The default is Newton's method alone, for a Network 2000 steps of Adam before L-BFGS; with
        ``finish=0`` the rule alone decides (the book's way). Of an ensemble this is the solution
        of the **mean problem**, ``min_y E_r J(y; r)``: the expectation is a quadrature, or with
        ``sampled=True`` one r is drawn for every step of the rule (DU-RR-rand), without a finish
        unless it is asked for. It is not the mean of the solutions: see `solve_family`.

        `options` go to `tenkai.fit` (checkpoint, log, every, ...). Nothing numerical raises: see
        `Solution.status`. Raises `InputError` where the Lagrangian is not finite at the start.
        """
        if sampled and self.ensemble is None:
            raise InputError(
                "sampled", expected="an ensemble of problems", got="one problem without r",
                do="pass r=, a distribution, to VariationalProblem",
            )  # fmt: skip
        check_steps(steps, finish)
        finish = (0 if sampled else 200) if finish is None else finish
        how = _How(rule, steps, finish, sampled, options)
        with jax.enable_x64(True):
            if self.trial is None and rule is None and not sampled and not steps:
                return self._refined(how)
            return self._solve(self.trial or Polynomial(_REFINED[0]), how)

    def _refined(self, how: _How) -> Solution:
        """More polynomials until the residual vanishes or no longer falls."""
        best = self._solve(Polynomial(_REFINED[0]), how)
        for count in _REFINED[1:]:
            if best.relative_residual < _SETTLED or best.status.kind in _HOPELESS:
                break
            found = self._solve(Polynomial(count), how, best)
            worse = found.momentum_error > best.momentum_error
            if worse or (best.status.ok and not found.status.ok):
                break
            best = found
        return best

    def _solve(self, trial: Trial, how: _How, start: Solution | None = None) -> Solution:
        path, functional = self._path(trial, start), self.functional(trial)
        linear = isinstance(path.inner, Expansion)
        data = None if self.ensemble is None else self.ensemble.nodes(_EXPECTED)
        stochastic = how.rule is not None or how.sampled or not linear
        steps = (_STEPS if stochastic else 0) if how.steps is None else how.steps
        fitting: dict[str, Any] = {}
        if steps:
            if not np.isfinite(value_of(functional, path, data)):
                not_finite()
            fitting = {"rule": how.rule or _decaying(steps), "key": jax.random.key(self.seed),
                       "stream": self._drawn() if how.sampled else None, **how.options}  # fmt: skip
        found = minimise(
            functional, path, data, steps=steps, finish=how.finish, hessian=linear,
            tolerance=1e-12 if linear else 1e-16, **fitting,
        )  # fmt: skip
        if found.kind == "not finite" and found.steps == 0:
            not_finite()
        return solution(self, found, trial, data)

    def _path(self, trial: Trial, start: Solution | None = None) -> Any:
        if self.penalty is None:
            path = bound(trial, self.interval, self.given)
        else:
            path = PenalisedPath(trial.begin(self.interval, self.given.shape[1]))
        path = jax.tree.map(lambda a: np.asarray(a, float) if eqx.is_inexact_array(a) else a, path)
        guess = self.guess if start is None else start
        return path if guess is None else path.through(guess)

    def _drawn(self) -> Callable[[int], Problems]:
        """One problem for every step."""
        assert self.ensemble is not None
        ensemble, seed = self.ensemble, self.seed
        return lambda step: Problems(ensemble.sample(1, [seed, step]), np.ones(1))

    def solve_family(self, *, trial: Trial | None = None, degree: int | None = None) -> Family:
        """Learn **every** problem of the ensemble at once: ``y(t; r)``, for any r afterwards.

        Amortised Ritz: the coefficients of the trial (default: 16 polynomials) are themselves
        polynomials of `degree` in r (default 10 for one number), which minimise
        ``E_r J(y(.; r); r)``; that is least where every problem's own action is. Asking for a
        new r then costs microseconds. Raises `InputError` without r or with penalties.
        """
        with jax.enable_x64(True):
            return family(self, trial or self.trial or Polynomial(16), degree)
