"""`NeuralODE`: from measurements to a learned differential equation with honest intervals."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path as FilePath
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ..curriculum.check import discretisation
from ..curriculum.learning import Learned, learn, learn_more
from ..curriculum.members import Auto
from ..curriculum.task import Plan
from ..data import Trajectories
from ..devices import arithmetic
from ..errors import InputError
from ..models.mean_field import MeanField
from ..records import Equilibria, Fit, Forecast, Path, Sensitivity
from ..unfold import RK4, Tableau
from . import arguments, border
from .base import Estimator
from .judgement import r_squared, status_of
from .prediction import Predictor
from .user_field import about, share_table, table

Kind = Literal["observation", "latent"]


class NeuralODE(Estimator):
    """Learns ``dy/dt = f(y, u)`` from irregular, noisy, partly missing series.

    ``f`` is a network (an ensemble of `members`), or any `field` of the user in raw units, with
    parameters to learn. Training goes by stages: gradient matching on a smoother, multiple
    shooting over growing windows, whole series with learned start states. Observations
    are ``x_k = y(t_k) + noise``; state, inputs and time are standardised inside, positive
    quantities may be modelled on a log scale, and all outputs are in the units of the data.

    Args:
        members: networks in the ensemble, trained side by side in one compiled program.
        width, depth, activation: of the hidden layers; with width "auto" 32 units, or a third of
            them where a held-out end is then forecast better.
        augment: hidden state dimensions beside the observed ones (Dupont et al. 2019); "auto" asks
            a held-out end whether there are any.
        order: 2 for a system seen in position, whose velocities are hidden states of their own.
        y0: known start state in raw units (augmented dimensions in model units), NaN = learn it;
            ``(dim,)`` for all series or one row per series; velocities follow the positions.
        time_dependent: let the field read the time.
        field: ``f(t, y, u) -> dy/dt`` in raw units, an Equinox module with parameters to learn.
        residual: a network beside the `field`, for what the equation lacks. Its squared size has a
            weight in the loss: a number, or chosen on a held-out end (True).
        positive: log scale for positive quantities; "auto" decides on a held-out end.
        held_out: share of each series' end that first judges the method and is then learned too.
        steps: optimiser steps of each shooting stage; `matching_steps` those of the first stage.
        decay, jacobian: weights of the squared network weights and of the field's squared Jacobian
            in and around the data; "auto" chooses on a held-out end.
        method: the Runge-Kutta tableau of the grid.
        seed, precision: of everything random, and of the arithmetic.

    After `fit`: `fit_` (status, history), `model_` (the field, arrays with a leading member axis),
    `data_`, `held_out_`, `coverage_`, `discretisation_`, `seconds_`; with a `field`, `parameters_`
    (a table of its numbers with 90 % intervals), with `residual`, `residual_share_` (the network's
    share of the field along the data, per variable).

    Source: Chen et al. 2018 (neural ODEs); Bock 1983 (multiple shooting); Varah 1982 (matching).

    >>> import tenkai as tk
    >>> data = tk.toys.sample("lotka_volterra", n=30, noise=0.05, seed=0)
    >>> ode = tk.NeuralODE(members=2, steps=20, matching_steps=50, held_out=0.0).fit(data)
    >>> ode.forecast(horizon=2.0).mean.shape[1]
    2
    """

    def __init__(
        self,
        *,
        members: int = 5,
        width: int | Auto = "auto",
        depth: int = 2,
        activation: str = "tanh",
        augment: int | Auto = 0,
        order: Literal[1, 2] = 1,
        y0: Any = None,
        time_dependent: bool = False,
        field: Callable | None = None,
        residual: bool | float = False,
        positive: bool | Auto = "auto",
        held_out: float = 0.2,
        steps: int = 400,
        matching_steps: int = 1500,
        decay: float | Auto = "auto",
        jacobian: float | Auto = "auto",
        method: Tableau = RK4,
        seed: int = 0,
        precision: Literal["float32", "float64"] = "float32",
    ):
        self.members = members
        self.width: int | Auto = width
        self.depth = depth
        self.activation = activation
        self.augment: int | Auto = augment
        self.order = order
        self.y0 = y0
        self.time_dependent = time_dependent
        self.field = field
        self.residual = residual
        self.positive: bool | Auto = positive
        self.held_out = held_out
        self.steps = steps
        self.matching_steps = matching_steps
        self.decay: float | Auto = decay
        self.jacobian: float | Auto = jacobian
        self.method = method
        self.seed = seed
        self.precision = precision

    def fit(
        self,
        x: Any,
        t: Any = None,
        u: Any = None,
        *,
        warm_start: bool = False,
        checkpoint: FilePath | str | None = None,
        log: FilePath | str | None = None,
        progress: bool | None = None,
    ) -> NeuralODE:
        """Learn from `Trajectories`, a table (`t` names its time column) or arrays ``x, t, u``.

        With `warm_start` training goes on from the members of the earlier fit, in its scaling and
        with its choices: for more data of the same variables, at a tenth of the price.
        With a `checkpoint` folder an interrupted fit, called again, resumes with the same bits;
        `log` is a history.jsonl; `progress` a bar (None: on a terminal or in a notebook).

        Raises `InputError` for data or arguments that cannot work.
        """
        arguments.check(self)
        data = border.as_trajectories(x, t, u)
        known = border.start_states(self.y0, data, data.dim + arguments.most_hidden(self, data.dim))
        plan = Plan(
            matching_steps=self.matching_steps, shooting_steps=self.steps,
            tableau=self.method, seed=self.seed, dtype=np.dtype(self.precision),
            checkpoint=FilePath(checkpoint) if checkpoint else None,
            log=FilePath(log) if log else None, progress=progress,
        )  # fmt: skip
        with self._arithmetic():
            learned = self._learned(data, known, plan, warm_start)
            self._keep(data, learned, warm_start)
            self.discretisation_ = discretisation(learned.ensemble, data)
            self.fit_ = self._record(learned)
        return self

    def _learned(
        self, data: Trajectories, known: np.ndarray, plan: Plan, warm_start: bool
    ) -> Learned:
        if not warm_start:
            return learn(data, known, arguments.design(self, data), plan)
        self._fitted()
        data = border.match_columns(data, self.data_)
        before = self.predictor_
        for one in data:
            border.check_states(one.x, data, before.ensemble.state.positive)
        hidden = before.ensemble.dim - before.ensemble.shown
        design = arguments.design_of(self, hidden, self.field)
        return learn_more(data, known, design, plan, before.ensemble, before.calibration)

    def _arithmetic(self) -> AbstractContextManager[None]:
        return arithmetic(self.precision)

    def _keep(self, data: Trajectories, learned: Learned, warm_start: bool) -> None:
        self.data_, self.names_ = data, data.names
        self.predictor_ = Predictor(learned.ensemble, learned.calibration, data)
        self.model_ = learned.ensemble.fields
        self.coverage_ = learned.coverage
        if not warm_start:  # nothing is held out then: the earlier end goes on judging
            self.held_out_ = learned.held_out
        self.seconds_ = learned.seconds
        estimates = learned.trained.estimates
        self.parameters_, self.residual_share_ = table(estimates), share_table(estimates, data)

    def _record(self, learned: Learned) -> Fit:
        score = float(np.mean(self._score_trained()))
        notes = (*self.data_.notes, *learned.notes, *about(learned.trained.estimates, self.data_))
        status = status_of(self, score, notes)
        steps = sum(f.steps for f in learned.trained.fits)
        return Fit(self.model_, status, learned.history, sum(self.seconds_.values()), steps)

    def reconstruct(
        self,
        t: Any = None,
        series: Any = None,
        coverage: float = 0.9,
        *,
        kind: Kind = "observation",
    ) -> Path | list[Path]:
        """The learned path through the training series: one solve out of the learned start state.

        `t` are raw times (default: the observed ones). The interval is for a new noisy
        observation; with ``kind="latent"`` for the path itself. One series gives a `Path`, several
        a list.
        """
        self._fitted()
        latent = border.check_kind(kind)
        asked, coverage = border.asked_times(t, self.data_), border.check_coverage(coverage)
        with self._arithmetic():
            made = [
                self.predictor_.reconstruct(
                    i, self.data_[i].t if asked is None else asked, coverage, latent
                )
                for i in border.pick(self.data_, series)
            ]
        return made[0] if len(made) == 1 else made

    def forecast(
        self,
        horizon: Any = None,
        *,
        times: Any = None,
        data: Any = None,
        inputs: Any = None,
        coverage: float = 0.9,
        kind: Kind = "observation",
    ) -> Forecast | list[Forecast]:
        """What comes after the last observation, with intervals for new noisy observations.

        `horizon` is in units of the time column (a number, or "10D" for dates); `times` (for all
        series, or a dictionary by id) overrides it. `data` are other series, whose states (hidden
        ones too) are estimated from what was observed; `inputs` the known inputs at the forecast
        times, required where there are any.
        With ``kind="latent"`` the interval is for the path instead of an observation.
        """
        self._fitted()
        latent = border.check_kind(kind)
        coverage = border.check_coverage(coverage)
        with self._arithmetic():
            if data is None:
                known, pairs = self.data_, None
            else:
                known = border.as_trajectories(data, learn=False)
                known = border.match_columns(known, self.data_)
                pairs = self.predictor_.begin(known)
            made = []
            for i, one in enumerate(known):
                start = self.predictor_.ensemble.starts[:, i]
                if pairs is not None:
                    one, start = pairs[i]
                at = border.future_times(one, known, horizon, times)
                u = border.future_inputs(inputs, len(at), known, i)
                made.append(self.predictor_.forecast(one, start, at, u, coverage, latent))
        return made[0] if len(made) == 1 else made

    def simulate(self, y0: Any, t: Any, u: Any = None, static: Any = None) -> Path:
        """The path from any state `y0` in raw units at times `t`, the members' mean.

        `y0` (dim,) are the observed variables; with ``order=2`` (2 dim,), positions and then
        velocities. Augmented dimensions, in model units, may follow; else they are as learned.
        `u` are the inputs at `t`, `static` (covariates,) those of the series (default: their
        training mean).
        """
        self._fitted()
        at = np.asarray(self.data_.clock.encode(t), float).reshape(-1)
        state = np.asarray(y0, float).reshape(-1)
        if len(at) < 1 or (np.diff(at) <= 0).any():
            raise InputError(
                "t", expected="increasing times", got=f"{len(at)} times", do="sort them"
            )
        border.check_width(len(state), self.data_, self.predictor_.ensemble)
        border.check_states(state, self.data_, self.predictor_.ensemble.state.positive)
        inputs = border.future_inputs(u, len(at), self.data_, 0)
        drive = border.with_covariates(inputs, static, len(at), self.data_)
        with self._arithmetic():
            return self.predictor_.simulate(state, at, drive)

    def derivative(self, y: Any, t: Any = None, u: Any = None) -> Float[np.ndarray, "n dim"]:
        """The learned vector field ``dy/dt`` at states `y` (n, dim) in raw units, members' mean.

        With ``order=2`` states (n, 2 dim) are positions and velocities, and the answer (n, 2 dim)
        velocities and accelerations. `u` are inputs and then covariates, (k,) or (n, k); what is
        not given is at its training mean.
        """
        self._fitted()
        ensemble = self.predictor_.ensemble
        y = np.atleast_2d(np.asarray(y, float))
        border.check_width(y.shape[1], self.data_, ensemble)
        border.check_states(y, self.data_, ensemble.state.positive)
        now = self.data_[0].t[:1] if t is None else self.data_.clock.encode(np.atleast_1d(t))
        drive = border.drive(u, len(y), self.data_, ensemble)
        with self._arithmetic():
            return self.predictor_.derivative(y, np.broadcast_to(now, len(y)), drive)

    def vector_field(self) -> MeanField:
        """The learned field ``f(t, x, u) -> dx/dt`` of one state, for programs of your own in JAX.

        The mean of the trusted members in raw units, as `derivative` gives it: it goes through
        `jit`, `grad` and `vmap`, and `OptimalControl` takes the estimator itself. Hidden dimensions
        belong to the state, in model units; covariates stay at their training mean. It computes in
        float64 inside ``jax.enable_x64(True)``.
        """
        self._fitted()
        return MeanField.of(self.predictor_.ensemble, self.data_.n_inputs)

    def equilibria(self, u: Any = None, *, box: Any = None) -> Equilibria:
        """Where the learned flow stands still, of what kind, and its limit cycles.

        Roots of ``f(y, u) = 0`` for the mean of the trusted members' fields, each with how many
        members have it too, the spread of its place, and the eigenvalues of the Jacobian. `u`
        (inputs,) in raw units is held constant (default: the training mean). `box` (variables, 2)
        in raw units is where to look (default: the range of the data, half of it wider on each
        side). On a log scale nothing reaches zero: an extinction is no equilibrium there.

        Raises `InputError` for a field that reads the time.

        >>> import tenkai as tk
        >>> data = tk.toys.sample("lotka_volterra", n=30, noise=0.05, seed=0)
        >>> ode = tk.NeuralODE(members=2, steps=20, matching_steps=50, held_out=0.0).fit(data)
        >>> found = ode.equilibria()
        >>> list(found.to_frame().columns[:4])
        ['kind', 'stable', 'prey', 'prey spread']
        """
        self._fitted()
        from ..analysis import find_equilibria

        return find_equilibria(self.predictor_.ensemble, self.data_, u, box)

    def sensitivity(self, t: Any = None, series: Any = None) -> Sensitivity | list[Sensitivity]:
        """How small errors of the start grow along the learned path of the training series.

        ``d y(t) / d y(t0)`` (time, dim, dim) in raw units at raw times `t` (default: the observed
        ones), its finite-time Lyapunov exponent, and the horizon that follows from it. One series
        gives a `Sensitivity`, several a list.

        Raises `InputError` for times that `reconstruct` could not answer.

        >>> import tenkai as tk
        >>> data = tk.toys.sample("lotka_volterra", n=30, noise=0.05, seed=0)
        >>> ode = tk.NeuralODE(members=2, steps=20, matching_steps=50, held_out=0.0).fit(data)
        >>> ode.sensitivity().jacobian.shape
        (30, 2, 2)
        """
        self._fitted()
        from ..analysis import sensitivities

        asked, which = border.asked_times(t, self.data_), border.pick(self.data_, series)
        made = sensitivities(self.predictor_.ensemble, self.data_, which, asked)
        return made[0] if len(made) == 1 else made

    def score(self, data: Any = None) -> float:
        """R² of one solve per series, averaged over variables; of other series after estimating
        their start states."""
        self._fitted()
        if data is None:
            return float(np.mean(self._score_trained()))
        known = border.match_columns(border.as_trajectories(data, learn=False), self.data_)
        with self._arithmetic():
            pairs = self.predictor_.begin(known)
            paths = [
                self.predictor_.forecast(one, start, one.t, None, 0.9).mean for one, start in pairs
            ]
        return float(np.mean(r_squared(paths, [one.x for one, _ in pairs])))

    def _score_trained(self) -> np.ndarray:
        paths = [self.predictor_.reconstruct(i, s.t, 0.9).values for i, s in enumerate(self.data_)]
        return r_squared(paths, [s.x for s in self.data_])

    def summary(self) -> str:
        """A few lines in words: what was learned and how good it is."""
        self._fitted()
        held = self.held_out_
        lines = [repr(self), str(self.fit_.status)]
        if held is not None:
            name, naive = held.best_naive
            lines.append(
                f"held-out end: error {held.error:.2f} sd, best naive forecast ({name}) {naive:.2f}"
            )
        if self.coverage_:
            c = self.coverage_
            lines.append(f"{c['nominal']:.0%} intervals held {c['inside']} of {c['points']} points")
        return "\n".join([*lines, self.discretisation_.message])

    def save(self, path: FilePath | str) -> None:
        """One safetensors file: members, scaling, calibration and the series it was trained on."""
        self._fitted()
        from .neural_ode_saving import save

        save(self, path)
