"""`FlowDensity`: the density of a table, by normalizing flows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)

from ..devices import arithmetic
from ..flows import checks, held_out, target
from ..flows.density import Density
from ..flows.evaluation import Tolerance
from ..flows.flow import Architecture
from ..flows.learning import learn
from ..flows.recipe import Recipe, default_architecture
from ..flows.whitening import Shaping, Whitening
from ..records import Fit, Status
from . import density_border as border
from . import density_judgement as judgement

if TYPE_CHECKING:
    from sklearn.utils import Tags

Auto = Literal["auto"]
_KEPT = 5000  # rows that the estimator keeps, for pictures


class FlowDensity(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator
):  # fmt: skip
    """Learns the density of the rows of a table, in nats in the units of the table.

    ``log p(x) = log N(z; 0, I) + log |det dz/dx|`` where a flow carries ``x`` to ``z``: by default
    the solution of a differential equation (FFJORD), regularised, several of them as an ensemble
    ``p = sum_k w_k p_k``. Columns are shaped and whitened inside, which the density accounts for.
    Flows train on fixed grids; densities and samples are solved adaptively, row by row, in float64,
    with exact divergence where the field has it in closed form or up to 64 columns.

    Args:
        flow: an architecture of `tenkai.flows`, as ``tk.flows.RealNVP()``; None chooses one by
            rows and columns.
        members: flows in the ensemble; each leaves out rows of its own, which judge it.
        matching, steps: optimiser steps of flow matching, which comes first in continuous flows
            and solves nothing, and of likelihood.
        batch, rate: rows in a step, and Adam's learning rate.
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
        rate: float = 2e-3,
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
        self.rate = rate
        self.noise: float | Auto = noise
        self.decay: float | Auto = decay
        self.kinetic: float | Auto = kinetic
        self.jacobian: float | Auto = jacobian
        self.straight: float | Auto = straight
        self.jitter = jitter
        self.compare = compare
        self.seed = seed
        self.precision = precision

    @border.all_or_nothing
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
        """Learn from rows `X` (n, dim), an array or a DataFrame; `y` is ignored.

        With `context` (n, k) the density is ``p(x | context)``. `log` is a history.jsonl,
        `progress` a bar (None: on a terminal or in a notebook), `checkpoint` a folder from which an
        interrupted fit goes on.

        Raises `InputError` for NaN, columns that are no numbers, constant, copies of others or
        linear in them, fewer rows than columns, and arguments that cannot work.
        """
        border.check_arguments(self)
        x = border.table(self, X, reset=True)
        names = border.column_names(X, x.shape[1])
        c, known = (None, ()) if context is None else border.contexts(context, len(x))
        notes = checks.check_singular(x, names)
        if c is not None:
            checks.check_fixed(x, c, names)
        architecture = self.flow or default_architecture(x.shape[1], len(x))
        border.check_trains(architecture, "fit")
        repeats = checks.repeats(x, names)
        shaping = Shaping.fit(x)
        scaled = None if c is None else Whitening.standardising(c)
        known_z = None if c is None or scaled is None else scaled.forward(c)
        with arithmetic(self.precision):
            learned = learn(
                shaping.forward(x), known_z, architecture, self._recipe(), seed=self.seed, log=log,
                progress=progress, checkpoint=checkpoint,
            )  # fmt: skip
        self.names_, self.context_names_, self.repeats_ = names, known, repeats
        self.matched_ = None
        self.architecture_ = architecture
        self._keep(Density(_numpy(learned.model), shaping, scaled), x, c)
        logs = learned.held_out + shaping.log_det(x)
        self.held_out_ = held_out.compare(x, c, logs, simple=self.compare, seed=self.seed)
        self.seconds_ = dict(learned.seconds)
        solves = self._examine(x, c)
        told = (*repeats.notes, *notes, *learned.notes, *border.price_of(architecture))
        last = learned.fits[-1]
        told += judgement.uncompared(self.held_out_, self.compare)
        status = judgement.status_of(last.status, self.held_out_, solves, told)
        self._finish(status, learned.history, sum(made.steps for made in learned.fits))
        return self

    @border.all_or_nothing
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
        border.check_arguments(self)
        dim = border.count_of(dim, "dim", "variables")
        centre, width = (
            border.per_variable(n, v, dim) for n, v in (("mean", mean), ("scale", scale))
        )
        places = centre + width * np.random.default_rng(self.seed).normal(size=(256, dim))
        with arithmetic(self.precision):
            border.check_target(log_density, places)
        architecture = self.flow or default_architecture(dim, 1000)
        border.check_trains(architecture, "match")
        placed = target.Placed(log_density, tuple(centre.tolist()), tuple(width.tolist()))
        with arithmetic(self.precision):
            mixture, made = target.match(
                placed, architecture, self._recipe(), seed=self.seed, log=log, progress=progress,
                checkpoint=checkpoint,
            )  # fmt: skip
        self.n_features_in_ = dim
        vars(self).pop("feature_names_in_", None)  # of an earlier `fit`
        self.names_, self.context_names_ = border.column_names(None, dim), ()
        self.held_out_ = self.repeats_ = None
        whitening = Whitening(centre, np.diag(1 / width), np.diag(width))
        density = Density(_numpy(mixture), Shaping.straight(whitening))
        self.architecture_ = architecture
        self.matched_, x = target.judge(density, log_density, self.seed)
        self._keep(density, x, None)
        self.seconds_ = {"density matching": made.seconds}
        status = judgement.status_of_match(
            made.status, self.matched_, self._examine(x, None), border.price_of(architecture)
        )
        self._finish(status, list(made.history), made.steps)
        return self

    def _recipe(self) -> Recipe:
        names = (
            "members", "matching", "steps", "batch", "noise", "decay", "kinetic", "jacobian",
            "straight",
        )  # fmt: skip
        chosen = {n: getattr(self, n) for n in names if getattr(self, n) != border.AUTO}
        return Recipe(**chosen, rate=self.rate, jitter=self.jitter)

    def _keep(self, density: Density, x: np.ndarray, c: np.ndarray | None) -> None:
        """The density, and some rows for pictures."""
        few = np.sort(np.random.default_rng(self.seed).permutation(len(x))[:_KEPT])
        self.density_, self.model_ = density, density.mixture
        self.data_, self.context_ = x[few], None if c is None else c[few]
        self._n_features_out = density.dim

    def _examine(self, x: np.ndarray, c: np.ndarray | None) -> judgement.Solves | None:
        solves = judgement.examine(self.density_, x, c, self.seed)
        self.nfe_ = None if solves is None else solves.nfe
        self.stiffness_ = None if solves is None else solves.stiffness
        self.discretisation_ = None if solves is None else solves.discretisation
        return solves

    def _finish(self, status: Status, history: list[dict[str, Any]], steps: int) -> None:
        self.fit_ = Fit(self.model_, status, history, sum(self.seconds_.values()), steps)

    def score_samples(self, X: Any, context: Any = None) -> Float[np.ndarray, " n"]:
        """Log density of every row, in nats and the units of X; -inf where the flow loses a row."""
        border.require_fitted(self)
        x = border.table(self, X, reset=False)
        return self.density_.log_density(x, border.given(self, context, len(x)))

    def score(self, X: Any, y: Any = None, context: Any = None) -> float:
        """Mean log density per row, as scikit-learn's `GaussianMixture` (not a sum)."""
        return float(np.mean(self.score_samples(X, context)))

    def sample(
        self, n: int = 1, context: Any = None, *, seed: int | None = None
    ) -> Float[np.ndarray, "n dim"]:
        """`n` rows drawn from the density; `context` is one for all, or one for each."""
        border.require_fitted(self)
        count = border.count_of(n)
        known = border.given(self, context, count)
        seed = self.seed if seed is None else seed
        border.check_seed(seed)
        return self.density_.sample(count, known, seed)

    def transform(self, X: Any, context: Any = None) -> Float[np.ndarray, "n dim"]:
        """Rows to the base, where they are standard normal; of an ensemble, by the best member."""
        border.require_fitted(self)
        x = border.table(self, X, reset=False)
        return self.density_.to_base(x, border.given(self, context, len(x)))

    def inverse_transform(self, Z: Any, context: Any = None) -> Float[np.ndarray, "n dim"]:
        """Rows of the base to the units of X, the inverse of `transform`."""
        border.require_fitted(self)
        z = border.base_rows(Z, self.n_features_in_)
        return self.density_.to_data(z, border.given(self, context, len(z)))

    def frames(
        self, x: Any, fractions: Any, context: Any = None
    ) -> Float[np.ndarray, "frames n dim"]:
        """Where rows of data `x` stand at fractions of the flow, from base (0) to data (1).

        In the units of X: at 0 a normal of the data's place and size, at 1 `x` itself. Of an
        ensemble, by the best member. Raises `InputError` for flows that have no time.
        """
        border.require_fitted(self)
        x = border.table(self, x, reset=False)
        at = border.fractions_of(fractions)
        return self.density_.frames(x, at, border.given(self, context, len(x)))

    def frame_density(self, x: Any, fraction: float, context: Any = None) -> np.ndarray:
        """Log density (n,) at rows `x` of the flow stopped at a fraction; see `frames`."""
        border.require_fitted(self)
        x = border.table(self, x, reset=False)
        at = float(border.fractions_of(fraction)[0])
        return self.density_.log_density_at(x, at, border.given(self, context, len(x)))

    def with_tolerance(self, rtol: float = 1e-5, atol: float | None = None) -> FlowDensity:
        """The same density, solved with other tolerances; `atol` is `rtol` unless told.

        Without it both are 1e-6.

        Raises `InputError` for flows that are not solved.
        """
        border.require_fitted(self)
        both = border.tolerance_of(rtol, atol)
        other = copy.copy(self)
        other.density_ = self.density_.with_tolerance(Tolerance(*both))
        return other

    def plot(self, **options: Any) -> Any:
        """A figure of the density beside the rows."""
        border.require_fitted(self)
        from .. import report

        return report.plot(self, **options)

    def animate(self, path: Path | str, *, columns: Any = None) -> Path:
        """An animation of the flow in one HTML file that needs nothing else; returns its path.

        Points move from the base to the data. Of more than two variables `columns`, two names or
        numbers, says which are seen (default: the first two). Raises `InputError` for one variable
        and for flows that have no time.
        """
        border.require_fitted(self)
        from .. import report

        return report.animation(self, path, columns=columns)

    def summary(self) -> str:
        """A few lines in words: what was learned and how good it is."""
        border.require_fitted(self)
        found = self.held_out_ or self.matched_
        lines = [repr(self), str(self.fit_.status), *([] if found is None else [str(found)])]
        if self.nfe_ is not None:
            lines.append(
                f"{self.nfe_.mean:.0f} evaluations of the field per row ({self.nfe_.max:.0f} at "
                f"most) at tolerance 1e-5, stiffness {self.stiffness_:.2g}"
            )
        return "\n".join([*lines, *self.fit_.status.notes])

    def save(self, path: Path | str) -> None:
        """One safetensors file: flows, scaling, and the rows in `data_`."""
        border.require_fitted(self)
        from .flow_density_saving import save

        save(self, path)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fit_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = False
        return tags


def _numpy(tree: Any) -> Any:
    """Arrays as NumPy, so that estimators pickle and survive other precisions."""
    import equinox as eqx
    import jax

    return jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, tree)
