"""`FlowVAE`: a variational autoencoder whose posterior may be a flow."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from ..devices import arithmetic
from ..errors import InputError
from ..fields import activation as check_activation
from ..flows.vae import evaluation
from ..flows.vae.evaluation import Bounds
from ..flows.vae.learning import Design, as_bits, learn
from ..flows.vae.posteriors import NoFlow, PosteriorFamily
from ..flows.vae.table import KINDS, Columns
from ..flows.vae.telling import status_of
from ..records import Fit
from .base import Estimator, check_numbers

_DRAWS = 16  # of the posterior, for a reconstruction
_MANY = 256  # where its mean and spread are asked for
_LEAST = dict(latent=1, width=1, depth=0, steps=1, batch=1, warm_up=0, patience=1)  # noqa: C408
_BETWEEN = {"learning_rate": (0, 1), "decay": (0, np.inf), "held_out": (0, 0.9)}
_ALLOWED = {"likelihood": ("auto", *KINDS), "precision": ("float32", "float64")}


class Code(NamedTuple):
    """Mean and standard deviation of the posterior of every row, both (n, latent)."""

    mean: Float[np.ndarray, "n latent"]
    sd: Float[np.ndarray, "n latent"]


class FlowVAE(Estimator):
    """Learns ``p(x) = int p(x | z) N(z; 0, I) dz`` from a table or from images.

    Encoder and decoder are networks; ``q(z | x)`` is a normal followed by a flow whose numbers the
    encoder gives. Training maximises the ELBO ``E_q[log p(x | z)] - w KL(q || p)``, where ``w``
    grows from 0 to 1 over the first `warm_up` steps, until rows that do not train see no gain.

    Args:
        flow: of the posterior, a family out of `tenkai.flows.vae`: `PlanarPosterior`,
            `IAFPosterior`, `SylvesterPosterior`, `FFJORDPosterior`; None for the normal alone.
        latent: latent variables.
        width, depth, activation: hidden layers of encoder and decoder; depth 0 is linear.
        likelihood: "bernoulli" for bits, or grey values in [0, 1] as their probabilities;
            "logistic" for bytes of light, a discretised logistic; "categorical" for labels from 0;
            "gaussian" for real numbers, with one learned standard deviation per column. "auto" goes
            by the type: bits, bytes, images within [0, 1], else real numbers.
        warm_up: steps until the KL counts in full.
        steps, batch, learning_rate: of Adam, at most; the rate falls along a cosine.
        decay: of the squared weights.
        held_out, patience: the share of rows that say when to stop, and for how many intervals of
            100 steps they may see no gain.
        seed, precision: of everything random, and of the arithmetic.

    After `fit`: `fit_` (status, history), `model_` (a `tenkai.flows.vae.VAE`), `held_out_` (ELBO,
    log-likelihood, latent variables in use), `columns_`, `seconds_`.

    Log densities are in nats per row, in the units of X; `bits_per_dim` for levels.

    Source: Kingma and Welling 2014; Rezende and Mohamed 2015; Kingma et al. 2016; van den Berg et
    al. 2018; Grathwohl et al. 2019, section 4.3; Burda et al. 2016 (importance weights).

    >>> import numpy as np, tenkai as tk
    >>> angle = np.random.default_rng(0).uniform(0, 6.28, 400)
    >>> x = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle)], axis=1)
    >>> vae = tk.FlowVAE(tk.flows.vae.IAFPosterior(), latent=2, steps=200).fit(x)
    >>> vae.encode(x).mean.shape, vae.sample(5).shape, vae.score_samples(x).shape
    ((400, 2), (5, 3), (400,))
    """

    def __init__(
        self,
        flow: PosteriorFamily | None = None,
        *,
        latent: int = 16,
        width: int = 256,
        depth: int = 2,
        activation: str = "silu",
        likelihood: Literal["auto", "bernoulli", "gaussian", "logistic", "categorical"] = "auto",
        warm_up: int = 500,
        steps: int = 5000,
        batch: int = 100,
        learning_rate: float = 1e-3,
        decay: float = 0.0,
        held_out: float = 0.1,
        patience: int = 20,
        seed: int = 0,
        precision: Literal["float32", "float64"] = "float32",
    ):
        self.flow = flow
        self.latent = latent
        self.width = width
        self.depth = depth
        self.activation = activation
        self.likelihood = likelihood
        self.warm_up = warm_up
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.decay = decay
        self.held_out = held_out
        self.patience = patience
        self.seed = seed
        self.precision = precision

    def fit(
        self, X: Any, y: Any = None, *, validation: Any = None, log: FilePath | str | None = None,
        progress: bool | None = None,
    ) -> FlowVAE:  # fmt: skip
        """Learn from a table (n, columns) or images (n, height, width); `y` is ignored.

        `validation` are rows that say when to stop, instead of a share of X. `log` is a
        history.jsonl; `progress` a bar (None: on a terminal or in a notebook).

        Raises `InputError` for rows or arguments that cannot work.
        """
        design = self._design()
        columns, x = Columns.of(X, self.likelihood)
        held = None if validation is None else columns.rows(validation)
        with arithmetic(self.precision):
            learned = learn(x, columns, design, held, log=log, progress=progress)
        self.columns_, self.design_, self.model_ = columns, design, learned.vae
        self.held_out_, self.shown_ = learned.held, columns.back(learned.shown)
        self.n_features_in_ = columns.dim
        self.seconds_ = learned.fit.seconds
        status = status_of(learned.held, learned.fit.status)
        made = learned.fit
        self.fit_ = Fit(self.model_, status, made.history, made.seconds, made.steps)
        return self

    def _design(self) -> Design:
        _check(self)
        return Design(
            self.flow or NoFlow(), self.latent, self.width, self.depth, self.activation,
            self.steps, self.batch, self.warm_up, float(self.learning_rate), float(self.decay),
            self.held_out, self.patience, self.seed,
        )  # fmt: skip

    def encode(self, X: Any, *, samples: int | None = None, seed: int = 0) -> Any:
        """The posterior of every row: a `Code` (mean, sd), or that many draws (n, samples, latent).

        Mean and standard deviation are those of 256 draws.
        """
        x = self._rows(X)
        if samples is not None:
            with arithmetic(self.precision):
                return evaluation.posterior_draws(self.model_, x, draws=samples, seed=seed)
        with arithmetic(self.precision):
            z = evaluation.posterior_draws(self.model_, x, draws=_MANY, seed=seed)
        return Code(z.mean(1), z.std(1))

    def transform(self, X: Any) -> Float[np.ndarray, "n latent"]:
        """One latent point per row: where the flow takes the centre of the row's normal."""
        with arithmetic(self.precision):
            return evaluation.posterior_centres(self.model_, self._rows(X))

    def decode(self, z: Any) -> np.ndarray:
        """``E[x | z]`` of latent points (n, latent), in the units and shape of X."""
        self._fitted()
        points = np.atleast_2d(np.asarray(z, float))
        if points.ndim != 2 or points.shape[1] != self.model_.latent:
            raise InputError(
                "z", expected=f"rows of {self.model_.latent} latent variables",
                got=f"shape {np.shape(z)}", do="pass what encode or transform gave",
            )  # fmt: skip
        with arithmetic(self.precision):
            return self.columns_.back(evaluation.expected_rows(self.model_, points))

    def reconstruct(self, X: Any, *, seed: int = 0) -> np.ndarray:
        """``E_q[E[x | z]]``: every row out of its own posterior, over 16 draws."""
        z = self.encode(X, samples=_DRAWS, seed=seed)
        made = self.decode(z.reshape(-1, z.shape[-1]))
        return made.reshape(len(z), _DRAWS, *made.shape[1:]).mean(1)

    def sample(self, n: int = 1, *, seed: int = 0, noise: bool = True) -> np.ndarray:
        """Rows drawn from the model, in the units and shape of X; `noise=False` gives their means.

        Latent points come from the prior. Bits, levels and labels come as unsigned bytes.
        """
        self._fitted()
        z = np.random.default_rng(seed).standard_normal((n, self.model_.latent))
        if not noise:
            return self.decode(z)
        with arithmetic(self.precision):
            rows = evaluation.drawn_rows(self.model_, z, seed=seed)
        small = self.columns_.discrete and self.columns_.levels <= 256
        made = self.columns_.back(rows)
        return made.astype(np.uint8) if small else made

    def score_samples(self, X: Any, *, importance: int = 64, seed: int = 0) -> np.ndarray:
        """``log 1/K sum_k p(x, z_k) / q(z_k | x)`` per row (n,), nats: a bound on ``log p(x)``.

        `importance` is K: the bound rises with it, towards log p(x) (Burda et al. 2016). Grey rows
        of a Bernoulli likelihood are drawn as bits once, by the seed.
        """
        return self._bounds(X, importance, seed).log_p - self.columns_.log_units

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`."""
        return float(np.mean(self.score_samples(X)))

    def elbo(self, X: Any, *, samples: int = 16, seed: int = 0) -> np.ndarray:
        """The ELBO per row (n,) in nats, over that many draws; published is minus its mean."""
        return self._bounds(X, samples, seed).elbo - self.columns_.log_units

    def bits_per_dim(self, X: Any, *, importance: int | None = None, seed: int = 0) -> float:
        """Mean bits per column by the ELBO, as is published; by `importance` weights where given.

        Raises `InputError` for real numbers, whose density has no bits.
        """
        self._fitted()
        if not self.columns_.discrete:
            raise InputError(
                "bits_per_dim", expected="bits, levels or labels", got="real numbers",
                do="use score_samples or elbo",
            )  # fmt: skip
        if importance is None:
            logs = self.elbo(X, seed=seed)
        else:
            logs = self.score_samples(X, importance=importance, seed=seed)
        return -float(np.mean(logs)) / self.columns_.dim / float(np.log(2))

    def nfe(self, X: Any, *, rtol: float = 1e-5) -> Float[np.ndarray, " n"]:
        """Evaluations of the posterior's field per row, solved adaptively: FFJORD's price.

        Raises `InputError` where the posterior is no continuous flow.
        """
        from ..flows.vae.low_rank import at_tolerance

        x = self._rows(X)
        with arithmetic(self.precision):
            return evaluation.bounds(at_tolerance(self.model_, rtol), x, draws=1).nfe

    def summary(self) -> str:
        """A few lines in words: what was learned and how good it is."""
        self._fitted()
        notes = self.fit_.status.notes
        return "\n".join([repr(self), str(self.fit_.status), *notes])

    def save(self, path: FilePath | str) -> None:
        """One safetensors file: networks, likelihood, columns, and up to 16 rows for pictures."""
        self._fitted()
        from .flow_vae_saving import save

        save(self, path)

    def _rows(self, X: Any) -> np.ndarray:
        self._fitted()
        return self.columns_.rows(X)

    def _bounds(self, X: Any, draws: int, seed: int) -> Bounds:
        x = self._rows(X)
        if draws < 1:
            raise InputError(
                "samples", expected="at least one draw", got=repr(draws), do="raise it"
            )
        if self.columns_.kind == "bernoulli":
            x = as_bits(x, seed)
        with arithmetic(self.precision):
            return evaluation.bounds(self.model_, x, draws=draws, seed=seed)


def _check(vae: FlowVAE) -> None:
    """Raise `InputError` for an argument that cannot work."""
    check_activation(vae.activation)
    if vae.flow is not None and not isinstance(vae.flow, PosteriorFamily):
        raise InputError(
            "flow", expected="a family of posteriors out of tenkai.flows.vae, or None",
            got=repr(vae.flow), do="pass tk.flows.vae.IAFPosterior(), say",
        )  # fmt: skip
    check_numbers(vae, _LEAST, _BETWEEN, _ALLOWED)
