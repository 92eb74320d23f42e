"""`VariationalProblem`: the path that makes an integral least, by an unfolded Ritz method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..errors import InputError
from ..models.trials import Expansion, Polynomial, Trial
from ..records import Family, Solution
from .border import as_boundary, as_interval, check_kind, check_lagrangian, not_finite
from .ensemble import Ensemble, Problems
from .family import family
from .minimise import minimise, value_of
from .paths import PenalisedPath, along, bound
from .quadrature import GaussLegendre, Quadrature
from .residual import solution

_REFINED = (16, 32, 64)  # polynomials of the default trial
_EXPECTED = 32  # nodes of an expectation over one number
_STEPS = 2000  # of a rule, where none are asked for
_HOPELESS = ("unbounded", "not finite")
_SETTLED = 1e-9  # relative Euler-Lagrange residual at which refining ends


class _How(NamedTuple):
    """How `solve` was asked to go about it."""

    rule: optax.GradientTransformation | None
    steps: int | None
    finish: int
    sampled: bool
    options: dict[str, Any]


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
        quadrature: RightEndpoint, Trapezoid or GaussLegendre (default).
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
        self.trial, self.quadrature, self.penalty = trial, quadrature or GaussLegendre(), penalty
        check_kind(trial, self.quadrature, penalty)
        self.ensemble = None if r is None else Ensemble.of(r)
        check_lagrangian(lagrangian, self.given.shape[1], self.scalar, self.ensemble)

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
        path = self._path(trial, start)
        linear = isinstance(path.inner, Expansion)
        data = None if self.ensemble is None else self.ensemble.nodes(_EXPECTED)
        stochastic = how.rule is not None or how.sampled or not linear
        steps = (_STEPS if stochastic else 0) if how.steps is None else how.steps
        if not np.isfinite(value_of(self.loss, path, data)):
            not_finite()
        found = minimise(
            self.loss, path, data, rule=how.rule, steps=steps, finish=how.finish,
            stream=self._drawn() if how.sampled else None, key=jax.random.key(self.seed),
            hessian=linear, tolerance=1e-12 if linear else 1e-16, **how.options,
        )  # fmt: skip
        return solution(self, found, trial, data)

    def _path(self, trial: Trial, start: Solution | None = None) -> Any:
        if self.penalty is None:
            path = bound(trial, self.interval, self.given)
        else:
            path = PenalisedPath(trial.begin(self.interval, self.given.shape[1]))
        guess = self.guess if start is None else start
        return path if guess is None else path.through(guess)

    def _drawn(self) -> Callable[[int], Problems]:
        """One problem for every step."""
        assert self.ensemble is not None
        ensemble, seed = self.ensemble, self.seed
        return lambda step: Problems(ensemble.sample(1, [seed, step]), np.ones(1))

    def density(self, t: Any, y: Any, dy: Any, r: Any = None) -> Any:
        """The Lagrangian at one time of vectors y, dy (dim,) and r (dim_r,)."""
        y, dy = (y[0], dy[0]) if self.scalar else (y, dy)
        if self.ensemble is None:
            return self.lagrangian(t, y, dy)
        return self.lagrangian(t, y, dy, r[0] if self.ensemble.scalar else r)

    def action(self, path: Any, data: Problems | None) -> Any:
        """``int L dt`` by the quadrature; of an ensemble its expectation."""
        t, w = self.quadrature.nodes(*self.interval)
        y, dy, _ = along(path, t)

        def one(r: Any) -> Any:
            return jnp.sum(w * jax.vmap(self.density, (0, 0, 0, None))(t, y, dy, r))

        return one(None) if data is None else jnp.sum(data.q * jax.vmap(one)(data.r))

    def loss(self, path: Any, data: Problems | None) -> Any:
        """The action and the penalties of the ends."""
        return self.action(path, data) + self._penalties(path)

    def _penalties(self, path: Any) -> Any:
        if self.penalty is None:
            return 0.0
        ends = jnp.stack([path(jnp.asarray(t)) for t in self.interval])
        given = ~np.isnan(self.given)
        miss = jnp.where(given, ends - np.nan_to_num(self.given), 0.0)
        return self.penalty * jnp.sum(miss**2)

    def solve_family(self, *, trial: Trial | None = None, degree: int | None = None) -> Family:
        """Learn **every** problem of the ensemble at once: ``y(t; r)``, for any r afterwards.

        Amortised Ritz: the coefficients of the trial (default: 16 polynomials) are themselves
        polynomials of `degree` in r (default 10 for one number), which minimise
        ``E_r J(y(.; r); r)``; that is least where every problem's own action is. Asking for a
        new r then costs microseconds. Raises `InputError` without r or with penalties.
        """
        with jax.enable_x64(True):
            return family(self, trial or self.trial or Polynomial(16), degree)
