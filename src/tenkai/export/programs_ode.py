"""`NeuralODE` as a program: its field, its simulation, its forecast with intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..curriculum.problem import drivers_of
from ..estimators.border import with_covariates
from ..estimators.neural_ode import NeuralODE
from ..models.ensemble import Ensemble
from ..unfold import Interval, runge_kutta
from .program import Argument, Function, Program
from .programs import Wanted, build, over_members, shown

_SLACK = 1e-6  # of a step, by which a gap may be longer: that of `models.grid.substeps`


@build.register
def _(model: NeuralODE, wanted: Wanted) -> Program:
    model._fitted()
    ensemble, names = model.predictor_.ensemble, state_names(model)
    functions = (
        _field(model, names), _simulate(model, names), _forecast(model, wanted.coverage),
    )  # fmt: skip
    members = int(ensemble.trusted.sum())
    notes = (
        f"mean of {members} networks" if members > 1 else "one network",
        f"time in units of {model.data_.time_name or 'the data'}; "
        f"{ensemble.tableau.name} with steps of at most "
        f"{ensemble.step * float(ensemble.time.scale):.6g}",
        *(() if not model.data_.n_inputs else (
            "inputs are held over a step" if ensemble.held else "inputs run straight between times",
        )),
    )  # fmt: skip
    title = f"NeuralODE of {', '.join(model.data_.names)}"
    trusted = shown(ensemble.fields, np.flatnonzero(ensemble.trusted))
    named = {"field": trusted, "state": ensemble.state, "inputs": ensemble.inputs}
    return Program(title, functions, notes, named)


def state_names(model: NeuralODE) -> tuple[str, ...]:
    """What the numbers of a whole state are: variables, their velocities, hidden dimensions."""
    ensemble, names = model.predictor_.ensemble, model.data_.names
    velocities = () if ensemble.velocity_units is None else tuple(f"velocity of {n}" for n in names)
    hidden = ensemble.dim - ensemble.given
    return (*names, *velocities, *(f"hidden {i + 1}" for i in range(hidden)))


def _field(model: NeuralODE, names: tuple[str, ...]) -> Function:
    field, data = model.vector_field(), model.data_
    timed, driven = _reads_time(model), bool(data.n_inputs)

    def vector_field(*given: Array) -> Array:
        t, y, u = _sorted(given, timed, driven)
        return field(0.0 if t is None else t, y, u)

    dim = len(names)
    arguments = [Argument("y", (dim,), f"state: {', '.join(names)}")]
    if timed:
        arguments.insert(0, Argument("t", (), "time"))
    if driven:
        arguments.append(Argument("u", (data.n_inputs,), f"inputs: {', '.join(data.input_names)}"))
    return Function(
        "vector_field", vector_field, tuple(arguments),
        ("rate",), "The learned field dy/dt = f(y), per unit of time: the mean of the members.",
    )  # fmt: skip


def _reads_time(model: NeuralODE) -> bool:
    """A network says so; a field of the user may."""
    return model.time_dependent or model.field is not None


def _sorted(given: tuple[Array, ...], timed: bool, driven: bool) -> tuple[Any, Array, Any]:
    rest = list(given)
    t = rest.pop(0) if timed else None
    return t, rest[0], rest[1] if driven else None


def paths(ensemble: Ensemble) -> Callable[..., Any]:
    """``run(z0, begun, times, inputs, read)``: the estimator's own grid, gap by gap.

    `z0` is (members, dim), of one member (dim,), `begun` the raw time and inputs there; times are
    raw and increase, inputs are raw. Gives ``read(z, time)`` at all times: everything happens
    inside one scan, so that a program without allocation can be made of it.
    """
    over, _ = over_members(ensemble.fields, np.flatnonzero(ensemble.trusted))

    def slope(t: Any, z: Array, u: Any) -> Array:
        return over(lambda field, z: field(t, z, u))(z)

    step = runge_kutta(ensemble.tableau, slope)

    def gap(z: Array, begin: Array, end: Array, low: Any, high: Any) -> Array:
        count = jnp.maximum(jnp.ceil((end - begin) / ensemble.step - _SLACK), 1.0)
        h = (end - begin) / count

        def substep(i: Any, z: Array) -> Array:
            at = i.astype(z.dtype)
            known = None, None
            if low is not None:
                change = (high - low) / count
                known = low + at * change, low + (at + 1) * change
            return step(z, Interval(begin + at * h, h, *known))

        steps = jnp.where(end > begin, count, 0.0).astype(jnp.int32)  # none to the start itself
        return lax.fori_loop(0, steps, substep, z)

    def scaled(inputs: Any) -> Any:
        return None if ensemble.inputs is None else ensemble.inputs.forward(inputs, xp=jnp)

    def run(z0: Array, begun: tuple, times: Array, inputs: Any, read: Callable) -> Any:
        def move(state: tuple, x: tuple) -> tuple[tuple, Any]:
            z, begin, low = state
            time, u = x
            end, high = ensemble.time.forward(time), scaled(u)
            z = gap(z, begin, end, low, low if ensemble.held else high)
            return (z, end, high), read(z, time)

        start = (z0, ensemble.time.forward(begun[0]), scaled(begun[1]))
        return lax.scan(move, start, (times, inputs))[1]

    return run


def _trusted(ensemble: Ensemble, states: Any) -> Any:
    """Members' states (members, ...): the trusted ones, of a single one without the axis."""
    some = states[np.flatnonzero(ensemble.trusted)]
    return some[0] if len(some) == 1 else some


def _mean(z: Array) -> Array:
    return z if z.ndim == 1 else z.mean(0)


def _simulate(model: NeuralODE, names: tuple[str, ...]) -> Function:
    ensemble, data = model.predictor_.ensemble, model.data_
    run, middle = paths(ensemble), np.asarray(ensemble.starts.mean(1), float)
    static = with_covariates(None, None, 1, data) if data.static_names else None
    given = ensemble.given

    def simulate(y0: Array, times: Array, *inputs: Array) -> Array:
        z = ensemble.standardised(y0[None], xp=jnp)[0]
        start = jnp.asarray(_trusted(ensemble, middle)[..., given:], y0.dtype)
        z0 = jnp.concatenate([jnp.broadcast_to(z, (*start.shape[:-1], given)), start], axis=-1)
        drive = _drive(times, inputs, static)
        begun = times[0], None if drive is None else drive[0]
        return run(z0, begun, times, drive, lambda z, t: ensemble.raw(_mean(z), xp=jnp))

    arguments = (
        Argument("y0", (given,), f"state at times[0]: {', '.join(names[:given])}"),
        Argument("times", ("times",), "increasing times"), *_input_argument(model),
    )  # fmt: skip
    return Function(
        "simulate", simulate, arguments,
        ("path",), f"The path of {', '.join(data.names)} from any state: the mean of the members'.",
    )  # fmt: skip


def _input_argument(model: NeuralODE) -> tuple[Argument, ...]:
    data = model.data_
    if not data.n_inputs:
        return ()
    words = f"inputs at the times: {', '.join(data.input_names)}"
    return (Argument("inputs", ("times", data.n_inputs), words),)


def _drive(times: Array, inputs: tuple[Array, ...], static: Any) -> Any:
    """Inputs and then covariates at all times; None of neither."""
    parts = list(inputs)
    if static is not None:
        row = jnp.asarray(static, times.dtype).reshape(1, -1)
        parts.append(jnp.broadcast_to(row, (times.shape[0], row.shape[1])))
    return jnp.concatenate(parts, axis=1) if parts else None


def ends(model: NeuralODE) -> Float[np.ndarray, "series members dim"]:
    """The states at which the learned paths end, of the trusted members."""
    ensemble, data = model.predictor_.ensemble, model.data_
    inputs = None
    if ensemble.inputs is not None:
        inputs = [drivers_of(s.u, s.static, len(s)) for s in data]
    with model._arithmetic():
        found = ensemble.paths([s.t for s in data], ensemble.starts, inputs)
    return np.stack([_trusted(ensemble, path[:, -1]) for path in found])


def _forecast(model: NeuralODE, coverage: float) -> Function:
    ensemble, data, calibration = (
        model.predictor_.ensemble,
        model.data_,
        model.predictor_.calibration,
    )
    run, begun, count = paths(ensemble), ends(model), len(data)
    last = np.array([s.t[-1] for s in data])
    known = None
    if ensemble.inputs is not None:
        known = np.stack([drivers_of(s.u, s.static, len(s))[-1] for s in data])

    def forecast(*given: Array) -> tuple[Array, Array, Array]:
        at, (times, *inputs) = (given[0], given[1:]) if count > 1 else (0, given)
        end, before, drive = jnp.asarray(last, times.dtype)[at], None, None
        if known is not None:
            before = jnp.asarray(known, times.dtype)[at]
            static = before[data.n_inputs :] if data.static_names else None
            drive = _drive(times, tuple(inputs), static)

        def read(z: Array, time: Array) -> tuple[Array, Array, Array]:
            return _band(z[None] if z.ndim == 1 else z, (time - end) / ensemble.time.scale)

        return run(jnp.asarray(begun, times.dtype)[at], (end, before), times, drive, read)

    def _band(z: Array, ahead: Array) -> tuple[Array, Array, Array]:
        """Of one time, out of all members' states."""
        shown = z[:, : ensemble.shown]
        mean = shown.mean(0)
        spread = jnp.sqrt(((shown - mean) ** 2).mean(0))
        shape = calibration.shape(mean, ensemble.state, xp=jnp)
        half = calibration.half_width(spread, coverage, ahead[None], shape=shape, xp=jnp)[0]
        low, middle, high = (
            ensemble.state.inverse(v, xp=jnp) for v in (mean - half, mean, mean + half)
        )
        return middle, low, high

    arguments = [Argument("times", ("times",), "increasing times after the series' end")]
    if count > 1:
        ids = ", ".join(f"{i} {s.id}" for i, s in enumerate(list(data)[:20]))
        words = f"which series, from 0: {ids}{', ...' if count > 20 else ''}"
        arguments.insert(0, Argument("series", (), words, "integer"))
    return Function(
        "forecast", forecast, (*arguments, *_input_argument(model)), ("mean", "lower", "upper"),
        f"How the learned series go on, with {coverage:.0%} intervals for a new noisy observation. "
        + "They end at " + ", ".join(f"{t:.10g}" for t in last[:20])
        + (", ..." if count > 20 else "") + ".",
    )  # fmt: skip
