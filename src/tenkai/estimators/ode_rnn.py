"""`ODERNN`: the density of every value of irregular series given the earlier ones."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, softmax

from ..data import Series, Trajectories
from ..devices import arithmetic
from ..errors import InputError
from ..records import Fit, Forecast, Path
from ..sequences.recurrent_evaluation import Said, log_densities, own_slots, said
from ..sequences.recurrent_forecast import futures
from ..sequences.recurrent_learning import learn
from ..unfold import MIDPOINT, Tableau
from . import border, ode_rnn_border
from .base import Estimator
from .many_series import beyond, marks_of, observed


class ODERNN(Estimator):
    """Learns ``p(x) = prod_i N(x_i; m(h_i), s(h_i)^2)`` of ragged, partly missing series.

    ``h_i`` is what a recurrent cell knows just before time ``t_i``. Between observations the state
    of the cell follows ``dh/dt = f(h)``; at an observation a gated recurrent unit takes the values
    that were seen. The mean is ``g(h_i) * last + shift(h_i)``, so that the last value seen is
    carried forward as far as it can be trusted. Each series keeps its own times; values are
    standardised inside and every output is in the units of the data.

    Args:
        cell: "ode"; or one of what was done before it: "gaps" reads the time since the last
            observation as an input, "decay" lets the state and what was last seen fade (GRU-D),
            "imputed" reads a regular grid on which the last values are carried forward.
        sides: "past", or "both" for interpolation: two cells, one of them reading backwards, so
            that every value is given those before and after it.
        hidden: size of the cell's state; `width`, `depth`: hidden layers of its field.
        method, substeps: how the field is solved in a gap: so many equal steps of this tableau.
        window: series without labels learn in parts of at most so many times.
        steps, batch, learning_rate: of Adam, at most; the rate falls along a cosine; a batch is
            about so many series (or parts).
        decay: of the squared weights.
        hide: the share of the times that the cells do not see in training, drawn anew in every
            step: for series that will show less than those to learn from.
        density: the weight of the density beside the labels' cross entropy.
        held_out, patience: the share of the series that do not train; half of them say when to
            stop (after so many intervals of 50 steps without a gain), half judge. Of fewer than
            five series the ends are held out.
        seed, precision: of everything random, and of the arithmetic.

    After `fit`: `fit_` (status, history), `model_` (`tenkai.sequences.recurrent.RecurrentModel`),
    `held_out_` (log density, error, coverage; labels; beside simple forecasts), `classes_`,
    `labels_` (each series' class number, -1 unknown), `data_`, `filled_` (share of the packed
    slots that hold data), `seconds_`.

    Source: Rubanova, Chen and Duvenaud 2019; Che et al. 2018 (GRU-D); Cho et al. 2014 (GRU).

    >>> import numpy as np, tenkai as tk
    >>> rng = np.random.default_rng(0)
    >>> t = [np.sort(rng.uniform(0, 10, rng.integers(5, 20))) for _ in range(40)]
    >>> x = [np.sin(one + rng.uniform(0, 6)) + 0.1 * rng.normal(size=len(one)) for one in t]
    >>> rnn = tk.ODERNN(hidden=8, steps=100).fit(x, t)
    >>> len(rnn.forecast(horizon=2.0)), rnn.reconstruct(data=x[:1], t=t[:1]).values.shape[1]
    (40, 1)
    """

    def __init__(
        self,
        cell: Literal["ode", "gaps", "decay", "imputed"] = "ode",
        *,
        sides: Literal["past", "both"] = "past",
        hidden: int = 32,
        width: int = 64,
        depth: int = 1,
        method: Tableau = MIDPOINT,
        substeps: int = 1,
        window: int = 200,
        steps: int = 2000,
        batch: int = 32,
        learning_rate: float = 5e-3,
        decay: float = 0.0,
        hide: float = 0.0,
        density: float = 1.0,
        held_out: float = 0.2,
        patience: int = 10,
        seed: int = 0,
        precision: Literal["float32", "float64"] = "float32",
    ):
        self.cell = cell
        self.sides = sides
        self.hidden = hidden
        self.width = width
        self.depth = depth
        self.method = method
        self.substeps = substeps
        self.window = window
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.decay = decay
        self.hide = hide
        self.density = density
        self.held_out = held_out
        self.patience = patience
        self.seed = seed
        self.precision = precision

    def fit(
        self, x: Any, t: Any = None, *, labels: Any = None, log: FilePath | str | None = None,
        progress: bool | None = None,
    ) -> ODERNN:  # fmt: skip
        """Learn from `Trajectories`, a table (`t` names its time column) or arrays ``x, t``.

        `labels` are one per series, numbers or strings, None where unknown: a sequence in the order
        of the series, or a dictionary by their ids. Series without observations are left out with a
        note. `log` is a history.jsonl; `progress` a bar (None: on a terminal or in a notebook).

        Raises `InputError` for data, labels or arguments that cannot work.
        """
        design = ode_rnn_border.design_of(self)
        data, given = observed(x, t)
        marks = marks_of(labels, data, given)
        classes, number, told = marks or (None, None, ())
        count = 0 if classes is None else len(classes)
        with arithmetic(self.precision):
            learned = learn(data, number, count, design, log=log, progress=progress)
        self.data_, self.names_ = data, data.names
        self.classes_, self.labels_ = classes, number
        self.model_, self.reader_ = learned.model, learned.reader
        self.held_out_, self.filled_ = learned.held, learned.filled
        made = learned.fit
        status = ode_rnn_border.status_of(learned.held, made.status, (*data.notes, *told))
        self.fit_ = Fit(self.model_, status, made.history, made.seconds, made.steps)
        self.seconds_ = made.seconds
        return self

    def reconstruct(
        self, times: Any = None, *, data: Any = None, t: Any = None, coverage: float = 0.9
    ) -> Path | list[Path]:
        """The mean and the interval of an observation at raw `times`, given the earlier ones.

        With ``sides="both"`` given all others. By default at the times of the series, each of which
        does not see its own values. `data` (with `t` as in `fit`) are other series. One series
        gives a `Path`, several a list.

        Raises `InputError` for times outside of a series.
        """
        known = self._known(data, t)
        coverage = border.check_coverage(coverage)
        asked = border.asked_times(times, known)
        at = [one.t if asked is None else np.unique(asked) for one in known]
        for one, when in zip(known, at, strict=True):
            if len(when) and (when.min() < one.t[0] or when.max() > one.t[-1]):
                raise InputError(
                    "times", expected="times within the series", got="some outside",
                    do="use forecast for later times",
                )  # fmt: skip
        spells = [self.reader_.spell(s, x) for s, x in zip(known, at, strict=True)]
        made = [
            self._path(known, one, when, found, coverage)
            for one, when, found in zip(known, at, self._said(spells), strict=True)
        ]
        return made[0] if len(made) == 1 else made

    def forecast(
        self, horizon: Any = None, *, times: Any = None, data: Any = None, t: Any = None,
        coverage: float = 0.9, draws: int = 200, seed: int = 0,
    ) -> Forecast | list[Forecast]:  # fmt: skip
        """The continuation of each series by draws: every value drawn is seen from then on.

        `horizon` is in units of the time column (a number, or "10D" for dates); `times` (for all
        series, or a dictionary by id) overrides it. `data` (with `t` as in `fit`) are other series.
        The mean is that of the densities along the draws, the interval theirs of an observation.
        `Forecast.notes` say where it goes further than any series that was learned.

        Raises `InputError` for ``sides="both"``, which gives no density of the future.
        """
        known = self._known(data, t)
        coverage = border.check_coverage(coverage)
        if self.sides == "both":
            raise InputError(
                "forecast", expected='sides="past"', got='"both", which reads the future',
                do='fit with sides="past"',
            )  # fmt: skip
        if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 2:
            raise InputError("draws", expected="at least two", got=repr(draws), do="raise it")
        at = [border.future_times(one, known, horizon, times) for one in known]
        with arithmetic(self.precision):
            drawn = futures(self.model_, self.reader_, list(known), at, draws=draws, seed=seed)
        made, back = [], self.reader_.units.state.inverse
        longest = max(float(s.t[-1] - s.t[0]) for s in self.data_)
        for one, when, found in zip(known, at, drawn, strict=True):
            low, high = np.quantile(found.draws, [0.5 - coverage / 2, 0.5 + coverage / 2], axis=0)
            bands = back(found.mean), back(low), back(high)
            made.append(Forecast(
                known.clock.decode(when), *bands, coverage, known.names, one.id, known.time_name,
                beyond(one, when, longest, known.clock.unit),
            ))  # fmt: skip
        return made[0] if len(made) == 1 else made

    def score(self, data: Any = None, t: Any = None) -> float:
        """The mean log density per observed value, nats, in the units of the data.

        With ``sides="both"`` every value is given all others, which is no density of a series.
        """
        known = self._known(data, t)
        found = self._said(self.reader_.spells(known))
        logs = [
            log_densities(self.reader_.units.state.forward(one.x), *self._own(one, made)[:2])
            for one, made in zip(known, found, strict=True)
        ]
        return float(np.nanmean(np.concatenate(logs) - np.log(self.reader_.units.state.scale)))

    def predict_proba(self, data: Any = None, t: Any = None) -> Float[np.ndarray, "series classes"]:
        """The probability of every class, out of all that each series has shown.

        Raises `InputError` where the model was learned without labels.
        """
        known = self._known(data, t)
        if self.classes_ is None:
            raise InputError(
                "predict_proba", expected="a model learned with labels", got="one without",
                do="call fit(x, labels=...)",
            )  # fmt: skip
        found = self._said(self.reader_.spells(known))
        return softmax(np.stack([f.logits for f in found]).astype(float), axis=-1)  # type: ignore[arg-type]

    def predict(self, data: Any = None, t: Any = None) -> np.ndarray:
        """The likeliest class of each series."""
        likeliest = self.predict_proba(data, t).argmax(-1)
        assert self.classes_ is not None
        return self.classes_[likeliest]

    def summary(self) -> str:
        """A few lines in words: what was learned and how good it is."""
        self._fitted()
        lines = [repr(self), str(self.fit_.status)]
        if self.held_out_ is not None:
            lines += ode_rnn_border.lines_of(self.held_out_)
        lines.append(f"{self.filled_:.0%} of the packed slots held data")
        return "\n".join([*lines, *self.fit_.status.notes])

    def save(self, path: FilePath | str) -> None:
        """One safetensors file: cells, scaling and the series it was trained on."""
        self._fitted()
        from .ode_rnn_saving import save

        save(self, path)

    def _known(self, data: Any, t: Any) -> Trajectories:
        """The trained series, or others with the same variables."""
        self._fitted()
        if data is None:
            return self.data_
        return border.match_columns(border.as_trajectories(data, t, learn=False), self.data_)

    def _said(self, spells: Any) -> list[Said]:
        with arithmetic(self.precision):
            return said(self.model_, spells)

    def _own(self, one: Series, found: Said, at: np.ndarray | None = None) -> tuple[Any, Any]:
        where = own_slots(one, self.reader_, at)
        return found.mean[where], found.sd[where]

    def _path(
        self, known: Trajectories, one: Series, at: np.ndarray, found: Said, coverage: float
    ) -> Path:
        mean, sd = self._own(one, found, at)
        half, back = ndtri(0.5 + coverage / 2) * sd, self.reader_.units.state.inverse
        return Path(
            time=known.clock.decode(at), values=back(mean), names=known.names, series=one.id,
            lower=back(mean - half), upper=back(mean + half), coverage=coverage,
            time_name=known.time_name,
        )  # fmt: skip
