"""`FlowDensity`: the density of a table, by normalizing flows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)

from ..errors import InputError
from ..flows.evaluation import Tolerance
from ..flows.flow import Architecture
from ..flows.images.pixels import bits_per_dim
from . import density_arguments as arguments
from . import density_border as border
from . import density_fitting as fitting
from . import density_images as images
from .density_state import LearnedDensity
from .sklearn_border import RowEstimator, all_or_nothing, require_fitted

Auto = Literal["auto"]


class FlowDensity(
    RowEstimator, LearnedDensity, ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin,
    BaseEstimator,
):  # fmt: skip
    """Learns the density of the rows of a table, in nats in the units of the table, or of images.

    ``log p(x) = log N(z; 0, I) + log |det dz/dx|`` where a flow carries ``x`` to ``z``: by default
    the solution of a differential equation (FFJORD), regularised, several of them as an ensemble
    ``p = sum_k w_k p_k``. Columns are shaped and whitened inside, which the density accounts for.
    Flows train on fixed grids; densities and samples are solved adaptively, row by row, in float64,
    with exact divergence where the field has it in closed form or up to 64 columns.

    Images of whole grey levels, (n, h, w) or (n, h, w, channels), are learned by flows of images:
    see `tenkai.flows.images.ImageDensity`; they take no members, matching, noise or jitter.

    Args:
        flow: an architecture of `tenkai.flows`, as ``tk.flows.RealNVP()``, of images as
            ``tk.flows.MultiscaleFFJORD((28, 28, 1))``; None chooses one by rows and columns.
        members: flows in the ensemble; each leaves out rows of its own, which judge it.
        matching, steps: optimiser steps of flow matching, which comes first in continuous flows
            and solves nothing, and of likelihood.
        batch, rate: rows in a step, and Adam's learning rate ("auto": 2e-3, of images 1e-2).
        noise, decay: standard deviation of noise on (shaped) rows, and weight decay.
        kinetic, jacobian: weights of the energy of the paths and of the field's Jacobian, which
            keep a continuous flow cheap to solve (Finlay et al. 2020).
        straight: weight of how far paths are from straight lines at constant speed.
        jitter: the end time is drawn from T (1 ± jitter) in training (Ghosh et al. 2020).
        compare: fit a Gaussian, a Gaussian mixture and a kernel density to the same held-out task.
        seed, precision: of everything random, and of the arithmetic of training.

    After `fit`: `fit_` (status, history), `architecture_`, `model_` (a `Mixture` of flows),
    `density_` (the whole density), `held_out_` (log density of rows that members did not see,
    beside simple densities), `repeats_` (duplicate rows and atoms), `nfe_` (evaluations of the
    field per row at tolerance 1e-5, mean and max), `stiffness_` (median ratio of the largest to the
    smallest rate of the flow), `discretisation_` (whether it is an equation or a discrete map),
    `data_` and `context_` (up to 5000 rows, for pictures; they are saved with the model),
    `settings_` (what every "auto" became), `images_` (shape, type and levels, of images),
    `seconds_`. After `match`: `matched_` (ELBO, log normaliser, effective sample size) instead of
    `held_out_` and `repeats_`.

    Source: Grathwohl et al. 2019; Chen et al. 2018; Lipman et al. 2023 (flow matching).

    >>> import numpy as np, tenkai as tk
    >>> x = np.random.default_rng(0).normal(5.0, 2.0, size=(200, 1))
    >>> density = tk.FlowDensity(members=1, matching=50, steps=20).fit(x)
    >>> density.score_samples(x).shape, density.sample(3).shape
    ((200,), (3, 1))
    """

    def __init__(
        self,
        flow: Architecture | None = None,
        *,
        members: int | Auto = "auto",
        matching: int | Auto = "auto",
        steps: int | Auto = "auto",
        batch: int | Auto = "auto",
        rate: float | Auto = "auto",
        noise: float | Auto = "auto",
        decay: float | Auto = "auto",
        kinetic: float | Auto = "auto",
        jacobian: float | Auto = "auto",
        straight: float | Auto = "auto",
        jitter: float = 0.0,
        compare: bool = True,
        seed: int = 0,
        precision: Literal["float32", "float64"] = "float32",
    ):
        self.flow = flow
        self.members: int | Auto = members
        self.matching: int | Auto = matching
        self.steps: int | Auto = steps
        self.batch: int | Auto = batch
        self.rate: float | Auto = rate
        self.noise: float | Auto = noise
        self.decay: float | Auto = decay
        self.kinetic: float | Auto = kinetic
        self.jacobian: float | Auto = jacobian
        self.straight: float | Auto = straight
        self.jitter = jitter
        self.compare = compare
        self.seed = seed
        self.precision = precision

    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        context: Any = None,
        log: Path | str | None = None,
        progress: bool | None = None,
        checkpoint: Path | str | None = None,
    ) -> FlowDensity:
        """Learn from rows `X` (n, dim), an array or a DataFrame, or images; `y` is ignored.

        With `context` (n, k) the density is ``p(x | context)``. `log` is a history.jsonl,
        `progress` a bar (None: on a terminal or in a notebook), `checkpoint` a folder from which an
        interrupted fit goes on.

        Raises `InputError` for NaN, columns that are no numbers, constant, copies of others or
        linear in them, fewer rows than columns, and arguments that cannot work.
        """
        arguments.check_arguments(self)
        options = fitting.Watching(log=log, progress=progress, checkpoint=checkpoint)
        if images.is_images(X, self.flow):
            images.learn_images(self, X, context, options)
        else:
            fitting.learn_rows(self, X, context, options)
        return self

    @all_or_nothing
    def match(
        self,
        log_density: Callable,
        dim: int,
        *,
        mean: Any = 0.0,
        scale: Any = 1.0,
        log: Path | str | None = None,
        progress: bool | None = None,
        checkpoint: Path | str | None = None,
    ) -> FlowDensity:
        """Learn an unnormalised log density ``log_density(x: (dim,)) -> ()`` instead of rows.

        Minimises ``E_q[log q(x) - log p~(x)]`` over samples of the flow q (reverse KL, Rezende and
        Mohamed 2015), so a mode that q never visits is missed. `mean` and `scale`, numbers or
        (dim,), say where the mass lies. See `matched_` for how near it came. There are no rows, so
        `matching`, `noise`, `straight`, `jitter` and `compare` do nothing.

        Raises `InputError` for a target that is not one finite number per row, or has no slope.

        >>> import jax.numpy as jnp, tenkai as tk
        >>> ring = lambda x: -0.5 * ((jnp.sqrt(jnp.sum(x**2)) - 2) / 0.4) ** 2
        >>> density = tk.FlowDensity(steps=100).match(ring, dim=2)
        >>> density.sample(3).shape
        (3, 2)
        """
        arguments.check_arguments(self)
        options = fitting.Watching(log=log, progress=progress, checkpoint=checkpoint)
        fitting.match_target(self, log_density, dim, mean, scale, options)
        return self

    def score_samples(self, X: Any, context: Any = None) -> Float[np.ndarray, " n"]:
        """Log density of every row, in nats and the units of X; -inf where the flow loses a row.

        Of images the mean of ``log p(x + u)`` over four draws of uniform noise, nats per image.
        """
        require_fitted(self)
        x = images.rows_of(self, X)
        return self.density_.log_density(x, border.given(self, context, len(x)))

    def score(self, X: Any, y: Any = None, context: Any = None) -> float:
        """Mean log density per row, as scikit-learn's `GaussianMixture` (not a sum)."""
        return float(np.mean(self.score_samples(X, context)))

    def bits_per_dim(self, X: Any) -> float:
        """Mean bits per pixel and channel of images, ``-log p / (dim log 2)``, as is published.

        Raises `InputError` for tables of real numbers, whose density has no bits.
        """
        require_fitted(self)
        if self.images_ is None:
            raise InputError(
                "bits_per_dim", expected="a density of images", got="one of real numbers",
                do="use score, in nats",
            )  # fmt: skip
        return float(bits_per_dim(self.score(X), self.density_.dim))

    def sample(
        self, n: int = 1, context: Any = None, *, seed: int | None = None
    ) -> Float[np.ndarray, "n dim"]:
        """`n` rows or images drawn from the density; `context` is one for all, or one for each."""
        require_fitted(self)
        count = arguments.count_of(n)
        known = border.given(self, context, count)
        seed = self.seed if seed is None else seed
        arguments.check_seed(seed)
        return images.as_given(self, self.density_.sample(count, known, seed))

    def transform(self, X: Any, context: Any = None) -> Float[np.ndarray, "n dim"]:
        """Rows to the base, where they are standard normal; of an ensemble, by the best member."""
        require_fitted(self)
        x = images.rows_of(self, X)
        return self.density_.to_base(x, border.given(self, context, len(x)))

    def inverse_transform(self, Z: Any, context: Any = None) -> Float[np.ndarray, "n dim"]:
        """Rows of the base to the units of X, the inverse of `transform`."""
        require_fitted(self)
        z = border.base_rows(Z, self.n_features_in_)
        rows = self.density_.to_data(z, border.given(self, context, len(z)))
        return images.as_given(self, rows)

    def frames(
        self, x: Any, fractions: Any, context: Any = None
    ) -> Float[np.ndarray, "frames n dim"]:
        """Where rows of data `x` stand at fractions of the flow, from base (0) to data (1).

        In the units of X: at 0 a normal of the data's place and size, at 1 `x` itself. Of an
        ensemble, by the best member. Raises `InputError` for flows that have no time.
        """
        require_fitted(self)
        x = images.rows_of(self, x)
        at = arguments.fractions_of(fractions)
        return self.density_.frames(x, at, border.given(self, context, len(x)))

    def frame_density(self, x: Any, fraction: float, context: Any = None) -> np.ndarray:
        """Log density (n,) at rows `x` of the flow stopped at a fraction; see `frames`."""
        require_fitted(self)
        x = images.rows_of(self, x)
        at = float(arguments.fractions_of(fraction)[0])
        return self.density_.log_density_at(x, at, border.given(self, context, len(x)))

    def with_tolerance(self, rtol: float = 1e-5, atol: float | None = None) -> FlowDensity:
        """The same density, solved with other tolerances; `atol` is `rtol` unless told.

        Raises `InputError` for flows that are not solved.
        """
        require_fitted(self)
        both = arguments.tolerance_of(rtol, atol)
        other = copy.copy(self)
        other.density_ = self.density_.with_tolerance(Tolerance(*both))
        return other

    def animate(self, path: Path | str, *, columns: Any = None) -> Path:
        """An animation of the flow in one HTML file that needs nothing else; returns its path.

        Points move from the base to the data. Of more than two variables `columns`, two names or
        numbers, says which are seen (default: the first two). Raises `InputError` for one variable
        and for flows that have no time.
        """
        require_fitted(self)
        from .. import report

        return report.animation(self, path, columns=columns)

    def _further(self) -> list[str]:
        found = self.held_out_ or self.matched_
        lines = [] if found is None else [str(found)]
        if self.nfe_ is not None:
            lines.append(
                f"{self.nfe_.mean:.0f} evaluations of the field per row ({self.nfe_.max:.0f} at "
                "most) at tolerance 1e-5"
                + ("" if self.stiffness_ is None else f", stiffness {self.stiffness_:.2g}")
            )
        return lines

    def save(self, path: Path | str) -> None:
        """One safetensors file: flows, scaling, and the rows in `data_`."""
        require_fitted(self)
        from .flow_density_saving import save

        save(self, path)
