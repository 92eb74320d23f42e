"""Learned trajectories as problems: the mean field of an ensemble, in standardised units."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..curriculum.problem import drivers_of
from ..data import Series, Trajectories
from ..errors import InputError
from ..models.ensemble import Ensemble
from ..solve.grid import Sampled
from .problem import EXACT_ENOUGH, Problem, count, profilable

_ROWS = 32
_SHARE = 0.1  # of the noise: what solving may add to it unseen


@runtime_checkable
class Dynamics(Protocol):
    """A fitted estimator of trajectories, by what it can do.

    It also has `predictor_` (ensemble, calibration), `data_` and `precision`.
    """

    def vector_field(self) -> Any: ...
    def equilibria(self, u: Any = None) -> Any: ...
    def sensitivity(self, t: Any = None) -> Any: ...


class Mean(eqx.Module):
    """The mean of the members' fields; `args` are the times and values of a row's inputs."""

    fields: PyTree
    hold: str = eqx.field(static=True)

    def __call__(self, t: Any, z: Float[Array, " dim"], args: Any = None) -> Array:
        u = None if args is None else Sampled(args[0], args[1], self.hold)(t)
        each = eqx.filter_vmap(lambda f: f(t, z, u), in_axes=(eqx.if_array(0),))(self.fields)
        return each.mean(0)


@profilable.register(Dynamics)
def _(model: Any, data: Any = None) -> Problem:
    """Every series from its learned start to its last observation."""
    if not hasattr(model, "predictor_"):
        raise InputError(
            type(model).__name__, expected="a fitted estimator", got="one that never saw data",
            do="call fit first",
        )  # fmt: skip
    predictor = model.predictor_
    ensemble: Ensemble = predictor.ensemble
    series, starts = _started(model, predictor, data)
    notes = [] if sum(ensemble.trusted) == 1 else ["Solved is the mean of the members' fields"]
    if len(series) > _ROWS:
        notes.append(f"{_ROWS} of {len(series)} series were solved")
        keep = np.linspace(0, len(series) - 1, _ROWS).round().astype(int)
        series, starts = [series[i] for i in keep], starts[:, keep]
    tau = [ensemble.time.forward(s.t) for s in series]
    steps = [int(np.ceil(np.diff(t) / ensemble.step).sum()) for t in tau]
    tolerance, because = _tolerance(predictor.calibration.noise)
    names = count(len(series), "series").replace("seriess", "series")
    return Problem(
        field=Mean(_trusted(ensemble), "previous" if ensemble.held else "linear"),
        y0=starts[ensemble.trusted].mean(0),
        span=np.array([[t[0], t[-1]] for t in tau]),
        args=_inputs(ensemble, series, tau),
        scale=np.ones(ensemble.dim),
        unit="the data's standard deviation",
        tolerance=tolerance,
        because=because,
        precision=model.precision,
        current=(ensemble.tableau, max(1, *steps)),
        subject=f"{type(model).__name__}: {names} of {count(ensemble.dim, 'variable')}",
        notes=tuple(notes),
    )


def _started(model: Any, predictor: Any, data: Any) -> tuple[list[Series], np.ndarray]:
    """The series and the members' states (members, series, dim) where they start."""
    if data is None:
        known: Trajectories = model.data_
        found, starts = list(known), predictor.ensemble.starts
    else:
        if not isinstance(data, Trajectories) or data.names != model.data_.names:
            raise InputError(
                "data", expected=f"Trajectories of {', '.join(model.data_.names)}",
                got=type(data).__name__, do="make them as those the model was fitted to",
            )  # fmt: skip
        pairs = predictor.begin(data)
        found, starts = [s for s, _ in pairs], np.stack([z for _, z in pairs], 1)
    longer = [i for i, s in enumerate(found) if len(s) > 1]
    if not longer:
        raise InputError(
            "data", expected="a series of two times or more", got="single observations",
            do="profile the field itself: tk.profile(model.vector_field(), (y0, t))",
        )  # fmt: skip
    return [found[i] for i in longer], starts[:, longer]


def _trusted(ensemble: Ensemble) -> PyTree:
    fields, rest = eqx.partition(ensemble.fields, eqx.is_array)
    which = np.flatnonzero(ensemble.trusted)
    return eqx.combine(jax.tree.map(lambda a: np.asarray(a)[which], fields), rest)


def _tolerance(noise: np.ndarray) -> tuple[float, str]:
    least = float(np.min(noise)) if len(noise) else 0.0
    if not (np.isfinite(least) and least > 0):
        return EXACT_ENOUGH, "a thousandth"
    return float(np.clip(_SHARE * least, 1e-5, 1e-1)), "a tenth of the noise"


def _inputs(ensemble: Ensemble, series: list[Series], tau: list[np.ndarray]) -> Any:
    """Times (rows, most) and inputs (rows, most, k) of every row, the last ones repeated."""
    if ensemble.inputs is None:
        return None
    most = max(map(len, series))
    ts, us = [], []
    for one, t in zip(series, tau, strict=True):
        u = ensemble.inputs.forward(drivers_of(one.u, one.static, len(one)))
        missing = most - len(t)
        ts.append(np.concatenate([t, t[-1] + 1.0 + np.arange(missing)]))
        us.append(np.concatenate([u, np.repeat(u[-1:], missing, axis=0)]))
    return np.stack(ts), np.stack(us)
