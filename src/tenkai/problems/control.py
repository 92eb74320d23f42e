"""`OptimalControl`: the control of least cost, by differentiating through the unfolded plant."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
import optax

from ..devices import arithmetic
from ..models.policies import Bounded, Policy
from ..models.trials import PiecewiseConstant
from ..records import ControlSolution
from ..unfold import RK4
from . import plants
from .border import check_steps
from .constraints import Constraints
from .costate import Adjoint, adjoint
from .evaluation import EVALUATED, Costs, costs
from .search import Search, expected, fixed, missed, trained, value_of, with_noise, without_noise
from .telling import solution
from .unfolding import Method


class OptimalControl:
    """Finds ``u`` that minimises ``E[int_0^T l(t, x, u) dt + phi(x(T))]``, ``dx/dt = f(t, x, u)``.

    All functions see one state `x` (dim,) and one control `u` (inputs,), in the user's units, and
    are written with `jax.numpy`. With `noise` the system is ``dx = f dt + b dW`` and the cost an
    expectation over paths.

    Args:
        dynamics: ``f(t, x, u) -> (dim,)``, or a fitted `NeuralODE` with known inputs, which are
            then the controls (bound them to what training saw: beyond that it guesses).
        running_cost, terminal_cost: ``l(t, x, u)`` and ``phi(x)``, one number each; at least one.
        x0: the initial state (dim,), several (paths, dim), or a distribution with SciPy's
            ``.rvs(size=, random_state=)``; the cost is then the mean.
        horizon: T; time begins at 0.
        control: how the control is written. Open loop, a trial function of `tenkai.problems`
            (default: `Polynomial`; piecewise constant, RBF, network, ...); feedback: `LinearGain`,
            `OutputFeedback`, `NetworkPolicy`, or `Feedback` of a module of your own.
        inputs: how many controls, where neither dynamics, policy nor bounds tell (default: 1).
        noise: b: a number, (dim,) for independent noise, (dim, sources), or a function of
            ``(t, x, u)`` to one of these.
        bounds: ``(low, high)`` of the controls, numbers or (inputs,), infinite where there is none;
            kept exactly, by squashing.
        path_constraint: ``c(t, x, u) <= 0`` at every node, a number or a vector.
        terminal_constraint: ``e(x) = 0`` at the end, a number or a vector.
        intervals: steps of the fixed grid (default: 200, or the next multiple of the pieces).
        method: a Runge-Kutta tableau, or `RightEuler()`; with noise Euler-Maruyama is taken.
        paths: initial states drawn from a distribution, and with noise paths of each step.
        seed, precision: of everything random, and of the arithmetic.

    Raises `InputError` for whatever cannot work, before any work.

    Source: Pontryagin et al. 1962; Wadayama, Model-based deep learning and deep unfolding, 2023.

    >>> import jax.numpy as jnp, tenkai as tk
    >>> problem = tk.OptimalControl(
    ...     lambda t, x, u: u, lambda t, x, u: x @ x + u @ u, x0=[1.0], horizon=1.0
    ... )
    >>> best = problem.solve()
    >>> round(best.cost, 6), best.status.kind  # tanh(1)
    (0.761594, 'converged')
    """

    def __init__(
        self,
        dynamics: Any,
        running_cost: Callable | None = None,
        terminal_cost: Callable | None = None,
        *,
        x0: Any,
        horizon: float,
        control: Any = None,
        inputs: int | None = None,
        noise: Any = None,
        bounds: Any = None,
        path_constraint: Callable | None = None,
        terminal_constraint: Callable | None = None,
        intervals: int | None = None,
        method: Method = RK4,
        paths: int = 100,
        seed: int = 0,
        precision: Literal["float32", "float64"] = "float64",
    ):
        self.seed, self.precision = seed, precision
        self.horizon = plants.number("horizon", horizon, 0.0)
        self.paths = plants.number("paths", paths, 1, whole=True)
        self.trial: Any = plants.recipe(control)
        self.inputs = plants.input_count(dynamics, self.trial, inputs, bounds)
        self.bounds = plants.limits(bounds, self.inputs)
        self.x0, self.distributed = x0, callable(getattr(x0, "rvs", None))
        count = plants.POOL if noise is not None else self.paths
        self.starts = plants.start_states(x0, count, seed)
        self.held = isinstance(self.trial, PiecewiseConstant)
        self.intervals = plants.grid_of(intervals, self.trial.pieces if self.held else None)
        with self.arithmetic():
            self.plant = plants.plant(
                plants.field_of(dynamics), running_cost, terminal_cost, noise, method,
                self.horizon, isinstance(self.trial, Policy), self.held, self.dim, self.inputs,
            )  # fmt: skip
            self.constraints = self._constraints(path_constraint, terminal_constraint)
            self.begin()

    @property
    def dim(self) -> int:
        """How many states there are."""
        return self.starts.shape[1]

    def begin(self) -> Any:
        """The control before it is learned: an Equinox module of t, or of (t, x) for a policy."""
        interval, key = (0.0, self.horizon), np.random.default_rng(self.seed)
        if isinstance(self.trial, Policy):
            scale = np.sqrt((self.starts**2).mean(axis=0))
            scale = np.where(scale > 0, scale, 1.0)
            model = self.trial.begin(interval, scale, self.inputs, key=key)
        else:
            model = self.trial.begin(interval, self.inputs, key=key)
        if self.bounds is not None:
            model = Bounded(model, *(tuple(b.tolist()) for b in self.bounds))
        dtype = np.dtype(self.precision)
        model = jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, model)
        return plants.checked_control(model, self.plant.feedback, self.dim, self.inputs)

    def solve(
        self,
        *,
        steps: int | None = None,
        rule: optax.GradientTransformation | None = None,
        finish: int = 200,
        progress: bool | None = None,
    ) -> ControlSolution:
        """`steps` of Adam (or of `rule`), then, without noise, up to `finish` of Newton's method.

        By default Newton's method alone looks for up to 400 numbers; within bounds, which it may
        run into too early, and for networks 500 steps of Adam at .05 come first; networks end with
        L-BFGS. With noise every step draws fresh paths, and
        the rate falls from .05 to zero by a cosine. Nothing raises for numerical reasons: see
        `ControlSolution.status`.
        """
        check_steps(steps, finish)
        begun = time.perf_counter()
        with self.arithmetic():
            found = self._search(steps, rule, finish, progress)
            return solution(self, found, begun)

    def _constraints(self, path: Callable | None, end: Callable | None) -> Constraints | None:
        if path is None and end is None:
            return None
        if self.noisy:
            plants.refuse_noise()
        t, x, u = plants.shapes(self.dim, self.inputs)
        return Constraints(
            plants.constraint("path_constraint", "(t, x, u)", path, t, x, u),
            plants.constraint("terminal_constraint", "(x)", end, x),
            self.horizon,
        )

    @property
    def noisy(self) -> bool:
        """Whether the system has noise."""
        return self.plant.noise is not None

    @property
    def sources(self) -> int | None:
        """How many Wiener processes drive it, None without noise."""
        return plants.sources(self.plant, self.dim, self.inputs) if self.noisy else None

    @functools.cached_property
    def evaluate(self) -> Callable[..., Costs]:
        return eqx.filter_jit(costs(self.plant, self.intervals, self.sources))

    @functools.cached_property
    def differentiate(self) -> Callable[..., Adjoint]:
        value = value_of(self.constraints)

        def run(model: Any, x0: Any, dw: Any, data: Any) -> Adjoint:
            return adjoint(self.plant, model, value, x0, self.intervals, self.inputs, dw, data)

        return eqx.filter_jit(run)

    @functools.cached_property
    def _objective(self) -> Callable:
        if self.sources is not None:
            return expected(self.plant, self.intervals, self.sources)
        return trained(self._loss)

    @functools.cached_property
    def _loss(self) -> Callable:
        return fixed(self.plant, self.intervals, value_of(self.constraints))

    @functools.cached_property
    def _misses(self) -> Callable | None:
        if self.constraints is None:
            return None
        run = eqx.filter_jit(missed(self.plant, self.intervals, self.constraints))
        return lambda model, x0: tuple(np.asarray(a) for a in run(model, x0))

    def _search(self, steps: int | None, rule: Any, finish: int, progress: bool | None) -> Search:
        model = self.begin()
        if not self.noisy:
            return without_noise(
                self._loss,
                self._objective,
                self._misses,
                model,
                self.starts,
                steps,
                rule,
                finish,
                progress,
            )
        starts = self.starts
        if not self.distributed:
            starts = np.resize(starts, (max(self.paths, len(starts)), self.dim))
        key = jax.random.key(self.seed)
        return with_noise(self._objective, model, starts, self.paths, steps, rule, key, progress)

    def tested(self) -> np.ndarray:
        """Initial states of the evaluation: the given ones, or other draws than trained."""
        if self.distributed:
            return plants.start_states(self.x0, EVALUATED, self.seed + 1)
        return np.resize(self.starts, (EVALUATED, self.dim)) if self.noisy else self.starts

    def arithmetic(self) -> AbstractContextManager[None]:
        return arithmetic(self.precision)
