"""Hidden equations as problems: of a latent ODE over its series, of a classifier over its depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..unfold import TABLEAUX
from .problem import Problem, count, profilable

_SERIES, _IMAGES = 64, 16
_SHARE = 0.1  # of the noise: what solving may add to it unseen
_DEPTH = 1e-3  # of the states' range: what is published for classes


@runtime_checkable
class Latent(Protocol):
    """A fitted latent ODE, by what it can do. It also has `predictor_`, `data_`, `precision`."""

    def encode(self, data: Any = None, t: Any = None) -> Any: ...
    def latent_path(self, times: Any = None) -> Any: ...


@runtime_checkable
class InDepth(Protocol):
    """A fitted classifier by an ODE, by what it can do. It also has `model_`."""

    def hidden(self, X: Any, depths: Any = 1.0) -> np.ndarray: ...
    def accuracy_by_tolerance(self, X: Any, y: Any, rtols: Sequence[float] = ()) -> Any: ...


@profilable.register(Latent)
def _(model: Any, data: Any = None) -> Problem:
    """Every series from the mean of its posterior to its last observation."""
    if not hasattr(model, "predictor_"):
        raise _unfitted(model)
    series = [s for s in (model.data_ if data is None else data) if len(s) > 1]
    if not series:
        raise InputError(
            "data", expected="a series of two times or more", got="single observations",
            do="pass longer ones",
        )  # fmt: skip
    notes = [f"{_SERIES} of {len(series)} series were solved"] if len(series) > _SERIES else []
    keep = np.linspace(0, len(series) - 1, min(len(series), _SERIES)).round().astype(int)
    chosen = [series[i] for i in keep]
    predictor = model.predictor_
    found = predictor.encode(chosen)
    learned = predictor.model
    spans = [(s.t[-1] - s.t[0]) / predictor.units.span for s in chosen]
    slopes = np.asarray(jax.vmap(jax.jacobian(learned.decoder))(np.asarray(found.mean)))
    reach = np.linalg.norm(slopes, axis=2).max(0)
    noise = np.exp(np.asarray(learned.log_noise))
    return Problem(
        field=learned.field,
        y0=np.asarray(found.mean, float),
        span=np.stack([np.zeros(len(spans)), spans], axis=1),
        scale=np.ones(learned.latent),
        unit="the prior's standard deviation",
        tolerance=float(np.clip(_SHARE * np.min(noise / np.maximum(reach, 1e-9)), 1e-5, 1e-1)),
        because="a tenth of the noise, seen through the decoder",
        precision=model.precision,
        subject=f"{type(model).__name__}: {len(chosen)} series of "
        f"{count(learned.latent, 'latent variable')}",
        notes=tuple(notes),
    )


class Flat(eqx.Module):
    """A block on states that were laid out as vectors."""

    block: Any
    shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, t: Any, y: Float[Array, " dim"], args: Any = None) -> Array:
        return self.block(t, y.reshape(self.shape)).reshape(-1)


@profilable.register(InDepth)
def _(model: Any, data: Any = None) -> Problem:
    """Rows, which must be given, from the stem's output to the head's input."""
    if not hasattr(model, "model_"):
        raise _unfitted(model)
    body = model.model_.body
    if not hasattr(body, "block"):
        raise InputError(
            type(model).__name__, expected="a body that is solved: ODE or RungeKutta",
            got="residual blocks", do="fit with body=tk.classifiers.ODE()",
        )  # fmt: skip
    if data is None:
        raise InputError(
            "data", expected="rows to classify", got="none: a classifier keeps no rows",
            do="pass some, as to predict",
        )  # fmt: skip
    rows = data[:_IMAGES]
    begun = model.hidden(rows, [0.0])[0]
    solver = body.solver
    now = (TABLEAUX[solver.method], solver.steps) if solver.rtol is None else None
    return Problem(
        field=Flat(body.block, begun.shape[1:]),
        y0=begun.reshape(len(begun), -1).astype(float),
        span=np.array([0.0, 1.0]),
        points=1,
        tolerance=_DEPTH,
        because="a thousandth, as published",
        precision=model.precision_,
        current=now,
        subject=f"{type(model).__name__}: {count(len(begun), 'row')} of state {begun.shape[1:]}",
        notes=(f"At most {_IMAGES} rows were solved",),
    )


def _unfitted(model: Any) -> InputError:
    return InputError(
        type(model).__name__, expected="a fitted estimator", got="one that never saw data",
        do="call fit first",
    )  # fmt: skip
