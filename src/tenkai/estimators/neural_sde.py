"""`NeuralSDE`: from measurements to a learned stochastic differential equation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from ..curriculum.members import Auto
from ..devices import arithmetic
from ..diffusions.checks import examine, judge
from ..diffusions.learning import learn
from ..errors import InputError
from ..records import Fit, Forecast, Paths, Stationary
from . import border, sde_border
from .base import Estimator
from .sde_numbers import table
from .sde_prediction import Diffusion

if TYPE_CHECKING:
    import pandas as pd


class NeuralSDE(Estimator):
    """Learns ``dx = a(x, u) dt + b(x, u) dW`` (Ito) from irregular series.

    Drift and diffusion are smooth networks, or any `drift` and `diffusion` of the user in raw
    units, with parameters to learn. Training maximises the likelihood of every transition between
    successive observations: a Gaussian whose mean and covariance solve the moment equations of
    the diffusion over the gap, so long gaps do not bias the drift as an Euler step does. How smooth
    both fields are is chosen by the evidence of the data: affine and level unless they clearly ask
    for more. State and time are standardised inside, positive quantities may be modelled on a log
    scale, and all outputs are in the units of the data.

    Args:
        members: networks in the ensemble; they differ in where their hidden units lie.
        width: hidden units; "auto" takes 16 for one variable without inputs, else 32.
        noise: "diagonal" for one independent source of noise per variable, "full" for a lower
            triangular diffusion, whose noises are correlated.
        drift: ``a(t, y, u)`` in raw units, shape (dim,), an Equinox module with parameters.
        diffusion: ``b(t, y, u)`` in raw units, shape (dim,) or (dim, noise).
        time_dependent: let the networks read the time.
        positive: log scale for positive quantities; "auto" decides on left-out transitions.
        seed, precision: of everything random, and of the arithmetic.

    After `fit`: `fit_` (status, history), `model_` (both fields, arrays with a leading member
    axis), `data_`, `innovations_` (what their check found), `log_likelihood_` (per transition, in
    nats and raw units), `parameters_` (a table of the numbers of the user's fields with standard
    errors and 90 % intervals, or None), `seconds_`.

    Rows must be whole or empty; an empty row makes the gap longer.

    Source: Jazwinski 1970 (moment equations); Bollerslev and Wooldridge 1992 (Gaussian
    quasi-likelihood); MacKay 1992 (evidence).

    >>> import numpy as np, tenkai as tk
    >>> random, x = np.random.default_rng(0), np.zeros(500)
    >>> for k in range(499):
    ...     x[k + 1] = 0.9 * x[k] + 0.2 * random.standard_normal()
    >>> sde = tk.NeuralSDE().fit(x, t=0.1)
    >>> np.asarray(sde.simulate([0.0], np.arange(4) * 0.1, paths=10)).shape
    (10, 4, 1)
    """

    _kept: ClassVar[dict[str, str]] = {"drift": "_drift", "diffusion": "_diffusion"}

    def __init__(
        self,
        *,
        members: int = 1,
        width: int | Auto = "auto",
        noise: Literal["diagonal", "full"] = "diagonal",
        drift: Callable | None = None,
        diffusion: Callable | None = None,
        time_dependent: bool = False,
        positive: bool | Auto = "auto",
        seed: int = 0,
        precision: Literal["float32", "float64"] = "float64",
    ):
        self.members = members
        self.width: int | Auto = width
        self.noise = noise
        self._drift = drift
        self._diffusion = diffusion
        self.time_dependent = time_dependent
        self.positive: bool | Auto = positive
        self.seed = seed
        self.precision = precision

    def fit(
        self,
        x: Any,
        t: Any = None,
        u: Any = None,
        *,
        log: FilePath | str | None = None,
        progress: bool | None = None,
    ) -> NeuralSDE:
        """Learn from `Trajectories`, a table (`t` names its time column) or arrays ``x, t, u``.

        `log` is a history.jsonl; `progress` a bar (None: on a terminal or in a notebook).

        Raises `InputError` for data or arguments that cannot work.
        """
        sde_border.check_arguments(self)
        data = border.as_trajectories(x, t, u)
        sde_border.check_data(data)
        options = {"log": log, "progress": progress}
        with self._arithmetic():
            design = sde_border.design(self, data, **options)
            learned = learn(data, design)
        self.data_, self.names_ = data, data.names
        self.diffusion_ = Diffusion(learned.model, data, learned.substeps)
        self.model_ = learned.model
        self.parameters_: pd.DataFrame | None = table(learned, sde_border.users_fields(self))
        self.innovations_ = examine(
            learned.errors, learned.pairs.z0, learned.pairs.series, learned.remembered
        )  # fmt: skip
        self.log_likelihood_ = float(np.mean(learned.logs))
        self.seconds_ = learned.seconds
        notes = (*data.notes, *learned.notes)
        status = judge(self.innovations_, data.names, self.log_likelihood_, notes)
        history = [row for made in learned.fits for row in made.history]
        steps = sum(made.steps for made in learned.fits)
        self.fit_ = Fit(self.model_, status, history, sum(self.seconds_.values()), steps)
        return self

    def _arithmetic(self) -> AbstractContextManager[None]:
        return arithmetic(self.precision)

    def drift(self, y: Any, t: Any = None, u: Any = None) -> Float[np.ndarray, "n dim"]:
        """The learned drift ``a(y, u)`` at states `y` (n, dim) in raw units, members' mean.

        `u` are inputs and then covariates, (k,) or (n, k); what is not given is at its training
        mean; `t` (n,) raw times, where the fields read them.
        """
        return self.members_fields(y, t, u)[0].mean(0)

    def diffusion(self, y: Any, t: Any = None, u: Any = None) -> np.ndarray:
        """The learned diffusion ``b(y, u)`` at states `y` (n, dim) in raw units, members' mean.

        (n, dim) with diagonal noise, (n, dim, dim) lower triangular with full noise, or (n, ...)
        as the user's diffusion gives it. ``b b^T`` is the covariance that an instant adds.
        """
        return self.members_fields(y, t, u)[1].mean(0)

    def members_fields(self, y: Any, t: Any = None, u: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Drift and diffusion of every member, as `drift` and `diffusion` with a leading axis."""
        self._fitted()
        states = self._states(y)
        now = None if t is None else self.data_.clock.encode(np.atleast_1d(t))
        with self._arithmetic():
            return self.diffusion_.fields(states, now, u)

    def _states(self, y: Any) -> np.ndarray:
        """States (n, dim) in raw units."""
        y = np.asarray(y, float)
        dim = self.data_.dim
        y = y.reshape(-1, 1) if dim == 1 and y.ndim < 2 else np.atleast_2d(y)
        if y.ndim != 2 or y.shape[1] != dim or not np.isfinite(y).all():
            names = ", ".join(self.names_)
            raise InputError(
                "state", expected=f"{dim} finite numbers per state, {names}",
                got=f"shape {y.shape}" if y.shape[-1:] != (dim,) else "a gap", do="mend it",
            )  # fmt: skip
        return border.check_states(y, self.data_, self.diffusion_.positive)

    def simulate(
        self, y0: Any, t: Any, u: Any = None, *, paths: int = 100, seed: int = 0,
        static: Any = None,
    ) -> Paths:  # fmt: skip
        """Paths from states `y0` at times `t`, the first of which is the start's.

        `y0` is (dim,) for all paths, or (paths, dim). `u` are the inputs at `t`, `static`
        (covariates,) those of the series (default: their training mean).
        """
        self._fitted()
        at = np.asarray(self.data_.clock.encode(t), float).reshape(-1)
        if len(at) < 1 or not np.isfinite(at).all() or (np.diff(at) <= 0).any():
            raise InputError(
                "t", expected="increasing times", got=f"{len(at)} times", do="sort them"
            )
        start = self._states(np.asarray(y0, float).reshape(1, -1) if np.ndim(y0) < 2 else y0)
        count = sde_border.count_of(paths)
        if len(start) not in (1, count):
            raise InputError(
                "y0", expected=f"one state, or one for each of {count} paths",
                got=f"{len(start)} states", do="pass paths=, or one state",
            )  # fmt: skip
        inputs = border.future_inputs(u, len(at), self.data_, 0)
        drive = border.with_covariates(inputs, static, len(at), self.data_)
        begun = np.broadcast_to(start, (count, self.data_.dim))
        with self._arithmetic():
            values = self.diffusion_.simulate(begun, at, drive, seed)
        notes = _lost(values)
        data = self.data_
        return Paths(data.clock.decode(at), values, data.names, data.time_name, notes)

    def forecast(
        self, horizon: Any = None, *, times: Any = None, data: Any = None, inputs: Any = None,
        coverage: float = 0.9, paths: int = 1000, seed: int = 0,
    ) -> Forecast | list[Forecast]:  # fmt: skip
        """What comes after the last whole row, by simulation: mean and quantiles of `paths` paths.

        `horizon` is in units of the time column (a number, or "10D" for dates); `times` (for all
        series, or a dictionary by id) overrides it. `data` are other series to go on from, `inputs`
        the known inputs at the forecast times, required where there are any.
        """
        self._fitted()
        coverage, count = border.check_coverage(coverage), sde_border.count_of(paths)
        known = self.data_
        if data is not None:
            known = border.match_columns(border.as_trajectories(data, learn=False), self.data_)
        made = []
        for i, one in enumerate(known):
            sde_border.check_rows(one.x, known, one.id)
            at = border.future_times(one, known, horizon, times)
            u = border.future_inputs(inputs, len(at), known, i)
            row = sde_border.last_row(one)
            border.check_states(one.x[row], known, self.diffusion_.positive)
            with self._arithmetic():
                values = self.diffusion_.ahead(one, row, at, u, count, seed + i)
            low, high = np.nanquantile(values, [0.5 - coverage / 2, 0.5 + coverage / 2], axis=0)
            where = (coverage, known.names, one.id, known.time_name)
            mean = np.nanmean(values, axis=0)
            made.append(Forecast(known.clock.decode(at), mean, low, high, *where, _lost(values)))
        return made[0] if len(made) == 1 else made

    def stationary(self, u: Any = None) -> Stationary:
        """Mean and covariance that the learned diffusion settles to, with a status if it does not.

        `u` (inputs,) in raw units is held constant (default: the training mean).

        Raises `InputError` for fields that read the time.
        """
        self._fitted()
        if self.time_dependent:
            raise InputError(
                "stationary", expected="fields that do not read the time",
                got="time_dependent=True", do="simulate instead",
            )  # fmt: skip
        with self._arithmetic():
            return self.diffusion_.stationary(u, self.seed)

    def score(self, x: Any = None, t: Any = None, u: Any = None) -> float:
        """Mean log-likelihood of a transition in nats, in raw units; of the training data alone.

        Of two models of the same data the one with the higher score foretells the next value
        better, also when one of them is on a log scale.
        """
        self._fitted()
        if x is None:
            return self.log_likelihood_
        data = border.match_columns(border.as_trajectories(x, t, u, learn=False), self.data_)
        for one in data:
            sde_border.check_rows(one.x, data, one.id)
            whole = one.x[np.isfinite(one.x).all(1)]
            border.check_states(whole, data, self.diffusion_.positive)
        with self._arithmetic():
            return float(np.mean(self.diffusion_.log_density(data)))

    def summary(self) -> str:
        """A few lines in words: what was learned and how good it is."""
        self._fitted()
        lines = [repr(self), str(self.fit_.status)]
        if self.parameters_ is not None:
            lines.append(str(self.parameters_))
        return "\n".join([*lines, *self.fit_.status.notes])

    def save(self, path: FilePath | str) -> None:
        """One safetensors file: both fields, scaling and the series they were learned from."""
        self._fitted()
        from .neural_sde_saving import save

        save(self, path)


def _lost(values: np.ndarray) -> tuple[str, ...]:
    lost = int((~np.isfinite(values)).any((1, 2)).sum())
    return (f"{lost} of {len(values)} paths blew up: they are NaN from there on",) if lost else ()
