"""`LatentODE`: many irregular series as paths of one hidden differential equation."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ..data import Trajectories
from ..data.shards import Shards
from ..devices import arithmetic
from ..errors import InputError
from ..records import Fit, Forecast, Path, Paths
from ..sequences.learning import Learned, learn
from . import border
from . import latent_ode_border as own
from .base import Estimator
from .judgement import r_squared
from .latent_ode_judgement import status_of
from .latent_ode_prediction import Code, Predictor
from .many_series import Marks, marks_of, observed


class LatentODE(Estimator):
    """Learns ``z0 ~ q(z0 | x)``, ``dz/dt = f(z)``, ``x_k = g(z(t_k)) + noise`` from many series.

    Each series is one path of a hidden differential equation that all of them share; an encoder
    reads what was observed of it, backwards in time, to a normal over the state at which it begins.
    Training maximises the evidence lower bound ``E_q[log p(x | z)] - KL(q || N(0, I))``, per series
    and over random parts of it: a part begins anywhere, the encoder sees a stretch of it, and what
    comes later is to be explained too. Series have times and lengths of their own; NaN is not
    observed; nothing is padded to a common grid.

    Args:
        latent: dimensions of the hidden state.
        encoder: "rnn", a GRU that reads the gaps in time (Chen et al. 2018), or "ode-rnn", one
            whose state follows an equation of its own in the gaps (Rubanova et al. 2019).
        hidden: of the encoder's state.
        width, depth, activation: hidden layers of the field. Activations without a ceiling (the
            default, "silu", "elu") go on growing beyond the data; "tanh" levels off.
        decoder: hidden units of the decoder; 0 for an affine one, which continues best.
        noise: standard deviation of the observations in raw units, one number or one per variable;
            None learns it.
        parts: random parts per series.
        resolution: solver steps over a series of median duration; "auto" goes by how many
            observations there are.
        warm_up: steps until the KL counts in full.
        steps, batch, learning_rate: of Adam; the rate falls along a cosine. `batch` counts rows in
            which short series stand behind one another.
        decay: of the squared weights.
        label_weight: of a series' cross-entropy beside its likelihood, where there are labels.
        held_out: the share of series that do not train: they choose the best state, set the width
            of the intervals and measure it.
        seed, precision: of everything random, and of the arithmetic.

    After `fit`: `fit_` (status, history), `model_` (a `tenkai.sequences.latent.LatentModel`),
    `data_`, `held_out_` (errors of held-out series between, after and before what was seen, beside
    naive ones), `classes_` and `labels_` (each series' class number, -1 unknown; where there were
    labels), `seconds_`.

    Source: Chen et al. 2018, section 5; Rubanova et al. 2019.

    >>> import numpy as np, tenkai as tk
    >>> rng = np.random.default_rng(0)
    >>> times = [np.sort(rng.uniform(0, 3, rng.integers(8, 15))) for _ in range(40)]
    >>> series = [np.sin(t + rng.uniform(0, 6.28)) + 0.1 * rng.normal(size=len(t)) for t in times]
    >>> lat = tk.LatentODE(latent=2, steps=20).fit(series, times)
    >>> ahead = lat.forecast(times=[-1.0, 4.0], data=series[:2], t=times[:2])
    >>> lat.encode().mean.shape, len(ahead), ahead[0].mean.shape
    ((40, 2), 2, (2, 1))
    """

    def __init__(
        self,
        *,
        latent: int = 8,
        encoder: Literal["rnn", "ode-rnn"] = "rnn",
        hidden: int = 32,
        width: int = 32,
        depth: int = 2,
        activation: str = "softplus",
        decoder: int = 0,
        noise: Any = None,
        parts: int = 7,
        resolution: int | Literal["auto"] = "auto",
        warm_up: int = 300,
        steps: int = 6000,
        batch: int = 128,
        learning_rate: float = 1e-2,
        decay: float = 0.0,
        label_weight: float = 10.0,
        held_out: float = 0.1,
        seed: int = 0,
        precision: Literal["float32", "float64"] = "float32",
    ):
        self.latent = latent
        self.encoder = encoder
        self.hidden = hidden
        self.width = width
        self.depth = depth
        self.activation = activation
        self.decoder = decoder
        self.noise = noise
        self.parts = parts
        self.resolution = resolution
        self.warm_up = warm_up
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.decay = decay
        self.label_weight = label_weight
        self.held_out = held_out
        self.seed = seed
        self.precision = precision

    def fit(
        self,
        x: Any,
        t: Any = None,
        *,
        labels: Any = None,
        checkpoint: FilePath | str | None = None,
        log: FilePath | str | None = None,
        progress: bool | None = None,
    ) -> LatentODE:
        """Learn from `Trajectories`, a table (`t` names its time column) or arrays ``x, t``.

        `tenkai.data.shards.Shards`, for more series than memory holds, are read while they train;
        the last shard judges. `labels` are one class per series, in their order or as a dictionary
        by series id (None for unknown); a head on ``z0`` then learns them. With a `checkpoint`
        folder an interrupted fit, called again, resumes with the same bits; `log` is a
        history.jsonl; `progress` a bar.

        A series without observations is left out with a note.

        Raises `InputError` for data, labels or arguments that cannot work.
        """
        own.check(self)
        options = {"checkpoint": checkpoint, "log": log, "progress": progress}
        if isinstance(x, Shards):
            own.no_labels(t, labels)
            return self._fit_shards(x, options)
        data, given = observed(x, t)
        marks = marks_of(labels, data, given)
        noise = own.noise_of(self.noise, data.dim)
        design = own.design_of(self, noise, 0 if marks is None else len(marks.classes))
        with arithmetic(self.precision):
            learned = learn(data, design, None if marks is None else marks.codes, **options)
            notes = (*data.notes, *(() if marks is None else marks.notes))
            return self._keep(learned, data, marks, notes)

    def _fit_shards(self, shards: Shards, options: dict[str, Any]) -> LatentODE:
        from ..sequences.streamed import learn_streamed

        design = own.design_of(self, own.noise_of(self.noise, shards.dim), 0)
        with arithmetic(self.precision):
            learned, data = learn_streamed(shards, design, **options)
            kept = "the model keeps the last shard's series; pass data= to ask about others"
            return self._keep(learned, data, None, (*shards.survey.notes, kept))

    def _keep(
        self, learned: Learned, data: Trajectories, marks: Marks | None, notes: tuple[str, ...]
    ) -> LatentODE:
        self.data_, self.model_, self.held_out_ = data, learned.model, learned.held
        self.predictor_ = Predictor.of(learned, data, self.seed)
        self.classes_ = None if marks is None else marks.classes
        self.labels_ = None if marks is None else marks.codes
        made, self.seconds_ = learned.fit, learned.fit.seconds
        status = status_of(learned, notes, self.predictor_.moves())
        self.fit_ = Fit(self.model_, status, made.history, made.seconds, made.steps)
        return self

    def encode(self, data: Any = None, t: Any = None) -> Code:
        """The posterior of the state at which every series begins: mean and sd (series, latent).

        `data` (with `t` as in `fit`) are other series; by default those that were learned.
        """
        known = self._series(data, t)
        with arithmetic(self.precision):
            return self.predictor_.encode(list(known))

    def latent_path(
        self, times: Any = None, *, data: Any = None, t: Any = None, coverage: float = 0.9
    ) -> Path | list[Path]:
        """The hidden states ``z(t)`` at raw `times` (default: the observed ones), model units.

        Mean and interval of the posterior's draws. One series gives a `Path`, several a list.
        """
        known, coverage = self._series(data, t), border.check_coverage(coverage)
        at = own.times_of(times, known)
        with arithmetic(self.precision):
            made = self.predictor_.latent_paths(list(known), at, coverage)
        return made[0] if len(made) == 1 else made

    def reconstruct(
        self, times: Any = None, *, data: Any = None, t: Any = None, coverage: float = 0.9
    ) -> Path | list[Path]:
        """The path through each series at raw `times` (default: the observed ones).

        The interval is for a new observation. `times` may lie outside the series, as in
        `forecast`, and `Path.notes` say so. One series gives a `Path`, several a list.
        """
        known, coverage = self._series(data, t), border.check_coverage(coverage)
        at = own.times_of(times, known)
        with arithmetic(self.precision):
            made = self.predictor_.answers(list(known), at, coverage)
        paths = [
            Path(f.time, f.mean, f.names, f.series, f.lower, f.upper, coverage, f.time_name,
                 f.notes)
            for f in made
        ]  # fmt: skip
        return paths[0] if len(paths) == 1 else paths

    def forecast(
        self,
        horizon: Any = None,
        *,
        times: Any = None,
        data: Any = None,
        t: Any = None,
        coverage: float = 0.9,
    ) -> Forecast | list[Forecast]:
        """Where each series goes after its last time, or at any `times`, also before its first.

        `horizon` is in units of the time column; negative, it runs into the past of the first
        time. `times` (for all series, or a dictionary by id) overrides it. `data` (with `t` as in
        `fit`) are other series. The interval is for a new observation: the draws of the posterior
        and the noise, as wide as held-out series asked for. `Forecast.notes` say where it goes
        further than any series that was learned.

        Raises `InputError` for times or series that cannot work.
        """
        known, coverage = self._series(data, t), border.check_coverage(coverage)
        at = [own.asked(one, known, horizon, times) for one in known]
        with arithmetic(self.precision):
            made = self.predictor_.answers(list(known), at, coverage)
        return made[0] if len(made) == 1 else made

    def sample(self, n: int, times: Any, *, seed: int = 0, noise: bool = True) -> Paths:
        """`n` new series out of the prior ``z0 ~ N(0, I)`` at `times` since their beginning.

        `noise=False` leaves out the noise of observation. For dates, times count days.
        """
        self._fitted()
        since = own.since_beginning(times)
        if not isinstance(n, int | np.integer) or n < 1:
            raise InputError("n", expected="at least one series", got=repr(n), do="raise it")
        with arithmetic(self.precision):
            values = self.predictor_.prior(int(n), since, seed, noise)
        return Paths(since, values, self.data_.names, self.data_.time_name)

    def predict_proba(self, data: Any = None, t: Any = None) -> Float[np.ndarray, "series classes"]:
        """The probability of every class in `classes_`, per series."""
        self._labelled()
        known = self._series(data, t)
        with arithmetic(self.precision):
            return self.predictor_.probabilities(list(known))

    def predict(self, data: Any = None, t: Any = None) -> np.ndarray:
        """The likeliest class of every series, (series,)."""
        chance = self.predict_proba(data, t)
        assert self.classes_ is not None
        return self.classes_[chance.argmax(1)]

    def score(self, data: Any = None, t: Any = None) -> float:
        """R² of `reconstruct` at the observed times, averaged over variables."""
        known = self._series(data, t)
        at = own.times_of(None, known)
        with arithmetic(self.precision):
            made = self.predictor_.answers(list(known), at, 0.9)
        return float(np.mean(r_squared([f.mean for f in made], [s.x for s in known])))

    def summary(self) -> str:
        """A few lines in words: what was learned and how good it is."""
        self._fitted()
        return "\n".join([repr(self), str(self.fit_.status), *self.fit_.status.notes])

    def save(self, path: FilePath | str) -> None:
        """One safetensors file: networks, scaling, widths of intervals, and the series."""
        self._fitted()
        from .latent_ode_saving import save

        save(self, path)

    def _series(self, data: Any, t: Any) -> Trajectories:
        self._fitted()
        if data is None:
            return self.data_
        known, _ = observed(data, t)
        return border.match_columns(known, self.data_)

    def _labelled(self) -> None:
        self._fitted()
        if self.classes_ is None:
            raise InputError(
                "predict", expected="an estimator that was fitted with labels", got="none",
                do="pass labels= to fit",
            )  # fmt: skip
